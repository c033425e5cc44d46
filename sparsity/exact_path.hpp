#pragma once

#include <cstdint>
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

/// What a path is worth on rows that it has not seen.
struct CrossValidation {
  std::vector<double> lambdas;         ///< m of them, falling
  std::vector<double> loss;            ///< mean over the folds of the loss on the rows held out
  std::vector<double> standard_error;  ///< of that mean: standard deviation over folds / sqrt(folds)
  Index best = 0;                      ///< place of the smallest loss
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
/// rows the weight 0. Rows are dealt to the folds at random, by the seed alone, and so that for the logistic
/// loss each fold gets its share of both classes; rows of weight 0 are in no fold. Losses are weighted means
/// within a fold. Throws Error like exact_path, for fewer than 2 folds, and for more than there are rows.
CrossValidation cross_validate(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                               Index folds = 5, std::uint64_t seed = 0, const LambdaGrid& grid = {},
                               const ExactOptions& options = {});

}  // namespace taper::sparsity
