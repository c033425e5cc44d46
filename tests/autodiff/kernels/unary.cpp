#include <taper/autodiff/kernels/unary.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "targets.hpp"
#include "ulps.hpp"

using taper::Index;
using taper::Rng;
using taper::kernels::Unary;

namespace {

using Real = long double;

Real exact_sigmoid(Real x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
Real exact_normal(Real x) {
  return std::erfc(-x / std::sqrt(2.0L)) / 2;
}
Real exact_density(Real x) {
  return std::exp(-x * x / 2) / std::sqrt(8 * std::atan(1.0L));
}

/// For float and for double.
struct Bound {
  double single, twice;
  Bound(double both) : single(both), twice(both) {}
  Bound(double single_, double twice_) : single(single_), twice(twice_) {}
  template <class T> double of() const { return sizeof(T) == 4 ? single : twice; }
};

/// One function in long double, and the errors that unary.hpp promises, in ulp: of the value, and of the
/// derivative relative to a scale, which is the derivative itself where none is given.
struct Exact {
  const char* name;
  Unary f;
  Real (*value)(Real x, Real p, Real q);
  Real (*slope)(Real x, Real p, Real q);
  Bound value_ulps, slope_ulps;
  Real (*scale)(Real x, Real p, Real q) = nullptr;
};

#define TAPER_EXACT(expression) \
  []([[maybe_unused]] Real x, [[maybe_unused]] Real p, [[maybe_unused]] Real q) -> Real { return expression; }

const Exact table[] = {
    {"neg", Unary::neg, TAPER_EXACT(-x), TAPER_EXACT(-1), 0, 0},
    {"exp", Unary::exp, TAPER_EXACT(std::exp(x)), TAPER_EXACT(std::exp(x)), 1.1, 1.1},
    {"log", Unary::log, TAPER_EXACT(std::log(x)), TAPER_EXACT(1 / x), 1, 0.5},
    {"log1p", Unary::log1p, TAPER_EXACT(std::log1p(x)), TAPER_EXACT(1 / (1 + x)), 2, 1.5},
    {"expm1", Unary::expm1, TAPER_EXACT(std::expm1(x)), TAPER_EXACT(std::exp(x)), 2.5, 1.1},
    {"sin", Unary::sin, TAPER_EXACT(std::sin(x)), TAPER_EXACT(std::cos(x)), 2, 2},
    {"cos", Unary::cos, TAPER_EXACT(std::cos(x)), TAPER_EXACT(-std::sin(x)), 2, 2},
    {"erf", Unary::erf, TAPER_EXACT(std::erf(x)), TAPER_EXACT(std::exp(-x* x) / std::sqrt(std::atan(1.0L))),
     2.5, 2.5},
    {"log_sigmoid", Unary::log_sigmoid,
     TAPER_EXACT(-(std::fmax(-x, 0.0L) + std::log1p(std::exp(-std::abs(x))))), TAPER_EXACT(exact_sigmoid(-x)),
     2, 2.5},
    {"sqrt", Unary::sqrt, TAPER_EXACT(std::sqrt(x)), TAPER_EXACT(0.5L / std::sqrt(x)), 0.5, 1.5},
    {"square", Unary::square, TAPER_EXACT(x* x), TAPER_EXACT(2 * x), 0.5, 0},
    {"abs", Unary::abs, TAPER_EXACT(std::abs(x)), TAPER_EXACT((x > 0) - (x < 0)), 0, 0},
    {"power", Unary::power, TAPER_EXACT(std::pow(x, p)), TAPER_EXACT(p* std::pow(x, p - 1)), 1, 2},
    {"tanh", Unary::tanh, TAPER_EXACT(std::tanh(x)), TAPER_EXACT(1 / (std::cosh(x) * std::cosh(x))),
     Bound(7, 3), Bound(7, 3), TAPER_EXACT(1)},
    {"sigmoid", Unary::sigmoid, TAPER_EXACT(exact_sigmoid(x)),
     TAPER_EXACT(exact_sigmoid(x) * exact_sigmoid(-x)), 2.5, 3.5, TAPER_EXACT(exact_sigmoid(x))},
    {"softplus", Unary::softplus, TAPER_EXACT(std::fmax(x, 0.0L) + std::log1p(std::exp(-std::abs(x)))),
     TAPER_EXACT(exact_sigmoid(x)), 2, 2.5},
    {"relu", Unary::relu, TAPER_EXACT(x > 0 ? x : 0), TAPER_EXACT(x > 0), 0, 0},
    {"leaky_relu", Unary::leaky_relu, TAPER_EXACT(x > 0 ? x : p * x), TAPER_EXACT(x > 0 ? 1 : p), 0.5, 0},
    {"elu", Unary::elu, TAPER_EXACT(x > 0 ? x : p * std::expm1(x)), TAPER_EXACT(x > 0 ? 1 : p * std::exp(x)),
     2, 2, TAPER_EXACT(x > 0 ? 1 : p)},
    {"gelu", Unary::gelu, TAPER_EXACT(x* exact_normal(x)),
     TAPER_EXACT(exact_normal(x) + x * exact_density(x)), 6, 4,
     TAPER_EXACT(exact_normal(x) + std::abs(x) * exact_density(x))},
    {"silu", Unary::silu, TAPER_EXACT(x* exact_sigmoid(x)),
     TAPER_EXACT(exact_sigmoid(x) * (1 + x * exact_sigmoid(-x))), 3.5, 5,
     TAPER_EXACT(exact_sigmoid(x) * (1 + std::abs(x) * exact_sigmoid(-x)))},
    {"clamp", Unary::clamp, TAPER_EXACT(std::fmin(std::fmax(x, p), q)), TAPER_EXACT(x >= p && x <= q), 0, 0},
};
#undef TAPER_EXACT

/// The settings of a function: an exponent, a slope or a factor, or bounds. They are numbers of every format.
constexpr double setting_p(Unary f) {
  return f == Unary::power ? 2.5 : f == Unary::clamp ? -1.5 : 0.375;
}
constexpr double setting_q = 2.25;

template <class T> std::vector<T> mapped(const Exact& e, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  taper::kernels::unary<T>(e.f, static_cast<Index>(x.size()), x.data(), y.data(),
                           static_cast<T>(setting_p(e.f)), static_cast<T>(setting_q));
  return y;
}

template <class T> std::vector<T> slopes(const Exact& e, const std::vector<T>& x, const std::vector<T>& y) {
  const std::vector<T> ones(x.size(), T{1});
  std::vector<T> g(x.size());
  taper::kernels::unary_gradient<T>(e.f, static_cast<Index>(x.size()), x.data(), y.data(), ones.data(),
                                    g.data(), false, static_cast<T>(setting_p(e.f)),
                                    static_cast<T>(setting_q));
  return g;
}

/// Dense sweeps where something happens, and numbers of all sizes.
template <class T> std::vector<T> sweep() {
  Rng rng(1);
  std::vector<T> x;
  const auto dense = [&](double low, double high, int count) {
    for (int i = 0; i < count; ++i)
      x.push_back(static_cast<T>(low + (high - low) * (i + rng.uniform()) / count));
  };
  dense(-2, 2, 3000), dense(-20, 20, 4000);
  sizeof(T) == 4 ? (dense(-105, -85, 1000), dense(85, 90, 1000))
                 : (dense(-750, -700, 1000), dense(700, 711, 1000));
  dense(-40, -5, 1000), dense(0.5, 1.5, 2000);
  for (int i = 0; i < 6000; ++i) x.push_back(random_bits<T>(rng));
  return x;
}

}  // namespace

TEST_CASE_TEMPLATE("unary: errors in ulp against long double, on every target", T, float, double) {
  const std::vector<T> x = sweep<T>();
  for (const Exact& e : table) {
    CAPTURE(std::string(e.name));
    const Real p = setting_p(e.f), q = setting_q;
    std::vector<Real> value(x.size()), slope(x.size()), scale(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Real at = static_cast<Real>(x[i]);
      value[i] = e.value(at, p, q), slope[i] = e.slope(at, p, q);
      scale[i] = e.scale == nullptr ? slope[i] : e.scale(at, p, q);
    }
    for_each_target([&](const char*) {
      const std::vector<T> y = mapped(e, x), g = slopes(e, x, y);
      double worst = 0, worst_slope = 0;
      std::size_t where = 0, where_slope = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], value[i]), slope_error = ulps(g[i], slope[i], scale[i]);
        if (error > worst) worst = error, where = i;
        if (slope_error > worst_slope) worst_slope = slope_error, where_slope = i;
      }
      INFO("worst at ", x[where], ", of the derivative at ", x[where_slope]);
      CHECK(worst <= e.value_ulps.template of<T>());
      CHECK(worst_slope <= e.slope_ulps.template of<T>());
    });
  }
}

TEST_CASE_TEMPLATE("unary: every length, from any address, in place, storing and adding", T, float, double) {
  Rng rng(2);
  for_each_target([&](const char*) {
    for (const Exact& e : table) {
      CAPTURE(std::string(e.name));
      const T p = static_cast<T>(setting_p(e.f)), q = static_cast<T>(setting_q);
      for (const Index n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130}) {
        CAPTURE(n);
        const auto size = static_cast<std::size_t>(n);
        std::vector<T> in(size + 2), start(size + 2), gy(size + 2);
        for (T& entry : in) entry = static_cast<T>(rng.uniform(-3, 3));
        for (T& entry : start) entry = static_cast<T>(rng.uniform(-3, 3));
        for (T& entry : gy) entry = static_cast<T>(rng.uniform(-3, 3));
        std::vector<T> y = start, stored = start, added = start, place = in;
        taper::kernels::unary<T>(e.f, n, in.data() + 1, y.data() + 1, p, q);
        taper::kernels::unary<T>(e.f, n, place.data() + 1, place.data() + 1, p, q);
        taper::kernels::unary_gradient<T>(e.f, n, in.data() + 1, y.data() + 1, gy.data() + 1,
                                          stored.data() + 1, false, p, q);
        taper::kernels::unary_gradient<T>(e.f, n, in.data() + 1, y.data() + 1, gy.data() + 1,
                                          added.data() + 1, true, p, q);
        double worst = 0, worst_stored = 0, worst_added = 0;
        for (std::size_t i = 1; i <= size; ++i) {
          const Real x = static_cast<Real>(in[i]), pr = static_cast<Real>(p), qr = static_cast<Real>(q);
          const Real slope = e.slope(x, pr, qr), g = static_cast<Real>(gy[i]) * slope;
          const Real scale = (e.scale == nullptr ? slope : e.scale(x, pr, qr)) * static_cast<Real>(gy[i]);
          const Real before = static_cast<Real>(start[i]);
          worst = std::max(worst, ulps(y[i], e.value(x, pr, qr)));
          worst_stored = std::max(worst_stored, ulps(stored[i], g, scale));
          worst_added = std::max(worst_added, ulps(added[i], before + g, std::abs(before) + std::abs(scale)));
          REQUIRE((place[i] == y[i] || (std::isnan(place[i]) && std::isnan(y[i]))));
        }
        CHECK(worst <= e.value_ulps.template of<T>());
        CHECK(worst_stored <=
              2 * e.slope_ulps.template of<T>() + 1);  // the product may fall below a power of two
        CHECK(worst_added <= e.slope_ulps.template of<T>() + 1);
        for (const std::size_t outside : {std::size_t{0}, size + 1}) {
          REQUIRE(y[outside] == start[outside]);
          REQUIRE(stored[outside] == start[outside]);
          REQUIRE(added[outside] == start[outside]);
          REQUIRE(place[outside] == in[outside]);
        }
      }
    }
  });
}

TEST_CASE_TEMPLATE("unary: infinities, NaN, zeros and the ends of the range", T, float, double) {
  const Real infinity = std::numeric_limits<Real>::infinity();
  const std::vector<T> x = special_values<T>();
  for_each_target([&](const char*) {
    for (const Exact& e : table) {
      CAPTURE(std::string(e.name));
      const Real p = setting_p(e.f), q = setting_q;
      const std::vector<T> y = mapped(e, x), g = slopes(e, x, y);
      for (std::size_t i = 0; i < x.size(); ++i) {
        CAPTURE(x[i]);
        const Real at = static_cast<Real>(x[i]);
        Real value = e.value(at, p, q), slope = e.slope(at, p, q), scale = slope;
        // Where the formula is infinity times zero, the limit.
        if (std::isinf(at) && (e.f == Unary::gelu || e.f == Unary::silu)) {
          value = std::fmax(at, 0.0L), slope = scale = at > 0;
        } else if (at == 0 && e.f == Unary::log) {
          slope = scale = std::copysign(infinity, at);
        } else if (e.scale != nullptr) {
          scale = e.scale(at, p, q);
        }
        // Of NaN, no function makes a number; the derivative of one that has kinks is that of some side.
        if (std::isnan(x[i])) value = std::numeric_limits<Real>::quiet_NaN();
        CHECK(ulps(y[i], value) <= e.value_ulps.template of<T>());
        if (!std::isnan(x[i])) CHECK(ulps(g[i], slope, scale) <= e.slope_ulps.template of<T>());
      }
    }
  });
}

TEST_CASE_TEMPLATE("unary: a number gives the same bits wherever it stands, on any number of threads", T,
                   float, double) {
  Rng rng(3);
  std::vector<T> x(70001);
  for (T& entry : x) entry = static_cast<T>(rng.uniform(-3, 3));
  const int before = taper::kernels::threads();
  for (const Exact& e : table) {
    CAPTURE(std::string(e.name));
    taper::kernels::set_threads(1);
    const std::vector<T> y = mapped(e, x), g = slopes(e, x, y);
    for (const int count : {2, 3}) {
      taper::kernels::set_threads(count);
      const std::vector<T> several = mapped(e, x), several_g = slopes(e, x, several);
      CHECK(std::memcmp(several.data(), y.data(), x.size() * sizeof(T)) == 0);
      CHECK(std::memcmp(several_g.data(), g.data(), x.size() * sizeof(T)) == 0);
    }
    for (std::size_t i = 0; i < 64; ++i) {
      const std::vector<T> alone = mapped(e, std::vector<T>{x[i]});
      CHECK(std::memcmp(&alone[0], &y[i], sizeof(T)) == 0);
    }
  }
  taper::kernels::set_threads(before);
}
