#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/module.hpp>

/// Random networks of everything that can be linked, with dead and constant channels planted in them.

using taper::Index;
using taper::Mask;
using taper::Rng;
using taper::Shape;
using taper::Var;
namespace nn = taper::nn;

/// One step of a network: which values it takes, and what it makes of them.
struct NetStep {
  enum class Kind { linear, unary, residual, add, scale, concat, slice, fold_in, hidden } kind;
  std::size_t a = 0, b = 0;           // values
  std::size_t first = 0, second = 0;  // layers
  Index begin = 0, end = 0;
  int function = 0;
};

template <class T> Var<T> random_activation(Var<T> x, int function) {
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
  std::vector<NetStep> steps;
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
    for (const NetStep& step : steps) values.push_back(run(step, values));
    std::vector<Var<T>> outputs;
    for (std::size_t h = 0; h < heads.size(); ++h) outputs.push_back(layers[heads[h]](values[read[h]]));
    return outputs;
  }

  Var<T> run(const NetStep& step, const std::vector<Var<T>>& values) const {
    const Var<T> a = values[step.a];
    switch (step.kind) {
      case NetStep::Kind::linear:
        return layers[step.first](a);
      case NetStep::Kind::unary:
        return random_activation(a, step.function);
      case NetStep::Kind::residual: {
        const Var<T> inner = random_activation(layers[step.first](a), step.function);
        return a + layers[step.second](inner);
      }
      case NetStep::Kind::add:
        return a + values[step.b];
      case NetStep::Kind::scale:
        return a * scales[step.first].bind(a.tape());
      case NetStep::Kind::concat:
        return taper::concat({a, values[step.b]}, 1);
      case NetStep::Kind::slice:
        return slice(a, 1, step.begin, step.end);
      case NetStep::Kind::fold_in: {  // pairs of neighbours, and back
        const Var<T> pairs = tanh(reshape(a, {-1, a.shape()[1] / 2, 2}));
        return reshape(pairs, {a.shape()[0], -1});
      }
      default: {
        const Var<T> inner = random_activation(layers[step.first](a), step.function);
        return layers[step.second](inner);
      }
    }
  }
};

template <class T> struct RandomNetBuilder {
  RandomNet<T> net;
  Rng rng;
  std::vector<Index> widths;  // of the values

  explicit RandomNetBuilder(std::uint64_t seed) : rng(seed) { taper::manual_seed(seed); }

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
      NetStep step{static_cast<NetStep::Kind>(rng.below(9)), some_value()};
      step.function = static_cast<int>(rng.below(5));
      Index width = widths[step.a];
      switch (step.kind) {
        case NetStep::Kind::linear: {
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
        case NetStep::Kind::residual:
        case NetStep::Kind::hidden: {
          const Index inner = 2 + rng.below(8);
          const Index out = step.kind == NetStep::Kind::residual ? width : 1 + rng.below(8);
          step.first = layer(width, inner);
          step.second = layer(inner, out);
          plant(step.first, step.second);
          width = out;
          break;
        }
        case NetStep::Kind::add:
          step.b = step.a;
          for (std::size_t k = 0; k < widths.size(); ++k) {
            if (widths[k] == width && rng.below(2) == 0) step.b = k;
          }
          break;
        case NetStep::Kind::scale: {
          step.first = net.scales.size();
          nn::Parameter<T> scale(Shape{width});
          for (T& entry : scale.value()) entry = static_cast<T>(rng.below(4) == 0 ? 0 : rng.normal());
          net.scales.push_back(std::move(scale));
          break;
        }
        case NetStep::Kind::concat:
          step.b = some_value();
          width += widths[step.b];
          if (width > 24) continue;
          break;
        case NetStep::Kind::slice:
          step.begin = rng.below(width);
          step.end = step.begin + 1 + rng.below(width - step.begin);
          width = step.end - step.begin;
          break;
        case NetStep::Kind::fold_in:
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
