#pragma once

#include <Eigen/Core>
#include <Eigen/SparseCore>
#include <memory_resource>
#include <span>
#include <vector>

#include <taper/sparsity/design.hpp>
#include <taper/sparsity/exact/arena.hpp>

/// Inside of the exact solvers.
namespace taper::sparsity::exact {

/// A design in units in which no digit of it is lost:
///
///     x_ij = shift_j + scale_j x'_ij.
///
/// Columns far from zero for their spread are centred, and columns of extreme units scaled, by powers of two,
/// so that x' is x - shift to the last bit. Where no column needs it, x' is the caller's own matrix,
/// otherwise a copy. A sparse column can be far from zero only when hardly an entry of it is zero: with a
/// share f of equal nonzeros, mean / standard deviation is sqrt(f / (1 - f)). So centring it, which fills it,
/// costs little memory.
class Standardized {
 public:
  /// For weights s >= 0 of the rows that sum to one. Columns are centred when `center`, which takes a free
  /// intercept. Columns of one group (`group`: p numbers, or none when each column is its own) get the same
  /// scale; with `unit` each column gets its standard deviation as its scale, which is no power of two. The
  /// arena must outlive it. Throws Error, in the name of `where`, for entries that are not finite.
  Standardized(const Design& given, const Eigen::VectorXd& s, bool center, std::span<const Index> group,
               bool unit, Arena& arena, const char* where);
  Standardized(const Standardized&) = delete;
  Standardized& operator=(const Standardized&) = delete;

  const Design& x() const { return x_; }
  double shift(Index j) const { return shift_.empty() ? 0 : shift_[static_cast<std::size_t>(j)]; }
  bool is_scaled() const { return !scale_.empty(); }
  double scale(Index j) const { return scale_.empty() ? 1 : scale_[static_cast<std::size_t>(j)]; }
  /// Of x'_j: its weighted mean, and the weighted sum of squares around it (around 0 without `center`).
  double mean(Index j) const { return mean_[static_cast<std::size_t>(j)]; }
  double variance(Index j) const { return variance_[static_cast<std::size_t>(j)]; }

 private:
  bool measure(const Design& given, const Eigen::VectorXd& s, bool center, const char* where);
  void copy(const Design& given, const Eigen::VectorXd& s, bool center, std::span<const Index> group,
            bool unit);

  Design x_;
  Eigen::MatrixXd dense_;
  Eigen::SparseMatrix<double> sparse_;
  std::vector<double> shift_, scale_;
  std::pmr::vector<double> mean_, variance_;
};

}  // namespace taper::sparsity::exact
