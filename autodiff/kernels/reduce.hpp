#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

// Sums of up to sum_plainly terms one after the other are plain; longer ones are taken in short runs, which
// are added up with what rounding loses (simd-inl.hpp). So the error is some units in the last place, however
// many terms there are, relative to the sum of their magnitudes.

/// Sum of n elements, and of their squares. Long runs are summed in pieces of a fixed length, and the pieces
/// in double, so the order does not depend on anything but n.
template <class T> double sum(Index n, const T* x);
template <class T> double sum_squares(Index n, const T* x);

/// Whether none of n elements is a NaN or infinite.
template <class T> bool all_finite(Index n, const T* x);

/// Adds x to n sums. What rounding loses goes into `rest`, which starts at zero, and from there into the next
/// addition.
template <class T> void add_carefully(Index n, const T* x, T* sum, T* rest);

/// y = s x, or added to y.
template <class T> void scale(Index n, T s, const T* x, T* y, bool add);

// A tensor seen along one axis: outer x n x inner elements, of which the middle dimension is reduced.

/// y[o, i] = sum over k of x[o, k, i].
template <class T> void sum_axis(Index outer, Index n, Index inner, const T* x, T* y);
/// gx[o, k, i] = s gy[o, i], or added to gx: the gradient of s times the sum.
template <class T> void spread_axis(Index outer, Index n, Index inner, T s, const T* gy, T* gx, bool add);

/// y[o, i] = the largest x[o, k, i], or the smallest; a NaN wins. n is at least 1.
template <class T> void max_axis(Index outer, Index n, Index inner, const T* x, T* y);
template <class T> void min_axis(Index outer, Index n, Index inner, const T* x, T* y);
/// gx = gy at the first k where x[o, k, i] is the extreme y[o, i], zero elsewhere; or added to gx.
template <class T>
void extreme_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* y, const T* gy, T* gx,
                           bool add);

/// mean[o, i] = the mean of x[o, k, i], and y[o, i] the sum of the squares of what x is apart from it,
/// divided by `divisor`. n is at least 1. Behind the means, from outer * inner on, stands what rounding has
/// taken from each: next to a large mean, deviations have their digits from both.
template <class T> void var_axis(Index outer, Index n, Index inner, Index divisor, const T* x, T* mean, T* y);
/// gx = gy 2 (x - mean) / divisor, or added to gx.
template <class T>
void var_axis_gradient(Index outer, Index n, Index inner, Index divisor, const T* x, const T* mean,
                       const T* gy, T* gx, bool add);

/// y[o, i] = log of the sum over k of exp(x[o, k, i]), shifted by the maximum so that nothing overflows.
/// `parts` is null, or gets the shifts and behind them, from outer * inner on, the logarithms of the shifted
/// sums. y is the sum of both, rounded: next to large x it does not know them apart.
template <class T> void logsumexp_axis(Index outer, Index n, Index inner, const T* x, T* y, T* parts);
/// gx = gy exp(x - shift - logarithm), or added to gx.
template <class T>
void logsumexp_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* parts, const T* gy,
                             T* gx, bool add);

/// y = exp(x) / sum over k of exp(x), or with `log` its logarithm.
template <class T> void softmax_axis(Index outer, Index n, Index inner, const T* x, T* y, bool log);
/// gx = y (gy - sum(gy y)), or with `log` gy - exp(y) sum(gy); or added to gx.
template <class T>
void softmax_axis_gradient(Index outer, Index n, Index inner, const T* y, const T* gy, T* gx, bool log,
                           bool add);

}  // namespace taper::kernels
