#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <taper/data/table.hpp>

namespace taper::data {

/// A sparse matrix by columns, and a target. Column j holds the entries from starts[j] up to starts[j + 1]:
/// its rows, rising, and their values. It is what Eigen::Map<const Eigen::SparseMatrix<double>> looks at.
struct SparseSet {
  Index rows = 0;
  std::vector<std::string> features;  ///< Names of the columns: V1, V2, ... by the numbers in the file.
  std::vector<int> starts = {0};      ///< One more than there are columns.
  std::vector<int> entry_rows;
  std::vector<double> values;
  std::vector<double> target;  ///< One for each row.

  Index columns() const { return static_cast<Index>(features.size()); }
};

/// Whether a text is LIBSVM: of its first lines each is a number and pairs of number:number, one pair at
/// least in one of them.
bool is_libsvm(std::string_view text);

/// Reads the format of LIBSVM (Chang and Lin, ACM Trans. Intell. Syst. Technol. 2011): on each line the
/// target and pairs index:value of the entries that are not zero, with rising indices, which count from 1, or
/// from 0 where a 0 is found. # begins a comment. Columns go up to the largest index.
///
/// Throws Error, naming `source` and line, for anything else, numbers that are not finite, no rows, no
/// entries, an index above 20 million, and 2^31 rows or entries or more.
SparseSet parse_libsvm(std::string_view text, std::string_view source = "text");

/// The columns written out, the target last, with the name "target". Throws Error, naming `source`, where
/// that is too large for what the set holds (see check_written_out).
Table to_table(const SparseSet& set, std::string_view source = "set");

}  // namespace taper::data
