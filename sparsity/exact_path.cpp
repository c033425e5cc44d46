#include <algorithm>
#include <cmath>
#include <numeric>

#include <taper/autodiff/random.hpp>
#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/exact_path.hpp>

namespace taper::sparsity {
namespace {

std::vector<double> values_of(const LambdaGrid& grid, const exact::Problem& problem,
                              const ExactOptions& options, const char* where) {
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
  if (options.ratio == 0) {
    throw Error(where, "ratio 0: expected more, as squares alone set nothing to zero, or values of lambda");
  }
  const double top = exact::Solver(problem).lambda_max();
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

/// The fold of each row, or -1 for rows that are never held out.
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

/// Throws Error unless each fold has a row with weight.
std::vector<Index> given_folds(const exact::Problem& problem, const std::vector<Index>& fold_of) {
  constexpr const char* where = "cross_validate";
  if (static_cast<Index>(fold_of.size()) != problem.rows()) {
    throw Error(where, fold_of.size(), " numbers of folds: expected ", problem.rows());
  }
  std::vector<Index> result = fold_of;
  std::vector<Index> counts;
  for (std::size_t i = 0; i < result.size(); ++i) {
    Index& fold = result[i];
    if (fold < -1 || fold >= problem.rows()) {
      throw Error(where, "fold ", fold, " of row ", i, ": expected -1 to ", problem.rows() - 1);
    }
    if (problem.s[static_cast<Index>(i)] == 0) fold = -1;
    if (fold_of[i] < 0) continue;
    counts.resize(std::max(counts.size(), static_cast<std::size_t>(fold_of[i]) + 1), 0);
    counts[static_cast<std::size_t>(fold_of[i])] += fold >= 0;
  }
  for (std::size_t fold = 0; fold < counts.size(); ++fold) {
    if (counts[fold] == 0) {
      throw Error(where, "fold ", fold, " of ", counts.size(), " has no row: expected numbers without gaps");
    }
  }
  if (counts.size() < 2) throw Error(where, counts.size(), " folds: expected 2 or more");
  return result;
}

/// Throws Error where a fold leaves only one class.
void require_classes(const Eigen::VectorXd& y, const Eigen::VectorXd& s, const std::vector<Index>& fold_of,
                     Index folds) {
  for (Index fold = 0; fold < folds; ++fold) {
    bool seen[2] = {};
    for (Index i = 0; i < y.size(); ++i) {
      if (s[i] > 0 && fold_of[static_cast<std::size_t>(i)] != fold) seen[y[i] != 0] = true;
    }
    if (seen[0] && seen[1]) continue;
    throw Error("cross_validate", "all labels ", seen[0] ? 1 : 0, " in fold ", fold,
                ", so that none is left without it: expected both classes outside of each fold");
  }
}

/// What predictions z are worth on rows with weights s.
struct HeldOut {
  double loss = 0, error = 0, auc = 0;
};

HeldOut judge(const Eigen::VectorXd& z, const Eigen::VectorXd& y, const Eigen::VectorXd& s, ConvexLoss kind) {
  HeldOut result;
  const double all = s.sum();
  if (kind == ConvexLoss::squared) {
    for (Index i = 0; i < y.size(); ++i) {
      if (s[i] > 0) result.loss += s[i] / all * (y[i] - z[i]) * (y[i] - z[i]) / 2;
    }
    return result;
  }
  std::vector<Index> order;
  double of_class[2] = {};
  for (Index i = 0; i < y.size(); ++i) {
    if (s[i] == 0) continue;
    order.push_back(i);
    of_class[y[i] != 0] += s[i];
    const double against = y[i] != 0 ? -z[i] : z[i];
    result.loss += s[i] / all * (std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against))));
    result.error += s[i] / all * (against > 0 ? 1 : against == 0 ? 0.5 : 0);
  }
  // Of all pairs of both classes, the share in the right order, and half of those alike.
  std::ranges::sort(order, {}, [&](Index i) { return z[i]; });
  double below = 0, pairs = 0;
  for (std::size_t k = 0; k < order.size();) {
    double here[2] = {};
    const double level = z[order[k]];
    for (; k < order.size() && z[order[k]] == level; ++k) here[y[order[k]] != 0] += s[order[k]];
    pairs += here[1] * (below + here[0] / 2);
    below += here[0];
  }
  result.auc = pairs / of_class[0] / of_class[1];  // NaN without one of the classes
  return result;
}

}  // namespace

std::vector<double> lambda_grid(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                                const LambdaGrid& grid, const ExactOptions& options) {
  return values_of(grid, exact::Problem(x, y, loss, options, "lambda_grid"), options, "lambda_grid");
}

std::vector<ExactSolution> exact_path(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y,
                                      ConvexLoss loss, const LambdaGrid& grid, const ExactOptions& options) {
  const exact::Problem problem(x, y, loss, options, "exact_path");
  return follow(problem, values_of(grid, problem, options, "exact_path"), options);
}

CrossValidation cross_validate(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                               const CrossValidationOptions& validation, const LambdaGrid& grid,
                               const ExactOptions& options) {
  const char* const where = "cross_validate";
  const exact::Problem problem(x, y, loss, options, where);
  const std::vector<Index> fold_of = validation.fold_of.empty()
                                         ? deal(problem, validation.folds, validation.seed)
                                         : given_folds(problem, validation.fold_of);
  const Index folds = std::ranges::max(fold_of) + 1;
  if (loss == ConvexLoss::logistic && options.intercept) require_classes(y, problem.s, fold_of, folds);
  CrossValidation result;
  result.folds = folds;
  result.lambdas = values_of(grid, problem, options, where);
  const std::size_t m = result.lambdas.size(), p = static_cast<std::size_t>(x.columns());
  const Index total = static_cast<Index>(m) * (folds + 1);
  Index done = 0;
  const auto solve = [&](exact::Solver& solver, double lambda) {
    ExactSolution solution = solver.solve(lambda, options.tolerance, options.max_iterations);
    if (validation.progress) validation.progress(++done, total);
    return solution;
  };
  exact::Solver whole(problem);
  for (const double lambda : result.lambdas) result.path.push_back(solve(whole, lambda));

  result.stability.assign(m * p, 0.0);
  result.unconverged.assign(m, 0);
  result.fold_gap.assign(m, 0.0);
  const auto count = static_cast<double>(folds);
  std::vector<std::vector<HeldOut>> held(m);
  for (Index fold = 0; fold < folds; ++fold) {
    ExactOptions training = options;
    training.sample_weights.assign(problem.s.begin(), problem.s.end());
    Eigen::VectorXd out = problem.s;
    for (std::size_t i = 0; i < fold_of.size(); ++i) {
      (fold_of[i] == fold ? training.sample_weights[i] : out[static_cast<Index>(i)]) = 0;
    }
    const exact::Problem rest(x, y, loss, training, where);
    exact::Solver solver(rest);
    for (std::size_t k = 0; k < m; ++k) {
      const ExactSolution solution = solve(solver, result.lambdas[k]);
      held[k].push_back(judge(solver.predictions(), y, out, loss));
      result.unconverged[k] += solution.converged ? 0 : 1;
      result.fold_gap[k] = std::max(result.fold_gap[k], solution.relative_gap);
      for (std::size_t j = 0; j < p; ++j) result.stability[k * p + j] += solution.coefficients[j] != 0;
    }
  }
  for (double& share : result.stability) share /= count;

  for (const std::vector<HeldOut>& values : held) {
    double sum = 0, squares = 0, error = 0, auc = 0;
    int with_auc = 0;
    for (const HeldOut& value : values) {
      sum += value.loss;
      error += value.error;
      if (std::isnan(value.auc)) continue;
      auc += value.auc;
      ++with_auc;
    }
    for (const HeldOut& value : values) squares += (value.loss - sum / count) * (value.loss - sum / count);
    result.loss.push_back(sum / count);
    result.deviance.push_back(2 * sum / count);
    result.standard_error.push_back(std::sqrt(squares / (count - 1) / count));
    if (loss == ConvexLoss::squared) continue;
    result.error.push_back(error / count);
    result.auc.push_back(auc / with_auc);
  }
  const auto best = std::ranges::min_element(result.loss);  // of equals the first, with the largest lambda
  result.best = best - result.loss.begin();
  const double enough = *best + result.standard_error[static_cast<std::size_t>(result.best)];
  result.one_standard_error =
      std::ranges::find_if(result.loss, [&](double value) { return value <= enough; }) - result.loss.begin();
  return result;
}

}  // namespace taper::sparsity
