// How gates find the rank of a factorization machine.

#include <taper/data/ratings.hpp>
#include <taper/nn/init.hpp>
#include <taper/nn/layers/factorization_machine.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/schedule.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/evaluate.hpp>
#include <taper/train/fit.hpp>

#include "../check.hpp"

using namespace taper;

namespace {

/// Ratings of few users and items, of mean zero, and a machine for them with six latent dimensions.
struct LatentProblem {
  data::Dataset<float> set;
  nn::FactorizationMachine<float> machine{0, 0};

  explicit LatentProblem(Index rank) {
    const data::Ratings ratings = data::make_ratings(
        {.users = 40, .items = 50, .ratings = 1000, .rank = rank, .noise = 0.2, .biases = 0.3, .seed = 2});
    const data::RatingEncoder encoder(ratings);
    set = encoder.encode<float>(ratings);
    set.y.vector().array() -= set.y.vector().mean();
    manual_seed(1);
    machine = nn::FactorizationMachine<float>(encoder.field_sizes(), 6);
    nn::init::normal(machine.factors.value(), 0, 0.1);
    sparsity::factorize(machine, sparsity::Groups::inputs, "factors");
  }
  void train(double alpha, Index epochs) {
    optim::Adam<float> adam(machine.parameters(),
                            {.lr = 0.02,
                             .weight_decay = alpha,
                             .groups = {{.match = "weight", .lr = {}, .weight_decay = 1e-4},
                                        {.match = "bias", .lr = {}, .weight_decay = 0.0}}});
    train::fit(machine, set, nn::mse_loss, adam,
               {.epochs = epochs,
                .batch_size = 50,
                .schedule = optim::cosine_schedule(epochs, 0.05),
                .progress = train::Progress::quiet});
  }
};

}  // namespace

TEST_CASE(
    "latent dimensions: gates and a rising penalty leave the planted rank, and shrink cuts the others off") {
  for (const Index rank : {0, 1, 3}) {
    LatentProblem problem(rank);
    for (const double alpha : {1e-3, 3e-3, 1e-2}) problem.train(alpha, 20);
    // What has died is far from what lives.
    const Tensor<float> factors = problem.machine.factors.materialize();
    const Eigen::VectorXf norms = factors.matrix().colwise().norm();
    CHECK(((norms.array() < 1e-2f) || (norms.array() > 1.0f)).all());
    const double before = train::evaluate(problem.machine, problem.set, nn::mse_loss);
    problem.machine.factors.prune(
        Mask::frozen(factors.shape(), [&](Index i) { return norms[i % factors.shape()[1]] < 1e-2f; }));
    const auto [small, report] =
        sparsity::shrink(problem.machine, {.examples = problem.set.x, .threshold = 0.0});
    CAPTURE(rank);
    CHECK(small.factors.shape()[1] == rank);
    CHECK(report.max_relative_difference < 1e-5);
    CHECK(train::evaluate(small, problem.set, nn::mse_loss) == doctest::Approx(before).epsilon(1e-3));
  }
}

TEST_CASE("latent dimensions: pruned ones of fields are cut with their gates, and training goes on") {
  LatentProblem problem(2);
  problem.train(1e-3, 2);
  problem.machine.factors.prune(
      Mask::frozen(problem.machine.factors.shape(), [](Index i) { return i % 6 == 1 || i % 6 == 4; }));
  auto [small, report] =
      sparsity::shrink(problem.machine, {.examples = problem.set.x, .threshold = 0.0, .keep_factors = true});
  REQUIRE(small.factors.parametrization() != nullptr);
  const Tensor<float> before = problem.machine.factors.materialize(), after = small.factors.materialize();
  REQUIRE(after.shape() == Shape{before.shape()[0], 4});
  Index column = 0;
  for (const Index k : {0, 2, 3, 5}) CHECK((after.matrix().col(column++) == before.matrix().col(k)));
  CHECK(report.max_relative_difference < 1e-6);
  const double loss = train::evaluate(small, problem.set, nn::mse_loss);
  problem.machine = small;
  problem.train(1e-3, 5);
  CHECK(train::evaluate(problem.machine, problem.set, nn::mse_loss) < loss);
}
