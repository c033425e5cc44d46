#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/tensor.hpp>

/// Entries uniform in [low, high).
template <class T>
taper::Tensor<T> random_tensor(taper::Rng& rng, const taper::Shape& shape, double low = -2, double high = 2) {
  taper::Tensor<T> x(shape);
  for (T& entry : x) entry = static_cast<T>(rng.uniform(low, high));
  return x;
}

/// Standard normal entries.
template <class T> taper::Tensor<T> normal_tensor(const taper::Shape& shape, std::uint64_t seed = 2) {
  taper::Tensor<T> x(shape);
  taper::Rng rng(seed);
  for (T& entry : x) entry = static_cast<T>(rng.normal());
  return x;
}

/// The largest |a - b| / (1 + |b|) over all entries, 0 where both are NaN or the same infinity; infinite when
/// the shapes differ.
template <class A, class B> double apart(taper::View<A> a, taper::View<B> b) {
  if (a.shape() != b.shape()) return HUGE_VAL;
  double worst = 0;
  for (taper::Index i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double distance = std::abs(x - y) / (1 + std::abs(y));
    worst = distance >= worst ? distance : std::isnan(distance) ? HUGE_VAL : worst;
  }
  return worst;
}

template <class A, class B> bool same_bits(taper::View<A> a, taper::View<B> b) {
  static_assert(sizeof(A) == sizeof(B));
  return a.shape() == b.shape() &&
         (a.size() == 0 ||
          std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(A)) == 0);
}
