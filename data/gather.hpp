#pragma once

#include <algorithm>
#include <span>

#include <taper/autodiff/tensor.hpp>

namespace taper::data {

/// Copies the chosen rows (positions along the first dimension) of `from`, one after the other, to `to`. The
/// caller has made sure that they exist and that `to` has room for them.
template <class T> void gather(View<const T> from, std::span<const Index> chosen, T* to) {
  const Index rows = from.shape()[0];
  const Index length = rows == 0 ? 0 : from.size() / rows;
  constexpr Index few = 4;  // up to where a call that copies takes longer than copying
  for (const Index row : chosen) {
    const T* const here = from.data() + row * length;
    if (length > few) {
      to = std::copy_n(here, length, to);
    } else {
      for (Index k = 0; k < length; ++k) *to++ = here[k];
    }
  }
}

}  // namespace taper::data
