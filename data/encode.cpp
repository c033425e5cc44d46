#include <taper/data/encode.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <set>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/moments.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {
namespace {

/// The different values of a column, rising; of many of them the first that come.
std::vector<double> distinct_values(const Column& column) {
  constexpr std::size_t many = 20;
  std::set<double> seen;
  for (const double value : column.values) {
    if (!std::isnan(value)) seen.insert(value);
    if (seen.size() == many) break;
  }
  return {seen.begin(), seen.end()};
}

/// A column of two numbers as one of labels.
Column with_labels(const Column& column, const std::vector<double>& values) {
  Column result{column.name, column.values, {}};
  for (const double value : values) result.labels.push_back(number_text(value));
  for (double& value : result.values) {
    if (!std::isnan(value)) value = value == values.front() ? 0 : 1;
  }
  return result;
}

bool same_number(const std::string& a, const std::string& b) {
  double x, y;
  return parse_number(a, x) == NumberKind::finite && parse_number(b, y) == NumberKind::finite && x == y;
}

/// 1 for a word for true, 0 for one for false, else -1.
int truth(std::string word) {
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word == "true" ? 1 : word == "false" ? 0 : -1;
}

double median_of(std::vector<double> present) {
  const auto middle = present.begin() + static_cast<std::ptrdiff_t>(present.size() / 2);
  std::ranges::nth_element(present, middle);
  if (present.size() % 2 == 1) return *middle;
  return std::midpoint(*std::max_element(present.begin(), middle), *middle);
}

void require_distinct_names(const std::vector<Column>& columns, const char* where) {
  std::set<std::string_view> names;
  for (const Column& column : columns) {
    if (!names.insert(column.name).second) {
      throw Error(where, "a second column ", quote(column.name), ": expected distinct names");
    }
  }
}

}  // namespace

void sort_labels(Column& column) {
  if (column.labels.empty()) return;
  std::vector<double> numbers(column.labels.size());
  bool all_numbers = true;
  for (std::size_t k = 0; k < numbers.size() && all_numbers; ++k) {
    all_numbers = parse_number(column.labels[k], numbers[k]) == NumberKind::finite;
  }
  std::vector<std::size_t> order(column.labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    if (all_numbers && numbers[a] != numbers[b]) return numbers[a] < numbers[b];
    return column.labels[a] < column.labels[b];
  });
  std::vector<double> position(order.size());
  std::vector<std::string> labels;
  for (std::size_t k = 0; k < order.size(); ++k) {
    position[order[k]] = static_cast<double>(k);
    labels.push_back(std::move(column.labels[order[k]]));
  }
  column.labels = std::move(labels);
  for (double& value : column.values) {
    if (!std::isnan(value)) value = position[static_cast<std::size_t>(value)];
  }
}

Classes encode_classes(Column& column, const std::string& positive) {
  const std::vector<double> values = distinct_values(column);
  if (values.size() != 2) {
    std::vector<std::string> names;
    for (const double value : values) {
      names.push_back(column.labels.empty() ? number_text(value)
                                            : column.labels[static_cast<std::size_t>(value)]);
    }
    throw Error("classes", "column ", quote(column.name), " has the ",
                names.size() == 1 ? "class " : "classes ", quote_some(names), ": expected two");
  }
  Column classes = column.labels.empty() ? with_labels(column, values) : column;
  sort_labels(classes);
  if (!positive.empty()) {
    auto one = std::ranges::find(classes.labels, positive);
    if (one == classes.labels.end()) {
      one = std::ranges::find_if(classes.labels,
                                 [&](const std::string& label) { return same_number(label, positive); });
    }
    if (one == classes.labels.end()) {
      throw Error("classes", "no class ", quote(positive), " in column ", quote(column.name),
                  ": expected one of ", quote_some(classes.labels));
    }
    if (one == classes.labels.begin()) {
      std::ranges::reverse(classes.labels);
      for (double& value : classes.values) value = 1 - value;
    }
  }
  column = {std::move(classes.name), std::move(classes.values), {}};
  return {classes.labels[0], classes.labels[1]};
}

bool looks_like_row_number(const Column& column) {
  if (!column.labels.empty() || column.values.size() < 3) return false;
  for (std::size_t row = 0; row < column.values.size(); ++row) {
    if (column.values[row] != std::floor(column.values[row])) return false;
    if (row > 0 && !(column.values[row] > column.values[row - 1])) return false;
  }
  return true;
}

std::vector<FilledColumn> fill_missing(Table& table, Fill fill) {
  std::vector<FilledColumn> filled;
  std::vector<Column> result;
  for (Column& column : table.columns) {
    std::vector<double> present;
    for (const double value : column.values) {
      if (!std::isnan(value)) present.push_back(value);
    }
    FilledColumn record{column.name, static_cast<Index>(column.values.size() - present.size()), 0, {}};
    if (record.cells == 0) {
      result.push_back(std::move(column));
      continue;
    }
    if (present.empty()) {
      throw Error("fill_missing", "column ", quote(column.name), " has no value in any row: expected one");
    }
    Column indicator{column.name + " missing", {}, {}};
    for (const double value : column.values) indicator.values.push_back(std::isnan(value) ? 1 : 0);
    if (column.labels.empty()) {
      record.value = fill == Fill::median ? median_of(std::move(present)) : mean_of(present);
    } else {
      const auto label = std::ranges::find(column.labels, "missing");
      record.value = static_cast<double>(label - column.labels.begin());
      if (label == column.labels.end()) column.labels.emplace_back("missing");
    }
    for (double& value : column.values) value = std::isnan(value) ? record.value : value;
    const bool add = fill == Fill::indicator && column.labels.empty();
    if (add) record.indicator = indicator.name;
    result.push_back(std::move(column));
    if (add) result.push_back(std::move(indicator));
    filled.push_back(std::move(record));
  }
  require_distinct_names(result, "fill_missing");
  table.columns = std::move(result);
  return filled;
}

std::vector<OneHotColumn> one_hot(Table& table) {
  std::vector<OneHotColumn> encoded;
  std::vector<Column> result;
  for (Column& column : table.columns) {
    if (column.labels.empty()) {
      result.push_back(std::move(column));
      continue;
    }
    const auto missing = std::ranges::find_if(column.values, [](double value) { return std::isnan(value); });
    if (missing != column.values.end()) {
      throw Error("one_hot", "column ", quote(column.name), " misses the cell in row ",
                  missing - column.values.begin(), " (counted from 0): expected a label");
    }
    if (std::ranges::all_of(column.labels, [](const std::string& label) { return truth(label) >= 0; })) {
      for (double& value : column.values) value = truth(column.labels[static_cast<std::size_t>(value)]);
      encoded.push_back({column.name, {column.name}});
      result.push_back({std::move(column.name), std::move(column.values), {}});
      continue;
    }
    sort_labels(column);
    OneHotColumn record{column.name, {}};
    for (std::size_t k = column.labels.size() == 2 ? 1 : 0;
         column.labels.size() > 1 && k < column.labels.size(); ++k) {
      Column one{column.name + '=' + column.labels[k], {}, {}};
      one.values.reserve(column.values.size());
      for (const double label : column.values) one.values.push_back(label == static_cast<double>(k) ? 1 : 0);
      record.columns.push_back(one.name);
      result.push_back(std::move(one));
    }
    encoded.push_back(std::move(record));
  }
  require_distinct_names(result, "one_hot");
  table.columns = std::move(result);
  return encoded;
}

}  // namespace taper::data
