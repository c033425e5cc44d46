#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include <taper/data/table.hpp>

#include "fuzz.hpp"

/// Columns of one length under distinct names.
inline void require_columns(const taper::data::Table& table) {
  std::set<std::string_view> names;
  for (const taper::data::Column& column : table.columns) {
    require(names.insert(column.name).second);
    require(column.values.size() == static_cast<std::size_t>(table.rows()));
  }
}

/// What every reader promises: rows, finite numbers or missing cells, and labels that are distinct and stand
/// in the order of their first appearance.
inline void require_table(const taper::data::Table& table) {
  require(table.rows() > 0);
  require_columns(table);
  for (const taper::data::Column& column : table.columns) {
    require(std::set<std::string_view>(column.labels.begin(), column.labels.end()).size() ==
            column.labels.size());
    std::size_t seen = 0;
    for (const double value : column.values) {
      require(!std::isinf(value));
      if (column.labels.empty() || std::isnan(value)) continue;
      require(value >= 0 && value == std::floor(value) && value <= static_cast<double>(seen));
      if (value == static_cast<double>(seen)) ++seen;
    }
    require(seen == column.labels.size());
  }
}

/// To the bit, as missing cells are equal, too.
inline bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<std::uint64_t, double>,
                            std::bit_cast<std::uint64_t, double>);
}

inline bool same(const taper::data::Table& a, const taper::data::Table& b) {
  return std::ranges::equal(a.columns, b.columns, [](const auto& x, const auto& y) {
    return x.name == y.name && x.labels == y.labels && same(x.values, y.values);
  });
}

inline bool has_missing(const taper::data::Column& column) {
  return std::ranges::any_of(column.values, [](double value) { return std::isnan(value); });
}

/// Whether a text has an index from 10,000 to 99,999,999 as LIBSVM counts columns. Such are read, but take
/// seconds for a line; smaller ones reach the same code, and larger ones are refused.
inline bool has_large_index(std::string_view text) {
  for (std::size_t colon = text.find(':'); colon != text.npos; colon = text.find(':', colon + 1)) {
    const auto not_digit = text.substr(0, colon).find_last_not_of("0123456789");
    std::string_view index = text.substr(not_digit + 1, colon - not_digit - 1);
    index.remove_prefix(std::min(index.find_first_not_of('0'), index.size()));
    if (index.size() > 4 && index.size() < 9) return true;
  }
  return false;
}
