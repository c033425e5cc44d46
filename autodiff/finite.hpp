#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/autodiff/shape.hpp>

namespace taper {

/// The position of the first of n numbers that is not finite, or -1. It is looked for in the first run that
/// has one: a run alone has no early way out, so that the compiler makes vectors of it.
template <class T> Index first_not_finite(const T* values, Index n) {
  constexpr Index run = 1024;
  for (Index begin = 0; begin < n; begin += run) {
    const T* const first = values + begin;
    const T* const last = first + std::min(run, n - begin);
    int found = 0;
    for (const T* at = first; at != last; ++at) found |= !(std::abs(*at) <= std::numeric_limits<T>::max());
    if (found != 0) return std::find_if(first, last, [](T x) { return !std::isfinite(x); }) - values;
  }
  return -1;
}

}  // namespace taper
