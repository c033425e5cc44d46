#include <taper/data/libsvm.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <limits>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/lines.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/within_memory.hpp>
#include <taper/data/written_out.hpp>

namespace taper::data {
namespace {

/// The next word of a line, which loses it.
std::string_view take_word(std::string_view& line) {
  line = strip(line);
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

std::string_view without_comment(std::string_view line) {
  return strip(line.substr(0, line.find('#')));
}

/// Splits index:value.
bool split_pair(std::string_view word, Index& index, double& value) {
  const char* const end = word.data() + word.size();
  const auto [colon, problem] = std::from_chars(word.data(), end, index);
  if (problem != std::errc{} || colon == end || *colon != ':' || index < 0) return false;
  return parse_number({colon + 1, end}, value) == NumberKind::finite;
}

SparseSet read(std::string_view text, std::string_view source) {
  constexpr Index most_columns = 20'000'000;  // their names take half a gigabyte
  SparseSet set;
  std::vector<std::pair<int, double>> entries;  // row by row: index and value
  std::vector<std::size_t> ends;                // of the rows among them
  Index largest = -1, smallest = 1;
  Lines lines(text);
  std::string_view line;
  while (lines.next(line)) {
    const auto fail = [&](const auto&... parts) {
      throw Error("read_libsvm", source, ", line ", lines.number(), ": ", parts...);
    };
    line = without_comment(line);
    if (line.empty()) continue;
    const std::string_view target = take_word(line);
    double value;
    if (parse_number(target, value) != NumberKind::finite) {
      fail("target ", quote(target), ": expected a finite number");
    }
    set.target.push_back(value);
    Index before = -1;
    while (!strip(line).empty()) {
      const std::string_view word = take_word(line);
      Index index;
      if (!split_pair(word, index, value)) fail(quote(word), ": expected index:value");
      if (index <= before) fail("index ", index, " after ", before, ": expected indices that rise");
      if (index > most_columns) fail("index ", index, ": expected at most ", most_columns);
      entries.emplace_back(static_cast<int>(index), value);
      before = index;
      largest = std::max(largest, index), smallest = std::min(smallest, index);
    }
    ends.push_back(entries.size());
    if (std::max(entries.size(), ends.size()) >= static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      fail("too many rows or entries: expected fewer than 2^31");
    }
  }
  if (largest < 0) throw Error("read_libsvm", source, " has no entries: expected at least one");

  set.rows = static_cast<Index>(set.target.size());
  const Index columns = largest - smallest + 1;
  set.features.reserve(static_cast<std::size_t>(columns));
  for (Index j = 0; j < columns; ++j) set.features.push_back("V" + std::to_string(j + smallest));
  set.starts.assign(static_cast<std::size_t>(columns) + 1, 0);
  const auto column_of = [&](int index) { return static_cast<std::size_t>(index - smallest); };
  for (const auto& [index, value] : entries) ++set.starts[column_of(index) + 1];
  for (std::size_t j = 1; j < set.starts.size(); ++j) set.starts[j] += set.starts[j - 1];
  std::vector<int> next(set.starts.begin(), set.starts.end() - 1);
  set.entry_rows.resize(entries.size()), set.values.resize(entries.size());
  std::size_t at = 0;
  for (std::size_t row = 0; row < ends.size(); ++row) {
    for (; at < ends[row]; ++at) {
      const auto to = static_cast<std::size_t>(next[column_of(entries[at].first)]++);
      set.entry_rows[to] = static_cast<int>(row);
      set.values[to] = entries[at].second;
    }
  }
  return set;
}

Table write_out(const SparseSet& set) {
  Table table;
  table.columns.reserve(set.features.size() + 1);
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    Column column{set.features[j], std::vector<double>(static_cast<std::size_t>(set.rows)), {}};
    for (auto at = static_cast<std::size_t>(set.starts[j]); at < static_cast<std::size_t>(set.starts[j + 1]);
         ++at) {
      column.values[static_cast<std::size_t>(set.entry_rows[at])] = set.values[at];
    }
    table.columns.push_back(std::move(column));
  }
  table.columns.push_back({"target", set.target, {}});
  return table;
}

}  // namespace

bool is_libsvm(std::string_view text) {
  constexpr int most_lines = 10;
  Lines lines(text);
  std::string_view line;
  bool pairs = false;
  for (int seen = 0; seen < most_lines && lines.next(line);) {
    line = without_comment(line);
    if (line.empty()) continue;
    ++seen;
    if (!is_number(take_word(line))) return false;
    while (!strip(line).empty()) {
      Index index;
      double value;
      if (!split_pair(take_word(line), index, value)) return false;
      pairs = true;
    }
  }
  return pairs;
}

SparseSet parse_libsvm(std::string_view text, std::string_view source) {
  return within_memory([&] { return read(text, source); }, source, "read_libsvm");
}

Table to_table(const SparseSet& set, std::string_view source) {
  check_written_out(set.rows, set.columns(), static_cast<Index>(set.values.size()), "read_libsvm", source);
  return within_memory([&] { return write_out(set); }, source, "read_libsvm");
}

}  // namespace taper::data
