#include <taper/data/preprocessing.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/date.hpp>
#include <taper/data/encode.hpp>
#include <taper/data/moments.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {
namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

std::vector<double> present_values(const Column& column) {
  std::vector<double> present;
  for (const double value : column.values) {
    if (!std::isnan(value)) present.push_back(value);
  }
  return present;
}

/// The different numbers of a column, rising, as soon as there are more than `most` no more of them.
std::set<double> different_values(const std::vector<double>& values, std::size_t most) {
  std::set<double> seen;
  for (const double value : values) {
    seen.insert(value);
    if (seen.size() > most) break;
  }
  return seen;
}

/// Whether numbers are those of classes, by themselves.
bool look_like_classes(const std::vector<double>& present, const std::set<double>& seen) {
  constexpr std::size_t most = 20;
  constexpr Index least_rows = 5;
  if (seen.size() == 2) return true;
  if (seen.size() > most || (*seen.begin() != 0 && *seen.begin() != 1)) return false;
  double expected = *seen.begin();
  for (const double value : seen) {
    if (value != expected++ || std::ranges::count(present, value) < least_rows) return false;
  }
  return true;
}

/// Why labels tell nothing, as each of them is in one row only: they number the rows, or name them.
bool all_different(const Column& column) {
  const auto present = static_cast<Index>(present_values(column).size());
  std::set<double> seen;
  for (const double value : column.values) {
    if (!std::isnan(value)) seen.insert(value);
  }
  return present > 2 && static_cast<Index>(seen.size()) == present;
}

/// A column of numbers as one of labels, which are the numbers.
Column labels_of(const Column& column) {
  Column result{column.name, {}, {}};
  std::map<double, double> position;
  for (const double value : column.values) {
    if (std::isnan(value)) {
      result.values.push_back(value);
      continue;
    }
    const auto [found, is_new] = position.try_emplace(value, static_cast<double>(position.size()));
    if (is_new) result.labels.push_back(number_text(value));
    result.values.push_back(found->second);
  }
  return result;
}

/// Whether all labels that are used are dates; their numbers then.
std::optional<Column> dates_of(const Column& column) {
  if (column.labels.empty()) return {};
  std::vector<double> days(column.labels.size(), no_number);
  Column result{column.name, {}, {}};
  for (const double value : column.values) {
    if (std::isnan(value)) {
      result.values.push_back(value);
      continue;
    }
    double& day = days[static_cast<std::size_t>(value)];
    if (std::isnan(day) && !parse_date(column.labels[static_cast<std::size_t>(value)], day)) return {};
    result.values.push_back(day);
  }
  return result;
}

bool has_value(const Column& column) {
  return std::ranges::any_of(column.values, [](double value) { return !std::isnan(value); });
}

/// The positions of labels by how many rows have them, most first; equals in the order of sort_labels.
std::vector<std::size_t> by_frequency(const Column& sorted) {
  std::vector<Index> counts(sorted.labels.size());
  for (const double value : sorted.values) {
    if (!std::isnan(value)) ++counts[static_cast<std::size_t>(value)];
  }
  std::vector<std::size_t> order;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    if (counts[k] > 0) order.push_back(k);
  }
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  return order;
}

bool has_missing(const Column& column) {
  return std::ranges::any_of(column.values, [](double value) { return std::isnan(value); });
}

void add_number(Preprocessing& result, const Column& column, ColumnKind kind) {
  InputColumn input{column.name, kind, {}, 0, {}};
  const std::vector<double> present = present_values(column);
  const auto at = static_cast<Index>(result.columns.size());
  const bool missing = has_missing(column);
  input.fill = mean_of(present);
  input.missing = missing;
  const bool varies = deviation_of(present, input.fill) > 0;
  if (!varies) {
    input.kind = missing && !present.empty() ? kind : ColumnKind::unused;
    if (input.kind == ColumnKind::unused) {
      input.fill = 0;
      input.reason =
          present.empty() ? "no value in any training row" : "the same value in every training row";
    }
  } else {
    result.features.push_back({column.name, at, Feature::Kind::value, 0, 0, 1});
  }
  if (missing && !present.empty()) {
    result.features.push_back({column.name + " missing", at, Feature::Kind::missing, 0, 0, 1});
  }
  result.columns.push_back(std::move(input));
}

void add_category(Preprocessing& result, Column column, Index most) {
  if (all_different(column)) {
    throw Error("table", "column ", quote(column.name),
                " is text with a different value in each row: expected labels that repeat (--drop ",
                column.name, " leaves it out)");
  }
  sort_labels(column);
  InputColumn input{column.name, ColumnKind::category, {}, 0, {}};
  const auto at = static_cast<Index>(result.columns.size());
  std::vector<std::size_t> chosen = by_frequency(column);
  const bool missing = has_missing(column), others = static_cast<Index>(chosen.size()) > most;
  input.missing = missing, input.others = others;
  if (others) chosen.resize(static_cast<std::size_t>(most));
  std::ranges::sort(chosen);
  for (const std::size_t k : chosen) input.categories.push_back(column.labels[k]);
  if (chosen.size() + (missing ? 1 : 0) + (others ? 1 : 0) < 2) {
    input.kind = ColumnKind::unused;
    input.reason = chosen.empty() ? "no value in any training row" : "the same value in every training row";
  } else {
    const Index first = chosen.size() == 2 && !missing && !others ? 1 : 0;
    for (Index k = first; k < static_cast<Index>(chosen.size()); ++k) {
      result.features.push_back({column.name + '=' + input.categories[static_cast<std::size_t>(k)], at,
                                 Feature::Kind::category, k, 0, 1});
    }
    if (others) result.features.push_back({column.name + "=other", at, Feature::Kind::other, 0, 0, 1});
    if (missing) result.features.push_back({column.name + " missing", at, Feature::Kind::missing, 0, 0, 1});
  }
  result.columns.push_back(std::move(input));
}

/// What is said of cells that were filled.
struct Filled {
  Index missing = 0, unknown = 0;
  std::vector<std::string> labels;  ///< that are unknown, each once
};

constexpr Index unknown_category = -1, missing_category = -2;

/// The place of each label of a column among the categories.
std::vector<Index> category_of(const Column& column, const InputColumn& input) {
  std::map<std::string_view, Index> places;
  for (std::size_t k = 0; k < input.categories.size(); ++k) {
    places.emplace(input.categories[k], static_cast<Index>(k));
  }
  std::vector<Index> result;
  for (const std::string& label : column.labels) {
    auto found = places.find(label);
    if (double value; found == places.end() && parse_number(label, value) == NumberKind::finite) {
      found = places.find(number_text(value));  // 1.0 is the category 1
    }
    result.push_back(found == places.end() ? unknown_category : found->second);
  }
  return result;
}

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

/// The features as they are, before they are standardized, give mean and scale.
void standardize(Preprocessing& result, const Table& training) {
  std::vector<std::string> notes;
  const Tensor<double> x = result.apply(training, notes);
  const Index rows = x.shape()[0], width = x.shape()[1];
  std::vector<double> column(static_cast<std::size_t>(rows));
  for (Index j = 0; j < width; ++j) {
    for (Index i = 0; i < rows; ++i) column[static_cast<std::size_t>(i)] = x[i * width + j];
    Feature& feature = result.features[static_cast<std::size_t>(j)];
    feature.mean = mean_of(column);
    const double deviation = deviation_of(column, feature.mean);
    feature.scale = deviation > 0 ? deviation : 1;
    if (!std::isfinite(feature.scale)) {
      throw Error("table", "column ", quote(feature.name),
                  " has numbers too large to be standardized: expected a standard deviation in the range of "
                  "double");
    }
  }
}

void check_lengths(const Table& table) {
  for (const Column& column : table.columns) {
    if (static_cast<Index>(column.values.size()) == table.rows()) continue;
    throw Error("table", "column ", quote(column.name), " has ", column.values.size(), " values: expected ",
                table.rows(), ", as in the first column");
  }
}

void set_target_scale(TargetColumn& target, const Column& column) {
  if (target.kind != TargetKind::regression) return;
  const std::vector<double> present = present_values(column);
  target.mean = mean_of(present);
  const double deviation = deviation_of(present, target.mean);
  if (!std::isfinite(deviation)) {
    throw Error("target", "column ", quote(target.name),
                " has numbers too large to be standardized: expected a standard deviation in the range of "
                "double");
  }
  target.scale = deviation > 0 ? deviation : 1;
}

}  // namespace

TargetColumn decide_target(const Column& column, std::optional<TargetKind> kind) {
  const std::vector<double> present = present_values(column);
  TargetColumn target{column.name, TargetKind::regression, {}, 0, 1};
  if (present.empty()) {
    throw Error("target", "column ", quote(column.name), " is missing in every row: expected values");
  }
  constexpr std::size_t most_classes = 1000;
  const std::set<double> seen = different_values(present, most_classes);
  if (seen.size() == 1) {
    throw Error("target", "column ", quote(column.name), " is ",
                column.labels.empty() ? number_text(present.front())
                                      : quote(column.labels[static_cast<std::size_t>(present.front())]),
                " in every row: expected values that differ");
  }
  const bool numbers = column.labels.empty();
  if (!numbers && kind == TargetKind::regression) {
    throw Error("target", "column ", quote(column.name), " holds text: expected numbers for a regression");
  }
  if (numbers && kind != TargetKind::two_classes && kind != TargetKind::classes) {
    if (kind == TargetKind::regression || !look_like_classes(present, seen)) return target;
  }
  if (!numbers && all_different(column)) {
    throw Error("target", "column ", quote(column.name),
                " is text with a different value in each row: expected numbers, or classes that repeat");
  }
  if (seen.size() > most_classes) {
    throw Error("target", "column ", quote(column.name), " has more than ", most_classes,
                " different values: expected fewer classes, or a regression");
  }
  if (seen.size() > 2 && kind == TargetKind::two_classes) {
    throw Error("target", "column ", quote(column.name), " has ", seen.size(),
                " different values: expected two for two classes");
  }
  target.kind = seen.size() == 2 ? TargetKind::two_classes : TargetKind::classes;
  Column labels = numbers ? labels_of(column) : column;
  if (!numbers) {  // those that are used
    std::vector<std::string> used;
    for (const double value : seen) used.push_back(column.labels[static_cast<std::size_t>(value)]);
    labels = {column.name, {}, std::move(used)};
  }
  sort_labels(labels);
  target.classes = std::move(labels.labels);
  return target;
}

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
      const Column labels = given.labels.empty() ? labels_of(given) : given;
      const std::vector<Index> places = category_of(labels, input);
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

std::vector<double> Preprocessing::apply_target(const Column& column) const {
  std::vector<double> result;
  const auto fail_missing = [&](std::size_t row) {
    throw Error("target", "column ", quote(column.name), " is missing in row ", row + 1,
                ": expected a value");
  };
  if (target.kind == TargetKind::regression) {
    if (!column.labels.empty()) {
      throw Error("target", "column ", quote(column.name), " holds text, ", quote(column.labels.front()),
                  ": expected numbers, as when the model was fitted");
    }
    for (std::size_t i = 0; i < column.values.size(); ++i) {
      if (std::isnan(column.values[i])) fail_missing(i);
      result.push_back((column.values[i] / 4 - target.mean / 4) / (target.scale / 4));
      if (std::isfinite(result.back())) continue;
      throw Error("target", "column ", quote(column.name), " has ", column.values[i], " in row ", i + 1,
                  ": expected a number that the model could predict");
    }
    return result;
  }
  const Column labels = column.labels.empty() ? labels_of(column) : column;
  const std::vector<Index> places =
      category_of(labels, {target.name, ColumnKind::category, target.classes, 0, {}});
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    if (std::isnan(labels.values[i])) fail_missing(i);
    const auto k = static_cast<std::size_t>(labels.values[i]);
    if (places[k] == unknown_category) {
      throw Error("target", "column ", quote(column.name), " has the class ", quote(labels.labels[k]),
                  " in row ", i + 1, ": expected one of ", quote_some(target.classes));
    }
    result.push_back(static_cast<double>(places[k]));
  }
  return result;
}

void Preprocessing::keep(const std::vector<Index>& kept) {
  std::vector<Feature> chosen;
  for (const Index j : kept) {
    if (j < 0 || j >= static_cast<Index>(features.size())) {
      throw Error("preprocessing", "feature ", j, " of ", features.size(), ": expected one that exists");
    }
    chosen.push_back(features[static_cast<std::size_t>(j)]);
  }
  std::vector<Index> place(columns.size(), -1);
  std::vector<bool> is_read(columns.size());
  for (const Feature& feature : chosen) is_read[static_cast<std::size_t>(feature.column)] = true;
  std::vector<InputColumn> read;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (!is_read[c]) continue;
    place[c] = static_cast<Index>(read.size());
    read.push_back(std::move(columns[c]));
  }
  for (Feature& feature : chosen) feature.column = place[static_cast<std::size_t>(feature.column)];
  features = std::move(chosen);
  columns = std::move(read);
}

std::vector<std::string> Preprocessing::inputs() const {
  std::vector<bool> read(columns.size());
  for (const Feature& feature : features) read[static_cast<std::size_t>(feature.column)] = true;
  std::vector<std::string> names;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (read[c]) names.push_back(columns[c].name);
  }
  return names;
}

Preprocessing fit_preprocessing(const Table& training, TargetColumn target,
                                const PreprocessingOptions& options) {
  check_lengths(training);
  if (options.most_categories < 1) {
    throw Error("preprocessing", "most_categories ", options.most_categories, ": expected 1 or more");
  }
  Preprocessing result;
  result.target = std::move(target);
  set_target_scale(result.target, training.column(result.target.name));
  if (training.columns.size() < 2) {
    throw Error("table", "only the target ", quote(result.target.name),
                " is there: expected columns beside it");
  }
  for (const Column& column : training.columns) {
    if (column.name == result.target.name) continue;
    if (column.labels.empty()) {
      add_number(result, column, ColumnKind::number);
    } else if (const std::optional<Column> dates = dates_of(column); dates && has_value(*dates)) {
      add_number(result, *dates, ColumnKind::date);
    } else {
      add_category(result, column, options.most_categories);
    }
  }
  if (result.features.empty()) {
    throw Error("table", "no column beside the target ", quote(result.target.name),
                " has two different values: expected one to learn from");
  }
  standardize(result, training);
  return result;
}

Preprocessing fit_preprocessing(const SparseSet& training, TargetColumn target) {
  Preprocessing result;
  result.target = std::move(target);
  set_target_scale(result.target, {result.target.name, training.target, {}});
  for (const std::string& name : training.features) {
    const auto at = static_cast<Index>(result.columns.size());
    result.columns.push_back({name, ColumnKind::number, {}, 0, {}});
    result.features.push_back({name, at, Feature::Kind::value, 0, 0, 1});
  }
  return result;
}

Table rows(const Table& table, const std::vector<Index>& chosen) {
  check_lengths(table);
  Table result;
  for (const Index row : chosen) {
    if (row >= 0 && row < table.rows()) continue;
    throw Error("table", "row ", row, " of ", table.rows(), ": expected one that exists");
  }
  for (const Column& column : table.columns) {
    Column& copy = result.columns.emplace_back(Column{column.name, {}, column.labels});
    copy.values.reserve(chosen.size());
    for (const Index row : chosen) copy.values.push_back(column.values[static_cast<std::size_t>(row)]);
  }
  return result;
}

}  // namespace taper::data
