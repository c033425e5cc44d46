// What of sparse_lenet is a function.

#include "../../apps/lenet.hpp"

#include <taper/autodiff/random.hpp>
#include <taper/nn/parametrization.hpp>
#include <taper/sparsity/costs.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/shrink.hpp>

#include "../check.hpp"

using namespace taper;

namespace {

/// The filters of each weight that are not zero.
std::vector<std::vector<bool>> filters_of(const nn::Sequential<float>& net) {
  std::vector<std::vector<bool>> result;
  net.for_parameters([&](const std::string&, const nn::Parameter<float>& parameter) {
    if (parameter.shape().rank() < 2) return;
    const Tensor<float> weight = parameter.materialize();
    const Index count = parameter.shape()[0], entries = weight.size() / count;
    result.emplace_back();
    for (Index k = 0; k < count; ++k) {
      const float* const begin = weight.data() + k * entries;
      result.back().push_back(std::any_of(begin, begin + entries, [](float w) { return w != 0; }));
    }
  });
  return result;
}

}  // namespace

TEST_CASE("cut_filters: what goes first has the least penalty for the multiply-adds that it saves") {
  // Of LeNet-5: what a filter takes itself, and what its readers do with it.
  const std::vector<double> saved{14400 + 80000, 32000 + 8000, 800 + 10};
  for (const Index depth : {2, 3}) {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(seed);
      manual_seed(seed);
      nn::Sequential<float> net = apps::lenet("lenet5");
      Rng rng(seed);
      net.for_parameters([&](const std::string&, nn::Parameter<float>& parameter) {
        if (parameter.shape().rank() < 2) return;
        const Index entries = parameter.shape().size() / parameter.shape()[0];
        const double layer = rng.uniform(0.2, 2);
        for (Index k = 0; k < parameter.shape()[0]; ++k) {
          const float by = static_cast<float>(layer * rng.uniform(0.5, 2));
          for (Index i = 0; i < entries; ++i) parameter.value()[k * entries + i] *= by;
        }
      });
      // So that the first layer's filters are near the end because of what their readers save.
      const std::vector<double> group_weights{94.4, 1.2 * 40, 3 * 0.81};
      sparsity::factorize(net, sparsity::Groups::filters,
                          {.depth = depth,
                           .weights = sparsity::Costs{{"0.weight", 20 * group_weights[0]},
                                                      {"3.weight", 50 * group_weights[1]},
                                                      {"7.weight", 500 * group_weights[2]}},
                           .start = sparsity::Start::balanced,
                           .except = {{"9.weight", sparsity::Groups::none}}});
      // By hand: the filter with the least penalty for what it saves.
      double least = HUGE_VAL;
      std::size_t least_layer = 0;
      Index least_filter = 0, l = 0;
      net.for_parameters([&](const std::string&, nn::Parameter<float>& parameter) {
        if (parameter.parametrization() == nullptr) return;
        const Tensor<float> weight = parameter.materialize();
        const Index count = parameter.shape()[0], entries = weight.size() / count;
        for (Index k = 0; k < count; ++k) {
          double square = 0;
          for (Index i = 0; i < entries; ++i)
            square += std::pow(static_cast<double>(weight[k * entries + i]), 2);
          const double penalty = group_weights[static_cast<std::size_t>(l)] *
                                 std::pow(std::sqrt(square), 2.0 / static_cast<double>(depth));
          const double share = penalty / saved[static_cast<std::size_t>(l)];
          if (share < least) least = share, least_layer = static_cast<std::size_t>(l), least_filter = k;
        }
        ++l;
      });
      const data::Dataset<float> images{Tensor<float>({2, 1, 28, 28}), Tensor<float>({2}), {}, {}};
      CHECK(apps::cut_filters(net, images, 2293000));
      std::vector<std::vector<bool>> expected = filters_of(net);
      CHECK(apps::cut_filters(net, images, 2293000 - 1));
      expected[least_layer][static_cast<std::size_t>(least_filter)] = false;
      CHECK(filters_of(net) == expected);

      if (seed > 0) continue;
      // What is left after cutting keeps the budget, and shrinks to it.
      CHECK(apps::cut_filters(net, images, 300000));
      Tensor<float> some({40, 1, 28, 28});
      for (float& pixel : some) pixel = static_cast<float>(rng.uniform());
      const auto small = sparsity::shrink(net, {.examples = some, .threshold = 0.0});
      CHECK(small.report.multiply_adds_after <= 300000);
      CHECK(small.report.multiply_adds_after > 150000);
      CHECK_FALSE(apps::cut_filters(net, images, 1000));
    }
  }
}
