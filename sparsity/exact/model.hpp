#pragma once

#include <span>
#include <vector>

#include <taper/sparsity/exact/problem.hpp>

/// Inside of the exact solvers: the quadratic model on a working set.
namespace taper::sparsity::exact {

/// Entries x_j' D x_k of the Hessian for the columns asked for so far, with D as it was when the first of
/// them was computed. Columns are added as the working set grows; the rest is kept.
class Hessian {
 public:
  explicit Hessian(const Problem& problem) : problem_(problem) {}

  bool empty() const { return columns_.empty(); }
  /// Forgets everything; the next entries are computed with these weights.
  void restart(const Eigen::VectorXd& weights);
  /// Forgets everything and its weights.
  void forget() { columns_.clear(); }
  /// Computes what is missing for these columns.
  void require(std::span<const Index> columns);
  /// The entries for rows and columns, which have been required.
  Eigen::MatrixXd block(std::span<const Index> rows, std::span<const Index> columns) const;

 private:
  void grow(Index count);
  void add_dense(std::span<const Index> fresh);
  void add_sparse(std::span<const Index> fresh);
  void copy(Index column, double* to) const;

  const Problem& problem_;
  Eigen::VectorXd weights_;
  std::vector<Index> columns_, slots_;  // what stands in which place, and where each column stands, or -1
  Eigen::MatrixXd entries_;             // with room to grow
  std::vector<double> gathered_;        // dense: the columns side by side
};

/// What is minimized in one Newton step:
///
///     g'(w - w0) + 1/2 (w - w0)' H (w - w0) + sum over groups of (norm ||w_g|| + square/2 ||w_g||^2)
///
/// where H = X'DX - C'E has the unpenalized coefficients eliminated: C holds their products with the columns,
/// and E = (their Hessian)^-1 C. H is either written out, which makes a pass cost the square of the number of
/// columns, or applied through the columns, which costs the length of all of them: better for many short
/// ones.
struct Model {
  struct Block {
    Index begin, size;
    double norm, square;      // of the penalty
    double slope;             // at least the largest eigenvalue of the block of H
    Eigen::MatrixXd hessian;  // the block of H
  };
  std::vector<Block> blocks;
  std::vector<Index> columns;
  Eigen::MatrixXd h;                   // H, or nothing
  Eigen::MatrixXd cross, elimination;  // C and E, one row for each unpenalized coefficient, or nothing
  const Design* design;
  const Eigen::VectorXd* weights;  // the diagonal of D
  Eigen::VectorXd w0, w;
  Eigen::VectorXd gradient0;  // at w0
  /// What tells the gradient at w, and is affine in w: with H written out the gradient itself, otherwise
  /// DX (w - w0), and E (w - w0) below it.
  Eigen::VectorXd state;

  /// Starts at w0. Fills in the blocks of H and their slopes.
  void prepare();
  double penalty(const Eigen::VectorXd& at) const;
  /// One pass of block coordinate descent over w. Returns the largest violation of the optimality conditions
  /// that was met, as a share of the block's `norm` where it has one.
  double pass();
  /// Passes until the violation is at most `tolerance`, with an extrapolation every few of them. Returns how
  /// many there were, at most `limit`.
  Index minimize(double tolerance, Index limit);

 private:
  bool written_out() const { return h.size() > 0; }
  double slope(Index k, const Eigen::VectorXd& of) const;
  void shift(Index k, double by);
  double value(const Eigen::VectorXd& at, const Eigen::VectorXd& of) const;
  double update(const Block& block);
};

/// A'B, on as many threads as kernels may use; Eigen's own product would ask for all.
Eigen::MatrixXd transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

/// Solves A x = B for a symmetric positive semidefinite A, in the least-squares sense where it is singular.
Eigen::MatrixXd solve_semidefinite(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

}  // namespace taper::sparsity::exact
