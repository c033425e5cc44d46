#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <new>
#include <vector>

/// Inside of the exact solvers: dense linear algebra.
namespace taper::sparsity::exact {

/// A square matrix that keeps its memory when it becomes smaller, so that matrices of changing sizes need not
/// be allocated and cleared page by page, again and again.
class SquareMatrix : public Eigen::Map<Eigen::MatrixXd> {
 public:
  SquareMatrix() : Map(nullptr, 0, 0) {}
  SquareMatrix(const SquareMatrix&) = delete;
  SquareMatrix& operator=(const SquareMatrix&) = delete;
  using Map::operator=;

  /// What it holds is lost.
  void resize(Eigen::Index size) {
    memory_.resize(std::max(memory_.size(), static_cast<std::size_t>(size * size)));
    reshape(size);
  }
  /// Takes rows and columns, with rising numbers, of another matrix or of itself.
  void take(const SquareMatrix& from, const std::vector<Eigen::Index>& places) {
    memory_.resize(std::max(memory_.size(), places.size() * places.size()));
    double* to = memory_.data();  // of its own never ahead of what is read
    for (const Eigen::Index k : places) {
      for (const Eigen::Index i : places) *to++ = from.coeff(i, k);
    }
    reshape(static_cast<Eigen::Index>(places.size()));
  }

 private:
  void reshape(Eigen::Index size) { new (static_cast<Map*>(this)) Map(memory_.data(), size, size); }

  std::vector<double> memory_;
};

/// A'B, on as many threads as kernels may use; Eigen's own product would ask for all.
Eigen::MatrixXd transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);
/// from -= a' b.
void subtract_transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b, SquareMatrix& from);

/// Solves A x = B for a symmetric positive semidefinite A, in the least-squares sense where it is singular.
Eigen::MatrixXd solve_semidefinite(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b);

}  // namespace taper::sparsity::exact
