#pragma once

#include <cmath>
#include <taper/autodiff/tensor.hpp>

namespace taper::bench {

/// Numbers that another program can make too: position i of sequence k, in [-1, 1). Not random, but without a
/// pattern that a product could see.
inline float number(Index k, Index i) {
  const double x = 12.9898 * static_cast<double>(i + 1) + 78.233 * static_cast<double>(k + 1);
  const double y = 43758.5453 * std::sin(x);
  return static_cast<float>(2 * (y - std::floor(y)) - 1);
}

inline void fill(View<float> values, Index k, float scale) {
  for (Index i = 0; i < values.size(); ++i) values.data()[i] = scale * number(k, i);
}

}  // namespace taper::bench
