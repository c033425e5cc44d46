// Operations at the ends of their ranges: large offsets, long sums, infinities and NaN.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/threads.hpp>

#include "../check.hpp"
#include "random_tensors.hpp"

using namespace taper;

namespace {

template <class T> constexpr T inf_of = std::numeric_limits<T>::infinity();
template <class T> constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();

/// The largest |a - b| / |b| over the entries of both.
double relative(View<const float> a, const std::vector<double>& b) {
  REQUIRE(a.size() == static_cast<Index>(b.size()));
  double worst = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double exact = b[static_cast<std::size_t>(i)];
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - exact) / std::abs(exact));
  }
  return worst;
}

/// Positive numbers: random ones, or all the same, whose additions round to one side.
Tensor<float> positive(const Shape& shape, bool random) {
  Rng rng(3);
  Tensor<float> x(shape);
  for (float& entry : x) entry = random ? static_cast<float>(rng.uniform()) : 0.1f;
  return x;
}

/// The sums of x over all entries that go to the same place.
std::vector<double> sums(const Tensor<float>& x, Index places, const std::function<Index(Index)>& place) {
  std::vector<double> result(static_cast<std::size_t>(places));
  for (Index i = 0; i < x.size(); ++i)
    result[static_cast<std::size_t>(place(i))] += static_cast<double>(x[i]);
  return result;
}

constexpr double long_sum = 2.5e-7;  // about two units in the last place of a float

}  // namespace

TEST_CASE_TEMPLATE("log_softmax and cross entropy: an offset of the logits changes nothing", T, float,
                   double) {
  const double exact = 0.40760596444438013;
  const double slopes[] = {-0.33475904, 0.24472847, 0.09003057};
  for (const double offset : {0.0, 1e3, 1e5, 1e6, 1e7, -1e7}) {
    CAPTURE(offset);
    for (const Index rows : {1, 2, 19}) {  // along rows and along columns
      CAPTURE(rows);
      Tape<T> tape;
      Tensor<T> x({rows, 3});
      for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<T>(offset - static_cast<double>(i % 3));
      const Var<T> across = tape.variable(x), down = transpose(across);
      const Var<T> loss = cross_entropy_loss(across, tape.constant(Tensor<T>({rows})));
      CHECK(static_cast<double>(loss.item()) == doctest::Approx(exact).epsilon(3e-7));
      tape.backward(loss);
      for (Index i = 0; i < x.size(); ++i) {
        const double g = static_cast<double>(across.gradient()[i]) * static_cast<double>(rows);
        CHECK(g == doctest::Approx(slopes[i % 3]).epsilon(1e-6));
      }
      const Var<T> logs = log_softmax(across), logs_down = log_softmax(down, 0);
      CHECK(static_cast<double>(logs.value()[0]) == doctest::Approx(-exact).epsilon(3e-7));
      CHECK(static_cast<double>(logs_down.value()[0]) == doctest::Approx(-exact).epsilon(3e-7));
      CHECK(static_cast<double>(logs.value()[2]) == doctest::Approx(-exact - 2).epsilon(3e-7));
      // The gradient of log sum exp is softmax, whose entries add up to one.
      for (const Var<T>& all : {logsumexp(across, 1), logsumexp(down, 0)}) {
        tape.backward(sum(all));
        for (Index i = 0; i < x.size(); ++i) {
          const double p = slopes[i % 3] + (i % 3 == 0 ? 1 : 0);
          CHECK(static_cast<double>(across.gradient()[i]) == doctest::Approx(p).epsilon(1e-6));
        }
      }
    }
  }
  Tape<T> tape;
  const auto low = tape.constant(Tensor<T>({1, 3}, {T(-1e30), T(-1e30), T(-1e30)}));
  const auto loss = cross_entropy_loss(low, tape.constant(Tensor<T>({1}, {2})));
  CHECK(static_cast<double>(loss.item()) == doctest::Approx(std::log(3.0)).epsilon(1e-6));
}

TEST_CASE("long sums in float: gradients of repeated operands over a million rows") {
  constexpr Index n = 1000000;
  for (const bool random : {true, false}) {
    CAPTURE(random);
    const Tensor<float> x = positive({n, 3}, random);
    const auto columns = sums(x, 3, [](Index i) { return i % 3; });
    const auto all = sums(x, 1, [](Index) { return 0; });
    Tape<float> tape;
    const auto v = tape.constant(x), row = tape.variable(Tensor<float>({3}, {1, 1, 1}), "row"),
               one = tape.variable(Tensor<float>(Shape{}, {1}), "one"),
               gate = tape.variable(Tensor<float>({3, 1}, {1, 1, 1}), "gate");
    const auto check = [&](Var<float> y, Var<float> of, const std::vector<double>& expected) {
      tape.backward(sum(y));
      CHECK(relative(of.gradient(), expected) <= long_sum);
    };
    check(v * row, row, columns);
    check(row * v, row, columns);
    check(hadamard(v, row), row, columns);
    check(v * one, one, all);
    check(hadamard(transpose(v), gate), gate, columns);
    // A gradient of x arrives at what is added, when it is weighted by x.
    tape.backward(v + row, x.view());
    CHECK(relative(row.gradient(), columns) <= long_sum);
    tape.backward(v - one, x.view());
    CHECK(relative(one.gradient(), {-all[0]}) <= long_sum);
    tape.backward(max(v - v, row), x.view());
    CHECK(relative(row.gradient(), columns) <= long_sum);
    const auto weight = tape.variable(Tensor<float>({3, 3})), bias = tape.variable(Tensor<float>({3}));
    tape.backward(affine(v, weight, bias), x.view());
    CHECK(relative(bias.gradient(), columns) <= long_sum);
    CHECK(relative(sum(v, 0).value(), columns) <= long_sum);
    CHECK(relative(sum(v).value(), all) <= long_sum);
    CHECK(relative(mean(v).value(), {all[0] / (3.0 * n)}) <= long_sum);
  }
}

TEST_CASE("long sums in float: operands repeated along outer dimensions, and rows of a table") {
  constexpr Index n = 100000;
  for (const bool random : {true, false}) {
    CAPTURE(random);
    const Tensor<float> x = positive({n, 3, 4}, random);
    const auto middle = sums(x, 3, [](Index i) { return i / 4 % 3; });
    const auto last = sums(x, 4, [](Index i) { return i % 4; });
    Tape<float> tape;
    const auto v = tape.constant(x), column = tape.variable(Tensor<float>({3, 1}, {1, 1, 1})),
               row = tape.variable(Tensor<float>({1, 4}, {1, 1, 1, 1}));
    for (const Accumulate more : {Accumulate::no, Accumulate::yes}) {  // of leaves that are no parameters
      tape.backward(sum(v * column), more);
      CHECK(relative(column.gradient(), middle) <= long_sum);
    }
    tape.backward(sum(v * column) + sum(v * column));  // the second adds
    CHECK(relative(column.gradient(), {2 * middle[0], 2 * middle[1], 2 * middle[2]}) <= 2 * long_sum);
    tape.backward(sum(row * v));
    CHECK(relative(row.gradient(), last) <= long_sum);

    Tensor<float> positions({3 * n});
    for (Index i = 0; i < positions.size(); ++i) positions[i] = static_cast<float>(i % 3);
    const auto table = tape.variable(Tensor<float>({3, 4}));
    tape.backward(gather_rows(table, tape.constant(positions)), View<const float>(x.data(), Shape{3 * n, 4}));
    CHECK(relative(table.gradient(), sums(x, 12, [](Index i) { return i % 12; })) <= long_sum);
  }
}

TEST_CASE("long sums in float: softmax, logarithms of sums, losses") {
  constexpr Index n = 1000000;
  Rng rng(3);
  Tape<float> tape;
  for (const bool random : {true, false}) {
    CAPTURE(random);
    const Tensor<float> x = positive({n, 1}, random);
    double exponentials = 0, squares = 0;
    for (const float entry : x) exponentials += std::exp(static_cast<double>(entry));
    for (const float entry : x) squares += static_cast<double>(entry) * static_cast<double>(entry);
    tape.clear();
    const auto v = tape.variable(x), flat = reshape(v, {n}), two = concat({v, v}, 1);
    const std::vector<double> all{std::log(exponentials)};
    CHECK(relative(logsumexp(flat).value(), all) <= long_sum);
    CHECK(relative(logsumexp(two, 0).value(), {all[0], all[0]}) <= long_sum);
    const std::vector<double> first{std::exp(static_cast<double>(x[0])) / exponentials};
    const double tolerance = 4 * long_sum;  // with an exponential
    for (const auto& p : {softmax(flat), softmax(two, 0), exp(log_softmax(two, 0)), exp(log_softmax(flat))}) {
      const std::vector<float> got{p.value()[0]};
      CHECK(relative(View<const float>(got.data(), Shape{1}), first) <= 4 * tolerance);
    }
    CHECK(relative(mse_loss(v, tape.constant(Tensor<float>({n, 1}))).value(), {squares / n}) <= long_sum);
    // d log_softmax = g - p sum(g): with a large sum of g.
    tape.backward(log_softmax(flat), View<const float>(x.data(), Shape{n}));
    double total = 0;
    for (const float entry : x) total += static_cast<double>(entry);
    const double expected = static_cast<double>(x[0]) - first[0] * total;
    CHECK(std::abs(static_cast<double>(v.gradient()[0]) - expected) <= 1e-6);
  }
}

TEST_CASE("long sums: the same bits with any number of threads") {
  const int before = threads();
  const Tensor<float> x = positive({70000, 3}, true);
  std::vector<std::vector<float>> found;
  for (const int count : {1, 2, 4}) {
    set_threads(count);
    Tape<float> tape;
    const auto v = tape.variable(x), row = tape.variable(Tensor<float>({3}, {1, 2, 3})),
               column = tape.variable(Tensor<float>({3, 1}, {1, 2, 3})),
               gate = tape.variable(Tensor<float>({3}));
    const auto y = sum(v * row) + sum(reshape(v, {10000, 7, 3}) / row) + logsumexp(v) +
                   sum(hadamard(v, gate)) + mean(reshape(v, {70000, 3, 1}) * column) + sum(softmax(v, 0) * v);
    tape.backward(y);
    std::vector<float>& bits = found.emplace_back(1, y.item());
    for (const auto& leaf : {v, row, column, gate})
      bits.insert(bits.end(), leaf.gradient().begin(), leaf.gradient().end());
  }
  set_threads(before);
  for (const auto& bits : found) {
    CHECK(std::memcmp(bits.data(), found[0].data(), bits.size() * sizeof(float)) == 0);
  }
}

TEST_CASE_TEMPLATE("long sums: infinities and NaN are kept", T, float, double) {
  for (const T odd : {inf_of<T>, -inf_of<T>, nan_of<T>}) {
    for (const Index n : {200, 5000, 300000}) {
      Tensor<T> x({n, 2});
      x[n] = odd;  // in column 0
      Tape<T> tape;
      const auto v = tape.constant(x), row = tape.variable(Tensor<T>({2}, {1, 1}));
      const auto same = [&](T found) { return std::isnan(odd) ? std::isnan(found) : found == odd; };
      CHECK(same(sum(v).item()));
      CHECK(same(sum(v, 0).value()[0]));
      CHECK(sum(v, 0).value()[1] == 0);
      tape.backward(v + row, x.view());
      CHECK(same(row.gradient()[0]));
      CHECK(row.gradient()[1] == 0);
      tape.backward(sum(hadamard(v, row)));
      CHECK(same(row.gradient()[0]));
    }
  }
}

TEST_CASE_TEMPLATE("bce_with_logits: infinite logits", T, float, double) {
  struct Case {
    T logit, target, loss, slope;
  };
  const T inf = inf_of<T>;
  for (const Case& c : {Case{inf, 1, 0, 0},
                        {-inf, 0, 0, 0},
                        {inf, 0, inf, 1},
                        {-inf, 1, inf, -1},
                        {inf, T(0.5), inf, T(0.5)},
                        {-inf, T(0.5), inf, T(-0.5)}}) {
    CAPTURE(c.logit);
    CAPTURE(c.target);
    for (const Index n : {1, 40}) {
      Tape<T> tape;
      Tensor<T> logits({n, 1}), targets({n, 1});
      logits[n - 1] = c.logit, targets[n - 1] = c.target;
      const auto x = tape.variable(logits);
      const auto loss = bce_with_logits_loss(x, tape.constant(targets));
      const double rest = static_cast<double>(n - 1) * std::log(2.0) / static_cast<double>(n);
      if (std::isinf(c.loss)) {
        CHECK(loss.item() == c.loss);
      } else {
        CHECK(static_cast<double>(loss.item()) == doctest::Approx(rest).epsilon(1e-6));
      }
      tape.backward(loss);
      CHECK(x.gradient()[n - 1] == doctest::Approx(c.slope / static_cast<T>(n)));
    }
  }
  // A NaN in either place stays one, also where the other is 0.
  for (const bool in_target : {false, true}) {
    for (const T other : {T(0), T(1)}) {
      Tape<T> tape;
      Tensor<T> a({1}, {nan_of<T>}), b({1}, {other});
      CHECK(std::isnan(
          bce_with_logits_loss(tape.constant(in_target ? b : a), tape.constant(in_target ? a : b)).item()));
    }
  }
}

TEST_CASE_TEMPLATE("NaN: the gradients that the documentation states", T, float, double) {
  Tape<T> tape;
  const T nan = nan_of<T>;
  const auto x = tape.variable(Tensor<T>({3}, {nan, 2, -2}));
  const auto slope = [&](Var<T> y) {
    CHECK(std::isnan(y.value()[0]));
    tape.backward(sum(y));
    return x.gradient()[0];
  };
  CHECK(slope(relu(x)) == 1);
  CHECK(std::isnan(slope(abs(x))));
  CHECK(std::isnan(slope(mae_loss(x, tape.constant(Tensor<T>({3}))))));
  CHECK(slope(leaky_relu(x, T(0.25))) == T(0.25));
  CHECK(slope(clamp(x, T(-1), T(1))) == 0);
  CHECK(std::isnan(slope(exp(x))));
  CHECK(std::isnan(slope(elu(x))));
  // The relu of a layer is the same.
  const auto weight = tape.variable(Tensor<T>({1, 1}, {1})), bias = tape.variable(Tensor<T>({1}, {nan}));
  tape.backward(sum(affine(tape.constant(Tensor<T>({1, 1}, {1})), weight, bias, Activation::relu)));
  CHECK(bias.gradient()[0] == 1);

  for (const bool left : {true, false}) {
    const auto a = tape.variable(Tensor<T>({4}, {left ? nan : T(1), 1, 2, 3})),
               b = tape.variable(Tensor<T>({4}, {left ? T(1) : nan, 2, 1, 3}));
    for (const bool largest : {true, false}) {
      const auto y = largest ? max(a, b) : min(a, b);
      CHECK(std::isnan(y.value()[0]));
      tape.backward(sum(y));
      CHECK(a.gradient()[0] == 1);
      CHECK(b.gradient()[0] == 1);
      CHECK(a.gradient()[1] == (largest ? 0 : 1));
      CHECK(a.gradient()[2] == (largest ? 1 : 0));
      CHECK(a.gradient()[3] == T(0.5));
    }
  }
  const auto m = tape.variable(Tensor<T>({2, 3}, {1, nan, nan, 4, 6, 6}));
  tape.backward(sum(max(m, 1)));
  CHECK(m.gradient().vector() == Eigen::Vector<T, 6>(0, 1, 0, 0, 1, 0));
  tape.backward(max(m));
  CHECK(m.gradient().vector() == Eigen::Vector<T, 6>(0, 1, 0, 0, 0, 0));
}

TEST_CASE("transpose: an axis with itself") {
  Tape<double> tape;
  const auto x = tape.variable(normal_tensor<double>({2, 3, 4}));
  CHECK(transpose(x, 1, 1).index() == x.index());
  CHECK(transpose(x, -1, 2).index() == x.index());
  CHECK_ERROR(transpose(x, 3, 3), "[transpose] axis 3");
}

TEST_CASE_TEMPLATE("infinities: the limits that the documentation states", T, float, double) {
  const T inf = inf_of<T>;
  Tape<T> tape;
  const Var<T> ends = tape.variable(Tensor<T>({2}, {inf, -inf}));
  for (const Var<T>& y : {gelu(ends), silu(ends)}) {
    CHECK(y.value()[0] == inf);
    CHECK(y.value()[1] == 0);
    tape.backward(y, Tensor<T>({2}, {1, 1}));
    CHECK(ends.gradient()[0] == 1);
    CHECK(ends.gradient()[1] == 0);
  }
  const Var<T> roots = pow(tape.constant(Tensor<T>({2}, {T(-0.0), -inf})), T(0.5));
  CHECK((roots.value()[0] == 0 && !std::signbit(roots.value()[0]) && roots.value()[1] == inf));

  const Var<T> row = tape.variable(Tensor<T>({1, 3}, {0, inf, 1}));
  const Var<T> p = softmax(row), logs = log_softmax(row);
  CHECK((p.value()[0] == 0 && std::isnan(p.value()[1]) && p.value()[2] == 0));
  CHECK((logs.value()[0] == -inf && std::isnan(logs.value()[1]) && logs.value()[2] == -inf));
  const Var<T> loss = cross_entropy_loss(row, tape.constant(Tensor<T>({1}, {0})));
  CHECK(loss.item() == inf);
  tape.backward(loss);
  CHECK((row.gradient()[0] == -1 && std::isnan(row.gradient()[1]) && row.gradient()[2] == 0));

  // The channel beside it is not concerned.
  const Var<T> moments = batch_moments(tape.constant(Tensor<T>({3, 2}, {1, 1, inf, 2, 2, 3})));
  for (const Index k : {0, 2, 4}) CHECK(std::isnan(moments.value()[k]));
  CHECK(moments.value()[1] == 2);
}
