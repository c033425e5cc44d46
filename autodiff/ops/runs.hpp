#pragma once

#include <algorithm>

#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/shape.hpp>

/// What operations that move entries have in common: runs of them that stay together.
namespace taper {

/// Copies a run of elements, or adds it to what is there.
template <class T> void store_or_add_run(const T* from, Index count, T* to, bool add) {
  if (add) {
    kernels::scale<T>(count, T{1}, from, to, true);
  } else {
    std::copy_n(from, count, to);
  }
}

/// How many indices the axes [begin, end) have together.
inline Index product(const Shape& shape, Index begin, Index end) {
  Index result = 1;
  for (Index k = begin; k < end; ++k) result *= shape[k];
  return result;
}

}  // namespace taper
