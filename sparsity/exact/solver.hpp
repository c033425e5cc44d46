#pragma once

#include <algorithm>

#include <taper/sparsity/exact/model.hpp>

/// Inside of the exact solvers: the working sets and Newton steps of solve_exact. It keeps its state from one
/// lambda to the next, so that a path is warm-started.
namespace taper::sparsity::exact {

/// What the dual says about a point.
struct Standing {
  double loss, penalty;  ///< their sum is the objective
  double bound;          ///< of the minimum, from below; -infinity where the point tells none
  double gap() const { return std::max(0.0, loss + penalty - bound); }
};

/// What an objective may be off by, as a share of it.
inline constexpr double rounding = 4e-15;

class Solver {
 public:
  /// Starts from the problem's start. The problem must outlive the solver.
  explicit Solver(const Problem& problem);

  ExactSolution solve(double lambda, double tolerance, Index max_iterations);
  /// Sets every free penalized coefficient to zero, fits the others, and returns the largest
  /// ||x_g'theta|| / weight_g.
  double largest_slope();
  /// Looks at any point that agrees with the problem in what is frozen, and stays there. Throws Error where
  /// its objective is not finite.
  Standing stand(double lambda, const std::vector<double>& coefficients, double intercept, const char* where);
  /// s_i (y_i - mean_i) there: x_j'residual is the negative slope of the loss in coefficient j.
  const Eigen::VectorXd& residual() const { return residual_; }

 private:
  /// A penalized group at the current lambda.
  struct Active {
    const Group* group;
    double norm, square;  // of the penalty
    double slope;         // ||x_g'theta||, as of the last evaluation
    bool working;
  };
  /// A lower bound of the minimum, from theta scaled.
  struct Bound {
    double value, scale;
  };

  double& w(Index j) { return w_[static_cast<std::size_t>(j)]; }
  double dot(Index j, const Eigen::VectorXd& v) const;
  void add(Index j, double s, Eigen::VectorXd& v) const;

  void split(double lambda);
  void predict();
  void measure() { loss_ = problem_.derivatives(z_, residual_, curvature_); }
  Eigen::MatrixXd free_hessian() const;
  void start(double lambda);
  void balance();
  void project();
  void correlate(std::vector<Active*>& groups);
  Bound bound(const std::vector<Active*>& groups) const;
  double primal() const { return loss_ + lambda_ * problem_.penalty(w_); }
  void screen(const Bound& bound, double gap);
  bool fit_working(double tolerance, Index limit);
  bool newton_step(double gap, double tolerance, Index limit);

  const Problem& problem_;
  Hessian hessian_;
  bool stale_ = false;  // the Hessian is that of another place
  double lambda_ = 0;
  double tolerance_ = 0;
  bool feasible_ = true;  // whether theta is orthogonal to what is not penalized
  std::vector<double> w_;
  double b_ = 0;
  Eigen::VectorXd z_, residual_, curvature_, theta_;
  Eigen::VectorXd slopes_;  // x_j'theta, as of the last evaluation
  double loss_ = 0;
  std::vector<Active> groups_;
  std::vector<Active*> alive_, working_;
  std::vector<Index> free_;       // unpenalized at this lambda
  Eigen::MatrixXd free_columns_;  // those columns, written out
  Index iterations_ = 0;
};

}  // namespace taper::sparsity::exact
