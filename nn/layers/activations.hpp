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
