#include <algorithm>
#include <numeric>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/sparsity/exact/hessian.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr Index panel = 1 << 18;     // entries of a panel of dense rows
constexpr Index block_columns = 32;  // whose products with all columns before them are computed together
/// All columns are laid out as rows when they have at most this many times the entries of those that are
/// asked for.
constexpr Index near_all = 4;
constexpr Index mirrored = 16;  // rows and columns of a block that is copied to the other triangle

}  // namespace

Hessian::Hessian(const Problem& problem) : problem_(problem) {
  for (Index j = 0; problem.x.is_sparse() && j < problem.columns(); ++j) all_entries_ += problem.x.entries(j);
}

void Hessian::restart(const Eigen::VectorXd& weights, const Eigen::MatrixXd& beside) {
  weights_ = weights;
  weighted_beside_ = weights.asDiagonal() * beside;
  forget();
}

void Hessian::forget() {
  if (slots_.empty()) slots_.assign(static_cast<std::size_t>(problem_.columns()), -1);
  for (const Index j : columns_) slots_[static_cast<std::size_t>(j)] = -1;
  columns_.clear();
}

void Hessian::require(std::span<const Index> columns) {
  std::vector<Index> fresh;
  for (const Index j : columns) {
    if (slots_[static_cast<std::size_t>(j)] < 0) fresh.push_back(j);
  }
  if (fresh.empty()) return;
  std::ranges::sort(fresh);
  for (std::size_t k = 0; k < fresh.size(); ++k) {
    slots_[static_cast<std::size_t>(fresh[k])] = static_cast<int>(columns_.size() + k);
  }
  const std::size_t all = columns_.size() + fresh.size();
  entries_.resize(all * (all + 1) / 2);
  add_beside(fresh);
  problem_.x.is_sparse() ? add_sparse(fresh) : add_dense(fresh);
}

void Hessian::add_beside(std::span<const Index> fresh) {
  const Index count = weighted_beside_.cols();
  if (count == 0) return;
  beside_.resize((columns_.size() + fresh.size()) * static_cast<std::size_t>(count));
  of_all_columns_.resize(problem_.columns());
  for (Index k = 0; k < count; ++k) {
    problem_.x.dots(fresh, weighted_beside_.col(k).data(), of_all_columns_.data());
    for (const Index j : fresh) {
      const Index slot = slots_[static_cast<std::size_t>(j)];
      beside_[static_cast<std::size_t>(slot * count + k)] = of_all_columns_[j];
    }
  }
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
    for (Index other = 0; other <= k; ++other) column(k)[other] = products_(other, k - old);
  }
}

Index Hessian::entries_of(std::span<const Index> columns) const {
  Index total = 0;
  for (const Index j : columns) total += problem_.x.entries(j);
  return total;
}

/// The rows of these columns, or of all, where that is hardly more.
void Hessian::lay_out_rows() {
  const Index n = problem_.rows(), p = problem_.columns();
  if (static_cast<Index>(laid_out_.size()) == p || laid_out_ == columns_) return;
  laid_out_ = columns_;
  if (all_entries_ <= near_all * entries_of(columns_)) {
    laid_out_.resize(static_cast<std::size_t>(p));
    std::iota(laid_out_.begin(), laid_out_.end(), Index{0});
  }
  const auto for_entries = [&](const auto& f) {
    for (const Index j : laid_out_) {
      const auto place = static_cast<int>(j);
      problem_.x.for_entries(j, [&](Index i, double value) { f(place, static_cast<std::size_t>(i), value); });
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

void Hessian::add_sparse(std::span<const Index> fresh) {
  const Index old = static_cast<Index>(columns_.size());
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
  lay_out_rows();
  // A few columns meet a part of the rows.
  entries_of(fresh) < problem_.rows() ? add_by_columns(old) : add_by_rows(old);
}

/// For each entry of a fresh column its row.
void Hessian::add_by_columns(Index old) {
  const std::size_t all = columns_.size();
  sums_.resize(all + 1);
  for (std::size_t k = static_cast<std::size_t>(old); k < all; ++k) {
    std::ranges::fill(sums_, 0.0);
    problem_.x.for_entries(columns_[k], [&](Index i, double value) {
      const double scaled = weights_[i] * value;
      const auto end = static_cast<std::size_t>(first_[static_cast<std::size_t>(i) + 1]);
      for (auto b = static_cast<std::size_t>(first_[static_cast<std::size_t>(i)]); b < end; ++b) {
        const auto slot = static_cast<std::size_t>(slots_[static_cast<std::size_t>(places_[b])]);
        sums_[std::min(slot, all)] += scaled * values_[b];  // -1 is the largest number
      }
    });
    std::copy_n(sums_.data(), k + 1, column(static_cast<Index>(k)));
  }
}

/// Row by row: a row with c of the columns has c^2 products to add, and nothing is looked for. The slots of
/// fresh columns rise along a row.
void Hessian::add_by_rows(Index old) {
  std::fill(column(old), entries_.data() + entries_.size(), 0.0);
  old_.resize(laid_out_.size() + 1);
  fresh_.resize(laid_out_.size() + 1);
  for (Index i = 0; i < problem_.rows(); ++i) {
    const double weight = weights_[i];
    const auto begin = static_cast<std::size_t>(first_[static_cast<std::size_t>(i)]);
    const auto end = static_cast<std::size_t>(first_[static_cast<std::size_t>(i) + 1]);
    std::size_t olds = 0, freshs = 0;
    for (std::size_t a = begin; a < end; ++a) {
      const int slot = slots_[static_cast<std::size_t>(places_[a])];
      fresh_[freshs] = {values_[a], slot};  // kept only where it counts, so that nothing has to be guessed
      freshs += static_cast<std::size_t>(slot >= old);
      if (old == 0) continue;
      old_[olds] = {values_[a], slot};
      olds += static_cast<std::size_t>(slot >= 0 && slot < old);
    }
    for (std::size_t a = 0; a < freshs; ++a) {
      double* const to = column(fresh_[a].slot);
      const double scaled = weight * fresh_[a].value;
      for (std::size_t b = 0; b < olds; ++b) to[old_[b].slot] += scaled * old_[b].value;
      for (std::size_t b = 0; b <= a; ++b) to[fresh_[b].slot] += scaled * fresh_[b].value;
    }
  }
}

void Hessian::block(std::span<const Index> columns, SquareMatrix& result) const {
  const auto count = static_cast<Index>(columns.size());
  std::vector<Index> slots(columns.size());
  for (std::size_t k = 0; k < slots.size(); ++k) slots[k] = slots_[static_cast<std::size_t>(columns[k])];
  result.resize(count);
  for (Index k = 0; k < count; ++k) {
    const Index slot = slots[static_cast<std::size_t>(k)];
    for (Index i = 0; i <= k; ++i) {
      const Index other = slots[static_cast<std::size_t>(i)];
      result(i, k) = column(std::max(slot, other))[std::min(slot, other)];
    }
  }
  // By blocks, because one of both sides strides over columns.
  for (Index k = 0; k < count; k += mirrored) {
    for (Index i = 0; i <= k; i += mirrored) {
      const Index rows = std::min(mirrored, count - i), width = std::min(mirrored, count - k);
      for (Index a = 0; a < rows; ++a) {
        for (Index b = i == k ? a + 1 : 0; b < width; ++b) result(k + b, i + a) = result(i + a, k + b);
      }
    }
  }
}

Eigen::MatrixXd Hessian::beside(std::span<const Index> columns) const {
  const Index count = weighted_beside_.cols();
  Eigen::MatrixXd result(count, static_cast<Index>(columns.size()));
  for (Index k = 0; k < result.cols(); ++k) {
    const Index slot = slots_[static_cast<std::size_t>(columns[static_cast<std::size_t>(k)])];
    std::copy_n(beside_.data() + slot * count, count, result.col(k).data());
  }
  return result;
}

}  // namespace taper::sparsity::exact
