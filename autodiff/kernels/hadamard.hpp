#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// Which gate stands for an entry of a factor: that of its column or that of its row. A gate for each entry
/// is a gate for each column of one long row.
enum class Gates { columns, rows };

/// The Hadamard product w = u v of a factor, rows x columns, with its gates.
template <class T> void hadamard(Gates gates, Index rows, Index columns, const T* u, const T* v, T* w);

/// Where the gradient of a factor goes; null when it is not required.
template <class T> struct HadamardGradient {
  T* data = nullptr;
  bool add = false;  // to what is there
};

/// The gradient in one pass over (gw, u): gu = gw v entry by entry, and gv = the sum of gw u over the column
/// or the row of each gate, in the same order for any number of threads. Both targets may be the same memory
/// when there is one row or one column and the second one adds: it then adds to what the first has left.
/// gu may take the place of gw.
template <class T>
void hadamard_gradient(Gates gates, Index rows, Index columns, const T* gw, const T* u, const T* v,
                       HadamardGradient<T> gu, HadamardGradient<T> gv);

}  // namespace taper::kernels
