#pragma once

#include <optional>
#include <string>
#include <taper/data/encode.hpp>
#include <taper/data/libsvm.hpp>
#include <taper/data/read_table.hpp>
#include <variant>
#include <vector>

#include "common.hpp"

/// How programs read a table of somebody's own.
namespace taper::apps {

/// What a file is, and how a CSV is read.
struct TableFormat {
  std::string file;  ///< Empty: none is given. "-" is standard input.
  std::string separator, decimal = ".";
  std::vector<std::string> categorical, drop, missing_words;
  bool no_header = false;
  /// How a model takes a table (see read_like): the columns that hold numbers, if it says so, and further
  /// cells that count as missing, in a CSV or ARFF.
  std::optional<std::vector<std::string>> model_numeric = {};
  std::vector<std::string> model_missing_words = {};

  /// Throws Error for options that only a CSV has a use for; the file is `what`: "LIBSVM".
  void refuse_csv_options(const std::string& what) const;

  /// All options but the file.
  void add_format_options(Command& command);

  /// The file as it was read, without the columns of --drop, its missing cells kept: LIBSVM stays sparse.
  /// Files that are not there are looked for in `folder`, too.
  std::variant<data::Table, data::SparseSet> read(const CommonOptions& common) const;
  /// The bytes of the file, unpacked, and what stands for it in errors.
  std::pair<std::string, std::string> read_text(const CommonOptions& common) const;
  /// The table that a text is. Throws Error for options that such a text has no use for.
  std::variant<data::Table, data::SparseSet> parse(const std::string& text, const std::string& source) const;
};

struct TableOptions : TableFormat {
  std::string missing = "refuse";

  void add_to(Command& command);

  /// Leaves out the rows that --missing drop says, and those without a value in one of the columns `needed`.
  /// Throws Error for missing cells unless --missing says what to do. Returns what was done, in sentences.
  std::vector<std::string> drop_rows(data::Table& table, const std::vector<std::string>& needed) const;

  /// Makes a table of features one of numbers: missing cells are filled as --missing says, labels are
  /// encoded. `origin` receives for each column the name of the one that it came from. Throws Error for a
  /// column of text in which no value repeats. Returns what was done, and what looks like a mistake, in
  /// sentences.
  std::vector<std::string> encode(data::Table& table, std::vector<std::string>& origin) const;
};

/// What looks like a mistake in a table, in sentences: rows of numbers in place of names, row numbers.
std::vector<std::string> suspicions(const data::Table& table, bool no_header);

/// The first few names, with commas between.
std::string joined(const std::vector<std::string>& names);

}  // namespace taper::apps
