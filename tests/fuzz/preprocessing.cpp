#include <taper/data/preprocessing.hpp>
#include <taper/io/preprocessing.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "fuzz.hpp"

using namespace taper;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

/// A table with the columns that are read, and the target: numbers, or text that is dates, categories or
/// neither, with a missing cell.
data::Table table_of(const data::Preprocessing& preprocessing, unsigned char choice) {
  data::Table table;
  for (std::size_t c = 0; c <= preprocessing.columns.size(); ++c) {
    const bool is_target = c == preprocessing.columns.size();
    const std::string& name = is_target ? preprocessing.target.name : preprocessing.columns[c].name;
    data::Column column{name, {}, {}};
    switch ((choice >> (c % 4 * 2)) % 4) {
      case 0:
        column.values = {0, 1, -1.7e308, missing};
        break;
      case 1:
        column.labels = {"2024-02-29", "", "a"};
        column.values = {0, 2, missing, 1};
        break;
      case 2:
        column.labels = {"1999-12-31T23:59:59", "0001-01-01"};
        column.values = {1, 0, missing, 0};
        break;
      default:
        column.labels = is_target                                      ? preprocessing.target.classes
                        : !preprocessing.columns[c].categories.empty() ? preprocessing.columns[c].categories
                                                                       : std::vector<std::string>{"1"};
        if (column.labels.empty()) column.labels = {"x"};
        column.values = {0, static_cast<double>(column.labels.size() - 1), 0, 0};
    }
    table.columns.push_back(std::move(column));
  }
  return table;
}

void check_finite(const Tensor<double>& x, Index rows, const data::Preprocessing& preprocessing) {
  require(x.shape() == Shape{rows, static_cast<Index>(preprocessing.features.size())});
  for (const double value : x) require(std::isfinite(value));
}

/// What is computed is finite, or refused.
void check_applied(const data::Preprocessing& preprocessing, unsigned char choice) {
  const data::Table table = table_of(preprocessing, choice);
  std::vector<std::string> notes;
  try {
    check_finite(preprocessing.apply(table, notes), table.rows(), preprocessing);
  } catch (const Error&) {
  }
  try {
    const data::Column& target = table.columns.back();
    const std::vector<double> y = preprocessing.apply_target(target);
    require(y.size() == target.values.size());
    for (const double value : y) require(std::isfinite(value));
  } catch (const Error&) {
  }
  data::SparseSet sparse;
  sparse.rows = 2;
  sparse.features = {"V1", "a"};
  sparse.starts = {0, 1, 3};
  sparse.values = {1.7e308, -1, 3};
  sparse.entry_rows = {0, 0, 1};
  try {
    check_finite(preprocessing.apply(sparse, notes), 2, preprocessing);
  } catch (const Error&) {
  }
  for (const std::string& note : notes) require(data::valid_utf8(note) == note);
}

}  // namespace

/// The bytes are what a model file says of its preprocessing. The first one chooses what it is applied to.
TAPER_FUZZ {
  if (bytes.empty()) return;
  const std::string text(bytes.substr(1));
  data::Preprocessing preprocessing = io::preprocessing_from_json(text, "bytes");
  const std::string written = io::to_json(preprocessing);
  require(io::to_json(io::preprocessing_from_json(written, "bytes")) == written);
  check_applied(preprocessing, static_cast<unsigned char>(bytes.front()));
  std::vector<Index> kept;
  for (Index j = static_cast<Index>(preprocessing.features.size()); j-- > 0; --j) kept.push_back(j);
  preprocessing.keep(kept);
  require(preprocessing.features.size() == kept.size());
  require(preprocessing.inputs().size() == preprocessing.columns.size());
  const std::string smaller = io::to_json(preprocessing);
  require(io::to_json(io::preprocessing_from_json(smaller, "bytes")) == smaller);
}
