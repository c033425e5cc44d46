#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/layers/attention.hpp>
#include <taper/nn/layers/group_norm.hpp>

/// Functions that are made of several operations and have one counterpart in PyTorch: what they put together
/// is compared too.
namespace functions {

using namespace taper;

template <class T> using Function = std::function<Var<T>(std::span<const Var<T>>)>;

/// Batch norm in training: PyTorch's is one function.
template <class T> Var<T> batch_norm_training(std::span<const Var<T>> x) {
  const Var<T> moments = batch_moments(x[0]);
  const Index channels = x[0].shape()[1];
  const auto row = [&](Index k) { return reshape(slice(moments, 0, k, k + 1), {channels}); };
  return batch_norm(x[0], row(0), row(1), x[1], x[2]);
}

/// A parameter that is a variable of the tape, so that it gets a gradient there.
template <class T> struct GivenParameter : nn::Parametrization<T> {
  Var<T> given;
  explicit GivenParameter(Var<T> variable) : given(variable) {}
  std::vector<std::string> factor_names() const override { return {"given"}; }
  std::vector<Tensor<T>> decompose(View<const T> value) const override { return {Tensor<T>(value)}; }
  Var<T> compute(std::span<const Var<T>> factors) const override {
    return &factors[0].tape() == &given.tape() ? given : factors[0];
  }
};

/// The layer of 3 heads, with parameters from inputs[first] on. Tapes refer to it, so it stays.
template <class T>
const nn::MultiheadAttention<T>& attention_layer(std::span<const Var<T>> inputs, std::size_t first,
                                                 const nn::MultiheadAttentionOptions& options = {}) {
  static std::deque<nn::MultiheadAttention<T>> layers;
  nn::MultiheadAttention<T>& layer = layers.emplace_back(12, 3, options);
  layer.for_parameters([&](const std::string&, nn::Parameter<T>& parameter) {
    parameter.parametrize(std::make_shared<GivenParameter<T>>(inputs[first++]));
  });
  return layer;
}

template <class T> const std::map<std::string, Function<T>>& all() {
  using In = std::span<const Var<T>>;
  static const std::map<std::string, Function<T>> list = {
      {"batch_norm in training", batch_norm_training<T>},
      {"sum over 0, 2",
       [](In x) {
         return sum(x[0], {0, 2});
       }},
      {"mean over 0, 2, kept",
       [](In x) {
         return mean(x[0], {0, 2}, true);
       }},
      {"max over 0, 2",
       [](In x) {
         return max(x[0], {0, 2});
       }},
      {"min over -1, 0, kept",
       [](In x) {
         return min(x[0], {-1, 0}, true);
       }},
      {"logsumexp over 0, 2",
       [](In x) {
         return logsumexp(x[0], {0, 2});
       }},
      {"var over 0, 2",
       [](In x) {
         return var(x[0], {0, 2});
       }},
      {"var over 0, 2, biased, kept",
       [](In x) {
         return var(x[0], {0, 2}, false, true);
       }},
      {"stack", [](In x) { return stack(x, 1); }},
      {"unsqueeze", [](In x) { return unsqueeze(x[0], -1); }},
      {"squeeze", [](In x) { return squeeze(x[0], 1); }},
      {"mse_loss, weighted",
       [](In x) {
         return mse_loss(x[0], x[1], {LossReduction::none, x[2]});
       }},
      {"mse_loss, weighted mean",
       [](In x) {
         return mse_loss(x[0], x[1], {LossReduction::mean, x[2]});
       }},
      {"mae_loss, weighted mean",
       [](In x) {
         return mae_loss(x[0], x[1], {LossReduction::mean, x[2]});
       }},
      {"huber_loss, weighted sum",
       [](In x) {
         return huber_loss(x[0], x[1], T(0.7), {LossReduction::sum, x[2]});
       }},
      {"group_norm",
       [](In x) {
         return nn::GroupNorm<T>(3, 12, {1e-5, false})(x[0]);
       }},
      {"self-attention", [](In x) { return attention_layer<T>(x, 1)(x[0]); }},
      {"self-attention, causal", [](In x) { return attention_layer<T>(x, 1, {.causal = true})(x[0]); }},
      {"attention", [](In x) { return attention_layer<T>(x, 3)(x[0], x[1], x[2]); }},
      {"attention, padding",
       [](In x) { return attention_layer<T>(x, 3)(x[0], x[1], x[2], {.key_padding = x[7]}); }},
      {"attention, mask", [](In x) { return attention_layer<T>(x, 3)(x[0], x[1], x[2], {.mask = x[7]}); }},
      {"attention, mask and padding",
       [](In x) { return attention_layer<T>(x, 3)(x[0], x[1], x[2], {.key_padding = x[7], .mask = x[8]}); }},
      {"attention, kdim and vdim",
       [](In x) { return attention_layer<T>(x, 3, {.kdim = 5, .vdim = 7})(x[0], x[1], x[2]); }},
      {"bce_with_logits_loss, weight and pos_weight",
       [](In x) {
         return bce_with_logits_loss(x[0], x[1], {LossReduction::mean, x[2], x[3]});
       }},
  };
  return list;
}

/// Throws Error for a name that is none of them.
template <class T> Var<T> call(const std::string& name, std::span<const Var<T>> inputs) {
  const auto found = all<T>().find(name);
  if (found == all<T>().end())
    throw Error("operations", name, ": expected an operation, or one of functions.hpp");
  return found->second(inputs);
}

}  // namespace functions
