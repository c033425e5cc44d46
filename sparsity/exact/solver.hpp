#pragma once

#include <limits>

#include <taper/sparsity/exact/quadratic_model.hpp>

/// Inside of the exact solvers: the working sets and Newton steps of solve_exact. It keeps its state from one
/// lambda to the next, so that a path is warm-started.
namespace taper::sparsity::exact {

/// What the dual says about a point, in the units of the problem.
struct DualityGap {
  double loss, penalty;  ///< their sum is the objective
  double bound;          ///< of the minimum, from below; -infinity where the point tells none
  double objective() const { return loss + penalty; }
};

/// What an objective may be off by, as a share of it: in comparisons, and where something is claimed.
inline constexpr double rounding = 4e-15, certain_rounding = 2e-14;

/// One group of so many is asked where it is not certain that the others are worth it.
inline constexpr std::size_t sample = 64;

inline constexpr double infinity = std::numeric_limits<double>::infinity();

class Solver {
 public:
  /// Fits the null model. The problem must outlive the solver.
  explicit Solver(const Problem& problem);

  ExactSolution solve(double lambda, double tolerance, Index max_iterations);
  /// The smallest lambda for which all penalized coefficients are zero.
  double lambda_max();
  /// Where solve() starts from: the caller's start, or the null model where that is better.
  Point start_of(double lambda);
  /// Looks at a point, and stays there. Throws Error where its objective is not finite.
  DualityGap evaluate(double lambda, const Point& point, const char* where);
  /// objective - bound, with what rounding may hide.
  double gap_of(double objective, double bound) const;
  /// Of the null model, and not below what rounding leaves of the targets: what tolerances are shares of.
  double null_objective() const { return null_objective_; }
  /// s_i (y_i - mean_i) there: x_j'residual is the negative slope of the loss in coefficient j.
  const Eigen::VectorXd& residual() const { return residual_; }
  /// The predictions there, in the caller's units: of the mean of y, or of the log odds.
  Eigen::VectorXd predictions() const;

 private:
  /// A lower bound of the minimum, from theta scaled.
  struct Bound {
    double value, scale;
  };

  double& w(Index j) { return w_[static_cast<std::size_t>(j)]; }
  double slope(Index j) const { return slopes_[static_cast<std::size_t>(j)]; }
  double dot(Index j, const Eigen::VectorXd& v) const;
  void add(Index j, double s, Eigen::VectorXd& v) const;
  double& score(Index g) { return scores_[static_cast<std::size_t>(g)]; }
  double l1(Index g) const { return problem_.l1_of(g, lambda_); }
  double l2(Index g) const { return problem_.l2_of(g, lambda_); }
  bool works(Index g) const { return working_flags_[static_cast<std::size_t>(g)] != 0; }

  void partition(double lambda);
  void use_free(std::vector<Index> free);
  void go_to_null();
  void start();
  void look();
  double approach(double tolerance, Index max_iterations);
  void update_predictions();
  void update_residual() { loss_ = problem_.derivatives(z_, residual_, curvature_); }
  Eigen::MatrixXd basis_hessian(const Eigen::VectorXd& weights) const;
  void move_free(const Eigen::VectorXd& along_basis);
  Eigen::MatrixXd of_free(const Eigen::MatrixXd& coefficients) const;
  bool fit_unpenalized();
  void project();
  void update_scores(std::span<const Index> groups);
  void score_alive(bool working_known);
  Bound bound(std::span<const Index> groups);
  double penalty() const;
  double primal() const { return loss_ + penalty(); }
  void screen(const Bound& bound, double gap);
  Index change_working_set(bool prune);
  bool fit_working(double tolerance, Index limit);
  bool newton_step(double gap, double tolerance, Index limit);
  ExactSolution solution(double gap, double tolerance) const;

  const Problem& problem_;
  Arena arena_;
  Hessian hessian_;
  QuadraticModel::Scratch scratch_;
  bool stale_ = false;  // the Hessian is that of another place
  double lambda_ = 0;
  double tolerance_ = 0;  // in the units of the problem
  bool feasible_ = true;  // whether theta is orthogonal to what is not penalized
  std::pmr::vector<double> w_;
  double b_ = 0;
  std::pmr::vector<double> slopes_;  // x_j'theta, as of the last evaluation
  Eigen::VectorXd z_, residual_, curvature_, theta_;
  double loss_ = 0;
  double null_loss_ = 0, null_objective_ = 0;
  std::vector<double> null_;  // of the null model: what is not penalized
  bool started_ = false;
  bool settled_ = false;  // whether all is as look() leaves it
  // Theta when all groups were last looked at, or nothing, and what their scores were then, or bounds of
  // them.
  Eigen::VectorXd reference_, per_weight_;  // and 1 / s_i, 0 for rows that do not count
  std::pmr::vector<double> reference_scores_;
  std::pmr::vector<Index>
      scored_;  // of those alive: the working set, and all whose score may be above its weight
  std::pmr::vector<double> scores_;  // ||x_g'theta||, as of the last evaluation, or a bound: score_alive()
  std::pmr::vector<Index> alive_;    // groups that may be nonzero, rising
  bool all_alive_ = true;            // whether none has been screened at this lambda
  std::vector<Index> working_;       // those that are fitted
  std::pmr::vector<char> working_flags_;  // whether a group is among them
  std::vector<Index> free_;               // columns without a penalty at this lambda
  // An orthonormal basis of their span, in the weights of the rows, and the coefficients of each basis
  // vector: what nearly depends on each other is nowhere multiplied by itself.
  Eigen::MatrixXd basis_, basis_coefficients_;
  Eigen::MatrixXd free_columns_;  // those of free_, unless it is the intercept alone, or nothing
  bool groups_are_columns_ = false;
  Index iterations_ = 0;
};

}  // namespace taper::sparsity::exact
