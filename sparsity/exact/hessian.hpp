#pragma once

#include <span>
#include <vector>

#include <taper/sparsity/exact/problem.hpp>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// Entries x_j' D x_k of the Hessian for the columns asked for so far, with D as it was when the first of
/// them was computed. Columns are added as the working set grows; the rest is kept.
class Hessian {
 public:
  explicit Hessian(const Problem& problem) : problem_(problem) {}

  bool empty() const { return columns_.empty(); }
  const Eigen::VectorXd& weights() const { return weights_; }
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
  void lay_out_rows();

  const Problem& problem_;
  Eigen::VectorXd weights_;
  std::vector<Index> columns_, slots_;  // what stands in which place, and where each column stands, or -1
  Eigen::MatrixXd entries_;             // with room to grow
  std::vector<double> panels_;          // dense: some rows of the columns, as they are and weighted
  Matrix<double> products_;             // dense: what is new
  // Sparse: the columns laid out as rows, which a new start with the same columns finds as they are.
  std::vector<Index> laid_out_, first_;
  std::vector<int> places_;
  std::vector<double> values_;
};

}  // namespace taper::sparsity::exact
