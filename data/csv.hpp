#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <taper/data/table.hpp>

namespace taper::data {

/// What to do with a missing cell: throw Error, keep it as NaN, or leave its whole row out.
enum class Missing { refuse, keep, drop_row };

/// How to read a CSV file.
struct CsvOptions {
  /// Whether the first line holds the column names. Without it, or where a name is empty, columns are called
  /// V1, V2, ... by their position.
  bool header = true;
  /// Between cells: any character that cannot be part of a number, a quote or a line break. ' ' stands for
  /// one or more spaces or tabs. None: the one that find_separator finds.
  std::optional<char> separator = ',';
  /// The decimal mark, '.' or ','.
  char decimal = '.';
  Missing missing = Missing::refuse;
  /// Cells that count as missing, compared letter for letter.
  std::vector<std::string> missing_words = {"", "NA", "N/A", "NaN", "nan", "?", "null", "NULL"};
  /// Names of the columns to be read as labels rather than numbers.
  std::vector<std::string> categorical = {};
  /// Where it is given: the names of the columns that may hold numbers, if they are there; all others are
  /// read as labels.
  std::optional<std::vector<std::string>> numeric = {};
  /// Whether a column whose first cell that is not missing is no number is read as labels, too.
  bool text = false;
};

/// Reads a CSV file, plain or gzip (see read_file), as RFC 4180 has it: cells in double quotes may hold
/// separators, line breaks and doubled quotes. Beyond that, lines may end in LF, CRLF or CR, the last one in
/// nothing; blank lines at the end of the file, blanks around a cell and a UTF-8 byte order mark are skipped.
///
/// Throws Error, naming file, line (counted from 1, as an editor does) and column, for
///  - a file that is missing, unreadable, damaged, empty, UTF-16, or has no rows below its header;
///  - a column name that appears twice, or one in `categorical` that does not appear;
///  - a row with too few or too many cells, a quote that never closes, text after a closing quote;
///  - a missing cell, unless options.missing says otherwise;
///  - a cell that is not a finite decimal number in the range of double, in a column that is not categorical;
///  - with options.text, a column that holds both text and numbers, which is to be named in `categorical`,
///    and a cell that would be a number with the other decimal mark;
///  - a separator or a decimal mark that cannot be one.
Table read_csv(const std::string& path, const CsvOptions& options = {});

/// The same for a text in memory; `source` stands for the file name in errors.
Table parse_csv(std::string_view text, const CsvOptions& options = {}, std::string_view source = "text");

/// What stands between the cells of a text: of tab, semicolon, comma (unless that is the decimal mark) and
/// blanks the one that cuts most of the first lines into as many cells as line 1, at least two; of equals the
/// first in this order. Where none does: a comma, or a semicolon if the comma is the decimal mark.
char find_separator(std::string_view text, char decimal = '.');

/// The decimal mark of a text: a comma where that does not separate cells (by `separator`, or as
/// find_separator says), some cells of the first lines are numbers with it, and none is one with a point.
/// Else a point.
char find_decimal(std::string_view text, std::optional<char> separator = std::nullopt);

}  // namespace taper::data
