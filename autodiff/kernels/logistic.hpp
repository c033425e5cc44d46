#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// The logistic loss of n examples with labels y of 0 and 1 and weights s >= 0, in double: the sum of
/// s (log(1 + exp(z)) - y z). Stores -s times its slope in each z, which is s (y - sigmoid(z)), and s times
/// its second derivative. Small parts keep their digits: of an example on the right side, loss and slope are
/// of the size of exp(-|z|). Sums are of runs of a fixed length and those without rounding of partial sums.
double logistic(Index n, const double* z, const double* y, const double* s, double* negative_slope,
                double* curvature);

/// Its dual function at u = scale theta / s, an example each: the sum of s (H(t) - u (offset + level)) with
/// t = y ? u : -u and H(t) = -t log(t) - (1 - t) log(1 - t); -infinity when a t is outside [0, 1]. Examples
/// of weight 0 are left out. `offset` may be null, for 0.
double logistic_dual(Index n, const double* theta, double scale, const double* y, const double* s,
                     const double* offset, double level);

}  // namespace taper::kernels
