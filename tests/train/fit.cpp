#include <taper/train/fit.hpp>

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/summary.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/shrink.hpp>
#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

constexpr auto quiet = train::Progress::quiet;

/// Targets that are a linear function of normal inputs, plus noise.
template <class T> data::Dataset<T> noisy_line(Index rows, Index inputs, std::uint64_t seed = 1) {
  Rng rng(seed);
  data::Dataset<T> set{Tensor<T>({rows, inputs}), Tensor<T>({rows, 1}), {}, {}};
  for (T& entry : set.x) entry = static_cast<T>(rng.normal());
  for (Index i = 0; i < rows; ++i) {
    double y = 0.5 + 0.1 * rng.normal();
    for (Index j = 0; j < inputs; ++j)
      y += static_cast<double>(set.x[i * inputs + j]) / static_cast<double>(j + 1);
    set.y[i] = static_cast<T>(y);
  }
  return set;
}

/// y = slope * x at a few points, and a model of that form that starts at 0.
data::Dataset<double> line(double slope) {
  data::Dataset<double> set{Tensor<double>({4, 1}, {-1, 0.5, 1, 2}), Tensor<double>({4, 1}), {}, {}};
  set.y.vector() = slope * set.x.vector();
  return set;
}
nn::Linear<double> slope_at_zero() {
  nn::Linear<double> model(1, 1, false);
  model.weight.value()[0] = 0;
  return model;
}

template <class T> std::vector<T> numbers(nn::Module<T>& model) {
  std::vector<T> all;
  const auto parameters = model.parameters();
  for (const auto& entry : parameters.entries()) {
    all.insert(all.end(), parameters.value(entry).begin(), parameters.value(entry).end());
  }
  return all;
}

/// What training with dropout and shuffling arrives at, of a factorized network that is large enough for
/// several threads in all of its kernels.
std::vector<float> trained(std::uint64_t seed) {
  manual_seed(3);
  nn::Sequential<float> net(nn::Linear(64, 400), nn::ReLU(), nn::Dropout(0.2), nn::Linear(400, 300),
                            nn::Tanh(), nn::Linear(300, 1));
  sparsity::factorize(net, sparsity::Groups::inputs, "0.weight");
  sparsity::factorize(net, sparsity::Groups::outputs, "3.weight");
  sparsity::factorize(net, sparsity::Groups::elements, "5.weight");
  const auto set = noisy_line<float>(300, 64);
  train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters(), {.weight_decay = 1e-3}),
             {.epochs = 2, .batch_size = 128, .seed = seed, .progress = quiet});
  return numbers(net);
}

}  // namespace

TEST_CASE("fit: linear regression arrives at the least-squares solution") {
  const auto set = noisy_line<double>(50, 3);
  nn::Linear<double> model(3, 1);
  train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0.2}),
             {.epochs = 1500, .batch_size = 50, .progress = quiet});
  Eigen::MatrixXd design(50, 4);
  design << set.x.matrix(), Eigen::VectorXd::Ones(50);
  const Eigen::VectorXd solution = design.colPivHouseholderQr().solve(Eigen::VectorXd(set.y.vector()));
  CHECK((model.weight.value().vector() - solution.head(3)).norm() < 1e-10);
  CHECK(std::abs(model.bias->value()[0] - solution(3)) < 1e-10);
}

TEST_CASE("fit: the same seed gives the same bits, with any number of threads") {
  const int before = threads();
  set_threads(1);
  const auto one = trained(5);
  CHECK(one == trained(5));
  CHECK(one != trained(6));
  for (const int count : {2, 3, 4}) {
    CAPTURE(count);
    set_threads(count);
    CHECK(one == trained(5));
  }
  set_threads(before);
}

TEST_CASE("fit: the loss of an epoch counts every row once") {
  const auto set = noisy_line<double>(10, 2);
  nn::Linear<double> model(2, 1);
  for (const Index batch_size : {1, 3, 4, 10, 64}) {
    CAPTURE(batch_size);
    const auto history = train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0}),
                                    {.epochs = 2, .batch_size = batch_size, .progress = quiet});
    REQUIRE(history.epochs.size() == 2);
    const double whole = train::evaluate(model, set, nn::mse_loss);
    for (const auto& epoch : history.epochs) CHECK(epoch.loss == doctest::Approx(whole).epsilon(1e-13));
  }
}

TEST_CASE("fit: history, schedule and callbacks") {
  const auto set = noisy_line<double>(10, 2);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 0.5});
  Index calls = 0;
  train::FitOptions<double> options{.epochs = 6, .batch_size = 4, .progress = quiet};
  options.schedule = [](Index epoch) { return 1 / static_cast<double>(epoch + 1); };
  options.callbacks = {[&](const train::Epoch& epoch) {
    CHECK(epoch.number == calls);
    ++calls;
    return true;
  }};
  auto history = train::fit(model, set, nn::mse_loss, sgd, options);
  CHECK(history.epochs.size() == 6);
  CHECK(calls == 6);
  CHECK(history.stopped.empty());
  CHECK(history.seconds >= 0);
  CHECK(history.epochs[4].lr == doctest::Approx(0.1));
  CHECK_FALSE(history.epochs[0].validation_loss.has_value());
  CHECK(sgd.steps() == 18);

  options.callbacks.push_back([](const train::Epoch& epoch) { return epoch.number < 2; });
  calls = 0;
  history = train::fit(model, set, nn::mse_loss, sgd, options);
  CHECK(history.epochs.size() == 3);
  CHECK(calls == 3);
  CHECK_FALSE(history.stopped.empty());

  options.epochs = 0;
  const auto before = numbers(model);
  CHECK(train::fit(model, set, nn::mse_loss, sgd, options).epochs.empty());
  CHECK(numbers(model) == before);
}

TEST_CASE("fit: early stopping on the validation loss") {
  // The weight runs from 0 towards 1, and on its way passes what is best for validation.
  const auto set = line(1), validation = line(0.5);
  for (const bool restore : {true, false}) {
    CAPTURE(restore);
    auto model = slope_at_zero();
    const auto history = train::fit(
        model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0.01}),
        {.epochs = 500,
         .batch_size = 4,
         .validation = &validation,
         .early_stopping = train::EarlyStopping{.patience = 3, .at_least = 0, .restore_best = restore},
         .progress = quiet});
    std::size_t best = 0;
    for (std::size_t i = 0; i < history.epochs.size(); ++i) {
      if (*history.epochs[i].validation_loss < *history.epochs[best].validation_loss) best = i;
    }
    CHECK(best > 5);
    CHECK(history.epochs.size() == best + 4);
    CHECK_FALSE(history.stopped.empty());
    const auto& expected = restore ? history.epochs[best] : history.epochs.back();
    CHECK(train::evaluate(model, validation, nn::mse_loss) == *expected.validation_loss);
  }
  // Without validation it is the training loss that counts.
  auto model = slope_at_zero();
  const auto history =
      train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0}),
                 {.epochs = 50, .early_stopping = train::EarlyStopping{.patience = 4}, .progress = quiet});
  CHECK(history.epochs.size() == 5);
}

TEST_CASE("fit: the validation loss is that of the model without dropout, after the epoch") {
  const auto set = noisy_line<double>(20, 4), validation = noisy_line<double>(7, 4, 2);
  nn::Sequential<double> net(nn::Linear<double>(4, 8), nn::Dropout<double>(0.5), nn::Linear<double>(8, 1));
  const auto history =
      train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters()),
                 {.epochs = 3, .batch_size = 8, .validation = &validation, .progress = quiet});
  CHECK(*history.epochs.back().validation_loss == train::evaluate(net, validation, nn::mse_loss));
}

TEST_CASE("fit: errors") {
  auto set = noisy_line<double>(12, 2);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters());
  const auto fit = [&](train::FitOptions<double> options = {}) {
    options.progress = quiet;
    return train::fit(model, set, nn::mse_loss, sgd, options);
  };
  CHECK_ERROR(fit({.batch_size = 0}), "batch", "0");
  CHECK_ERROR(fit({.epochs = -1}), "fit", "-1 epochs");
  CHECK_ERROR(train::fit(model, data::Dataset<double>{}, nn::mse_loss, sgd), "expected");

  const auto wide = noisy_line<double>(12, 3);
  CHECK_ERROR(train::fit(model, wide, nn::mse_loss, sgd, {.progress = quiet}), "affine", "expected");
  CHECK_ERROR(fit({.validation = &wide}), "expected");
  data::Dataset<double> two = set;
  two.y = Tensor<double>({12, 2});
  CHECK_ERROR(train::fit(model, two, nn::mse_loss, sgd, {.progress = quiet}), "mse_loss", "expected");
  two.y = Tensor<double>({11, 1});
  CHECK_ERROR(train::fit(model, two, nn::mse_loss, sgd, {.progress = quiet}), "11", "12");

  optim::SGD<double> fast(model.parameters(), {.lr = 1e6});
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, fast, {.epochs = 1000, .progress = quiet}),
              "the loss became", "in epoch");
  set.x[5] = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(fit(), "fit", "finite");
}

TEST_CASE("predict: many rows are the same as in one pass") {
  nn::Sequential<double> net(nn::Linear<double>(3, 9), nn::GELU<double>(), nn::Dropout<double>(0.5),
                             nn::Linear<double>(9, 2));
  const auto set = noisy_line<double>(2500, 3);
  const Tensor<double> batched = train::predict(net, set.x);
  CHECK(batched.shape() == Shape{2500, 2});
  Tape<double> tape(Mode::evaluation);
  const auto whole = net(tape.constant(set.x));
  CHECK((batched.vector() - whole.value().vector()).cwiseAbs().maxCoeff() < 1e-14);
  CHECK(train::predict(net, Tensor<double>({0, 3})).shape() == Shape{0, 2});
  CHECK_ERROR(train::predict(net, Tensor<double>()), "predict", "expected rows");
}

TEST_CASE("fit: an optimizer of another model, or of a part of this one, is refused") {
  const auto set = noisy_line<double>(12, 2);
  nn::Sequential<double> model(nn::Linear<double>(2, 1)), other(nn::Linear<double>(2, 1));
  optim::SGD<double> foreign(other.parameters());
  const auto before = numbers(model);
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, foreign, {.progress = quiet}), "[fit]",
              "not built on all parameters of this model");
  nn::Sequential<double> two(nn::Linear<double>(2, 3), nn::Linear<double>(3, 1));
  two.parameters();  // one block for both
  optim::SGD<double> part(two[0].parameters());
  CHECK_ERROR(train::fit(two, set, nn::mse_loss, part, {.progress = quiet}), "not built on all parameters");
  CHECK(numbers(model) == before);
}

TEST_CASE("fit: an Error leaves the optimizer's learning rate as a success does") {
  auto set = noisy_line<double>(12, 2);
  nn::Sequential<double> model(nn::Linear<double>(2, 1), nn::Dropout<double>(0.5));
  optim::SGD<double> sgd(model.parameters());
  sgd.set_lr_factor(0.5);
  train::FitOptions<double> options{.epochs = 4, .progress = quiet};
  options.schedule = [](Index epoch) { return 1 / static_cast<double>(epoch + 2); };
  train::fit(model, set, nn::mse_loss, sgd, options);
  CHECK(sgd.lr_factor() == 0.5);
  options.callbacks = {[](const train::Epoch& epoch) -> bool {
    if (epoch.number == 2) throw Error("callback", "enough");
    return true;
  }};
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, sgd, options), "[callback] enough");
  CHECK(sgd.lr_factor() == 0.5);
  // Without a schedule, what a callback did to the learning rate is kept.
  options = {.epochs = 1, .progress = quiet};
  options.callbacks = {[&](const train::Epoch&) {
    sgd.set_lr_factor(0.25);
    return true;
  }};
  train::fit(model, set, nn::mse_loss, sgd, options);
  CHECK(sgd.lr_factor() == 0.25);
}

TEST_CASE("fit: settings of early stopping out of range") {
  const auto set = noisy_line<double>(12, 2);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters());
  const auto fit = [&](train::EarlyStopping rule) {
    return train::fit(model, set, nn::mse_loss, sgd,
                      {.epochs = 1, .early_stopping = rule, .progress = quiet});
  };
  CHECK_ERROR(fit({.patience = 0}), "[fit]", "patience of 0 epochs");
  CHECK_ERROR(fit({.patience = -3}), "[fit]", "patience of -3 epochs");
  for (const double at_least : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_ERROR(fit({.at_least = at_least}), "[fit]", "an improvement of at least");
  }
  CHECK(fit({.patience = 1}).epochs.size() == 1);
}

TEST_CASE("fit: neighbouring seeds share no dropout patterns") {
  // One batch and no steps: the losses of an epoch depend on the pattern alone.
  const auto set = noisy_line<double>(16, 8);
  nn::Sequential<double> model(nn::Dropout<double>(0.5), nn::Linear<double>(8, 1));
  const auto losses = [&](std::uint64_t seed) {
    std::vector<double> all;
    const auto history =
        train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0}),
                   {.epochs = 20, .batch_size = 16, .shuffle = false, .seed = seed, .progress = quiet});
    for (const train::Epoch& epoch : history.epochs) all.push_back(epoch.loss);
    return all;
  };
  const std::vector<double> first = losses(5);
  CHECK(losses(5) == first);
  for (const double loss : losses(6)) CHECK(std::ranges::count(first, loss) == 0);
}

TEST_CASE("fit: early stopping brings back no value that was pruned on the way") {
  const auto set = noisy_line<double>(40, 3);
  nn::Linear<double> model(3, 1);
  bool pruned = false;
  train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 0.05}),
             {.epochs = 40,
              .batch_size = 40,
              .callbacks = {[&](const train::Epoch& epoch) {
                if (epoch.number == 20) model.prune("weight", Mask::frozen(Shape{1, 3}, {0})), pruned = true;
                return true;
              }},
              .early_stopping = train::EarlyStopping{.patience = 5},
              .progress = quiet});
  REQUIRE(pruned);
  CHECK(model.weight.value()[0] == 0);
  CHECK(model.weight.mask().is_frozen(0));
}

namespace {

/// The Diverged that a training ends with.
template <class Run> train::Diverged divergence(const Run& run) {
  try {
    run();
  } catch (const train::Diverged& error) {
    return error;
  }
  FAIL("expected a training that diverges");
  throw;
}

/// A single weight, and a loss of its own that does not look at data.
struct Weight : nn::Layer<double> {
  nn::Parameter<double> w{Shape{1}};
  explicit Weight(double start) { w.value()[0] = start; }
  void visit(nn::Visitor<double>& m) const override { m("w", w); }
  Var<double> forward(Var<double> x) const override { return x * w.bind(x.tape()); }
};

bool contains(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("fit: after divergence the best parameters come back, and the error says how far it came") {
  const auto set = noisy_line<double>(50, 3), validation = noisy_line<double>(30, 3, 7);
  for (const bool validated : {true, false}) {
    CAPTURE(validated);
    nn::Linear<double> model(3, 1);
    std::vector<std::vector<double>> seen;
    std::vector<double> losses;
    train::FitOptions<double> options{.epochs = 5000,
                                      .batch_size = 50,
                                      .schedule = [](Index epoch) { return epoch < 20 ? 0.01 : 50.0; },
                                      .early_stopping = train::EarlyStopping{.patience = 5000},
                                      .progress = quiet};
    if (validated) options.validation = &validation;
    options.callbacks = {[&](const train::Epoch& epoch) {
      seen.push_back(numbers(model));
      losses.push_back(epoch.validation_loss.value_or(epoch.loss));
      return true;
    }};
    const auto error = divergence(
        [&] { train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1}), options); });
    const auto best = static_cast<std::size_t>(std::ranges::min_element(losses) - losses.begin());
    CHECK(numbers(model) == seen[best]);
    CHECK(train::evaluate(model, validated ? validation : set, nn::mse_loss) == losses[best]);
    CHECK(error.history.epochs.size() == losses.size());
    CHECK(error.epoch == static_cast<Index>(losses.size()));
    CHECK(contains(error.what(), "[fit] training diverged in epoch " + std::to_string(losses.size())));
    CHECK_FALSE(error.batch.has_value());  // the evaluation at the end of the epoch sees it first
    CHECK(contains(error.what(), validated ? "at its end: the validation loss became inf"
                                           : "at its end: the loss on the training set became inf"));
  }
}

TEST_CASE("fit: without early stopping, the first batch says that the last epoch was too much") {
  const auto set = noisy_line<double>(50, 3);
  nn::Linear<double> model(3, 1);
  const auto error = divergence([&] {
    train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 50}),
               {.epochs = 5000, .batch_size = 50, .progress = quiet});
  });
  CHECK(error.batch == 0);
  CHECK(error.history.epochs.size() == static_cast<std::size_t>(error.epoch));
  CHECK(contains(error.what(), "batch 0: the loss became inf ([mse_loss] made inf"));
}

TEST_CASE("fit: what comes back evaluates to the least loss there was, without a validation set, too") {
  const auto set = noisy_line<double>(60, 3), validation = noisy_line<double>(30, 3, 7);
  for (const bool validated : {true, false}) {
    for (const Index batch_size : {60, 7}) {
      CAPTURE(validated);
      CAPTURE(batch_size);
      const auto& judge = validated ? validation : set;
      nn::Linear<double> model(3, 1);
      double least = train::evaluate(model, judge, nn::mse_loss);
      train::FitOptions<double> options{.epochs = 30,
                                        .batch_size = batch_size,
                                        .schedule = [](Index epoch) { return epoch < 9 ? 0.01 : 3.0; },
                                        .early_stopping = train::EarlyStopping{.patience = 4},
                                        .progress = quiet};
      if (validated) options.validation = &validation;
      options.callbacks = {[&](const train::Epoch&) {
        least = std::min(least, train::evaluate(model, judge, nn::mse_loss));
        return true;
      }};
      const auto history =
          train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1}), options);
      CHECK(history.epochs.size() == 13);
      CHECK(train::evaluate(model, judge, nn::mse_loss) == least);
      CHECK(history.epochs[8].validation_loss == least);
    }
  }
}

TEST_CASE("fit: the parameters at the start come back when every epoch has made them worse") {
  const auto set = line(1);
  for (const bool validated : {true, false}) {
    for (const Index batch_size : {4, 2}) {
      CAPTURE(validated);
      CAPTURE(batch_size);
      auto model = slope_at_zero();
      train::FitOptions<double> options{
          .epochs = 1, .batch_size = batch_size, .early_stopping = train::EarlyStopping{}, .progress = quiet};
      if (validated) options.validation = &set;
      const auto fit = [&](double rate) {
        return train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = rate}), options);
      };
      CHECK(fit(1e40).epochs.size() == 1);  // a finite loss, of 1e80 and more
      CHECK(model.weight.value()[0] == 0);
      const auto error = divergence([&] { fit(1e200); });
      CHECK(error.epoch == 0);
      CHECK(model.weight.value()[0] == 0);
    }
  }
}

TEST_CASE("fit: after a callback has pruned, the parameters of that time are the first candidate") {
  const auto set = noisy_line<double>(40, 3);
  nn::Linear<double> model(3, 1);
  std::vector<double> pruned;
  train::FitOptions<double> options{.epochs = 9,
                                    .batch_size = 10,
                                    .schedule = [](Index epoch) { return epoch < 3 ? 0.01 : 1e200; },
                                    .early_stopping = train::EarlyStopping{},
                                    .progress = quiet};
  options.callbacks = {[&](const train::Epoch& epoch) {
    if (epoch.number == 2) model.prune("weight", Mask::frozen(Shape{1, 3}, {0})), pruned = numbers(model);
    return true;
  }};
  CHECK(divergence([&] {
          train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1}), options);
        }).epoch == 3);
  CHECK(numbers(model) == pruned);
}

TEST_CASE("fit: parameters whose layout a callback changes are left as they are") {
  const auto set = noisy_line<double>(40, 3);
  nn::Linear<double> model(3, 1);
  std::vector<double> last;
  train::FitOptions<double> options{.epochs = 6,
                                    .batch_size = 40,
                                    .schedule = [](Index epoch) { return epoch < 3 ? 0.1 : 2.0; },
                                    .early_stopping = train::EarlyStopping{},
                                    .progress = quiet};
  options.callbacks = {[&](const train::Epoch& epoch) {
    if (epoch.number == 5) {
      last = {model.bias->value()[0]};
      sparsity::factorize(model, sparsity::Groups::inputs, "weight");
    }
    return true;
  }};
  train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1}), options);
  CHECK(model.bias->value()[0] == last[0]);
}

TEST_CASE("fit: parameters that an epoch ends far away with are not the best") {
  // The first epoch starts at loss 1 and ends far away.
  auto model = slope_at_zero();
  const auto set = line(1);
  std::vector<std::vector<double>> seen{numbers(model)};
  train::FitOptions<double> options{.epochs = 9,
                                    .batch_size = 4,
                                    .schedule = [](Index epoch) { return epoch < 3 ? 0.01 : 1e200; },
                                    .early_stopping = train::EarlyStopping{.patience = 50},
                                    .progress = quiet};
  options.callbacks = {[&](const train::Epoch&) { return seen.push_back(numbers(model)), true; }};
  const auto error = divergence(
      [&] { train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1}), options); });
  CHECK(error.epoch == 3);
  CHECK(numbers(model) == seen[3]);
}

TEST_CASE("fit: a gradient that is not finite is found before the step, with the operation that made it") {
  data::Dataset<double> set{
      Tensor<double>({4, 1}, {1, 1, 1, 1}), Tensor<double>({4, 1}, {1, 1, 1, 1}), {}, {}};
  const nn::Loss<double> roots = [](Var<double> prediction, Var<double> target) {
    return mean(sqrt(prediction) * 0.0 + prediction - target);  // a finite loss; 0 * inf in the gradient
  };
  Weight model(0);
  const auto error = divergence([&] {
    train::fit(model, set, roots, optim::SGD(model.parameters(), {.lr = 0.1}),
               {.epochs = 3, .batch_size = 2, .progress = quiet});
  });
  CHECK(model.w.value()[0] == 0);  // as before the step
  CHECK(error.epoch == 0);
  CHECK(error.batch == 0);
  CHECK(error.history.epochs.empty());
  CHECK(contains(error.what(), "the gradient of 'w' became"));
  CHECK(contains(error.what(), "([sqrt] made"));
  CHECK(contains(error.what(), "entry 0"));
  // What a frozen entry would get is nobody's concern.
  model.w.freeze();
  const auto history = train::fit(model, set, roots, optim::SGD(model.parameters(), {.lr = 0.1}),
                                  {.epochs = 1, .batch_size = 2, .progress = quiet});
  CHECK(history.epochs.size() == 1);
}

TEST_CASE("fit: a validation loss that is not finite is an error") {
  const auto set = noisy_line<double>(50, 3), validation = noisy_line<double>(30, 3, 7);
  for (const double odd : {std::nan(""), -std::nan(""), HUGE_VAL}) {
    nn::Linear<double> model(3, 1);
    const nn::Loss<double> loss = [&](Var<double> prediction, Var<double> target) {
      const auto value = mse_loss(prediction, target);
      return target.shape()[0] == 30 ? value + value.tape().constant(odd) : value;
    };
    const auto error = divergence([&] {
      train::fit(model, set, loss, optim::SGD(model.parameters(), {.lr = 0.1}),
                 {.epochs = 6, .batch_size = 50, .validation = &validation, .progress = quiet});
    });
    CHECK(contains(error.what(), std::isnan(odd) ? "the validation loss became nan: expected"
                                                 : "the validation loss became inf: expected"));
    CHECK(error.epoch == 0);
    CHECK_FALSE(error.batch.has_value());
    CHECK(error.history.epochs.empty());
  }
}

TEST_CASE("fit: the last step is looked at, too") {
  const auto set = noisy_line<float>(50, 3);
  nn::Linear<float> model(3, 1);
  const auto error = divergence([&] {
    train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters(), {.lr = 1e20}),
               {.epochs = 1, .batch_size = 50, .progress = quiet});
  });
  CHECK(contains(error.what(),
                 "[fit] training diverged in epoch 0, at its end: the loss of the last batch became inf"));
  CHECK(error.history.epochs.size() == 1);
  CHECK_FALSE(error.batch.has_value());
  nn::Linear<float> other(3, 1);
  const auto parameters = divergence([&] {
    train::fit(other, set, nn::mse_loss, optim::SGD(other.parameters(), {.lr = 1e60}),
               {.epochs = 1, .batch_size = 50, .progress = quiet});
  });
  CHECK(contains(parameters.what(), "at its end: 'weight' became"));
}

TEST_CASE("fit: parameters are looked at, also where a validation loss is none the worse for them") {
  const auto set = line(1);
  const nn::Loss<double> loss = [](Var<double> prediction, Var<double> target) {
    return mean(sigmoid(square(prediction) * -1.0)) + 0.0 * mean(target);
  };
  Weight model(1);
  const auto error = divergence([&] {
    train::fit(model, set, loss, optim::SGD(model.parameters(), {.lr = 1e308}),
               {.epochs = 1,
                .batch_size = 4,
                .schedule = [](Index) { return 1e3; },
                .validation = &set,
                .progress = quiet});
  });
  CHECK(contains(error.what(), "in epoch 0, at its end: 'w' became inf at entry 0"));
  CHECK(train::evaluate(model, set, loss) == 0);
}

TEST_CASE("fit: the loss of an epoch is finite where those of its batches are") {
  const auto set = noisy_line<double>(10, 2);
  nn::Linear<double> model(2, 1);
  const nn::Loss<double> large = [](Var<double> prediction, Var<double> target) {
    return 0.0 * mse_loss(prediction, target) + prediction.tape().constant(1e308);
  };
  for (const Index batch_size : {1, 4, 10}) {
    const auto history = train::fit(model, set, large, optim::SGD(model.parameters()),
                                    {.epochs = 1, .batch_size = batch_size, .progress = quiet});
    CHECK(history.epochs[0].loss / 1e308 == doctest::Approx(1).epsilon(1e-13));
  }
}

TEST_CASE("evaluate: a loss of all pairs is pointed out, one that is not finite returned") {
  const auto set = noisy_line<double>(12, 2);
  nn::Linear<double> model(2, 1);
  const nn::Loss<double> table = [](Var<double> prediction, Var<double> target) {
    return mean(square(reshape(prediction, {-1}) - target));
  };
  CHECK_ERROR(train::evaluate(model, set, table), "[evaluate] the loss has", "12 and 12x1 are both repeated",
              "pairwise_loss");
  CHECK(train::evaluate(model, set, table, true) > 0);
  const nn::Loss<double> bottomless = [](Var<double> prediction, Var<double> target) {
    return mean(log((prediction - target) * 0.0));
  };
  CHECK(train::evaluate(model, set, bottomless) == -std::numeric_limits<double>::infinity());
}

TEST_CASE("fit: in float at 1e10, Adam moves as in double, and plain descent says that it cannot") {
  const auto at = [](auto scalar, auto kind) {
    using T = decltype(scalar);
    data::Dataset<T> set{Tensor<T>({1, 1}, {T(1e10)}), Tensor<T>({1, 1}, {T(1e10)}), {}, {}};
    nn::Linear<T> model(1, 1, false);
    model.weight.value()[0] = 0;
    train::fit(model, set, nn::mse_loss, kind(model.parameters()), {.epochs = 20, .progress = quiet});
    return static_cast<double>(model.weight.value()[0]);
  };
  const auto adam = [](auto parameters) { return optim::Adam(parameters, {.lr = 0.01}); };
  const double exact = at(double{}, adam);
  CHECK(exact == doctest::Approx(0.2).epsilon(0.1));
  CHECK(at(float{}, adam) == doctest::Approx(exact).epsilon(1e-5));
  const auto clipped = [](auto parameters) {
    auto sgd = optim::SGD(parameters, {.lr = 0.01});
    sgd.clip_norm(1);
    return sgd;
  };
  CHECK(at(float{}, clipped) == doctest::Approx(0.2).epsilon(1e-5));
  const auto plain = [](auto parameters) { return optim::SGD(parameters, {.lr = 0.01}); };
  CHECK_ERROR(at(float{}, plain), "[fit] training diverged", "a lower learning rate may help");
}

TEST_CASE("fit: a vector of targets, or of inputs, is a column") {
  Rng rng(2);
  data::Dataset<double> set{Tensor<double>({50, 3}), Tensor<double>({50}), {}, {}};
  for (double& entry : set.x) entry = rng.normal();
  for (Index i = 0; i < 50; ++i) set.y[i] = 2 * set.x[3 * i];
  const nn::Loss<double> own = [](Var<double> prediction, Var<double> target) {
    return mean(square(prediction - target));
  };
  nn::Linear<double> model(3, 1);
  train::fit(model, set, own, optim::SGD(model.parameters(), {.lr = 0.1}),
             {.epochs = 300, .batch_size = 50, .progress = quiet});
  CHECK((model.weight.value().vector() - Eigen::Vector3d(2, 0, 0)).norm() < 1e-8);
  CHECK(train::evaluate(model, set, own) < 1e-15);
  CHECK(set.targets().shape() == Shape{50, 1});
  CHECK(set.inputs().shape() == Shape{50, 3});

  data::Dataset<double> single{Tensor<double>({3}, {1, 2, 3}), Tensor<double>({3}, {2, 4, 6}), {}, {}};
  auto slope = slope_at_zero();
  train::fit(slope, single, nn::mse_loss, optim::SGD(slope.parameters(), {.lr = 0.05}),
             {.epochs = 200, .progress = quiet});
  CHECK(slope.weight.value()[0] == doctest::Approx(2));
  CHECK(train::predict(slope, single.x).shape() == Shape{3, 1});
}

TEST_CASE("fit: a part that the model does not name is pointed out, before anything moves") {
  struct Forgetful : nn::Layer<double> {
    nn::Linear<double> fc1{2, 3}, fc2{3, 1};
    void visit(nn::Visitor<double>& m) const override { m("fc1", fc1); }
    Var<double> forward(Var<double> x) const override { return fc2(relu(fc1(x))); }
  };
  Forgetful model;
  const Tensor<double> before = model.fc1.weight.materialize();
  const data::Dataset<double> set{normal_tensor<double>({8, 2}), normal_tensor<double>({8, 1}), {}, {}};
  optim::SGD<double> sgd(model.parameters(), {.lr = 0.1});
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, sgd, {.epochs = 2, .progress = train::Progress::quiet}),
              "[nn] Linear(3, 1), which a module computes with and no module names", "visit()");
  CHECK(same_bits(model.fc1.weight.materialize().view(), before.view()));
}

TEST_CASE("fit: a loss that repeats prediction and target along each other is pointed out") {
  const auto set = noisy_line<double>(12, 2);
  nn::Linear<double> model(2, 1);
  const auto fit = [&](const nn::Loss<double>& loss, bool pairwise = false) {
    return train::fit(model, set, loss, optim::SGD(model.parameters()),
                      {.epochs = 1, .progress = quiet, .pairwise_loss = pairwise});
  };
  const nn::Loss<double> table = [](Var<double> prediction, Var<double> target) {
    return mean(square(reshape(prediction, {-1}) - target));
  };
  CHECK_ERROR(fit(table), "[fit] the loss has", "sub(", "12x12", "12 and 12x1 are both repeated",
              "pairwise_loss");
  CHECK(fit(table, true).epochs.size() == 1);
  // One operand that is repeated is what broadcasting is for.
  CHECK(fit([](Var<double> p, Var<double> t) { return mean(square(p - t) * 2.0 + mean(p)); }).epochs.size() ==
        1);
}

TEST_CASE("fit: a billion epochs reserve nothing ahead") {
  const auto set = noisy_line<double>(8, 2);
  nn::Linear<double> model(2, 1);
  train::FitOptions<double> options{.epochs = 1000000000000, .progress = quiet};
  options.callbacks = {[](const train::Epoch&) { return false; }};
  CHECK(train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters()), options).epochs.size() == 1);
}
