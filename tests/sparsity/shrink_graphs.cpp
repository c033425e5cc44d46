#include <taper/sparsity/shrink.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../nn/random_net.hpp"

/// Random networks of everything that can be linked, with dead and constant channels planted in them.

using namespace taper;

namespace {

template <class T> void check_graphs(int rounds, double most) {
  Index before = 0, after = 0, planted = 0;
  double worst = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    RandomNet<T> net = RandomNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    std::vector<Tensor<T>> examples;
    for (const Index width : net.inputs) {
      examples.push_back(normal_tensor<T>({17, width}, static_cast<std::uint64_t>(round) + 1000));
    }
    std::vector<View<const T>> views(examples.begin(), examples.end());
    const sparsity::ShrinkOptions<T> options{.examples = views, .threshold = 0};
    const auto [small, report] = sparsity::shrink(net, options);
    worst = std::max(worst, report.max_abs_difference);
    before += report.parameters_before;
    after += report.parameters_after;
    CHECK(report.probes == 17);
    for (const auto& [layer, count] : net.planted) {
      CAPTURE(layer);
      CHECK(small.layers[layer].outputs() <= net.layers[layer].outputs() - count);
      planted += count;
    }
    // Every index that is kept has its reason.
    for (const auto& row : report.rows) {
      for (Index axis = 0; axis < row.after.rank(); ++axis) {
        Index counted = 0;
        for (const auto& reason : report.reasons) {
          if (reason.parameter != row.name || reason.axis != axis) continue;
          CHECK_FALSE(reason.reason.empty());
          counted += reason.count;
        }
        CHECK(counted == row.after[axis]);
      }
    }
    // Masks come along, entry by entry.
    for (std::size_t k = 0; k < net.layers.size(); ++k) {
      const auto row = std::ranges::find_if(
          report.rows, [&](const auto& r) { return r.name == "layer" + std::to_string(k) + ".weight"; });
      const Mask was = net.layers[k].weight.mask(), is = small.layers[k].weight.mask();
      Index at = 0;
      for (const Index o : row->kept[0]) {
        for (const Index i : row->kept[1]) {
          CHECK(is.is_frozen(at++) == was.is_frozen(o * net.layers[k].inputs() + i));
        }
      }
    }
    const auto again = sparsity::shrink(small, options);
    CHECK(again.report.parameters_after == report.parameters_after);
  }
  MESSAGE(rounds, " networks: ", before, " -> ", after, " parameters, ", planted,
          " planted units gone, largest difference ", worst);
  CHECK(worst <= most);
  CHECK(planted > 2 * rounds);
}

}  // namespace

TEST_CASE("shrink: 500 random graphs in double compute the same, and what was planted is gone") {
  check_graphs<double>(500, 1e-12);
}

TEST_CASE("shrink: random graphs in float") {
  check_graphs<float>(500, 1e-5);
}
