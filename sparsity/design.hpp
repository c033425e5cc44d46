#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <span>
#include <type_traits>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace Eigen {
template <class Derived> class SparseCompressedBase;  // whoever has a sparse matrix has included it
}  // namespace Eigen

namespace taper::sparsity {

/// A design matrix somewhere in memory, n rows (examples) x p columns (features), dense or sparse: pointers
/// into an Eigen matrix that the caller keeps. Both kinds are column-major, as coordinate descent reads
/// columns; of a row-major matrix make a column-major copy. Matrices, maps, references and blocks convert by
/// themselves:
///
///     Eigen::MatrixXd x;               solve_exact(x, ...), solve_exact(x.leftCols(3), ...)
///     Eigen::SparseMatrix<double> s;   solve_exact(s, ...)
class Design {
 public:
  template <class Derived> Design(const Eigen::DenseBase<Derived>& x) : Design(x.derived(), Dense()) {
    static_assert((Derived::Flags & Eigen::DirectAccessBit) != 0, "expected a matrix in memory: evaluate it");
  }
  template <class Derived> Design(const Eigen::SparseCompressedBase<Derived>& x) {
    static_assert(!Derived::IsRowMajor, "expected a column-major sparse matrix");
    static_assert(std::is_same_v<typename Derived::Scalar, double>, "expected double");
    static_assert(std::is_same_v<typename Derived::StorageIndex, int>, "expected indices of type int");
    rows_ = x.rows(), columns_ = x.cols();
    data_ = x.derived().valuePtr(), inner_ = x.derived().innerIndexPtr();
    outer_ = x.derived().outerIndexPtr(), counts_ = x.derived().innerNonZeroPtr();
  }

  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  bool is_sparse() const { return outer_ != nullptr; }

  /// x_j'v, for v with n entries.
  double dot(Index j, const double* v) const;
  /// out[j] = x_j'v for the columns j.
  void dots(std::span<const Index> columns, const double* v, double* out) const;
  /// v += the sum of w[k] x_j for column j = columns[k].
  void combine(std::span<const Index> columns, const double* w, double* v) const;
  /// v += s x_j.
  void add(Index j, double s, double* v) const;
  /// v_i += s weights_i x_ij.
  void add_weighted(Index j, double s, const double* weights, double* v) const;
  /// Calls f(i, x_ij) for the entries of column j that are stored.
  template <class F> void for_entries(Index j, const F& f) const {
    if (is_sparse()) {
      for (Index k = begin(j); k < end(j); ++k) f(Index{inner_[k]}, data_[k]);
    } else {
      for (Index i = 0; i < rows_; ++i) f(i, column(j)[i]);
    }
  }
  /// How many numbers a pass over column j reads.
  Index entries(Index j) const { return is_sparse() ? end(j) - begin(j) : rows_; }
  /// Some entries of a column of a dense matrix.
  void copy(Index j, Index first, Index count, double* to) const {
    std::copy_n(column(j) + first, count, to);
  }
  /// The sums of s_i x_ij and of s_i x_ij^2 over the rows.
  struct Moments {
    double sum, square;
  };
  Moments moments(Index j, const double* s) const;
  /// The same of a column that nobody has looked at. Throws Error for a sparse column whose row numbers do
  /// not rise from 0 to n - 1.
  Moments checked_moments(Index j, const double* s) const;
  /// The largest magnitude in column j, whose entries are finite.
  double largest(Index j) const;
  /// The entries of column j that are stored, and their rows, or no rows when all are.
  void read(Index j, std::vector<double>& values, std::vector<int>& rows) const;
  /// The row of the first entry of column j that is not a finite number, or -1.
  Index first_bad(Index j) const;

 private:
  struct Dense {};
  template <class Derived> Design(const Derived& x, Dense) {
    static_assert(!Derived::IsRowMajor || Derived::IsVectorAtCompileTime, "expected a column-major matrix");
    static_assert(std::is_same_v<typename Derived::Scalar, double>, "expected double");
    if (x.innerStride() != 1 && x.rows() > 1) {
      throw Error("design", "a matrix with inner stride ", x.innerStride(), ": expected 1");
    }
    rows_ = x.rows(), columns_ = x.cols();
    data_ = x.data();
    stride_ = Derived::IsRowMajor ? x.innerStride() : x.outerStride();  // a row has columns of one entry
  }
  Index begin(Index j) const { return outer_[j]; }
  Index end(Index j) const { return counts_ != nullptr ? outer_[j] + counts_[j] : outer_[j + 1]; }
  const double* column(Index j) const { return data_ + j * stride_; }

  Index rows_ = 0, columns_ = 0, stride_ = 0;
  const double* data_ = nullptr;  // dense: entry (i, j) is data[i + j * stride]; sparse: what is not zero
  const int* inner_ = nullptr;    // sparse: rows of the entries
  const int* outer_ = nullptr;    // sparse: where each column begins
  const int* counts_ = nullptr;   // sparse: entries of each column, or null when there are no holes
};

}  // namespace taper::sparsity
