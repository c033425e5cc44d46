#include <taper/sparsity/certify.hpp>

#include <cmath>
#include <sstream>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/exact.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/proximal.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "linear_problems.hpp"

using namespace taper;
using sparsity::Groups;
using sparsity::LayerCertificate;
using sparsity::NetworkCertificate;

namespace {

/// A network with some groups at zero, some of them by their gates alone.
nn::Sequential<double> partly_zero_network(Groups groups, std::uint64_t seed) {
  manual_seed(seed);
  nn::Sequential<double> net(nn::Linear<double>(5, 7), nn::Tanh<double>(), nn::Linear<double>(7, 3));
  sparsity::factorize(net, groups);
  Rng rng(seed);
  net.for_parameters([&](const std::string&, nn::Parameter<double>& parameter) {
    if (parameter.factors().empty()) return;
    for (double& gate : parameter.factors()[1].value()) {
      gate = rng.uniform() < 0.4 ? 0 : rng.uniform(-2, 2);
    }
  });
  return net;
}

data::Dataset<double> regression_data(Index rows, Index inputs, Index outputs) {
  return {normal_tensor<double>({rows, inputs}, 5), normal_tensor<double>({rows, outputs}, 6), {}, {}};
}

}  // namespace

TEST_CASE("certify: a true optimum is never reported, and every perturbation of it is") {
  Rng rng(1);
  for (int trial = 0; trial < 60; ++trial) {
    const Groups groups = trial % 3 == 0   ? Groups::elements
                          : trial % 3 == 1 ? Groups::inputs
                                           : Groups::outputs;
    const LinearProblem problem(30, 6, 3, groups, rng);
    const double alpha = rng.uniform(0.05, 0.4);
    const Eigen::MatrixXd best = problem.minimizer(alpha);
    CAPTURE(trial);
    CAPTURE(alpha);
    const auto certified = [&](const Eigen::MatrixXd& w) {
      auto model = problem.model(w);
      return sparsity::certify(model, problem.data, nn::mse_loss, alpha, 1e-3);
    };
    const NetworkCertificate certificate = certified(best);
    CHECK(certificate.holds());
    CHECK(certificate.objective() == doctest::Approx(problem.objective(best, alpha)).epsilon(1e-12));
    const LayerCertificate& layer = certificate.layers.at(0);
    CHECK(layer.zero + layer.nonzero == problem.group_count());
    CHECK(layer.frozen == 0);

    for (int times = 0; times < 10; ++times) {
      Eigen::MatrixXd moved = best;
      double& entry = moved(rng.below(3), rng.below(6));
      const double before = entry;
      // Zeros are flipped, others shifted or set to zero.
      entry = before == 0           ? rng.uniform(0.05, 0.5)
              : rng.uniform() < 0.5 ? 0
                                    : before + rng.uniform(0.05, 0.5);
      if (rng.uniform() < 0.5 && before == 0) entry = -entry;
      CHECK_FALSE(certified(moved).holds());
    }
  }
}

TEST_CASE("certify: the conditions of a network are those of its collapsed copy") {
  const auto data = regression_data(2500, 5, 3);  // more than one batch
  for (const Groups groups : {Groups::elements, Groups::inputs, Groups::outputs}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      CAPTURE(seed);
      CAPTURE(groups);
      const double alpha = 0.02;
      auto net = partly_zero_network(groups, seed);
      const NetworkCertificate certificate = sparsity::certify(net, data, nn::mse_loss, alpha, 0.5);
      CHECK(certificate.penalty == sparsity::effective_penalty(net, alpha).induced);

      auto plain = net;
      sparsity::collapse(plain);
      Tape<double> tape;
      const auto loss = mse_loss(plain(tape.constant(data.x)), tape.constant(data.y));
      tape.backward(loss);
      CHECK(certificate.loss == doctest::Approx(loss.item()).epsilon(1e-13));
      std::size_t k = 0;
      plain.for_parameters([&](const std::string& name, nn::Parameter<double>& parameter) {
        if (!name.ends_with("weight")) return;
        const LayerCertificate& layer = certificate.layers.at(k++);
        CHECK(layer.name == name);
        const Eigen::MatrixXd w = parameter.value().matrix(), g = parameter.gradient().matrix();
        LayerCertificate expected;
        const auto visit = [&](const Eigen::MatrixXd& weight, const Eigen::MatrixXd& gradient) {
          if (weight.norm() == 0) {
            ++expected.zero;
            const double violation = gradient.norm() / alpha - 1;
            expected.violated_zero += violation > 0.5;
            expected.worst_zero = std::max(expected.worst_zero, violation);
          } else {
            ++expected.nonzero;
            const double violation = (gradient + alpha * weight / weight.norm()).norm() / alpha;
            expected.violated_nonzero += violation > 0.5;
            expected.worst_nonzero = std::max(expected.worst_nonzero, violation);
          }
        };
        if (groups == Groups::inputs) {
          for (Index j = 0; j < w.cols(); ++j) visit(w.col(j), g.col(j));
        } else if (groups == Groups::outputs) {
          for (Index i = 0; i < w.rows(); ++i) visit(w.row(i), g.row(i));
        } else {
          for (Index i = 0; i < w.size(); ++i) {
            visit(w.reshaped().segment(i, 1), g.reshaped().segment(i, 1));
          }
        }
        CHECK(layer.zero == expected.zero);
        CHECK(layer.nonzero == expected.nonzero);
        CHECK(layer.violated_zero == expected.violated_zero);
        CHECK(layer.violated_nonzero == expected.violated_nonzero);
        CHECK(layer.worst_zero == doctest::Approx(expected.worst_zero).epsilon(1e-9));
        CHECK(layer.worst_nonzero == doctest::Approx(expected.worst_nonzero).epsilon(1e-9));
        CHECK(static_cast<Index>(layer.revivable.size()) == layer.violated_zero);
      });
      CHECK(k == 2);
    }
  }
}

TEST_CASE("certify: weights of groups weigh, and deep products are judged where that means something") {
  Rng rng(11);
  const double alpha = 0.1;
  for (const Index depth : {2, 3, 4}) {
    CAPTURE(depth);
    const LinearProblem problem(30, 6, 3, Groups::inputs, rng);
    nn::Linear<double> model(6, 3, false);
    std::vector<double> weights;
    for (int g = 0; g < 6; ++g) weights.push_back(rng.uniform(0.5, 3));
    sparsity::factorize(model, Groups::inputs, {.depth = depth, .weights = weights});
    model.weight.factors()[1].value()[2] = 0;
    const auto certificate = sparsity::certify(model, problem.data, nn::mse_loss, alpha, 0.5);
    const Eigen::MatrixXd w = model.weight.materialize().matrix();
    const Eigen::MatrixXd gradient =
        2.0 / 90 * (w * problem.x.transpose() - problem.y.transpose()) * problem.x;
    double worst = 0;
    for (Index g = 0; g < 6; ++g) {
      if (g == 2) continue;
      // The derivative of D alpha / 2 * weight * ||w||^(2/D) in the direction of w.
      const double norm = w.col(g).norm(), d = static_cast<double>(depth);
      const double slope = alpha * weights[static_cast<std::size_t>(g)] * std::pow(norm, 2 / d - 1);
      worst = std::max(worst, (gradient.col(g) + slope * w.col(g) / norm).norm() / slope);
    }
    const LayerCertificate& layer = certificate.layers.at(0);
    CHECK(layer.depth == depth);
    CHECK(layer.zero == 1);
    CHECK(layer.nonzero == 5);
    CHECK(layer.worst_nonzero == doctest::Approx(worst).epsilon(1e-10));
    CHECK(certificate.certifiable() == (depth == 2));
    std::ostringstream out;
    out << certificate;
    if (depth == 2) {
      CHECK(layer.worst_zero ==
            doctest::Approx(gradient.col(2).norm() / (alpha * weights[2]) - 1).epsilon(1e-10));
    } else {
      CHECK_FALSE(certificate.holds());
      CHECK(layer.revivable.empty());
      CHECK(out.str().find("cannot be certified") != std::string::npos);
      CHECK_ERROR(sparsity::revive(model, problem.data, nn::mse_loss, alpha), "[revive] 'weight' of ",
                  "expected 2");
      CHECK_ERROR(sparsity::proximal_step(model, problem.data, nn::mse_loss, alpha), "[proximal_step]",
                  "expected 2");
    }
  }
}

TEST_CASE("proximal_step: with weights of groups it ends at the weighted formula, balanced") {
  Rng rng(12);
  const LinearProblem problem(30, 6, 3, Groups::inputs, rng);
  nn::Linear<double> model(6, 3, false);
  const std::vector<double> weights{1, 2, 0.5, 3, 1, 4};
  sparsity::factorize(model, Groups::inputs, {.weights = weights});
  const Eigen::MatrixXd w = model.weight.materialize().matrix();
  const auto step = sparsity::proximal_step(model, problem.data, nn::mse_loss, 0.1);
  const Eigen::MatrixXd gradient = 2.0 / 90 * (w * problem.x.transpose() - problem.y.transpose()) * problem.x;
  Eigen::MatrixXd z = w - step.step * gradient;
  for (Index g = 0; g < 6; ++g) {
    z.col(g) *= std::max(0.0, 1 - step.step * 0.1 * weights[static_cast<std::size_t>(g)] / z.col(g).norm());
  }
  CHECK((model.weight.materialize().matrix() - z).norm() < 1e-12);
  const auto penalty = sparsity::effective_penalty(model, 0.1);
  CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-12));
}

TEST_CASE("certify: float agrees with double") {
  const auto data = regression_data(300, 5, 3);
  data::Dataset<float> small{Tensor<float>({300, 5}), Tensor<float>({300, 3}), {}, {}};
  small.x.vector() = data.x.vector().cast<float>();
  small.y.vector() = data.y.vector().cast<float>();
  nn::Linear<double> model(5, 3);
  nn::Linear<float> same(5, 3);
  same.weight.value().vector() = model.weight.value().vector().cast<float>();
  same.bias->value().vector() = model.bias->value().vector().cast<float>();
  sparsity::factorize(model, Groups::inputs);
  sparsity::factorize(same, Groups::inputs);
  const auto a = sparsity::certify(model, data, nn::mse_loss, 0.1);
  const auto b = sparsity::certify(same, small, nn::mse_loss, 0.1);
  CHECK(b.worst() == doctest::Approx(a.worst()).epsilon(1e-4));
  CHECK(b.objective() == doctest::Approx(a.objective()).epsilon(1e-5));
}

TEST_CASE("certify: what masks hold is not tested, what is pruned is no part of a group") {
  const auto data = regression_data(100, 5, 3);
  auto net = partly_zero_network(Groups::inputs, 3);
  auto& weight = dynamic_cast<nn::Linear<double>&>(net[0]).weight;
  const auto layer = [&] { return sparsity::certify(net, data, nn::mse_loss, 0.02).layers.at(0); };
  const Index all = layer().zero + layer().nonzero;
  CHECK(all == 5);
  weight.factors()[1].value()[1] = 1;
  weight.factors()[1].freeze(Mask::frozen({5}, {1}));
  CHECK(layer().frozen == 1);
  weight.factors()[1].thaw();
  CHECK(layer().frozen == 0);

  // One entry of column 1 is pruned: the conditions are those of the others.
  weight.prune(Mask::frozen({7, 5}, {1}));
  CHECK(layer().frozen == 0);
  const auto before = layer();
  const Tensor<double> w = weight.materialize();
  CHECK(w.matrix()(0, 1) == 0);
  CHECK(w.matrix().col(1).norm() > 0);
  weight.prune(Mask::frozen({7, 5}, {1, 6, 11, 16, 21, 26, 31}));  // the whole column
  CHECK(layer().frozen == 1);
  CHECK(layer().zero + layer().nonzero == 4);
  CHECK(before.zero + before.nonzero == 5);
}

TEST_CASE("certify and revive: pruned entries are left out of their group's conditions, and stay") {
  Rng rng(21);
  const double alpha = 0.02;
  const LinearProblem problem(40, 6, 3, Groups::inputs, rng);
  for (const double gate : {0.0, 0.7}) {
    CAPTURE(gate);
    nn::Linear<double> model(6, 3, false);
    sparsity::factorize(model, Groups::inputs);
    model.weight.prune(Mask::frozen({3, 6}, {0}));  // row 0 of column 0
    model.weight.factors()[1].value()[0] = gate;
    const auto judge = [&] {
      const Eigen::MatrixXd w = model.weight.materialize().matrix();
      const Eigen::MatrixXd g = 2.0 / 120 * (w * problem.x.transpose() - problem.y.transpose()) * problem.x;
      double worst_zero = -1, worst_nonzero = 0;
      for (Index j = 0; j < 6; ++j) {
        const Index first = j == 0 ? 1 : 0;
        const Eigen::VectorXd column = w.col(j).tail(3 - first), slope = g.col(j).tail(3 - first);
        if (column.norm() == 0) {
          worst_zero = std::max(worst_zero, slope.norm() / alpha - 1);
        } else {
          worst_nonzero = std::max(worst_nonzero, (slope + alpha * column / column.norm()).norm() / alpha);
        }
      }
      const auto layer = sparsity::certify(model, problem.data, nn::mse_loss, alpha).layers.at(0);
      CHECK(layer.frozen == 0);
      CHECK(layer.worst_zero == doctest::Approx(worst_zero).epsilon(1e-10));
      CHECK(layer.worst_nonzero == doctest::Approx(worst_nonzero).epsilon(1e-10));
    };
    judge();
    CHECK(sparsity::revive(model, problem.data, nn::mse_loss, alpha) == (gate == 0 ? 1 : 0));
    CHECK(model.weight.materialize().matrix()(0, 0) == 0);
    judge();
  }
}

TEST_CASE("revive: what a gate of zero hid does not come back") {
  data::Dataset<double> data = regression_data(40, 3, 1);
  for (Index i = 0; i < 40; ++i) data.x[3 * i] = 0, data.y[i] += data.x[3 * i + 1];
  nn::Linear<double> model(3, 1, false);
  sparsity::factorize(model, Groups::outputs);
  model.weight.factors()[0].value()[0] = 50;  // of the column that is always zero
  model.weight.factors()[1].value()[0] = 0;
  const double before = sparsity::certify(model, data, nn::mse_loss, 0.02).objective();
  CHECK(sparsity::revive(model, data, nn::mse_loss, 0.02) == 1);
  CHECK(model.weight.materialize()[0] == 0);
  CHECK(sparsity::certify(model, data, nn::mse_loss, 0.02).objective() < before);
}

TEST_CASE("certify: tiny weights are not zeros, unused ones have no gradient, and the rest is told") {
  const auto data = regression_data(50, 5, 3);
  nn::Linear<double> tiny(5, 3);
  sparsity::factorize(tiny, Groups::elements);
  for (auto& factor : tiny.weight.factors()) factor.value().vector().setConstant(1e-85);
  CHECK(sparsity::certify(tiny, data, nn::mse_loss, 0.1).layers.at(0).nonzero == 15);

  struct TwoHeads : nn::Layer<double> {
    nn::Linear<double> used{5, 3}, unused{5, 2};
    void visit(nn::Visitor<double>& m) const override { m("used", used), m("unused", unused); }
    Var<double> forward(Var<double> x) const override {
      unused(x);
      return used(x);
    }
  } heads;
  sparsity::factorize(heads, Groups::inputs);
  const auto certificate = sparsity::certify(heads, data, nn::mse_loss, 0.1);
  CHECK(certificate.layers.at(1).worst_nonzero == doctest::Approx(1));  // the penalty's slope alone
  Tape<double> tape;
  tape.backward(mse_loss(heads(tape.constant(data.x)), tape.constant(data.y)));
  CHECK(certificate.rest == doctest::Approx(heads.used.bias->gradient().vector().norm()).epsilon(1e-12));
  heads.freeze();
  const auto held = sparsity::certify(heads, data, nn::mse_loss, 0.1);
  CHECK(held.tested() == 0);
  CHECK(held.rest == 0);
  CHECK_FALSE(held.holds());
}

TEST_CASE("revive: violated zeros get factors with which the objective falls, and can leave") {
  Rng rng(7);
  for (const Groups groups : {Groups::elements, Groups::inputs, Groups::outputs}) {
    CAPTURE(groups);
    const LinearProblem problem(40, 6, 3, groups, rng);
    const double alpha = 0.02;
    auto model = problem.model(Eigen::MatrixXd::Zero(3, 6));
    const auto before = sparsity::certify(model, problem.data, nn::mse_loss, alpha);
    REQUIRE(before.layers.at(0).violated_zero > 0);

    // At (0, 0) training does not move it.
    const train::FitOptions<double> fit{.epochs = 300, .batch_size = 40, .progress = train::Progress::quiet};
    train::fit(model, problem.data, nn::mse_loss,
               optim::SGD(model.parameters(), {.lr = 0.2, .weight_decay = alpha}), fit);
    CHECK(model.weight.materialize().vector().norm() == 0);

    CHECK(sparsity::revive(model, problem.data, nn::mse_loss, alpha) == before.layers[0].violated_zero);
    const auto after = sparsity::certify(model, problem.data, nn::mse_loss, alpha);
    CHECK(after.layers[0].nonzero == before.layers[0].violated_zero);
    CHECK(after.objective() < before.objective());
    train::fit(model, problem.data, nn::mse_loss,
               optim::SGD(model.parameters(), {.lr = 0.2, .weight_decay = alpha}), fit);
    const auto trained = sparsity::certify(model, problem.data, nn::mse_loss, alpha);
    const double best = problem.objective(problem.minimizer(alpha), alpha);
    CHECK(trained.objective() < best + 0.01 * (before.objective() - best));
  }
}

TEST_CASE("certify: a table of a line for each layer, and what it proves") {
  const auto data = regression_data(50, 5, 3);
  auto net = partly_zero_network(Groups::inputs, 1);
  std::ostringstream out;
  out << sparsity::certify(net, data, nn::mse_loss, 0.02);
  const std::string text = out.str();
  CHECK(text.find("0.weight") != std::string::npos);
  CHECK(text.find("2.weight") != std::string::npos);
  CHECK(text.find("not certified: ") != std::string::npos);
}

TEST_CASE("certify and revive: bad input is refused with a reason") {
  const auto data = regression_data(20, 5, 3);
  auto net = partly_zero_network(Groups::inputs, 1);
  CHECK_ERROR(sparsity::certify(net, data, nn::mse_loss, 0), "[certify] weight decay 0", "above 0");
  CHECK_ERROR(sparsity::certify(net, data, nn::mse_loss, 0.1, -1), "[certify] tolerance -1");
  CHECK_ERROR(sparsity::revive(net, data, nn::mse_loss, 0.1, 0.1, 0), "[revive] size 0");
  CHECK_ERROR(sparsity::certify(net, regression_data(20, 4, 3), nn::mse_loss, 0.1), "affine");
  nn::Linear<double> plain(5, 3);
  CHECK_ERROR(sparsity::certify(plain, data, nn::mse_loss, 0.1), "[certify] a model without factorized");
  plain.weight.value()[0] = HUGE_VAL;
  sparsity::factorize(plain, Groups::inputs);
  CHECK_ERROR(sparsity::certify(plain, data, nn::mse_loss, 0.1), "not finite");
}

TEST_CASE("certify: a vector of targets is a column") {
  Rng rng(4);
  data::Dataset<double> column{
      random_tensor<double>(rng, {20, 3}), random_tensor<double>(rng, {20, 1}), {}, {}};
  data::Dataset<double> vector = column;
  vector.y = Tensor<double>(View<const double>(column.y.data(), Shape{20}));
  nn::Sequential<double> net(nn::Linear<double>(3, 1));
  sparsity::factorize(net, sparsity::Groups::inputs);
  const nn::Loss<double> own = [](Var<double> prediction, Var<double> target) {
    return mean(square(prediction - target));
  };
  CHECK(sparsity::certify(net, vector, own, 0.1).loss ==
        sparsity::certify(net, column, nn::mse_loss, 0.1).loss);
}
