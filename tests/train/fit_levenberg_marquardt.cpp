#include <taper/train/fit_levenberg_marquardt.hpp>

#include <cmath>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/train/diverged.hpp>
#include <taper/train/evaluate.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

data::Dataset<double> noisy_set(Index rows, std::uint64_t seed) {
  data::Dataset<double> set{normal_tensor<double>({rows, 3}, seed), Tensor<double>({rows, 1}), {}, {}};
  Rng rng(seed + 1);
  for (Index i = 0; i < rows; ++i) set.y[i] = std::sin(2 * set.x[3 * i]) + 0.5 * rng.normal();
  return set;
}

nn::Sequential<double> small_net() {
  manual_seed(1);
  return nn::Sequential<double>(nn::Linear(3, 12), nn::Tanh(), nn::Linear(12, 1));
}

train::FitOptions<double> quietly(Index epochs) {
  return {.epochs = epochs, .progress = train::Progress::quiet};
}

}  // namespace

TEST_CASE("fit by Levenberg-Marquardt: a step is an epoch of the history") {
  const auto set = noisy_set(100, 1), validation = noisy_set(80, 5);
  auto net = small_net();
  auto options = quietly(15);
  options.validation = &validation;
  std::vector<double> seen;
  options.callbacks = {[&](const train::Epoch& epoch) {
    CHECK(*epoch.validation_loss == train::evaluate(net, validation, nn::mse_loss));
    seen.push_back(epoch.loss);
    return true;
  }};
  const train::History history =
      train::fit(net, set, nn::mse_loss, optim::LevenbergMarquardtOptions{.weight_decay = 1e-4}, options);
  REQUIRE(history.epochs.size() == 15);
  CHECK(history.stopped.empty());
  for (std::size_t k = 0; k < 15; ++k) {
    CHECK(history.epochs[k].number == static_cast<Index>(k));
    CHECK(history.epochs[k].loss == seen[k]);
  }
  CHECK(history.epochs.back().loss ==
        doctest::Approx(train::evaluate(net, set, nn::mse_loss)).epsilon(1e-12));
}

TEST_CASE("fit by Levenberg-Marquardt: early stopping puts back the best of validation") {
  const auto set = noisy_set(30, 1), validation = noisy_set(200, 5);  // few rows: it learns the noise
  auto net = small_net();
  auto options = quietly(500);
  options.validation = &validation;
  options.early_stopping = train::EarlyStopping{.patience = 8};
  const double start = train::evaluate(net, validation, nn::mse_loss);
  const train::History history =
      train::fit(net, set, nn::mse_loss, optim::LevenbergMarquardtOptions{.max_iterations = 500}, options);
  CHECK(history.stopped == "no improvement");
  double least = start;
  for (const train::Epoch& epoch : history.epochs) least = std::min(least, *epoch.validation_loss);
  CHECK(least < *history.epochs.back().validation_loss);
  CHECK(train::evaluate(net, validation, nn::mse_loss) == least);
}

TEST_CASE("fit by Levenberg-Marquardt: it says why it ended early, and a callback can end it") {
  const auto set = noisy_set(100, 1);
  nn::Sequential<double> linear(nn::Linear(3, 1));
  const optim::LevenbergMarquardtOptions method;
  const train::History done = train::fit(linear, set, nn::mse_loss, method, quietly(50));
  CHECK(done.epochs.size() < 10);
  CHECK(!done.stopped.empty());

  auto net = small_net();
  auto options = quietly(50);
  options.callbacks = {[](const train::Epoch& epoch) { return epoch.number < 2; }};
  const train::History ended = train::fit(net, set, nn::mse_loss, method, options);
  CHECK(ended.epochs.size() == 3);
  CHECK(ended.stopped == "a callback asked for it");
  CHECK(train::fit(net, set, nn::mse_loss, method, quietly(0)).epochs.empty());
}

TEST_CASE("fit by Levenberg-Marquardt: what it has not is an error, and changes nothing") {
  const auto set = noisy_set(50, 1);
  auto net = small_net();
  const double before = train::evaluate(net, set, nn::mse_loss);
  const auto run = [&](const train::FitOptions<double>& options) {
    train::fit(net, set, nn::mse_loss, optim::LevenbergMarquardtOptions{}, options);
  };
  auto options = quietly(5);
  options.schedule = [](Index) { return 1.0; };
  CHECK_ERROR(run(options), "[fit]", "a schedule");
  options = quietly(5);
  options.accumulate = 2;
  CHECK_ERROR(run(options), "accumulated");
  options = quietly(5);
  options.checkpoint.save = [](const train::Trainer<double>&) {};
  CHECK_ERROR(run(options), "a checkpoint");
  options = quietly(5);
  options.augment = [](std::span<const View<double>>, Rng&) {};
  CHECK_ERROR(run(options), "augment");
  options = quietly(-1);
  CHECK_ERROR(run(options), "-1 epochs");
  options = quietly(5);
  const std::vector<View<const double>> columns{set.x, set.y};
  options.validation_columns = columns;
  CHECK_ERROR(run(options), "validation columns");
  CHECK(train::evaluate(net, set, nn::mse_loss) == before);

  options = quietly(5);
  options.callbacks = {[&](const train::Epoch&) {
    net.freeze("*bias");
    return true;
  }};
  CHECK_ERROR(run(options), "masks that changed on the way");
}

TEST_CASE("fit by Levenberg-Marquardt: an exact fit says so") {
  auto set = noisy_set(60, 1);
  for (Index i = 0; i < 60; ++i) set.y[i] = 1e150 * (2 * set.x[3 * i] - set.x[3 * i + 1]);
  manual_seed(1);
  nn::Sequential<double> net(nn::Linear(3, 1));
  const train::History history =
      train::fit(net, set, nn::mse_loss, optim::LevenbergMarquardtOptions{}, quietly(100));
  CHECK(history.epochs.size() < 20);
  CHECK(history.epochs.back().loss < 1e-28 * 1e300);
  const bool exact = history.stopped.find("an exact fit") == 0 || history.stopped == "the value is 0";
  CHECK(exact);
}
