// Nothing depends on the units of the data: exact solvers, path, cross-validation, smooth solver and
// certificate.

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <cmath>
#include <limits>

#include <taper/autodiff/random.hpp>
#include <taper/sparsity/convex_certificate.hpp>
#include <taper/sparsity/exact_path.hpp>
#include <taper/sparsity/smooth.hpp>

#include "../check.hpp"

using namespace taper;
using namespace sparsity;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

/// A random problem, and the same in other units: targets times `unit`, columns plus shifts, then times
/// scales that all columns of a group share. Everything that is moved is a power of two and entries have 20
/// bits behind the point, so that both hold the same information.
struct Rescaled {
  MatrixXd x, moved;
  VectorXd y, moved_y;
  ConvexLoss loss;
  double lambda, moved_lambda, unit = 1;
  ExactOptions options, moved_options;
  std::vector<double> scale, level;
  bool sparse;

  explicit Rescaled(std::uint64_t seed) {
    Rng rng(seed);
    const auto chance = [&](double share) { return rng.uniform() < share; };
    const auto power_of_two = [&](double most) { return std::exp2(std::round(rng.uniform(-most, most))); };
    const auto n = static_cast<Index>(rng.uniform(30, 90)), p = static_cast<Index>(rng.uniform(5, 85));
    loss = chance(0.5) ? ConvexLoss::logistic : ConvexLoss::squared;
    sparse = chance(0.5);
    options.intercept = chance(0.7);
    options.tolerance = 1e-11;
    if (chance(0.3)) options.ratio = 0.5;
    if (chance(0.3)) {
      for (Index j = 0; j < p; ++j) options.groups.push_back(j / 3);
    }
    const double shared = chance(0.3) ? 0.9 : 0;  // by all columns
    VectorXd common(n);
    for (double& entry : common) entry = rng.normal();
    x.resize(n, p);
    for (double& entry : x.reshaped()) entry = rng.normal();
    x += shared * common * Eigen::RowVectorXd::Ones(p);
    for (double& entry : x.reshaped()) {
      entry = sparse && chance(0.7) ? 0 : std::round(std::ldexp(entry, 20)) / std::exp2(20);
    }
    y = x.col(0) - 2 * x.col(1);
    for (double& entry : y) entry += 0.5 * rng.normal() + 0.3;
    if (loss == ConvexLoss::logistic) y = (y.array() > y.mean()).cast<double>();

    const auto group_of = [&](Index j) { return options.groups.empty() ? j : j / 3; };
    moved_options = options;
    moved_options.weights.assign(static_cast<std::size_t>(group_of(p - 1)) + 1, 1.0);
    scale.assign(static_cast<std::size_t>(p), 1.0);
    level.assign(static_cast<std::size_t>(p), 0.0);
    moved = x;
    for (Index g = 0; g <= group_of(p - 1); ++g) {
      // Weights cannot undo what a scale does to norm and square at once.
      const double by = options.ratio == 1 && chance(0.5) ? power_of_two(26) : 1;
      moved_options.weights[static_cast<std::size_t>(g)] = by;
      for (Index j = 0; j < p; ++j) {
        if (group_of(j) != g) continue;
        const double shift = options.intercept && chance(0.5) ? std::exp2(std::round(rng.uniform(0, 30))) : 0;
        moved.col(j) = by * (x.col(j).array() + shift);
        level[static_cast<std::size_t>(j)] = by * shift;
        scale[static_cast<std::size_t>(j)] = by;
      }
    }
    if (loss == ConvexLoss::squared) unit = power_of_two(options.ratio == 1 ? 26 : 10);
    moved_y = unit * y;
    lambda = lambda_max(x, y, loss, options) * std::pow(10, rng.uniform(-2.5, 0));
    // lambda ratio goes with the targets, lambda (1 - ratio) does not.
    const double norms = unit * lambda * options.ratio, squares = lambda * (1 - options.ratio);
    moved_lambda = norms + squares;
    moved_options.ratio = squares == 0 ? 1 : norms / moved_lambda;
  }

  template <class F> auto on_moved(const F& f) const {
    if (!sparse) return f(Design(moved));
    const Eigen::SparseMatrix<double> columns = moved.sparseView();
    return f(Design(columns));
  }

  /// The objective of the problem in its first units at coefficients of the moved one, in long double.
  long double objective(const ExactSolution& at) const {
    long double total = 0;
    const auto of = [&](std::size_t j) { return static_cast<long double>(at.coefficients[j]); };
    // The levels of all columns together, as each entry's would round differently.
    long double common = at.intercept;
    for (std::size_t j = 0; j < scale.size(); ++j) common += level[j] * of(j);
    for (Index i = 0; i < moved.rows(); ++i) {
      long double z = common;
      for (std::size_t j = 0; j < scale.size(); ++j)
        z += (moved(i, static_cast<Index>(j)) - level[j]) * of(j);
      const long double rest = (moved_y[i] - z) / unit, against = moved_y[i] != 0 ? -z : z;
      total += loss == ConvexLoss::squared
                   ? rest * rest / 2
                   : std::max(against, 0.0L) + std::log1p(std::exp(-std::abs(against)));
    }
    total /= static_cast<long double>(moved.rows());
    std::vector<long double> norms(moved_options.weights.size(), 0);
    for (std::size_t j = 0; j < scale.size(); ++j) {
      long double& norm = norms[options.groups.empty() ? j : j / 3];
      norm = std::hypot(norm, of(j) * scale[j] / unit);
    }
    for (const long double norm : norms) {
      total += lambda * (options.ratio * norm + (1 - options.ratio) / 2 * norm * norm);
    }
    return total;
  }

  void check(const ExactSolution& found, const ExactSolution& right, double within) const {
    CHECK(found.converged);
    CHECK(std::isfinite(found.objective));
    const double square = unit * unit;
    CHECK(found.objective / square == doctest::Approx(right.objective).epsilon(within * within + 1e-9));
    // Never a gap below the true excess.
    CHECK(static_cast<double>(objective(found) - static_cast<long double>(right.objective)) <=
          found.gap / square + right.gap + 1e-13 * right.null_objective);
    double largest = 0, furthest = 0;
    Index differs = 0;
    for (std::size_t j = 0; j < scale.size(); ++j) {
      const double w = found.coefficients[j] * scale[j] / unit;
      largest = std::max(largest, std::abs(right.coefficients[j]));
      furthest = std::max(furthest, std::abs(w - right.coefficients[j]));
      differs += (w == 0) != (right.coefficients[j] == 0);
    }
    CHECK(differs == 0);
    CHECK(furthest <= within * std::max(largest, 1e-3));
  }
};

/// 60 x 30, standard normal plus a level; targets that depend on three columns.
struct Level {
  MatrixXd x, centred;
  VectorXd y, labels;

  explicit Level(double level) : centred(60, 30) {
    Rng rng(77);
    for (double& entry : centred.reshaped()) entry = std::round(std::ldexp(rng.normal(), 20)) / std::exp2(20);
    y = centred.col(0) - 2 * centred.col(1) + 0.5 * centred.col(2);
    for (double& entry : y) entry += 0.3 * rng.normal();
    labels = (y.array() > 0).cast<double>();
    x = centred.array() + level;
  }
};

}  // namespace

TEST_CASE("2000 random problems have the same solution in other units, and an honest gap") {
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const Rescaled problem(seed);
    INFO("seed ", seed);
    const ExactSolution right =
        solve_exact(problem.x, problem.y, problem.loss, problem.lambda, problem.options);
    CHECK(right.converged);
    problem.on_moved([&](const Design& x) {
      problem.check(
          solve_exact(x, problem.moved_y, problem.loss, problem.moved_lambda, problem.moved_options), right,
          1e-6);
    });
  }
}

TEST_CASE(
    "paths, cross-validation, the smooth solver and certificates have the same answers in other units") {
  Index smooth_problems = 0, iterations = 0, moved_iterations = 0;
  for (std::uint64_t seed = 3000; seed < 3060; ++seed) {
    Rescaled problem(seed);
    INFO("seed ", seed);
    problem.options.tolerance = problem.moved_options.tolerance = 1e-9;
    const std::vector<double> shares = {1, 0.3, 0.1};
    LambdaGrid grid, moved_grid;
    for (const double share : shares) {
      grid.lambdas.push_back(share * problem.lambda);
      moved_grid.lambdas.push_back(share * problem.moved_lambda);
    }
    const auto path = exact_path(problem.x, problem.y, problem.loss, grid, problem.options);
    const auto folds =
        cross_validate(problem.x, problem.y, problem.loss, {.folds = 3}, grid, problem.options);
    problem.on_moved([&](const Design& x) {
      const auto moved_path = exact_path(x, problem.moved_y, problem.loss, moved_grid, problem.moved_options);
      const auto moved_folds =
          cross_validate(x, problem.moved_y, problem.loss, {.folds = 3}, moved_grid, problem.moved_options);
      for (std::size_t k = 0; k < shares.size(); ++k) {
        CHECK(moved_path[k].converged);
        CHECK(moved_path[k].objective / problem.unit / problem.unit ==
              doctest::Approx(path[k].objective).epsilon(1e-7));
        CHECK(moved_folds.loss[k] / problem.unit / problem.unit ==
              doctest::Approx(folds.loss[k]).epsilon(1e-3));
        CHECK(moved_folds.unconverged[k] == 0);
      }
      CHECK(moved_folds.best == folds.best);

      const SmoothSolution smooth = solve_smooth(x, problem.moved_y, problem.loss, problem.moved_lambda,
                                                 {.problem = problem.moved_options});
      CHECK(smooth.converged);
      iterations +=
          solve_smooth(problem.x, problem.y, problem.loss, problem.lambda, {.problem = problem.options})
              .iterations;
      moved_iterations += smooth.iterations;
      smooth_problems += smooth.iterations > 0;
      CHECK(smooth.objective / problem.unit / problem.unit ==
            doctest::Approx(path[0].objective).epsilon(1e-7));

      const auto judge = [&](const std::vector<double>& w, double b) {
        return certify(x, problem.moved_y, problem.loss, problem.moved_lambda, w, b, problem.moved_options);
      };
      // The intercept of columns far from zero is known to fewer digits.
      CHECK(judge(moved_path[0].coefficients, moved_path[0].intercept).relative_gap < 1e-6);
      const auto zeros = judge(std::vector<double>(problem.scale.size(), 0.0), problem.moved_y.mean());
      if (moved_path[0].objective < 0.9 * moved_path[0].null_objective) CHECK(!zeros.certified(1e-6));
    });
  }
  CHECK(smooth_problems > 40);
  CHECK(moved_iterations < 3 * iterations);
}

TEST_CASE("columns far from zero are solved as if they were centred") {
  for (const double level : {1e3, 1e5, 3e7, 1e9}) {
    const Level data(level);
    INFO("level ", level);
    for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
      const VectorXd& y = loss == ConvexLoss::squared ? data.y : data.labels;
      const double lambda = 0.1 * lambda_max(data.centred, y, loss);
      const ExactSolution right = solve_exact(data.centred, y, loss, lambda);
      const ExactSolution exact = solve_exact(data.x, y, loss, lambda);
      CHECK(exact.converged);
      CHECK(exact.objective == doctest::Approx(right.objective).epsilon(1e-9));
      CHECK(lambda_max(data.x, y, loss) == doctest::Approx(10 * lambda).epsilon(1e-9));
      const SmoothSolution smooth = solve_smooth(data.x, y, loss, lambda);
      CHECK(smooth.converged);
      CHECK(smooth.iterations < 500);
      CHECK(smooth.objective == doctest::Approx(right.objective).epsilon(1e-7));
    }
  }
}

TEST_CASE("a start far away costs nothing and is never certified") {
  Rng rng(78);
  MatrixXd x(100, 500);
  VectorXd common(100), y(100);
  for (double& entry : common) entry = rng.normal();
  for (double& entry : x.reshaped()) entry = rng.normal();
  x += 3 * common * Eigen::RowVectorXd::Ones(500);
  y = x.leftCols(5).rowwise().sum();
  for (double& entry : y) entry += rng.normal();
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    const VectorXd targets = loss == ConvexLoss::squared ? y : VectorXd((y.array() > 0).cast<double>());
    const double lambda = 0.05 * lambda_max(x, targets, loss);
    const ExactSolution right = solve_exact(x, targets, loss, lambda, {.tolerance = 1e-10});
    for (const double far : {1e6, 1e30, 1e100, 1e200, 1e300}) {
      INFO("start ", far);
      const ExactSolution found =
          solve_exact(x, targets, loss, lambda, {.start = std::vector<double>(500, far), .tolerance = 1e-10});
      CHECK(found.converged);
      CHECK(found.objective == doctest::Approx(right.objective).epsilon(1e-9));
      if (far > 1e100) continue;
      const auto certificate =
          certify(x, targets, loss, lambda, std::vector<double>(500, far), 0, {.tolerance = 1e-6});
      CHECK(!certificate.certified(1e-6));
      CHECK(certificate.relative_gap > 1);
    }
  }
}

TEST_CASE("designs and targets whose squares underflow or overflow") {
  const Level data(0);
  const double lambda = 0.1 * lambda_max(data.centred, data.y, ConvexLoss::squared);
  const ExactSolution right = solve_exact(data.centred, data.y, ConvexLoss::squared, lambda);
  for (const double unit : {1e-300, 1e-160, 1e-155, 1e-80, 1e80, 1e155, 1e200, 1e300}) {
    INFO("unit ", unit);
    const MatrixXd x = unit * data.centred;
    const ExactSolution found = solve_exact(x, data.y, ConvexLoss::squared, unit * lambda);
    CHECK(found.converged);
    CHECK(found.objective == doctest::Approx(right.objective).epsilon(1e-7));
    if (unit > 1e150) continue;
    const ExactSolution small =
        solve_exact(data.centred, VectorXd(unit * data.y), ConvexLoss::squared, unit * lambda);
    CHECK(small.converged);
    CHECK(small.coefficients[1] / unit == doctest::Approx(right.coefficients[1]).epsilon(1e-6));
  }
  // One entry beyond all others, and rows that do not count.
  MatrixXd x = data.centred;
  x(5, 2) = 1e200;
  const ExactSolution odd = solve_exact(x, data.y, ConvexLoss::squared, lambda);
  CHECK(odd.objective > 0.5 * right.objective);
  CHECK(odd.gap >= odd.objective - right.objective);
  VectorXd y = data.y;
  ExactOptions options;
  options.sample_weights.assign(60, 1.0);
  for (const std::size_t row : {0u, 7u}) options.sample_weights[row] = 0;
  x = data.centred;
  const ExactSolution without = solve_exact(x, y, ConvexLoss::squared, lambda, options);
  y[0] = 1e150;
  x.row(7).setConstant(1e100);
  const ExactSolution with = solve_exact(x, y, ConvexLoss::squared, lambda, options);
  CHECK(with.objective == doctest::Approx(without.objective).epsilon(1e-9));
}

TEST_CASE("small penalties on correlated and rank-deficient designs: the gap is reached") {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(5000 + seed);
    const auto n = static_cast<Index>(rng.uniform(20, 100));
    const Index p =
        std::max<Index>(2, static_cast<Index>(static_cast<double>(n) * 0.5 * std::pow(40, rng.uniform())));
    const double noise = std::pow(10, rng.uniform(-2, 0));
    MatrixXd x(n, p);
    for (double& entry : x.reshaped()) entry = rng.normal();
    if (seed % 4 == 1) {  // a third of the rank
      const Index rank = n / 3 + 1;
      MatrixXd basis(n, rank), mix(rank, p);
      for (double& entry : basis.reshaped()) entry = rng.normal();
      for (double& entry : mix.reshaped()) entry = rng.normal();
      x = basis * mix;
    } else if (seed % 4 != 0) {
      VectorXd common(n);
      for (double& entry : common) entry = rng.normal();
      x = (noise * x + common * Eigen::RowVectorXd::Ones(p)).eval();
      for (Index j = 1; seed % 4 == 3 && j < p; j += 2) x.col(j) = x.col(j - 1);
    }
    VectorXd y = x.leftCols(std::min<Index>(10, p)).rowwise().sum();
    for (double& entry : y) entry += rng.normal();
    const ConvexLoss loss = rng.uniform() < 0.4 ? ConvexLoss::logistic : ConvexLoss::squared;
    if (loss == ConvexLoss::logistic) y = (y.array() > y.mean()).cast<double>();
    ExactOptions options{.tolerance = 1e-6};
    for (Index j = 0; seed % 5 == 0 && j < p; ++j) options.groups.push_back(j / 2);
    const double lambda =
        lambda_max(x, y, loss, options) * (seed % 2 == 0 ? std::pow(10, rng.uniform(-4, -1)) : 1e-4);
    const ExactSolution solution = solve_exact(x, y, loss, lambda, options);
    INFO("seed ", seed, ", ", n, "x", p, ", gap ", solution.relative_gap);
    CHECK(solution.converged);
    CHECK(solution.relative_gap <= 1e-6);
    if (seed >= 40) continue;
    options.start = solution.coefficients;
    options.start_intercept = solution.intercept;
    options.tolerance = 1e-9;
    const ExactSolution further = solve_exact(x, y, loss, lambda, options);
    CHECK(solution.objective - further.objective <= solution.gap);
  }
}

TEST_CASE("standardize: the penalty is on standardized columns, in whatever units they come") {
  Rng rng(79);
  for (int combination = 0; combination < 16; ++combination) {
    const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
    const Level data(0);
    MatrixXd x = data.centred;
    for (Index j = 0; j < 30; ++j) x.col(j) *= rng.uniform(0.5, 20);
    x.col(5).setConstant(3);
    const ConvexLoss loss = has(0) ? ConvexLoss::logistic : ConvexLoss::squared;
    const VectorXd& y = has(0) ? data.labels : data.y;
    ExactOptions options{.ratio = has(1) ? 0.6 : 1, .intercept = has(2), .tolerance = 1e-11};
    for (Index j = 0; has(3) && j < 30; ++j) options.groups.push_back(j / 3);
    MatrixXd standardized = x;
    VectorXd deviation(30);
    for (Index j = 0; j < 30; ++j) {
      const double mean = has(2) ? x.col(j).mean() : 0;
      deviation[j] = std::sqrt((x.col(j).array() - mean).square().mean());
      standardized.col(j) = (x.col(j).array() - mean) / (deviation[j] > 0 ? deviation[j] : 1);
    }
    INFO("combination ", combination);
    const double lambda = 0.1 * lambda_max(standardized, y, loss, options);
    const ExactSolution right = solve_exact(standardized, y, loss, lambda, options);
    options.standardize = true;
    CHECK(lambda_max(x, y, loss, options) == doctest::Approx(10 * lambda).epsilon(1e-9));
    const ExactSolution found = solve_exact(x, y, loss, lambda, options);
    CHECK(found.converged);
    CHECK(found.objective == doctest::Approx(right.objective).epsilon(1e-9));
    for (Index j = 0; j < 30; ++j) {
      const double expected =
          deviation[j] > 0 ? right.coefficients[static_cast<std::size_t>(j)] / deviation[j] : 0;
      CHECK(std::abs(found.coefficients[static_cast<std::size_t>(j)] - expected) < 1e-4);
    }
    if (has(2)) CHECK(found.coefficients[5] == 0);
  }
}

TEST_CASE("groups in any order of the columns are the same problem") {
  const Level data(0);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    MatrixXd x = data.centred;
    for (Index j = 0; j < 30; ++j) x.col(j) *= rng.uniform(0.5, 10);
    ExactOptions options{.tolerance = 1e-11};
    for (Index j = 0; j < 30; ++j) options.groups.push_back(j);
    rng.shuffle(options.groups.begin(), options.groups.end());
    const double lambda = 0.1 * lambda_max(x, data.y, ConvexLoss::squared);
    INFO("seed ", seed);
    const ExactSolution right = solve_exact(x, data.y, ConvexLoss::squared, lambda, {.tolerance = 1e-11});
    const ExactSolution found = solve_exact(x, data.y, ConvexLoss::squared, lambda, options);
    CHECK(found.converged);
    CHECK(found.objective == doctest::Approx(right.objective).epsilon(1e-10));
    const SmoothSolution smooth = solve_smooth(x, data.y, ConvexLoss::squared, lambda, {.problem = options});
    CHECK(smooth.objective == doctest::Approx(right.objective).epsilon(1e-9));
  }
}

TEST_CASE("squares alone: the minimum of ridge regression on columns that all but agree") {
  for (const double apart : {1.0, 0.1, 1e-2, 1e-3, 1e-4}) {
    Rng rng(80);
    VectorXd common(40), y(40);
    for (double& entry : common) entry = rng.normal();
    MatrixXd x(40, 6);
    for (double& entry : x.reshaped()) entry = apart * rng.normal();
    x += common * Eigen::RowVectorXd::Ones(6);
    y = common;
    for (double& entry : y) entry += rng.normal();
    const double lambda = 0.1 * apart * apart;
    for (const bool grouped : {false, true}) {
      ExactOptions options{.ratio = 0, .intercept = false};
      if (grouped) options.groups = {0, 0, 1, 1, 2, 2};
      const MatrixXd normal = x.transpose() * x / 40 + lambda * MatrixXd::Identity(6, 6);
      const VectorXd w = normal.ldlt().solve(x.transpose() * y / 40);
      const double right = (y - x * w).squaredNorm() / 80 + lambda / 2 * w.squaredNorm();
      const ExactSolution found = solve_exact(x, y, ConvexLoss::squared, lambda, options);
      INFO("apart ", apart, ", grouped ", grouped);
      CHECK(found.converged);
      CHECK(found.objective == doctest::Approx(right).epsilon(1e-7));
      const VectorXd labels = (y.array() > 0).cast<double>();
      CHECK(solve_exact(x, labels, ConvexLoss::logistic, lambda, options).converged);
    }
  }
}

TEST_CASE("columns without a penalty that nearly depend on each other keep what the data hold") {
  Rng rng(81);
  VectorXd first(60), other(60), y(60);
  for (Index i = 0; i < 60; ++i) {
    first[i] = rng.normal();
    other[i] = rng.normal();
    y[i] = other[i] + 0.1 * rng.normal();
  }
  MatrixXd exact(60, 3);
  exact << first, other, VectorXd::Ones(60);
  const double right = (y - exact * exact.colPivHouseholderQr().solve(y)).squaredNorm() / 120;
  for (const double apart : {1e-3, 1e-6, 1e-8, 1e-10}) {
    MatrixXd x(60, 2);
    x << first, first + apart * other;
    INFO("apart ", apart);
    const ExactSolution found = solve_exact(x, y, ConvexLoss::squared, 0);
    // What rounding of x leaves of the difference, and of the coefficients.
    const double within = 1e-8 + 1e-14 / apart / apart * 1e-12;
    CHECK(std::abs(found.objective - right) < within + 1e-3 * (apart < 1e-9));
    if (found.converged) CHECK(found.objective - right <= found.gap + within + 1e-3 * (apart < 1e-9));
    const auto judged = certify(x, y, ConvexLoss::squared, 0, std::vector<double>{0, 0}, y.mean());
    CHECK(!judged.certified(1e-3));
  }
  // More of them than rows.
  MatrixXd wide(50, 1000);
  for (double& entry : wide.reshaped()) entry = rng.normal();
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    const VectorXd targets = loss == ConvexLoss::squared ? VectorXd(y.head(50))
                                                         : VectorXd((y.head(50).array() > 0).cast<double>());
    const ExactSolution found = solve_exact(wide, targets, loss, 0);
    CHECK(found.converged);
    CHECK(found.objective < 1e-8);
    CHECK(certify(wide, targets, loss, 0, found.coefficients, found.intercept).gap < 1e-7);
  }
}

TEST_CASE("columns without a penalty that all but depend on each other: no gap is below the excess") {
  for (const double apart : {0x1p-10, 0x1p-20, 0x1p-27, 0x1p-33}) {
    for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        INFO("apart ", apart, ", ", loss == ConvexLoss::squared ? "squared" : "logistic", ", seed ", seed);
        Rng rng(seed);
        MatrixXd far(60, 12);
        for (double& entry : far.reshaped()) entry = rng.normal();
        MatrixXd near = far;
        near.col(1) = far.col(0) + apart * far.col(1);
        far.col(1) = (near.col(1) - near.col(0)) / apart;  // to the bit: the same two columns span
        VectorXd y(60);
        for (Index i = 0; i < 60; ++i) {
          y[i] = far(i, 1) + far(i, 2) - far(i, 3) + rng.normal();
          if (loss == ConvexLoss::logistic) y[i] = y[i] > 0;
        }
        ExactOptions options{.tolerance = 1e-10};
        options.weights.assign(12, 1.0);
        options.weights[0] = options.weights[1] = 0;
        const ExactSolution found = solve_exact(near, y, loss, 0.03, options);
        const ExactSolution right = solve_exact(far, y, loss, 0.03, options);
        CHECK(found.converged);
        CHECK(found.objective - found.gap <= right.objective);
        CHECK(std::abs(found.objective - right.objective) <= 1e-10 * right.null_objective);
      }
    }
  }
}

TEST_CASE(
    "a column without a penalty that separates some examples: the fit goes on until its slope is balanced") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    INFO("seed ", seed);
    Rng rng(seed);
    MatrixXd x(60, 6);
    for (double& entry : x.reshaped()) entry = rng.normal();
    VectorXd y(60);
    for (Index i = 0; i < 60; ++i) y[i] = x(i, 0) - 0.5 * x(i, 1) + 1.5 * rng.normal() > 0;
    x.col(5).setZero();
    for (Index i = 0, ones = 0; ones < 2; ++i) {
      if (y[i] == 1) x(i, 5) = 1, ++ones;
    }
    ExactOptions options;
    options.weights.assign(6, 1.0);
    options.weights[5] = 0;
    for (const ExactSolution& point : exact_path(x, y, ConvexLoss::logistic, {.count = 10}, options)) {
      CHECK(point.converged);
    }
  }
}

TEST_CASE("many columns without a penalty: no point is worse than the null model") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    INFO("seed ", seed);
    Rng rng(seed);
    MatrixXd x(14, 300);
    for (double& entry : x.reshaped()) entry = rng.normal();
    VectorXd y(14);
    for (Index i = 0; i < 14; ++i) y[i] = x(i, 0) + rng.normal() > 0;
    ExactOptions options;
    options.weights.assign(300, 1.0);
    std::fill_n(options.weights.begin(), 30, 0.0);
    const double null = solve_exact(x, y, ConvexLoss::logistic, 1e6, options).null_objective;
    for (const double lambda : {0.1, 1e-2, 1e-3}) {
      CHECK(solve_exact(x, y, ConvexLoss::logistic, lambda, options).objective <= null);
    }
  }
}

TEST_CASE("a penalty that underflows, so that its column is free at one lambda and not at another") {
  Rng rng(83);
  MatrixXd x(3, 6);
  VectorXd y(3);
  for (double& entry : x.reshaped()) entry = rng.normal();
  for (double& entry : y) entry = rng.normal();
  ExactOptions options{.intercept = false};
  options.weights = {1e-40, 1, 1, 1, 1, 1};
  CHECK(solve_exact(x, y, ConvexLoss::squared, 1e-300, options).objective < 1e-12);
}

TEST_CASE("rows without weight change nothing, whatever stands in them; constant columns keep their units") {
  Rng rng(82);
  const Level data(0);
  ExactOptions options{.tolerance = 1e-11};
  options.sample_weights.assign(60, 1.0);
  options.sample_weights[11] = 0;
  const double lambda = 0.05;
  const double right = solve_exact(data.centred, data.y, ConvexLoss::squared, lambda, options).objective;
  for (const double far : {1e10, 1e150, 1e200, 1.7e308}) {
    MatrixXd x = data.centred;
    x.row(11).setConstant(far);
    INFO("far ", far);
    const ExactSolution found = solve_exact(x, data.y, ConvexLoss::squared, lambda, options);
    CHECK(found.converged);
    CHECK(found.objective == doctest::Approx(right).epsilon(1e-9));
  }
  // A frozen column that only the fold held out tells from a constant.
  MatrixXd x = data.centred;
  std::vector<Index> fold_of;
  for (Index i = 0; i < 60; ++i) fold_of.push_back(i < 10 ? 0 : 1 + i % 2);
  for (Index i = 0; i < 60; ++i) x(i, 4) = i < 10 ? 1016 : 1000;
  ExactOptions frozen{.mask = Mask::frozen({30}, {4}), .start = std::vector<double>(30, 0.0)};
  frozen.start[4] = 1;
  const VectorXd y = data.y + x.col(4);
  const auto folds =
      cross_validate(x, y, ConvexLoss::squared, {.fold_of = fold_of}, {.lambdas = {0.05}}, frozen);
  CHECK(folds.loss[0] < 0.5);
  // With standardize and groups, a constant column that is frozen has no penalty.
  x.col(4).setConstant(7);
  frozen.standardize = true;
  const double single = solve_exact(x, data.y, ConvexLoss::squared, 0.05, frozen).objective;
  for (Index j = 0; j < 30; ++j) frozen.groups.push_back(j);
  CHECK(solve_exact(x, data.y, ConvexLoss::squared, 0.05, frozen).objective == doctest::Approx(single));
}
