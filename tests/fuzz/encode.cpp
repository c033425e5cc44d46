#include <taper/data/encode.hpp>

#include <algorithm>
#include <optional>
#include <string>

#include <taper/data/read_table.hpp>

#include "tables.hpp"

using namespace taper::data;

namespace {

bool is_missing(double value) {
  return std::isnan(value);
}

/// The label of a cell.
const std::string& label(const Column& column, std::size_t row) {
  return column.labels[static_cast<std::size_t>(column.values[row])];
}

void check_sort_labels(const Column& column) {
  Column sorted = column;
  sort_labels(sorted);
  for (std::size_t row = 0; row < column.values.size(); ++row) {
    require(is_missing(column.values[row]) == is_missing(sorted.values[row]));
    if (is_missing(column.values[row])) continue;
    require(column.labels.empty() ? column.values[row] == sorted.values[row]
                                  : label(column, row) == label(sorted, row));
  }
  Column again = sorted;
  sort_labels(again);
  require(again.labels == sorted.labels && same(again.values, sorted.values));
}

/// Labels `column` as 0 and 1, which every cell agrees with; nothing where there are not two classes.
std::optional<Classes> checked_classes(const Column& column, const std::string& positive) {
  Column encoded = column;
  Classes classes;
  try {
    classes = encode_classes(encoded, positive);
  } catch (const taper::Error&) {
    return {};
  }
  require(classes.zero != classes.one && encoded.labels.empty());
  for (std::size_t row = 0; row < column.values.size(); ++row) {
    const double value = encoded.values[row];
    require(is_missing(value) == is_missing(column.values[row]));
    if (is_missing(value)) continue;
    require(value == 0 || value == 1);
    if (!column.labels.empty()) require(label(column, row) == (value == 1 ? classes.one : classes.zero));
  }
  return classes;
}

void check_classes(const Column& column) {
  const std::optional<Classes> classes = checked_classes(column, "");
  require(column.labels.empty() || classes.has_value() == (column.labels.size() == 2));
  if (!classes) return;
  if (!column.labels.empty()) {
    Column sorted = column;
    sort_labels(sorted);
    require(classes->zero == sorted.labels[0] && classes->one == sorted.labels[1]);
  }
  for (const std::string& positive : {classes->zero, classes->one}) {
    if (positive.empty()) continue;  // which stands for no name
    const std::optional<Classes> named = checked_classes(column, positive);
    require(named && named->one == positive);
  }
}

void check_filled(const Table& before, const Table& table, const std::vector<FilledColumn>& filled) {
  require(std::ranges::none_of(table.columns, has_missing));
  std::size_t columns = before.columns.size();
  for (const FilledColumn& record : filled) {
    const Column& old = before.column(record.name);
    const Column& column = table.column(record.name);
    require(std::ranges::count_if(old.values, is_missing) == record.cells && record.cells > 0);
    if (!record.indicator.empty()) {
      ++columns;
      require(std::ranges::equal(table.column(record.indicator).values, old.values, {}, {},
                                 [](double x) { return is_missing(x) ? 1.0 : 0.0; }));
    }
    double least = INFINITY, most = -INFINITY;
    for (const double value : old.values) {
      if (!is_missing(value)) least = std::min(least, value), most = std::max(most, value);
    }
    if (column.labels.empty()) require(least <= record.value && record.value <= most);
    for (std::size_t row = 0; row < old.values.size(); ++row) {
      require(column.values[row] == (is_missing(old.values[row]) ? record.value : old.values[row]));
      if (!column.labels.empty() && is_missing(old.values[row])) require(label(column, row) == "missing");
    }
  }
  require(table.columns.size() == columns);
}

void check_one_hot(const Table& before, const Table& table, const std::vector<OneHotColumn>& encoded) {
  for (const Column& column : table.columns) require(column.labels.empty());
  for (const OneHotColumn& record : encoded) {
    const Column& old = before.column(record.name);
    require(!old.labels.empty());
    for (std::size_t row = 0; row < old.values.size(); ++row) {
      double sum = 0;
      for (const std::string& name : record.columns) {
        const double value = table.column(name).values[row];
        require(value == 0 || value == 1);
        if (name != record.name) require((value == 1) == (name == record.name + '=' + label(old, row)));
        sum += value;
      }
      require(record.columns.size() < 2 || sum == 1);
    }
  }
}

}  // namespace

/// The first byte chooses which labels are read, and what missing cells become.
TAPER_FUZZ {
  if (bytes.empty() || has_large_index(bytes)) return;
  const auto choice = static_cast<unsigned char>(bytes.front());
  CsvOptions options{.separator = std::nullopt, .missing = Missing::keep, .text = true};
  if ((choice & 1) != 0) options.categorical = {"a"};
  if ((choice & 2) != 0) options.missing_words = {"?"};
  Table table = parse_table(bytes.substr(1), options);
  for (const Column& column : table.columns) {
    check_sort_labels(column);
    check_classes(column);
    if (looks_like_row_number(column)) require(std::ranges::is_sorted(column.values));
  }
  const auto fill = static_cast<Fill>((choice >> 2) % 3);
  Table before = table;
  const std::vector<FilledColumn> filled = fill_missing(table, fill);
  check_filled(before, table, filled);
  require_columns(table);
  before = table;
  const std::vector<OneHotColumn> encoded = one_hot(table);
  check_one_hot(before, table, encoded);
  require_columns(table);
}
