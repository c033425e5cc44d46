#include <cmath>

#include <taper/autodiff/kernels/threads.hpp>
#include <taper/autodiff/ops.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

/// Batch normalization in its training form.
template <class T> Var<T> batch_trained(Var<T> x, Var<T> weight, Var<T> bias, double epsilon) {
  const Var<T> m = batch_moments(x);
  const auto row = [&](Index k) { return reshape(slice(m, 0, k, k + 1), {-1}); };
  return batch_norm(x, row(0), row(1), weight, bias, epsilon);
}

/// The same of elementary operations, which are tested elsewhere.
template <class T> Var<T> batch_elementary(Var<T> x, Var<T> weight, Var<T> bias, double epsilon) {
  const Axes axes = x.shape().rank() == 2 ? Axes{0} : x.shape().rank() == 3 ? Axes{0, 2} : Axes{0, 2, 3};
  const Var<T> apart = x - mean(x, axes, true), variance = mean(square(apart), axes, true);
  const auto shaped = [&](Var<T> v) {
    return x.shape().rank() == 2 ? v : x.shape().rank() == 3 ? reshape(v, {-1, 1}) : reshape(v, {-1, 1, 1});
  };
  return apart / sqrt(variance + static_cast<T>(epsilon)) * shaped(weight) + shaped(bias);
}

}  // namespace

TEST_CASE_TEMPLATE("batch_norm: training values and gradients are those of elementary operations", T, float,
                   double) {
  Rng rng(1);
  for (const Shape& shape : {Shape{6, 3}, Shape{300, 5}, Shape{4, 3, 7}, Shape{3, 4, 5, 6}}) {
    CAPTURE(shape);
    Tape<T> tape;
    const Var<T> x = tape.variable(random_tensor<T>(rng, shape)),
                 w = tape.variable(random_tensor<T>(rng, {shape[1]})),
                 b = tape.variable(random_tensor<T>(rng, {shape[1]}));
    const Tensor<T> seed = random_tensor<T>(rng, shape);
    const Var<T> fused = batch_trained(x, w, b, 1e-3), plain = batch_elementary(x, w, b, 1e-3);
    const double tolerance = 200 * static_cast<double>(std::numeric_limits<T>::epsilon());
    CHECK(apart(fused.value(), plain.value()) < tolerance);
    tape.backward(plain, seed.view());
    const Tensor<T> gx(x.gradient()), gw(w.gradient()), gb(b.gradient());
    tape.backward(fused, seed.view());
    CHECK(apart(x.gradient(), gx.view()) < tolerance);
    CHECK(apart(w.gradient(), gw.view()) < 10 * tolerance);
    CHECK(apart(b.gradient(), gb.view()) < 10 * tolerance);
  }
}

TEST_CASE_TEMPLATE("batch_norm: an offset and the units of the data change nothing", T, float, double) {
  Rng rng(2);
  // As many digits as the scalar keeps next to the offset.
  const double offset = sizeof(T) == 4 ? 1024 : 1e8,
               left = offset * static_cast<double>(std::numeric_limits<T>::epsilon());
  Tensor<T> x({500, 3}), moved({500, 3});
  for (Index i = 0; i < x.size(); ++i) {
    moved[i] = static_cast<T>(offset + rng.normal());
    x[i] = moved[i] - static_cast<T>(offset);  // exactly
  }
  Tape<T> tape;
  const Var<T> one = tape.constant(Tensor<T>({3}, {1, 1, 1})), none = tape.constant(Tensor<T>(Shape{3}));
  const Tensor<T> expected(batch_trained(tape.constant(x), one, none, 0).value());
  CHECK(apart(batch_trained(tape.constant(moved), one, none, 0).value(), expected.view()) < 2 * left);
  for (const double unit : {1e-8, 1e8}) {
    Tensor<T> scaled(x);
    for (T& entry : scaled) entry *= static_cast<T>(unit);
    CHECK(apart(batch_trained(tape.constant(scaled), one, none, 0).value(), expected.view()) <
          20 * static_cast<double>(std::numeric_limits<T>::epsilon()));
  }
}

TEST_CASE("batch_moments: known values") {
  Tape<double> tape;
  const auto x = tape.constant(Tensor<double>({2, 2, 2}, {1, 3, 5, 5, 5, 7, 5, 5}));
  const View<const double> m = batch_moments(x).value();
  CHECK(m.shape() == Shape{3, 2});
  CHECK((m[0] == 4 && m[1] == 5));
  CHECK((m[2] == 5 && m[3] == 0));
  CHECK(m[4] == doctest::Approx(20.0 / 3));
}

TEST_CASE("batch_norm: what does not fit, and one value for each channel") {
  Tape<double> tape;
  const auto x = tape.input({4, 3}), row = tape.input({3}), two = tape.input({2});
  CHECK_ERROR(batch_moments(tape.input({1, 3})),
              "[batch_moments] x 1x3, 1 values for each channel: expected two or more, as in training");
  CHECK_ERROR(batch_moments(tape.input({4})), "[batch_moments] x 4: expected rows x channels");
  CHECK_ERROR(batch_norm(x, row, two), "[batch_norm] variance 2 for x 4x3: expected 3");
  CHECK_ERROR(batch_norm(x, row, row, row, two), "[batch_norm] bias 2 for x 4x3: expected 3");
  CHECK_ERROR(batch_norm(x, row, row, -1), "[batch_norm] epsilon -1: expected 0 or more");
  CHECK(batch_moments(tape.input({4, 0})).shape() == Shape{3, 0});
  CHECK(batch_norm(tape.input({0, 3}), row, row).shape() == Shape{0, 3});
}

TEST_CASE_TEMPLATE("layer_norm and rms_norm: those of elementary operations", T, float, double) {
  Rng rng(3);
  const double tolerance = 200 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (const bool centered : {true, false}) {
    Tape<T> tape;
    const Var<T> x = tape.variable(random_tensor<T>(rng, {5, 3, 4})),
                 w = tape.variable(random_tensor<T>(rng, {3, 4}));
    const Tensor<T> seed = random_tensor<T>(rng, {5, 3, 4});
    const Var<T> d = centered ? x - mean(x, {1, 2}, true) : x;
    const Var<T> plain = d / sqrt(mean(square(d), {1, 2}, true) + T(1e-3)) * w;
    const Var<T> fused = centered ? layer_norm(x, w, 1e-3) : rms_norm(x, w, 1e-3);
    CHECK(apart(fused.value(), plain.value()) < tolerance);
    tape.backward(plain, seed.view());
    const Tensor<T> gx(x.gradient()), gw(w.gradient());
    tape.backward(fused, seed.view());
    CHECK(apart(x.gradient(), gx.view()) < tolerance);
    CHECK(apart(w.gradient(), gw.view()) < tolerance);
  }
  Tape<T> tape;
  const Var<T> x = tape.input({5, 3});
  CHECK_ERROR(layer_norm(x, Index{3}), "[layer_norm] 3 axes of x 5x3: expected 1 to 2");
  CHECK_ERROR(layer_norm(x, tape.input({4})), "[layer_norm] weight 4 for x 5x3: expected 3");
  CHECK_ERROR(rms_norm(tape.input({5, 0})), "[rms_norm] x 5x0: expected entries to average");
}
