#pragma once

#include <algorithm>
#include <cstddef>

#include <taper/autodiff/kernels/denormals.hpp>

/// Loops over raw memory: SIMD, cache blocking, threads. Nothing here knows tensors or tapes, nothing
/// allocates in the steady state, and nothing checks: callers have.
namespace taper::kernels {

using Index = std::ptrdiff_t;

/// How many threads a kernel may use at most; at first, as many as OpenMP would (OMP_NUM_THREADS). Results do
/// not depend on it.
int threads();
void set_threads(int count);

/// Calls f(begin, end) for consecutive pieces of [0, count), each `piece` long but the last. The pieces do
/// not depend on the number of threads; with only one piece there is no parallel region at all.
template <class F> void for_pieces(Index count, Index piece, const F& f) {
  const Index pieces = (count + piece - 1) / piece;
  if (pieces <= 1 || threads() == 1) {
    for (Index begin = 0; begin < count; begin += piece) f(begin, std::min(begin + piece, count));
    return;
  }
  const unsigned mode = float_mode();  // every thread computes as the caller does
#pragma omp parallel num_threads(threads())
  {
    const unsigned before = float_mode();
    set_float_mode(mode);
#pragma omp for schedule(static)
    for (Index k = 0; k < pieces; ++k) f(k * piece, std::min((k + 1) * piece, count));
    set_float_mode(before);
  }
}

/// A piece long enough that starting a thread for it pays, for loops that are bound by memory.
inline constexpr Index elementwise_piece = Index{1} << 15;

}  // namespace taper::kernels
