#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// A matrix for reading: entry (i, j) is data[i * row + j * column]. A transpose swaps the strides.
template <class T> struct MatrixRef {
  const T* data;
  Index row;
  Index column;
};

/// Functions that a product can apply to its result before it leaves the cache.
enum class Activation { none, relu, tanh, sigmoid };

/// C = f(A B + 1 bias'), or with `add` C = f(C + A B + 1 bias'), for A m x k, B k x n and C m x n with rows
/// `ldc` apart. `bias` has n entries, or is null. In what order an entry is summed over k depends on the
/// sizes and strides alone, not on the number of threads.
///
/// The structure is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication"
/// (2008), and of Van Zee and van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality"
/// (2015): a tile of C stays in registers over the inner loop, and a panel of B in cache while the rows of A
/// pass by. Of A and B only what is not read well where it is gets packed.
template <class T>
void gemm(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
          const T* bias = nullptr, Activation f = Activation::none);

/// The same with a bias of m entries, one for each row, and by the caller's thread alone: for those who split
/// their work among threads themselves. An entry has the bits that `gemm` gives it.
template <class T>
void gemm_alone(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
                const T* row_bias = nullptr, Activation f = Activation::none);

}  // namespace taper::kernels
