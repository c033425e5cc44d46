#pragma once

#include <initializer_list>

#include <taper/autodiff/op.hpp>

/// Inputs for the gradient check that the records of operations have in common.
namespace taper::ops {

/// Entries uniform in [low, high).
inline Tensor<double> uniform(Rng& rng, const Shape& shape, double low = -2, double high = 2) {
  Tensor<double> x(shape);
  for (double& entry : x) entry = rng.uniform(low, high);
  return x;
}

/// Entries uniform in [-2, 2) and at least 0.1 away from zero and from one.
inline Tensor<double> away_from_kinks(Rng& rng, const Shape& shape) {
  Tensor<double> x(shape);
  for (double& entry : x) {
    do {
      entry = rng.uniform(-2, 2);
    } while (std::abs(entry) < 0.1 || std::abs(entry - 1) < 0.1 || std::abs(entry + 1) < 0.1);
  }
  return x;
}

/// Distinct entries, at least 0.1 apart, in random order: no ties for a maximum.
inline Tensor<double> distinct(Rng& rng, const Shape& shape) {
  Tensor<double> x(shape);
  for (Index i = 0; i < x.size(); ++i) x[i] = 0.2 * static_cast<double>(i) - 1 + rng.uniform(0, 0.1);
  rng.shuffle(x.begin(), x.end());
  return x;
}

/// Whole numbers in [0, count).
inline Tensor<double> whole(Rng& rng, const Shape& shape, Index count) {
  Tensor<double> x(shape);
  for (double& entry : x) entry = static_cast<double>(rng.below(count));
  return x;
}

}  // namespace taper::ops
