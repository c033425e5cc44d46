#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/shape.hpp>

namespace taper::data {

/// One named column of a table. Where `labels` is not empty the column is categorical: its values are
/// positions in `labels`, which stand in the order of their first appearance. A missing cell is NaN.
struct Column {
  std::string name;
  std::vector<double> values;
  std::vector<std::string> labels;
};

/// Columns of equal length, as a reader found them in a file.
struct Table {
  std::vector<Column> columns;

  /// Number of rows; 0 for a table without columns.
  Index rows() const { return columns.empty() ? 0 : static_cast<Index>(columns.front().values.size()); }
  /// The column of that name. Throws Error, listing some of the names, when there is none.
  const Column& column(std::string_view name) const;
  /// Removes that column and returns it. Throws Error like column.
  Column take(std::string_view name);
};

/// Takes out every row that has a missing cell, or one in the column named. Labels that are gone with their
/// rows leave `labels`, too. Throws Error when columns differ in length, a value of a categorical one is no
/// position in its labels, or no column has that name.
void drop_missing_rows(Table& table);
void drop_missing_rows(Table& table, std::string_view name);

}  // namespace taper::data
