#include <taper/data/scaler.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"

using taper::Index;
using taper::Rng;
using taper::Shape;
using taper::Tensor;
using taper::View;
using taper::data::StandardScaler;

namespace {

/// Columns with means and spreads of very different sizes.
template <class T> Tensor<T> random_matrix(Index rows, Index columns, Rng& rng) {
  Tensor<T> x(Shape{rows, columns});
  for (Index j = 0; j < columns; ++j) {
    const double spread = std::pow(10, rng.uniform(-3, 4));
    const double mean = 20 * spread * rng.normal();
    for (Index i = 0; i < rows; ++i) x[i * columns + j] = static_cast<T>(mean + spread * rng.normal());
  }
  return x;
}

}  // namespace

TEST_CASE_TEMPLATE("scaler: known numbers", T, float, double) {
  StandardScaler<T> scaler;
  Tensor<T> x(Shape{4, 2}, {1, 5, 3, 5, 1, 5, 3, 5});
  scaler.fit(x);
  CHECK(scaler.mean()[0] == 2);
  CHECK(scaler.scale()[0] == 1);  // the population variance; that of a sample would be 4 / 3
  CHECK(scaler.mean()[1] == 5);
  CHECK(scaler.scale()[1] == 1);  // constant
  scaler.transform(x);
  CHECK(std::vector<T>(x.begin(), x.end()) == std::vector<T>{-1, 0, 1, 0, -1, 0, 1, 0});
}

TEST_CASE_TEMPLATE("scaler: mean 0, variance 1, and back again", T, float, double) {
  Rng rng(1);
  // The means are tens of spreads away from zero, and rounding is relative to them.
  const double tolerance = 1000 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (int round = 0; round < 50; ++round) {
    const Index rows = 2 + rng.below(200);
    const Index columns = 1 + rng.below(10);
    const Tensor<T> original = random_matrix<T>(rows, columns, rng);
    Tensor<T> x = original;
    StandardScaler<T> scaler;
    scaler.fit(x);
    scaler.transform(x);
    for (Index j = 0; j < columns; ++j) {
      const auto z = x.matrix().col(j).template cast<double>().array();
      CHECK(std::abs(z.mean()) < tolerance);
      CHECK(std::abs(z.square().mean() - 1) < tolerance);
    }
    scaler.inverse(x);
    const auto difference = (x.vector() - original.vector()).cwiseAbs().eval();
    CHECK(difference.maxCoeff() <= tolerance * static_cast<double>(original.vector().cwiseAbs().maxCoeff()));
  }
}

TEST_CASE("scaler: a small spread around a large mean is not lost") {
  Tensor<double> x(Shape{1000, 1});
  for (Index i = 0; i < 1000; ++i) x[i] = 1e9 + static_cast<double>(i % 2);
  StandardScaler<double> scaler;
  scaler.fit(x);
  CHECK(scaler.scale()[0] == doctest::Approx(0.5).epsilon(1e-9));
}

TEST_CASE_TEMPLATE("scaler: constant columns have scale 1, although their sums are rounded", T, float,
                   double) {
  for (const double constant : {0.0, 0.1, -1e-20, 1.0 / 3, 123456.789, 1e20}) {
    CAPTURE(constant);
    Tensor<T> x(Shape{1001, 1});
    for (T& entry : x) entry = static_cast<T>(constant);
    StandardScaler<T> scaler;
    scaler.fit(x);
    CHECK(scaler.scale()[0] == 1);
    scaler.transform(x);
    CHECK(std::abs(x[0]) <= 1e-12 * std::abs(constant));
  }
}

TEST_CASE_TEMPLATE("scaler: what was learned on one set scales another", T, float, double) {
  StandardScaler<T> scaler;
  scaler.fit(Tensor<T>(Shape{2, 1}, {0, 2}));
  Tensor<T> test(Shape{3, 1}, {1, 5, -1});
  scaler.transform(test);
  CHECK(std::vector<T>(test.begin(), test.end()) == std::vector<T>{0, 4, -2});
  Tensor<T> none(Shape{0, 1});
  CHECK_NOTHROW(scaler.transform(none));
}

TEST_CASE_TEMPLATE("scaler: misuse", T, float, double) {
  StandardScaler<T> scaler;
  Tensor<T> x(Shape{2, 3});
  CHECK_ERROR(scaler.transform(x), "[scaler] used before fit");
  CHECK_ERROR(scaler.inverse(x), "used before fit");
  CHECK_ERROR(scaler.mean(), "used before fit");
  CHECK_ERROR(scaler.scale(), "used before fit");
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{0, 3}, Shape{2, 3, 4}}) {
    CHECK_ERROR(scaler.fit(Tensor<T>(shape)), "[scaler] cannot fit to x of shape " + shape.str());
  }
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Tensor<T> damaged = x;
    damaged[5] = static_cast<T>(bad);
    CHECK_ERROR(scaler.fit(damaged), "[scaler] column 2", "x 2x3");
  }
  CHECK_ERROR(scaler.mean(), "used before fit");  // a fit that failed taught nothing

  scaler.fit(x);
  for (const Shape& shape : {Shape{3}, Shape{3, 2}, Shape{1, 1, 3}}) {
    Tensor<T> other(shape);
    CHECK_ERROR(scaler.transform(other), "[scaler] x of shape " + shape.str(), "3 columns");
    CHECK_ERROR(scaler.inverse(other), "[scaler] x of shape " + shape.str(), "3 columns");
  }
}
