#include <taper/data/preprocessing_columns.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {

std::vector<double> present_values(const Column& column) {
  std::vector<double> present;
  for (const double value : column.values) {
    if (!std::isnan(value)) present.push_back(value);
  }
  return present;
}

bool has_missing(const Column& column) {
  return std::ranges::any_of(column.values, [](double value) { return std::isnan(value); });
}

bool all_different(const Column& column) {
  const auto present = static_cast<Index>(present_values(column).size());
  std::set<double> seen;
  for (const double value : column.values) {
    if (!std::isnan(value)) seen.insert(value);
  }
  return present > 2 && static_cast<Index>(seen.size()) == present;
}

Column as_labels(const Column& column) {
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

void check_lengths(const Table& table) {
  for (const Column& column : table.columns) {
    if (static_cast<Index>(column.values.size()) == table.rows()) continue;
    throw Error("table", "column ", quote(column.name), " has ", column.values.size(), " values: expected ",
                table.rows(), ", as in the first column");
  }
}

std::vector<Index> category_of(const Column& column, const std::vector<std::string>& categories) {
  std::map<std::string_view, Index> places;
  for (std::size_t k = 0; k < categories.size(); ++k) {
    places.emplace(categories[k], static_cast<Index>(k));
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

}  // namespace taper::data
