#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <taper/autodiff/random.hpp>

/// The distance between T's numbers next to x.
template <class T> long double spacing(long double x) {
  int exponent = std::numeric_limits<T>::min_exponent;
  if (x != 0 && std::isfinite(x)) {
    int own;
    std::frexp(x, &own);
    exponent = std::max(exponent, own);
  }
  return std::ldexp(
      1.0L, std::min(exponent, std::numeric_limits<T>::max_exponent) - std::numeric_limits<T>::digits);
}

/// How far `got` lies from the exact result, in units of the last place of a number as large as `scale`. An
/// infinity counts as the number that would come after the largest. Infinite when just one is NaN.
template <class T> double ulps(T got, long double exact, long double scale) {
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : HUGE_VAL;
  const long double end = std::ldexp(1.0L, std::numeric_limits<T>::max_exponent);
  const auto inside = [end](long double x) { return std::fmin(std::fmax(x, -end), end); };
  return static_cast<double>(std::abs(inside(static_cast<long double>(got)) - inside(exact)) /
                             spacing<T>(scale));
}

template <class T> double ulps(T got, long double exact) {
  return ulps(got, exact, exact);
}

/// A number with random bits: any finite one, of all sizes.
template <class T> T random_bits(taper::Rng& rng) {
  using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  for (;;) {
    Word word = 0;
    for (int i = 0; i < 4; ++i) {
      word =
          static_cast<Word>((word << (2 * sizeof(T))) | static_cast<Word>(rng.below(1 << (2 * sizeof(T)))));
    }
    const T x = std::bit_cast<T>(word);
    if (std::isfinite(x)) return x;
  }
}

/// Where functions may go wrong: the ends of the range, zeros, infinities and NaN.
template <class T> std::vector<T> special_values() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values{0,   1,    Limits::denorm_min(), Limits::min(),     Limits::epsilon(),
                        100, 1000, Limits::max(),        Limits::infinity()};
  for (std::size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
  values.push_back(Limits::quiet_NaN());
  return values;
}
