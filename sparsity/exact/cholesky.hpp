#pragma once

#include <taper/sparsity/exact/semidefinite.hpp>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// The factor R of a positive definite matrix A = R'R, R upper triangular, by blocks, so that nearly all of
/// the work is products (Golub and Van Loan, Matrix Computations, 4th edition, section 4.2.9).
class Cholesky {
 public:
  /// Reads the upper triangle of A, including the diagonal, and puts R there.
  explicit Cholesky(SquareMatrix& a);

  /// Whether A was positive definite, up to rounding. Where not, there is no R.
  bool succeeded() const { return succeeded_; }
  /// A^-1 b.
  Eigen::VectorXd solve(const Eigen::VectorXd& b) const;

 private:
  const SquareMatrix& r_;
  bool succeeded_ = true;
};

}  // namespace taper::sparsity::exact
