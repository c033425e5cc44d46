#include <taper/sparsity/imbalance.hpp>

#include <cmath>
#include <sstream>

#include <taper/nn/layers/linear.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Groups;
using sparsity::ImbalanceOptions;

namespace {

/// A layer whose loss is linear, so that the gradient of its weight is the same everywhere: slope * x.
struct ConstantGradient {
  nn::Linear<double> model{2, 1, false};
  data::Dataset<double> data{Tensor<double>({1, 2}), Tensor<double>({1, 1}), {}, {}};

  ConstantGradient(double u, double v, double slope, double other_slope = 0) {
    sparsity::factorize(model, Groups::elements);
    data.x[0] = slope;
    data.x[1] = other_slope;
    for (Index i = 0; i < 2; ++i) {
      model.weight.factors()[0].value()[i] = i == 0 ? u : 0;
      model.weight.factors()[1].value()[i] = i == 0 ? v : 0;
    }
  }
  static Var<double> loss(Var<double> prediction, Var<double>) { return mean(prediction); }

  sparsity::LayerImbalance report(const ImbalanceOptions& options) {
    return sparsity::imbalance<double>(model, data, loss, options).at(0);
  }
  /// Steps of gradient descent until `done` says so.
  template <class Done> int steps(const ImbalanceOptions& options, const Done& done) {
    optim::SGD<double> sgd(model.parameters(), {.lr = options.lr, .weight_decay = options.alpha});
    for (int step = 0; step < 1'000'000; ++step) {
      if (done(model.weight.factors()[0].value()[0], model.weight.factors()[1].value()[0])) return step;
      Tape<double> tape;
      tape.backward(loss(model(tape.constant(data.x)), {}));
      sgd.step();
    }
    return -1;
  }
};

}  // namespace

TEST_CASE("imbalance: steps until a decaying weight is gone, as gradient descent takes them") {
  for (const double slope : {0.0, 0.02, -0.05, 0.3}) {
    CAPTURE(slope);
    const ImbalanceOptions options{.alpha = 0.1, .lr = 0.01, .threshold = 1e-4};
    ConstantGradient problem(0.1, 0.1, slope);
    const auto report = problem.report(options);
    CHECK(report.groups == 1);
    CHECK(report.largest == 0);
    CHECK(report.unbalanced == 0);
    CHECK(report.steps_until_balanced == 0);
    CHECK(report.decaying == 1);
    const int taken = problem.steps(options, [&](double u, double v) { return u * v <= 1e-4; });
    CHECK(report.steps_until_gone == doctest::Approx(taken).epsilon(0.01));
  }
  ConstantGradient growing(0.1, 0.1, -0.2);
  CHECK(growing.report({.alpha = 0.1, .lr = 0.01}).decaying == 0);
}

TEST_CASE("imbalance: steps until factors are balanced, as gradient descent takes them") {
  // The slope that holds the product where it is: then the norms stay and the prediction is exact.
  const ImbalanceOptions options{.alpha = 0.1, .lr = 0.01, .tolerance = 0.05};
  for (const auto& start : {std::pair{1.0, 0.2}, {0.3, 2.0}, {0.5, 0.6}}) {
    const double u = start.first, v = start.second;
    CAPTURE(u);
    ConstantGradient problem(u, v, 0);
    const auto report = problem.report(options);
    CHECK(report.largest == doctest::Approx(1 - std::min(u, v) / std::max(u, v)).epsilon(1e-12));
    REQUIRE(report.unbalanced == 1);
    // Without a slope the product shrinks by (1 - lr alpha)^2 as well, so it is put back after each step.
    const double product = u * v;
    auto& factors = problem.model.weight.factors();
    const int taken = problem.steps(options, [&](double a, double b) {
      const double larger = std::max(a, b), smaller = std::min(a, b);
      if (larger - smaller <= 0.05 * larger) return true;
      const double difference = a * a - b * b;
      const double square = (difference + std::sqrt(difference * difference + 4 * product * product)) / 2;
      factors[0].value()[0] = std::sqrt(square);
      factors[1].value()[0] = product / std::sqrt(square);
      return false;
    });
    CHECK(report.steps_until_balanced == doctest::Approx(taken).epsilon(0.02));
  }
}

TEST_CASE("imbalance: the difference of squares decays as stated, whatever the loss") {
  ConstantGradient problem(1.5, 0.4, -0.7);
  const ImbalanceOptions options{.alpha = 0.05, .lr = 1e-3};
  int left = 500;
  problem.steps(options, [&](double, double) { return left-- == 0; });
  const double u = problem.model.weight.factors()[0].value()[0];
  const double v = problem.model.weight.factors()[1].value()[0];
  const double expected = (1.5 * 1.5 - 0.4 * 0.4) * std::pow(1 - 0.05 * 1e-3, 2 * 500);
  CHECK(u * u - v * v == doctest::Approx(expected).epsilon(1e-3));
  CHECK(u * v > 0.6);  // while the product moved
}

TEST_CASE("imbalance: groups, held ones, the table and errors") {
  manual_seed(1);
  nn::Linear<float> model(5, 3);
  sparsity::factorize(model, Groups::inputs);
  const data::Dataset<float> data{normal_tensor<float>({40, 5}), normal_tensor<float>({40, 3}), {}, {}};
  auto report = sparsity::imbalance(model, data, nn::mse_loss);
  REQUIRE(report.size() == 1);
  CHECK(report[0].name == "weight");
  CHECK(report[0].groups == 5);
  CHECK(report[0].unbalanced == 5);  // gates are 1 and columns are not
  CHECK(report[0].largest > 0.01);
  CHECK(report[0].largest < 1);
  CHECK(report[0].steps_until_balanced > 0);
  model.weight.factors()[1].freeze();
  CHECK(sparsity::imbalance(model, data, nn::mse_loss)[0].groups == 0);
  std::ostringstream out;
  out << report;
  CHECK(out.str().find("weight") != std::string::npos);

  CHECK_ERROR(sparsity::imbalance(model, data, nn::mse_loss, {.alpha = 0}), "[imbalance] weight decay 0");
  CHECK_ERROR(sparsity::imbalance(model, data, nn::mse_loss, {.alpha = 2, .lr = 0.5}), "lr * alpha = 1");
  CHECK_ERROR(sparsity::imbalance(model, data, nn::mse_loss, {.tolerance = 1}), "tolerance 1", "less than 1");
}
