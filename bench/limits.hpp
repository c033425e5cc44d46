#pragma once

#include <cstddef>

/// What this machine can do at most, to be measured beside what programs do on it.
namespace taper::bench {

/// Multiplies and adds in registers alone, on each of `threads` threads, with the widest vectors that the
/// machine has; returns how many operations that were, where a multiplication and an addition are two.
template <class T> double multiply_add(int threads = 1);

/// Reads n numbers.
template <class T> void read(std::size_t n, const T* from);

/// Copies n numbers.
template <class T> void copy(std::size_t n, const T* from, T* to);

/// c = a + s b, on `threads` threads: the triad of McCalpin's STREAM.
template <class T> void triad(std::size_t n, const T* a, const T* b, T s, T* c, int threads);

}  // namespace taper::bench
