#pragma once

#include <optional>
#include <vector>

#include <taper/nn/mask.hpp>
#include <taper/sparsity/design.hpp>

namespace taper::sparsity {

/// The loss of one example with target y and prediction z.
enum class ConvexLoss {
  squared,   ///< 1/2 (y - z)^2
  logistic,  ///< log(1 + exp(z)) - y z, for y of 0 and 1
};

/// What is minimized beside loss and lambda, and how far; see solve_exact.
struct ExactOptions {
  /// Share of the norms in the penalty; the rest is the squares' (elastic net). From 0 to 1.
  double ratio = 1;
  /// The number of each coefficient's group, counted from 0 without gaps: p entries, or none when each
  /// coefficient is its own group.
  std::vector<Index> groups = {};
  /// Weight of each group in the penalty, 0 or more: one for each group, or none when all are 1. A group of
  /// weight 0 is not penalized.
  std::vector<double> weights = {};
  /// Weight of each example, 0 or more: n entries, or none when all are equal. They are divided by their sum.
  std::vector<double> sample_weights = {};
  /// Whether the penalty is that of the coefficients of standardized columns, each divided by its (weighted)
  /// standard deviation, or without a free intercept by its root mean square. Coefficients are those of the
  /// columns as they are given all the same. A column whose deviation is 0 gets the coefficient 0.
  bool standardize = false;
  /// Whether the intercept is free; it is not penalized. If not, it stays at start_intercept.
  bool intercept = true;
  /// Which of the p coefficients are free; the others stay at their start, bit for bit.
  std::optional<Mask> mask = {};
  /// Where to start: p entries, or none for zeros. Zeros are taken where they are better.
  std::vector<double> start = {};
  double start_intercept = 0;
  /// Largest duality gap, as a share of the objective of the null model: all penalized coefficients 0, the
  /// others fitted.
  double tolerance = 1e-8;
  /// Passes of coordinate descent over a working set, in all.
  Index max_iterations = 100'000;
};

/// A minimizer, and how sure that is.
struct ExactSolution {
  std::vector<double> coefficients;  ///< p entries; those of groups that are out are exactly 0.
  double intercept = 0;
  double lambda = 0;
  double loss = 0;            ///< the weighted mean alone
  double objective = 0;       ///< loss and penalty
  double gap = 0;             ///< objective - minimum is at most this, rounding included
  double relative_gap = 0;    ///< the same as a share of null_objective
  double null_objective = 0;  ///< of the null model: all penalized coefficients 0, the others fitted
  Index iterations = 0;       ///< passes of coordinate descent
  bool converged = false;
};

/// Minimizes over coefficients w and intercept b
///
///     sum_i s_i loss(y_i, x_i'w + b)  +  lambda sum_g weight_g (ratio ||w_g||_2 + (1 - ratio)/2 ||w_g||^2)
///
/// for x (n x p), y (n) and weights s of the examples that sum to one: lasso, L1 logistic regression, their
/// group and elastic-net forms. There is no factor sqrt(group size) unless the weights bring it.
///
/// The method is proximal Newton on a working set (Lee, Sun and Saunders, SIAM J. Optim. 2014), exact in one
/// step for the squared loss. The quadratic model is minimized by coordinate descent on its Hessian, with
/// Anderson extrapolation (Bertrand and Massias, AISTATS 2021) and with what is not penalized eliminated;
/// where that takes long, by an active-set method, Newton steps on the nonzero coefficients. Without a start,
/// small values of lambda are reached by steps down from larger ones. The working set grows by the groups
/// that violate their optimality condition most (Massias, Gramfort and Salmon, ICML 2018); groups that are
/// certain to be zero are dropped by the sphere test of Ndiaye et al.
/// ("Gap safe screening rules for sparsity enforcing penalties", JMLR 2017, section 3). The gap is that of
/// the dual point s_i (y_i - mean_i), scaled into ||x_g'theta|| <= lambda weight_g ratio and orthogonal to
/// what is not penalized. Memory grows with the square of the working set.
///
/// Where the tolerance is below what rounding allows, `converged` is false and the gap says how far it came.
/// A logistic loss without penalty on separable data has no minimum: coefficients then grow until the loss,
/// which cannot be less than zero, is within the tolerance. Columns without penalty, all of them at lambda 0,
/// are written out, and their Hessian with them.
///
/// Throws Error for numbers that are not finite, lengths that do not fit, logistic targets other than 0
/// and 1, or of one class only with a free intercept, negative lambda, weights or tolerance, all-zero weights
/// of examples, a ratio outside [0, 1], group numbers with gaps, and a group of which only a part is frozen
/// at values other than zero.
ExactSolution solve_exact(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                          double lambda, const ExactOptions& options = {});

/// The smallest lambda for which all free penalized coefficients are zero. Throws Error like solve_exact, and
/// for ratio 0, where there is none.
double lambda_max(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                  const ExactOptions& options = {});

}  // namespace taper::sparsity
