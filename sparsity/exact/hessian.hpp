#pragma once

#include <span>
#include <vector>

#include <taper/sparsity/exact/problem.hpp>
#include <taper/sparsity/exact/semidefinite.hpp>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// Entries x_j' D x_k of the Hessian for the columns asked for so far, and x_j' D b for some vectors b beside
/// them, with D as it was when the first of them was computed. Columns are added as the working set grows;
/// the rest is kept.
class Hessian {
 public:
  explicit Hessian(const Problem& problem);

  bool empty() const { return columns_.empty(); }
  const Eigen::VectorXd& weights() const { return weights_; }
  /// Forgets everything; the next entries are computed with these weights and, as columns, vectors.
  void restart(const Eigen::VectorXd& weights, const Eigen::MatrixXd& beside);
  /// Forgets everything and its weights.
  void forget();
  /// Computes what is missing for these columns.
  void require(std::span<const Index> columns);
  /// The entries for all pairs of these columns, which have been required.
  void block(std::span<const Index> columns, SquareMatrix& result) const;
  /// The products of the vectors with these columns, which have been required: a row for each vector.
  Eigen::MatrixXd beside(std::span<const Index> columns) const;

 private:
  /// Of the entries for the columns in slots 0 to k and the one in slot k.
  double* column(Index k) { return entries_.data() + k * (k + 1) / 2; }
  const double* column(Index k) const { return entries_.data() + k * (k + 1) / 2; }
  void add_beside(std::span<const Index> fresh);
  void add_dense(std::span<const Index> fresh);
  void add_sparse(std::span<const Index> fresh);
  void add_by_rows(Index old);
  void add_by_columns(Index old);
  void lay_out_rows();
  Index entries_of(std::span<const Index> columns) const;

  const Problem& problem_;
  Index all_entries_ = 0;  // of a sparse design
  Eigen::VectorXd weights_;
  Eigen::MatrixXd weighted_beside_;
  std::vector<double> beside_;   // the products, vectors side by side for each slot
  std::vector<Index> columns_;   // what stands in which slot
  std::vector<int> slots_;       // where each column stands, or -1
  std::vector<double> entries_;  // of the upper triangle, column by column, so that more can follow
  std::vector<double> panels_;   // dense: some rows of the columns, as they are and weighted
  Matrix<double> products_;      // dense: what is new
  // Sparse: columns laid out as rows. A new start with the same columns finds them as they are.
  std::vector<Index> laid_out_, first_;
  std::vector<int> places_;  // which column each value is of
  std::vector<double> values_;
  struct Entry {
    double value;
    int slot;
  };
  std::vector<Entry> old_, fresh_;  // of one row
  std::vector<double> sums_;        // of one column, and what is not asked for at the end
  Eigen::VectorXd of_all_columns_;  // products, of which some are there
};

}  // namespace taper::sparsity::exact
