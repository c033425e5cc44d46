#pragma once

#include <optional>

#include <taper/nn/module.hpp>

namespace taper::nn {

struct BatchNormOptions {
  /// Added to the variance.
  double eps = 1e-5;
  /// How much of the running moments each training step replaces by those of its batch.
  double momentum = 0.1;
  /// Whether there are weight and bias.
  bool affine = true;
};

/// Normalizes each channel (Ioffe and Szegedy, 2015): by the moments of the batch where a training is
/// recorded, and by running ones where an evaluation is; then y = normalized weight + bias. The running
/// moments are buffers that get their part of the batch's after each step, the variance of it unbiased, as in
/// PyTorch. Its count of batches is not kept, as nothing here depends on it.
template <class T> class BatchNorm : public Layer<T> {
 public:
  Index channels() const { return running_mean.shape()[0]; }
  const BatchNormOptions& options() const { return options_; }
  /// Throws Error on a tape without a mode, for an input that does not fit, and in training for one value of
  /// each channel.
  Var<T> forward(Var<T> x) const override;
  void visit(Visitor<T>& v) const override {
    if (weight) v("weight", *weight);
    if (bias) v("bias", *bias);
    v("running_mean", running_mean);
    v("running_var", running_var);
  }
  std::string describe() const override;

  std::optional<Parameter<T>> weight, bias;
  Buffer<T> running_mean, running_var;

 protected:
  /// Takes inputs with this number of dimensions.
  BatchNorm(const char* name, Index least_rank, Index most_rank, Index channels,
            const BatchNormOptions& options);
  template <class U>
  BatchNorm(const char* name, Index least_rank, Index most_rank, const BatchNorm<U>& other)
      : BatchNorm(name, least_rank, most_rank, other.channels(), other.options()) {
    if (weight) weight.emplace(*other.weight), bias.emplace(*other.bias);
    std::copy(other.running_mean.value().begin(), other.running_mean.value().end(),
              running_mean.value().begin());
    std::copy(other.running_var.value().begin(), other.running_var.value().end(),
              running_var.value().begin());
  }

 private:
  const char* name_;
  Index least_rank_, most_rank_;
  BatchNormOptions options_;
};

/// For rows x channels, or rows x channels x length.
template <class T = float> class BatchNorm1d : public BatchNorm<T> {
 public:
  /// Throws Error for a negative number of channels, a negative eps, and a momentum that is not in [0, 1].
  explicit BatchNorm1d(Index channels, const BatchNormOptions& options = {})
      : BatchNorm<T>("BatchNorm1d", 2, 3, channels, options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit BatchNorm1d(const BatchNorm1d<U>& other)
      : BatchNorm<T>("BatchNorm1d", 2, 3, other) {}
};

/// For rows x channels x height x width.
template <class T = float> class BatchNorm2d : public BatchNorm<T> {
 public:
  /// As for BatchNorm1d.
  explicit BatchNorm2d(Index channels, const BatchNormOptions& options = {})
      : BatchNorm<T>("BatchNorm2d", 4, 4, channels, options) {}
  template <class U>
  requires(!std::same_as<T, U>) explicit BatchNorm2d(const BatchNorm2d<U>& other)
      : BatchNorm<T>("BatchNorm2d", 4, 4, other) {}
};

}  // namespace taper::nn
