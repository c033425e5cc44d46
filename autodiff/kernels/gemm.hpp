#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// A matrix for reading: entry (i, j) is data[i * row + j * column]. A transpose swaps the strides.
template <class T> struct MatrixRef {
  const T* data;
  Index row;
  Index column;
};

/// C = A B + 1 bias', or with `add` C = C + A B, for A m x k, B k x n and C m x n with rows `ldc` apart.
/// `bias` has n entries, or is null. Every entry is summed over k in the same order whatever the number of
/// threads.
///
/// The structure is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication"
/// (2008): B is packed into panels as wide as the register tile, A into blocks that stay in cache, and a tile
/// of C is kept in registers over the whole inner loop.
template <class T>
void gemm(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
          const T* bias = nullptr);

}  // namespace taper::kernels
