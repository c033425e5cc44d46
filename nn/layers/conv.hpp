#pragma once

#include <algorithm>
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
  /// Throws Error for groups that do not divide the outputs.
  Convolution(const char* where, const Shape& shape, Index groups, bool with_bias)
      : weight(shape), outputs_of_group_(std::max<Index>(of_group(where, shape[0], groups, "outputs"), 1)) {
    init::kaiming_uniform(weight.value(), 0.5773502691896258);  // gain 1 / sqrt(3)
    if (!with_bias) return;
    bias.emplace(Shape{shape[0]});
    const Index products = shape[0] > 0 ? shape.size() / shape[0] : 0;
    const double bound = products > 0 ? 1 / std::sqrt(static_cast<double>(products)) : 0;
    init::uniform(bias->value(), -bound, bound);
  }
  template <class U>
  explicit Convolution(const Convolution<U>& other)
      : weight(other.weight), outputs_of_group_(other.outputs_of_group_) {
    if (other.bias) bias.emplace(*other.bias);
  }

  /// Channels or outputs of one group. Throws Error for groups that do not divide them.
  static Index of_group(const char* where, Index count, Index groups, const char* what) {
    if (groups > 0 && count % groups == 0) return count / groups;
    throw Error(where, groups, " groups of ", count, ' ', what, ": expected a number that divides them");
  }
  /// How many there are now: whole groups may have been cut, and outputs of the last one.
  Index groups_of(Index groups) const {
    return groups == 1 ? 1 : std::max<Index>(outputs() / outputs_of_group_, 1);
  }
  Index channels_of(Index groups) const { return weight.shape()[1] * groups_of(groups); }
  /// The options to record with. Throws Error for an input of other channels.
  template <class Options> Options fitting(const char* where, const Shape& x, Options options) const {
    if (options.groups == 1) return options;
    if (outputs() > 0 && x.rank() == weight.shape().rank() && x[1] != channels_of(options.groups)) {
      throw Error(where, "input ", x, " does not fit weight ", weight.shape(), ": expected ",
                  channels_of(options.groups), " channels");
    }
    options.groups = 0;
    return options;
  }
  /// "(3, 8, kernel 5x5, stride 2x2, groups 2, no bias)": what differs from the usual.
  std::string described(const char* name, Index channels, const std::string& kernel,
                        const std::string& settings, Index groups) const {
    return std::string(name) + "(" + std::to_string(channels) + ", " + std::to_string(outputs()) +
           ", kernel " + kernel + settings +
           (groups == 1 ? "" : ", groups " + std::to_string(groups_of(groups))) + (bias ? ")" : ", no bias)");
  }

 private:
  template <class U> friend class Convolution;

  Index outputs_of_group_;
};

/// The operation conv1d, on batch x channels x length.
template <class T = float> class Conv1d : public Convolution<T> {
 public:
  /// Throws Error for a negative size, and for groups that do not divide channels and outputs.
  Conv1d(Index channels, Index outputs, Index kernel, const Conv1dOptions& options = {},
         bool with_bias = true)
      : Convolution<T>(
            "conv1d",
            {outputs, Convolution<T>::of_group("conv1d", channels, options.groups, "channels"), kernel},
            options.groups, with_bias),
        options_(options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Conv1d(const Conv1d<U>& other)
      : Convolution<T>(other), options_(other.options()) {}

  const Conv1dOptions& options() const { return options_; }
  Index channels() const { return this->channels_of(options_.groups); }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = this->weight.bind(x.tape());
    const auto options = this->fitting("conv1d", x.shape(), options_);
    return this->bias ? conv1d(x, w, this->bias->bind(x.tape()), options) : conv1d(x, w, options);
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
  /// Throws Error for a negative size, and for groups that do not divide channels and outputs.
  Conv2d(Index channels, Index outputs, Both kernel, const Conv2dOptions& options = {}, bool with_bias = true)
      : Convolution<T>("conv2d",
                       {outputs, Convolution<T>::of_group("conv2d", channels, options.groups, "channels"),
                        kernel.rows, kernel.columns},
                       options.groups, with_bias),
        options_(options) {}
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit Conv2d(const Conv2d<U>& other)
      : Convolution<T>(other), options_(other.options()) {}

  const Conv2dOptions& options() const { return options_; }
  Index channels() const { return this->channels_of(options_.groups); }

  Var<T> forward(Var<T> x) const override {
    const Var<T> w = this->weight.bind(x.tape());
    const auto options = this->fitting("conv2d", x.shape(), options_);
    return this->bias ? conv2d(x, w, this->bias->bind(x.tape()), options) : conv2d(x, w, options);
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
