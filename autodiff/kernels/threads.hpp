#pragma once

#include <algorithm>
#include <cstddef>

/// Loops over raw memory: SIMD, cache blocking, threads. Nothing here knows tensors or tapes, nothing
/// allocates in the steady state, and nothing checks: callers have.
namespace taper::kernels {

using Index = std::ptrdiff_t;

/// How many threads a kernel may use at most; at first, as many as OpenMP would (OMP_NUM_THREADS). Results do
/// not depend on it.
int threads();
void set_threads(int count);

/// Calls call(context, begin, end) for all pieces, on several threads.
void run_pieces(Index count, Index piece, void (*call)(const void* context, Index begin, Index end),
                const void* context);

/// Calls f(begin, end) for consecutive pieces of [0, count), each `piece` long but the last. The pieces do
/// not depend on the number of threads; with only one piece no other thread is asked.
template <class F> void for_pieces(Index count, Index piece, const F& f) {
  if (count <= piece || threads() == 1) {
    for (Index begin = 0; begin < count; begin += piece) f(begin, std::min(begin + piece, count));
    return;
  }
  run_pieces(
      count, piece,
      [](const void* context, Index begin, Index end) { (*static_cast<const F*>(context))(begin, end); }, &f);
}

/// A piece long enough that starting a thread for it pays, for loops that are bound by memory.
inline constexpr Index elementwise_piece = Index{1} << 15;

/// Splits a loop over `outer` slices of `work` numbers each among threads; f(o) handles one slice.
template <class F> void for_slices(Index outer, Index work, const F& f) {
  for_pieces(outer, std::max<Index>(1, elementwise_piece / std::max<Index>(work, 1)),
             [&](Index begin, Index end) {
               for (Index o = begin; o < end; ++o) f(o);
             });
}

}  // namespace taper::kernels
