#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/threads.hpp>
#include <taper/autodiff/ops.hpp>

#include "../../check.hpp"
#include "../random_tensors.hpp"

using namespace taper;

namespace {

template <class T> double tolerance() {
  return 50 * static_cast<double>(std::numeric_limits<T>::epsilon());
}

/// -log softmax(row)[k].
template <class T> double surprise(const Tensor<T>& logits, Index row, Index k) {
  double total = 0;
  for (Index j = 0; j < logits.shape()[1]; ++j) {
    total += std::exp(static_cast<double>(logits[row * logits.shape()[1] + j]));
  }
  return std::log(total) - static_cast<double>(logits[row * logits.shape()[1] + k]);
}

template <class T> bool close(Var<T> y, double expected) {
  return std::abs(static_cast<double>(y.item()) - expected) <= tolerance<T>() * (1 + std::abs(expected));
}

}  // namespace

TEST_CASE_TEMPLATE("losses: sum, mean and none, with weights", T, float, double) {
  Rng rng(1);
  const Tensor<T> p = random_tensor<T>(rng, {6, 2}), t = random_tensor<T>(rng, {6, 2}, 0, 1),
                  w = random_tensor<T>(rng, {6, 1}, 0.5, 2);
  Tape<T> tape;
  const Var<T> x = tape.variable(p), y = tape.constant(t), v = tape.constant(w);
  const auto check = [&](const char* name, const auto& loss, const auto& exact, bool divides) {
    CAPTURE(std::string(name));
    double total = 0, heavy = 0, weights = 0;
    const Var<T> each = loss(LossReduction::none, false);
    REQUIRE(each.shape() == p.shape());
    for (Index i = 0; i < 12; ++i) {
      const double here = exact(static_cast<double>(p[i]), static_cast<double>(t[i]));
      const double weight = static_cast<double>(w[i / 2]);
      CHECK(std::abs(static_cast<double>(each.value()[i]) - here) <= tolerance<T>() * (1 + std::abs(here)));
      total += here, heavy += weight * here, weights += weight;
    }
    CHECK(close(loss(LossReduction::sum, false), total));
    CHECK(close(loss(LossReduction::mean, false), total / 12));
    CHECK(close(loss(LossReduction::sum, true), heavy));
    CHECK(close(loss(LossReduction::mean, true), heavy / (divides ? weights : 12)));
    // The gradient of a sum is that of its terms together.
    tape.backward(loss(LossReduction::sum, false));
    const Tensor<T> whole(x.gradient());
    Tensor<T> ones(Shape{6, 2});
    std::fill(ones.begin(), ones.end(), T{1});
    tape.backward(each, ones.view());
    CHECK(apart(x.gradient(), whole.view()) <= tolerance<T>());
  };
  const auto options = [&](LossReduction reduction, bool heavy) {
    LossOptions<T> result{.reduction = reduction};
    if (heavy) result.weight = v;
    return result;
  };
  using R = LossReduction;
  check(
      "mse", [&](R r, bool h) { return mse_loss(x, y, options(r, h)); },
      [](double a, double b) { return (a - b) * (a - b); }, true);
  check(
      "mae", [&](R r, bool h) { return mae_loss(x, y, options(r, h)); },
      [](double a, double b) { return std::abs(a - b); }, true);
  check(
      "huber", [&](R r, bool h) { return huber_loss(x, y, T(0.5), options(r, h)); },
      [](double a, double b) {
        const double d = std::abs(a - b);
        return d <= 0.5 ? d * d / 2 : 0.5 * (d - 0.25);
      },
      true);
  check(
      "hinge", [&](R r, bool h) { return hinge_loss(x, y, options(r, h)); },
      [](double a, double b) { return std::max(0.0, 1 - a * b); }, true);
  check(
      "bce",
      [&](R r, bool h) {
        BceOptions<T> bce{.reduction = r};
        if (h) bce.weight = v;
        return bce_with_logits_loss(x, y, bce);
      },
      [](double a, double b) { return std::log1p(std::exp(a)) - a * b; }, false);
  CHECK_ERROR(mse_loss(x, y, {.weight = tape.input({3})}), "[mul] shapes");
  CHECK_ERROR(mse_loss(tape.input({2}), tape.input({2}), {.weight = tape.input({4, 2})}),
              "[mse_loss] weight 4x2 of losses 2: expected a shape that is repeated to theirs");
  CHECK_ERROR(mse_loss(tape.input({0}), tape.input({0})), "[mse_loss] prediction 0: expected entries");
  CHECK(mse_loss(tape.input({0}), tape.input({0}), {.reduction = LossReduction::sum}).item() == 0);
}

TEST_CASE_TEMPLATE("bce_with_logits_loss: positive examples that count more", T, float, double) {
  Tape<T> tape;
  const Tensor<T> p({2, 2}, {T(0.5), T(-1), T(2), T(3)}), t({2, 2}, {1, 0, T(0.25), 1});
  const Var<T> x = tape.constant(p), y = tape.constant(t), count = tape.constant(Tensor<T>({2}, {3, T(0.5)}));
  double total = 0;
  for (Index i = 0; i < 4; ++i) {
    const double a = static_cast<double>(p[i]), b = static_cast<double>(t[i]), c = i % 2 == 0 ? 3 : 0.5;
    total += c * b * std::log1p(std::exp(-a)) + (1 - b) * std::log1p(std::exp(a));
  }
  CHECK(close(bce_with_logits_loss(x, y, {.pos_weight = count}), total / 4));
  CHECK(close(bce_with_logits_loss(x, y, {.reduction = LossReduction::sum, .pos_weight = count}), total));
}

TEST_CASE_TEMPLATE("poisson_nll_loss: of rates and of their logarithms", T, float, double) {
  Tape<T> tape;
  const Var<T> x = tape.constant(Tensor<T>({2}, {T(0.5), 2})), y = tape.constant(Tensor<T>({2}, {3, 0}));
  CHECK(close(poisson_nll_loss(x, y), (std::exp(0.5) - 1.5 + std::exp(2.0)) / 2));
  CHECK(close(poisson_nll_loss(x, y, {.reduction = LossReduction::sum, .log_input = false}),
              0.5 - 3 * std::log(0.5 + 1e-8) + 2));
  CHECK_ERROR(poisson_nll_loss(x, y, {.log_input = false, .eps = 0}),
              "[poisson_loss] eps 0: expected a positive number");
}

TEST_CASE_TEMPLATE("cross_entropy_loss: weights, smoothing and ignored labels, by the definition", T, float,
                   double) {
  Rng rng(2);
  const Index rows = 7, classes = 4;
  const Tensor<T> logits = random_tensor<T>(rng, {rows, classes}),
                  weight = random_tensor<T>(rng, {classes}, 0.5, 2),
                  samples = random_tensor<T>(rng, {rows}, 0.5, 2);
  const Tensor<T> labels({rows}, {0, 3, 2, 2, 1, 0, 3});
  Tape<T> tape;
  const Var<T> x = tape.variable(logits), y = tape.constant(labels), w = tape.constant(weight),
               s = tape.constant(samples);
  for (const double smoothing : {0.0, 0.3, 1.0}) {
    for (const Index ignored : {-100, 2}) {
      for (const int weights : {0, 1, 2, 3}) {
        CrossEntropyOptions<T> options{.ignore_index = ignored, .label_smoothing = smoothing};
        if (weights & 1) options.weight = w;
        if (weights & 2) options.sample_weight = s;
        double total = 0, divisor = 0;
        std::vector<double> each;
        for (Index i = 0; i < rows; ++i) {
          const auto label = static_cast<Index>(labels[i]);
          const auto of = [&](Index k) { return weights & 1 ? static_cast<double>(weight[k]) : 1; };
          const double factor = label == ignored ? 0 : weights & 2 ? static_cast<double>(samples[i]) : 1;
          double loss = (1 - smoothing) * of(label) * surprise(logits, i, label);
          for (Index k = 0; k < classes; ++k) {
            loss += smoothing / static_cast<double>(classes) * of(k) * surprise(logits, i, k);
          }
          each.push_back(factor * loss);
          total += each.back(), divisor += factor * of(label);
        }
        CHECK(close(cross_entropy_loss(x, y, options), total / divisor));
        options.reduction = LossReduction::sum;
        CHECK(close(cross_entropy_loss(x, y, options), total));
        options.reduction = LossReduction::none;
        const Var<T> none = cross_entropy_loss(x, y, options);
        REQUIRE(none.shape() == Shape{rows});
        for (Index i = 0; i < rows; ++i) {
          CHECK(std::abs(static_cast<double>(none.value()[i]) - each[static_cast<std::size_t>(i)]) <=
                tolerance<T>() * 4);
        }
      }
    }
  }
}

TEST_CASE("cross_entropy_loss: what is ignored may be anything, and what does not fit is refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tape<double> tape;
  const auto x = tape.variable(Tensor<double>({2, 2}, {1, 2, nan, 4})),
             y = tape.constant(Tensor<double>({2}, {1, -100}));
  const auto loss = cross_entropy_loss(x, y);
  CHECK(loss.item() == doctest::Approx(std::log1p(std::exp(-1.0))));
  tape.backward(loss);
  CHECK((x.gradient()[2] == 0 && x.gradient()[3] == 0));
  CHECK(x.gradient()[0] == doctest::Approx(1 / (1 + std::exp(1.0))));
  const auto none = tape.constant(Tensor<double>({2}, {-100, -100}));
  CHECK_ERROR(
      cross_entropy_loss(x, none),
      "[cross_entropy_loss] the mean of 2 rows, all ignored or of weight 0: expected one that counts");
  CHECK(cross_entropy_loss(x, none, {.reduction = LossReduction::sum}).item() == 0);
  CHECK_ERROR(cross_entropy_loss(x, tape.constant(Tensor<double>({2}, {0, 2}))),
              "[cross_entropy_loss] label 2: expected a whole number from 0 to 1");
  CHECK_ERROR(cross_entropy_loss(x, y, {.weight = tape.input({3})}),
              "[cross_entropy_loss] weight 3 for logits 2x2: expected 2 entries");
  CHECK_ERROR(cross_entropy_loss(x, y, {.sample_weight = tape.input({3})}),
              "[cross_entropy_loss] sample_weight 3 for logits 2x2: expected 2 entries");
  CHECK_ERROR(cross_entropy_loss(x, y, {.label_smoothing = 1.5}),
              "[cross_entropy_loss] label_smoothing 1.5: expected 0 to 1");
}

TEST_CASE_TEMPLATE(
    "field_pairs: against long double, of inputs that are used often, on any number of threads", T, float,
    double) {
  Rng rng(8);
  for (const Index fields : {2, 3}) {
    for (const T scale : {T(1e-8), T(1), T(1e8)}) {
      const Index inputs = 40, width = 35, rows = 2000;
      Tensor<T> positions(Shape{rows, fields});
      for (Index i = 0; i < positions.size(); ++i) {
        positions[i] = static_cast<T>(i % 3 == 0 ? 7 : 2 * rng.below(inputs / 2));
      }
      const Tensor<T> weights = random_tensor<T>(rng, {inputs, 1}), seed = random_tensor<T>(rng, {rows, 1});
      Tensor<T> factors = random_tensor<T>(rng, {inputs, width});
      for (T& entry : factors) entry *= scale;
      const auto number = [](T x) { return static_cast<long double>(x); };
      const auto v = [&](Index row, Index field, Index k) {
        return number(factors[static_cast<Index>(positions[row * fields + field]) * width + k]);
      };
      std::vector<long double> y(static_cast<std::size_t>(rows)),
          gradient(static_cast<std::size_t>(inputs * width));
      std::vector<long double> size(gradient.size());  // of the terms of each sum
      for (Index i = 0; i < rows; ++i) {
        for (Index f = 0; f < fields; ++f) {
          const auto at = static_cast<Index>(positions[i * fields + f]);
          y[static_cast<std::size_t>(i)] += number(weights[at]);
          for (Index g = 0; g < fields; ++g) {
            for (Index k = 0; k < width && g != f; ++k) {
              if (g > f) y[static_cast<std::size_t>(i)] += v(i, f, k) * v(i, g, k);
              const auto place = static_cast<std::size_t>(at * width + k);
              gradient[place] += number(seed[i]) * v(i, g, k);
              size[place] += std::abs(number(seed[i]) * v(i, g, k));
            }
          }
        }
      }
      const int before = kernels::threads();
      Tensor<T> first, first_y;
      for (const int threads : {1, 2, 3}) {
        kernels::set_threads(threads);
        Tape<T> tape;
        const Var<T> table = tape.variable(factors), linear = tape.variable(weights);
        const Var<T> pairs = field_pairs(linear, table, tape.constant(positions));
        tape.backward(pairs, seed.view());
        if (threads == 1) first = Tensor<T>(table.gradient()), first_y = Tensor<T>(pairs.value());
        CHECK(same_bits(table.gradient(), first.view()));
        CHECK(same_bits(pairs.value(), first_y.view()));
      }
      kernels::set_threads(before);
      const auto epsilon = static_cast<long double>(std::numeric_limits<T>::epsilon());
      for (Index i = 0; i < rows; ++i) {
        const long double terms = 3 + 3 * number(scale) * number(scale) * static_cast<long double>(width);
        CHECK(std::abs(number(first_y[i]) - y[static_cast<std::size_t>(i)]) <= 16 * epsilon * terms);
      }
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        CHECK(std::abs(number(first[static_cast<Index>(i)]) - gradient[i]) <= 16 * epsilon * size[i]);
      }
    }
  }
}

TEST_CASE_TEMPLATE(
    "gather_rows: the gradient of rows that are used often, far apart, on any number of threads", T, float,
    double) {
  Rng rng(3);
  const Index rows = 50, width = 300, count = 3000;
  Tensor<T> positions(Shape{count});
  for (Index i = 0; i < count; ++i) {
    positions[i] = static_cast<T>(i % 3 == 0 ? 7 : 2 * rng.below(rows / 2));
  }
  const Tensor<T> table = random_tensor<T>(rng, {rows, width}), seed = random_tensor<T>(rng, {count, width});
  std::vector<long double> expected(static_cast<std::size_t>(rows * width));
  for (Index i = 0; i < count * width; ++i) {
    expected[static_cast<std::size_t>(static_cast<Index>(positions[i / width]) * width + i % width)] +=
        static_cast<long double>(seed[i]);
  }
  const int before = kernels::threads();
  Tensor<T> first;
  for (const int threads : {1, 2, 3}) {
    kernels::set_threads(threads);
    Tape<T> tape;
    const Var<T> x = tape.variable(table), y = gather_rows(x, tape.constant(positions));
    tape.backward(y, seed.view());
    if (threads == 1) first = Tensor<T>(x.gradient());
    CHECK(same_bits(x.gradient(), first.view()));
  }
  kernels::set_threads(before);
  for (Index i = 0; i < rows * width; ++i) {
    CHECK(std::abs(static_cast<double>(first[i]) -
                   static_cast<double>(expected[static_cast<std::size_t>(i)])) <=
          16 * static_cast<double>(std::numeric_limits<T>::epsilon()) *
              (1 + std::abs(static_cast<double>(first[i]))) * 4);
    if (i / width % 2 == 1 && i / width != 7) CHECK(first[i] == 0);
  }
}
