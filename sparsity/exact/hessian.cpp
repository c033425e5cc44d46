#include <algorithm>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/sparsity/exact/hessian.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr Index panel = 64;  // dense columns at a time, so that their scaled copies stay in cache

}  // namespace

void Hessian::restart(const Eigen::VectorXd& weights) {
  weights_ = weights;
  columns_.clear();
  slots_.assign(static_cast<std::size_t>(problem_.columns()) + 1, -1);
}

void Hessian::copy(Index column, double* to) const {
  if (column == problem_.columns()) {
    std::fill_n(to, problem_.rows(), 1.0);
  } else {
    problem_.x.copy(column, to);
  }
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
  if (problem_.x.is_sparse()) {
    if (!fresh.empty()) add_sparse(fresh);
    return;
  }
  for (std::size_t begin = 0; begin < fresh.size(); begin += panel) {
    add_dense(std::span(fresh).subspan(begin, std::min<std::size_t>(panel, fresh.size() - begin)));
  }
}

void Hessian::add_dense(std::span<const Index> fresh) {
  const Index n = problem_.rows(), old = static_cast<Index>(columns_.size());
  const Index count = static_cast<Index>(fresh.size()), all = old + count;
  if (static_cast<Index>(gathered_.size()) < n * all) {
    gathered_.resize(static_cast<std::size_t>(n * std::min(2 * all, problem_.columns() + 1)));
  }
  Eigen::MatrixXd scaled(n, count);
  for (Index k = 0; k < count; ++k) {
    double* const to = gathered_.data() + (old + k) * n;
    copy(fresh[static_cast<std::size_t>(k)], to);
    scaled.col(k) = weights_.cwiseProduct(Eigen::Map<const Eigen::VectorXd>(to, n));
  }
  Matrix<double> products(all, count);
  kernels::gemm<double>(all, count, n, {gathered_.data(), n, 1}, {scaled.data(), 1, n}, products.data(),
                        count, false);
  entries_.block(0, old, all, count) = products;
  entries_.block(old, 0, count, old) = products.topRows(old).transpose();
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
}

/// Row by row: a row with c of the columns has c^2 products to add, and nothing is looked for.
void Hessian::add_sparse(std::span<const Index> fresh) {
  const Index n = problem_.rows(), p = problem_.columns();
  const Index old = static_cast<Index>(columns_.size());
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
  const Index all = static_cast<Index>(columns_.size());
  // The columns that are here, as rows of (place, value), places rising.
  struct Entry {
    Index place;
    double value;
  };
  std::vector<Index> first(static_cast<std::size_t>(n) + 1, 0);
  const auto for_entries = [&](const auto& f) {
    for (Index k = 0; k < all; ++k) {
      const Index j = columns_[static_cast<std::size_t>(k)];
      if (j == p) {
        for (Index i = 0; i < n; ++i) f(k, i, 1.0);
      } else {
        problem_.x.for_entries(j, [&](Index i, double value) { f(k, i, value); });
      }
    }
  };
  for_entries([&](Index, Index i, double) { ++first[static_cast<std::size_t>(i) + 1]; });
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) first[i + 1] += first[i];
  std::vector<Entry> rows(static_cast<std::size_t>(first.back()));
  std::vector<Index> next(first.begin(), first.end() - 1);
  for_entries([&](Index k, Index i, double value) {
    rows[static_cast<std::size_t>(next[static_cast<std::size_t>(i)]++)] = {k, value};
  });
  entries_.block(0, old, all, all - old).setZero();
  for (Index i = 0; i < n; ++i) {
    const Entry* const begin = rows.data() + first[static_cast<std::size_t>(i)];
    const Entry* const end = rows.data() + first[static_cast<std::size_t>(i) + 1];
    for (const Entry* a = begin; a != end; ++a) {
      if (a->place < old) continue;
      double* const column = entries_.col(a->place).data();
      const double scaled = weights_[i] * a->value;
      for (const Entry* b = begin; b <= a; ++b) column[b->place] += scaled * b->value;
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
