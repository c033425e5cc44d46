#include <doctest/doctest.h>
#include <taper/autodiff/kernels/reduce.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "targets.hpp"
#include "ulps.hpp"

using taper::Index;
using taper::Rng;

namespace {

using Real = long double;

/// outer x n x inner random numbers, one place off any alignment, and what a loop in long double makes of
/// them.
template <class T> struct SoftmaxCase {
  Index outer, n, inner;
  std::vector<T> x, gy;                   // gy as long as x; its start serves for what is reduced
  std::vector<Real> all;                  // log of the sum of exponentials
  std::vector<Real> p;                    // softmax
  std::vector<Real> soft, log_soft, lse;  // gradients by gy

  SoftmaxCase(Rng& rng, Index outer_, Index n_, Index inner_, double spread)
      : outer(outer_), n(n_), inner(inner_) {
    const auto size = static_cast<std::size_t>(outer * n * inner);
    x.resize(size + 1), gy.resize(size + 1 + static_cast<std::size_t>(outer * inner));
    for (T& entry : x) entry = static_cast<T>(rng.uniform(-spread, spread));
    for (T& entry : gy) entry = static_cast<T>(rng.uniform(-1, 1));
    all.resize(static_cast<std::size_t>(outer * inner));
    for (auto* to : {&p, &soft, &log_soft, &lse}) to->resize(size);
    for (Index o = 0; o < outer; ++o) {
      for (Index i = 0; i < inner; ++i) column(o, i);
    }
  }

  std::size_t at(Index o, Index k, Index i) const {
    return static_cast<std::size_t>((o * n + k) * inner + i);
  }
  std::size_t at(Index o, Index i) const { return static_cast<std::size_t>(o * inner + i); }
  Real in(Index o, Index k, Index i) const { return static_cast<Real>(x[1 + at(o, k, i)]); }
  Real g(std::size_t place) const { return static_cast<Real>(gy[1 + place]); }

  void column(Index o, Index i) {
    Real most = -std::numeric_limits<Real>::infinity(), total = 0, weighted = 0, plain = 0;
    for (Index k = 0; k < n; ++k) most = std::max(most, in(o, k, i));
    for (Index k = 0; k < n; ++k) total += std::exp(in(o, k, i) - most);
    all[at(o, i)] = most + std::log(total);
    for (Index k = 0; k < n; ++k) {
      p[at(o, k, i)] = std::exp(in(o, k, i) - most) / total;
      weighted += p[at(o, k, i)] * g(at(o, k, i)), plain += g(at(o, k, i));
    }
    for (Index k = 0; k < n; ++k) {
      const std::size_t here = at(o, k, i);
      soft[here] = p[here] * (g(here) - weighted);
      log_soft[here] = g(here) - p[here] * plain;
      lse[here] = p[here] * g(at(o, i));
    }
  }
};

/// The largest |a - b| / (1 + |b|).
template <class T> double distance(const std::vector<T>& a, const std::vector<Real>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const Real away = std::abs(static_cast<Real>(a[i + 1]) - b[i]) / (1 + std::abs(b[i]));
    worst = std::max(worst, away == away ? static_cast<double>(away) : HUGE_VAL);
  }
  return worst;
}

template <class T> void check_softmax(const SoftmaxCase<T>& c) {
  CAPTURE(c.outer);
  CAPTURE(c.n);
  CAPTURE(c.inner);
  // What the shift by the maximum, the sum and the logarithm round, with numbers up to 30.
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon()), tolerance = 8 * eps;
  const T* const x = c.x.data() + 1;
  const T* const gy = c.gy.data() + 1;
  std::vector<T> y(c.all.size() + 2, T{7}), soft(c.p.size() + 2, T{7}), logs = soft, g = soft;
  std::vector<T> parts(2 * c.all.size());
  taper::kernels::logsumexp_axis<T>(c.outer, c.n, c.inner, x, y.data() + 1, parts.data());
  REQUIRE(distance(y, c.all) <= tolerance);
  taper::kernels::softmax_axis<T>(c.outer, c.n, c.inner, x, soft.data() + 1, false);
  REQUIRE(distance(soft, c.p) <= tolerance);
  taper::kernels::softmax_axis<T>(c.outer, c.n, c.inner, x, logs.data() + 1, true);
  for (Index o = 0; o < c.outer; ++o) {
    for (Index i = 0; i < c.inner; ++i) {
      for (Index k = 0; k < c.n; ++k) {
        const Real expected = c.in(o, k, i) - c.all[c.at(o, i)];
        const Real size = 1 + std::abs(c.in(o, k, i)) + std::abs(c.all[c.at(o, i)]);
        REQUIRE(std::abs(static_cast<Real>(logs[1 + c.at(o, k, i)]) - expected) <= tolerance * size);
      }
    }
  }
  for (const auto* result : {&y, &soft, &logs}) REQUIRE((result->front() == T{7} && result->back() == T{7}));
  // The gradients see rounded results; with 30 in the exponent that counts 30 times.
  const double after = 64 * eps;
  for (const bool add : {false, true}) {
    const std::vector<T> before(c.p.size() + 2, T{2});
    const auto expect = [&](const std::vector<Real>& exact) {
      REQUIRE((g.front() == T{2} && g.back() == T{2}));
      std::vector<Real> shifted = exact;
      for (Real& entry : shifted) entry += add ? 2 : 0;
      REQUIRE(distance(g, shifted) <= after);
    };
    g = before;
    taper::kernels::logsumexp_axis_gradient<T>(c.outer, c.n, c.inner, x, parts.data(), gy, g.data() + 1, add);
    expect(c.lse);
    g = before;
    taper::kernels::softmax_axis_gradient<T>(c.outer, c.n, c.inner, soft.data() + 1, gy, g.data() + 1, false,
                                             add);
    expect(c.soft);
    g = before;
    taper::kernels::softmax_axis_gradient<T>(c.outer, c.n, c.inner, logs.data() + 1, gy, g.data() + 1, true,
                                             add);
    // Its terms cancel, so the sum of gy counts.
    Real scale = 1;
    for (const T entry : c.gy)
      scale += std::abs(static_cast<Real>(entry)) / static_cast<Real>(c.outer * c.inner);
    std::vector<Real> shifted = c.log_soft;
    for (Real& entry : shifted) entry += add ? 2 : 0;
    REQUIRE(distance(g, shifted) <= after * static_cast<double>(scale));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("softmax and logsumexp: rows and columns of every length, on every target", T, float,
                   double) {
  Rng rng(1);
  std::vector<SoftmaxCase<T>> cases;
  for (Index n = 1; n <= 36; ++n) cases.emplace_back(rng, 2, n, 1, 5);
  for (Index inner = 2; inner <= 36; ++inner) cases.emplace_back(rng, 2, 3, inner, 5);
  for (const auto& [outer, n, inner] :
       {std::array<Index, 3>{3, 1000, 1}, {1, 300, 9}, {0, 3, 2}, {3, 2, 0}, {5, 1, 1}}) {
    cases.emplace_back(rng, outer, n, inner, 30);
  }
  for_each_target([&](const char*) {
    for (const SoftmaxCase<T>& c : cases) check_softmax(c);
    taper::kernels::softmax_axis<T>(2, 0, 1, nullptr, nullptr, false);  // nothing to do, nothing touched
    taper::kernels::softmax_axis<T>(2, 0, 3, nullptr, nullptr, true);
  });
}

TEST_CASE_TEMPLATE("softmax and logsumexp: huge numbers, infinities and NaN, in rows and columns", T, float,
                   double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T huge = std::numeric_limits<T>::max() / 2;
  struct Case {
    std::array<T, 3> x;
    T all;
    std::array<T, 3> p;
  };
  const Case cases[] = {{{huge, -huge, 0}, huge, {1, 0, 0}},
                        {{-huge, -huge, -huge}, -huge, {T{1} / 3, T{1} / 3, T{1} / 3}},
                        {{-infinity, 1, -infinity}, 1, {0, 1, 0}},
                        {{-infinity, -infinity, -infinity}, -infinity, {nan, nan, nan}},
                        {{infinity, 1, 2}, infinity, {nan, 0, 0}},
                        {{nan, 1, 2}, nan, {nan, nan, nan}},
                        {{1, 2, nan}, nan, {nan, nan, nan}}};
  const auto same = [](T a, T b) {
    return std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) < T(1e-6);
  };
  for_each_target([&](const char*) {
    for (const Case& c : cases) {
      CAPTURE(c.x[0]);
      CAPTURE(c.x[2]);
      for (const Index inner : {1, 2, 19}) {
        std::vector<T> x(static_cast<std::size_t>(3 * inner)), y(static_cast<std::size_t>(inner)),
            p(x.size());
        for (std::size_t k = 0; k < 3; ++k) {
          std::fill_n(x.begin() + static_cast<Index>(k) * inner, inner, c.x[k]);
        }
        taper::kernels::logsumexp_axis<T>(1, 3, inner, x.data(), y.data(), nullptr);
        taper::kernels::softmax_axis<T>(1, 3, inner, x.data(), p.data(), false);
        for (std::size_t i = 0; i < y.size(); ++i) {
          CHECK(same(y[i], c.all));
          for (std::size_t k = 0; k < 3; ++k) CHECK(same(p[k * y.size() + i], c.p[k]));
        }
      }
    }
  });
}
