#pragma once

#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/tensor.hpp>
#include <taper/data/table.hpp>

namespace taper::data {

/// The same numbers, where a vector of n is a column, n x 1.
template <class T> View<const T> as_rows(View<const T> x) {
  return x.shape().rank() == 1 ? View<const T>(x.data(), Shape{x.shape()[0], 1}) : x;
}

/// What a model learns from: one row for each example. `x` and `y` hold rows first, with the same number of
/// them, and may have up to four dimensions (n x channels x height x width for images).
template <class T> struct Dataset {
  Tensor<T> x;                        ///< n x features.
  Tensor<T> y;                        ///< n x targets, most often n x 1.
  std::vector<std::string> features;  ///< Names of the columns of x; may be empty.
  std::string target;                 ///< Name of what y holds; may be empty.

  /// x and y as a model and its loss see them: a vector of n is a column, n x 1, so that it has rows like a
  /// prediction.
  View<const T> inputs() const { return as_rows(x.view()); }
  View<const T> targets() const { return as_rows(y.view()); }

  /// Number of examples; 0 for a data set that is not filled yet.
  Index rows() const { return x.shape().rank() == 0 ? 0 : x.shape()[0]; }
};

/// The column named `target` as y (n x 1), all the others, in their order, as x (n x columns - 1). Labels of
/// categorical columns become their positions 0, 1, 2, ... Throws Error for a target that does not exist, a
/// table of the target alone, columns of different lengths, and entries that are not finite numbers in T.
template <class T> Dataset<T> to_dataset(const Table& table, const std::string& target);

/// A copy of the chosen rows, in the order given; a row may be chosen more than once. Rows are counted from
/// 0. Throws Error for one that does not exist.
template <class T> Dataset<T> rows(const Dataset<T>& data, std::span<const Index> chosen);

/// Throws Error, in the name of `where`, when x and y do not have the same number of rows.
template <class T> void check_rows(const Dataset<T>& data, const char* where);

/// Throws Error like check_rows, and also when there are names that do not fit the columns of x, or an entry
/// of x or y is not a finite number.
template <class T> void check(const Dataset<T>& data, const char* where);

/// Throws Error, in the name of `where`, unless there are columns and all of them have the same number of
/// rows, at least one.
template <class T> void check_columns(std::span<const View<const T>> columns, const char* where);

/// The columns as a model sees them: a vector of n is a column, n x 1. Throws Error like check_columns, and
/// also for an entry that is not a finite number.
template <class T>
std::vector<View<const T>> checked_columns(std::span<const View<const T>> columns, const char* where);

/// Throws Error, in the name of `where`, unless both have the same feature names in the same order, so that a
/// model trained on the one can be tested on the other.
template <class T>
void check_same_features(const Dataset<T>& data, const Dataset<T>& expected, const char* where);

}  // namespace taper::data
