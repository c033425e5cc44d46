#include <algorithm>
#include <cmath>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/date.hpp>
#include <taper/data/encode.hpp>
#include <taper/data/moments.hpp>
#include <taper/data/preprocessing_columns.hpp>
#include <taper/data/quote.hpp>

/// What is learned from the rows that a model is trained on.
namespace taper::data {
namespace {

/// Whether all labels are dates; their numbers then. The labels of rows that are held out count, too: what a
/// column is does not depend on the draw.
std::optional<Column> dates_of(const Column& column) {
  if (column.labels.empty()) return {};
  std::vector<double> days;
  for (const std::string& label : column.labels) {
    if (!parse_date(label, days.emplace_back())) return {};
  }
  Column result{column.name, {}, {}};
  for (const double value : column.values) {
    result.values.push_back(std::isnan(value) ? value : days[static_cast<std::size_t>(value)]);
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

}  // namespace

Preprocessing fit_preprocessing(const Table& training, TargetColumn target,
                                const PreprocessingOptions& options) {
  check_lengths(training);
  if (options.most_categories < 1) {
    throw Error("preprocessing", "most_categories ", options.most_categories, ": expected 1 or more");
  }
  Preprocessing result;
  result.target = std::move(target);
  for (const std::string& word : options.missing_words) {
    if (std::ranges::find(result.missing_words, word) == result.missing_words.end()) {
      result.missing_words.push_back(word);
    }
  }
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

}  // namespace taper::data
