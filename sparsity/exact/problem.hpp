#pragma once

#include <limits>
#include <span>
#include <vector>

#include <taper/sparsity/exact.hpp>
#include <taper/sparsity/exact/arena.hpp>
#include <taper/sparsity/exact/standardize.hpp>

/// Inside of the exact solvers: a checked problem, its loss and its dual.
namespace taper::sparsity::exact {

/// Throws Error unless lambda is a finite number, 0 or more.
void require_lambda(double lambda, const char* where);

/// Coefficients and intercept, in the units of a Problem.
struct Point {
  std::vector<double> w;
  double b = 0;
};

/// A problem that has been checked, in units of its own, so that no unit of the data changes what rounding
/// does: columns x' (see Standardized), and for the squared loss
///
///     y' = (y - offset - shift) / unit,   w'_j = w_j scale_j / unit,   objective' = objective / unit^2,
///
/// where the offset is that of what is frozen, the shift the mean of what it leaves of y when the intercept
/// is free, and the unit a power of two with sum_i s_i y'_i^2 from 1 to 4. For the logistic loss the unit is
/// 1, the offset stays one, and its mean goes into the intercept. Everything below is in these units, where
/// it is not said otherwise. Column p stands for the intercept's column of ones.
struct Problem {
  Problem(const Design& design, const Eigen::Ref<const Eigen::VectorXd>& targets, ConvexLoss kind,
          const ExactOptions& options, const char* where);

  Index rows() const { return x.rows(); }
  Index columns() const { return x.columns(); }
  /// Penalized groups with at least one free column.
  Index groups() const { return static_cast<Index>(radius_bound.size()); }
  /// Their free columns.
  std::span<const Index> columns_of(Index g) const {
    const auto at = static_cast<std::size_t>(g);
    if (first.empty()) return {members.data() + g, 1};
    return {members.data() + first[at], static_cast<std::size_t>(first[at + 1] - first[at])};
  }

  /// The loss, its negative gradient and its second derivative for each z_i.
  double derivatives(const Eigen::VectorXd& z, Eigen::VectorXd& gradient, Eigen::VectorXd& curvature) const;
  /// Second derivatives of parabolas that touch each loss at z_i and are nowhere below it (Jaakkola and
  /// Jordan, Statistics and Computing 2000, equation 10): steps with them cannot overshoot.
  void majorant(const Eigen::VectorXd& z, Eigen::VectorXd& curvature) const;
  /// The dual function of the loss at scale theta, -infinity where it is not defined; what groups add is not
  /// in it. With z = offset + x w it is -sum_i s_i loss*(-theta_i / s_i) - theta'offset. `level` is added to
  /// the offset, which changes nothing but rounding where the intercept is free, as theta sums to 0 then.
  double dual(const Eigen::VectorXd& theta, double scale, double level) const;
  /// How far the dual optimum may be from a dual point of this gap, in the norm sqrt(sum_i theta_i^2 / s_i)
  /// (Ndiaye et al., 2017, theorem 6: the dual is strongly concave).
  double radius(double gap) const;
  /// The largest second derivative of the loss of an example.
  double smoothness() const { return kind == ConvexLoss::squared ? 1 : 0.25; }

  /// The penalty of group g at the caller's lambda: l1_of ||w_g|| + l2_of / 2 ||w_g||^2.
  double l1_of(Index g, double lambda) const { return lambda * per_unit * l1_weight(g); }
  double l2_of(Index g, double lambda) const { return lambda * l2_weight(g); }
  double l1_weight(Index g) const { return l1[alike ? 0 : static_cast<std::size_t>(g)]; }
  double l2_weight(Index g) const { return l2[alike ? 0 : static_cast<std::size_t>(g)]; }

  /// Calls f for all free columns.
  template <class F> void for_free(const F& f) const {
    for (const Index j : members) f(j);
    for (const Index j : unpenalized) {
      if (j < columns()) f(j);
    }
  }

  /// From the caller's units, and back. What is frozen comes back as it was given.
  Point to_units(std::span<const double> coefficients, double intercept) const;
  void from_units(std::span<const double> w, double b, std::vector<double>& coefficients,
                  double& intercept) const;
  /// How far rounding an intercept in the caller's units moves the objective at most, where the slope in it
  /// is 0.
  double rounding_of(double b) const {
    const double by = b / unit * (std::numeric_limits<double>::epsilon() / 2);
    return intercept ? smoothness() / 2 * by * by : 0;
  }
  /// An objective, bound or gap in the caller's units.
  double in_given_units(double objective) const { return objective * unit * unit; }

  template <class T> using Array = std::pmr::vector<T>;
  Arena arena;        // for what has a number for each column
  Eigen::VectorXd s;  // weights of the rows
  Standardized design;
  const Design& x;
  ConvexLoss kind;
  Eigen::VectorXd y;
  const char* where;         // who asks: what errors begin with
  Eigen::VectorXd offset;    // of what is frozen, for the logistic loss
  Eigen::VectorXd baseline;  // the same in the caller's units for the squared loss, or nothing
  Array<double> given;       // all coefficients to start from, in the caller's units, or nothing for 0
  double given_intercept;
  bool has_start;                            // whether free coefficients start elsewhere than at zero
  bool intercept;                            // whether it is free
  double shift = 0, unit = 1, per_unit = 1;  // per_unit: 1 / unit
  Array<Index> members,
      first;                   // the columns of all groups, and where each group's begin; not for single ones
  Array<double> l1, l2;        // of each group: its penalty at lambda = 1, as l1_of has it; one of all
  bool alike = false;          // when they are alike
  Array<double> radius_bound;  // an upper bound of sqrt(sum_i s_i (x_i'u)^2) over unit vectors u:
                               // how far x_g'theta moves with theta, in the norm of radius()
  std::vector<Index> unpenalized;  // free columns without weight, then p for the intercept
  double frozen_penalty = 0;       // at lambda = 1, divided by unit^2

 private:
  double given_at(Index j) const { return given.empty() ? 0 : given[static_cast<std::size_t>(j)]; }
  void choose_units(const ExactOptions& options);
  void collect_groups(const ExactOptions& options);
};

}  // namespace taper::sparsity::exact
