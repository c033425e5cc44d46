#include <taper/autodiff/kernels/loss.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "targets.hpp"
#include "ulps.hpp"

using taper::Index;
using taper::Rng;
using taper::kernels::Loss;

namespace {

using Real = long double;

constexpr Loss all_losses[] = {Loss::square, Loss::absolute, Loss::huber, Loss::bce_with_logits};
constexpr double delta = 0.75;

Real exact_loss(Loss kind, Real p, Real t) {
  const Real size = std::abs(p - t), bound = delta;
  switch (kind) {
    case Loss::square:
      return size * size;
    case Loss::absolute:
      return size;
    case Loss::huber:
      return size <= bound ? size * size / 2 : bound * (size - bound / 2);
    case Loss::bce_with_logits:
      return std::max(p, 0.0L) - t * p + std::log1p(std::exp(-std::abs(p)));
    case Loss::hinge:
      return std::max(0.0L, 1 - t * p);
    case Loss::poisson_log:
      return std::exp(p) - t * p;
    case Loss::poisson:
      return p - t * std::log(p + bound);
  }
  return 0;
}

Real exact_slope(Loss kind, int of, Real p, Real t) {
  const Real side = of == 0 ? 1 : -1, difference = p - t, bound = delta;
  switch (kind) {
    case Loss::square:
      return side * 2 * difference;
    case Loss::absolute:
      return side * static_cast<Real>((difference > 0) - (difference < 0));
    case Loss::huber:
      return side * std::clamp(difference, -bound, bound);
    case Loss::bce_with_logits:
      return of == 0 ? 1 / (1 + std::exp(-p)) - t : -p;
    case Loss::hinge:
      return t * p >= 1 ? 0 : of == 0 ? -t : -p;
    case Loss::poisson_log:
      return of == 0 ? std::exp(p) - t : -p;
    case Loss::poisson:
      return of == 0 ? 1 - t / (p + bound) : -std::log(p + bound);
  }
  return 0;
}

/// Predictions and targets, one place off any alignment; for a cross entropy the targets are probabilities.
template <class T> struct LossCase {
  std::vector<T> p, t;

  LossCase(Rng& rng, Loss kind, Index n) : p(static_cast<std::size_t>(n) + 1), t(p.size()) {
    const bool entropy = kind == Loss::bce_with_logits;
    for (T& entry : p) entry = static_cast<T>(entropy ? rng.uniform(-12, 12) : rng.uniform(-2, 2));
    for (T& entry : t) entry = static_cast<T>(entropy ? rng.uniform(0, 1) : rng.uniform(-2, 2));
    for (std::size_t i = 0; i < t.size(); i += 3)
      t[i] = entropy ? static_cast<T>(rng.below(2)) : p[i];  // often equal
  }
};

}  // namespace

TEST_CASE_TEMPLATE("loss: every length against a loop, on every target", T, float, double) {
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  for_each_target([&](const char*) {
    Rng rng(1);
    for (const Loss kind : all_losses) {
      for (const Index n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 1000, 40000}) {
        CAPTURE(static_cast<int>(kind));
        CAPTURE(n);
        const LossCase<T> c(rng, kind, n);
        Real sum = 0;
        for (std::size_t i = 1; i < c.p.size(); ++i) {
          sum += exact_loss(kind, static_cast<Real>(c.p[i]), static_cast<Real>(c.t[i]));
        }
        const double got =
            taper::kernels::loss<T>(kind, n, c.p.data() + 1, c.t.data() + 1, static_cast<T>(delta));
        // All losses are positive; a lane sums up to n numbers, and their errors add up at random.
        CHECK(std::abs(got - static_cast<double>(sum)) <=
              (8 + std::sqrt(static_cast<double>(n))) * eps * static_cast<double>(sum));
      }
    }
  });
}

TEST_CASE_TEMPLATE("loss_gradient: every length against a loop, on every target", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(2);
    for (const Loss kind : all_losses) {
      for (const Index n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 1000}) {
        CAPTURE(static_cast<int>(kind));
        CAPTURE(n);
        const LossCase<T> c(rng, kind, n);
        for (const int way : {0, 1, 2, 3}) {
          const int of = way & 1;
          const bool add = way & 2;
          const T s = static_cast<T>(0.3);
          std::vector<T> g(c.p.size() + 1, T{0.625});
          taper::kernels::loss_gradient<T>(kind, of, n, c.p.data() + 1, c.t.data() + 1, static_cast<T>(delta),
                                           s, g.data() + 1, add);
          double worst = 0;
          for (std::size_t i = 1; i < c.p.size(); ++i) {
            const Real p = static_cast<Real>(c.p[i]), t = static_cast<Real>(c.t[i]);
            const Real term = static_cast<Real>(s) * exact_slope(kind, of, p, t);
            // Of the cross entropy, sigmoid(p) and t may cancel.
            const Real parts = kind == Loss::bce_with_logits && of == 0
                                   ? static_cast<Real>(s) * (1 / (1 + std::exp(-p)) + t)
                                   : 0;
            worst = std::max(worst, ulps(g[i], term + (add ? 0.625L : 0),
                                         std::max(std::abs(term), parts) + (add ? 0.625L : 0)));
          }
          REQUIRE(worst <= 4);
          REQUIRE((g.front() == T{0.625} && g.back() == T{0.625}));
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("loss: a good fit keeps its digits, large numbers do not overflow, NaN shows", T, float,
                   double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const auto entropy = [](T p, T t) { return taper::kernels::loss<T>(Loss::bce_with_logits, 1, &p, &t, 0); };
  const auto slope = [](Loss kind, T p, T t) {
    T g = 7;
    taper::kernels::loss_gradient<T>(kind, 0, 1, &p, &t, T{1}, T{1}, &g, false);
    return g;
  };
  for_each_target([&](const char*) {
    for (const double p : {5.0, 20.0, 80.0}) {
      const Real expected = std::log1p(std::exp(static_cast<Real>(-p)));
      CHECK(ulps(static_cast<T>(entropy(static_cast<T>(p), 1)), expected) <= 2);
      CHECK(ulps(static_cast<T>(entropy(static_cast<T>(-p), 0)), expected) <= 2);
    }
    CHECK(entropy(1000, 0) == 1000);
    CHECK(entropy(-1000, 1) == 1000);
    CHECK(entropy(1000, 1) == 0);
    CHECK(std::isnan(entropy(nan, 1)));
    CHECK(slope(Loss::bce_with_logits, infinity, 1) == 0);
    CHECK(slope(Loss::bce_with_logits, -infinity, 1) == -1);
    CHECK(slope(Loss::absolute, 2, 2) == 0);
    CHECK(slope(Loss::huber, infinity, 2) == 1);
    for (const Loss kind : {Loss::square, Loss::huber, Loss::bce_with_logits})
      CHECK(std::isnan(slope(kind, nan, 1)));
    for (const Loss kind : all_losses) {
      const T p = nan, t = 0;
      CHECK(std::isnan(taper::kernels::loss<T>(kind, 1, &p, &t, T{1})));
    }
  });
}

TEST_CASE_TEMPLATE("loss: the same bits on any number of threads", T, float, double) {
  const int before = taper::kernels::threads();
  Rng rng(3);
  for (const Loss kind : all_losses) {
    const LossCase<T> c(rng, kind, 100000);
    const Index n = 100000;
    std::vector<T> first(c.p.size());
    double first_loss = 0;
    for (const int count : {1, 2, 3}) {
      taper::kernels::set_threads(count);
      std::vector<T> g(c.p.size());
      const double loss = taper::kernels::loss<T>(kind, n, c.p.data(), c.t.data(), static_cast<T>(delta));
      taper::kernels::loss_gradient<T>(kind, 0, n, c.p.data(), c.t.data(), static_cast<T>(delta), T{1},
                                       g.data(), false);
      if (count == 1) first = g, first_loss = loss;
      CHECK(loss == first_loss);
      CHECK(std::memcmp(g.data(), first.data(), g.size() * sizeof(T)) == 0);
    }
  }
  taper::kernels::set_threads(before);
}

TEST_CASE_TEMPLATE("loss: hinge and Poisson, entry by entry, with their sum and both gradients", T, float,
                   double) {
  const T factor = static_cast<T>(0.3);
  for_each_target([&](const char*) {
    Rng rng(4);
    for (const Loss kind : {Loss::square, Loss::huber, Loss::hinge, Loss::poisson_log, Loss::poisson}) {
      for (const std::size_t n : {1, 2, 7, 16, 33, 1000}) {
        std::vector<T> p(n), t(n), y(n), gy(n), g(n);
        for (std::size_t i = 0; i < n; ++i) {
          p[i] = static_cast<T>(rng.uniform(kind == Loss::poisson ? 0 : -3, 3));
          t[i] = static_cast<T>(kind == Loss::hinge ? 2 * rng.below(2) - 1 : rng.below(5));
          gy[i] = static_cast<T>(rng.uniform(-1, 1));
        }
        const auto size = static_cast<Index>(n);
        taper::kernels::loss_each<T>(kind, size, p.data(), t.data(), static_cast<T>(delta), y.data());
        Real sum = 0, scale = 0;
        for (std::size_t i = 0; i < n; ++i) {
          const Real here = static_cast<Real>(p[i]), target = static_cast<Real>(t[i]);
          const Real expected = exact_loss(kind, here, target);
          // A difference of two terms, of which either may be large.
          const Real parts = 1 + std::exp(std::abs(here)) + std::abs(target) * (4 + std::abs(here)) +
                             (here - target) * (here - target);
          REQUIRE(ulps(y[i], expected, parts) <= 4);
          sum += expected, scale += parts;
        }
        const double got = taper::kernels::loss<T>(kind, size, p.data(), t.data(), static_cast<T>(delta));
        CHECK(std::abs(got - static_cast<double>(sum)) <=
              32 * static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(scale));
        for (const int of : {0, 1}) {
          taper::kernels::loss_each_gradient<T>(kind, of, size, p.data(), t.data(), static_cast<T>(delta),
                                                gy.data(), g.data(), false);
          std::vector<T> all(n, T{2});
          taper::kernels::loss_gradient<T>(kind, of, size, p.data(), t.data(), static_cast<T>(delta), factor,
                                           all.data(), true);
          for (std::size_t i = 0; i < n; ++i) {
            const Real here = static_cast<Real>(p[i]), target = static_cast<Real>(t[i]);
            const Real slope = exact_slope(kind, of, here, target);
            const Real parts = 1 + std::exp(std::abs(here)) + 3 * std::abs(target);
            REQUIRE(ulps(g[i], static_cast<Real>(gy[i]) * slope,
                         std::abs(static_cast<Real>(gy[i])) * parts) <= 6);
            REQUIRE(ulps(all[i], 2 + static_cast<Real>(factor) * slope, 2 + parts) <= 6);
          }
        }
      }
      const T nan = std::numeric_limits<T>::quiet_NaN(), one = 1;
      T y = 0;
      taper::kernels::loss_each<T>(kind, 1, &nan, &one, T{1}, &y);
      CHECK(std::isnan(y));
    }
  });
}
