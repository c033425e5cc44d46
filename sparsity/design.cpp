#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/sparsity/design.hpp>

namespace taper::sparsity {

double Design::dot(Index j, const double* v) const {
  double result = 0;
  if (is_sparse()) {
    for (Index k = begin(j); k < end(j); ++k) result += data_[k] * v[inner_[k]];
  } else {
    kernels::gemm<double>(1, 1, rows_, {column(j), stride_, 1}, {v, 1, rows_}, &result, 1, false);
  }
  return result;
}

void Design::dots(std::span<const Index> columns, const double* v, double* out) const {
  if (is_sparse()) {
    const int* const rows = inner_;
    const double* const data = data_;
    for (const Index j : columns) {
      double sum = 0;
      for (Index k = begin(j), last = end(j); k < last; ++k) sum += data[k] * v[rows[k]];
      out[j] = sum;
    }
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
  if (!is_sparse()) {
    const double* const end = column(j) + rows_;
    const double* const found = std::find_if(column(j), end, [](double x) { return !std::isfinite(x); });
    return found == end ? -1 : found - column(j);
  }
  for (Index k = begin(j), previous = -1; k < end(j); ++k) {
    if (inner_[k] <= previous || inner_[k] >= rows_) {
      throw Error("design", "row ", inner_[k], " after row ", previous, " in column ", j,
                  " of a sparse matrix: expected rows that rise, below ", rows_);
    }
    previous = inner_[k];
    if (!std::isfinite(data_[k])) return previous;
  }
  return -1;
}

}  // namespace taper::sparsity
