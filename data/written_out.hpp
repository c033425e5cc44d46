#pragma once

#include <algorithm>
#include <string_view>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper::data {

/// How many cells a sparse set may have when it is written out as a table: this many for each of its rows and
/// entries, or this many (2 GB), whichever is more. A few kilobytes could exhaust the memory otherwise.
inline constexpr Index most_cells_ratio = 1000, most_cells_small = Index{1} << 28;

/// Throws Error where a set has more. A column takes as much as some 16 cells beside those of its rows.
inline void check_written_out(Index rows, Index columns, Index entries, std::string_view where,
                              std::string_view source) {
  constexpr Index column_cost = 16;
  const Index most = std::max(most_cells_small, most_cells_ratio * (rows + entries));
  if ((rows + column_cost) * columns <= most) return;
  throw Error(where, source, " is too sparse to be written out as a table of ", rows, " x ", columns,
              " cells: expected at most ", most_cells_ratio, " for each entry, or ", most_cells_small);
}

}  // namespace taper::data
