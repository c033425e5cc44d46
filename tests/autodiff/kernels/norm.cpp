#include <taper/autodiff/kernels/norm.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../random_tensors.hpp"
#include "targets.hpp"

using namespace taper;

namespace {

using Real = long double;

template <class T> using Values = std::vector<T>;

std::size_t count_of(Index n) {
  return static_cast<std::size_t>(n);
}

struct ChannelShape {
  Index outer, channels, inner;
  Index size() const { return outer * channels * inner; }
  Index each() const { return outer * inner; }
  template <class F> void for_channel(Index c, const F& f) const {
    for (Index o = 0; o < outer; ++o) {
      for (Index i = 0; i < inner; ++i) f(count_of((o * channels + c) * inner + i));
    }
  }
};

constexpr ChannelShape channel_shapes[] = {
    {2, 1, 1}, {5, 3, 1},  {127, 17, 1}, {128, 4, 1},  {129, 33, 1}, {1000, 5, 1}, {2, 3, 2},
    {3, 2, 4}, {1, 2, 70}, {7, 3, 15},   {4, 2, 5000}, {300, 2, 16}, {3, 5, 129}};

template <class T> Values<T> draw(Rng& rng, Index n, double low, double high) {
  Values<T> x(count_of(n));
  for (T& entry : x) entry = static_cast<T>(rng.uniform(low, high));
  return x;
}

template <class T> constexpr Real eps = static_cast<Real>(std::numeric_limits<T>::epsilon());

template <class T> struct Moments {
  Values<T> mean, variance, unbiased;

  Moments(const ChannelShape& s, const Values<T>& x)
      : mean(count_of(s.channels)), variance(mean.size()), unbiased(mean.size()) {
    const kernels::ChannelPieces pieces(s.outer, s.channels, s.inner);
    Values<T> parts(count_of(pieces.scratch(3)));
    kernels::channel_moments<T>(pieces, x.data(), mean.data(), variance.data(), unbiased.data(),
                                parts.data());
  }
};

/// The moments of one channel in two plain passes.
template <class T> std::pair<Real, Real> exact_moments(const ChannelShape& s, Index c, const Values<T>& x) {
  Real sum = 0, squares = 0;
  s.for_channel(c, [&](std::size_t i) { sum += static_cast<Real>(x[i]); });
  const Real mean = sum / static_cast<Real>(s.each());
  s.for_channel(c, [&](std::size_t i) {
    squares += (static_cast<Real>(x[i]) - mean) * (static_cast<Real>(x[i]) - mean);
  });
  return {mean, squares};
}

}  // namespace

TEST_CASE_TEMPLATE("channel_moments: against two plain passes, next to any mean, on every target", T, float,
                   double) {
  for_each_target([&](const char*) {
    Rng rng(1);
    for (const ChannelShape& s : channel_shapes) {
      for (const double offset : {0.0, 1e-8, 1000.0, sizeof(T) == 4 ? 1e5 : 1e8, -1e8}) {
        for (const double size : {1e-8, 1.0, 1e8}) {
          CAPTURE(s.outer);
          CAPTURE(s.inner);
          CAPTURE(offset);
          CAPTURE(size);
          const Values<T> x = draw<T>(rng, s.size(), (offset - 1) * size, (offset + 1) * size);
          const Moments<T> got(s, x);
          for (Index c = 0; c < s.channels; ++c) {
            const auto [mean, squares] = exact_moments(s, c, x);
            const Real n = static_cast<Real>(s.each());
            const std::size_t k = count_of(c);
            // Entries are exact here: what they differ by loses no digit.
            REQUIRE(std::abs(static_cast<Real>(got.mean[k]) - mean) <=
                    eps<T> * (std::abs(mean) + static_cast<Real>(size)));
            REQUIRE(std::abs(static_cast<Real>(got.variance[k]) - squares / n) <= 16 * eps<T> * squares / n);
            REQUIRE(std::abs(static_cast<Real>(got.unbiased[k]) - squares / (n - 1)) <=
                    16 * eps<T> * squares / (n - 1));
          }
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("channel_moments: constants have no variance, a NaN stays in its channel", T, float,
                   double) {
  for_each_target([&](const char*) {
    for (const ChannelShape& s : channel_shapes) {
      Values<T> x(count_of(s.size()), static_cast<T>(1e8 / 3));
      Moments<T> got(s, x);
      for (Index c = 0; c < s.channels; ++c) {
        REQUIRE(got.mean[count_of(c)] == static_cast<T>(1e8 / 3));
        REQUIRE(got.variance[count_of(c)] == 0);
      }
      for (const T odd : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
        x[x.size() / 2] = odd;
        got = Moments<T>(s, x);
        const Index bad = s.size() / 2 / s.inner % s.channels;
        for (Index c = 0; c < s.channels; ++c) {
          REQUIRE(std::isfinite(got.mean[count_of(c)]) == (c != bad));
          REQUIRE(std::isnan(got.variance[count_of(c)]) == (c == bad));
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("channel_normalize: values and gradients against loops, storing, adding, in place", T,
                   float, double) {
  for_each_target([&](const char*) {
    Rng rng(2);
    for (const ChannelShape& s : channel_shapes) {
      CAPTURE(s.outer);
      CAPTURE(s.inner);
      const kernels::ChannelPieces pieces(s.outer, s.channels, s.inner);
      const Values<T> x = draw<T>(rng, s.size(), -2, 2), gy = draw<T>(rng, s.size(), -2, 2);
      const Values<T> mean = draw<T>(rng, s.channels, -1, 1), scale = draw<T>(rng, s.channels, -2, 2),
                      bias = draw<T>(rng, s.channels, -1, 1), before = draw<T>(rng, s.size(), -1, 1);
      Values<T> y(x.size()), plain(x.size()), added = before, stored(x.size()), place = gy, slope(x.size());
      kernels::channel_normalize<T>(pieces, x.data(), mean.data(), scale.data(), bias.data(), y.data());
      kernels::channel_normalize<T>(pieces, x.data(), mean.data(), scale.data(), nullptr, plain.data());
      kernels::channel_moments_gradient<T>(pieces, x.data(), mean.data(), bias.data(), scale.data(),
                                           added.data(), true);
      Values<T> parts(count_of(pieces.scratch(2))), sum(mean.size()), sum_x(mean.size()), unused(mean.size());
      kernels::channel_normalize_gradient<T>(pieces, x.data(), mean.data(), scale.data(), gy.data(),
                                             stored.data(), false, sum.data(), sum_x.data(), parts.data());
      kernels::channel_normalize_gradient<T>(pieces, x.data(), mean.data(), scale.data(), place.data(),
                                             place.data(), false, unused.data(), unused.data(), parts.data());
      REQUIRE(place == stored);
      slope = before;
      kernels::channel_normalize_gradient<T>(pieces, x.data(), mean.data(), scale.data(), gy.data(),
                                             slope.data(), true, unused.data(), unused.data(), parts.data());
      for (Index c = 0; c < s.channels; ++c) {
        const std::size_t k = count_of(c);
        const Real m = static_cast<Real>(mean[k]), f = static_cast<Real>(scale[k]),
                   b = static_cast<Real>(bias[k]);
        Real total = 0, total_x = 0;
        double worst = 0;
        s.for_channel(c, [&](std::size_t i) {
          const Real d = static_cast<Real>(x[i]) - m, g = static_cast<Real>(gy[i]);
          const auto off = [&](T got, Real exact) {
            worst = std::max(worst, static_cast<double>(std::abs(static_cast<Real>(got) - exact)));
          };
          off(y[i], d * f + b);
          off(plain[i], d * f);
          off(added[i], static_cast<Real>(before[i]) + d * f + b);
          off(stored[i], g * f);
          off(slope[i], static_cast<Real>(before[i]) + g * f);
          total += g, total_x += g * d;
        });
        REQUIRE(worst <= 12 * static_cast<double>(eps<T>));
        const Real bound = 4 * eps<T> * static_cast<Real>(s.each());
        REQUIRE(std::abs(static_cast<Real>(sum[k]) - total) <= bound);
        REQUIRE(std::abs(static_cast<Real>(sum_x[k]) - total_x) <= 2 * bound);
      }
    }
  });
}

TEST_CASE_TEMPLATE("row_normalize: values and gradients against loops, with and without weights", T, float,
                   double) {
  for_each_target([&](const char*) {
    Rng rng(3);
    for (const auto& size : {std::pair<Index, Index>{1, 1}, {3, 2}, {5, 7}, {4, 16}, {200, 33}, {3, 5000}}) {
      const Index rows = size.first, n = size.second;
      for (const bool centered : {true, false}) {
        for (const bool weighted : {true, false}) {
          const double epsilon = 0.1;
          const Values<T> x = draw<T>(rng, rows * n, -2, 4), gy = draw<T>(rng, rows * n, -2, 2),
                          w = draw<T>(rng, n, 0.5, 2), b = draw<T>(rng, n, -1, 1);
          Values<T> y(x.size()), moments(count_of(2 * rows)), gx(x.size()), gw(w.size()), gb(w.size()),
              parts(count_of(kernels::row_scratch(rows, n)));
          kernels::row_normalize<T>(rows, n, centered, epsilon, x.data(), weighted ? w.data() : nullptr,
                                    weighted ? b.data() : nullptr, y.data(), moments.data());
          kernels::row_normalize_gradient<T>(rows, n, centered, x.data(), weighted ? w.data() : nullptr,
                                             moments.data(), gy.data(), gx.data(), false);
          kernels::row_normalize_weight_gradient<T>(rows, n, x.data(), moments.data(), gy.data(), gw.data(),
                                                    gb.data(), parts.data());
          std::vector<Real> sum_w(w.size()), sum_b(w.size());
          double worst = 0;
          for (Index r = 0; r < rows; ++r) {
            const auto at = [&](const Values<T>& v, Index i) {
              return static_cast<Real>(v[count_of(r * n + i)]);
            };
            const auto factor = [&](Index i) { return weighted ? static_cast<Real>(w[count_of(i)]) : 1; };
            const Real count = static_cast<Real>(n);
            Real mean = 0, square = 0, g = 0, along = 0;
            for (Index i = 0; i < n && centered; ++i) mean += at(x, i) / count;
            for (Index i = 0; i < n; ++i) square += (at(x, i) - mean) * (at(x, i) - mean) / count;
            const Real inverse = 1 / std::sqrt(square + static_cast<Real>(epsilon));
            for (Index i = 0; i < n; ++i) {
              g += at(gy, i) * factor(i) / count;
              along += at(gy, i) * factor(i) * (at(x, i) - mean) * inverse / count;
            }
            for (Index i = 0; i < n; ++i) {
              const Real h = (at(x, i) - mean) * inverse;
              const Real value = h * factor(i) + (weighted ? static_cast<Real>(b[count_of(i)]) : 0);
              const Real slope = inverse * (at(gy, i) * factor(i) - (centered ? g : 0) - h * along);
              sum_w[count_of(i)] += at(gy, i) * h, sum_b[count_of(i)] += at(gy, i);
              worst = std::max({worst, static_cast<double>(std::abs(at(y, i) - value)),
                                static_cast<double>(std::abs(at(gx, i) - slope))});
            }
          }
          CAPTURE(rows);
          CAPTURE(n);
          REQUIRE(worst <= 100 * static_cast<double>(eps<T>));
          for (Index i = 0; i < n; ++i) {
            const Real bound = 16 * eps<T> * static_cast<Real>(rows);
            REQUIRE(std::abs(static_cast<Real>(gw[count_of(i)]) - sum_w[count_of(i)]) <= bound);
            REQUIRE(std::abs(static_cast<Real>(gb[count_of(i)]) - sum_b[count_of(i)]) <= bound);
          }
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("normalization: the same bits for any number of threads", T, float, double) {
  const int before = kernels::threads();
  Rng rng(4);
  for (const ChannelShape& s : {ChannelShape{20000, 9, 1}, ChannelShape{64, 20, 144},
                                ChannelShape{2, 3, 40000}, ChannelShape{500, 2, 64}}) {
    const kernels::ChannelPieces pieces(s.outer, s.channels, s.inner);
    const Values<T> x = draw<T>(rng, s.size(), -2, 2), gy = draw<T>(rng, s.size(), -2, 2);
    std::vector<Values<T>> first;
    for (const int threads : {1, 2, 3}) {
      kernels::set_threads(threads);
      const Moments<T> m(s, x);
      Values<T> y(x.size()), gx(x.size()), parts(count_of(pieces.scratch(2))), sum(m.mean.size()), sum_x(sum);
      kernels::channel_normalize<T>(pieces, x.data(), m.mean.data(), m.variance.data(), nullptr, y.data());
      kernels::channel_normalize_gradient<T>(pieces, x.data(), m.mean.data(), m.variance.data(), gy.data(),
                                             gx.data(), false, sum.data(), sum_x.data(), parts.data());
      const Index n = s.channels * s.inner;
      Values<T> rows(x.size()), moments(count_of(2 * s.outer)), g_rows(x.size()), gw(count_of(n)), gb(gw),
          row_parts(count_of(kernels::row_scratch(s.outer, n)));
      kernels::row_normalize<T>(s.outer, n, true, 1e-5, x.data(), nullptr, nullptr, rows.data(),
                                moments.data());
      kernels::row_normalize_gradient<T>(s.outer, n, true, x.data(), nullptr, moments.data(), gy.data(),
                                         g_rows.data(), false);
      kernels::row_normalize_weight_gradient<T>(s.outer, n, x.data(), moments.data(), gy.data(), gw.data(),
                                                gb.data(), row_parts.data());
      const std::vector<Values<T>> results{m.mean, m.variance, m.unbiased, y,  gx, sum,
                                           sum_x,  rows,       g_rows,     gw, gb};
      if (threads == 1) first = results;
      CHECK(results == first);
    }
  }
  kernels::set_threads(before);
}
