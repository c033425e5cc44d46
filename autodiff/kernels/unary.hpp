#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// Functions of one number. Where one is not smooth, the derivative used is the one in brackets.
enum class Unary {
  neg,
  exp,
  log,
  sqrt,
  square,
  abs,    ///< [0 at 0]
  power,  ///< x^p
  tanh,
  sigmoid,
  softplus,    ///< log(1 + exp(x))
  relu,        ///< [0 at 0]
  leaky_relu,  ///< x, or p x when x <= 0 [p at 0]
  elu,         ///< x, or p (exp(x) - 1) when x <= 0 [p at 0]
  gelu,        ///< x Phi(x), with the normal distribution function
  silu,        ///< x sigmoid(x)
  clamp,       ///< min(max(x, p), q) [1 at both ends]
};

/// y = f(x) for n numbers. `y` may be `x`.
template <class T> void unary(Unary f, Index n, const T* x, T* y, T p = 0, T q = 0);

/// gx = gy f'(x), or added to gx, with y = f(x) at hand.
template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p = 0, T q = 0);

}  // namespace taper::kernels
