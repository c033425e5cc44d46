#pragma once

#include <Eigen/Core>

namespace taper::optim {

/// The factor R of a positive definite matrix A = R'R, R upper triangular, by blocks, so that nearly all of
/// the work is products (Golub and Van Loan, Matrix Computations, 4th edition, section 4.2.9).
class Cholesky {
 public:
  /// Reads the upper triangle of A, n x n, including the diagonal, and puts R there. A must outlive it.
  explicit Cholesky(Eigen::Ref<Eigen::MatrixXd> a);

  /// Whether A was positive definite, up to rounding. Where not, there is no R.
  bool succeeded() const { return succeeded_; }
  /// A^-1 b.
  Eigen::VectorXd solve(const Eigen::VectorXd& b) const;
  /// Puts A^-1 in place of A, both triangles; R is lost.
  void invert();

 private:
  Eigen::Ref<Eigen::MatrixXd> r_;
  bool succeeded_ = true;
};

}  // namespace taper::optim
