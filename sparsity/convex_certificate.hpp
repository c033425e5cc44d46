#pragma once

#include <iosfwd>
#include <span>

#include <taper/sparsity/exact.hpp>

namespace taper::sparsity {

/// How far a point is from the minimum of a convex problem, by two measures. The duality gap is a proof: the
/// objective is above its minimum by at most that. The optimality (KKT) conditions say where: which zeros the
/// penalty does not ask for, and which nonzeros are not where they should be. Groups frozen as a whole are
/// not counted; those without a penalty are.
struct ConvexCertificate {
  double lambda = 0;
  double loss = 0;            ///< the weighted mean alone
  double penalty = 0;         ///< times lambda
  double objective = 0;       ///< their sum
  double bound = 0;           ///< the dual's: the minimum is at least this; -infinity when nothing is known
  double gap = 0;             ///< objective - bound, not below 0, rounding included
  double relative_gap = 0;    ///< the same as a share of null_objective
  double null_objective = 0;  ///< of the null model: all penalized coefficients 0, the others fitted
  Index zeros = 0;            ///< groups whose free coefficients are all exactly 0
  Index nonzeros = 0;         ///< the others
  Index violated_zeros = 0;
  Index violated_nonzeros = 0;
  /// The largest violation: the distance of the loss's negative slope from the subdifferential of the
  /// penalty, as a Euclidean norm over the group. At zero it is ||x_g'theta|| - lambda weight ratio. With
  /// `standardize` and groups the columns are the standardized ones.
  double worst = 0;
  Index worst_group = -1;  ///< where that is, or -1 when no group has one above 0
  /// The magnitude of the loss's slope in a free intercept.
  double intercept_violation = 0;
  bool intercept_violated = false;
  double tolerance = 0;  ///< the one of the options, which the counts refer to

  /// Whether the relative gap is at most `within`, and no condition is violated.
  bool certified(double within) const {
    return relative_gap <= within && violated_zeros == 0 && violated_nonzeros == 0 && !intercept_violated;
  }
};

/// A short table.
std::ostream& operator<<(std::ostream& out, const ConvexCertificate& certificate);

/// Judges any point of the problem of solve_exact, whose arguments these are: p coefficients and an
/// intercept, wherever they come from. What the mask freezes is taken as the point has it; `start`,
/// `start_intercept` and `max_iterations` are not looked at.
///
/// The gap is that of solve_exact: from the dual point s_i (y_i - mean_i), made orthogonal to what is not
/// penalized and scaled into ||x_g'theta|| <= lambda weight_g ratio (Ndiaye et al., JMLR 2017, section 3). A
/// violation v of the conditions counts when it is above sqrt(2 L tolerance null_objective), where L is an
/// upper bound of the objective's second derivative within the group, the norms apart: one gradient step of
/// the group alone would lower a smooth objective by v^2 / 2L, more than what the tolerance allows.
///
/// Throws Error like solve_exact, and for coefficients that are not p finite numbers.
ConvexCertificate certify(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                          double lambda, std::span<const double> coefficients, double intercept,
                          const ExactOptions& options = {});

}  // namespace taper::sparsity
