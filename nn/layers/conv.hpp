#pragma once

#include <cmath>
#include <optional>

#include <taper/nn/init.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

/// What convolutions of any number of directions have in common. Weight and bias start uniform in +- 1 /
/// sqrt(n), where an output is a sum of n products, which is the default of PyTorch's layers.
template <class T> class Convolution : public Layer<T> {
 public:
  Index outputs() const { return weight.shape()[0]; }

  void visit(Visitor<T>& v) const override {
    v("weight", weight);
    if (bias) v("bias", *bias);
  }
  const std::optional<Parameter<T>>* bias_of(const Parameter<T>& own) const override {
    return &own == &weight ? &bias : nullptr;
  }

  Parameter<T> weight;
  std::optional<Parameter<T>> bias;

 protected:
  Convolution(const Shape& shape, bool with_bias) : weight(shape) {
    init::kaiming_uniform(weight.value(), 0.5773502691896258);  // gain 1 / sqrt(3)
    if (!with_bias) return;
    bias.emplace(Shape{shape[0]});
    const Index products = shape[0] > 0 ? shape.size() / shape[0] : 0;
    const double bound = products > 0 ? 1 / std::sqrt(static_cast<double>(products)) : 0;
    init::uniform(bias->value(), -bound, bound);
  }
  template <class U> explicit Convolution(const Convolution<U>& other) : weight(other.weight) {
    if (other.bias) bias.emplace(*other.bias);
  }

  /// Channels of one group. Throws Error for groups that do not divide the channels.
  static Index of_group(const char* where, Index channels, Index groups) {
    if (groups > 0 && channels % groups == 0) return channels / groups;
    throw Error(where, groups, " groups of ", channels, " channels: expected a number that divides them");
  }
  /// "(3, 8, kernel 5x5, stride 2x2, groups 2, no bias)": what differs from the usual.
  std::string described(const char* name, Index channels, const std::string& kernel,
                        const std::string& settings, Index groups) const {
    return std::string(name) + "(" + std::to_string(channels) + ", " + std::to_string(outputs()) +
           ", kernel " + kernel + settings + (groups == 1 ? "" : ", groups " + std::to_string(groups)) +
           (bias ? ")" : ", no bias)");
  }
};

/// The operation conv1d, on batch x channels x length.
template <class T = float> class Conv1d : public Convolution<T> {
 public:
  /// Throws Error for a negative size, and for groups that do not divide the channels.
  Conv1d(Index channels, Index outputs, Index kernel, const Conv1dOptions& options = {},
         bool with_bias = true)
      : Convolution<T>(Shape{outputs, Convolution<T>::of_group("conv1d", channels, options.groups), kernel},
                       with_bias),
        options_(options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Conv1d(const Conv1d<U>& other)
      : Convolution<T>(other), options_(other.options()) {}

  const Conv1dOptions& options() const { return options_; }
  Index channels() const { return this->weight.shape()[1] * options_.groups; }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = this->weight.bind(x.tape());
    return this->bias ? conv1d(x, w, this->bias->bind(x.tape()), options_) : conv1d(x, w, options_);
  }
  std::string describe() const override {
    const auto setting = [](const char* name, Index value, Index usual) {
      return value == usual ? std::string() : ", " + std::string(name) + " " + std::to_string(value);
    };
    return this->described("Conv1d", channels(), std::to_string(this->weight.shape()[2]),
                           setting("stride", options_.stride, 1) + setting("padding", options_.padding, 0) +
                               setting("dilation", options_.dilation, 1),
                           options_.groups);
  }

 private:
  Conv1dOptions options_;
};

/// The operation conv2d, on batch x channels x rows x columns.
template <class T = float> class Conv2d : public Convolution<T> {
 public:
  /// Throws Error for a negative size, and for groups that do not divide the channels.
  Conv2d(Index channels, Index outputs, Both kernel, const Conv2dOptions& options = {}, bool with_bias = true)
      : Convolution<T>(Shape{outputs, Convolution<T>::of_group("conv2d", channels, options.groups),
                             kernel.rows, kernel.columns},
                       with_bias),
        options_(options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Conv2d(const Conv2d<U>& other)
      : Convolution<T>(other), options_(other.options()) {}

  const Conv2dOptions& options() const { return options_; }
  Index channels() const { return this->weight.shape()[1] * options_.groups; }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = this->weight.bind(x.tape());
    return this->bias ? conv2d(x, w, this->bias->bind(x.tape()), options_) : conv2d(x, w, options_);
  }
  std::string describe() const override {
    const auto both = [](Both value) {
      return std::to_string(value.rows) + "x" + std::to_string(value.columns);
    };
    const auto setting = [&](const char* name, Both value, Index usual) {
      const bool differs = value.rows != usual || value.columns != usual;
      return differs ? ", " + std::string(name) + " " + both(value) : std::string();
    };
    const Shape& shape = this->weight.shape();
    return this->described("Conv2d", channels(), both({shape[2], shape[3]}),
                           setting("stride", options_.stride, 1) + setting("padding", options_.padding, 0) +
                               setting("dilation", options_.dilation, 1),
                           options_.groups);
  }

 private:
  Conv2dOptions options_;
};

}  // namespace taper::nn
