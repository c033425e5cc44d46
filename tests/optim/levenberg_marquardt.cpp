#include <taper/optim/levenberg_marquardt.hpp>

#include <Eigen/Dense>
#include <bit>
#include <cmath>
#include <cstring>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/batch_norm.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/train/evaluate.hpp>

#include "../check.hpp"
#include "small_networks.hpp"

using namespace taper;

namespace {

using Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

template <class T> std::vector<T> values_of(nn::Module<T>& model) {
  std::vector<T> result;
  const nn::Parameters<T> parameters = model.parameters();
  for (const auto& entry : parameters.entries()) {
    const View<T> value = parameters.value(entry);
    result.insert(result.end(), value.begin(), value.end());
  }
  return result;
}

/// The mean of the squares that the rows of x are missed by.
double mean_of_squares(const nn::Module<double>& net, const data::Dataset<double>& set) {
  return train::evaluate(net, data::Dataset<double>{set.x, set.x, {}, {}}, nn::mse_loss);
}

/// x with a column of ones.
MatrixXd design(const data::Dataset<double>& set) {
  MatrixXd x(set.rows(), set.x.size() / set.rows() + 1);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j + 1 < x.cols(); ++j) x(i, j) = set.x[i * (x.cols() - 1) + j];
    x(i, x.cols() - 1) = 1;
  }
  return x;
}

Vector vector_of(const std::vector<double>& values) {
  return Eigen::Map<const Vector>(values.data(), static_cast<Eigen::Index>(values.size()));
}
Vector targets_of(const data::Dataset<double>& set) {
  return Eigen::Map<const Vector>(set.y.data(), set.y.size());
}

/// The residuals of the Rosenbrock function; its parameters are what moves.
struct Rosenbrock : nn::Layer<double> {
  nn::Parameter<double> a{Shape{1, 1}}, b{Shape{1, 1}};
  Rosenbrock() { a.value()[0] = -1.2, b.value()[0] = 1; }
  void visit(nn::Visitor<double>& v) const override { v("a", a), v("b", b); }
  Var<double> forward(Var<double> x) const override {
    Tape<double>& tape = x.tape();
    const Var<double> u = x * a.bind(tape), v = x * b.bind(tape);
    return concat({10.0 * (v - square(u)), 1.0 - u}, 1);
  }
};

/// Subtracts the mean of the batch, also in evaluation.
struct Centred : nn::Layer<double> {
  nn::Linear<double> out{2, 1};
  void visit(nn::Visitor<double>& v) const override { v("out", out); }
  Var<double> forward(Var<double> x) const override { return out(x - mean(x, 0)); }
};

}  // namespace

TEST_CASE("levenberg_marquardt: least squares in a step, with and without decay") {
  const auto set = regression<double>(40, 3);
  for (const double decay : {0.0, 0.3}) {
    nn::Sequential<double> net(nn::Linear(3, 1));
    optim::LevenbergMarquardt lm(net, set, nn::mse_loss, {.weight_decay = decay, .damping = 1e-12});
    const optim::Outcome outcome = lm.minimize();
    CHECK(outcome.converged);
    CHECK(outcome.iterations <= 2);  // the second takes off what the damping left
    const MatrixXd x = design(set);
    const Vector y = targets_of(set);
    const double n = static_cast<double>(set.rows());
    const MatrixXd normal = 2 / n * x.transpose() * x + decay * MatrixXd::Identity(4, 4);
    const Vector expected = normal.ldlt().solve(2 / n * x.transpose() * y);
    CHECK((vector_of(values_of(net)) - expected).norm() < 1e-10 * expected.norm());
    const double value = (y - x * expected).squaredNorm() / n + decay / 2 * expected.squaredNorm();
    CHECK(outcome.value == doctest::Approx(value).epsilon(1e-12));
  }
}

TEST_CASE("levenberg_marquardt: the decay of a group, and weights of samples") {
  const auto set = regression<double>(40, 3);
  std::vector<double> weights;
  Rng rng(7);
  for (Index i = 0; i < set.rows(); ++i) weights.push_back(i % 5 == 0 ? 0 : rng.uniform(0.1, 3));
  nn::Sequential<double> net(nn::Linear(3, 1));
  optim::LevenbergMarquardt lm(
      net, set, nn::mse_loss,
      {.weight_decay = 0.3, .groups = {{.match = "*bias", .weight_decay = 0}}, .sample_weights = weights});
  CHECK(lm.minimize().converged);
  const MatrixXd x = design(set);
  const Vector w = vector_of(weights) / vector_of(weights).sum();
  MatrixXd normal = 2 * x.transpose() * w.asDiagonal() * x;
  for (int j = 0; j < 3; ++j) normal(j, j) += 0.3;
  const Vector expected = normal.ldlt().solve(2 * x.transpose() * (w.asDiagonal() * targets_of(set)));
  CHECK((vector_of(values_of(net)) - expected).norm() < 1e-7 * expected.norm());
}

TEST_CASE("levenberg_marquardt: Rosenbrock's valley as residuals") {
  Rosenbrock model;
  const data::Dataset<double> set{Tensor<double>({1, 1}), Tensor<double>({1, 2}), {}, {}};
  const_cast<Tensor<double>&>(set.x)[0] = 1;
  optim::LevenbergMarquardt lm(model, set, nn::mse_loss);
  const optim::Outcome outcome = lm.minimize();
  CHECK(outcome.iterations < 60);
  CHECK(outcome.value < 1e-20);
  CHECK(std::abs(model.a.value()[0] - 1) < 1e-8);
  CHECK(std::abs(model.b.value()[0] - 1) < 1e-8);
}

TEST_CASE("levenberg_marquardt: logistic regression and softmax reach the minimum of Newton's method") {
  const auto two = classes<double>(80, 3, 2);
  nn::Sequential<double> net(nn::Linear(3, 1));
  optim::LevenbergMarquardt lm(net, two, nn::bce_with_logits_loss, {.weight_decay = 0.01});
  CHECK(lm.minimize().converged);
  const MatrixXd x = design(two);
  const Vector y = targets_of(two);
  const double n = static_cast<double>(two.rows());
  Vector w = Vector::Zero(4);
  for (int k = 0; k < 50; ++k) {
    const Vector p = (1 + (-(x * w)).array().exp()).inverse().matrix();
    const MatrixXd h = x.transpose() * p.cwiseProduct((1 - p.array()).matrix()).asDiagonal() * x / n +
                       0.01 * MatrixXd::Identity(4, 4);
    w -= h.ldlt().solve(x.transpose() * (p - y) / n + 0.01 * w);
  }
  CHECK((vector_of(values_of(net)) - w).norm() < 1e-7 * w.norm());

  // The same two classes by softmax: with decay on both rows, their difference is w where the decay is half.
  nn::Sequential<double> pair(nn::Linear(3, 2));
  optim::LevenbergMarquardt softmax(pair, two, nn::cross_entropy_loss, {.weight_decay = 0.02});
  CHECK(softmax.minimize().converged);
  const std::vector<double> both = values_of(pair);  // 2 x 3, then 2
  const Vector difference{{both[3] - both[0], both[4] - both[1], both[5] - both[2], both[7] - both[6]}};
  CHECK((difference - w).norm() < 1e-7 * w.norm());
}

TEST_CASE(
    "levenberg_marquardt: frozen entries keep their bits, and the others find the minimum without them") {
  const auto set = regression<double>(60, 4);
  auto net = network<double>(4, 5, 1);
  const Mask held = Mask::frozen(Shape{5, 4}, {0, 3, 7, 8, 19});
  net.freeze("0.weight", held);
  net.prune("2.weight", Mask::frozen(Shape{1, 5}, {2}));
  const std::vector<double> before = values_of(net);
  optim::LevenbergMarquardt lm(net, set, nn::mse_loss, {.weight_decay = 1e-3});
  const optim::Outcome outcome = lm.minimize();
  CHECK(outcome.converged);
  const std::vector<double> after = values_of(net);
  for (Index i = 0; i < 20; ++i) {
    const auto k = static_cast<std::size_t>(i);
    const bool same = std::bit_cast<std::uint64_t>(before[k]) == std::bit_cast<std::uint64_t>(after[k]);
    CHECK(same == held.is_frozen(i));
  }
  CHECK(after[27] == 0);
  // Nothing is left to gain: the gradient of loss and decay is zero in the free entries.
  Tape<double> tape(Mode::evaluation);
  tape.backward(mse_loss(net(tape.constant(set.x)), tape.constant(set.y)));
  const auto& block = *net.parameters().block();
  for (const auto& entry : net.parameters().entries()) {
    for (Index i = entry.offset; i < entry.offset + entry.shape.size(); ++i) {
      if (block.frozen.data()[i] == 0) {
        CHECK(std::abs(block.gradients.data()[i] + 1e-3 * block.values.data()[i]) < 1e-7);
      }
    }
  }
  net.freeze();
  const optim::Outcome none = lm.minimize();
  CHECK(none.converged);
  CHECK(none.iterations == 0);
  CHECK(none.value == doctest::Approx(train::evaluate(net, set, nn::mse_loss)).epsilon(1e-12));
  CHECK(values_of(net) == after);
}

TEST_CASE("levenberg_marquardt: the same bits for any number of threads") {
  const auto set = regression<float>(700, 5);
  const int before = threads();
  for (const bool factorized : {false, true}) {  // by batches, and row by row
    std::vector<std::vector<float>> results;
    for (const int count : {1, 2, 3}) {
      set_threads(count);
      auto net = network<float>(5, 12, 1);
      if (factorized) sparsity::factorize(net, sparsity::Groups::inputs);
      optim::LevenbergMarquardt(net, set, nn::mse_loss,
                                {.weight_decay = 1e-5, .max_iterations = 6, .rows = 500})
          .minimize();
      results.push_back(values_of(net));
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
  }
  set_threads(before);
}

TEST_CASE("levenberg_marquardt: units of targets and inputs do not change the course") {
  const auto plain = regression<double>(100, 3);
  const auto run = [](data::Dataset<double> set, double target, double input) {
    for (double& entry : set.y) entry *= target;
    for (Index i = 0; i < set.rows(); ++i) set.x[3 * i] *= input;
    auto net = network<double>(3, 4, 1);
    net.for_parameters([&](const std::string& name, nn::Parameter<double>& parameter) {
      if (name.starts_with("2")) {
        for (double& entry : parameter.value()) entry *= target;
      }
      if (name == "0.weight") {
        for (Index k = 0; k < 4; ++k) parameter.value()[3 * k] /= input;
      }
    });
    std::vector<double> course;
    const optim::Outcome outcome =
        optim::LevenbergMarquardt(net, set, nn::mse_loss,
                                  {.max_iterations = 20,
                                   .callback =
                                       [&](const optim::LevenbergMarquardtIterate& at) {
                                         course.push_back(at.value / target / target);
                                         return true;
                                       }})
            .minimize();
    CHECK(outcome.iterations == 20);
    return course;
  };
  const std::vector<double> expected = run(plain, 1, 1);
  for (const auto& [target, input] : {std::pair{1e-8, 1.0}, {1e8, 1.0}, {1.0, 1e6}, {1e-100, 1e-6}}) {
    const std::vector<double> course = run(plain, target, input);
    for (std::size_t k = 0; k < course.size(); ++k) {
      CHECK(course[k] == doctest::Approx(expected[k]).epsilon(1e-6));
    }
  }
}

TEST_CASE_TEMPLATE("levenberg_marquardt: targets of any units from the usual start", T, double, float) {
  const auto plain = regression<T>(100, 3);
  const bool is_double = sizeof(T) == 8;
  const auto run = [&](double unit, bool relu) {
    auto set = plain;
    for (T& entry : set.y) entry = static_cast<T>(unit * static_cast<double>(entry));
    manual_seed(1);
    nn::Sequential<T> net(nn::Linear(3, 8));
    relu ? net.push_back(nn::ReLU<T>()) : net.push_back(nn::Tanh<T>());
    net.push_back(nn::Linear<T>(8, 1));
    const optim::Outcome outcome =
        optim::LevenbergMarquardt(net, set, nn::mse_loss, {.max_iterations = 60}).minimize();
    return outcome.value / unit / unit;
  };
  for (const bool relu : {false, true}) {
    const double usual = run(1, relu);
    CHECK(usual < 0.02);
    // Where the last layer starts does not matter: it is fitted first, and the course is the same.
    std::vector<double> large;
    for (const double unit : is_double ? std::vector{1e8, 1e100, 1e150} : std::vector{1e6, 1e10, 1e15}) {
      CAPTURE(unit);
      large.push_back(run(unit, relu));
      CHECK(large.back() < 1.5 * usual);
      CHECK(large.back() == doctest::Approx(large.front()).epsilon(0.1));
    }
    for (const double unit : is_double ? std::vector{1e-8, 1e-100, 1e-150} : std::vector{1e-6, 1e-15}) {
      CAPTURE(unit);
      CHECK(run(unit, relu) < 1.5 * usual);
    }
  }
}

TEST_CASE_TEMPLATE("levenberg_marquardt: an exact fit has converged, in any units", T, double, float) {
  const auto epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
  const bool is_double = sizeof(T) == 8;
  for (const double unit :
       is_double ? std::vector{1.0, 1e8, 1e-8, 1e150, 1e-100} : std::vector{1.0, 1e6, 1e-6, 1e15, 1e-15}) {
    for (const bool hidden : {false, true}) {
      CAPTURE(unit);
      CAPTURE(hidden);
      auto set = regression<T>(100, 3);
      for (Index i = 0; i < 100; ++i) {
        const T* const x = set.x.data() + 3 * i;
        set.y[i] = static_cast<T>(unit) * (T(2) * x[0] - x[1] + T(0.5));
      }
      manual_seed(1);
      nn::Sequential<T> net(nn::Linear(3, 8), nn::ReLU(), nn::Linear(8, 1));
      if (!hidden) net = nn::Sequential<T>(nn::Linear(3, 1));
      const optim::Outcome outcome =
          optim::LevenbergMarquardt(net, set, nn::mse_loss, {.max_iterations = 200}).minimize();
      CAPTURE(outcome.reason);
      CHECK(outcome.converged);
      CHECK(outcome.value / unit / unit < 1e3 * epsilon * epsilon);
    }
  }
  // All targets are 0.
  auto nothing = regression<T>(20, 3);
  for (T& entry : nothing.y) entry = 0;
  auto net = network<T>(3, 4, 1);
  CHECK(optim::LevenbergMarquardt(net, nothing, nn::mse_loss).minimize().converged);
  // One that stops short of that has not.
  auto some = regression<T>(100, 3);
  net = network<T>(3, 4, 1);
  CHECK_FALSE(optim::LevenbergMarquardt(net, some, nn::mse_loss, {.max_iterations = 5}).minimize().converged);
}

TEST_CASE("levenberg_marquardt: duplicated columns, a constant target, one row, a dead unit") {
  auto set = regression<double>(50, 3);
  for (Index i = 0; i < 50; ++i) set.x[3 * i + 2] = set.x[3 * i + 1];
  manual_seed(1);
  nn::Sequential<double> net(nn::Linear(3, 1));
  CHECK(optim::LevenbergMarquardt(net, set, nn::mse_loss).minimize().converged);
  const MatrixXd x = design(set);
  const Vector best = x.completeOrthogonalDecomposition().solve(targets_of(set));
  CHECK(train::evaluate(net, set, nn::mse_loss) ==
        doctest::Approx((targets_of(set) - x * best).squaredNorm() / 50).epsilon(1e-10));

  for (double& entry : set.y) entry = 3e5;
  const optim::Outcome constant = optim::LevenbergMarquardt(net, set, nn::mse_loss).minimize();
  CHECK(constant.value < 1e-8);

  const auto one = regression<double>(1, 3);
  auto single = network<double>(3, 4, 1);
  CHECK(optim::LevenbergMarquardt(single, one, nn::mse_loss).minimize().value < 1e-20);

  nn::Sequential<double> dead(nn::Linear(3, 2), nn::ReLU(), nn::Linear(2, 1));
  dead.for_parameters([](const std::string& name, nn::Parameter<double>& parameter) {
    if (name == "0.bias") parameter.value()[0] = -100;
  });
  const std::vector<double> before = values_of(dead);
  const auto plain = regression<double>(50, 3);
  const double start = train::evaluate(dead, plain, nn::mse_loss);
  const optim::Outcome outcome = optim::LevenbergMarquardt(dead, plain, nn::mse_loss).minimize();
  CHECK(outcome.value < start);
  CHECK(values_of(dead)[0] == before[0]);  // no curvature, no step
}

TEST_CASE("levenberg_marquardt: float ends where double does") {
  const auto set = regression<double>(200, 3);
  data::Dataset<float> narrow{Tensor<float>(set.x.shape()), Tensor<float>(set.y.shape()), {}, {}};
  std::ranges::transform(set.x, narrow.x.begin(), [](double v) { return static_cast<float>(v); });
  std::ranges::transform(set.y, narrow.y.begin(), [](double v) { return static_cast<float>(v); });
  nn::Sequential<double> wide(nn::Linear(3, 1));
  nn::Sequential<float> net(nn::Linear(3, 1));
  const auto expected = optim::LevenbergMarquardt(wide, set, nn::mse_loss).minimize();
  const auto found =
      optim::LevenbergMarquardt(net, narrow, nn::mse_loss, {.gradient_tolerance = 0}).minimize();
  CHECK(found.converged);
  CHECK(found.value == doctest::Approx(expected.value).epsilon(1e-6));
  CHECK(found.value == doctest::Approx(train::evaluate(net, narrow, nn::mse_loss)).epsilon(1e-5));
}

TEST_CASE("levenberg_marquardt: a subset of rows for the matrix leads to the same minimum") {
  const auto set = regression<double>(400, 3);
  const auto run = [&](std::uint64_t seed) {
    manual_seed(1);
    nn::Sequential<double> net(nn::Linear(3, 1));
    const auto outcome =
        optim::LevenbergMarquardt(net, set, nn::mse_loss, {.rows = 60, .seed = seed}).minimize();
    CHECK(outcome.converged);
    return std::pair(outcome, values_of(net));
  };
  nn::Sequential<double> whole(nn::Linear(3, 1));
  const auto expected = optim::LevenbergMarquardt(whole, set, nn::mse_loss).minimize();
  const auto [outcome, values] = run(1);
  CHECK(outcome.value == doctest::Approx(expected.value).epsilon(1e-10));
  CHECK(outcome.iterations > expected.iterations);
  CHECK(run(1).second == values);
}

TEST_CASE("levenberg_marquardt: factors of a weight move, and a masked gate holds") {
  const auto set = regression<double>(100, 4);
  auto net = network<double>(4, 5, 1);
  sparsity::factorize(net, sparsity::Groups::inputs);
  net.prune("0.weight.v", Mask::frozen(Shape{4}, {3}));
  const double start = train::evaluate(net, set, nn::mse_loss);
  const auto outcome =
      optim::LevenbergMarquardt(net, set, nn::mse_loss, {.weight_decay = 1e-3, .max_iterations = 30})
          .minimize();
  CHECK(train::evaluate(net, set, nn::mse_loss) < 0.5 * start);
  CHECK(outcome.value > train::evaluate(net, set, nn::mse_loss));  // with the decay of all factors
}

TEST_CASE("levenberg_marquardt: the model keeps the best step, whatever ends the run") {
  const auto set = regression<double>(100, 3);
  auto net = network<double>(3, 6, 1);
  std::vector<double> seen;
  optim::LevenbergMarquardtOptions options{.callback = [&](const optim::LevenbergMarquardtIterate& at) {
    CHECK(at.loss == doctest::Approx(train::evaluate(net, set, nn::mse_loss)).epsilon(1e-12));
    seen.push_back(at.value);
    if (seen.size() == 5) throw Error("callback", "enough");
    return true;
  }};
  optim::LevenbergMarquardt lm(net, set, nn::mse_loss, options);
  CHECK_ERROR(lm.minimize(), "[callback] enough");
  CHECK(std::ranges::is_sorted(seen, std::greater()));
  CHECK(train::evaluate(net, set, nn::mse_loss) == doctest::Approx(seen.back()).epsilon(1e-12));

  options.callback = [](const optim::LevenbergMarquardtIterate& at) { return at.iteration < 2; };
  const auto stopped = optim::LevenbergMarquardt(net, set, nn::mse_loss, options).minimize();
  CHECK(stopped.iterations == 2);
  CHECK(!stopped.converged);
  options = {.max_seconds = 0};
  CHECK(optim::LevenbergMarquardt(net, set, nn::mse_loss, options).minimize().reason ==
        "max_seconds reached");
}

TEST_CASE("levenberg_marquardt: a step to infinity is not taken") {
  // exp of a large number: a Gauss-Newton step from far below overflows.
  struct Exponential : nn::Layer<double> {
    nn::Parameter<double> a{Shape{1, 1}};
    void visit(nn::Visitor<double>& v) const override { v("a", a); }
    Var<double> forward(Var<double> x) const override { return exp(exp(x * a.bind(x.tape()))); }
  };
  Exponential model;
  model.a.value()[0] = -4;
  data::Dataset<double> set{Tensor<double>({1, 1}), Tensor<double>({1, 1}), {}, {}};
  set.x[0] = 1, set.y[0] = 15;
  const auto outcome = optim::LevenbergMarquardt(model, set, nn::mse_loss).minimize();
  CHECK(std::isfinite(model.a.value()[0]));
  CHECK(model.a.value()[0] == doctest::Approx(std::log(std::log(15.0))));
  CHECK(outcome.evaluations > outcome.iterations + 1);
}

TEST_CASE(
    "levenberg_marquardt: where a loss is so steep that it has no curvature, it does not claim a minimum") {
  nn::Sequential<double> net(nn::Linear(1, 1));
  net.for_parameters([](const std::string& name, nn::Parameter<double>& parameter) {
    parameter.value()[0] = name == "0.bias" ? 1000 : 0;
  });
  data::Dataset<double> set{Tensor<double>({2, 1}), Tensor<double>({2, 1}), {}, {}};
  const auto outcome = optim::LevenbergMarquardt(net, set, nn::bce_with_logits_loss).minimize();
  CHECK(!outcome.converged);
  CHECK(outcome.value == 1000);
}

TEST_CASE("levenberg_marquardt: batch norm keeps its running statistics") {
  const auto set = regression<double>(50, 3);
  manual_seed(1);
  nn::Sequential<double> net(nn::Linear(3, 4), nn::BatchNorm1d(4), nn::Tanh(), nn::Linear(4, 1));
  std::vector<double> before, after;
  const auto take = [&](std::vector<double>& to) {
    net.for_buffers([&](const std::string&, const nn::Buffer<double>& buffer) {
      to.insert(to.end(), buffer.value().begin(), buffer.value().end());
    });
  };
  take(before);
  const auto outcome = optim::LevenbergMarquardt(net, set, nn::mse_loss, {.max_iterations = 5}).minimize();
  take(after);
  CHECK(before == after);
  CHECK(outcome.value == doctest::Approx(train::evaluate(net, set, nn::mse_loss)).epsilon(1e-12));
}

TEST_CASE("levenberg_marquardt: it runs from the running statistics that the model has now") {
  const auto set = regression<double>(60, 3);
  const auto normed = [] {
    manual_seed(1);
    return nn::Sequential<double>(nn::Linear(3, 4), nn::BatchNorm1d(4), nn::Tanh(), nn::Linear(4, 1));
  };
  auto net = normed();
  optim::LevenbergMarquardt before(net, set, nn::mse_loss, {.max_iterations = 3});
  for (int pass = 0; pass < 5; ++pass) {
    Tape<double> tape(Mode::training);
    net(tape.constant(set.x));
    tape.update_buffers();
  }
  auto same = net;
  const optim::Outcome outcome = before.minimize();
  CHECK(outcome.value == doctest::Approx(train::evaluate(net, set, nn::mse_loss)).epsilon(1e-12));
  optim::LevenbergMarquardt(same, set, nn::mse_loss, {.max_iterations = 3}).minimize();
  CHECK(values_of(net) == values_of(same));
}

TEST_CASE("levenberg_marquardt: a column that is read and is the target, too") {
  const auto set = regression<double>(150, 3);  // more than a batch
  const auto run = [&](bool twice) {
    auto net = network<double>(3, 2, 3);
    std::vector<View<const double>> columns{set.x};
    if (twice) columns.push_back(set.x);
    const auto step = [&](Tape<double>&, std::span<const Var<double>> in) {
      return mse_loss(net(in[0]), in.back());
    };
    const optim::Outcome outcome =
        optim::LevenbergMarquardt<double>(net, columns, step, {.max_iterations = 5}).minimize();
    CHECK(outcome.value == doctest::Approx(mean_of_squares(net, set)).epsilon(1e-12));
    return values_of(net);
  };
  CHECK(run(false) == run(true));
}

TEST_CASE("levenberg_marquardt: rows without weight are not drawn for the matrix") {
  const auto set = regression<double>(300, 3);
  std::vector<double> weights(300);
  weights[7] = weights[150] = weights[299] = 1;
  nn::Sequential<double> net(nn::Linear(3, 1));
  const optim::Outcome outcome =
      optim::LevenbergMarquardt(net, set, nn::mse_loss, {.rows = 3, .sample_weights = weights}).minimize();
  CHECK(outcome.value < 1e-20);  // three rows, four parameters
}

TEST_CASE("levenberg_marquardt: columns with a step of one's own") {
  const auto set = regression<double>(50, 3);
  const Tensor<double> extra = normal_tensor<double>({50, 2}, 9);
  struct Sum : nn::Module<double> {
    nn::Linear<double> left{3, 1}, right{2, 1};
    void visit(nn::Visitor<double>& v) const override { v("left", left), v("right", right); }
    std::vector<Var<double>> record(std::span<const Var<double>> x) const override {
      return {left(x[0]) + right(x[1])};
    }
  };
  Sum model;
  optim::LevenbergMarquardt<double> lm(model, {set.x, extra, set.y},
                                       [&](Tape<double>&, std::span<const Var<double>> in) {
                                         return mse_loss(model.record(in.first(2))[0], in[2]);
                                       });
  const auto outcome = lm.minimize();
  CHECK(outcome.converged);
  MatrixXd x(50, 6);
  x.leftCols(4) = design(set);
  for (Index i = 0; i < 50; ++i) x(i, 4) = extra[2 * i], x(i, 5) = extra[2 * i + 1];
  const Vector y = targets_of(set), best = x.colPivHouseholderQr().solve(y);
  CHECK(outcome.value == doctest::Approx((y - x * best).squaredNorm() / 50).epsilon(1e-9));
}

TEST_CASE("levenberg_marquardt: what cannot be done says so") {
  const auto set = regression<double>(20, 2);
  auto net = network<double>(2, 3, 1);
  const auto with = [&](const data::Dataset<double>& data, const nn::Loss<double>& loss,
                        const optim::LevenbergMarquardtOptions& options = {}) {
    return error_text([&] { optim::LevenbergMarquardt(net, data, loss, options).minimize(); });
  };
  const auto contains = [](const std::string& text, const char* words) {
    INFO(text);
    CHECK(text.find("levenberg_marquardt") != std::string::npos);
    CHECK(text.find(words) != std::string::npos);
  };
  auto broken = set;
  broken.x[3] = std::nan("");
  contains(with(broken, nn::mse_loss), "expected a finite number");
  contains(with({Tensor<double>({0, 2}), Tensor<double>({0, 1}), {}, {}}, nn::mse_loss), "rows");
  contains(with(set, nn::mae_loss), "a loss that ends with mae_loss: expected mse_loss");
  contains(with(set, [](Var<double> p, Var<double> t) { return 2.0 * mse_loss(p, t); }),
           "a loss that ends with");
  contains(with(set, [](Var<double> p, Var<double> t) { return mse_loss(p, square(t)); }),
           "targets are computed");
  contains(with(set, [](Var<double> p,
                        Var<double> t) { return mse_loss(p, t, {.reduction = LossReduction::sum}); }),
           "reduction sum");
  contains(with(set, nn::mse_loss, {.weight_decay = -1}), "weight_decay");
  contains(with(set, nn::mse_loss, {.groups = {{.match = "nothing"}}}), "a group for 'nothing'");
  contains(with(set, nn::mse_loss, {.groups = {{.match = "*", .lr = 1}}}), "an lr");
  contains(with(set, nn::mse_loss, {.damping = 0}), "damping 0");
  contains(with(set, nn::mse_loss, {.rows = 21}), "21 rows of 20");
  contains(with(set, nn::mse_loss, {.sample_weights = {1, 2}}), "2 sample_weights for 20 rows");
  contains(with(set, nn::mse_loss, {.sample_weights = std::vector<double>(20)}), "all 0");
  contains(with(set, nn::mse_loss, {.max_iterations = -1}), "max_iterations");
  contains(with(set, nn::mse_loss, {.steps_by_matrix = 0}), "0 steps_by_matrix: expected 1 or more");
  auto signs = set;
  for (double& target : signs.y) target = target > 0 ? 1 : -1;
  contains(with(signs, nn::bce_with_logits_loss), "target -1 of bce_with_logits_loss");

  auto labels = classes<double>(20, 2, 2);
  labels.y[19] = 3;
  nn::Sequential<double> two(nn::Linear(2, 2));
  CHECK_ERROR(optim::LevenbergMarquardt(two, labels, nn::cross_entropy_loss), "label 3", "from 0 to 1");

  Centred centred;
  CHECK_ERROR(optim::LevenbergMarquardt(centred, set, nn::mse_loss), "rows that do not depend on others");

  nn::Sequential<double> huge(nn::Linear(2, 1));
  huge.for_parameters([](const std::string&, nn::Parameter<double>& parameter) {
    for (double& entry : parameter.value()) entry = 1e200;
  });
  CHECK_ERROR(optim::LevenbergMarquardt(huge, set, nn::mse_loss).minimize(), "a loss of inf", "at the start");

  optim::LevenbergMarquardt lm(net, set, nn::mse_loss);
  sparsity::factorize(net, sparsity::Groups::inputs);
  net.parameters();
  CHECK_ERROR(lm.minimize(), "laid out anew");
}
