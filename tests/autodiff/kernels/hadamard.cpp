#include <taper/autodiff/kernels/hadamard.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "../random_tensors.hpp"
#include "targets.hpp"

using namespace taper;
using kernels::Gates;

namespace {

/// Numbers at an odd place in memory, with marks before and after that nobody may touch.
template <class T> struct Guarded {
  static constexpr T mark = T(77);
  std::vector<T> all;
  Index size;

  Guarded(Rng& rng, Index size_) : all(static_cast<std::size_t>(size_) + 20, mark), size(size_) {
    for (Index i = 0; i < size; ++i) data()[i] = static_cast<T>(rng.uniform(-2, 2));
  }
  T* data() { return all.data() + 3; }
  const T* data() const { return all.data() + 3; }
  bool untouched() const {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool inside = i >= 3 && i < 3 + static_cast<std::size_t>(size);
      if (!inside && all[i] != mark) return false;
    }
    return true;
  }
  bool operator==(const Guarded&) const = default;
};

/// A factor with its gates and all that goes with them.
template <class T> struct Factors {
  Gates gates;
  Guarded<T> u, v, w, gw, gu, gv;

  Factors(Rng& rng, Gates gates_)
      : gates(gates_),
        u(rng, gates.size()),
        v(rng, gates.count),
        w(rng, gates.size()),
        gw(rng, gates.size()),
        gu(rng, gates.size()),
        gv(rng, gates.count) {}

  Index group(Index entry) const { return entry / gates.inner % gates.count; }
  bool untouched() const {
    return u.untouched() && v.untouched() && w.untouched() && gw.untouched() && gu.untouched() &&
           gv.untouched();
  }
  void forward() { kernels::hadamard<T>(gates, u.data(), v.data(), w.data()); }
  void backward(kernels::HadamardGradient<T> to_u, kernels::HadamardGradient<T> to_v) const {
    kernels::hadamard_gradient<T>(gates, gw.data(), u.data(), v.data(), to_u, to_v);
  }

  bool forward_is_right() const {
    for (Index i = 0; i < gates.size(); ++i) {
      if (w.data()[i] != u.data()[i] * v.data()[group(i)]) return false;
    }
    return true;
  }
  /// Whether `after` is the gradient of u, stored or added to `before`.
  bool right_u(const Guarded<T>& after, const Guarded<T>* before) const {
    for (Index i = 0; i < gates.size(); ++i) {
      const double product = static_cast<double>(gw.data()[i]) * static_cast<double>(v.data()[group(i)]);
      const double start = before == nullptr ? 0 : static_cast<double>(before->data()[i]);
      if (!(std::abs(static_cast<double>(after.data()[i]) - (start + product)) <=
            4 * eps * (4 + start * start)))
        return false;
    }
    return true;
  }
  /// The same for the gates, by sums in double.
  bool right_v(const Guarded<T>& after, const Guarded<T>* before) const {
    std::vector<double> sums(static_cast<std::size_t>(gates.count)), sizes(sums.size());
    for (Index i = 0; i < gates.size(); ++i) {
      const double product = static_cast<double>(gw.data()[i]) * static_cast<double>(u.data()[i]);
      sums[static_cast<std::size_t>(group(i))] += product;
      sizes[static_cast<std::size_t>(group(i))] += std::abs(product);
    }
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const double start = before == nullptr ? 0 : static_cast<double>(before->data()[k]);
      const double terms = static_cast<double>(gates.outer * gates.inner);
      const double bound = eps * (std::sqrt(terms) + 4) * (sizes[k] + 4);
      if (!(std::abs(static_cast<double>(after.data()[k]) - (start + sums[k])) <= bound)) return false;
    }
    return true;
  }

  static constexpr double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
};

template <class T, class F> void for_factors(const F& f) {
  Rng rng(11);
  std::vector<std::pair<Index, Index>> sizes{{0, 5},  {5, 0},   {1, 1},    {1, 1000}, {1000, 1},
                                             {3, 33}, {32, 8},  {64, 32},  {4, 64},   {130, 300},
                                             {7, 16}, {300, 7}, {2, 40000}};
  for (Index n = 1; n <= 40; ++n) sizes.emplace_back(1 + n % 6, n);
  std::vector<Gates> all;
  for (const auto& [rows, columns] : sizes) {
    all.push_back({rows, columns, 1});
    all.push_back({1, rows, columns});
  }
  for (const Index inner : {2, 3, 9, 16, 25, 49, 1023, 1024, 1025, 3000}) {
    for (const Index outer : {2, 5}) all.push_back({outer, 3, inner});
  }
  const Gates others[] = {{0, 3, 4},   {3, 0, 4},    {3, 4, 0},  {50, 20, 25},
                          {700, 2, 9}, {20, 500, 9}, {9, 1, 30}, {3, 2000, 2}};
  all.insert(all.end(), std::begin(others), std::end(others));
  for (const Gates& gates : all) {
    CAPTURE(gates.outer);
    CAPTURE(gates.count);
    CAPTURE(gates.inner);
    f(Factors<T>(rng, gates));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("hadamard: products and both gradients, stored and added, on every target", T, float,
                   double) {
  for_each_target([](const char*) {
    for_factors<T>([](Factors<T> f) {
      f.forward();
      CHECK(f.forward_is_right());
      for (const bool add : {false, true}) {
        CAPTURE(add);
        const Guarded<T> before_u = f.gu, before_v = f.gv;
        f.backward({f.gu.data(), add}, {f.gv.data(), !add});
        CHECK(f.right_u(f.gu, add ? &before_u : nullptr));
        CHECK(f.right_v(f.gv, add ? nullptr : &before_v));
      }
      CHECK(f.untouched());
    });
  });
}

TEST_CASE_TEMPLATE("hadamard: one gradient alone has the bits of both together", T, float, double) {
  for_factors<T>([](Factors<T> f) {
    f.backward({f.gu.data(), false}, {f.gv.data(), false});
    Factors<T> u = f, v = f;
    std::fill_n(u.gu.data(), u.gu.size, T{5});
    std::fill_n(v.gv.data(), v.gv.size, T{5});
    u.backward({u.gu.data(), false}, {});
    v.backward({}, {v.gv.data(), false});
    CHECK(u.gu == f.gu);
    CHECK(v.gv == f.gv);
    CHECK(u.gv == f.gv);
    CHECK(v.gu == f.gu);
  });
}

TEST_CASE_TEMPLATE("hadamard: the gradient of the factor may replace that of the product", T, float, double) {
  for_each_target([](const char*) {
    for_factors<T>([](Factors<T> f) {
      f.backward({f.gu.data(), false}, {f.gv.data(), false});
      Factors<T> same = f;
      same.backward({same.gw.data(), false}, {same.gv.data(), false});
      CHECK(same.gw == f.gu);
      CHECK(same.gv == f.gv);
    });
  });
}

TEST_CASE("hadamard: a square's two gradients meet in one place") {
  Rng rng(3);
  Factors<double> f(rng, {1, 37, 1});
  f.v = f.u;
  f.backward({f.gu.data(), false}, {f.gu.data(), true});
  for (Index i = 0; i < 37; ++i) {
    CHECK(f.gu.data()[i] == doctest::Approx(2 * f.gw.data()[i] * f.u.data()[i]));
  }
}

TEST_CASE_TEMPLATE("hadamard: the same bits for any number of threads", T, float, double) {
  Rng rng(5);
  const int before = kernels::threads();
  for (const Gates& gates : {Gates{300, 784, 1},
                             {1, 300, 784},
                             {70, 1000, 1},
                             {1, 70, 1000},
                             {1, 100001, 1},
                             {9000, 9, 1},
                             {1, 9000, 9},
                             {128, 64, 9},
                             {50, 20, 100},
                             {9, 3, 5000},
                             {40000, 2, 3},
                             {2, 40000, 3}}) {
    CAPTURE(gates.outer);
    CAPTURE(gates.count);
    const Factors<T> start(rng, gates);
    const auto run = [&](int threads) {
      kernels::set_threads(threads);
      Factors<T> f = start;
      f.forward();
      f.backward({f.gu.data(), false}, {f.gv.data(), true});
      return f;
    };
    const Factors<T> one = run(1);
    CHECK(one.right_v(one.gv, &start.gv));
    for (const int threads : {2, 3, 4}) {
      CAPTURE(threads);
      const Factors<T> f = run(threads);
      CHECK(f.w == one.w);
      CHECK(f.gu == one.gu);
      CHECK(f.gv == one.gv);
    }
  }
  kernels::set_threads(before);
}
