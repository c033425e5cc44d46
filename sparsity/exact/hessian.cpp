#include <algorithm>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/sparsity/exact/hessian.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr Index panel = 1 << 18;     // entries of a panel of dense rows
constexpr Index block_columns = 32;  // whose products with all columns before them are computed together

}  // namespace

void Hessian::restart(const Eigen::VectorXd& weights) {
  weights_ = weights;
  columns_.clear();
  slots_.assign(static_cast<std::size_t>(problem_.columns()), -1);
}

void Hessian::grow(Index count) {
  if (count <= entries_.rows()) return;
  const Index room = std::max(count, 2 * entries_.rows());
  entries_.conservativeResize(room, room);
}

void Hessian::require(std::span<const Index> columns) {
  std::vector<Index> fresh;
  for (const Index j : columns) {
    Index& slot = slots_[static_cast<std::size_t>(j)];
    if (slot >= 0) continue;
    slot = static_cast<Index>(columns_.size() + fresh.size());
    fresh.push_back(j);
  }
  grow(static_cast<Index>(columns_.size() + fresh.size()));
  if (fresh.empty()) return;
  problem_.x.is_sparse() ? add_sparse(fresh) : add_dense(fresh);
}

/// Panels of rows, whose two copies stay in cache, and of the fresh columns a few at a time, so that little
/// is computed twice in the symmetric part.
void Hessian::add_dense(std::span<const Index> fresh) {
  const Index n = problem_.rows(), old = static_cast<Index>(columns_.size());
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
  const Index all = static_cast<Index>(columns_.size()), count = all - old;
  const Index height = std::clamp<Index>(panel / all, 64, 512);
  panels_.resize(static_cast<std::size_t>(height * (all + count)));
  products_.setZero(all, count);
  double* const plain = panels_.data();
  double* const scaled = plain + height * all;
  for (Index begin = 0; begin < n; begin += height) {
    const Index rows = std::min(height, n - begin);
    for (Index k = 0; k < all; ++k) {
      double* const to = plain + k * height;
      problem_.x.copy(columns_[static_cast<std::size_t>(k)], begin, rows, to);
      if (k < old) continue;
      Eigen::Map<Eigen::ArrayXd>(scaled + (k - old) * height, rows) =
          Eigen::Map<const Eigen::ArrayXd>(to, rows) * weights_.segment(begin, rows).array();
    }
    for (Index k = 0; k < count; k += block_columns) {
      const Index some = std::min(block_columns, count - k);
      kernels::gemm<double>(old + k + some, some, rows, {plain, height, 1}, {scaled + k * height, 1, height},
                            products_.data() + k, count, true);
    }
  }
  for (Index k = old; k < all; ++k) {
    for (Index other = 0; other <= k; ++other) {
      entries_(other, k) = entries_(k, other) = products_(other, k - old);
    }
  }
}

/// The rows of these columns: what stands in which place, places rising.
void Hessian::lay_out_rows() {
  if (laid_out_ == columns_) return;
  laid_out_ = columns_;
  const Index n = problem_.rows();
  const auto for_entries = [&](const auto& f) {
    for (std::size_t k = 0; k < columns_.size(); ++k) {
      const auto place = static_cast<int>(k);
      problem_.x.for_entries(columns_[k],
                             [&](Index i, double value) { f(place, static_cast<std::size_t>(i), value); });
    }
  };
  first_.assign(static_cast<std::size_t>(n) + 2, 0);
  for_entries([&](int, std::size_t i, double) { ++first_[i + 2]; });
  for (std::size_t i = 2; i < first_.size(); ++i) first_[i] += first_[i - 1];
  places_.resize(static_cast<std::size_t>(first_.back()));
  values_.resize(places_.size());
  for_entries([&](int place, std::size_t i, double value) {
    const auto at = static_cast<std::size_t>(first_[i + 1]++);
    places_[at] = place;
    values_[at] = value;
  });
}

/// Row by row: a row with c of the columns has c^2 products to add, and nothing is looked for.
void Hessian::add_sparse(std::span<const Index> fresh) {
  const Index old = static_cast<Index>(columns_.size());
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
  const Index all = static_cast<Index>(columns_.size());
  lay_out_rows();
  entries_.block(0, old, all, all - old).setZero();
  for (Index i = 0; i < problem_.rows(); ++i) {
    const double weight = weights_[i];
    const auto begin = static_cast<std::size_t>(first_[static_cast<std::size_t>(i)]);
    const auto end = static_cast<std::size_t>(first_[static_cast<std::size_t>(i) + 1]);
    for (std::size_t a = begin; a < end; ++a) {
      if (places_[a] < old) continue;
      double* const column = entries_.col(places_[a]).data();
      const double scaled = weight * values_[a];
      for (std::size_t b = begin; b <= a; ++b) column[places_[b]] += scaled * values_[b];
    }
  }
  for (Index k = old; k < all; ++k) {
    for (Index other = 0; other < k; ++other) entries_(k, other) = entries_(other, k);
  }
}

Eigen::MatrixXd Hessian::block(std::span<const Index> rows, std::span<const Index> columns) const {
  Eigen::MatrixXd result(static_cast<Index>(rows.size()), static_cast<Index>(columns.size()));
  for (Index k = 0; k < result.cols(); ++k) {
    const double* const from =
        entries_.col(slots_[static_cast<std::size_t>(columns[static_cast<std::size_t>(k)])]).data();
    for (Index i = 0; i < result.rows(); ++i) {
      result(i, k) = from[slots_[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])]];
    }
  }
  return result;
}

}  // namespace taper::sparsity::exact
