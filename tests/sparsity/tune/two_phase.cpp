#include <taper/sparsity/tune/two_phase.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/train/evaluate.hpp>

using namespace taper;
using namespace taper::sparsity;

namespace {

/// y depends on two of six columns, through one bend.
data::Dataset<float> bent(Index rows, std::uint64_t seed) {
  data::Dataset<float> set{Tensor<float>({rows, 6}), Tensor<float>({rows, 1}), {}, {}};
  Rng rng(seed);
  for (float& entry : set.x) entry = static_cast<float>(rng.normal());
  for (Index i = 0; i < rows; ++i) {
    const float* const x = set.x.data() + 6 * i;
    set.y.data()[i] = std::tanh(2 * x[1] - x[4]) + 0.5f * x[1] + 0.05f * static_cast<float>(rng.normal());
  }
  return set;
}

struct Bent {
  data::Dataset<float> train = bent(400, 1), validation = bent(200, 2);
  TwoPhaseOptions<float> options{.model =
                                     [](const TrialSettings& s) {
                                       const Index width = s.integer("width", 10);
                                       return nn::Sequential<float>(nn::Linear<float>(6, width),
                                                                    nn::Tanh<float>(),
                                                                    nn::Linear<float>(width, 1));
                                     },
                                 .loss = nn::mse_loss,
                                 .budget = 20};
  TrialSettings settings() const {
    TrialSettings s;
    s.set("epochs", 30), s.set("lr", 1e-2), s.set("batch_size", 50), s.set("path_epochs", 5);
    s.set("refit_iterations", 20);
    return s;
  }
};

}  // namespace

TEST_CASE(
    "two_phase: the network fits the budget, is what was measured, and the same on any number of threads") {
  const Bent job;
  const auto found = two_phase(job.settings(), 3, job.train, job.validation, job.options);
  CHECK(found.size <= 20);
  CHECK(found.size >= 3);
  REQUIRE(found.widths.size() == 3);
  CHECK(found.size == found.widths[1] * (found.widths[0] + 1) + found.widths[1] + 1);
  CHECK(found.widths[0] == static_cast<Index>(found.inputs.size()));
  CHECK(std::ranges::count(found.inputs, Index{1}) == 1);  // the columns that count
  CHECK(std::ranges::count(found.inputs, Index{4}) == 1);
  CHECK(found.validation_loss == train::evaluate(found.model, job.validation, nn::mse_loss));
  CHECK(found.train_loss == train::evaluate(found.model, job.train, nn::mse_loss));
  CHECK(found.validation_loss < 0.01);                      // of a variance of about 1.5; the noise is 0.0025
  CHECK(found.validation_loss < 1.05 * found.shrunk_loss);  // what is left has made up for what went
  Index elements = 0;
  found.model.for_parameters(
      [&](const std::string&, const nn::Parameter<float>& p) { elements += p.shape().size(); });
  CHECK(elements == found.size);

  const int before = threads();
  set_threads(3);
  const auto again = two_phase(job.settings(), 3, job.train, job.validation, job.options);
  set_threads(before);
  CHECK(again.validation_loss == found.validation_loss);
  CHECK(again.widths == found.widths);
}

TEST_CASE("two_phase: the rules of a budget") {
  const Bent job;
  auto options = job.options;
  TrialSettings s = job.settings();
  s.set("cut", std::string("penalty"));
  s.set("penalty_growth", 1), s.set("penalty", 1e-6);  // the penalty that is asked for, and no other
  const auto large = two_phase(s, 0, job.train, job.validation, options);
  CHECK(large.size > 20);
  CHECK(large.penalty == 1e-6);
  const double over = static_cast<double>(large.size) / 20 - 1;
  TrialResult result = result_of(large, options);
  CHECK(result.objectives == std::vector{large.validation_loss});
  CHECK(result.constraints == std::vector{over});
  options.rule = BudgetRule::penalty, options.over_budget = 2;
  result = result_of(large, options);
  CHECK(result.objectives.front() == doctest::Approx(large.validation_loss + 2 * over));
  CHECK(result.constraints.empty());
  // It does not cut, as a constraint does.
  TrialSettings free = job.settings();
  free.set("penalty", 1e-6);
  CHECK(two_phase(free, 0, job.train, job.validation, options).size > 20);
  options.rule = BudgetRule::front;
  CHECK(result_of(large, options).objectives == std::vector{large.validation_loss, double(large.size)});

  options = job.options;
  options.measure = SizeMeasure::multiply_adds;
  const auto products = two_phase(job.settings(), 0, job.train, job.validation, options);
  CHECK(products.size <= 20);
  CHECK(products.size == products.widths[0] * products.widths[1] + products.widths[1]);
}

TEST_CASE("two_phase: other factors, groups, weights and refits; a dense network keeps its widths") {
  const Bent job;
  using Word = std::pair<const char*, const char*>;
  for (const Word& one : {Word("weights", "parameters"), Word("weights", "sqrt_size"),
                          Word("groups", "elements"), Word("refit", "adam"), Word("cut", "penalty")}) {
    CAPTURE(one.second);
    TrialSettings s = job.settings();
    s.set(one.first, std::string(one.second)), s.set("refit_epochs", 20);
    const auto found = two_phase(s, 1, job.train, job.validation, job.options);
    CHECK(found.size <= 20);
    CHECK(found.validation_loss < 0.1);
  }
  TrialSettings deeper = job.settings();
  deeper.set("factors", 3);
  CHECK(two_phase(deeper, 1, job.train, job.validation, job.options).validation_loss < 0.1);
  for (const char* groups : {"inputs", "elements", "outputs"}) {
    CAPTURE(groups);
    deeper.set("groups", std::string(groups)), deeper.set("refit_penalty", 1e-3);
    const auto found = two_phase(deeper, 1, job.train, job.validation, job.options);
    CHECK(found.size <= 20);
    CHECK(found.validation_loss < 0.1);
  }

  auto dense = job.options;
  dense.dense = true;
  TrialSettings s = job.settings();
  s.set("width", 3);
  const auto control = two_phase(s, 1, job.train, job.validation, dense);
  CHECK(control.widths == std::vector<Index>{6, 3, 1});
  CHECK(control.size == 25);
  CHECK(control.inputs.size() == 6);
  // Of several starts, the best is taken: not worse than the worst of them.
  s.set("starts", 3);
  CHECK(two_phase(s, 1, job.train, job.validation, dense).validation_loss <= 1.05 * control.validation_loss);
}

namespace {

/// Whether a network is stationary for mean squares, alpha ||w|| over the weights of each input (Yuan and Lin
/// 2006), and decay on biases; and how many groups are not zero.
Index check_stationary(nn::Sequential<float>& model, const data::Dataset<float>& data, double alpha,
                       double decay, double tolerance) {
  Tape<float> tape(Mode::evaluation);
  tape.backward(nn::mse_loss(model(tape.constant(data.inputs())), tape.constant(data.targets())));
  Index large = 0;
  model.for_parameters([&](const std::string& name, const nn::Parameter<float>& parameter) {
    CAPTURE(name);
    REQUIRE(parameter.parametrization() == nullptr);
    const auto value = parameter.value().matrix();
    const auto slope = parameter.gradient().matrix();
    if (name.ends_with("bias")) {
      CHECK((slope + static_cast<float>(decay) * value).norm() < tolerance);
      return;
    }
    for (Index j = 0; j < value.cols(); ++j) {
      const float norm = value.col(j).norm();
      CHECK(slope.col(j).norm() < alpha + tolerance);
      if (norm < 1e-2) continue;
      ++large;
      CHECK((slope.col(j) + static_cast<float>(alpha) * value.col(j) / norm).norm() < tolerance);
    }
  });
  return large;
}

}  // namespace

TEST_CASE("two_phase: with a penalty in the refit, what is left is where the group lasso asks for") {
  const Bent job;
  constexpr double alpha = 0.02, decay = 0.01;
  for (const char* refit : {"levenberg_marquardt", "adam"}) {
    CAPTURE(refit);
    auto options = job.options;
    options.budget.reset();
    TrialSettings s = job.settings();
    s.set("refit", std::string(refit)), s.set("refit_iterations", 300), s.set("refit_epochs", 1500);
    s.set("refit_lr", 5e-3), s.set("batch_size", 400), s.set("refit_penalty", alpha);
    s.set("refit_decay", decay), s.set("penalty", 1e-3), s.set("width", 6);
    auto found = two_phase(s, 3, job.train, job.validation, options);
    CHECK(check_stationary(found.model, job.train, alpha, decay, 2e-3) >= 3);
    // It is no part of a dense network's training.
    options.dense = true;
    const auto dense = two_phase(s, 3, job.train, job.validation, options);
    s.set("refit_penalty", 0);
    CHECK(two_phase(s, 3, job.train, job.validation, options).validation_loss == dense.validation_loss);
  }
}

TEST_CASE("two_phase: between cuts there is half the penalty") {
  const Bent job;
  constexpr double alpha = 0.04, decay = 0.01;
  TrialSettings s = job.settings();
  s.set("refit", std::string("levenberg_marquardt")), s.set("refit_iterations", 0);
  s.set("cut_iterations", 300), s.set("penalty", 1e-5), s.set("refit_penalty", alpha);
  s.set("refit_decay", decay);
  auto found = two_phase(s, 3, job.train, job.validation, job.options);
  CHECK(found.size <= 20);  // so there were cuts
  CHECK(check_stationary(found.model, job.train, alpha / 2, decay, 2e-3) >= 3);
}

TEST_CASE("two_phase: a start whose loss is not finite is not taken, and why none is, is said") {
  Bent job;
  job.validation.x.data()[0] = 1e10f;  // which no training row is like
  int made = 0;
  auto dense = job.options;
  dense.dense = true;
  dense.model = [&](const TrialSettings& s) {
    nn::Sequential<float> net(nn::Linear<float>(6, 1));
    const bool is_good = made++ == s.integer("width", -1);
    auto& layer = dynamic_cast<nn::Linear<float>&>(net[0]);
    for (float& entry : layer.weight.value()) entry = is_good ? 1 : 1e18f;
    return net;
  };
  TrialSettings s;  // as they are made
  s.set("epochs", 0), s.set("refit_iterations", 0), s.set("starts", 3);
  s.set("refit", std::string("levenberg_marquardt"));
  const auto message = [&] {
    try {
      two_phase(s, 1, job.train, job.validation, dense);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message() ==
        "[two_phase] none of 3 starts ends, the first because [two_phase] a loss of inf on the validation "
        "set: expected a finite number");
  for (const int good : {0, 1, 2}) {
    CAPTURE(good);
    made = 0;
    s.set("width", good);
    CHECK(std::isfinite(two_phase(s, 1, job.train, job.validation, dense).validation_loss));
  }
}

TEST_CASE("two_phase: a trial that goes on has the bits of one that was not asked before") {
  const Bent job;
  auto options = job.options;
  options.epochs = 3;
  const StartTrial start = two_phase_trials(job.train, job.validation, options);
  const auto whole = start(job.settings(), 5), steps = start(job.settings(), 5);
  steps->advance(1);
  manual_seed(1234);  // another thread's generators
  steps->advance(2);
  const TrialResult a = whole->advance(3), b = steps->advance(3);
  CHECK(a.objectives == b.objectives);
  CHECK(a.figures == b.figures);
}

TEST_CASE("two_phase: what cannot be is one sentence") {
  const Bent job;
  const auto with = [&](const char* name, double value) {
    TrialSettings s = job.settings();
    s.set(name, value);
    return two_phase(s, 0, job.train, job.validation, job.options);
  };
  using Number = std::pair<const char*, double>;
  for (const Number& one :
       {Number("lr", 0), Number("lr", -1), Number("lr", std::nan("")), Number("penalty", -1),
        Number("refit_penalty", -1), Number("refit_penalty", INFINITY), Number("epochs", -1),
        Number("epochs", 1.5), Number("factors", 1), Number("batch_size", 0), Number("starts", 0),
        Number("groups", 3)}) {
    CAPTURE(one.first);
    CHECK_THROWS_AS(with(one.first, one.second), Error);
  }
  TrialSettings s = job.settings();
  s.set("weights", std::string("all"));
  CHECK_THROWS_WITH_AS(two_phase(s, 0, job.train, job.validation, job.options),
                       doctest::Contains("expected one or sqrt_size or parameters"), Error);
  auto options = job.options;
  options.budget = 0;
  CHECK_THROWS_AS(two_phase(job.settings(), 0, job.train, job.validation, options), Error);
  options = job.options;
  options.model = {};
  CHECK_THROWS_AS(two_phase(job.settings(), 0, job.train, job.validation, options), Error);
}
