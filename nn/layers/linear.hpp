#pragma once

#include <cmath>
#include <optional>

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

/// y = x W' + b with W outputs x inputs. Weight and bias start uniform in +- 1 / sqrt(inputs), which is the
/// default of PyTorch's layer of that name.
template <class T = float> class Linear : public Layer<T> {
 public:
  /// Throws Error for a negative size.
  Linear(Index inputs, Index outputs, bool with_bias = true) : weight(Shape{outputs, inputs}) {
    init::kaiming_uniform(weight.value(), 0.5773502691896258);  // gain 1 / sqrt(3)
    if (!with_bias) return;
    bias.emplace(Shape{outputs});
    const double bound = inputs > 0 ? 1 / std::sqrt(static_cast<double>(inputs)) : 0;
    init::uniform(bias->value(), -bound, bound);
  }
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Linear(const Linear<U>& other) : weight(other.weight) {
    if (other.bias) bias.emplace(*other.bias);
  }

  Index inputs() const { return weight.shape()[1]; }
  Index outputs() const { return weight.shape()[0]; }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = weight.bind(x.tape());
    return bias ? affine(x, w, bias->bind(x.tape())) : affine(x, w);
  }
  void visit(Visitor<T>& v) const override {
    v("weight", weight);
    if (bias) v("bias", *bias);
  }
  const std::optional<Parameter<T>>* bias_of(const Parameter<T>& own) const override {
    return &own == &weight ? &bias : nullptr;
  }
  std::string describe() const override {
    return "Linear(" + std::to_string(inputs()) + ", " + std::to_string(outputs()) +
           (bias ? ")" : ", no bias)");
  }

  Parameter<T> weight;
  std::optional<Parameter<T>> bias;
};

}  // namespace taper::nn
