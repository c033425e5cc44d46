#pragma once

#include <optional>

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

struct GroupNormOptions {
  /// Added to the variance.
  double eps = 1e-5;
  /// Whether there are weight and bias.
  bool affine = true;
};

/// Normalizes groups of neighbouring channels, each row by itself (Wu and He, 2018); then y = normalized
/// weight
/// + bias for each channel. Inputs are rows x channels, or these and more dimensions.
template <class T = float> class GroupNorm : public Layer<T> {
 public:
  /// Throws Error unless the groups are of one size.
  GroupNorm(Index groups, Index channels, const GroupNormOptions& options = {})
      : groups_(groups), channels_(channels), options_(options) {
    if (groups < 1 || channels < 1 || channels % groups != 0) {
      throw Error("GroupNorm", channels, " channels in ", groups, " groups: expected groups of one size");
    }
    if (!options.affine) return;
    weight.emplace(Shape{channels});
    bias.emplace(Shape{channels});
    init::constant(weight->value(), 1);
  }
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit GroupNorm(const GroupNorm<U>& other)
      : GroupNorm(other.groups(), other.channels(), other.options()) {
    if (weight) weight.emplace(*other.weight), bias.emplace(*other.bias);
  }

  Index groups() const { return groups_; }
  Index channels() const { return channels_; }
  const GroupNormOptions& options() const { return options_; }
  Var<T> forward(Var<T> x) const override {
    const Shape shape = x.shape();
    if (shape.rank() < 2 || shape[1] != channels_) {
      throw Error("GroupNorm", "input ", shape, ": expected rows x ", channels_,
                  " channels, or more dimensions");
    }
    Index inner = 1;
    for (Index k = 2; k < shape.rank(); ++k) inner *= shape[k];
    const Var<T> rows = reshape(x, {-1, groups_, channels_ / groups_ * inner});
    const Var<T> normalized = layer_norm(rows, 1, options_.eps);
    Var<T> y = shape.rank() == 2   ? reshape(normalized, {-1, channels_})
               : shape.rank() == 3 ? reshape(normalized, {-1, channels_, shape[2]})
                                   : reshape(normalized, {-1, channels_, shape[2], shape[3]});
    if (!weight) return y;
    const auto of_channels = [&](const Parameter<T>& p) {
      const Var<T> own = p.bind(x.tape());
      return shape.rank() == 2 ? own : shape.rank() == 3 ? reshape(own, {-1, 1}) : reshape(own, {-1, 1, 1});
    };
    return y * of_channels(*weight) + of_channels(*bias);
  }
  void visit(Visitor<T>& v) const override {
    if (weight) v("weight", *weight), v("bias", *bias);
  }
  std::string describe() const override {
    return "GroupNorm(" + std::to_string(groups_) + ", " + std::to_string(channels_) + ")";
  }

  std::optional<Parameter<T>> weight, bias;

 private:
  Index groups_, channels_;
  GroupNormOptions options_;
};

}  // namespace taper::nn
