#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// Losses that compare a prediction p with a target t, entry by entry. Where one is not smooth, the
/// derivative used is the one in brackets.
enum class Loss {
  square,           ///< (p - t)^2
  absolute,         ///< |p - t| [0 when equal]
  huber,            ///< (p - t)^2 / 2 up to |p - t| = delta, delta (|p - t| - delta / 2) beyond
  bce_with_logits,  ///< log(1 + exp(p)) - t p: the cross entropy of sigmoid(p) with a probability t
  hinge,            ///< max(0, 1 - t p) [0 where t p >= 1]
  poisson_log,      ///< exp(p) - t p: of a rate exp(p)
  poisson,          ///< p - t log(p + delta): of a rate p
};

/// The sum of the losses of n entries, in pieces of a fixed length that are added in double.
template <class T> double loss(Loss kind, Index n, const T* p, const T* t, T delta);

/// g = s times the derivative of each entry's loss, by the prediction (`of` = 0) or the target (1); or added
/// to g.
template <class T>
void loss_gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, T* g, bool add);

/// The losses themselves.
template <class T> void loss_each(Loss kind, Index n, const T* p, const T* t, T delta, T* y);
/// g = gy times the derivative of each entry's loss; or added to g.
template <class T>
void loss_each_gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, const T* gy, T* g,
                        bool add);

}  // namespace taper::kernels
