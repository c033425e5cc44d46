#include <taper/data/preprocessing.hpp>

#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/preprocessing_columns.hpp>

namespace taper::data {

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
