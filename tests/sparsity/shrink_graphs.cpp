#include <taper/sparsity/shrink.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <taper/optim/adam.hpp>
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
    for (const auto& known : net.planted) {
      const auto layer = known.first;
      const auto count = known.second;
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

/// The same networks as data, of which sizes and inputs can be cut, too.
template <class T> void check_traced(int rounds, double most) {
  Index of_models = 0, of_graphs = 0, columns = 0;
  double worst = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    RandomNet<T> net = RandomNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    std::vector<Tensor<T>> examples;
    std::vector<Shape> shapes;
    for (const Index width : net.inputs) {
      examples.push_back(normal_tensor<T>({17, width}, static_cast<std::uint64_t>(round) + 1000));
      shapes.push_back({1, width});
    }
    const std::vector<View<const T>> views(examples.begin(), examples.end());
    sparsity::ShrinkOptions<T> options{.examples = views, .threshold = 0, .drop_inputs = round % 2 == 0};
    const auto graph = nn::Graph<T>::trace(net, shapes);
    const auto [small, report] = sparsity::shrink(graph, options);
    worst = std::max(worst, report.max_abs_difference);
    of_models += sparsity::shrink(net, options).report.parameters_after;
    of_graphs += report.parameters_after;
    // For any number of rows, and in training.
    Tape<T> tape(Mode::training);
    std::vector<Var<T>> inputs;
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      const Index kept = small.parts().inputs[k].columns();
      columns += shapes[k].columns() - kept;
      CHECK(kept ==
            (options.drop_inputs ? static_cast<Index>(report.inputs[k].size()) : shapes[k].columns()));
      inputs.push_back(tape.constant(normal_tensor<T>({5, kept}).view()));
    }
    small.record(inputs);
    options.drop_inputs = false;
    const std::vector<Tensor<T>> fewer = [&, &small = small, &report = report] {
      std::vector<Tensor<T>> result;
      for (std::size_t k = 0; k < views.size(); ++k) {
        const bool all = small.parts().inputs[k].columns() == shapes[k].columns();
        result.push_back(all ? examples[k] : sparsity::shrinking::select_columns(views[k], report.inputs[k]));
      }
      return result;
    }();
    options.examples = std::vector<View<const T>>(fewer.begin(), fewer.end());
    CHECK(sparsity::shrink(small, options).report.parameters_after == report.parameters_after);
  }
  MESSAGE(rounds, " networks: ", of_models, " parameters as models, ", of_graphs, " as graphs, ", columns,
          " inputs dropped, largest difference ", worst);
  CHECK(worst <= most);
  CHECK(of_graphs <= of_models);
  CHECK(columns > 0);
}

}  // namespace

TEST_CASE("shrink: random graphs as data, whose sizes and inputs are cut, too") {
  check_traced<double>(200, 1e-12);
  check_traced<float>(100, 1e-5);
}

TEST_CASE("shrink: a graph is cut where the sizes of its model stand in the code") {
  struct Halves : nn::Layer<double> {
    nn::Linear<double> first{3, 6}, second{3, 2};
    void visit(nn::Visitor<double>& v) const override { v("first", first), v("second", second); }
    Var<double> forward(Var<double> x) const override {
      const Var<double> h = tanh(first(x));
      return second(slice(h, 1, 0, 3) * slice(h, 1, 3, 6));
    }
  } halves;
  halves.second.weight.value().matrix().col(1).setZero();
  const auto x = normal_tensor<double>({40, 3});
  const auto [model, kept] = sparsity::shrink(halves, {.examples = x});
  CHECK(model.first.outputs() == 6);
  CHECK(std::ranges::any_of(kept.reasons, [](const auto& r) {
    return r.parameter == "first.weight" && r.reason == "sizes given in the code to slice";
  }));
  const auto graph = nn::Graph<double>::trace(halves, {{1, 3}});
  const auto [small, report] = sparsity::shrink(graph, {.examples = x});
  CHECK(report.parameters_after == 4 * (3 + 1) + 2 * 2 + 2);
  CHECK(report.max_abs_difference == 0);
  CHECK(small.parts().parameters[0].second.shape() == Shape{4, 3});
  CHECK(sparsity::shrink(graph).report.parameters_after == report.parameters_after);  // it knows its inputs

  // What only the code of the model names is not in the graph, and neither in the state of its optimizer.
  struct Unread : nn::Layer<double> {
    nn::Linear<double> first{3, 4}, none{5, 4}, second{4, 2};
    void visit(nn::Visitor<double>& v) const override {
      v("first", first), v("none", none), v("second", second);
    }
    Var<double> forward(Var<double> z) const override { return second(tanh(first(z))); }
  } unread;
  unread.second.weight.value().matrix().col(3).setZero();
  auto traced = nn::Graph<double>::trace(unread, {{1, 3}});
  const optim::Adam<double> adam(traced.parameters());
  auto shrunk = sparsity::shrink(traced, {.examples = x});
  CHECK(shrunk.report.parameters_before == traced.parameters().count());
  CHECK(shrunk.report.removed ==
        std::vector<std::pair<std::string, Shape>>{{"none.weight", {4, 5}}, {"none.bias", {4}}});
  optim::Adam<double> carried(shrunk.model.parameters());
  carried.load_state(sparsity::carry(adam.state(), shrunk.report));
  CHECK(shrunk.report.parameters_after == 3 * 4 + 3 * 2 + 2);

  // Where nothing is left of a slice, the sizes stay as they are.
  halves.second.weight.value().matrix().setZero();
  const auto none = sparsity::shrink(nn::Graph<double>::trace(halves, {{1, 3}}), {.examples = x});
  CHECK(none.report.max_abs_difference == 0);
}

TEST_CASE("shrink: 500 random graphs in double compute the same, and what was planted is gone") {
  check_graphs<double>(500, 1e-12);
}

TEST_CASE("shrink: random graphs in float") {
  check_graphs<float>(500, 1e-5);
}
