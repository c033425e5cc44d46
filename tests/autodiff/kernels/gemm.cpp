#include <taper/autodiff/kernels/gemm.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "../random_tensors.hpp"
#include "targets.hpp"

using namespace taper;
using kernels::Activation;
using kernels::MatrixRef;

namespace {

/// The number of threads, put back at the end of the scope.
struct Threads {
  explicit Threads(int count) : before(kernels::threads()) { kernels::set_threads(count); }
  ~Threads() { kernels::set_threads(before); }
  int before;
};

double applied(Activation f, double x) {
  switch (f) {
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::tanh:
      return std::tanh(x);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    default:
      return x;
  }
}

/// Operands of a random product, and how they are stored and used.
template <class T> struct Product {
  Index m, n, k, ldc;
  bool ta, tb, add, with_bias;
  Activation f;
  Tensor<T> a, b, bias, c;

  Product(Rng& rng, Index rows, Index columns, Index inner, int kind)
      : m(rows),
        n(columns),
        k(inner),
        ldc(columns + (kind & 16 ? 3 : 0)),
        ta(kind & 1),
        tb(kind & 2),
        add(kind & 4),
        with_bias(kind & 8),
        f(static_cast<Activation>(kind >> 5 & 3)),
        a(random_tensor<T>(rng, {m * k}, -1, 1)),
        b(random_tensor<T>(rng, {k * n}, -1, 1)),
        bias(random_tensor<T>(rng, {n}, -1, 1)),
        c(random_tensor<T>(rng, {m * ldc}, -1, 1)) {}

  MatrixRef<T> left() const { return ta ? MatrixRef<T>{a.data(), 1, m} : MatrixRef<T>{a.data(), k, 1}; }
  MatrixRef<T> right() const { return tb ? MatrixRef<T>{b.data(), 1, k} : MatrixRef<T>{b.data(), n, 1}; }

  void run(Tensor<T>& to) const {
    kernels::gemm<T>(m, n, k, left(), right(), to.data(), ldc, add, with_bias ? bias.data() : nullptr, f);
  }
  /// Three loops in double; what lies between the rows stays.
  Tensor<double> expected() const {
    Tensor<double> result(c.shape());
    for (Index i = 0; i < c.size(); ++i) result[i] = static_cast<double>(c[i]);
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < n; ++j) {
        double sum = (add ? result[i * ldc + j] : 0) + (with_bias ? static_cast<double>(bias[j]) : 0);
        for (Index p = 0; p < k; ++p) {
          sum += static_cast<double>(left().data[i * left().row + p * left().column]) *
                 static_cast<double>(right().data[p * right().row + j * right().column]);
        }
        result[i * ldc + j] = applied(f, sum);
      }
    }
    return result;
  }
};

template <class T> void check(Rng& rng, Index m, Index n, Index k, int kind) {
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(kind);
  const Product<T> product(rng, m, n, k, kind);
  Tensor<T> c = product.c;
  product.run(c);
  // Each of k steps rounds a sum of about sqrt(k) once.
  const double tolerance =
      (2 + static_cast<double>(k)) * static_cast<double>(std::numeric_limits<T>::epsilon());
  CHECK(apart(c.view(), product.expected().view()) <= tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("gemm: all small and ragged sizes agree with three loops", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(1);
    for (const Index m : {0, 1, 2, 5, 6, 7, 8, 13, 16, 25}) {
      for (const Index n : {0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 33, 64, 65}) {
        for (const Index k : {0, 1, 2, 3, 9, 16, 33})
          check<T>(rng, m, n, k, static_cast<int>(rng.below(128)));
      }
    }
  });
}

TEST_CASE_TEMPLATE("gemm: every way to store and add, with more than one inner block", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(2);
    const Index inner = sizeof(T) == 4 ? 1030 : 530;  // longer than a block
    for (int kind = 0; kind < 128; kind += 3) {
      check<T>(rng, 31, 37, inner, kind);
      check<T>(rng, 101, 1, 515, kind);
      check<T>(rng, 1, 70, 257, kind);
      check<T>(rng, 3, 40, 256, kind);
    }
    for (int i = 0; i < 40; ++i) {
      check<T>(rng, rng.below(150), rng.below(150), rng.below(600), static_cast<int>(rng.below(128)));
    }
  });
}

TEST_CASE_TEMPLATE("gemm_alone: a bias of the rows, and the bits of gemm", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(6);
    for (int i = 0; i < 120; ++i) {
      const Index m = rng.below(40), n = i % 5 == 0 ? 1 : rng.below(90),
                  k = i % 7 == 0 ? 1100 : rng.below(60);
      const int kind = static_cast<int>(rng.below(128)) & ~8;  // without a bias of the columns
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      CAPTURE(kind);
      const Product<T> product(rng, m, n, k, kind);
      Tensor<T> alone = product.c, shared = product.c;
      kernels::gemm_alone<T>(m, n, k, product.left(), product.right(), alone.data(), product.ldc, product.add,
                             nullptr, product.f);
      product.run(shared);
      CHECK(same_bits(alone.view(), shared.view()));
      const Tensor<T> shift = random_tensor<T>(rng, {m}, -1, 1);
      Tensor<T> c = product.c;
      kernels::gemm_alone<T>(m, n, k, product.left(), product.right(), c.data(), product.ldc, product.add,
                             shift.data());
      Product<T> plain = product;
      plain.f = Activation::none;
      Tensor<double> expected = plain.expected();
      for (Index row = 0; row < m; ++row) {
        for (Index j = 0; j < n; ++j) expected[row * product.ldc + j] += static_cast<double>(shift[row]);
      }
      const double steps = 3 + static_cast<double>(k);
      CHECK(apart(c.view(), expected.view()) <=
            steps * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }
  });
}

TEST_CASE_TEMPLATE("gemm: sizes that are packed, copied or taken in blocks", T, float, double) {
  for_each_target([](const char*) {
    Rng rng(4);
    // Rows whole pages apart, both ways; a first tile that copies; narrow results; few rows; many.
    const Index sizes[][3] = {{30, 150, 1024}, {1024, 150, 26}, {50, 200, 40},
                              {70, 8, 90},     {8, 90, 200},    {300, 300, 64}};
    for (const auto& size : sizes) {
      for (const int kind : {0, 1, 2, 3, 4 + 16, 8 + 32}) check<T>(rng, size[0], size[1], size[2], kind);
    }
  });
  Rng rng(5);
  check<T>(rng, 4103, 130, 8, 1);                                     // packed, with a last group of one row
  for (const int kind : {1, 3}) check<T>(rng, 4103, 130, 260, kind);  // in more than one block of rows
}

TEST_CASE_TEMPLATE("gemm: a result without inner dimension is zero, the bias, or what was there", T, float,
                   double) {
  const T bias[] = {3, 4};
  T c[] = {1, 2};
  const MatrixRef<T> none{nullptr, 1, 1};
  kernels::gemm<T>(1, 2, 0, none, none, c, 2, true);
  CHECK((c[0] == 1 && c[1] == 2));
  kernels::gemm<T>(1, 2, 0, none, none, c, 2, false, bias);
  CHECK((c[0] == 3 && c[1] == 4));
  kernels::gemm<T>(1, 2, 0, none, none, c, 2, false);
  CHECK((c[0] == 0 && c[1] == 0));
}

TEST_CASE_TEMPLATE("gemm: the same bits for any number of threads", T, float, double) {
  Rng rng(3);
  const Index sizes[][3] = {
      {300, 200, 600}, {220, 70, 1100}, {997, 129, 131}, {100, 1000, 40}, {5000, 1, 300}};
  for (const auto& size : sizes) {
    const Index m = size[0], n = size[1], k = size[2];
    for (const int kind : {0, 1, 2, 3, 4, 8 + 16}) {
      CAPTURE(m);
      CAPTURE(kind);
      const Product<T> product(rng, m, n, k, kind);
      Tensor<T> one = product.c;
      {
        const Threads threads(1);
        product.run(one);
      }
      for (const int count : {2, 3, 4}) {
        const Threads threads(count);
        Tensor<T> several = product.c;
        product.run(several);
        CHECK(same_bits(several.view(), one.view()));
      }
      if (kind != 0) continue;
      const double error = (sizeof(T) == 4 ? 1e-6 : 1e-14) * std::sqrt(static_cast<double>(k));
      CHECK(apart(one.view(), product.expected().view()) < error);
    }
  }
}
