#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// Functions of one number. Where one is not smooth, the derivative used is the one in brackets.
///
/// In braces, how far a result may lie from the exact one, in units of its last place (ulp), on every
/// instruction set: bounds on what was found against long double, in dense sweeps and with random bits over
/// the whole range. After a bar, the same of the derivative, given the rounded value, relative to the scale
/// that is named where the derivative itself may be a small difference. The others are exact or rounded once.
/// At infinities a value is the limit, and of NaN it is NaN.
enum class Unary {
  neg,
  exp,   ///< {1.1 | 1.1}
  log,   ///< {1 | 0.5}
  sqrt,  ///< {0.5 | 1.5}
  square,
  abs,         ///< [0 at 0]
  power,       ///< x^p {1 | 2}
  tanh,        ///< {3 | 3 of 1}; in float {7 | 7 of 1}
  sigmoid,     ///< 1 / (1 + exp(-x)) {2.5 | 3.5 of the value}
  softplus,    ///< log(1 + exp(x)) {2 | 2.5}
  relu,        ///< [0 at 0]
  leaky_relu,  ///< x, or p x when x <= 0 [p at 0]
  elu,         ///< x, or p (exp(x) - 1) when x <= 0 [p at 0] {2 | 2 of p}
  gelu,        ///< x Phi(x), with the normal distribution function {6 | 4 of Phi(x) + |x| phi(x)}
  silu,        ///< x s with s = sigmoid(x) {3.5 | 5 of s (1 + |x| (1 - s))}
  clamp,       ///< min(max(x, p), q) [1 at both ends]
};

/// y = f(x) for n numbers. `y` may be `x`.
template <class T> void unary(Unary f, Index n, const T* x, T* y, T p = 0, T q = 0);

/// gx = gy f'(x), or added to gx, with y = f(x) at hand. `gx` may be `gy`.
template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p = 0, T q = 0);

}  // namespace taper::kernels
