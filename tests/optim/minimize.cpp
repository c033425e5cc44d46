#include <taper/optim/minimize.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include <Eigen/Cholesky>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/losses.hpp>

#include "../check.hpp"
#include "../nn/random_mask.hpp"
#include "problems.hpp"

using namespace taper;
using Eigen::Matrix2d;
using Eigen::MatrixXd;
using Eigen::MatrixXf;
using Eigen::Vector2d;
using Eigen::Vector4d;
using Eigen::VectorXd;
using Eigen::VectorXf;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// sum (x - 3)^2, in the three forms.
double squares(const Vector4d& x) {
  return (x.array() - 3).square().sum();
}
double squares_and_gradient(const Vector4d& x, Vector4d& gradient) {
  gradient = 2 * (x.array() - 3);
  return squares(x);
}
Var<double> squares_on_tape(Var<double> x) {
  return sum(square(x - 3.0));
}

const Vector4d x0(1, 2, 4, 5);
const Mask some = Mask::free({true, false, true, false});

template <class X> bool same_entries(const X& a, const X& b) {
  return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0;
}

/// 1/2 x'Ax - b'x with a random positive definite A.
struct Quadratic {
  explicit Quadratic(Index n, std::uint64_t seed) : a(n, n), b(n) {
    Rng rng(seed);
    for (double& entry : a.reshaped()) entry = rng.normal();
    for (double& entry : b) entry = rng.normal();
    a = (a * a.transpose() / static_cast<double>(n) + 0.1 * MatrixXd::Identity(n, n)).eval();
  }
  double operator()(const VectorXd& x, VectorXd& gradient) const {
    gradient = a * x - b;
    return 0.5 * x.dot(a * x) - b.dot(x);
  }
  MatrixXd a;
  VectorXd b;
};

/// The same function of the free entries only, the others being constants.
template <class F> auto restricted(const F& f, const VectorXd& fixed, const Mask& mask) {
  return [&f, fixed = VectorXd(fixed), free = mask.free_positions()](const VectorXd& x,
                                                                     VectorXd& gradient) mutable {
    for (std::size_t i = 0; i < free.size(); ++i) fixed(free[i]) = x(static_cast<Index>(i));
    VectorXd whole(fixed.size());
    const double value = f(fixed, whole);
    gradient = whole(free);
    return value;
  };
}

const std::vector<optim::Method> methods{optim::LBFGS{}, optim::LBFGSB{.lower = {-1e6}, .upper = {1e6}},
                                         optim::SGDOptions{.lr = 0.1, .momentum = 0.5},
                                         optim::AdamOptions{.lr = 0.05}};

}  // namespace

TEST_CASE("minimize: the masked quadratic, in every form and by every method") {
  const auto check = [](const auto& result) {
    INFO(result);
    CHECK(result.converged);
    CHECK((result.x - Vector4d(3, 2, 3, 5)).cwiseAbs().maxCoeff() < 1e-6);
    CHECK(result.x(1) == 2);
    CHECK(result.x(3) == 5);
    CHECK(result.gradient(1) == 0);
    CHECK(result.value == doctest::Approx(5).epsilon(1e-9));
  };
  for (const optim::Method& method : methods) {
    const optim::MinimizeOptions options{.method = method, .mask = some, .gradient_tolerance = 1e-7};
    check(optim::minimize(squares, x0, options));
    check(optim::minimize(squares_and_gradient, x0, options));
    check(optim::minimize(squares_on_tape, x0, options));
  }
  const auto free = optim::minimize(squares_and_gradient, x0);
  CHECK((free.x - Vector4d::Constant(3)).norm() < 1e-12);
}

TEST_CASE("minimize: L-BFGS on problems of More, Garbow and Hillstrom") {
  // Evaluations of SciPy 1.10.1 and liblbfgs 1.10, the fewer of the two: bench/lbfgs_peers.py.
  const std::map<std::string, Index> peers{
      {"Rosenbrock", 46}, {"extended Rosenbrock, 100", 49}, {"Powell singular", 61}, {"Wood", 121},
      {"Beale", 17},      {"Brown badly scaled", 28},       {"Helical valley", 34}};
  for (const Problem& problem : more_garbow_hillstrom()) {
    INFO(problem.name);
    const auto check = optim::check_gradient(problem.f, problem.start);
    INFO(check);
    CHECK(check.max_error < 1e-5);
    VectorXd at_solution(problem.start.size());
    CHECK(problem.f(problem.solution, at_solution) < 1e-20);

    const auto result =
        optim::minimize(problem.f, problem.start, {.gradient_tolerance = 1e-8, .max_iterations = 10000});
    INFO(result);
    CHECK(result.converged);
    CHECK(result.gradient.cwiseAbs().maxCoeff() <= 1e-8);
    CHECK(result.value < 1e-10);
    CHECK(static_cast<double>(result.evaluations) <= 1.5 * static_cast<double>(peers.at(problem.name)));
    const double distance = (result.x - problem.solution).norm() / problem.solution.norm();
    if (problem.name != "Powell singular") CHECK(distance < 1e-5);  // its Hessian is singular there
  }
}

TEST_CASE("minimize: the same problems with a random half of the entries frozen at the solution") {
  Rng rng(11);
  for (const Problem& problem : more_garbow_hillstrom()) {
    for (int trial = 0; trial < 8; ++trial) {
      const Index n = problem.start.size();
      std::vector<Index> order(static_cast<std::size_t>(n));
      for (Index i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
      rng.shuffle(order.begin(), order.end());
      order.resize(static_cast<std::size_t>(n / 2));
      const Mask mask = Mask::frozen(Shape{n}, order);
      VectorXd start = problem.start;
      for (const Index i : order) start(i) = problem.solution(i);
      if (problem.name == "Helical valley" && start(0) == 0) continue;
      INFO(problem.name, " ", mask);
      const auto result = optim::minimize(
          problem.f, start, {.mask = mask, .gradient_tolerance = 1e-8, .max_iterations = 10000});
      INFO(result);
      CHECK(result.converged);
      for (const Index i : order) CHECK(std::memcmp(&result.x(i), &start(i), sizeof(double)) == 0);
    }
  }
}

TEST_CASE("minimize: a masked run is the run of the smaller problem") {
  Rng rng(3);
  for (int trial = 0; trial < 12; ++trial) {
    const Index n = 3 + 7 * trial;
    const Quadratic f(n, static_cast<std::uint64_t>(trial));
    const Mask mask = random_mask(rng, {n}, 0.5);
    VectorXd start(n);
    for (double& entry : start) entry = rng.normal();
    const VectorXd small_start = start(mask.free_positions());
    for (const optim::Method& method : methods) {
      std::vector<std::vector<double>> iterates[2];
      const auto options = [&](int which) {
        optim::MinimizeOptions o{.method = method, .max_iterations = 40};
        o.callback = [&iterates, which](const optim::Iterate& iterate) {
          iterates[which].emplace_back(iterate.x.begin(), iterate.x.end());
          return true;
        };
        return o;
      };
      auto masked_options = options(0);
      masked_options.mask = mask;
      const auto masked = optim::minimize(f, start, masked_options);
      const auto reduced = optim::minimize(restricted(f, start, mask), small_start, options(1));
      CHECK(iterates[0] == iterates[1]);  // to the bit
      CHECK(masked.reason == reduced.reason);
      CHECK(masked.evaluations == reduced.evaluations);
      CHECK(same_entries<VectorXd>(masked.x(mask.free_positions()), reduced.x));
      const std::vector<Index> frozen = (~mask).free_positions();
      CHECK(same_entries<VectorXd>(masked.x(frozen), start(frozen)));
    }
  }
}

TEST_CASE("minimize: gradients that are not numbers in frozen entries have no effect") {
  for (const optim::Method& method : methods) {
    const optim::MinimizeOptions options{.method = method, .mask = some, .max_iterations = 60};
    const auto spoiled = [](const Vector4d& x, Vector4d& gradient) {
      const double value = squares_and_gradient(x, gradient);
      gradient(1) = not_a_number;
      gradient(3) = -std::numeric_limits<double>::infinity();
      return value;
    };
    const auto plain = optim::minimize(squares_and_gradient, x0, options);
    CHECK(same_entries<Vector4d>(optim::minimize(spoiled, x0, options).x, plain.x));
    // Nor have frozen values themselves.
    Vector4d odd = x0;
    odd(1) = not_a_number;
    odd(3) = -0.0;
    const auto pair = [](const Vector4d& x, Vector4d& gradient) {
      gradient = Vector4d(2 * (x(0) - 3), not_a_number, 2 * (x(2) - 3), not_a_number);
      return (x(0) - 3) * (x(0) - 3) + (x(2) - 3) * (x(2) - 3);
    };
    const auto result = optim::minimize(pair, odd, options);
    CHECK(result.x(0) == doctest::Approx(3).epsilon(1e-2));
    CHECK(std::memcmp(&result.x(1), &odd(1), sizeof(double)) == 0);
    CHECK(std::signbit(result.x(3)));
  }
}

TEST_CASE("minimize: all frozen returns x0 at once, none frozen is the unmasked run") {
  for (const optim::Method& method : methods) {
    const auto frozen = optim::minimize(squares, x0, {.method = method, .mask = Mask::all_frozen({4})});
    CHECK(same_entries<Vector4d>(frozen.x, x0));
    CHECK(frozen.converged);
    CHECK(frozen.iterations == 0);
    CHECK(frozen.evaluations == 1);
    CHECK(frozen.reason == "no entry is free");
    const auto plain = optim::minimize(squares, x0, {.method = method});
    const auto none = optim::minimize(squares, x0, {.method = method, .mask = Mask::all_free({4})});
    CHECK(same_entries<Vector4d>(none.x, plain.x));
    CHECK(none.evaluations == plain.evaluations);
  }
}

TEST_CASE("minimize: differences are taken in free entries only, and counted") {
  Index calls = 0;
  const auto counted = [&](const Vector4d& x) {
    ++calls;
    CHECK(x(1) == 2);
    CHECK(x(3) == 5);
    return squares(x);
  };
  auto result = optim::minimize(counted, x0, {.mask = some, .max_iterations = 0});
  CHECK(calls == 5);  // the value, and two more for each of two entries
  CHECK(result.evaluations == calls);
  CHECK(result.reason.find("limit of iterations") != std::string::npos);
  calls = 0;
  optim::minimize(counted, x0,
                  {.mask = some, .max_iterations = 0, .differences = optim::Differences::forward});
  CHECK(calls == 3);
  calls = 0;
  result = optim::minimize(counted, x0, {.mask = some});
  CHECK(result.evaluations == calls);
  CHECK(result.x(0) == doctest::Approx(3).epsilon(1e-9));
}

TEST_CASE("minimize: matrices, storage orders and scalars") {
  // sum over (i, j) of (x_ij - (10 i + j))^2, from a matrix of either storage order.
  const auto target = [](Index i, Index j) { return 10.0 * static_cast<double>(i) + static_cast<double>(j); };
  const auto distance = [&](const auto& x, auto& gradient) {
    double total = 0;
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < x.cols(); ++j) {
        const double d = static_cast<double>(x(i, j)) - target(i, j);
        gradient(i, j) = static_cast<typename std::decay_t<decltype(x)>::Scalar>(2 * d);
        total += d * d;
      }
    }
    return total;
  };
  const Mask mask = Mask::frozen({2, 3}, {1, 5});  // (0, 1) and (1, 2)
  const auto check = [&](const auto& start, double tolerance) {
    using X = std::decay_t<decltype(start)>;
    const std::function<double(const X&, X&)> f = distance;
    const auto result = optim::minimize(f, start, {.mask = mask});
    INFO(result);
    CHECK(result.converged);
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 3; ++j) {
        const bool frozen = mask.is_frozen(3 * i + j);
        const double expected = frozen ? static_cast<double>(start(i, j)) : target(i, j);
        CHECK(static_cast<double>(result.x(i, j)) == doctest::Approx(expected).epsilon(tolerance));
      }
    }
  };
  check(MatrixXd(MatrixXd::Random(2, 3)), 1e-12);
  check(MatrixXf(MatrixXf::Random(2, 3)), 1e-6);
  check(Matrix<double>(Matrix<double>::Random(2, 3)), 1e-12);
  check(Eigen::Array<double, 2, 3>(Eigen::Array<double, 2, 3>::Zero()), 1e-12);
  // The tape sees rows x columns, by rows.
  const Matrix<double> start = Matrix<double>::Zero(2, 3);
  const auto rows = [](Var<double> x) {
    Tape<double>& tape = x.tape();
    return sum(square(x - tape.constant(Tensor<double>({2, 3}, {0, 1, 2, 10, 11, 12}))));
  };
  const auto result = optim::minimize(rows, start);
  CHECK(result.x(1, 2) == doctest::Approx(12));
  CHECK(optim::minimize(rows, MatrixXd(start)).x(1, 0) == doctest::Approx(10));
}

TEST_CASE("minimize: within bounds") {
  // The minimum of a convex quadratic in a box: where the projected gradient vanishes.
  Rng rng(5);
  for (int trial = 0; trial < 20; ++trial) {
    const Index n = 2 + 3 * trial;
    const Quadratic f(n, static_cast<std::uint64_t>(100 + trial));
    std::vector<double> lower, upper;
    for (Index i = 0; i < n; ++i) {
      lower.push_back(rng.uniform(-0.5, 0.1));
      upper.push_back(lower.back() + rng.uniform(0, 0.4));
    }
    const Mask mask = trial % 2 == 0 ? Mask::all_free({n}) : random_mask(rng, {n}, 0.5);
    VectorXd start = VectorXd::Constant(n, 0.7);  // outside of most boxes
    const auto result = optim::minimize(
        f, start,
        {.method = optim::LBFGSB{.lower = lower, .upper = upper}, .mask = mask, .gradient_tolerance = 1e-9});
    INFO(result);
    CHECK(result.converged);
    VectorXd gradient(n);
    f(result.x, gradient);
    for (Index i = 0; i < n; ++i) {
      const double low = lower[static_cast<std::size_t>(i)], high = upper[static_cast<std::size_t>(i)];
      const double x = result.x(i), g = gradient(i);
      if (mask.is_frozen(i)) {
        CHECK(x == 0.7);
        continue;
      }
      CHECK(x >= low);
      CHECK(x <= high);
      const double projected = x - std::min(std::max(x - g, low), high);
      CHECK(std::abs(projected) <= 1e-9);
    }
  }
  // Rosenbrock with x <= 0.5: the constrained minimum is (0.5, 0.25).
  const auto problems = more_garbow_hillstrom();
  const auto bounded = optim::minimize(problems[0].f, problems[0].start,
                                       {.method = optim::LBFGSB{.lower = {-2, -2}, .upper = {0.5, 2}}});
  INFO(bounded);
  CHECK(bounded.converged);
  CHECK((bounded.x - Vector2d(0.5, 0.25)).norm() < 1e-6);
  CHECK(bounded.evaluations < 200);
}

TEST_CASE("minimize: limits, tolerances and callbacks end a run, and it says why") {
  const Problem rosenbrock = more_garbow_hillstrom()[0];
  const auto run = [&](const optim::MinimizeOptions& options) {
    return optim::minimize(rosenbrock.f, rosenbrock.start, options);
  };
  auto result = run({.max_iterations = 5});
  CHECK_FALSE(result.converged);
  CHECK(result.iterations == 5);
  CHECK(result.reason == "the limit of iterations was reached");
  for (const Index most : {1, 2, 7, 20}) {
    result = run({.max_evaluations = most});
    CHECK_FALSE(result.converged);
    CHECK(result.evaluations <= most + 1);
    CHECK(result.reason == "the limit of evaluations was reached");
  }
  result = run({.value_tolerance = 1e-3});
  CHECK(result.converged);
  CHECK(result.reason == "the decrease is within its tolerance");
  result = run({.step_tolerance = 0.2});
  CHECK(result.converged);
  CHECK(result.reason == "the step is within its tolerance");
  Index seen = 0;
  result = run({.callback = [&](const optim::Iterate& iterate) {
    CHECK(iterate.iteration == ++seen);
    CHECK(iterate.x.size() == 2);
    return seen < 4;
  }});
  CHECK(seen == 4);
  CHECK(result.iterations == 4);
  CHECK(result.reason == "the callback asked for it");
  // No iteration steps further than it may.
  Vector2d last = rosenbrock.start;
  result = run({.max_step = 0.05, .callback = [&](const optim::Iterate& iterate) {
                  const Eigen::Map<const Vector2d> x(iterate.x.data());
                  CHECK((x - last).norm() <= 0.05 * (1 + 1e-12));
                  last = x;
                  return true;
                }});
  CHECK(result.converged);
}

TEST_CASE("minimize: values that are not finite in the line search are backed off from") {
  // log is not defined below zero, where the first steps would go.
  const auto barrier = [](const VectorXd& x, VectorXd& gradient) {
    gradient = (100 - 0.001 / x.array()).matrix();
    return (100 * x.array() - 0.001 * x.array().log()).sum();
  };
  for (const optim::Method& method : {optim::Method(optim::LBFGS{}), optim::Method(optim::LBFGSB{})}) {
    const auto result =
        optim::minimize(barrier, VectorXd::Constant(3, 0.5), {.method = method, .gradient_tolerance = 1e-6});
    INFO(result);
    CHECK(result.x.minCoeff() > 0);
    CHECK((result.x.array() - 1e-5).abs().maxCoeff() < 1e-9);
    CHECK(result.reason.find("backed off") != std::string::npos);
    CHECK(result.reason.find("not finite") != std::string::npos);
  }
}

TEST_CASE("minimize: a wrong gradient ends with words, not in a loop") {
  const auto uphill = [](const VectorXd& x, VectorXd& gradient) {
    gradient = -2 * x;
    return x.squaredNorm();
  };
  for (const optim::Method& method : {optim::Method(optim::LBFGS{}), optim::Method(optim::LBFGSB{})}) {
    const auto result = optim::minimize(uphill, VectorXd::Ones(3), {.method = method});
    INFO(result);
    CHECK_FALSE(result.converged);
    CHECK(result.reason.find("no lower point") != std::string::npos);
    CHECK(result.x == VectorXd::Ones(3));
  }
  const auto diverging =
      optim::minimize(squares_and_gradient, x0, {.method = optim::SGDOptions{.lr = 1e200}});
  CHECK_FALSE(diverging.converged);
  CHECK(diverging.reason.find("not finite") != std::string::npos);
}

TEST_CASE("minimize: a minimum that is not zero, where rounding hides the last decreases") {
  const auto shifted = [](const VectorXd& x, VectorXd& gradient) {
    gradient = x.array().sinh();
    return 1e6 + x.array().cosh().sum();
  };
  const auto result = optim::minimize(shifted, VectorXd::LinSpaced(7, -2, 3), {.gradient_tolerance = 1e-8});
  INFO(result);
  CHECK(result.converged);
}

TEST_CASE("minimize: a model, by its parameters") {
  Rng rng(8);
  const Index rows = 40;
  Tensor<double> x({rows, 3}), y({rows, 1});
  for (double& entry : x) entry = rng.normal();
  for (double& entry : y) entry = rng.normal();
  manual_seed(2);
  nn::Linear<double> model(3, 1);
  model.freeze("weight", Mask::frozen({1, 3}, {1}));
  const double held = model.weight.value()[1];
  const auto parameters = model.parameters();
  Tape<double> tape;
  const auto loss = mse_loss(model(tape.constant(x)), tape.constant(y));
  const auto outcome = optim::minimize<double>(parameters, [&] {
    tape.replay();
    tape.backward(loss);
    return loss.item();
  });
  INFO(outcome);
  CHECK(outcome.converged);
  CHECK(model.weight.value()[1] == held);
  // Least squares with that coefficient moved to the other side.
  MatrixXd design(rows, 3);
  design << x.matrix().col(0), x.matrix().col(2), VectorXd::Ones(rows);
  const VectorXd right = y.matrix().col(0) - held * x.matrix().col(1);
  const VectorXd solution = (design.transpose() * design).ldlt().solve(design.transpose() * right);
  CHECK(model.weight.value()[0] == doctest::Approx(solution(0)).epsilon(1e-7));
  CHECK(model.weight.value()[2] == doctest::Approx(solution(1)).epsilon(1e-7));
  CHECK(model.bias->value()[0] == doctest::Approx(solution(2)).epsilon(1e-7));
  CHECK_ERROR(optim::minimize<double>(parameters, [] { return 0.0; }, {.mask = some}), "[minimize]",
              "freeze");
}

TEST_CASE("check_gradient: points at the worst entry") {
  const auto wrong = [](const Vector4d& x, Vector4d& gradient) {
    const double value = squares_and_gradient(x, gradient);
    gradient(2) *= -1;
    return value;
  };
  CHECK(optim::check_gradient(squares_and_gradient, x0).max_error < 1e-8);
  CHECK(optim::check_gradient(squares_on_tape, x0).max_error < 1e-8);
  const auto check = optim::check_gradient(wrong, x0);
  CHECK(check.entry == 2);
  CHECK(check.max_error > 1);
  CHECK(check.given == -2);
  CHECK(check.expected == doctest::Approx(2));
  const auto broken = optim::check_gradient(
      [](const Vector2d& x, Vector2d& gradient) {
        gradient = Vector2d(2 * x(0), not_a_number);
        return x.squaredNorm();
      },
      Vector2d(1, 1));
  CHECK(broken.entry == 1);
  CHECK(std::isnan(broken.max_error));
}

TEST_CASE("minimize: errors") {
  const auto run = [](const optim::MinimizeOptions& options) { optim::minimize(squares, x0, options); };
  CHECK_ERROR(run({.mask = Mask::free({true, false})}), "[minimize]", "a mask 2", "expected 4");
  CHECK_ERROR(run({.mask = Mask::all_free({2, 2})}), "a mask 2x2", "expected 4");
  CHECK_ERROR(run({.method = optim::LBFGSB{.lower = {0, 0, 1, 0}, .upper = {1, 1, 0.5, 1}}}),
              "lower bound 1 and upper bound 0.5 of entry 2", "lower <= upper");
  CHECK_ERROR(run({.method = optim::LBFGSB{.lower = {0, 0}}}), "2 bounds for 4 entries");
  CHECK_ERROR(run({.method = optim::LBFGSB{.lower = {not_a_number}}}), "lower bound nan");
  CHECK_ERROR(run({.method = optim::LBFGS{.history = 0}}), "history 0");
  CHECK_ERROR(run({.method = optim::LBFGS{.curvature = 1.5}}), "curvature 1.5");
  CHECK_ERROR(run({.gradient_tolerance = -1}), "gradient_tolerance -1");
  CHECK_ERROR(run({.value_tolerance = not_a_number}), "value_tolerance");
  CHECK_ERROR(run({.max_iterations = -1}), "max_iterations -1");
  CHECK_ERROR(run({.max_evaluations = 0}), "max_evaluations 0");
  CHECK_ERROR(run({.max_step = 0}), "max_step 0");
  CHECK_ERROR(run({.method = optim::SGDOptions{.lr = -1}}), "lr -1");
  Vector4d bad = x0;
  bad(2) = not_a_number;
  for (const optim::Method& method : methods) {
    CHECK_ERROR(optim::minimize(squares, bad, {.method = method}), "[minimize]", "nan at x0", "finite");
  }
  CHECK_ERROR(optim::minimize([](const Vector4d&, Vector4d& g) { return g(1) = not_a_number, 1.0; }, x0),
              "the gradient nan in free entry 1");
  CHECK_ERROR(optim::minimize([](Var<double> x) { return square(x); }, x0), "a function with value 4");
}

TEST_CASE("check_gradient: a NaN is the worst wherever it is") {
  for (const Index bad : {0, 1, 3}) {
    const auto check = optim::check_gradient(
        [&](const Vector4d& x, Vector4d& gradient) {
          const double value = squares_and_gradient(x, gradient);
          gradient(bad) = not_a_number;
          return value;
        },
        x0);
    CHECK(check.entry == bad);
    CHECK(std::isnan(check.max_error));
  }
}

TEST_CASE("minimize: a gradient of another size is refused") {
  for (const Index size : {3, 5, 400}) {
    CHECK_ERROR(optim::minimize(
                    [&](const VectorXd& x, VectorXd& gradient) {
                      gradient = VectorXd::Zero(size);
                      return x.sum();
                    },
                    VectorXd::Ones(4)),
                "[minimize] a gradient " + std::to_string(size) + "x1", "expected 4x1");
  }
}

TEST_CASE("minimize: differences stay within the bounds") {
  // x sqrt(x) + x is not defined below zero, where its minimum is.
  const auto f = [](const VectorXd& x) {
    CHECK(x.minCoeff() >= 0);
    return (x.array() * x.array().sqrt() + x.array()).sum();
  };
  for (const auto differences : {optim::Differences::central, optim::Differences::forward}) {
    for (const Vector2d& start : {Vector2d(1, 2), Vector2d(0, 0), Vector2d(0, 3)}) {
      const auto result = optim::minimize(
          f, VectorXd(start),
          {.method = optim::LBFGSB{.lower = {0}}, .gradient_tolerance = 1e-5, .differences = differences});
      INFO(result);
      CHECK(result.converged);
      CHECK(result.x.norm() < 1e-8);
    }
  }
  // At an upper bound a forward difference looks back; in a box of one point the gradient is zero.
  const auto below = [](const VectorXd& x) {
    CHECK(x.maxCoeff() <= 1);
    return -x.sum();
  };
  const auto result = optim::minimize(below, VectorXd::Ones(2),
                                      {.method = optim::LBFGSB{.lower = {0, 1}, .upper = {1, 1}},
                                       .differences = optim::Differences::forward});
  CHECK(result.converged);
  CHECK(result.gradient(0) == doctest::Approx(-1));
  CHECK(result.gradient(1) == 0);
}

TEST_CASE("minimize: the limit of evaluations holds with differences, up to one gradient") {
  const auto valley = [](const VectorXd& x) { return x.array().cosh().sum() + std::pow(x.sum(), 4); };
  for (const Index most : {50, 300, 777}) {
    const auto result = optim::minimize(valley, VectorXd::LinSpaced(100, -1, 2), {.max_evaluations = most});
    CHECK(result.evaluations <= most + 201);
    CHECK_FALSE(result.converged);
  }
}

TEST_CASE("minimize: gradients whose square overflows, and methods that cannot take an option") {
  const auto steep = [](const VectorXd& x, VectorXd& gradient) {
    gradient = 4 * x.array().cube();
    return x.array().square().square().sum();
  };
  const auto result = optim::minimize(steep, VectorXd::Constant(2, 1e60), {.max_iterations = 5000});
  INFO(result);
  CHECK(result.x.allFinite());
  CHECK(result.reason.find("not finite") == std::string::npos);  // every value was
  const auto run = [](const optim::MinimizeOptions& options) { optim::minimize(squares, x0, options); };
  CHECK_ERROR(run({.method = optim::AdamOptions{.weight_decay = 0.1}}), "weight_decay 0.1",
              "add the penalty");
  CHECK_ERROR(run({.method = optim::SGDOptions{}, .max_step = 1}), "max_step 1", "line search");
  // What a diverging run returns is finite.
  const auto diverging =
      optim::minimize(squares_and_gradient, x0, {.method = optim::SGDOptions{.lr = 1e200}});
  CHECK(diverging.x.allFinite());
  CHECK(std::isfinite(diverging.value));
}

TEST_CASE("minimize: parameters that were laid out anew are refused") {
  nn::Linear<double> model(2, 1);
  const auto stale = model.parameters();
  model.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::elements));
  CHECK_ERROR(optim::minimize<double>(stale, [] { return 1.0; }), "[minimize]", "laid out anew");
}

TEST_CASE("minimize: within bounds, a run that rounding has stalled ends") {
  // Meyer's problem in boxes whose minimum is at bounds, with a value of some 1e7 there: gradients stay
  // large.
  const double y[] = {34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744,
                      8261,  7030,  6005,  5147,  4427,  3820,  3307,  2872};
  const auto f = [&](const Eigen::VectorXd& x, Eigen::VectorXd& g) {
    double total = 0;
    g.setZero(3);
    for (int i = 1; i <= 16; ++i) {
      const double d = 45 + 5.0 * i + x(2), e = std::exp(x(1) / d), r = x(0) * e - y[i - 1];
      total += r * r;
      g(0) += 2 * r * e;
      g(1) += 2 * r * x(0) * e / d;
      g(2) -= 2 * r * x(0) * e * x(1) / (d * d);
    }
    return total;
  };
  Rng rng(1);
  for (int k = 0; k < 50; ++k) {
    CAPTURE(k);
    const double top = rng.uniform(0.03, 0.3), up = rng.uniform(4500, 5600), c = rng.uniform(280, 330);
    const auto found = optim::minimize(f, Eigen::VectorXd(Eigen::Vector3d(0.02, 4000, 250)),
                                       {.method = optim::LBFGSB{.lower = {0, 0, c}, .upper = {top, up, c}}});
    CHECK(found.evaluations < 300);
    // Nothing lower is near: in the plane of the free entries, by a step along either.
    Eigen::VectorXd g(3);
    for (const double by : {-1e-6, 1e-6}) {
      for (const int i : {0, 1}) {
        Eigen::VectorXd x = found.x;
        x(i) = std::clamp(x(i) * (1 + by), 0.0, i == 0 ? top : up);
        CHECK(f(x, g) >= found.value * (1 - 1e-9));
      }
    }
  }
}
