#pragma once

#include <algorithm>
#include <cstddef>

/// Loops over raw memory: SIMD, cache blocking, threads. Nothing here knows tensors or tapes, nothing
/// allocates in the steady state (a thread does once, for its first part of a product), and nothing checks:
/// callers have.
namespace taper::kernels {

using Index = std::ptrdiff_t;

/// How many threads a kernel may use at most; at first, as many as OpenMP would (OMP_NUM_THREADS). Where the
/// system does not start so many, fewer are used. Results do not depend on it.
int threads();
void set_threads(int count);

/// Who does which piece.
enum class Schedule {
  fixed,   ///< neighbouring pieces for each thread, as many for each: they may still be in its cache
  dynamic  ///< the next piece for the next thread that is free: for long pieces, on cores of different speed
};

/// Calls call(context, begin, end) for all pieces, on several threads. When pieces throw, those not begun are
/// left out, and one of the exceptions is thrown to the caller.
void run_pieces(Index count, Index piece, void (*call)(const void* context, Index begin, Index end),
                const void* context, Schedule schedule);

/// Calls f(begin, end) for consecutive pieces of [0, count), each `piece` long but the last. The pieces do
/// not depend on the number of threads; up to `alone`, or with only one piece, no other thread is asked.
template <class F>
void for_pieces(Index count, Index piece, const F& f, Index alone = 0, Schedule schedule = Schedule::fixed) {
  if (count <= std::max(piece, alone) || threads() == 1) {
    for (Index begin = 0; begin < count; begin += piece) f(begin, std::min(begin + piece, count));
    return;
  }
  run_pieces(
      count, piece,
      [](const void* context, Index begin, Index end) { (*static_cast<const F*>(context))(begin, end); }, &f,
      schedule);
}

/// A piece of a loop over elements as cheap as a sum of two. Measured by bench/elementwise (two cores of a
/// Xeon with AVX-512, elements in cache): asking a second thread takes 2.5 us, so that with two the sums of
/// 32768 floats take as long as with one (5.1 and 5.3 us), those of 65536 are 1.2 times as fast, those of
/// 131072 1.5 times; of softplus, which costs five times as much, 8192 take as long, 16384 are 1.1 times as
/// fast. So two pieces are what one thread does alone.
inline constexpr Index elementwise_piece = Index{1} << 14;

/// What one element of a loop costs, in cheap ones.
inline constexpr Index cheap = 1;
inline constexpr Index costly = 4;  ///< with an exponential, a logarithm or a root

/// Splits a loop over n elements among threads; f(begin, end) handles a run.
template <class F> void for_numbers(Index n, Index cost, const F& f) {
  const Index piece = elementwise_piece / cost;
  for_pieces(n, piece, f, 2 * piece);
}

/// Splits a loop over `outer` slices of `work` cheap elements each among threads; f(o) handles one slice.
template <class F> void for_slices(Index outer, Index work, const F& f) {
  const Index piece = std::max<Index>(1, elementwise_piece / std::max<Index>(work, 1));
  for_pieces(
      outer, piece,
      [&](Index begin, Index end) {
        for (Index o = begin; o < end; ++o) f(o);
      },
      2 * elementwise_piece / std::max<Index>(work, 1));
}

/// Long sums are taken in pieces of this length, on which their last bits depend.
inline constexpr Index sum_piece = Index{1} << 15;

/// Up to so many terms are added up one after the other, as fast as that goes; more are added up with care.
inline constexpr Index sum_plainly = 128;

}  // namespace taper::kernels
