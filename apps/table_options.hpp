#pragma once

#include <string>
#include <taper/data/encode.hpp>
#include <taper/data/libsvm.hpp>
#include <taper/data/read_table.hpp>
#include <variant>
#include <vector>

#include "common.hpp"

/// How programs read a table of somebody's own.
namespace taper::apps {

struct TableOptions {
  std::string file;  ///< Empty: none is given.
  std::string separator, decimal = ".", missing = "refuse";
  std::vector<std::string> categorical, drop, missing_words;
  bool no_header = false;

  void add_to(Command& command);

  /// The file as it was read, without the columns of --drop, its missing cells kept: LIBSVM stays sparse.
  /// Files that are not there are looked for in `folder`, too.
  std::variant<data::Table, data::SparseSet> read(const CommonOptions& common) const;

  /// Leaves out the rows that --missing drop says, and those without a value in one of the columns `needed`.
  /// Throws Error for missing cells unless --missing says what to do. Returns what was done, in sentences.
  std::vector<std::string> drop_rows(data::Table& table, const std::vector<std::string>& needed) const;

  /// Makes a table of features one of numbers: missing cells are filled as --missing says, labels are
  /// encoded. `origin` receives for each column the name of the one that it came from. Throws Error for a
  /// column of text in which no value repeats. Returns what was done, and what looks like a mistake, in
  /// sentences.
  std::vector<std::string> encode(data::Table& table, std::vector<std::string>& origin) const;
};

/// The first few names, with commas between.
std::string joined(const std::vector<std::string>& names);

}  // namespace taper::apps
