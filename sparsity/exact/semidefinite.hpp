#pragma once

#include <Eigen/Core>

/// Inside of the exact solvers: dense linear algebra.
namespace taper::sparsity::exact {

/// A'B, on as many threads as kernels may use; Eigen's own product would ask for all.
Eigen::MatrixXd transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

/// Solves A x = B for a symmetric positive semidefinite A, in the least-squares sense where it is singular.
Eigen::MatrixXd solve_semidefinite(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

}  // namespace taper::sparsity::exact
