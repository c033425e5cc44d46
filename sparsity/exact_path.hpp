#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <taper/sparsity/exact.hpp>

namespace taper::sparsity {

/// The values of lambda of a path.
struct LambdaGrid {
  /// How many, evenly spaced in the logarithm from lambda_max down to `smallest` * lambda_max.
  Index count = 100;
  double smallest = 1e-2;
  /// The values themselves, which must fall, in place of the two above.
  std::vector<double> lambdas = {};
};

/// The grid written out. Throws Error for fewer than one value, for `smallest` outside (0, 1), for values
/// that do not fall or are negative, for a lambda_max of 0, which has no grid below it, and like lambda_max.
std::vector<double> lambda_grid(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                                const LambdaGrid& grid = {}, const ExactOptions& options = {});

/// The solutions of solve_exact along a grid, from its largest lambda to its smallest, each one started from
/// the one before. The first starts from options.start, as the frozen coefficients must; tolerance and
/// iterations are for each. Throws Error like solve_exact and lambda_grid.
std::vector<ExactSolution> exact_path(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y,
                                      ConvexLoss loss, const LambdaGrid& grid = {},
                                      const ExactOptions& options = {});

/// How rows are held out.
struct CrossValidationOptions {
  Index folds = 5;
  std::uint64_t seed = 0;
  /// The fold of each row, counted from 0 without gaps, or -1 for a row that is never held out: n entries in
  /// place of the two above, or none.
  std::vector<Index> fold_of = {};
  /// Called after each solution with how many there are and how many there will be, all folds together.
  std::function<void(Index done, Index total)> progress = {};
};

/// What a path is worth on rows that it has not seen. Means over folds have one value for each lambda.
struct CrossValidation {
  std::vector<double> lambdas;         ///< m of them, falling
  std::vector<double> loss;            ///< mean over the folds of the loss on the rows held out
  std::vector<double> standard_error;  ///< of that mean: standard deviation over folds / sqrt(folds)
  std::vector<double> deviance;        ///< twice the loss: squared error, or -2 log-likelihood
  /// For two classes: the share of rows held out whose class is predicted wrong, and the area under the ROC
  /// curve, over the folds that hold out both classes (NaN where none does). Empty for the squared loss.
  std::vector<double> error, auc;
  std::vector<Index> unconverged;  ///< in how many folds the solution did not reach the tolerance
  std::vector<double> fold_gap;    ///< the largest relative gap over the folds
  Index folds = 0;
  Index best = 0;  ///< place of the smallest loss
  /// Place of the largest lambda whose loss is at most that of the best and its standard error (Breiman,
  /// Friedman, Olshen and Stone, "Classification and regression trees", 1984, section 3.4.3).
  Index one_standard_error = 0;
  /// m x p, row by row: the share of the folds in which a coefficient is not zero.
  std::vector<double> stability;
  std::vector<ExactSolution> path;  ///< on all rows

  /// The stability of coefficient j at place k of the path.
  double stability_at(Index k, Index j) const {
    const Index p = static_cast<Index>(stability.size() / lambdas.size());
    return stability[static_cast<std::size_t>(k * p + j)];
  }
};

/// Cross-validation over a path. The grid is that of all rows; each fold in turn is held out, by giving its
/// rows the weight 0, so that what is computed from the data (with options.standardize the scale of columns)
/// is computed without it. Rows are dealt to the folds at random, by the seed alone, and so that for the
/// logistic loss each fold gets its share of both classes, unless the folds are given; rows of weight 0 are
/// in no fold. Losses are weighted means within a fold. Throws Error like exact_path, for fewer than 2 folds,
/// for more than there are rows, for folds that do not fit the rows, and for a fold without which only one
/// class is left.
CrossValidation cross_validate(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                               const CrossValidationOptions& validation = {}, const LambdaGrid& grid = {},
                               const ExactOptions& options = {});

}  // namespace taper::sparsity
