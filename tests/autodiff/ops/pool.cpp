// Poolings against loops over all windows.

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/threads.hpp>

#include "../../check.hpp"
#include "../kernels/targets.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

struct PoolCase {
  Shape x;
  Both kernel, stride, padding, dilation;
  bool count_padding = true;

  Index outputs(Index input, Index k, Index s, Index p, Index d) const {
    return (input + 2 * p - d * (k - 1) - 1) / s + 1;
  }
  Shape output() const {
    return {x[0], x[1], outputs(x[2], kernel.rows, stride.rows, padding.rows, dilation.rows),
            outputs(x[3], kernel.columns, stride.columns, padding.columns, dilation.columns)};
  }
  /// Calls f(output entry, input entry) for each element of each window, in order.
  template <class F> void for_elements(const F& f) const {
    const Shape y = output();
    for (Index at = 0; at < y.size(); ++at) {
      const Index p = at % y[3], o = at / y[3] % y[2], plane = at / y[3] / y[2];
      for (Index i = 0; i < kernel.rows; ++i) {
        for (Index j = 0; j < kernel.columns; ++j) {
          const Index row = o * stride.rows - padding.rows + i * dilation.rows;
          const Index column = p * stride.columns - padding.columns + j * dilation.columns;
          if (row >= 0 && row < x[2] && column >= 0 && column < x[3])
            f(at, (plane * x[2] + row) * x[3] + column);
        }
      }
    }
  }
};

PoolCase random_pool(Rng& rng, bool dilated) {
  const auto both = [&](Index least, Index count) {
    return Both(least + rng.below(count), least + rng.below(count));
  };
  PoolCase c{{}, both(1, 4), both(1, 3), 0, dilated ? both(1, 2) : Both(1), rng.below(2) == 0};
  c.padding = {rng.below(c.kernel.rows / 2 + 1), rng.below(c.kernel.columns / 2 + 1)};
  c.x = {rng.below(4), 1 + rng.below(3), c.dilation.rows * (c.kernel.rows - 1) + 1 + rng.below(12),
         c.dilation.columns * (c.kernel.columns - 1) + 1 + rng.below(40)};
  return c;
}

/// Whole numbers with many ties, and a NaN here and there.
template <class T> Tensor<T> ties(Rng& rng, const Shape& shape, bool with_nan) {
  Tensor<T> x(shape);
  for (T& entry : x) {
    entry = static_cast<T>(rng.below(5));
    if (with_nan && rng.below(20) == 0) entry = std::numeric_limits<T>::quiet_NaN();
  }
  return x;
}

template <class T> void check_max(const PoolCase& c, Rng& rng, bool with_nan) {
  INFO("x ", c.x.str(), ", kernel ", c.kernel.rows, " ", c.kernel.columns, ", stride ", c.stride.rows, " ",
       c.stride.columns, ", padding ", c.padding.rows, " ", c.padding.columns);
  Tape<T> tape;
  const Tensor<T> image = ties<T>(rng, c.x, with_nan), seed = random_tensor<T>(rng, c.output());
  const auto x = tape.variable(image);
  const auto y = max_pool2d(x, c.kernel, {.stride = c.stride, .padding = c.padding, .dilation = c.dilation});
  REQUIRE(y.shape() == c.output());
  std::vector<Index> found(static_cast<std::size_t>(seed.size()), -1);
  c.for_elements([&](Index at, Index from) {
    Index& best = found[static_cast<std::size_t>(at)];
    const bool larger = best < 0 || image[from] > image[best];
    if (best >= 0 && std::isnan(image[best])) return;
    if (larger || std::isnan(image[from])) best = from;
  });
  Tensor<T> expected(c.output()), gx(c.x);
  for (Index i = 0; i < seed.size(); ++i) {
    const Index from = found[static_cast<std::size_t>(i)];
    expected[i] = from < 0 ? -std::numeric_limits<T>::infinity() : image[from];
    if (from >= 0) gx[from] += seed[i];
  }
  CHECK(apart(y.value(), expected.view()) == 0);
  tape.backward(y, seed.view());
  CHECK(apart(x.gradient(), gx.view()) < 8 * std::numeric_limits<T>::epsilon());
  const auto more = sum(y * tape.constant(seed)) + sum(x * tape.constant(image.size() > 0 ? T{2} : T{0}));
  if (with_nan) return;
  tape.backward(more);  // added to what another operation has stored
  for (Index i = 0; i < gx.size(); ++i) gx[i] += T{2};
  CHECK(apart(x.gradient(), gx.view()) < 8 * std::numeric_limits<T>::epsilon());
}

}  // namespace

TEST_CASE_TEMPLATE("max_pool2d: random windows agree with loops, ties and NaN among them", T, float, double) {
  Rng rng(1);
  for (int i = 0; i < 80; ++i) check_max<T>(random_pool(rng, true), rng, i % 3 == 0);
  for_each_target([&](const char*) {
    for (const Shape& x : {Shape{2, 3, 24, 24}, Shape{2, 3, 8, 8}, Shape{1, 2, 7, 9}, Shape{2, 1, 2, 2},
                           Shape{1, 1, 3, 67}, Shape{0, 3, 4, 4}}) {
      check_max<T>({x, 2, 2, 0, 1}, rng, false);
      check_max<T>({x, 2, 2, 0, 1}, rng, true);
    }
  });
}

TEST_CASE_TEMPLATE("avg_pool2d: random windows agree with loops", T, float, double) {
  Rng rng(2);
  for (int i = 0; i < 60; ++i) {
    const PoolCase c = random_pool(rng, false);
    CAPTURE(c.x);
    Tape<T> tape;
    const Tensor<T> image = random_tensor<T>(rng, c.x), seed = random_tensor<T>(rng, c.output());
    const auto x = tape.variable(image);
    const auto y =
        avg_pool2d(x, c.kernel, {.stride = c.stride, .padding = c.padding, .count_padding = c.count_padding});
    Tensor<double> expected(c.output()), count(c.output()), gx(c.x);
    c.for_elements([&](Index at, Index) { count[at] += 1; });
    if (c.count_padding) {
      for (double& n : count) n = static_cast<double>(c.kernel.rows * c.kernel.columns);
    }
    c.for_elements([&](Index at, Index from) {
      expected[at] += static_cast<double>(image[from]) / count[at];
      gx[from] += static_cast<double>(seed[at]) / count[at];
    });
    const double tolerance = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
    CHECK(apart(y.value(), expected.view()) < tolerance);
    tape.backward(y, seed.view());
    CHECK(apart(x.gradient(), gx.view()) < tolerance);
  }
}

TEST_CASE("adaptive_avg_pool2d: PyTorch's cells, and the average of all") {
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({1, 1, 1, 5}, {1, 2, 3, 4, 5}));
  const auto y = adaptive_avg_pool2d(x, {1, 3});  // [0, 2), [1, 4), [3, 5)
  CHECK(y.value()[0] == 1.5);
  CHECK(y.value()[1] == 3);
  CHECK(y.value()[2] == 4.5);
  tape.backward(sum(y));
  CHECK(x.gradient()[1] == doctest::Approx(0.5 + 1.0 / 3));
  const auto more = adaptive_avg_pool1d(reshape(x, {1, 1, 5}), 7);  // cells of one and two elements
  CHECK(more.value()[0] == 1);
  CHECK(more.value()[6] == 5);
  CHECK(adaptive_avg_pool2d(x, 1).item() == 3);
}

TEST_CASE("average pooling: long sums keep their digits, at any scale") {
  for (const double scale : {1e-8, 0.1, 1e8}) {
    Tape<float> tape;
    Tensor<float> image({1, 1, 1000, 1000});
    for (float& entry : image) entry = static_cast<float>(scale);
    const auto y = adaptive_avg_pool2d(tape.constant(image), 1);
    CHECK(static_cast<double>(y.item()) ==
          doctest::Approx(static_cast<double>(static_cast<float>(scale))).epsilon(1e-7));
  }
}

TEST_CASE_TEMPLATE("pooling of one direction: that of images with one row", T, float, double) {
  Rng rng(3);
  const Tensor<T> signal = random_tensor<T>(rng, {2, 3, 13});
  Tape<T> tape;
  const auto x = tape.variable(signal), image = reshape(x, {2, 3, 1, 13});
  const auto check = [&](Var<T> line, Var<T> row) {
    REQUIRE(line.shape().size() == row.shape().size());
    CHECK(same_bits(line.value(), View<const T>(row.value().data(), line.shape())));
    tape.backward(sum(square(row)));
    const Tensor<T> expected(x.gradient());
    tape.backward(sum(square(line)));
    CHECK(same_bits(x.gradient(), expected.view()));
  };
  check(max_pool1d(x, 3, {.padding = 1}), max_pool2d(image, {1, 3}, {.padding = {0, 1}}));
  check(max_pool1d(x, 2), max_pool2d(image, {1, 2}));
  check(avg_pool1d(x, 3, {.stride = 2, .padding = 1}),
        avg_pool2d(image, {1, 3}, {.stride = {1, 2}, .padding = {0, 1}}));
  check(adaptive_avg_pool1d(x, 4), adaptive_avg_pool2d(image, {1, 4}));
}

TEST_CASE_TEMPLATE("pooling: the same bits for any number of threads", T, float, double) {
  Rng rng(4);
  const Tensor<T> image = random_tensor<T>(rng, {40, 10, 24, 24});
  const int before = threads();
  std::vector<Tensor<T>> first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    Tape<T> tape;
    const auto x = tape.variable(image);
    const auto y = sum(square(max_pool2d(x, 2))) + sum(square(max_pool2d(x, 3, {.stride = 2}))) +
                   sum(square(avg_pool2d(x, 3, {.padding = 1})));
    tape.backward(y);
    if (count == 1) first.emplace_back(x.gradient());
    CHECK(same_bits(x.gradient(), first[0].view()));
  }
  set_threads(before);
}

TEST_CASE("pooling: what does not fit") {
  Tape<double> tape;
  const auto x = tape.input({2, 3, 4, 5}), line = tape.input({2, 3, 4});
  CHECK_ERROR(max_pool2d(line, 2), "[max_pool2d] input 2x3x4: expected batch x channels x rows x columns");
  CHECK_ERROR(avg_pool1d(x, 2), "[avg_pool1d] input 2x3x4x5: expected batch x channels x length");
  CHECK_ERROR(max_pool2d(x, {5, 2}), "[max_pool2d] a kernel of 5", "at most 4");
  CHECK_ERROR(avg_pool2d(x, 0), "[avg_pool2d] kernel 0: expected 1 <= kernel");
  CHECK_ERROR(max_pool1d(line, 2, {.stride = -1}), "[max_pool1d] stride -1: expected 1 <= stride");
  CHECK_ERROR(max_pool2d(x, 3, {.padding = 2}),
              "[max_pool2d] padding 2 with a kernel of 3: expected at most half of it");
  CHECK_ERROR(adaptive_avg_pool2d(x, {0, 1}), "[adaptive_avg_pool2d] an output of 0: expected 1 or more");
  CHECK_ERROR(adaptive_avg_pool1d(tape.input({2, 3, 0}), 1),
              "[adaptive_avg_pool1d] input 2x3x0: expected elements to average");
}
