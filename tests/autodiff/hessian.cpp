#include <taper/autodiff/hessian.hpp>

#include <cmath>
#include <memory>
#include <taper/autodiff/ops.hpp>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

template <class T> using Tensors = std::vector<Tensor<T>>;

template <class T>
Tensors<T> product(Var<T> output, const std::vector<Var<T>>& leaves, const Tensors<T>& v, double zeros = 1) {
  return hessian_vector_product<T>(output, leaves, v, zeros);
}

/// The largest difference, relative to the largest entry of b.
template <class T> double relative_error(View<const T> a, View<const double> b) {
  double worst = 0, size = 0;
  for (Index i = 0; i < b.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return worst / size;
}

/// x' A x / 2 + b' x with A = M + M', at x of size `scale` and for v of size `along`.
template <class T> double quadratic_error(double scale, double along) {
  constexpr Index n = 6;
  Rng rng(3);
  const auto m = random_tensor<double>(rng, {n, n}), b = random_tensor<double>(rng, {n, 1});
  Tensor<T> x({n, 1}), v({n, 1}), a({n, n}), linear({n, 1});
  for (Index i = 0; i < n; ++i) {
    x[i] = static_cast<T>(scale * rng.uniform(-1, 1));
    v[i] = static_cast<T>(along * rng.uniform(-1, 1));
    linear[i] = static_cast<T>(scale * b[i]);
    for (Index j = 0; j < n; ++j) a[i * n + j] = static_cast<T>(m[i * n + j] + m[j * n + i]);
  }
  Tape<T> tape;
  const auto leaf = tape.variable(x);
  const auto y = sum(leaf * matmul(tape.constant(a), leaf)) * T(0.5) + sum(leaf * tape.constant(linear));
  const T before = y.item();
  const Tensors<T> result = product<T>(y, {leaf}, {v});
  CHECK(y.item() == before);
  CHECK(same_bits(leaf.value(), std::as_const(x).view()));
  Tensor<double> expected({n, 1});
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j)
      expected[i] += static_cast<double>(a[i * n + j]) * static_cast<double>(v[j]);
  }
  return relative_error<T>(result[0].view(), std::as_const(expected).view());
}

}  // namespace

TEST_CASE("hessian_vector_product: a quadratic is exact but for rounding, at any scale of x and v") {
  for (const double scale : {1e-8, 1.0, 1e8}) {
    for (const double along : {1e-8, 1.0, 1e8}) {
      CAPTURE(scale);
      CAPTURE(along);
      CHECK(quadratic_error<double>(scale, along) < 5e-10);
      CHECK(quadratic_error<float>(scale, along) < 2e-4);
    }
  }
}

TEST_CASE("hessian_vector_product: logistic regression agrees with its closed form in any units") {
  constexpr Index n = 40, p = 5;
  for (const double unit : {1e-8, 1.0, 1e8}) {
    CAPTURE(unit);
    Rng rng(4);
    // Columns in a unit, weights in its inverse; the intercept in neither.
    auto x = random_tensor<double>(rng, {n, p}, -unit, unit);
    const auto w = random_tensor<double>(rng, {p, 1}, -1 / unit, 1 / unit);
    const auto vw = random_tensor<double>(rng, {p, 1}, -1 / unit, 1 / unit);
    const Tensor<double> b({1}, {0.3}), vb({1}, {-0.7});
    Tensor<double> y({n, 1});
    for (double& label : y) label = static_cast<double>(rng.below(2));

    const auto block = std::make_shared<Block<double>>(16);
    std::copy(w.begin(), w.end(), block->values.data());
    Tape<double> tape;
    const auto weight = tape.parameter(block, 0, {p, 1});
    const auto intercept = tape.variable(b);
    const auto loss = bce_with_logits_loss(matmul(tape.constant(x), weight) + intercept, tape.constant(y));
    tape.keep_gradients(false);
    const Tensors<double> result = product<double>(loss, {weight, intercept}, {vw, vb});

    Tensor<double> expected_w({p, 1}), expected_b(Shape{1});
    for (Index i = 0; i < n; ++i) {
      double z = b[0], along = vb[0];
      for (Index j = 0; j < p; ++j) {
        z += x[i * p + j] * w[j];
        along += x[i * p + j] * vw[j];
      }
      const double probability = 1 / (1 + std::exp(-z));
      const double part = probability * (1 - probability) * along / n;
      for (Index j = 0; j < p; ++j) expected_w[j] += x[i * p + j] * part;
      expected_b[0] += part;
    }
    CHECK(relative_error<double>(result[0].view(), std::as_const(expected_w).view()) < 1e-8);
    CHECK(relative_error<double>(result[1].view(), std::as_const(expected_b).view()) < 1e-8);
    CHECK(same_bits(weight.value(), w.view()));
  }
}

TEST_CASE("hessian_vector_product: at zero, the size of x is what the caller says") {
  // log cosh(x / s) has second derivative 1 / s^2 at 0.
  for (const double s : {1e-6, 1.0, 1e6}) {
    CAPTURE(s);
    Tape<double> tape;
    const auto x = tape.variable(Tensor<double>({2}));
    const auto scaled = x * (1 / s);
    const auto f = sum(softplus(scaled * 2.0) - scaled);
    const Tensors<double> result = product<double>(f, {x}, {Tensor<double>({2}, {1, -2})}, s);
    CHECK(result[0][0] * s * s == doctest::Approx(1).epsilon(1e-8));
    CHECK(result[0][1] * s * s == doctest::Approx(-2).epsilon(1e-8));
  }
}

TEST_CASE("hessian_vector_product: no direction, no entries, and the same random numbers on both sides") {
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({3}, {1, 2, 3})), empty = tape.variable(Tensor<double>({0}));
  const auto y = sum(square(dropout(x, 0.5))) + sum(empty);
  const Tensors<double> none = product<double>(y, {x, empty}, {Tensor<double>({3}), Tensor<double>({0})});
  for (const double entry : none[0]) CHECK(entry == 0);
  const double before = y.item();
  const Tensors<double> result =
      product<double>(y, {x, empty}, {Tensor<double>({3}, {1, 1, 1}), Tensor<double>({0})});
  CHECK(y.item() == before);
  for (const double entry : result[0]) CHECK((std::abs(entry) < 1e-6 || std::abs(entry - 8) < 1e-6));
}

TEST_CASE("hessian_vector_product: what it cannot be taken of") {
  Tape<double> tape, other;
  const auto x = tape.variable(Tensor<double>({2}, {1, 2}));
  const auto constant = tape.constant(1.0);
  const auto y = sum(square(x)), z = other.variable(Tensor<double>({2}, {1, 2}));
  const Tensor<double> v({2}, {1, 1});
  CHECK_ERROR(product<double>(y, {}, {}), "[hessian_vector_product] no leaves");
  CHECK_ERROR(product<double>(y, {x}, {}), "0 tensors for 1 leaves");
  CHECK_ERROR(product<double>(y, {x, x}, {v, v}), "twice");
  CHECK_ERROR(product<double>(y, {y}, {v}), "expected a leaf");
  CHECK_ERROR(product<double>(y, {constant}, {v}), "expected a leaf");
  CHECK_ERROR(product<double>(y, {z}, {v}), "expected a leaf of the tape");
  CHECK_ERROR(product<double>(y, {x}, {Tensor<double>({3})}), "a vector 3", "expected 2");
  CHECK_ERROR(product<double>(y, {x}, {Tensor<double>({2}, {1, NAN})}), "not finite");
  CHECK_ERROR(product<double>(y, {x}, {v}, 0), "expected a finite number above 0");
  CHECK_ERROR(product<double>(square(x), {x}, {v}), "[backward]", "expected one entry");
  CHECK(x.value()[1] == 2);
}
