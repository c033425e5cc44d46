#include <taper/sparsity/shrink.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

/// Random networks of everything that can be linked, with dead and constant channels planted in them.

using namespace taper;

namespace {

/// One step of a network: which values it takes, and what it makes of them.
struct Step {
  enum class Kind { linear, unary, residual, add, scale, concat, slice, fold_in, hidden } kind;
  std::size_t a = 0, b = 0;           // values
  std::size_t first = 0, second = 0;  // layers
  Index begin = 0, end = 0;
  int function = 0;
};

template <class T> Var<T> unary(Var<T> x, int function) {
  switch (function) {
    case 0:
      return relu(x);
    case 1:
      return tanh(x);
    case 2:
      return sigmoid(x);
    case 3:
      return gelu(x);
    default:
      return softplus(x);
  }
}

/// A network drawn at random, as a list of steps over layers that may be shared.
template <class T> struct RandomNet : nn::Module<T> {
  std::vector<nn::Linear<T>> layers;
  std::vector<nn::Parameter<T>> scales;
  std::vector<Step> steps;
  std::vector<Index> inputs;             // widths
  std::vector<std::size_t> heads;        // layers
  std::vector<std::size_t> read;         // the values that heads read
  std::map<std::size_t, Index> planted;  // by layer, how many of its outputs must go

  void visit(nn::Visitor<T>& v) const override {
    for (std::size_t i = 0; i < layers.size(); ++i) v("layer" + std::to_string(i), layers[i]);
    for (std::size_t i = 0; i < scales.size(); ++i) v("scale" + std::to_string(i), scales[i]);
  }
  std::string describe() const override { return "RandomNet"; }

  std::vector<Var<T>> record(std::span<const Var<T>> x) const override {
    std::vector<Var<T>> values(x.begin(), x.end());
    for (const Step& step : steps) values.push_back(run(step, values));
    std::vector<Var<T>> outputs;
    for (std::size_t h = 0; h < heads.size(); ++h) outputs.push_back(layers[heads[h]](values[read[h]]));
    return outputs;
  }

  Var<T> run(const Step& step, const std::vector<Var<T>>& values) const {
    const Var<T> a = values[step.a];
    switch (step.kind) {
      case Step::Kind::linear:
        return layers[step.first](a);
      case Step::Kind::unary:
        return unary(a, step.function);
      case Step::Kind::residual: {
        const Var<T> inner = unary(layers[step.first](a), step.function);
        return a + layers[step.second](inner);
      }
      case Step::Kind::add:
        return a + values[step.b];
      case Step::Kind::scale:
        return a * scales[step.first].bind(a.tape());
      case Step::Kind::concat:
        return concat({a, values[step.b]}, 1);
      case Step::Kind::slice:
        return slice(a, 1, step.begin, step.end);
      case Step::Kind::fold_in: {  // pairs of neighbours, and back
        const Var<T> pairs = tanh(reshape(a, {-1, a.shape()[1] / 2, 2}));
        return reshape(pairs, {a.shape()[0], -1});
      }
      default: {
        const Var<T> inner = unary(layers[step.first](a), step.function);
        return layers[step.second](inner);
      }
    }
  }
};

template <class T> struct Builder {
  RandomNet<T> net;
  Rng rng;
  std::vector<Index> widths;  // of the values

  explicit Builder(std::uint64_t seed) : rng(seed) { manual_seed(seed); }

  std::size_t layer(Index in, Index out) {
    net.layers.emplace_back(in, out, rng.below(4) != 0);
    return net.layers.size() - 1;
  }
  /// Zeros in a weight, some of them held.
  void thin(std::size_t index) {
    auto& weight = net.layers[index].weight;
    for (Index j = 0; j < weight.shape()[1]; ++j) {
      if (rng.uniform() < 0.2) weight.value().matrix().col(j).setZero();
    }
    if (rng.below(3) == 0) {
      weight.prune(Mask::frozen(weight.shape(), [&](Index) { return rng.uniform() < 0.3; }));
    }
  }
  /// Makes some of the units between two layers constant, and some unread.
  void plant(std::size_t first, std::size_t second) {
    auto& in = net.layers[first];
    auto& out = net.layers[second];
    for (Index unit = 0; unit < in.outputs(); ++unit) {
      const double what = rng.uniform();
      if (what < 0.2) {
        in.weight.value().matrix().row(unit).setZero();
      } else if (what < 0.4) {
        out.weight.value().matrix().col(unit).setZero();
      } else {
        continue;
      }
      ++net.planted[first];
    }
  }
  std::size_t some_value() { return static_cast<std::size_t>(rng.below(static_cast<Index>(widths.size()))); }

  RandomNet<T> build() {
    for (Index i = 0, count = 1 + rng.below(2); i < count; ++i) net.inputs.push_back(2 + rng.below(6));
    widths = net.inputs;
    for (Index s = 0, count = 2 + rng.below(8); s < count; ++s) {
      Step step{static_cast<Step::Kind>(rng.below(9)), some_value()};
      step.function = static_cast<int>(rng.below(5));
      Index width = widths[step.a];
      switch (step.kind) {
        case Step::Kind::linear: {
          // A layer that fits is used again now and then.
          step.first = net.layers.size();
          for (std::size_t k = 0; k < net.layers.size() && rng.below(2) == 0; ++k) {
            const bool taken = net.planted.contains(k) || (k > 0 && net.planted.contains(k - 1));
            if (net.layers[k].inputs() == width && !taken) step.first = k;
          }
          if (step.first == net.layers.size()) thin(layer(width, 1 + rng.below(8)));
          width = net.layers[step.first].outputs();
          break;
        }
        case Step::Kind::residual:
        case Step::Kind::hidden: {
          const Index inner = 2 + rng.below(8);
          const Index out = step.kind == Step::Kind::residual ? width : 1 + rng.below(8);
          step.first = layer(width, inner);
          step.second = layer(inner, out);
          plant(step.first, step.second);
          width = out;
          break;
        }
        case Step::Kind::add:
          step.b = step.a;
          for (std::size_t k = 0; k < widths.size(); ++k) {
            if (widths[k] == width && rng.below(2) == 0) step.b = k;
          }
          break;
        case Step::Kind::scale: {
          step.first = net.scales.size();
          nn::Parameter<T> scale(Shape{width});
          for (T& entry : scale.value()) entry = static_cast<T>(rng.below(4) == 0 ? 0 : rng.normal());
          net.scales.push_back(std::move(scale));
          break;
        }
        case Step::Kind::concat:
          step.b = some_value();
          width += widths[step.b];
          if (width > 24) continue;
          break;
        case Step::Kind::slice:
          step.begin = rng.below(width);
          step.end = step.begin + 1 + rng.below(width - step.begin);
          width = step.end - step.begin;
          break;
        case Step::Kind::fold_in:
          if (width % 2 != 0) continue;
          break;
        default:
          break;
      }
      net.steps.push_back(step);
      widths.push_back(width);
    }
    for (Index h = 0, count = 1 + rng.below(2); h < count; ++h) {
      net.read.push_back(h == 0 ? widths.size() - 1 : some_value());
      net.heads.push_back(layer(widths[net.read.back()], 1 + rng.below(3)));
      thin(net.heads.back());
    }
    return std::move(net);
  }
};

template <class T> void check_graphs(int rounds, double most) {
  Index before = 0, after = 0, planted = 0;
  double worst = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    RandomNet<T> net = Builder<T>(static_cast<std::uint64_t>(round)).build();
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
