#pragma once

#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper {

/// The position of the first of n elements that is not finite, or -1. It is looked for in the first run that
/// has one.
template <class T> Index first_not_finite(const T* values, Index n) {
  constexpr Index run = Index{1} << 16;
  for (Index begin = 0; begin < n; begin += run) {
    const T* const first = values + begin;
    const Index count = std::min(run, n - begin);
    if (kernels::all_finite(count, first)) continue;
    return std::find_if(first, first + count, [](T x) { return !std::isfinite(x); }) - values;
  }
  return -1;
}

template <class T> class Tape;
template <class T> struct Node;

/// Throws an Error that names the operation if the value of this node is not finite.
template <class T> void throw_not_finite_value(const Tape<T>& tape, const Node<T>& node);
/// Throws one if a gradient is not finite that this node has written in the last backward pass.
template <class T> void throw_not_finite_gradient(const Tape<T>& tape, const Node<T>& node);

}  // namespace taper
