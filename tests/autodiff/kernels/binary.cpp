#include <taper/autodiff/kernels/binary.hpp>

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
using taper::kernels::Binary;
using taper::kernels::Strided;

namespace {

using Real = long double;

constexpr Binary all_binary[] = {Binary::add,     Binary::sub,           Binary::mul,  Binary::div,
                                 Binary::pow,     Binary::max,           Binary::min,  Binary::prelu,
                                 Binary::greater, Binary::greater_equal, Binary::less, Binary::less_equal,
                                 Binary::equal,   Binary::not_equal};

Real exact(Binary f, Real a, Real b) {
  switch (f) {
    case Binary::add:
      return a + b;
    case Binary::sub:
      return a - b;
    case Binary::mul:
      return a * b;
    case Binary::div:
      return a / b;
    case Binary::pow:
      return std::pow(a, b);
    case Binary::max:
      return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case Binary::min:
      return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
    case Binary::prelu:
      return a > 0 ? a : a * b;
    case Binary::greater:
      return a > b;
    case Binary::greater_equal:
      return a >= b;
    case Binary::less:
      return a < b;
    case Binary::less_equal:
      return a <= b;
    case Binary::equal:
      return a == b;
    case Binary::not_equal:
      return a != b;
  }
  return 0;
}

Real exact_slope(Binary f, int of, Real a, Real b) {
  switch (f) {
    case Binary::add:
      return 1;
    case Binary::sub:
      return of == 0 ? 1 : -1;
    case Binary::mul:
      return of == 0 ? b : a;
    case Binary::div:
      return of == 0 ? 1 / b : -a / (b * b);
    case Binary::pow:
      return of == 0 ? b * std::pow(a, b - 1) : std::pow(a, b) * std::log(a);
    case Binary::max:
      return a == b ? 0.5L : (a > b) == (of == 0);
    case Binary::min:
      return a == b ? 0.5L : (a < b) == (of == 0);
    case Binary::prelu:
      return of == 0 ? (a > 0 ? 1 : b) : (a > 0 ? 0 : a);
    case Binary::greater:
    case Binary::greater_equal:
    case Binary::less:
    case Binary::less_equal:
    case Binary::equal:
    case Binary::not_equal:
      return 0;
  }
  return 0;
}

/// An argument: a matrix, a row or a column that is repeated, or one number; one place off any alignment.
template <class T> struct Argument {
  std::vector<T> data;
  Strided<const T> view;

  Argument(Rng& rng, Index rows, Index columns, int kind, double low, double high)
      : data(static_cast<std::size_t>((kind & 1 ? 1 : rows) * (kind & 2 ? 1 : columns) + 1)) {
    for (T& entry : data) entry = static_cast<T>(std::round(rng.uniform(low, high) * 8) / 8);  // with ties
    view = {data.data() + 1, kind & 1 ? 0 : kind & 2 ? 1 : columns, kind & 2 ? 0 : 1};
  }
  Real at(Index i, Index j) const { return static_cast<Real>(view.data[i * view.row + j * view.column]); }
};

/// Calls check(rows, columns, kind of a, kind of b) for small and ragged sizes.
template <class F> void for_sizes(const F& check) {
  for (const Index rows : {0, 1, 2, 5}) {
    for (const Index columns : {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 70}) {
      for (int kind = 0; kind < 16; ++kind) check(rows, columns, kind & 3, kind >> 2);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("binary: all sizes and repetitions against a loop, on every target", T, float, double) {
  for_each_target([&](const char*) {
    for (const Binary f : all_binary) {
      CAPTURE(static_cast<int>(f));
      Rng rng(1);
      for_sizes([&](Index rows, Index columns, int kind_a, int kind_b) {
        const Argument<T> a(rng, rows, columns, kind_a, 0.25, 3), b(rng, rows, columns, kind_b, 0.25, 3);
        const auto size = static_cast<std::size_t>(rows * columns);
        std::vector<T> c(size + 2, T{7});
        taper::kernels::binary<T>(f, rows, columns, a.view, b.view, c.data() + 1);
        double worst = 0;
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < columns; ++j) {
            const T got = c[static_cast<std::size_t>(1 + i * columns + j)];
            worst = std::max(worst, ulps(got, exact(f, a.at(i, j), b.at(i, j))));
          }
        }
        REQUIRE(worst <= (f == Binary::pow ? 1 : 0.5));
        REQUIRE((c[0] == T{7} && c[size + 1] == T{7}));
      });
    }
  });
}

TEST_CASE_TEMPLATE("binary_gradient: all sizes and repetitions against a loop, on every target", T, float,
                   double) {
  for_each_target([&](const char*) {
    for (const Binary f : all_binary) {
      CAPTURE(static_cast<int>(f));
      Rng rng(2);
      for_sizes([&](Index rows, Index columns, int kind_a, int kind_b) {
        const Argument<T> a(rng, rows, columns, kind_a, 0.25, 3), b(rng, rows, columns, kind_b, 0.25, 3);
        const Argument<T> gc(rng, rows, columns, 0, -2, 2);
        for (const int of : {0, 1}) {
          const int kind = of == 0 ? kind_a : kind_b;
          const bool add = kind != 0 || rng.below(2) == 1;
          const Argument<T> before(rng, rows, columns, kind, -2, 2);
          std::vector<T> g = before.data;
          g.push_back(T{7});
          const Strided<T> target{g.data() + 1, before.view.row, before.view.column};
          taper::kernels::binary_gradient<T>(f, of, rows, columns, a.view, b.view, gc.view.data, target, add);
          std::vector<Real> sum(g.size()), scale(g.size());
          for (std::size_t k = 0; k + 1 < g.size(); ++k) {
            if (add) sum[k] = static_cast<Real>(before.data[k]), scale[k] = std::abs(sum[k]);
          }
          for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j) {
              const auto k = static_cast<std::size_t>(1 + i * target.row + j * target.column);
              const Real term = gc.at(i, j) * exact_slope(f, of, a.at(i, j), b.at(i, j));
              sum[k] += term, scale[k] += std::abs(term);
            }
          }
          // Every term is rounded a few times, and every sum of up to 350 of them again.
          double worst = 0;
          for (std::size_t k = 1; k + 1 < g.size(); ++k)
            worst = std::max(worst, ulps(g[k], sum[k], scale[k]));
          if (rows > 0 && columns > 0) REQUIRE(worst <= (kind == 0 ? 4 : 16));
          REQUIRE((g.front() == before.data[0] && g.back() == T{7}));
        }
      });
    }
  });
}

TEST_CASE_TEMPLATE("binary: infinities, NaN, zeros and the ends of the range", T, float, double) {
  const std::vector<T> values = special_values<T>();
  std::vector<T> a, b;
  for (const T x : values) {
    for (const T y : values) a.push_back(x), b.push_back(y);
  }
  const auto n = static_cast<Index>(a.size());
  std::vector<T> c(a.size());
  for_each_target([&](const char*) {
    for (const Binary f : all_binary) {
      CAPTURE(static_cast<int>(f));
      taper::kernels::binary<T>(f, 1, n, {a.data(), 0, 1}, {b.data(), 0, 1}, c.data());
      for (std::size_t i = 0; i < a.size(); ++i) {
        CAPTURE(a[i]);
        CAPTURE(b[i]);
        REQUIRE(ulps(c[i], exact(f, static_cast<Real>(a[i]), static_cast<Real>(b[i]))) <= 1);
      }
    }
  });
}

TEST_CASE_TEMPLATE("binary: one number has the bits that it has in a loop, on every target", T, float,
                   double) {
  const auto same = [](T x, T y) { return std::memcmp(&x, &y, sizeof(T)) == 0 || (x != x && y != y); };
  std::vector<T> values = special_values<T>();
  Rng rng(3);
  for (int i = 0; i < 20; ++i) values.push_back(static_cast<T>(rng.uniform(-3, 3)));
  for_each_target([&](const char*) {
    for (const Binary f : all_binary) {
      bool equal = true;
      for (const T a : values) {
        for (const T b : values) {
          T alone = 7, looped = 7;
          taper::kernels::binary<T>(f, 1, &a, &b, &alone);
          taper::kernels::binary<T>(f, 1, 1, {&a, 0, 1}, {&b, 0, 1}, &looped);
          equal &= same(alone, looped);
          for (int way = 0; way < 8; ++way) {
            const int of = way & 1;
            const bool add = (way & 2) != 0, in_place = (way & 4) != 0;
            const auto gc = static_cast<T>(rng.uniform(-3, 3)), before = static_cast<T>(rng.uniform(-3, 3));
            alone = looped = in_place ? gc : before;
            taper::kernels::binary_gradient<T>(f, of, 1, &a, &b, in_place ? &alone : &gc, &alone, add);
            taper::kernels::binary_gradient<T>(f, of, 1, 1, {&a, 0, 1}, {&b, 0, 1}, in_place ? &looped : &gc,
                                               {&looped, 0, 1}, add);
            equal &= same(alone, looped);
          }
        }
      }
      CAPTURE(static_cast<int>(f));
      CHECK(equal);
    }
  });
}

TEST_CASE("binary_gradient: at corners where the formula has none, a number") {
  const auto gradient = [](Binary f, int of, double a, double b) {
    const double one = 1;
    double g = NAN;
    taper::kernels::binary_gradient<double>(f, of, 1, 1, {&a, 0, 1}, {&b, 0, 1}, &one, {&g, 0, 1}, false);
    return g;
  };
  for_each_target([&](const char*) {
    CHECK(gradient(Binary::pow, 0, 0, 0) == 0);  // x^0 is constant
    CHECK(gradient(Binary::pow, 1, 0, 2) == 0);  // 0^y is constant for y > 0
    CHECK(gradient(Binary::max, 0, 2, 2) == 0.5);
    CHECK(gradient(Binary::min, 1, 2, 2) == 0.5);
    CHECK(gradient(Binary::prelu, 0, 0, 0.25) == 0.25);
    CHECK(gradient(Binary::prelu, 0, -2, 0.25) == 0.25);
    CHECK(gradient(Binary::prelu, 1, -2, 0.25) == -2);
    CHECK(gradient(Binary::prelu, 1, 2, 0.25) == 0);
  });
}

TEST_CASE_TEMPLATE("binary: long rows, and the same bits on any number of threads", T, float, double) {
  const int before = taper::kernels::threads();
  Rng rng(4);
  for (const auto& size : {std::pair<Index, Index>{1, 40001}, {120, 301}, {12000, 3}, {3, 12000}}) {
    const Index rows = size.first, columns = size.second;  // which clang 14 captures, other than bindings
    for (const auto& kinds : {std::pair{0, 0}, {0, 1}, {2, 0}, {0, 3}}) {
      const int kind_a = kinds.first, kind_b = kinds.second;
      CAPTURE(rows);
      CAPTURE(kind_b);
      const Argument<T> a(rng, rows, columns, kind_a, 0.25, 3), b(rng, rows, columns, kind_b, 0.25, 3);
      const Argument<T> gc(rng, rows, columns, 0, -2, 2);
      std::vector<T> first_c, first_g;
      for (const int count : {1, 2, 3}) {
        taper::kernels::set_threads(count);
        std::vector<T> c(static_cast<std::size_t>(rows * columns)), g(b.data.size());
        taper::kernels::binary<T>(Binary::div, rows, columns, a.view, b.view, c.data());
        taper::kernels::binary_gradient<T>(Binary::div, 1, rows, columns, a.view, b.view, gc.view.data,
                                           {g.data() + 1, b.view.row, b.view.column}, true);
        if (count == 1) {
          first_c = c, first_g = g;
          double worst = 0;
          Real total = 0, expected = 0, scale = 0;
          for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j) {
              worst = std::max(worst,
                               ulps(c[static_cast<std::size_t>(i * columns + j)], a.at(i, j) / b.at(i, j)));
              const Real term = gc.at(i, j) * exact_slope(Binary::div, 1, a.at(i, j), b.at(i, j));
              expected += term, scale += std::abs(term);
            }
          }
          for (const T entry : g) total += static_cast<Real>(entry);
          CHECK(worst <= 0.5);
          CHECK(std::abs(total - expected) <=
                8 * static_cast<Real>(std::numeric_limits<T>::epsilon()) * scale);
        }
        CHECK(std::memcmp(c.data(), first_c.data(), c.size() * sizeof(T)) == 0);
        CHECK(std::memcmp(g.data(), first_g.data(), g.size() * sizeof(T)) == 0);
      }
    }
  }
  taper::kernels::set_threads(before);
}
