#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/encode.hpp>
#include <taper/data/moments.hpp>
#include <taper/data/number.hpp>
#include <taper/data/preprocessing_columns.hpp>
#include <taper/data/quote.hpp>

/// The target of a preprocessing: what it is, and the numbers that models are trained on.
namespace taper::data {
namespace {

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
  Column labels = numbers ? as_labels(column) : column;
  if (!numbers) {  // those that are used
    std::vector<std::string> used;
    for (const double value : seen) used.push_back(column.labels[static_cast<std::size_t>(value)]);
    labels = {column.name, {}, std::move(used)};
  }
  sort_labels(labels);
  target.classes = std::move(labels.labels);
  return target;
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
  const Column labels = column.labels.empty() ? as_labels(column) : column;
  const std::vector<Index> places = category_of(labels, target.classes);
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

}  // namespace taper::data
