#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/threads.hpp>
#include <taper/autodiff/ops.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

TEST_CASE_TEMPLATE("where: chooses entry by entry, and what is not chosen counts for nothing", T, float,
                   double) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
  Tape<T> tape;
  const Var<T> c = tape.constant(Tensor<T>({4}, {1, 0, nan, T(-0.0)}));
  const Var<T> a = tape.variable(Tensor<T>({4}, {1, nan, 3, infinity})),
               b = tape.variable(Tensor<T>({4}, {nan, 20, nan, 40}));
  const Var<T> y = where(c, a, b);
  CHECK(same_bits(y.value(), View<const T>(Tensor<T>({4}, {1, 20, 3, 40}).view())));
  tape.backward(sum(y));
  CHECK(same_bits(a.gradient(), View<const T>(Tensor<T>({4}, {1, 0, 1, 0}).view())));
  CHECK(same_bits(b.gradient(), View<const T>(Tensor<T>({4}, {0, 1, 0, 1}).view())));
}

TEST_CASE_TEMPLATE("where: operands that are repeated collect their gradients, also many", T, float, double) {
  Rng rng(1);
  const std::array<Shape, 3> uses[] = {{Shape{40, 30}, {1}, {30}},
                                       {Shape{40, 1}, {40, 30}, {}},
                                       {Shape{2, 1, 3, 1}, {2, 30, 1, 5}, {30, 1, 1}}};
  for (const auto& shapes : uses) {
    Tape<T> tape;
    Tensor<T> chosen(shapes[0]);
    for (T& entry : chosen) entry = static_cast<T>(rng.below(2));
    const Var<T> c = tape.constant(chosen), a = tape.variable(random_tensor<T>(rng, shapes[1])),
                 b = tape.variable(random_tensor<T>(rng, shapes[2]));
    const Var<T> y = where(c, a, b), plain = c * a + (T{1} - c) * b;
    CHECK(apart(y.value(), plain.value()) == 0);
    const Tensor<T> seed = random_tensor<T>(rng, y.shape());
    tape.backward(plain, seed.view());
    const Tensor<T> ga(a.gradient()), gb(b.gradient());
    tape.backward(y, seed.view());
    const double tolerance = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());
    CHECK(apart(a.gradient(), ga.view()) < tolerance);
    CHECK(apart(b.gradient(), gb.view()) < tolerance);
  }
  Tape<T> tape;
  CHECK_ERROR(where(tape.input({2}), tape.input({3}), tape.input({3})), "[where] shapes 2 and 3 do not fit");
  CHECK(where(tape.input({0, 3}), tape.input({3}), tape.input({1})).shape() == Shape{0, 3});
}

TEST_CASE_TEMPLATE("comparisons: zeros and ones, without a gradient", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  Tape<T> tape;
  const Var<T> a = tape.variable(Tensor<T>({4}, {1, 2, 3, nan})),
               b = tape.variable(Tensor<T>({4}, {2, 2, 2, 2}));
  const auto is = [](Var<T> y, std::initializer_list<T> expected) {
    return std::equal(y.value().begin(), y.value().end(), expected.begin(), expected.end());
  };
  CHECK(is(greater(a, b), {0, 0, 1, 0}));
  CHECK(is(greater_equal(a, b), {0, 1, 1, 0}));
  CHECK(is(less(a, b), {1, 0, 0, 0}));
  CHECK(is(less_equal(a, b), {1, 1, 0, 0}));
  CHECK(is(equal(a, b), {0, 1, 0, 0}));
  CHECK(is(not_equal(a, b), {1, 0, 1, 1}));
  CHECK(is(greater(a, tape.constant(2)), {0, 0, 1, 0}));
  const Var<T> kept = sum(greater(b, a) * b);
  tape.backward(kept);
  CHECK(same_bits(b.gradient(), View<const T>(Tensor<T>({4}, {1, 0, 0, 0}).view())));
  for (const T entry : a.gradient()) CHECK(entry == 0);
}

TEST_CASE("expand, unsqueeze, squeeze, stack: shapes, values, and what does not fit") {
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({2, 1}, {3, -0.0}));
  const auto y = expand(x, {4, -1, 3});
  CHECK(y.shape() == Shape{4, 2, 3});
  CHECK((y.value()[2] == 3 && y.value()[3] == 0 && std::signbit(y.value()[23])));
  tape.backward(sum(y));
  CHECK((x.gradient()[0] == 12 && x.gradient()[1] == 12));
  CHECK_ERROR(expand(x, {3, 3}), "[expand] a tensor 2x1 to dimension 3 of axis 0: expected 2 or -1");
  CHECK_ERROR(expand(x, {-1, 2, 3}), "[expand] a tensor 2x1 to dimension -1 of axis 0: expected 0 or more");
  CHECK_ERROR(expand(x, {2}), "[expand]");
  CHECK(expand(x, {2, 0}).shape() == Shape{2, 0});

  CHECK(unsqueeze(x, 0).shape() == Shape{1, 2, 1});
  CHECK(unsqueeze(x, -1).shape() == Shape{2, 1, 1});
  CHECK(unsqueeze(tape.input({}), 0).shape() == Shape{1});
  CHECK(unsqueeze(tape.input({3, 0}), 1).shape() == Shape{3, 1, 0});
  CHECK(squeeze(unsqueeze(x, 1), 1).shape() == Shape{2, 1});
  CHECK(squeeze(tape.input({1, 0}), 0).shape() == Shape{0});
  CHECK_ERROR(squeeze(x, 0), "[squeeze] axis 0 of a tensor 2x1: expected one of length 1");
  CHECK_ERROR(unsqueeze(x, 3), "[unsqueeze] axis 3 of a tensor 2x1: expected -3 to 2");
  CHECK_ERROR(unsqueeze(tape.input({1, 1, 1, 1}), 0), "[unsqueeze] a tensor 1x1x1x1: expected at most 3");

  const auto a = tape.constant(Tensor<double>({2}, {1, 2})), b = tape.constant(Tensor<double>({2}, {3, 4}));
  CHECK(same_bits(stack({a, b}).value(), View<const double>(Tensor<double>({2, 2}, {1, 2, 3, 4}).view())));
  CHECK(
      same_bits(stack({a, b}, -1).value(), View<const double>(Tensor<double>({2, 2}, {1, 3, 2, 4}).view())));
  CHECK_ERROR(stack({a, x}), "[stack] 2x1 next to 2: expected equal shapes");
}

TEST_CASE_TEMPLATE("reductions: several axes, in any order, with and without them kept", T, float, double) {
  Rng rng(2);
  const Shape shape{3, 4, 2, 5};
  const Tensor<T> values = random_tensor<T>(rng, shape);
  Tape<T> tape;
  const Var<T> x = tape.variable(values);
  const double tolerance = 50 * static_cast<double>(std::numeric_limits<T>::epsilon());
  const std::vector<std::vector<Index>> choices{{0},    {3},       {0, 1},    {1, 2},       {0, 2}, {0, 3},
                                                {1, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2, 3}, {3, 1}, {-1, 0}};
  for (const std::vector<Index>& choice : choices) {
    std::array<bool, 4> gone{};
    for (const Index axis : choice) gone[static_cast<std::size_t>((axis + 4) % 4)] = true;
    // Loops over every entry, whose place in the result leaves the reduced axes out.
    Shape kept = shape, left = shape;
    for (Index axis = 3; axis >= 0; --axis) {
      if (!gone[static_cast<std::size_t>(axis)]) continue;
      kept = kept.with(axis, 1), left = left.without(axis);
    }
    std::vector<std::vector<long double>> groups(static_cast<std::size_t>(left.size()));
    for (Index i = 0; i < values.size(); ++i) {
      Index at = 0, rest = i, stride = values.size();
      for (Index axis = 0; axis < 4; ++axis) {
        stride /= shape[axis];
        if (!gone[static_cast<std::size_t>(axis)]) at = at * shape[axis] + rest / stride;
        rest %= stride;
      }
      groups[static_cast<std::size_t>(at)].push_back(static_cast<long double>(values[i]));
    }
    const Axes axes = choice.size() == 1   ? Axes(choice[0])
                      : choice.size() == 2 ? Axes{choice[0], choice[1]}
                      : choice.size() == 3 ? Axes{choice[0], choice[1], choice[2]}
                                           : Axes{};
    for (const bool keepdim : {false, true}) {
      const Var<T> results[] = {sum(x, axes, keepdim),       mean(x, axes, keepdim),
                                max(x, axes, keepdim),       min(x, axes, keepdim),
                                logsumexp(x, axes, keepdim), var(x, axes, true, keepdim),
                                var(x, axes, false, keepdim)};
      for (const Var<T>& y : results) REQUIRE(y.shape() == (keepdim ? kept : left));
      for (std::size_t g = 0; g < groups.size(); ++g) {
        long double total = 0, exponentials = 0, squares = 0;
        for (const long double entry : groups[g]) total += entry, exponentials += std::exp(entry);
        const long double n = static_cast<long double>(groups[g].size());
        for (const long double entry : groups[g]) squares += (entry - total / n) * (entry - total / n);
        const auto [least, most] = std::minmax_element(groups[g].begin(), groups[g].end());
        const long double expected[] = {
            total, total / n, *most, *least, std::log(exponentials), squares / (n - 1), squares / n};
        for (std::size_t k = 0; k < 7; ++k) {
          const double got = static_cast<double>(results[k].value()[static_cast<Index>(g)]);
          REQUIRE(std::abs(got - static_cast<double>(expected[k])) <= tolerance * (1 + std::abs(got)));
        }
      }
    }
    // Gradients: of a sum of squares of each, by what those of single axes give.
    const Var<T> spread = sum(square(var(x, axes)));
    tape.backward(spread);
    const Tensor<T> fused(x.gradient());
    const Var<T> apart_from_mean = x - mean(x, axes, true);
    const T count = static_cast<T>(values.size() / left.size());
    tape.backward(sum(square(sum(square(apart_from_mean), axes) / (count - 1))));
    CHECK(apart(x.gradient(), fused.view()) < 10 * tolerance);
  }
  CHECK_ERROR(sum(x, {1, 1}), "[sum] axis 1 of a tensor 3x4x2x5 is named twice: expected each once");
  CHECK_ERROR(sum(x, {1, -3}), "is named twice");
  CHECK_ERROR(mean(x, 4), "[mean] axis 4 of a tensor 3x4x2x5: expected -4 to 3");
  CHECK_ERROR(var(tape.input({3, 1}), 1), "[var] one entry of a tensor 3x1: expected two or more");
  CHECK_ERROR(var(tape.input({0})), "[var] a tensor 0: expected entries");
  CHECK(var(tape.input({3, 1}), 1, false).value()[0] == 0);
  CHECK(sum(tape.input({})).value()[0] == 0);
}

TEST_CASE_TEMPLATE("var and min: next to a large mean, with NaN, of many", T, float, double) {
  const double offset = sizeof(T) == 4 ? 1e5 : 1e8;
  Rng rng(3);
  Tensor<T> x({3000, 2});
  for (T& entry : x) entry = static_cast<T>(offset + rng.normal());
  Tape<T> tape;
  const Var<T> v = tape.variable(x);
  constexpr double epsilon = std::numeric_limits<T>::epsilon();
  for (const Var<T>& y : {var(v, 0), var(transpose(v), 1)}) {
    tape.backward(sum(y));
    for (Index c = 0; c < 2; ++c) {
      const auto beside = [&](Index i) { return static_cast<long double>(x[2 * i + c]) - offset; };
      long double total = 0, squares = 0, worst = 0;
      for (Index i = 0; i < 3000; ++i) total += beside(i);
      for (Index i = 0; i < 3000; ++i) {
        const long double d = beside(i) - total / 3000;
        squares += d * d;
        worst = std::max(worst, std::abs(v.gradient()[2 * i + c] - 2 * d / 2999));
      }
      const double expected = static_cast<double>(squares / 2999), got = static_cast<double>(y.value()[c]);
      CHECK(std::abs(got - expected) <= 16 * epsilon * expected);
      CHECK(worst <= 16 * epsilon * 2 / 2999);
    }
  }
  x[5] = std::numeric_limits<T>::quiet_NaN();
  const Var<T> odd = tape.constant(x);
  CHECK((!std::isnan(var(odd, 0).value()[0]) && std::isnan(var(odd, 0).value()[1])));
  CHECK((!std::isnan(min(odd, 0).value()[0]) && std::isnan(min(odd, 0).value()[1])));
  CHECK(std::isnan(min(odd).item()));
}
