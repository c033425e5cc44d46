#pragma once

#include <taper/data/csv.hpp>

namespace taper::data {

/// Reads a table from a file, plain or gzip, whose format is found by its content: ARFF (see parse_arff),
/// LIBSVM (see parse_libsvm and to_table) or else CSV. The options are those of parse_csv; of them, the other
/// two formats know `missing` alone, and refuse columns named as categorical that they do not hold as labels.
/// Throws Error like the reader of the format.
Table read_table(const std::string& path, const CsvOptions& options = {});

/// The same for a text in memory; `source` stands for the file name in errors.
Table parse_table(std::string_view text, const CsvOptions& options = {}, std::string_view source = "text");

}  // namespace taper::data
