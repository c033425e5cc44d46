#pragma once

#include <taper/autodiff/kernels/unary.hpp>

/// Eigen compiled for this machine, in a library of its own that shows nothing else: templates that it shares
/// with the rest of the program must not be mixed up with theirs, which are compiled for any machine.
namespace taper::bench::eigen {

#define TAPER_BENCH_VISIBLE __attribute__((visibility("default")))

using kernels::Index, kernels::Unary;

/// C = op(A) op(B) for row-major matrices without gaps; C is m x n, the inner dimension k.
template <class T>
TAPER_BENCH_VISIBLE void product(Index m, Index n, Index k, bool transpose_a, const T* a, bool transpose_b,
                                 const T* b, T* c);

/// y = f(x), and gx = gy f'(x) with y = f(x) at hand, for exp, log, tanh, sigmoid, softplus, relu and gelu.
template <class T> TAPER_BENCH_VISIBLE void unary(Unary f, Index n, const T* x, T* y);
template <class T>
TAPER_BENCH_VISIBLE void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx);

/// Of each row of a row-major matrix.
template <class T> TAPER_BENCH_VISIBLE void softmax(Index rows, Index columns, const T* x, T* y);

template <class T> TAPER_BENCH_VISIBLE T sum(Index n, const T* x);
template <class T> TAPER_BENCH_VISIBLE void column_sums(Index rows, Index columns, const T* x, T* y);

/// A step of Adam, with the corrections of the moments in `rate` and `root_correction`.
template <class T>
TAPER_BENCH_VISIBLE void adam(Index n, T* values, const T* gradients, T* first, T* second, T rate, T decay,
                              T beta1, T beta2, T root_correction, T epsilon);

}  // namespace taper::bench::eigen
