#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

#include <taper/autodiff/error.hpp>
#include <taper/data/date.hpp>
#include <taper/data/number.hpp>
#include <taper/data/preprocessing_columns.hpp>
#include <taper/data/quote.hpp>

/// The features of a table that is to be learned from, or predicted.
namespace taper::data {
namespace {

/// What is said of cells that were filled.
struct Filled {
  Index missing = 0, unknown = 0;
  std::vector<std::string> labels;  ///< that are unknown, each once
};

/// The numbers of a column where its kind is number or date, with NaN where they are missing.
std::vector<double> numbers_of(const Column& column, const InputColumn& input) {
  if (column.labels.empty()) {
    if (input.kind == ColumnKind::date && !present_values(column).empty()) {
      throw Error("table", "column ", quote(column.name), " holds numbers: expected dates like 2024-02-29, ",
                  "as when the model was fitted");
    }
    return column.values;
  }
  if (input.kind == ColumnKind::number) {
    throw Error("table", "column ", quote(column.name), " holds text, ", quote(column.labels.front()),
                ": expected numbers, as when the model was fitted");
  }
  std::vector<double> days;
  for (const std::string& label : column.labels) {
    if (!parse_date(label, days.emplace_back())) {
      throw Error("table", "column ", quote(column.name), " holds ", quote(label),
                  ": expected dates like 2024-02-29, as when the model was fitted");
    }
  }
  std::vector<double> result;
  for (const double value : column.values) {
    result.push_back(std::isnan(value) ? value : days[static_cast<std::size_t>(value)]);
  }
  return result;
}

/// Writes one feature of all rows. `numbers` are those of a number or date, `categories` the places of a
/// category. Cells that are like none of the training rows get the mean.
void write_feature(const Feature& feature, const InputColumn& input, const std::vector<double>& numbers,
                   const std::vector<Index>& categories, Index place, Tensor<double>& x) {
  const Index rows = x.shape()[0], width = x.shape()[1];
  const bool is_category = input.kind == ColumnKind::category;
  for (Index i = 0; i < rows; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const bool missing = is_category ? categories[row] == missing_category : std::isnan(numbers[row]);
    double value = 0;
    switch (feature.kind) {
      case Feature::Kind::value:
        value = missing ? input.fill : numbers[row];
        break;
      case Feature::Kind::missing:
        value = missing ? 1 : 0;
        break;
      case Feature::Kind::category:
        value = categories[row] == feature.category ? 1 : 0;
        break;
      case Feature::Kind::other:
        value = categories[row] == unknown_category ? 1 : 0;
        break;
    }
    const bool like_none = is_category && ((missing && !input.missing) ||
                                           (categories[row] == unknown_category && !input.others));
    double& entry = x[i * width + place];
    // In quarters, of which no difference is beyond the range of double.
    entry = like_none ? 0 : (value / 4 - feature.mean / 4) / (feature.scale / 4);
    if (std::isfinite(entry)) continue;
    throw Error("table", "column ", quote(input.name), " has ", value, " in row ", i + 1,
                ": expected a number that can be compared with those that the model was fitted to");
  }
}

}  // namespace

Tensor<double> Preprocessing::apply(const Table& table, std::vector<std::string>& notes) const {
  check_lengths(table);
  std::map<std::string_view, const Column*> by_name;
  for (const Column& column : table.columns) by_name.emplace(column.name, &column);
  std::vector<std::string> absent;
  for (const std::string& name : inputs()) {
    if (!by_name.contains(name)) absent.push_back(name);
  }
  if (!absent.empty()) {
    std::vector<std::string> names;
    for (const Column& column : table.columns) names.push_back(column.name);
    throw Error("table", absent.size() == 1 ? "no column " : "no columns ", quote_some(absent),
                " in a table of ", quote_some(names), ": expected all that the model reads");
  }
  Tensor<double> x(Shape{table.rows(), static_cast<Index>(features.size())});
  std::vector<std::vector<std::size_t>> readers(columns.size());
  for (std::size_t j = 0; j < features.size(); ++j) {
    readers[static_cast<std::size_t>(features[j].column)].push_back(j);
  }
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const InputColumn& input = columns[c];
    if (readers[c].empty()) continue;
    const Column& given = *by_name.at(input.name);
    std::vector<double> numbers;
    std::vector<Index> categories;
    Filled filled;
    if (input.kind == ColumnKind::category) {
      const Column labels = given.labels.empty() ? as_labels(given) : given;
      const std::vector<Index> places = category_of(labels, input.categories);
      std::set<double> unknown;
      for (const double value : labels.values) {
        const bool missing = std::isnan(value);
        categories.push_back(missing ? missing_category : places[static_cast<std::size_t>(value)]);
        filled.missing += missing ? 1 : 0;
        if (categories.back() != unknown_category) continue;
        ++filled.unknown;
        if (unknown.insert(value).second) {
          filled.labels.push_back(labels.labels[static_cast<std::size_t>(value)]);
        }
      }
    } else {
      numbers = numbers_of(given, input);
      filled.missing = std::ranges::count_if(numbers, [](double value) { return std::isnan(value); });
    }
    for (const std::size_t j : readers[c]) {
      write_feature(features[j], input, numbers, categories, static_cast<Index>(j), x);
    }
    const auto cells = [](Index count) { return std::to_string(count) + (count == 1 ? " cell" : " cells"); };
    if (filled.missing > 0) {
      notes.push_back(quote(input.name) + ": " + cells(filled.missing) + " missing" +
                      (input.kind != ColumnKind::category
                           ? ", taken as " + number_text(input.fill) + ", the mean of the training rows"
                       : input.missing ? ", as in training rows"
                                       : ", taken as the average row"));
    }
    if (filled.unknown > 0) {
      notes.push_back(quote(input.name) + ": " + cells(filled.unknown) + " of " +
                      (input.others ? "categories without a feature of their own ("
                                    : "categories that no training row has (") +
                      quote_some(filled.labels) + "), taken as " +
                      (input.others ? "other" : "the average row"));
    }
  }
  return x;
}

Tensor<double> Preprocessing::apply(const SparseSet& set, std::vector<std::string>& notes) const {
  Tensor<double> x(Shape{set.rows, static_cast<Index>(features.size())});
  std::map<std::string_view, std::size_t> places;
  for (std::size_t j = 0; j < set.features.size(); ++j) places.emplace(set.features[j], j);
  const Index width = x.shape()[1];
  std::vector<std::string> absent;
  for (std::size_t j = 0; j < features.size(); ++j) {
    const Feature& feature = features[j];
    const InputColumn& input = columns[static_cast<std::size_t>(feature.column)];
    if (input.kind != ColumnKind::number) {
      throw Error("table", "the model reads text in column ", quote(input.name),
                  ": expected a table that holds it, not LIBSVM");
    }
    std::vector<double> numbers(static_cast<std::size_t>(set.rows));
    const auto found = places.find(input.name);
    if (found == places.end()) {
      absent.push_back(input.name);
    } else {
      for (auto at = static_cast<std::size_t>(set.starts[found->second]);
           at < static_cast<std::size_t>(set.starts[found->second + 1]); ++at) {
        numbers[static_cast<std::size_t>(set.entry_rows[at])] = set.values[at];
      }
    }
    write_feature(feature, input, numbers, {}, static_cast<Index>(j), x);
  }
  if (width > 0 && static_cast<Index>(absent.size()) == width) {
    throw Error("table", "no columns ", quote_some(absent), ": expected some that the model reads");
  }
  if (!absent.empty()) notes.push_back("zero in all rows: " + quote_some(absent));
  return x;
}

}  // namespace taper::data
