#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// A factor of outer x count x inner entries, and a gate for each index in the middle. The rows of a matrix
/// have outer = 1, its columns inner = 1; with both, each entry has a gate of its own.
struct Gates {
  Index outer, count, inner;

  Index size() const { return outer * count * inner; }
};

/// The Hadamard product w = u v of a factor with its gates.
template <class T> void hadamard(Gates gates, const T* u, const T* v, T* w);

/// Where the gradient of a factor goes; null when it is not required.
template <class T> struct HadamardGradient {
  T* data = nullptr;
  bool add = false;  // to what is there
};

/// The gradient in one pass over (gw, u): gu = gw v entry by entry, and gv = the sum of gw u over all entries
/// of each gate, in the same order for any number of threads. Both targets may be the same memory when each
/// entry has a gate of its own and the second one adds: it then adds to what the first has left. gu may take
/// the place of gw.
template <class T>
void hadamard_gradient(Gates gates, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                       HadamardGradient<T> gv);

}  // namespace taper::kernels
