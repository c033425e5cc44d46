#include <taper/autodiff/kernels/reduce.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "../random_tensors.hpp"
#include "targets.hpp"

using namespace taper;

namespace {

template <class T> constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());

/// A tensor outer x n x inner with random entries, and the entry (o, k, i) of it in double.
template <class T> struct Block3 {
  Index outer, n, inner;
  Tensor<T> x;

  Block3(Rng& rng, Index outer_, Index n_, Index inner_)
      : outer(outer_), n(n_), inner(inner_), x(random_tensor<T>(rng, {outer_, n_, inner_})) {}
  Index at(Index o, Index k, Index i) const { return (o * n + k) * inner + i; }
  double operator()(Index o, Index k, Index i) const { return static_cast<double>(x[at(o, k, i)]); }
  Tensor<T> reduced() const { return Tensor<T>(Shape{outer, inner}); }

  /// Calls f(o, i) for each run along the middle.
  void each(const std::function<void(Index, Index)>& f) const {
    for (Index o = 0; o < outer; ++o) {
      for (Index i = 0; i < inner; ++i) f(o, i);
    }
  }
};

/// Calls f for blocks of many sizes: rows of every short length, columns, long ones, empty ones.
template <class T> void for_blocks(const std::function<void(const Block3<T>&)>& f) {
  Rng rng(4);
  for (Index n = 1; n <= 40; ++n) f({rng, 2, n, 1});
  for (Index inner = 2; inner <= 40; ++inner) f({rng, 2, 3, inner});
  f({rng, 3, 1000, 1});
  f({rng, 1, 700, 9});
  f({rng, 1, 5000, 67});
  f({rng, 0, 3, 2});
  f({rng, 3, 2, 0});
}

}  // namespace

TEST_CASE_TEMPLATE("sum and sum_squares: lengths 0 to 100 and long ones", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(1);
    std::vector<Index> lengths{4096, 32767, 32768, 32769, 100000};
    for (Index n = 0; n <= 100; ++n) lengths.push_back(n);
    for (const Index n : lengths) {
      CAPTURE(n);
      const Tensor<T> x = random_tensor<T>(rng, {n});
      long double sum = 0, squares = 0, sizes = 0;
      for (const T entry : x) {
        sum += static_cast<long double>(entry);
        squares += static_cast<long double>(entry) * static_cast<long double>(entry);
        sizes += std::abs(static_cast<long double>(entry));
      }
      // Lanes and pieces keep the error far below n eps.
      const double bound = 2 * eps<T> * std::sqrt(static_cast<double>(n) + 16) * static_cast<double>(sizes);
      CHECK(std::abs(kernels::sum(n, x.data()) - static_cast<double>(sum)) <= bound);
      CHECK(std::abs(kernels::sum_squares(n, x.data()) - static_cast<double>(squares)) <= 2 * bound);
    }
  });
}

TEST_CASE_TEMPLATE("scale: stores and adds", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(2);
    for (const Index n : {0, 1, 5, 8, 16, 31, 100, 40000}) {
      const Tensor<T> x = random_tensor<T>(rng, {n}), start = random_tensor<T>(rng, {n});
      Tensor<T> stored = start, added = start;
      kernels::scale<T>(n, T{3}, x.data(), stored.data(), false);
      kernels::scale<T>(n, T{3}, x.data(), added.data(), true);
      for (Index i = 0; i < n; ++i) {
        REQUIRE(stored[i] == T{3} * x[i]);
        REQUIRE(static_cast<double>(added[i]) ==
                doctest::Approx(static_cast<double>(start[i] + T{3} * x[i])));
      }
    }
  });
}

TEST_CASE_TEMPLATE("sum_axis and spread_axis: against loops", T, float, double) {
  for_each_target([&](const char*) {
    for_blocks<T>([](const Block3<T>& b) {
      CAPTURE(b.n);
      CAPTURE(b.inner);
      Tensor<T> y = b.reduced(), gx = b.x;
      Tensor<double> sums(y.shape()), spread(b.x.shape());
      kernels::sum_axis<T>(b.outer, b.n, b.inner, b.x.data(), y.data());
      kernels::spread_axis<T>(b.outer, b.n, b.inner, T{2}, y.data(), gx.data(), true);
      b.each([&](Index o, Index i) {
        for (Index k = 0; k < b.n; ++k) sums[o * b.inner + i] += b(o, k, i);
        for (Index k = 0; k < b.n; ++k) spread[b.at(o, k, i)] = b(o, k, i) + 2 * sums[o * b.inner + i];
      });
      const double tolerance = 4 * eps<T> * static_cast<double>(b.n + 4);
      CHECK(apart(y.view(), sums.view()) < tolerance);
      CHECK(apart(gx.view(), spread.view()) < 2 * tolerance);
      kernels::spread_axis<T>(b.outer, b.n, b.inner, T{1}, y.data(), gx.data(), false);
      b.each([&](Index o, Index i) {
        for (Index k = 0; k < b.n; ++k) REQUIRE(gx[b.at(o, k, i)] == y[o * b.inner + i]);
      });
    });
    double nothing[] = {7, 7};
    kernels::sum_axis<double>(2, 0, 1, nullptr, nothing);
    CHECK((nothing[0] == 0 && nothing[1] == 0));
    nothing[0] = nothing[1] = 7;
    kernels::sum_axis<double>(1, 0, 2, nullptr, nothing);
    CHECK((nothing[0] == 0 && nothing[1] == 0));
  });
}

TEST_CASE("sum_axis: twenty million ones in float, in a row and in columns") {
  // 2^24 + 1 is no float, so a sum of ones in float ends there.
  const Index n = 20'000'000;
  std::vector<float> ones(static_cast<std::size_t>(2 * n), 1.0f);
  float sums[2] = {};
  kernels::sum_axis<float>(1, n, 2, ones.data(), sums);
  CHECK((sums[0] == 2e7f && sums[1] == 2e7f));
  kernels::sum_axis<float>(2, n, 1, ones.data(), sums);
  CHECK((sums[0] == 2e7f && sums[1] == 2e7f));
}

TEST_CASE_TEMPLATE("max_axis: against loops, the first of several, a NaN wins", T, float, double) {
  for_each_target([&](const char*) {
    for_blocks<T>([](const Block3<T>& b) {
      Tensor<T> x = b.x;
      for (T& entry : x) entry = std::round(entry * 2);  // many ties
      Tensor<T> y = b.reduced(), gx(x.shape()), gy = b.reduced();
      std::fill(gy.begin(), gy.end(), T{5});
      kernels::max_axis<T>(b.outer, b.n, b.inner, x.data(), y.data());
      kernels::extreme_axis_gradient<T>(b.outer, b.n, b.inner, x.data(), y.data(), gy.data(), gx.data(),
                                        false);
      b.each([&](Index o, Index i) {
        Index best = 0;
        for (Index k = 1; k < b.n; ++k) {
          if (x[b.at(o, k, i)] > x[b.at(o, best, i)]) best = k;
        }
        REQUIRE(y[o * b.inner + i] == x[b.at(o, best, i)]);
        for (Index k = 0; k < b.n; ++k) REQUIRE(gx[b.at(o, k, i)] == (k == best ? T{5} : T{0}));
      });
    });
    for (Index n = 1; n <= 40; ++n) {
      for (Index bad = 0; bad < n; ++bad) {
        Tensor<T> x(Shape{n});
        for (Index i = 0; i < n; ++i) x[i] = static_cast<T>(-1 - i);
        T y = 0;
        kernels::max_axis<T>(1, n, 1, x.data(), &y);
        REQUIRE(y == T{-1});  // all negative: what fills a vector up must not win
        x[bad] = std::numeric_limits<T>::quiet_NaN();
        kernels::max_axis<T>(1, n, 1, x.data(), &y);
        REQUIRE(std::isnan(y));
      }
    }
  });
}

TEST_CASE_TEMPLATE("reductions: infinities, NaN and the ends of the range, from any address", T, float,
                   double) {
  using Limits = std::numeric_limits<T>;
  for_each_target([&](const char*) {
    for (const Index n : {1, 2, 7, 16, 33, 70}) {
      for (Index place = 0; place < n; ++place) {
        const auto with = [&](T odd) {
          std::vector<T> x(static_cast<std::size_t>(n) + 1, T{-1});  // the reductions start one place after
          x[static_cast<std::size_t>(place) + 1] = odd;
          return x;
        };
        const auto sum = [&](T odd) { return kernels::sum(n, with(odd).data() + 1); };
        const auto squares = [&](T odd) { return kernels::sum_squares(n, with(odd).data() + 1); };
        const auto largest = [&](T odd) {
          T y = 0;
          kernels::max_axis<T>(1, n, 1, with(odd).data() + 1, &y);
          return y;
        };
        REQUIRE(sum(T{5}) == static_cast<double>(6 - n));
        REQUIRE(squares(T{5}) == static_cast<double>(24 + n));
        REQUIRE(largest(T{5}) == 5);
        REQUIRE(sum(Limits::infinity()) == HUGE_VAL);
        REQUIRE(squares(-Limits::infinity()) == HUGE_VAL);
        REQUIRE(largest(Limits::infinity()) == Limits::infinity());
        REQUIRE(largest(-Limits::infinity()) == (n == 1 ? -Limits::infinity() : T{-1}));
        REQUIRE(largest(Limits::lowest()) == (n == 1 ? Limits::lowest() : T{-1}));
        REQUIRE(std::isnan(sum(Limits::quiet_NaN())));
        REQUIRE(std::isnan(squares(Limits::quiet_NaN())));
        REQUIRE(std::isnan(largest(Limits::quiet_NaN())));
      }
    }
  });
}

TEST_CASE_TEMPLATE("reductions: the same bits for any number of threads", T, float, double) {
  Rng rng(5);
  const int before = kernels::threads();
  for (const auto& [outer, n, inner] :
       {std::array<Index, 3>{4000, 50, 1}, {40, 50, 100}, {1, 100000, 1}, {1, 9, 20000}, {3, 9000, 70}}) {
    const Block3<T> b(rng, outer, n, inner);
    std::vector<Tensor<T>> one;
    for (const int count : {1, 2, 3, 4}) {
      kernels::set_threads(count);
      std::vector<Tensor<T>> results{b.reduced(), b.reduced(), b.reduced(), b.x, b.x, b.x};
      kernels::sum_axis<T>(outer, n, inner, b.x.data(), results[0].data());
      kernels::max_axis<T>(outer, n, inner, b.x.data(), results[1].data());
      kernels::logsumexp_axis<T>(outer, n, inner, b.x.data(), results[2].data(), nullptr);
      kernels::softmax_axis<T>(outer, n, inner, b.x.data(), results[3].data(), false);
      kernels::softmax_axis_gradient<T>(outer, n, inner, results[3].data(), b.x.data(), results[4].data(),
                                        false, true);
      kernels::scale<T>(b.x.size(), T{0.3f}, b.x.data(), results[5].data(), true);
      if (count == 1) one = results;
      for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(results[i].view(), one[i].view()));
    }
  }
  kernels::set_threads(before);
}
