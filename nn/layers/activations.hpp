#pragma once

#include <taper/nn/module.hpp>

/// Activations as modules: each applies the operation of its name to every entry.
namespace taper::nn {

#define TAPER_ACTIVATION(Name, operation)                                   \
  template <class T = float> class Name : public Layer<T> {                 \
   public:                                                                  \
    Name() = default;                                                       \
    template <class U> explicit Name(const Name<U>&) {}                     \
    Var<T> forward(Var<T> x) const override { return taper::operation(x); } \
    std::string describe() const override { return #Name; }                 \
  };
TAPER_ACTIVATION(ReLU, relu)
TAPER_ACTIVATION(Tanh, tanh)
TAPER_ACTIVATION(Sigmoid, sigmoid)
TAPER_ACTIVATION(Softplus, softplus)
TAPER_ACTIVATION(GELU, gelu)
TAPER_ACTIVATION(SiLU, silu)
TAPER_ACTIVATION(LogSigmoid, log_sigmoid)
#undef TAPER_ACTIVATION

template <class T = float> class LeakyReLU : public Layer<T> {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  template <class U> explicit LeakyReLU(const LeakyReLU<U>& other) : slope_(other.slope()) {}
  double slope() const { return slope_; }
  Var<T> forward(Var<T> x) const override { return leaky_relu(x, static_cast<T>(slope_)); }
  std::string describe() const override { return "LeakyReLU"; }

 private:
  double slope_;
};

template <class T = float> class ELU : public Layer<T> {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  template <class U> explicit ELU(const ELU<U>& other) : alpha_(other.alpha()) {}
  double alpha() const { return alpha_; }
  Var<T> forward(Var<T> x) const override { return elu(x, static_cast<T>(alpha_)); }
  std::string describe() const override { return "ELU"; }

 private:
  double alpha_;
};

/// x, or slope x where x <= 0, with one learned slope for all or one for each channel, which is axis 1 (He et
/// al., 2015).
template <class T = float> class PReLU : public Layer<T> {
 public:
  /// Throws Error for a negative number.
  explicit PReLU(Index channels = 1, double start = 0.25) : weight(Shape{channels}) {
    std::fill(weight.value().begin(), weight.value().end(), static_cast<T>(start));
  }
  template <class U>
  requires(!std::same_as<T, U>) explicit PReLU(const PReLU<U>& other) : weight(other.weight) {}
  Index channels() const { return weight.shape()[0]; }
  Var<T> forward(Var<T> x) const override {
    const Index rank = x.shape().rank();
    if (channels() != 1 && (rank < 2 || x.shape()[1] != channels())) {
      throw Error("PReLU", "input ", x.shape(), ": expected rows x ", channels(), " channels");
    }
    const Var<T> slopes = weight.bind(x.tape());
    if (channels() == 1 || rank == 2) return prelu(x, slopes);
    return prelu(x, rank == 3 ? reshape(slopes, {-1, 1}) : reshape(slopes, {-1, 1, 1}));
  }
  void visit(Visitor<T>& v) const override { v("weight", weight); }
  std::string describe() const override { return "PReLU(" + std::to_string(channels()) + ")"; }

  Parameter<T> weight;
};

/// exp(x) / sum(exp(x)) along an axis.
template <class T = float> class Softmax : public Layer<T> {
 public:
  explicit Softmax(Index axis = -1) : axis_(axis) {}
  template <class U> explicit Softmax(const Softmax<U>& other) : axis_(other.axis()) {}
  Index axis() const { return axis_; }
  Var<T> forward(Var<T> x) const override { return softmax(x, axis_); }
  std::string describe() const override { return "Softmax"; }

 private:
  Index axis_;
};

/// x - log(sum(exp(x))) along an axis.
template <class T = float> class LogSoftmax : public Layer<T> {
 public:
  explicit LogSoftmax(Index axis = -1) : axis_(axis) {}
  template <class U> explicit LogSoftmax(const LogSoftmax<U>& other) : axis_(other.axis()) {}
  Index axis() const { return axis_; }
  Var<T> forward(Var<T> x) const override { return log_softmax(x, axis_); }
  std::string describe() const override { return "LogSoftmax"; }

 private:
  Index axis_;
};

/// Drops entries at random where a training is recorded, and nothing where an evaluation is.
template <class T = float> class Dropout : public Layer<T> {
 public:
  /// Throws Error unless 0 <= probability < 1.
  explicit Dropout(double probability) : probability_(probability) {
    if (!(probability >= 0 && probability < 1)) {
      throw Error("dropout", "probability ", probability, ": expected 0 <= probability < 1");
    }
  }
  template <class U> explicit Dropout(const Dropout<U>& other) : probability_(other.probability()) {}
  double probability() const { return probability_; }
  /// Throws Error on a tape without a mode.
  Var<T> forward(Var<T> x) const override { return x.tape().training() ? dropout(x, probability_) : x; }
  std::string describe() const override { return "Dropout"; }

 private:
  double probability_;
};

}  // namespace taper::nn
