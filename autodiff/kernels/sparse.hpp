#pragma once

#include <span>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// A sparse matrix in memory, column by column. Column j has the entries from begin[j] on, to begin[j + 1],
/// or count[j] of them where `count` is not null; entry k stands in row rows[k].
struct SparseRef {
  const double* values;
  const int* rows;
  const int* begin;
  const int* count;
};

/// out[j] = x_j'v for each j of the columns. Rows are not checked. In what order an entry is summed depends
/// on the length of its column alone.
void sparse_dots(const SparseRef& x, std::span<const Index> columns, const double* v, double* out);

}  // namespace taper::kernels
