#pragma once

#include <cstddef>

/// Eigen compiled for this machine, in a library of its own that shows nothing else: templates that it shares
/// with the rest of the program must not be mixed up with theirs, which are compiled for any machine.
namespace taper::bench::eigen {

#define TAPER_BENCH_VISIBLE __attribute__((visibility("default")))

using Index = std::ptrdiff_t;

/// C = op(A) op(B) for row-major matrices without gaps; C is m x n, the inner dimension k.
template <class T>
TAPER_BENCH_VISIBLE void product(Index m, Index n, Index k, bool transpose_a, const T* a, bool transpose_b,
                                 const T* b, T* c);

}  // namespace taper::bench::eigen
