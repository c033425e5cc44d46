#pragma once

#include <vector>

#include <taper/sparsity/exact/hessian.hpp>
#include <taper/sparsity/exact/semidefinite.hpp>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// What is minimized in one Newton step:
///
///     g'(w - w0) + 1/2 (w - w0)' H (w - w0) + sum over blocks of (l1 ||w_g|| + l2/2 ||w_g||^2)
///
/// where H = X'DX - C'E has the unpenalized coefficients eliminated: C holds their products with the columns,
/// and E = (their Hessian)^-1 C. H is either written out, which makes a pass cost the square of the number of
/// columns, or applied through the columns, which costs the length of all of them: better for many short
/// ones.
///
/// Passes of block coordinate descent find out which blocks are zero, and settle the others while these are
/// few or hardly correlated. Where that takes long, Newton steps on the nonzero coefficients alone, with
/// their signs kept, end it: for single coefficients one step is exact when no sign changes on the way.
struct QuadraticModel {
  struct Block {
    Index begin, size;
    double l1, l2;            // of the penalty
    double steepest = 0;      // at least the largest eigenvalue of the block of H
    Eigen::MatrixXd hessian;  // the block of H, for more than one column
  };
  /// Memory that one model leaves to the next.
  struct Scratch {
    SquareMatrix h, support, factor;
  };

  explicit QuadraticModel(Scratch& scratch) : h(scratch.h), scratch_(scratch) { h.resize(0); }

  std::vector<Block> blocks;
  std::vector<Index> columns;
  SquareMatrix& h;                     // H, or nothing
  Eigen::MatrixXd cross, elimination;  // C and E, one row for each unpenalized coefficient, or nothing
  const Problem* problem;
  Hessian* products;  // which computes what Newton steps on the support need, where H is not written out
  const Eigen::MatrixXd* basis;    // what it has beside the columns
  const Eigen::VectorXd* weights;  // the diagonal of D
  Eigen::VectorXd w0, w;
  Eigen::VectorXd gradient0;  // at w0
  /// What tells the gradient at w, and is affine in w: with H written out the gradient itself, otherwise
  /// DX (w - w0), and E (w - w0) below it.
  Eigen::VectorXd state;

  /// Starts at w0. Fills in the blocks of H.
  void prepare();
  double penalty(const Eigen::VectorXd& at) const;
  /// Minimizes until the violation of the optimality conditions is at most `tolerance`: of a block with an l1
  /// as a share of it, of the others as the root of what it adds to the duality gap, v^2 / (2 l2), as a share
  /// of `gap` among all blocks, times the tolerance. Returns how many passes there were, at most `limit`.
  Index minimize(double tolerance, double gap, Index limit);

 private:
  bool written_out() const { return h.size() > 0; }
  double diagonal(Index k) const;
  double slope(Index k, const Eigen::VectorXd& of) const;
  void shift(Index k, double by);
  double value(const Eigen::VectorXd& at, const Eigen::VectorXd& of) const;
  double update(const Block& block);
  double violation_of(const Block& block, double slope) const;
  double pass();
  double pass_cost() const;
  void extrapolate(const Eigen::MatrixXd& iterates, const Eigen::MatrixXd& states);

  // Newton steps on the support: quadratic_newton.cpp.
  struct Support;
  void take_support_hessian(const std::vector<Index>& support);
  double newton_on_support(double budget, double tolerance);
  bool add_violated(double tolerance);
  bool step_on_support(const Support& support);

  Scratch& scratch_;
  double per_square_ = 0;  // what turns v^2 / (2 l2) into a violation
  double required_ = 0;    // what newton_on_support waits for
  Eigen::VectorXd size_;   // square roots of the diagonal of H, in which differences of w have one scale
};

}  // namespace taper::sparsity::exact
