#include <taper/autodiff/gradcheck.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include <taper/autodiff/ops.hpp>

#include "random_tensors.hpp"

using namespace taper;

namespace {

using Record = OpRecord<double>;

Shape same(const Signature& s) {
  return s[0];
}

void cube_forward(const Forward<double>& f) {
  for (Index i = 0; i < f.output().size(); ++i) f.output()[i] = std::pow(f.input(0)[i], 3);
}

/// The gradient of a cube where `slope(i, x)` stands for the derivative 3 x^2.
template <class Slope> void cube_backward(const Backward<double>& b, const Slope& slope) {
  const Gradient<double> g = b.gradient(0);
  for (Index i = 0; i < b.output().size(); ++i) {
    const double local = b.output_gradient()[i] * slope(i, b.input(0)[i]);
    g.data[i] = g.add ? g.data[i] + local : local;
  }
}

void right(const Backward<double>& b) {
  cube_backward(b, [](Index, double x) { return 3 * x * x; });
}

void product_forward(const Forward<double>& f) {
  for (Index i = 0; i < f.output().size(); ++i) f.output()[i] = f.input(0)[i] * f.input(1)[i];
}

/// The gradient of a product of two, which adds to what is there, or forgets to.
template <bool forgets> void product_backward(const Backward<double>& b) {
  for (const Index of : {0, 1}) {
    const Gradient<double> g = b.gradient(of);
    if (!g) continue;
    for (Index i = 0; i < b.output().size(); ++i) {
      const double local = b.output_gradient()[i] * b.input(1 - of)[i];
      g.data[i] = g.add && !forgets ? g.data[i] + local : local;
    }
  }
}

std::vector<Tensor<double>> inputs() {
  Rng rng(1);
  return {random_tensor<double>(rng, {3, 7}, 0.5, 2)};
}

/// Whether a check by entries, and one along directions alone, find the gradient right; both must agree.
void expect(const TapeFunction& f, bool ok) {
  GradcheckOptions entries, directions;
  entries.projections = 0;
  directions.most_entries = 0;
  CHECK(gradcheck(f, inputs(), entries).ok == ok);
  CHECK(gradcheck(f, inputs(), directions).ok == ok);
  CHECK(gradcheck(f, inputs()).ok == ok);
}

void expect_cube(void (*backward)(const Backward<double>&), bool ok) {
  const Op<double> cube{
      Record{.name = "cube", .arity = 1, .shape = same, .forward = cube_forward, .backward = backward}};
  expect([&](std::span<const Var<double>> x) { return apply(cube, {x[0]}); }, ok);
  CHECK(gradcheck(cube, {inputs()}).ok == ok);
}

}  // namespace

TEST_CASE("gradcheck: passes a right derivative") {
  expect_cube(right, true);
}

TEST_CASE("gradcheck: catches a wrong sign") {
  expect_cube([](const Backward<double>& b) { cube_backward(b, [](Index, double x) { return -3 * x * x; }); },
              false);
}

TEST_CASE("gradcheck: catches a missing factor") {
  expect_cube([](const Backward<double>& b) { cube_backward(b, [](Index, double x) { return x * x; }); },
              false);
}

TEST_CASE("gradcheck: catches a gradient of zero, and one a millionth off") {
  expect_cube([](const Backward<double>& b) { cube_backward(b, [](Index, double) { return 0.0; }); }, false);
  expect_cube(
      [](const Backward<double>& b) { cube_backward(b, [](Index, double x) { return 3.00001 * x * x; }); },
      false);
}

TEST_CASE("gradcheck: catches one wrong entry, and says which") {
  const auto backward = [](const Backward<double>& b) {
    cube_backward(b, [](Index i, double x) { return i == 11 ? 0 : 3 * x * x; });
  };
  expect_cube(backward, false);
  const Op<double> cube{
      Record{.name = "cube", .arity = 1, .shape = same, .forward = cube_forward, .backward = backward}};
  const GradcheckReport report = gradcheck(cube, {inputs()}, {.projections = 0});
  CHECK(report.where.find("entry 11 of input 0: derivative 0.000000") == 0);
  std::ostringstream text;
  text << report;
  CHECK(text.str().find("gradients differ, at most 0.") == 0);
  CHECK(text.str().find("entry 11") != std::string::npos);
}

TEST_CASE("gradcheck: catches a NaN, which stays the worst") {
  const auto backward = [](const Backward<double>& b) {
    cube_backward(b, [](Index i, double x) { return i == 4 ? std::nan("") : 3 * x * x; });
  };
  expect_cube(backward, false);
  const Op<double> cube{
      Record{.name = "cube", .arity = 1, .shape = same, .forward = cube_forward, .backward = backward}};
  const GradcheckReport report = gradcheck(cube, {inputs()});
  CHECK(std::isnan(report.worst));
  CHECK(report.where.find("entry 4 of input 0") == 0);
}

TEST_CASE("gradcheck: catches a gradient that is stored where it must be added") {
  for (const bool forgets : {false, true}) {
    CAPTURE(forgets);
    const Op<double> product{Record{.name = "product",
                                    .arity = 2,
                                    .shape = same,
                                    .forward = product_forward,
                                    .backward = forgets ? product_backward<true> : product_backward<false>}};
    // The same variable twice in one operation, and in two operations.
    expect([&](std::span<const Var<double>> x) { return apply(product, {x[0], x[0]}); }, !forgets);
    const auto in_two = [&](std::span<const Var<double>> x) {
      const Var<double> first = apply(product, {x[0], x[0].tape().constant(inputs()[0])});
      return first + exp(x[0]);
    };
    expect(in_two, !forgets);
    // With different variables, each used once; and of something computed.
    const auto two = [&](std::span<const Var<double>> x) { return apply(product, {x[0], x[1]}); };
    CHECK(gradcheck(two, std::vector{inputs()[0], inputs()[0]}).ok == !forgets);
    const auto inside = [&](std::span<const Var<double>> x) {
      return exp(apply(product, {exp(x[0]), x[1]})) * 1e-3;
    };
    CHECK(gradcheck(inside, std::vector{inputs()[0], inputs()[0]}).ok == !forgets);
  }
}

TEST_CASE("gradcheck: an operation is checked for storing and for adding") {
  static bool adds;  // whatever it is asked for
  const Op<double> stubborn{Record{.name = "stubborn cube",
                                   .arity = 1,
                                   .shape = same,
                                   .forward = cube_forward,
                                   .backward = [](const Backward<double>& b) {
                                     const Gradient<double> g = b.gradient(0);
                                     for (Index i = 0; i < b.output().size(); ++i) {
                                       const double x = b.input(0)[i];
                                       const double local = b.output_gradient()[i] * 3 * x * x;
                                       g.data[i] = adds ? g.data[i] + local : local;
                                     }
                                   }}};
  adds = false;
  CHECK(!gradcheck(stubborn, {inputs()}).ok);
  expect([&](std::span<const Var<double>> x) { return apply(stubborn, {x[0]}); }, false);
  const GradcheckReport report =
      gradcheck([&](std::span<const Var<double>> x) { return apply(stubborn, {x[0]}); }, inputs());
  CHECK(report.where.find("to which other operations add") != std::string::npos);
  adds = true;
  CHECK(!gradcheck(stubborn, {inputs()}).ok);
  CHECK(!gradcheck([&](std::span<const Var<double>> x) { return apply(stubborn, {x[0]}); }, inputs()).ok);
}

TEST_CASE("gradcheck: catches an operation that is right in every recording and wrong in a replay") {
  // y = x[0] x, where x[0] is read while recording and kept: a shape is asked for then and only then.
  static bool recording;
  static double factor;
  const Op<double> scaled{Record{.name = "scaled",
                                 .arity = 1,
                                 .shape =
                                     [](const Signature& s) {
                                       recording = true;
                                       return s[0];
                                     },
                                 .forward =
                                     [](const Forward<double>& f) {
                                       if (recording) factor = f.input(0)[0];
                                       recording = false;
                                       for (Index i = 0; i < f.output().size(); ++i)
                                         f.output()[i] = factor * f.input(0)[i];
                                     },
                                 .backward =
                                     [](const Backward<double>& b) {
                                       const Gradient<double> g = b.gradient(0);
                                       double first = 0;
                                       for (Index i = 0; i < b.output().size(); ++i) {
                                         const double local = b.output_gradient()[i] * b.input(0)[0];
                                         g.data[i] = g.add ? g.data[i] + local : local;
                                         first += b.output_gradient()[i] * b.input(0)[i];
                                       }
                                       g.data[0] += first;
                                     }}};
  // Recorded afresh for each point, value and derivative agree.
  const auto fresh = [&](double by, double* slope) {
    Tensor<double> x = inputs()[0];
    x[0] += by;
    Tape<double> tape;
    const Var<double> variable = tape.variable(x), y = sum(apply(scaled, {variable}));
    tape.backward(y);
    if (slope != nullptr) *slope = variable.gradient()[0];
    return y.item();
  };
  double slope = 0;
  fresh(0, &slope);
  CHECK(slope == doctest::Approx((fresh(1e-5, nullptr) - fresh(-1e-5, nullptr)) / 2e-5).epsilon(1e-8));
  CHECK(!gradcheck(scaled, {inputs()}).ok);
  expect([&](std::span<const Var<double>> x) { return apply(scaled, {x[0]}); }, false);
}

TEST_CASE("gradcheck: inputs without derivative are held fixed; random operations keep their pattern") {
  CHECK(gradcheck([](std::span<const Var<double>> x) { return dropout(x[0] * x[0], 0.5); }, inputs()).ok);
  const Op<double> first{Record{.name = "first",
                                .arity = 2,
                                .shape = same,
                                .forward = product_forward,
                                .backward =
                                    [](const Backward<double>& b) {
                                      const Gradient<double> g = b.gradient(0);
                                      for (Index i = 0; i < b.output().size(); ++i) {
                                        const double local = b.output_gradient()[i] * b.input(1)[i];
                                        g.data[i] = g.add ? g.data[i] + local : local;
                                      }
                                    },
                                .constants = 0b10}};
  CHECK(gradcheck(first, {{inputs()[0], inputs()[0]}}).ok);
}

TEST_CASE("registry: knows an operation while it lives, and not afterwards") {
  const std::size_t before = Op<double>::registry().size(), floats = Op<float>::registry().size();
  {
    const Record record{
        .name = "short-lived cube", .arity = 1, .shape = same, .forward = cube_forward, .backward = right};
    const Op<double> cube(record);
    CHECK(Op<double>::find("short-lived cube") == &cube);
    CHECK(Op<float>::find("short-lived cube") == nullptr);
    CHECK(Op<double>::registry().size() == before + 1);
    CHECK_ERROR(Op<double>{record}, "[short-lived cube] a second operation of this name: expected another");
    CHECK(Op<double>::find("short-lived cube") == &cube);
    CHECK(Op<float>::registry().size() == floats);
  }
  CHECK(Op<double>::find("short-lived cube") == nullptr);
  CHECK(Op<double>::registry().size() == before);
}
