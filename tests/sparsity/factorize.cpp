#include <taper/sparsity/factorize.hpp>

#include <cmath>

#include <taper/autodiff/random.hpp>
#include <taper/nn/activations.hpp>
#include <taper/nn/linear.hpp>
#include <taper/nn/sequential.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/train/fit.hpp>
#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Groups;

namespace {

constexpr Groups all_groups[] = {Groups::elements, Groups::inputs, Groups::outputs};

nn::Sequential<double> network() {
  return nn::Sequential<double>(nn::Linear<double>(5, 7), nn::Tanh<double>(), nn::Linear<double>(7, 3));
}

void set_matrix(nn::Parameter<double>& parameter, const Eigen::MatrixXd& to) {
  parameter.value().matrix() = to;
}

double norms(const Eigen::MatrixXd& w, Groups groups) {
  if (groups == Groups::elements) return w.cwiseAbs().sum();
  return groups == Groups::inputs ? w.colwise().norm().sum() : w.rowwise().norm().sum();
}

/// The weights that 1/2 ||w - a||^2 with decay alpha on the factors of w leads to, w being one column.
Eigen::VectorXd minimize(const Eigen::VectorXd& a, double alpha, Groups groups) {
  nn::Linear<double> model(1, a.size(), false);
  set_matrix(model.weight, 0.5 * Eigen::VectorXd::Ones(a.size()));
  sparsity::factorize(model, groups);
  data::Dataset<double> set{Tensor<double>({1, 1}, {1}), Tensor<double>({1, a.size()}), {}, {}};
  set.y.vector() = a;
  const auto half_square = [&](Var<double> w, Var<double> target) {
    return mse_loss(w, target) * (static_cast<double>(a.size()) / 2);
  };
  train::fit(model, set, half_square, optim::SGD(model.parameters(), {.lr = 0.1, .weight_decay = alpha}),
             {.epochs = 4000, .batch_size = 1, .progress = train::Progress::quiet});
  sparsity::collapse(model);
  return model.weight.value().vector();
}

}  // namespace

TEST_CASE("factorize and collapse leave the outputs as they are") {
  const auto x = normal_tensor<double>({20, 5});
  for (const Groups groups : all_groups) {
    CAPTURE(static_cast<int>(groups));
    auto net = network();
    const auto before = train::predict(net, x);
    const Index count = net.parameters().count();
    CHECK(sparsity::factorize(net, groups) == 2);
    CHECK((train::predict(net, x).vector() - before.vector()).norm() < 1e-13);
    const Index gates = groups == Groups::elements ? 35 + 21 : groups == Groups::inputs ? 5 + 7 : 7 + 3;
    CHECK(net.parameters().count() == count + gates);

    // After the factors have moved, collapse keeps what they compute.
    const auto parameters = net.parameters();
    for (const auto& entry : parameters.entries()) parameters.value(entry).vector().array() *= 1.1;
    const auto moved = train::predict(net, x);
    sparsity::collapse(net);
    CHECK((train::predict(net, x).vector() - moved.vector()).norm() < 1e-13);
    CHECK(net.parameters().count() == count);
    sparsity::collapse(net);  // nothing left to do
    CHECK(sparsity::factorize(net, groups) == 2);
  }
}

TEST_CASE("effective_penalty: decay is at least the induced penalty, which balance reaches") {
  const double alpha = 0.3;
  for (const Groups groups : all_groups) {
    CAPTURE(static_cast<int>(groups));
    nn::Linear<double> model(4, 3);
    const Eigen::MatrixXd w = normal_tensor<double>({3, 4}).matrix();
    set_matrix(model.weight, w);
    CHECK(sparsity::effective_penalty(model, alpha).decay == 0);
    sparsity::factorize(model, groups);
    auto& u = model.weight.factors()[0];
    auto& v = model.weight.factors()[1];

    auto penalty = sparsity::effective_penalty(model, alpha);
    CHECK(penalty.induced == doctest::Approx(alpha * norms(w, groups)).epsilon(1e-13));
    CHECK(penalty.decay ==
          doctest::Approx(alpha / 2 * (w.squaredNorm() + static_cast<double>(v.shape().size())))
              .epsilon(1e-13));
    CHECK(penalty.decay >= penalty.induced);

    // Balanced: ||u|| = |v| in each group.
    Eigen::MatrixXd gates = w.cwiseAbs().cwiseSqrt();
    if (groups == Groups::inputs) gates = w.colwise().norm().cwiseSqrt();
    if (groups == Groups::outputs) gates = w.rowwise().norm().cwiseSqrt();
    u.value().matrix() = w.cwiseQuotient(gates.replicate(3 / gates.rows(), 4 / gates.cols()));
    for (Index i = 0; i < gates.size(); ++i) v.value()[i] = gates(i / gates.cols(), i % gates.cols());
    penalty = sparsity::effective_penalty(model, alpha);
    CHECK(penalty.induced == doctest::Approx(alpha * norms(w, groups)).epsilon(1e-13));
    CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-13));

    for (const double factor : {0.1, 0.9, 1.3, -5.0}) {  // the same weight from other factors
      CAPTURE(factor);
      u.value().vector() *= factor;
      v.value().vector() /= factor;
      const auto other = sparsity::effective_penalty(model, alpha);
      CHECK(other.induced == doctest::Approx(penalty.induced).epsilon(1e-12));
      CHECK(other.decay >= other.induced * (1 - 1e-12));
    }
  }
}

TEST_CASE("factorize: decay on the factors leads to the soft threshold") {
  const auto one = [](double a, double alpha) {
    return minimize(Eigen::VectorXd::Constant(1, a), alpha, Groups::elements)(0);
  };
  CHECK(one(1, 0.3) == doctest::Approx(0.7).epsilon(1e-8));
  CHECK(one(-1, 0.3) == doctest::Approx(-0.7).epsilon(1e-8));
  CHECK(std::abs(one(0.2, 0.3)) < 1e-8);

  const Eigen::VectorXd separate = minimize(Eigen::Vector3d(1, -0.5, 0.2), 0.3, Groups::elements);
  CHECK((separate - Eigen::Vector3d(0.7, -0.2, 0)).norm() < 1e-6);
}

TEST_CASE("factorize: decay on shared gates leads to the group soft threshold") {
  const Eigen::Vector2d a(0.6, -0.8);
  CHECK((minimize(a, 0.3, Groups::inputs) - 0.7 * a).norm() < 1e-8);
  CHECK(minimize(0.2 * a, 0.3, Groups::inputs).norm() < 1e-8);
  // One column: each row is an entry of its own.
  CHECK((minimize(a, 0.3, Groups::outputs) - Eigen::Vector2d(0.3, -0.5)).norm() < 1e-8);
}

TEST_CASE("factorize: patterns and errors") {
  auto net = network();
  CHECK_ERROR(sparsity::factorize(net, Groups::elements, "gamma"), "factorize", "'gamma'", "0.weight",
              "2.bias");
  CHECK(sparsity::factorize(net, Groups::elements, "2.*") == 2);
  CHECK(dynamic_cast<nn::Linear<double>&>(net[0]).weight.parametrization() == nullptr);
  CHECK_ERROR(sparsity::factorize(net, Groups::elements, "2.weight"), "factorize", "'2.weight'", "already");
  CHECK(sparsity::factorize(net, Groups::inputs, "0.weight") == 1);
}
