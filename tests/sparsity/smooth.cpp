#include <taper/sparsity/smooth.hpp>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/sparsity/convex_certificate.hpp>

#include "../check.hpp"
#include "../data/files.hpp"
#include "exact_problems.hpp"

using namespace taper;
using namespace sparsity;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

/// The number of threads, put back at the end of the scope.
struct ThreadsOfSmooth {
  explicit ThreadsOfSmooth(int count) : before(threads()) { set_threads(count); }
  ~ThreadsOfSmooth() { set_threads(before); }
  int before;
};

bool same_support(const ExactSolution& a, const ExactSolution& b) {
  return std::ranges::equal(a.coefficients, b.coefficients,
                            [](double v, double w) { return (v == 0) == (w == 0); });
}

}  // namespace

TEST_CASE("the smooth problem has the minimum of the convex one, in every combination") {
  Rng rng(41);
  for (int combination = 0; combination < 256; ++combination) {
    const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
    Case test = combination_of(combination, 1e-9, rng);
    ExactOptions& options = test.options;
    INFO("combination ", combination);
    const SmoothSolution smooth =
        has(6) ? solve_smooth(test.sparse(), test.y, test.loss, 0.05, {.problem = options})
               : solve_smooth(test.x, test.y, test.loss, 0.05, {.problem = options});
    const ConvexCertificate certificate =
        certify(test.x, test.y, test.loss, 0.05, smooth.coefficients, smooth.intercept, options);
    options.tolerance = 1e-13;
    const ExactSolution exact = solve_exact(test.x, test.y, test.loss, 0.05, options);
    CHECK(smooth.converged);
    CHECK(certificate.certified(1e-9));
    CHECK(certificate.gap == doctest::Approx(smooth.gap).epsilon(1e-3));
    const Point at{Eigen::Map<const VectorXd>(smooth.coefficients.data(), 12), smooth.intercept};
    CHECK(smooth.objective == doctest::Approx(test.objective(at, 0.05)).epsilon(1e-13));
    CHECK(std::abs(smooth.objective - exact.objective) <= 1e-8 * exact.objective);
    CHECK(same_support(smooth, exact));
    for (Index j = 0; j < 12; ++j) {
      if (options.mask && options.mask->is_frozen(j))
        CHECK(at.w[j] == options.start[static_cast<std::size_t>(j)]);
    }
    if (!options.intercept) CHECK(smooth.intercept == options.start_intercept);
  }
}

TEST_CASE("the group lasso of 40 groups, along 30 penalties") {
  // n = 200, 40 groups of 5 of which 7 count, in a design of standard normal numbers.
  const ThreadsOfSmooth one(1);
  const Index n = 200, groups = 40, size = 5;
  Rng rng(2023);
  MatrixXd x(n, groups * size);
  for (double& entry : x.reshaped()) entry = rng.normal();
  VectorXd truth = VectorXd::Zero(x.cols()), y(n);
  for (Index g = 0; g < 7; ++g) {
    for (Index k = 0; k < size; ++k) truth[5 * size * g + k] = rng.normal();
  }
  y = x * truth;
  for (double& entry : y) entry += rng.normal();
  ExactOptions options;
  for (Index j = 0; j < x.cols(); ++j) options.groups.push_back(j / size);
  const double top = lambda_max(x, y, ConvexLoss::squared, options);
  for (int k = 1; k <= 30; ++k) {
    const double lambda = top * std::pow(1e-3, k / 30.0);
    options.tolerance = 1e-11;
    const ExactSolution exact = solve_exact(x, y, ConvexLoss::squared, lambda, options);
    options.tolerance = 1e-7 * exact.objective;
    const SmoothSolution smooth = solve_smooth(x, y, ConvexLoss::squared, lambda, {.problem = options});
    INFO("penalty ", k, ", lambda ", lambda);
    CHECK(smooth.converged);
    CHECK(std::abs(smooth.objective - exact.objective) <= 1e-6 * exact.objective);
    CHECK(same_support(smooth, exact));
    const auto found = std::ranges::count_if(exact.coefficients, [](double w) { return w != 0; });
    CHECK(found > 0);
    if (k == 12) {
      CHECK(found < x.cols() / 2);
      for (Index g = 0; g < 7; ++g) CHECK(smooth.coefficients[static_cast<std::size_t>(5 * size * g)] != 0);
    }
  }
}

TEST_CASE("units change nothing: targets a million times larger or smaller") {
  Rng rng(42);
  const Case test(40, 12, ConvexLoss::squared, rng);
  for (const double unit : {1e-6, 1.0, 1e6}) {
    const VectorXd y = unit * test.y;
    ExactOptions options{.tolerance = 1e-9};
    const SmoothSolution smooth = solve_smooth(test.x, y, test.loss, 0.05 * unit, {.problem = options});
    options.tolerance = 1e-13;
    INFO("unit ", unit);
    CHECK(smooth.converged);
    CHECK(same_support(smooth, solve_exact(test.x, y, test.loss, 0.05 * unit, options)));
  }
}

TEST_CASE("coefficients of both signs are found from gates of either sign, and from wrong starts") {
  const MatrixXd x = 2 * MatrixXd::Identity(4, 4);
  const VectorXd y{{2, -0.2, 0.4, -3}};
  for (const double gate : {0.1, -1.0, 3.0}) {
    for (const std::vector<double>& start : {std::vector<double>{}, {-1, 0.5, 0.3, 2}}) {
      const SmoothSolution solution = solve_smooth(
          x, y, ConvexLoss::squared, 0.5,
          {.problem = {.intercept = false, .start = start, .tolerance = 1e-13}, .start_gate = gate});
      CHECK(solution.converged);
      CHECK(solution.coefficients[0] == doctest::Approx(0.5));
      CHECK(solution.coefficients[1] == 0);
      CHECK(solution.coefficients[2] == 0);
      CHECK(solution.coefficients[3] == doctest::Approx(-1));
    }
  }
}

TEST_CASE("the recorded objective falls to the minimum, and stays above it") {
  Rng rng(43);
  const Case test(40, 12, ConvexLoss::logistic, rng);
  const SmoothSolution solution =
      solve_smooth(test.x, test.y, test.loss, 0.05, {.problem = {.tolerance = 1e-10}, .record = true});
  CHECK(static_cast<Index>(solution.history.size()) == solution.iterations);
  CHECK(solution.evaluations > solution.iterations);
  CHECK(solution.history.front() > solution.objective + 1e-3);
  CHECK(solution.history.back() == doctest::Approx(solution.objective).epsilon(1e-9));
  for (const double value : solution.history) CHECK(value >= solution.objective - solution.gap - 1e-15);
  for (std::size_t k = 1; k < solution.history.size(); ++k) {
    CHECK(solution.history[k] <= solution.history[k - 1] + 1e-6);  // proximal steps between rounds lower it
  }
  CHECK(solve_smooth(test.x, test.y, test.loss, 0.05).history.empty());
}

TEST_CASE("limits of the smooth solver: nothing free, no time, no penalty, everything zero") {
  Rng rng(44);
  const Case test(40, 5, ConvexLoss::logistic, rng);
  const SmoothSolution frozen = solve_smooth(
      test.x, test.y, test.loss, 0.05,
      {.problem = {.intercept = false, .mask = Mask::all_frozen({5}), .start = {1, 0, -1, 0, 2}}});
  CHECK(frozen.coefficients == std::vector<double>{1, 0, -1, 0, 2});
  CHECK(frozen.converged);
  const SmoothSolution short_run =
      solve_smooth(test.x, test.y, test.loss, 0.05, {.problem = {.max_iterations = 2}});
  CHECK(short_run.iterations == 2);
  CHECK_FALSE(short_run.converged);
  CHECK(short_run.gap > 1e-8);
  const SmoothSolution plain = solve_smooth(test.x, test.y, test.loss, 0);
  CHECK(plain.objective ==
        doctest::Approx(solve_exact(test.x, test.y, test.loss, 0).objective).epsilon(1e-8));
  const double top = lambda_max(test.x, test.y, test.loss);
  const SmoothSolution none = solve_smooth(test.x, test.y, test.loss, 1.01 * top);
  CHECK(none.converged);
  CHECK(none.coefficients == std::vector<double>(5, 0.0));
  MatrixXd with_zeros = test.x;
  with_zeros.col(3).setZero();
  CHECK(solve_smooth(with_zeros, test.y, test.loss, 0.01, {.problem = {.start = {0, 0, 0, 7, 0}}})
            .coefficients[3] == 0);
}

TEST_CASE("bad input to the smooth solver is refused with a reason") {
  Rng rng(45);
  const Case test(20, 4, ConvexLoss::squared, rng);
  const auto solve = [&](const SmoothOptions& options, double lambda = 0.1) {
    return solve_smooth(test.x, test.y, test.loss, lambda, options);
  };
  CHECK_ERROR(solve({}, -1), "[solve_smooth] lambda -1", "0 or more");
  CHECK_ERROR(solve({.start_gate = 0}), "[solve_smooth] a gate 0");
  CHECK_ERROR(solve({.start_gate = HUGE_VAL}), "a gate inf");
  CHECK_ERROR(solve({.problem = {.ratio = 2}}), "[solve_smooth] ratio 2");
  CHECK(solve({.problem = {.start = {1e200, 0, 0, 0}}}).objective == doctest::Approx(solve({}).objective));
  CHECK_ERROR(solve({.method = {.history = 0}}), "history 0");
}

TEST_CASE("Madelon: the smooth solution is the exact one, on any number of threads") {
  const std::filesystem::path table = real_data("madelon.csv.gz");
  if (table.empty()) {
    MESSAGE("skipped: TAPER_DATA names no folder with madelon.csv.gz");
    return;
  }
  data::Dataset<double> set = data::to_dataset<double>(data::read_csv(table), "Class");
  data::StandardScaler<double> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  const MatrixXd x = set.x.matrix();
  const VectorXd y = (set.y.vector().array() < 0).cast<double>();
  const ExactSolution exact = solve_exact(x, y, ConvexLoss::logistic, 1e-2, {.tolerance = 1e-12});
  const ThreadsOfSmooth one(1);
  const SmoothSolution smooth = solve_smooth(x, y, ConvexLoss::logistic, 1e-2);
  CHECK(smooth.converged);
  CHECK(std::abs(smooth.objective - exact.objective) <= 1e-8 * exact.objective);
  CHECK(same_support(smooth, exact));
  // One round and its proximal step are enough for both.
  const SmoothSolution once =
      solve_smooth(x, y, ConvexLoss::logistic, 1e-2, {.problem = {.tolerance = 1e-4}});
  CHECK(once.rounds == 1);
  CHECK(std::abs(once.objective - exact.objective) <= 1e-8 * exact.objective);
  CHECK(same_support(once, exact));
  // A small penalty, where the values that a line search compares differ in their last digits only.
  const SmoothSolution small = solve_smooth(x, y, ConvexLoss::logistic, 1e-3);
  CHECK(small.converged);
  CHECK(small.evaluations < 1000);
  CHECK(same_support(small, solve_exact(x, y, ConvexLoss::logistic, 1e-3, {.tolerance = 1e-12})));
  set_threads(2);
  const SmoothSolution both =
      solve_smooth(x, y, ConvexLoss::logistic, 1e-2, {.problem = {.tolerance = 1e-4}});
  CHECK(both.coefficients == once.coefficients);
  CHECK(both.intercept == once.intercept);
}
