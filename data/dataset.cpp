#include <taper/data/dataset.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/finite.hpp>
#include <taper/data/gather.hpp>
#include <taper/data/quote.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

/// `value` as a T that is finite; where it is not, the Error says which entry that was.
template <class T> T finite(double value, Index row, const Column& column) {
  const T converted = static_cast<T>(value);
  if (std::isfinite(converted)) return converted;
  throw Error(
      "to_dataset", "entry ", value, " in row ", row, " (counted from 0), column ", quote(column.name),
      std::isfinite(value) ? ": expected a number in the range of float" : ": expected a finite number");
}

/// Throws if an entry is not finite, naming its row, and its feature by name or position.
template <class T>
void check_finite(const Tensor<T>& tensor, const char* name, const std::vector<std::string>& columns,
                  const char* where) {
  const Index bad = first_not_finite(tensor.data(), tensor.size());
  if (bad < 0) return;
  const Index length = tensor.size() / tensor.shape()[0];
  const Index row = bad / length;
  const Index column = bad % length;
  const std::string feature =
      columns.empty() ? std::to_string(column) : quote(columns[static_cast<std::size_t>(column)]);
  throw Error(where, "entry ", tensor[bad], " in row ", row, " (counted from 0), feature ", feature, " of ",
              name, ": expected a finite number");
}

}  // namespace

template <class T> Dataset<T> to_dataset(const Table& table, const std::string& target) {
  const Column& target_column = table.column(target);
  const Index n = table.rows();
  std::vector<const Column*> feature_columns;
  for (const Column& column : table.columns) {
    if (static_cast<Index>(column.values.size()) != n) {
      throw Error("to_dataset", "column ", quote(column.name), " has ", column.values.size(),
                  " values: expected ", n, ", as in the first column");
    }
    if (&column != &target_column) feature_columns.push_back(&column);
  }
  if (feature_columns.empty()) {
    throw Error("to_dataset", "the table has only the target ", quote(target),
                ": expected features beside it");
  }

  Dataset<T> data{
      Tensor<T>(Shape{n, static_cast<Index>(feature_columns.size())}), Tensor<T>(Shape{n, 1}), {}, target};
  for (const Column* column : feature_columns) data.features.push_back(column->name);
  T* x = data.x.data();
  for (Index row = 0; row < n; ++row) {
    const auto at = static_cast<std::size_t>(row);
    for (const Column* column : feature_columns) *x++ = finite<T>(column->values[at], row, *column);
    data.y[row] = finite<T>(target_column.values[at], row, target_column);
  }
  return data;
}

template <class T> Dataset<T> rows(const Dataset<T>& data, std::span<const Index> chosen) {
  check_rows(data, "rows");
  for (const Index row : chosen) {
    if (row < 0 || row >= data.rows()) {
      throw Error("rows", "row ", row, " of a data set of ", data.rows(), ": expected 0 to ",
                  data.rows() - 1);
    }
  }
  const auto n = static_cast<Index>(chosen.size());
  Dataset<T> result{Tensor<T>(data.x.shape().with(0, n)), Tensor<T>(data.y.shape().with(0, n)), data.features,
                    data.target};
  gather(data.x.view(), chosen, result.x.data());
  gather(data.y.view(), chosen, result.y.data());
  return result;
}

template <class T> void check_rows(const Dataset<T>& data, const char* where) {
  const Shape& x = data.x.shape();
  const Shape& y = data.y.shape();
  if (x.rank() == 0 || y.rank() == 0 || x[0] != y[0]) {
    throw Error(where, "a data set with x ", x, " and y ", y, ": expected as many rows in both");
  }
}

template <class T> void check_columns(std::span<const View<const T>> columns, const char* where) {
  if (columns.empty()) throw Error(where, "no columns: expected one at least");
  const Shape& first = columns.front().shape();
  for (const View<const T>& column : columns) {
    const Shape& shape = column.shape();
    if (shape.rank() > 0 && first.rank() > 0 && shape[0] == first[0] && shape[0] > 0) continue;
    throw Error(where, "columns ", first, " and ", shape,
                ": expected as many rows in all of them, at least one");
  }
}

template <class T>
std::vector<View<const T>> checked_columns(std::span<const View<const T>> columns, const char* where) {
  check_columns(columns, where);
  std::vector<View<const T>> result;
  for (const View<const T>& column : columns) {
    const Index bad = first_not_finite(column.data(), column.size());
    if (bad >= 0) {
      throw Error(where, "entry ", column[bad], " in row ", bad / (column.size() / column.shape()[0]),
                  " of column ", result.size(), " (both counted from 0): expected a finite number");
    }
    result.push_back(as_rows(column));
  }
  return result;
}

template <class T> void check(const Dataset<T>& data, const char* where) {
  check_rows(data, where);
  const Index n = data.rows();
  const auto names = static_cast<Index>(data.features.size());
  if (names != 0 && n != 0 && names != data.x.size() / n) {
    throw Error(where, names, " feature names for x ", data.x.shape(), ": expected ", data.x.size() / n,
                ", or none");
  }
  check_finite(data.x, "x", data.features, where);
  check_finite(data.y, "y", {}, where);
}

template <class T>
void check_same_features(const Dataset<T>& data, const Dataset<T>& expected, const char* where) {
  const auto& given = data.features;
  const auto& wanted = expected.features;
  if (given.size() != wanted.size()) {
    throw Error(where, given.size(), " features: expected ", wanted.size());
  }
  const auto [one, other] = std::ranges::mismatch(given, wanted);
  if (one == given.end()) return;
  throw Error(where, "feature ", one - given.begin(), " (counted from 0) is ", quote(*one), ": expected ",
              quote(*other));
}

#define TAPER_INSTANTIATE(T)                                                                        \
  template Dataset<T> to_dataset(const Table&, const std::string&);                                 \
  template Dataset<T> rows(const Dataset<T>&, std::span<const Index>);                              \
  template void check_rows(const Dataset<T>&, const char*);                                         \
  template void check_columns(std::span<const View<const T>>, const char*);                         \
  template std::vector<View<const T>> checked_columns(std::span<const View<const T>>, const char*); \
  template void check(const Dataset<T>&, const char*);                                              \
  template void check_same_features(const Dataset<T>&, const Dataset<T>&, const char*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data
