#include <taper/data/libsvm.hpp>

#include <charconv>
#include <string>

#include "tables.hpp"

using namespace taper::data;

namespace {

std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The format written from its table; explicit zeros come from the set.
std::string written(const SparseSet& set) {
  std::vector<std::string> lines;
  for (const double target : set.target) lines.push_back(text_of(target));
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    for (int k = set.starts[j]; k < set.starts[j + 1]; ++k) {
      const auto at = static_cast<std::size_t>(k);
      lines[static_cast<std::size_t>(set.entry_rows[at])] +=
          " " + set.features[j].substr(1) + ":" + text_of(set.values[at]);
    }
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool same_set(const SparseSet& a, const SparseSet& b) {
  return a.rows == b.rows && a.features == b.features && a.starts == b.starts &&
         a.entry_rows == b.entry_rows && same(a.values, b.values) && same(a.target, b.target);
}

}  // namespace

TAPER_FUZZ {
  static_cast<void>(is_libsvm(bytes));
  if (has_large_index(bytes)) return;
  const SparseSet set = parse_libsvm(bytes);
  require(set.rows > 0 && set.target.size() == static_cast<std::size_t>(set.rows));
  require(2 * (set.target.size() + set.values.size()) <= bytes.size() + 1);
  require(set.starts.size() == set.features.size() + 1 && set.starts.front() == 0);
  require(set.entry_rows.size() == set.values.size());
  require(set.starts.back() == static_cast<int>(set.values.size()));
  require(set.starts[set.starts.size() - 2] < set.starts.back());  // columns go up to the largest index
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    require(set.starts[j] <= set.starts[j + 1]);
    int before = -1;
    for (int k = set.starts[j]; k < set.starts[j + 1]; ++k) {
      const int row = set.entry_rows[static_cast<std::size_t>(k)];
      require(before < row && row < set.rows);
      before = row;
    }
  }
  require(same_set(set, parse_libsvm(bytes)));
  require(same_set(set, parse_libsvm(written(set))));

  const Table table = to_table(set);
  require_table(table);
  require(table.columns.size() == set.features.size() + 1 && same(table.columns.back().values, set.target));
  std::size_t not_zero = 0;
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    not_zero += table.columns[j].values.size() -
                static_cast<std::size_t>(std::ranges::count(table.columns[j].values, 0.0));
    for (int k = set.starts[j]; k < set.starts[j + 1]; ++k) {
      const auto at = static_cast<std::size_t>(k);
      require(table.columns[j].values[static_cast<std::size_t>(set.entry_rows[at])] == set.values[at]);
    }
  }
  require(not_zero + static_cast<std::size_t>(std::ranges::count(set.values, 0.0)) == set.values.size());
}
