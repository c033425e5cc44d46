#include <taper/sparsity/proximal.hpp>

#include <cmath>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "linear_problems.hpp"

using namespace taper;
using sparsity::Groups;

TEST_CASE("proximal_step: a step of its length is the formula's, group by group") {
  Rng rng(1);
  for (const Groups groups : {Groups::elements, Groups::inputs, Groups::outputs}) {
    CAPTURE(groups);
    const LinearProblem problem(50, 6, 3, groups, rng);
    const double alpha = 0.1;
    const Eigen::MatrixXd w = 0.3 * normal_tensor<double>({3, 6}).matrix();
    auto model = problem.model(w);
    const auto step = sparsity::proximal_step(model, problem.data, nn::mse_loss, alpha);
    const Eigen::MatrixXd gradient =
        2.0 / 150 * (w * problem.x.transpose() - problem.y.transpose()) * problem.x;
    const Eigen::MatrixXd z = w - step.step * gradient;
    const Eigen::MatrixXd moved = model.weight.materialize().matrix();
    Eigen::MatrixXd expected(3, 6);
    Index zero = 0;
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 6; ++j) {
        const double norm = groups == Groups::elements ? std::abs(z(i, j))
                            : groups == Groups::inputs ? z.col(j).norm()
                                                       : z.row(i).norm();
        expected(i, j) = std::max(0.0, 1 - step.step * alpha / norm) * z(i, j);
        zero += (groups == Groups::elements || (groups == Groups::inputs ? i == 0 : j == 0)) &&
                expected(i, j) == 0;
      }
    }
    CHECK((moved - expected).norm() < 1e-12);
    CHECK(step.zero == zero);
    CHECK(step.zero + step.nonzero == problem.group_count());
    CHECK(step.objective_before == doctest::Approx(problem.objective(w, alpha)).epsilon(1e-12));
    CHECK(step.objective_after == doctest::Approx(problem.objective(moved, alpha)).epsilon(1e-12));
    CHECK(step.objective_after < step.objective_before);
    const auto penalty = sparsity::effective_penalty(model, alpha);
    CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-12));
  }
}

TEST_CASE("proximal_step: after training, the zeros are those of the minimizer, and certified") {
  Rng rng(2);
  for (const Groups groups : {Groups::elements, Groups::inputs, Groups::outputs}) {
    CAPTURE(groups);
    const LinearProblem problem(60, 6, 3, groups, rng);
    const double alpha = 0.15;
    manual_seed(1);
    nn::Linear<double> model(6, 3, false);
    sparsity::factorize(model, groups);
    train::fit(model, problem.data, nn::mse_loss,
               optim::SGD(model.parameters(), {.lr = 0.1, .weight_decay = alpha}),
               {.epochs = 1500, .batch_size = 60, .progress = train::Progress::quiet});
    const auto trained = sparsity::certify(model, problem.data, nn::mse_loss, alpha, 1e-3);
    CHECK(trained.layers[0].zero == 0);  // tiny numbers, and no zeros
    const auto step = sparsity::proximal_step(model, problem.data, nn::mse_loss, alpha);
    const Eigen::MatrixXd best = problem.minimizer(alpha), found = model.weight.materialize().matrix();
    CHECK(step.zero > 0);
    CHECK(((best.array() == 0) == (found.array() == 0)).all());
    CHECK(sparsity::certify(model, problem.data, nn::mse_loss, alpha, 1e-3).holds());
    CHECK(step.objective_after <= step.objective_before);
  }
}

TEST_CASE_TEMPLATE("proximal_step: the objective of a network never grows, and masks hold", T, float,
                   double) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    for (const Groups groups : {Groups::elements, Groups::inputs, Groups::outputs}) {
      CAPTURE(seed);
      CAPTURE(groups);
      manual_seed(seed);
      nn::Sequential<T> net(nn::Linear<T>(5, 9), nn::Tanh<T>(), nn::Linear<T>(9, 2));
      sparsity::factorize(net, groups);
      auto& weight = dynamic_cast<nn::Linear<T>&>(net[0]).weight;
      weight.freeze(Mask::frozen({9, 5}, groups == Groups::outputs
                                             ? std::vector<Index>{0, 1, 2, 3, 4}
                                             : std::vector<Index>{0, 5, 10, 15, 20, 25, 30, 35, 40}));
      const Tensor<T> before = weight.materialize();
      const data::Dataset<T> data{
          normal_tensor<T>({80, 5}, seed), normal_tensor<T>({80, 2}, seed + 1), {}, {}};
      for (int times = 0; times < 3; ++times) {
        const auto step = sparsity::proximal_step(net, data, nn::mse_loss, 0.05, 100.0);
        CHECK(step.objective_after <= step.objective_before * (1 + 1e-6));
        CHECK(step.step > 1e-3);
        const auto certificate = sparsity::certify(net, data, nn::mse_loss, 0.05);
        Index zero = 0, held = 0;
        for (const auto& layer : certificate.layers) zero += layer.zero, held += layer.frozen;
        CHECK(zero == step.zero);
        CHECK(held == (groups == Groups::elements ? 9 : 1));
        CHECK(certificate.objective() == doctest::Approx(step.objective_after).epsilon(1e-5));
      }
      const Tensor<T> after = weight.materialize();
      for (Index i = 0; i < 9; ++i) {
        const Index entry = groups == Groups::outputs ? std::min<Index>(i, 4) : 5 * i;
        CHECK(after[entry] == before[entry]);
      }
    }
  }
}

TEST_CASE("proximal_step: without a step that lowers the loss, nothing has moved") {
  Rng rng(4);
  const LinearProblem problem(20, 4, 2, Groups::inputs, rng);
  auto model = problem.model(normal_tensor<double>({2, 4}).matrix());
  const AlignedArray<double> before = model.parameters().block()->values;
  double worse = 0;
  const nn::Loss<double> rising = [&](Var<double> prediction, Var<double> target) {
    return mse_loss(prediction, target) + (worse += 1);
  };
  CHECK_ERROR(sparsity::proximal_step(model, problem.data, rising, 0.1), "[proximal_step] no step above");
  CHECK(std::equal(before.data(), before.data() + before.size(), model.parameters().block()->values.data()));
}

TEST_CASE("proximal_step: bad input is refused, and nothing has moved") {
  Rng rng(3);
  const LinearProblem problem(20, 4, 2, Groups::inputs, rng);
  auto model = problem.model(normal_tensor<double>({2, 4}).matrix());
  const Tensor<double> before = model.weight.materialize();
  CHECK_ERROR(sparsity::proximal_step(model, problem.data, nn::mse_loss, -1),
              "[proximal_step] weight decay -1");
  CHECK_ERROR(sparsity::proximal_step(model, problem.data, nn::mse_loss, 0.1, 0),
              "[proximal_step] first step 0");
  CHECK(same_bits<const double, const double>(model.weight.materialize(), before));
}
