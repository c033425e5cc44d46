#include <taper/data/table.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {
namespace {

/// Throws unless all columns have one length and label positions are what they should be.
void check(const Table& table, const char* where) {
  for (const Column& column : table.columns) {
    if (static_cast<Index>(column.values.size()) != table.rows()) {
      throw Error(where, "column ", quote(column.name), " has ", column.values.size(), " values: expected ",
                  table.rows(), ", as in the first column");
    }
    if (column.labels.empty()) continue;
    const auto count = static_cast<double>(column.labels.size());
    for (const double value : column.values) {
      if (std::isnan(value) || (value >= 0 && value < count && value == std::floor(value))) continue;
      throw Error(where, "column ", quote(column.name), " has the value ", value,
                  ": expected a position among its ", count, " labels");
    }
  }
}

/// Counts the labels afresh, by first appearance among the values that are left.
void renumber(Column& column) {
  if (column.labels.empty()) return;
  constexpr double unseen = -1;
  std::vector<double> position(column.labels.size(), unseen);
  std::vector<std::string> kept;
  for (double& value : column.values) {
    if (std::isnan(value)) continue;
    const auto old = static_cast<std::size_t>(value);
    if (position[old] == unseen) {
      position[old] = static_cast<double>(kept.size());
      kept.push_back(std::move(column.labels[old]));
    }
    value = position[old];
  }
  column.labels = std::move(kept);
}

std::size_t find_column(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table.columns, name, &Column::name);
  if (found != table.columns.end()) return static_cast<std::size_t>(found - table.columns.begin());
  std::vector<std::string> names;
  for (const Column& column : table.columns) names.push_back(column.name);
  throw Error("table", "no column ", quote(name), ": expected one of ", quote_some(names));
}

void mark_missing(const Column& column, std::vector<bool>& missing) {
  for (std::size_t row = 0; row < missing.size(); ++row) {
    if (std::isnan(column.values[row])) missing[row] = true;
  }
}

void drop_rows(Table& table, const std::vector<bool>& dropped) {
  for (Column& column : table.columns) {
    std::size_t kept = 0;
    for (std::size_t row = 0; row < dropped.size(); ++row) {
      if (!dropped[row]) column.values[kept++] = column.values[row];
    }
    column.values.resize(kept);
    renumber(column);
  }
}

}  // namespace

const Column& Table::column(std::string_view name) const {
  return columns[find_column(*this, name)];
}

Column Table::take(std::string_view name) {
  const auto at = columns.begin() + static_cast<std::ptrdiff_t>(find_column(*this, name));
  Column column = std::move(*at);
  columns.erase(at);
  return column;
}

void drop_missing_rows(Table& table) {
  check(table, "drop_missing_rows");
  std::vector<bool> missing(static_cast<std::size_t>(table.rows()));
  for (const Column& column : table.columns) mark_missing(column, missing);
  drop_rows(table, missing);
}

void drop_missing_rows(Table& table, std::string_view name) {
  check(table, "drop_missing_rows");
  std::vector<bool> missing(static_cast<std::size_t>(table.rows()));
  mark_missing(table.column(name), missing);
  drop_rows(table, missing);
}

}  // namespace taper::data
