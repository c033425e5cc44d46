#include <taper/optim/gauss_newton.hpp>

#include <Eigen/Dense>
#include <cmath>
#include <numeric>
#include <span>
#include <taper/nn/losses.hpp>
#include <taper/optim/output_loss.hpp>
#include <vector>

#include "../check.hpp"
#include "small_networks.hpp"

using namespace taper;

TEST_CASE("gauss_newton: value and gradient are those of the loss, for every loss") {
  struct Case {
    data::Dataset<double> set;
    nn::Loss<double> loss;
    Index outputs;
  };
  auto ignored = classes<double>(300, 4, 3);
  ignored.y[5] = ignored.y[299] = -100;
  std::vector<Case> cases;
  cases.push_back({regression<double>(300, 4, 2), nn::mse_loss, 2});
  cases.push_back({classes<double>(300, 4, 2), nn::bce_with_logits_loss, 1});
  cases.push_back({classes<double>(300, 4, 5), nn::cross_entropy_loss, 5});
  cases.push_back(
      {ignored,
       [](Var<double> p, Var<double> t) { return cross_entropy_loss(p, t, {.label_smoothing = 0.2}); }, 3});
  for (const Case& c : cases) {
    auto net = network<double>(4, 6, c.outputs);
    net.freeze("0.weight", Mask::frozen(Shape{6, 4}, {0, 7, 23}));
    optim::GaussNewton<double> problem(
        net, {c.set.inputs(), c.set.targets()},
        [&](Tape<double>&, std::span<const Var<double>> in) { return c.loss(net(in[0]), in[1]); }, {},
        "test");
    std::vector<double> gradient(static_cast<std::size_t>(problem.size()));
    const double value = problem.evaluate(problem.point(), gradient);
    Tape<double> tape(Mode::evaluation);
    const Var<double> loss = c.loss(net(tape.constant(c.set.x)), tape.constant(c.set.targets()));
    tape.backward(loss);
    CHECK(value == doctest::Approx(loss.item()).epsilon(1e-12));
    const auto& block = *net.parameters().block();
    CHECK(problem.size() == net.parameters().count() - 3);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      CHECK(gradient[i] == doctest::Approx(block.gradients.data()[problem.positions()[i]]).epsilon(1e-9));
    }
  }
}

TEST_CASE("gauss_newton: the matrix of a linear model is the Hessian") {
  for (const Index count : {1, 2, 4}) {
    const auto set = count == 1 ? classes<double>(30, 3, 2) : classes<double>(30, 3, count);
    const nn::Loss<double> loss =
        count == 1 ? nn::Loss<double>(nn::bce_with_logits_loss) : nn::Loss<double>(nn::cross_entropy_loss);
    manual_seed(1);
    nn::Sequential<double> net(nn::Linear(3, count));
    optim::GaussNewton<double> problem(
        net, {set.inputs(), set.targets()},
        [&](Tape<double>&, std::span<const Var<double>> in) { return loss(net(in[0]), in[1]); }, {}, "test");
    const Index n = problem.size();
    std::vector<Index> rows(30);
    std::iota(rows.begin(), rows.end(), Index{0});
    std::vector<double> x = problem.point(), matrix(static_cast<std::size_t>(n * n));
    problem.curvature(x, rows, matrix.data());
    std::vector<double> ahead(x.size()), back(x.size());
    for (Index j = 0; j < n; ++j) {
      const double at = x[static_cast<std::size_t>(j)], h = 1e-5;
      x[static_cast<std::size_t>(j)] = at + h;
      problem.evaluate(x, ahead);
      x[static_cast<std::size_t>(j)] = at - h;
      problem.evaluate(x, back);
      x[static_cast<std::size_t>(j)] = at;
      for (Index i = j; i < n; ++i) {
        const double expected =
            (ahead[static_cast<std::size_t>(i)] - back[static_cast<std::size_t>(i)]) / (2 * h);
        CHECK(std::abs(matrix[static_cast<std::size_t>(i * n + j)] - expected) < 1e-8);
      }
    }
  }
}

TEST_CASE("gauss_newton: the matrix is the same by batches and by rows, with every activation") {
  /// Fused activations of all kinds; with `scaled`, the output times a parameter, which no affine operation
  /// has.
  struct Model : nn::Layer<double> {
    nn::Linear<double> a{4, 5}, b{5, 6}, c{6, 3}, d{3, 3, false};
    nn::Parameter<double> scale{Shape{3}};
    bool scaled = false;
    Model() { std::ranges::fill(scale.value(), 1.0); }
    void visit(nn::Visitor<double>& v) const override {
      v("a", a), v("b", b), v("c", c), v("d", d), v("scale", scale);
    }
    Var<double> forward(Var<double> x) const override {
      Tape<double>& tape = x.tape();
      const Var<double> u = affine(x, a.weight.bind(tape), a.bias->bind(tape), Activation::tanh);
      const Var<double> v = affine(u, b.weight.bind(tape), b.bias->bind(tape), Activation::relu);
      const Var<double> y = d(affine(v, c.weight.bind(tape), c.bias->bind(tape), Activation::sigmoid) + 0.5);
      return scaled ? y * scale.bind(tape) : y;
    }
  };
  const auto set = classes<double>(300, 4, 3);
  manual_seed(3);
  Model model;
  model.freeze("scale");
  model.freeze("b.weight", Mask::frozen(Shape{6, 5}, {0, 7, 8, 29}));
  const auto matrix = [&](bool scaled) {
    model.scaled = scaled;
    optim::GaussNewton<double> problem(
        model, {set.inputs(), set.targets()},
        [&](Tape<double>&, std::span<const Var<double>> in) {
          return cross_entropy_loss(model(in[0]), in[1]);
        },
        {}, "test");
    std::vector<Index> rows(200);
    std::iota(rows.begin(), rows.end(), Index{50});
    std::vector<double> result(static_cast<std::size_t>(problem.size() * problem.size()));
    problem.curvature(problem.point(), rows, result.data());
    return result;
  };
  const std::vector<double> by_batch = matrix(false), by_row = matrix(true);
  REQUIRE(by_batch.size() == by_row.size());
  const double most = std::ranges::max(by_row);
  for (std::size_t i = 0; i < by_row.size(); ++i) CHECK(std::abs(by_batch[i] - by_row[i]) < 1e-14 * most);
}

TEST_CASE("output_loss: the factor of softmax, also where probabilities are 0") {
  const auto check = [](std::vector<double> outputs) {
    Tape<double> tape;
    const Index n = static_cast<Index>(outputs.size());
    const Var<double> loss =
        cross_entropy_loss(tape.constant(View<const double>(outputs.data(), Shape{1, n})),
                           tape.constant(Tensor<double>({1, 1})));
    const optim::OutputLoss of(tape.nodes()[static_cast<std::size_t>(loss.index())], n, "test");
    std::vector<double> factor(static_cast<std::size_t>(of.rank() * n));
    of.curvature(outputs, 2, factor);
    const double most = *std::ranges::max_element(outputs);
    Eigen::VectorXd p = Eigen::Map<const Eigen::VectorXd>(outputs.data(), n).array() - most;
    p = p.array().exp();
    p /= p.sum();
    const Eigen::MatrixXd expected = 2 * (Eigen::MatrixXd(p.asDiagonal()) - p * p.transpose());
    const Eigen::Map<const Eigen::Matrix<double, -1, -1, Eigen::RowMajor>> s(factor.data(), of.rank(), n);
    CHECK((s.transpose() * s - expected).norm() <= 1e-15 * (1 + expected.norm()));
  };
  check({0.3, -1, 2, 0.5});
  check({0, 0});
  check({1000, 0, -1000, 999});
  check({-1000, 0, 1000});
  check({1000, 0, -1000});
  check({-30, 30, -40, 20});
  check({0.5});
}
