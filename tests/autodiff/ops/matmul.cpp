#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/threads.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

/// Where entry (row, column) of matrix (first, second) stands, of up to four axes; what is 1 is repeated.
Index place_in(const Shape& x, Index first, Index second, Index row, Index column) {
  const Index at[] = {first, second, row, column};
  Index result = 0;
  for (Index axis = 0; axis < x.rank(); ++axis) {
    const Index i = at[4 - x.rank() + axis];
    result = result * x[axis] + (x[axis] == 1 ? 0 : i);
  }
  return result;
}

struct BatchCase {
  Shape a, b, y;
  bool ta = false, tb = false;
};

template <class T> struct NaiveBatches {
  Tensor<double> y, ga, gb;

  NaiveBatches(const BatchCase& of, const Tensor<T>& a, const Tensor<T>& b, const Tensor<T>& gy)
      : y(of.y), ga(of.a), gb(of.b) {
    const auto dimension = [&](Index back) { return back <= of.y.rank() ? of.y[of.y.rank() - back] : 1; };
    const Index inner = of.a[of.a.rank() - (of.ta ? 2 : 1)];
    for (Index f = 0; f < dimension(4); ++f) {
      for (Index s = 0; s < dimension(3); ++s) {
        for (Index i = 0; i < dimension(2); ++i) {
          for (Index j = 0; j < dimension(1); ++j) {
            const Index to = place_in(of.y, f, s, i, j);
            for (Index k = 0; k < inner; ++k) {
              const Index in_a = of.ta ? place_in(of.a, f, s, k, i) : place_in(of.a, f, s, i, k);
              const Index in_b = of.tb ? place_in(of.b, f, s, j, k) : place_in(of.b, f, s, k, j);
              y[to] += static_cast<double>(a[in_a]) * static_cast<double>(b[in_b]);
              ga[in_a] += static_cast<double>(gy[to]) * static_cast<double>(b[in_b]);
              gb[in_b] += static_cast<double>(gy[to]) * static_cast<double>(a[in_a]);
            }
          }
        }
      }
    }
  }
};

}  // namespace

TEST_CASE_TEMPLATE("matmul: batches are products one by one, in value and gradient", T, float, double) {
  const std::vector<BatchCase> cases{
      {{5, 7, 9}, {5, 9, 4}, {5, 7, 4}},
      {{5, 9, 7}, {5, 4, 9}, {5, 7, 4}, true, true},
      {{2, 3, 17, 33}, {2, 3, 33, 20}, {2, 3, 17, 20}},
      {{2, 3, 17, 33}, {2, 3, 20, 33}, {2, 3, 17, 20}, false, true},
      {{2, 3, 4, 5}, {5, 6}, {2, 3, 4, 6}},
      {{2, 3, 5, 4}, {5, 6}, {2, 3, 4, 6}, true, false},
      {{4, 5}, {3, 5, 6}, {3, 4, 6}},
      {{3, 1, 4, 5}, {1, 2, 5, 6}, {3, 2, 4, 6}},
      {{2, 4, 5}, {3, 1, 5, 6}, {3, 2, 4, 6}},
      {{3, 1, 7}, {3, 7, 1}, {3, 1, 1}},
      {{300, 2, 3}, {300, 3, 2}, {300, 2, 2}},
      {{2, 130, 90}, {2, 90, 110}, {2, 130, 110}},  // split within a product
      {{2, 3, 0}, {2, 0, 4}, {2, 3, 4}},
      {{0, 3, 5}, {0, 5, 4}, {0, 3, 4}},
      {{1, 3, 5}, {0, 5, 4}, {0, 3, 4}},
      {{2, 0, 5}, {2, 5, 4}, {2, 0, 4}},
  };
  for (const BatchCase& of : cases) {
    CAPTURE(of.a);
    CAPTURE(of.b);
    const Tensor<T> a = normal_tensor<T>(of.a, 1), b = normal_tensor<T>(of.b, 2),
                    gy = normal_tensor<T>(of.y, 3);
    const NaiveBatches<T> expected(of, a, b, gy);
    const double most = sizeof(T) == 4 ? 2e-5 : 1e-13;
    std::vector<Tensor<T>> first;
    const int before = threads();
    for (const int count : {1, 3}) {
      set_threads(count);
      Tape<T> tape;
      const Var<T> x = tape.variable(a), w = tape.variable(b);
      const Var<T> y =
          matmul(x, w, of.ta ? Transpose::yes : Transpose::no, of.tb ? Transpose::yes : Transpose::no);
      REQUIRE(y.shape() == of.y);
      CHECK(apart(y.value(), expected.y.view()) < most);
      tape.backward(sum(y * tape.constant(gy)));
      CHECK(apart(x.gradient(), expected.ga.view()) < most);
      CHECK(apart(w.gradient(), expected.gb.view()) < most);
      const std::vector<Tensor<T>> now{Tensor<T>(y.value()), Tensor<T>(x.gradient()),
                                       Tensor<T>(w.gradient())};
      for (std::size_t k = 0; k < first.size(); ++k) CHECK(same_bits(first[k].view(), now[k].view()));
      first = now;
      // Gradients add up: everything is used twice.
      tape.backward(sum(y * tape.constant(gy)) + sum(x) + sum(w) - sum(x) - sum(w));
      CHECK(apart(x.gradient(), expected.ga.view()) < 4 * most);
    }
    set_threads(before);
  }
}

TEST_CASE("matmul: one variable on both sides of a batch") {
  Tape<double> tape;
  const auto x = tape.variable(normal_tensor<double>({3, 4, 4}));
  const auto y = matmul(x, x, Transpose::no, Transpose::yes);
  tape.backward(sum(y));
  // The sum of X X' over its entries is that of the squared column sums.
  for (Index r = 0; r < 3; ++r) {
    for (Index i = 0; i < 4; ++i) {
      for (Index k = 0; k < 4; ++k) {
        double total = 0;
        for (Index j = 0; j < 4; ++j) total += 2 * x.value()[(r * 4 + j) * 4 + k];
        CHECK(x.gradient()[(r * 4 + i) * 4 + k] == doctest::Approx(total));
      }
    }
  }
}

TEST_CASE("matmul: refused batches, and what a product costs") {
  Tape<double> tape;
  const auto x = tape.input({2, 3, 4});
  CHECK_ERROR(matmul(x, tape.input({4})), "[matmul] shapes 2x3x4 and 4", "batches");
  CHECK_ERROR(matmul(x, tape.input({2, 3, 4})), "2x3x4 times 2x3x4", "a right side with 4 rows");
  CHECK_ERROR(matmul(x, tape.input({3, 4, 5})), "2x3x4 and 3x4x5", "leading dimensions that are equal or 1");
  const auto cost = [&](Var<double> y) {
    return multiply_adds_of(tape, tape.nodes()[static_cast<std::size_t>(y.index())]);
  };
  CHECK(cost(matmul(x, tape.input({2, 4, 5}))) == 2 * 3 * 4 * 5);
  CHECK(cost(matmul(tape.input({3, 4}), tape.input({7, 2, 4, 5}))) == 14 * 3 * 4 * 5);
  CHECK(cost(matmul(tape.input({7, 3, 4}), tape.input({4, 5}))) == 7 * 3 * 4 * 5);
}

TEST_CASE("permute: any order of axes") {
  Tape<double> tape;
  const auto x = tape.variable(normal_tensor<double>({2, 3, 4, 5}));
  const auto y = permute(x, {0, 2, -1, 1});
  REQUIRE(y.shape() == Shape{2, 4, 5, 3});
  for (Index a = 0; a < 2; ++a) {
    for (Index b = 0; b < 3; ++b) {
      for (Index c = 0; c < 4; ++c) {
        for (Index d = 0; d < 5; ++d)
          CHECK(y.value()[((a * 4 + c) * 5 + d) * 3 + b] == x.value()[((a * 3 + b) * 4 + c) * 5 + d]);
      }
    }
  }
  CHECK(same_bits(permute(y, {0, 3, 1, 2}).value(), x.value()));
  CHECK(same_bits(permute(x, {0, 2, 1, 3}).value(), transpose(x, 1, 2).value()));
  tape.backward(sum(y * y) + sum(x));
  for (Index i = 0; i < x.shape().size(); ++i)
    CHECK(x.gradient()[i] == doctest::Approx(1 + 2 * x.value()[i]));
  CHECK_ERROR(permute(x, {0, 1, 2}), "[permute] 3 axes of a tensor 2x3x4x5", "expected 4");
  CHECK_ERROR(permute(x, {0, 1, 1, 2}), "axis 1 twice");
  CHECK_ERROR(permute(x, {0, 1, 4, 2}), "axis 4");
  CHECK_ERROR(permute(x, {0, 1, 2, 3, 4}), "5 axes", "at most 4");
}

TEST_CASE("chunk: equal parts of an axis") {
  Tape<double> tape;
  const auto x = tape.variable(normal_tensor<double>({2, 6, 3}));
  for (Index part = 0; part < 3; ++part) {
    CHECK(same_bits(chunk(x, part, 3, 1).value(), slice(x, 1, 2 * part, 2 * part + 2).value()));
  }
  tape.backward(sum(chunk(x, 1, 2, -2)));
  for (Index i = 0; i < 36; ++i) CHECK(x.gradient()[i] == (i / 3 % 6 < 3 ? 0 : 1));
  CHECK_ERROR(chunk(x, 0, 4, 1), "[chunk] part 0 of 4 of axis 1 of a tensor 2x6x3", "equal parts");
  CHECK_ERROR(chunk(x, 3, 3, 1), "part 3 of 3");
  CHECK_ERROR(chunk(x, 0, 0, 1), "part 0 of 0");
}
