#pragma once

#include <taper/nn/module.hpp>

/// Activations as modules: each applies the operation of its name to every entry.
namespace taper::nn {

#define TAPER_ACTIVATION(Name, operation)                                   \
  template <class T = float> class Name : public Module<T> {                \
   public:                                                                  \
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

template <class T = float> class LeakyReLU : public Module<T> {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(static_cast<T>(slope)) {}
  Var<T> forward(Var<T> x) const override { return leaky_relu(x, slope_); }
  std::string describe() const override { return "LeakyReLU"; }

 private:
  T slope_;
};

template <class T = float> class ELU : public Module<T> {
 public:
  explicit ELU(double alpha = 1) : alpha_(static_cast<T>(alpha)) {}
  Var<T> forward(Var<T> x) const override { return elu(x, alpha_); }
  std::string describe() const override { return "ELU"; }

 private:
  T alpha_;
};

/// Drops entries at random in training mode, and nothing in evaluation mode.
template <class T = float> class Dropout : public Module<T> {
 public:
  /// Throws Error unless 0 <= probability < 1.
  explicit Dropout(double probability) : probability_(probability) {
    if (!(probability >= 0 && probability < 1)) {
      throw Error("dropout", "probability ", probability, ": expected 0 <= probability < 1");
    }
  }
  Var<T> forward(Var<T> x) const override { return this->training() ? dropout(x, probability_) : x; }
  std::string describe() const override { return "Dropout"; }

 private:
  double probability_;
};

}  // namespace taper::nn
