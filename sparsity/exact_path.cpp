#include <algorithm>
#include <cmath>
#include <numeric>

#include <taper/autodiff/random.hpp>
#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/exact_path.hpp>

namespace taper::sparsity {
namespace {

std::vector<double> values_of(const LambdaGrid& grid, const exact::Problem& problem, const char* where) {
  if (!grid.lambdas.empty()) {
    for (std::size_t k = 0; k < grid.lambdas.size(); ++k) {
      const double lambda = grid.lambdas[k];
      if (!(lambda >= 0 && std::isfinite(lambda))) {
        throw Error(where, "lambda ", lambda, ": expected a finite number, 0 or more");
      }
      if (k > 0 && lambda >= grid.lambdas[k - 1]) {
        throw Error(where, "lambda ", lambda, " after ", grid.lambdas[k - 1], ": expected values that fall");
      }
    }
    return grid.lambdas;
  }
  if (grid.count < 1) throw Error(where, grid.count, " values of lambda: expected 1 or more");
  if (!(grid.smallest > 0 && grid.smallest < 1)) {
    throw Error(where, "a smallest share ", grid.smallest,
                " of lambda_max: expected more than 0, less than 1");
  }
  if (problem.ratio == 0) {
    throw Error(where, "ratio 0: expected more, as squares alone set nothing to zero, or values of lambda");
  }
  const double top = exact::Solver(problem).largest_slope() / problem.ratio;
  if (!(top > 0)) {
    throw Error(where, "lambda_max ", top, ": expected a penalized column that the targets depend on");
  }
  std::vector<double> result;
  for (Index k = 0; k < grid.count; ++k) {
    const double share = k == 0 ? 0 : static_cast<double>(k) / static_cast<double>(grid.count - 1);
    result.push_back(top * std::pow(grid.smallest, share));
  }
  return result;
}

std::vector<ExactSolution> follow(const exact::Problem& problem, const std::vector<double>& lambdas,
                                  const ExactOptions& options) {
  exact::Solver solver(problem);
  std::vector<ExactSolution> path;
  for (const double lambda : lambdas) {
    path.push_back(solver.solve(lambda, options.tolerance, options.max_iterations));
  }
  return path;
}

/// The fold of each row, or -1 for rows without weight.
std::vector<Index> deal(const exact::Problem& problem, Index folds, std::uint64_t seed) {
  std::vector<Index> rows;
  for (Index i = 0; i < problem.rows(); ++i) {
    if (problem.s[i] > 0) rows.push_back(i);
  }
  if (folds < 2 || folds > static_cast<Index>(rows.size())) {
    throw Error("cross_validate", folds, " folds of ", rows.size(), " rows: expected 2 to ", rows.size());
  }
  Rng(seed).shuffle(rows.begin(), rows.end());
  if (problem.kind == ConvexLoss::logistic) {
    std::ranges::stable_sort(rows, {}, [&](Index i) { return problem.y[i]; });
  }
  std::vector<Index> fold(static_cast<std::size_t>(problem.rows()), -1);
  for (std::size_t k = 0; k < rows.size(); ++k) {
    fold[static_cast<std::size_t>(rows[k])] = static_cast<Index>(k) % folds;
  }
  return fold;
}

Eigen::VectorXd predictions(const Design& x, const ExactSolution& solution) {
  Eigen::VectorXd z = Eigen::VectorXd::Constant(x.rows(), solution.intercept);
  for (Index j = 0; j < x.columns(); ++j) {
    const double w = solution.coefficients[static_cast<std::size_t>(j)];
    if (w != 0) x.add(j, w, z.data());
  }
  return z;
}

}  // namespace

std::vector<double> lambda_grid(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                                const LambdaGrid& grid, const ExactOptions& options) {
  return values_of(grid, exact::Problem(x, y, loss, options, "lambda_grid"), "lambda_grid");
}

std::vector<ExactSolution> exact_path(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y,
                                      ConvexLoss loss, const LambdaGrid& grid, const ExactOptions& options) {
  const exact::Problem problem(x, y, loss, options, "exact_path");
  return follow(problem, values_of(grid, problem, "exact_path"), options);
}

CrossValidation cross_validate(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                               Index folds, std::uint64_t seed, const LambdaGrid& grid,
                               const ExactOptions& options) {
  const char* const where = "cross_validate";
  const exact::Problem problem(x, y, loss, options, where);
  const std::vector<Index> fold_of = deal(problem, folds, seed);
  CrossValidation result;
  result.lambdas = values_of(grid, problem, where);
  result.path = follow(problem, result.lambdas, options);

  const std::size_t m = result.lambdas.size(), p = static_cast<std::size_t>(x.columns());
  result.stability.assign(m * p, 0.0);
  Eigen::MatrixXd losses(static_cast<Index>(m), folds);
  for (Index fold = 0; fold < folds; ++fold) {
    ExactOptions training = options;
    training.sample_weights.assign(problem.s.begin(), problem.s.end());
    exact::Problem held_out = problem;
    for (Index i = 0; i < x.rows(); ++i) {
      const bool out = fold_of[static_cast<std::size_t>(i)] == fold;
      (out ? training.sample_weights[static_cast<std::size_t>(i)] : held_out.s[i]) = 0;
    }
    held_out.s /= held_out.s.sum();
    const auto path = follow(exact::Problem(x, y, loss, training, where), result.lambdas, options);
    for (std::size_t k = 0; k < m; ++k) {
      losses(static_cast<Index>(k), fold) = held_out.loss(predictions(x, path[k]));
      for (std::size_t j = 0; j < p; ++j) result.stability[k * p + j] += path[k].coefficients[j] != 0;
    }
  }
  const double count = static_cast<double>(folds);
  for (double& share : result.stability) share /= count;

  for (Index k = 0; k < losses.rows(); ++k) {
    const double mean = losses.row(k).mean();
    const double variance = (losses.row(k).array() - mean).square().sum() / (count - 1);
    result.loss.push_back(mean);
    result.standard_error.push_back(std::sqrt(variance / count));
  }
  const auto best = std::ranges::min_element(result.loss);  // of equals the first, with the largest lambda
  result.best = best - result.loss.begin();
  const double enough = *best + result.standard_error[static_cast<std::size_t>(result.best)];
  result.one_standard_error =
      std::ranges::find_if(result.loss, [&](double value) { return value <= enough; }) - result.loss.begin();
  return result;
}

}  // namespace taper::sparsity
