#pragma once

#include <limits>
#include <optional>

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

struct LayerNormOptions {
  /// Added to the variance.
  double eps = 1e-5;
  /// Whether there is a weight, and a bias with it.
  bool elementwise_affine = true;
  bool bias = true;
};

/// Normalizes over the last axes, which have the dimensions given (Ba, Kiros and Hinton, 2016); then
/// y = normalized weight + bias. It is the same in training and evaluation.
template <class T = float> class LayerNorm : public Layer<T> {
 public:
  /// Throws Error for a shape without entries, and a negative eps when it is recorded.
  explicit LayerNorm(const Shape& shape, const LayerNormOptions& options = {})
      : shape_(shape), options_(options) {
    if (shape.size() == 0 || shape.rank() == 0) {
      throw Error("LayerNorm", "a shape ", shape, ": expected one dimension or more, with entries");
    }
    if (!options.elementwise_affine) return;
    weight.emplace(shape);
    init::constant(weight->value(), 1);
    if (options.bias) bias.emplace(shape);
  }
  explicit LayerNorm(Index width, const LayerNormOptions& options = {}) : LayerNorm(Shape{width}, options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit LayerNorm(const LayerNorm<U>& other)
      : shape_(other.shape()), options_(other.options()) {
    if (other.weight) weight.emplace(*other.weight);
    if (other.bias) bias.emplace(*other.bias);
  }

  const Shape& shape() const { return shape_; }
  const LayerNormOptions& options() const { return options_; }
  Var<T> forward(Var<T> x) const override {
    for (Index k = 0; k < shape_.rank(); ++k) {
      const Index axis = x.shape().rank() - shape_.rank() + k;
      if (axis < 0 || x.shape()[axis] != shape_[k]) {
        throw Error("LayerNorm", "input ", x.shape(), ": expected last dimensions ", shape_);
      }
    }
    if (!weight) return layer_norm(x, shape_.rank(), options_.eps);
    const Var<T> w = weight->bind(x.tape());
    return bias ? layer_norm(x, w, bias->bind(x.tape()), options_.eps) : layer_norm(x, w, options_.eps);
  }
  void visit(Visitor<T>& v) const override {
    if (weight) v("weight", *weight);
    if (bias) v("bias", *bias);
  }
  std::string describe() const override { return "LayerNorm(" + shape_.str() + ")"; }

  std::optional<Parameter<T>> weight, bias;

 private:
  Shape shape_;
  LayerNormOptions options_;
};

struct RMSNormOptions {
  /// Added to the mean of the squares; the precision of the scalar when none is given.
  std::optional<double> eps = {};
  bool elementwise_affine = true;
};

/// Divides by the root of the mean of the squares over the last axes, times weight (Zhang and Sennrich,
/// 2019).
template <class T = float> class RMSNorm : public Layer<T> {
 public:
  /// Throws Error like LayerNorm.
  explicit RMSNorm(const Shape& shape, const RMSNormOptions& options = {})
      : shape_(shape), options_(options) {
    if (shape.size() == 0 || shape.rank() == 0) {
      throw Error("RMSNorm", "a shape ", shape, ": expected one dimension or more, with entries");
    }
    if (!options.elementwise_affine) return;
    weight.emplace(shape);
    init::constant(weight->value(), 1);
  }
  explicit RMSNorm(Index width, const RMSNormOptions& options = {}) : RMSNorm(Shape{width}, options) {}
  template <class U>
  requires(!std::same_as<T, U>) explicit RMSNorm(const RMSNorm<U>& other)
      : shape_(other.shape()), options_(other.options()) {
    if (other.weight) weight.emplace(*other.weight);
  }

  const Shape& shape() const { return shape_; }
  const RMSNormOptions& options() const { return options_; }
  Var<T> forward(Var<T> x) const override {
    const double eps = options_.eps.value_or(static_cast<double>(std::numeric_limits<T>::epsilon()));
    return weight ? rms_norm(x, weight->bind(x.tape()), eps) : rms_norm(x, shape_.rank(), eps);
  }
  void visit(Visitor<T>& v) const override {
    if (weight) v("weight", *weight);
  }
  std::string describe() const override { return "RMSNorm(" + shape_.str() + ")"; }

  std::optional<Parameter<T>> weight;

 private:
  Shape shape_;
  RMSNormOptions options_;
};

}  // namespace taper::nn
