#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/kernels/sparse.hpp>
#include <taper/sparsity/design.hpp>

namespace taper::sparsity {

double Design::dot(Index j, const double* v) const {
  static constexpr Index first[] = {0};
  double result = 0;
  if (is_sparse()) {
    kernels::sparse_dots({data_, inner_, outer_ + j, counts_ != nullptr ? counts_ + j : nullptr}, first, v,
                         &result);
    return result;
  }
  kernels::gemm<double>(1, 1, rows_, {column(j), stride_, 1}, {v, 1, rows_}, &result, 1, false);
  return result;
}

void Design::dots(std::span<const Index> columns, const double* v, double* out) const {
  if (is_sparse()) {
    kernels::sparse_dots({data_, inner_, outer_, counts_}, columns, v, out);
    return;
  }
  const auto count = static_cast<Index>(columns.size());
  for (Index k = 0; k < count;) {
    // Neighbouring columns are one matrix, which the kernel reads four columns at a time.
    Index last = k + 1;
    const auto at = [&](Index i) { return columns[static_cast<std::size_t>(i)]; };
    while (last < count && at(last) == at(last - 1) + 1) ++last;
    kernels::gemm<double>(last - k, 1, rows_, {column(at(k)), stride_, 1}, {v, 1, rows_}, out + at(k), 1,
                          false);
    k = last;
  }
}

void Design::combine(std::span<const Index> columns, const double* w, double* v) const {
  for (std::size_t k = 0; k < columns.size(); ++k) {
    if (w[k] != 0) add(columns[k], w[k], v);
  }
}

void Design::add(Index j, double s, double* v) const {
  if (is_sparse()) {
    for (Index k = begin(j); k < end(j); ++k) v[inner_[k]] += s * data_[k];
  } else {
    kernels::scale(rows_, s, column(j), v, true);
  }
}

void Design::add_weighted(Index j, double s, const double* weights, double* v) const {
  if (is_sparse()) {
    for (Index k = begin(j); k < end(j); ++k) v[inner_[k]] += s * weights[inner_[k]] * data_[k];
  } else {
    const double* const x = column(j);
    for (Index i = 0; i < rows_; ++i) v[i] += s * weights[i] * x[i];
  }
}

Design::Moments Design::moments(Index j, const double* s) const {
  if (is_sparse()) {
    Moments result{0, 0};
    for (Index k = begin(j); k < end(j); ++k) {
      const double part = s[inner_[k]] * data_[k];
      result.sum += part;
      result.square += part * data_[k];
    }
    return result;
  }
  const Eigen::Map<const Eigen::ArrayXd> x(column(j), rows_), weight(s, rows_);
  return {(weight * x).sum(), (weight * x.square()).sum()};
}

Design::Moments Design::checked_moments(Index j, const double* s) const {
  if (!is_sparse()) return moments(j, s);
  double sum = 0, square = 0;
  for (Index k = begin(j), previous = -1; k < end(j); ++k) {
    const Index row = inner_[k];
    if (row <= previous || row >= rows_) {
      throw Error("design", "row ", row, " after row ", previous, " in column ", j,
                  " of a sparse matrix: expected rows that rise, below ", rows_);
    }
    previous = row;
    const double part = s[row] * data_[k];
    sum += part;
    square += part * data_[k];
  }
  return {sum, square};
}

double Design::largest(Index j) const {
  const double* const first = is_sparse() ? data_ + begin(j) : column(j);
  double result = 0;
  for (Index k = 0; k < entries(j); ++k) result = std::max(result, std::abs(first[k]));
  return result;
}

void Design::read(Index j, std::vector<double>& values, std::vector<int>& rows) const {
  const double* const first = is_sparse() ? data_ + begin(j) : column(j);
  values.assign(first, first + entries(j));
  rows.clear();
  if (is_sparse()) rows.assign(inner_ + begin(j), inner_ + end(j));
}

Index Design::first_bad(Index j) const {
  const double* const first = is_sparse() ? data_ + begin(j) : column(j);
  const double* const last = first + entries(j);
  const double* const found = std::find_if(first, last, [](double x) { return !std::isfinite(x); });
  if (found == last) return -1;
  return is_sparse() ? inner_[found - data_] : found - first;
}

}  // namespace taper::sparsity
