#pragma once

#include <vector>

#include <taper/sparsity/exact.hpp>

/// Inside of the exact solvers: a checked problem, its loss and its dual.
namespace taper::sparsity::exact {

/// Throws Error unless lambda is a finite number, 0 or more.
void require_lambda(double lambda, const char* where);

/// The free coefficients of one group.
struct Group {
  std::vector<Index> columns;
  double weight;
  /// An upper bound of sqrt(sum_i s_i (x_i'u)^2) over unit vectors u, with columns centered when there is an
  /// intercept: how far x_g'theta moves with theta, in the norm of Problem::radius.
  double reach;
};

/// A problem that has been checked. Column p stands for the intercept's column of ones.
struct Problem {
  Problem(const Design& design, const Eigen::Ref<const Eigen::VectorXd>& targets, ConvexLoss kind,
          const ExactOptions& options, const char* where);

  Index rows() const { return x.rows(); }
  Index columns() const { return x.columns(); }

  /// sum_i s_i loss(y_i, z_i).
  double loss(const Eigen::VectorXd& z) const;
  /// The loss, its negative gradient and its second derivative for each z_i.
  double derivatives(const Eigen::VectorXd& z, Eigen::VectorXd& gradient, Eigen::VectorXd& curvature) const;
  /// Second derivatives of parabolas that touch each loss at z_i and are nowhere below it (Jaakkola and
  /// Jordan, Statistics and Computing 2000, equation 10): steps with them cannot overshoot.
  void majorant(const Eigen::VectorXd& z, Eigen::VectorXd& curvature) const;
  /// The dual function of the loss at s theta, -infinity where it is not defined; what groups add is not in
  /// it. With z = offset + x w it is -sum_i s_i loss*(-theta_i / s_i) - theta'offset. `level` is added to
  /// the offset, which changes nothing but rounding where the intercept is free, as theta sums to 0 then.
  double dual(const Eigen::VectorXd& theta, double scale, double level) const;
  /// How far the dual optimum may be from a dual point of this gap, in the norm sqrt(sum_i theta_i^2 / s_i)
  /// (Ndiaye et al., 2017, theorem 6: the dual is strongly concave).
  double radius(double gap) const;
  /// The largest second derivative of the loss of an example.
  double smoothness() const { return kind == ConvexLoss::squared ? 1 : 0.25; }
  /// sum_g weight_g (ratio ||w_g|| + (1 - ratio)/2 ||w_g||^2), frozen groups included.
  double penalty(const std::vector<double>& w) const;

  Design x;
  ConvexLoss kind;
  Eigen::VectorXd y, s;
  Eigen::VectorXd offset;     // of what is frozen
  std::vector<double> start;  // all coefficients
  double start_intercept;
  bool intercept;
  double ratio;
  std::vector<Group> groups;       // with weight, and at least one free column
  std::vector<Index> unpenalized;  // free columns without weight, then p for the intercept
  double frozen_penalty = 0;
};

}  // namespace taper::sparsity::exact
