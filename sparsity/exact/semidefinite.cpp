#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/sparsity/exact/semidefinite.hpp>

namespace taper::sparsity::exact {

Eigen::MatrixXd transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  Eigen::MatrixXd result(a.cols(), b.cols());  // which the kernel sees as its transpose, row by row
  kernels::gemm<double>(b.cols(), a.cols(), a.rows(), {b.data(), b.rows(), 1}, {a.data(), 1, a.rows()},
                        result.data(), a.cols(), false);
  return result;
}

void subtract_transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b, SquareMatrix& from) {
  const Eigen::MatrixXd negative = -b;
  kernels::gemm<double>(b.cols(), a.cols(), a.rows(), {negative.data(), b.rows(), 1}, {a.data(), 1, a.rows()},
                        from.data(), from.outerStride(), true);
}

Eigen::MatrixXd solve_semidefinite(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  if (a.rows() == 0) return b;
  if (a.rows() == 1) return a(0, 0) > 0 ? Eigen::MatrixXd(b / a(0, 0)) : Eigen::MatrixXd::Zero(1, b.cols());
  // With a diagonal of ones, so that what counts as singular does not depend on units.
  const Eigen::VectorXd scale =
      a.diagonal().unaryExpr([](double entry) { return entry > 0 ? 1 / std::sqrt(entry) : 0.0; });
  const Eigen::MatrixXd unit = scale.asDiagonal() * a * scale.asDiagonal();
  const Eigen::LLT<Eigen::MatrixXd> factors(unit);
  if (factors.info() == Eigen::Success && factors.rcond() > 1e-12) {
    return scale.asDiagonal() * factors.solve(scale.asDiagonal() * b);
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(unit);
  const double cutoff = 1e-12 * solver.eigenvalues().maxCoeff();
  const Eigen::VectorXd inverse =
      solver.eigenvalues().unaryExpr([=](double entry) { return entry > cutoff ? 1 / entry : 0.0; });
  const auto& vectors = solver.eigenvectors();
  const Eigen::MatrixXd inside = inverse.asDiagonal() * transposed_times(vectors, scale.asDiagonal() * b);
  return scale.asDiagonal() * transposed_times(vectors.transpose(), inside);
}

}  // namespace taper::sparsity::exact
