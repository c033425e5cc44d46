#pragma once

#include <cmath>
#include <optional>

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

/// y = x W' + b with W outputs x inputs. Weight and bias start uniform in +- 1 / sqrt(inputs), which is the
/// default of PyTorch's layer of that name.
template <class T = float> class Linear : public Module<T> {
 public:
  /// Throws Error for a negative size.
  Linear(Index inputs, Index outputs, bool with_bias = true) : weight(Shape{outputs, inputs}) {
    init::kaiming_uniform(weight.value(), 0.5773502691896258);  // gain 1 / sqrt(3)
    if (!with_bias) return;
    bias.emplace(Shape{outputs});
    const double bound = inputs > 0 ? 1 / std::sqrt(static_cast<double>(inputs)) : 0;
    init::uniform(bias->value(), -bound, bound);
  }

  Index inputs() const { return weight.shape()[1]; }
  Index outputs() const { return weight.shape()[0]; }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = weight.on(x.tape(), "weight");
    return bias ? affine(x, w, bias->on(x.tape(), "bias")) : affine(x, w);
  }
  void members(Members<T>& m) override {
    m("weight", weight);
    if (bias) m("bias", *bias);
  }
  std::string describe() const override {
    return "Linear(" + std::to_string(inputs()) + ", " + std::to_string(outputs()) +
           (bias ? ")" : ", no bias)");
  }

  Parameter<T> weight;
  std::optional<Parameter<T>> bias;
};

}  // namespace taper::nn
