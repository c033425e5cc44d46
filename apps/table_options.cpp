#include "table_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <taper/autodiff/error.hpp>
#include <taper/data/arff.hpp>
#include <taper/data/file.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/utf8.hpp>

namespace taper::apps {
namespace {

using data::quote;

const std::map<std::string, char> separators{
    {"comma", ','}, {"semicolon", ';'}, {"tab", '\t'}, {"blanks", ' '}};

Index missing_cells(const data::Column& column) {
  return std::ranges::count_if(column.values, [](double value) { return std::isnan(value); });
}

void drop_columns(data::SparseSet& set, const std::vector<std::string>& names) {
  data::SparseSet kept{set.rows, {}, {0}, {}, {}, std::move(set.target)};
  for (const std::string& name : names) {
    if (std::ranges::find(set.features, name) == set.features.end()) {
      throw Error("table", "no column ", quote(name), ": expected one of ", data::quote_some(set.features));
    }
  }
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    if (std::ranges::find(names, set.features[j]) != names.end()) continue;
    kept.features.push_back(std::move(set.features[j]));
    const auto from = set.starts[j], to = set.starts[j + 1];
    kept.entry_rows.insert(kept.entry_rows.end(), set.entry_rows.begin() + from, set.entry_rows.begin() + to);
    kept.values.insert(kept.values.end(), set.values.begin() + from, set.values.begin() + to);
    kept.starts.push_back(static_cast<int>(kept.values.size()));
  }
  set = std::move(kept);
}

/// Cells that are one of these words are missing.
void mark_missing(data::Column& column, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    double number = 0;
    const bool is_number = data::parse_number(word, number) == data::NumberKind::finite;
    for (double& value : column.values) {
      if (std::isnan(value)) continue;
      const bool is_it = column.labels.empty() ? is_number && value == number
                                               : column.labels[static_cast<std::size_t>(value)] == word;
      if (is_it) value = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

/// Throws for a column that cannot be one of labels.
void check_text(const data::Column& column) {
  const Index present = static_cast<Index>(column.values.size()) - missing_cells(column);
  if (present <= 2 || static_cast<Index>(column.labels.size()) < present) return;
  throw Error("table", "column ", quote(column.name),
              " is text with a different value in each row: expected "
              "labels that repeat (--drop ",
              column.name, " leaves it out)");
}

}  // namespace

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t k = 0; k < std::min(names.size(), most); ++k) text += (k == 0 ? "" : ", ") + names[k];
  if (names.size() > most) text += fmt::format(", ... ({} columns)", names.size());
  return text;
}

void TableFormat::add_format_options(Command& command) {
  command.option(
      "--separator", separator,
      "Between the cells of a CSV: comma, semicolon, tab, blanks or any character (default: found by "
      "its content)",
      [](const std::string& text) {
        return text.size() == 1 || separators.contains(text)
                   ? nullptr
                   : "comma, semicolon, tab, blanks or one character";
      });
  command.option("--decimal", decimal, "Decimal mark of a CSV; auto is the one that its cells have",
                 std::vector<std::string>{".", ",", "auto"});
  command.flag("--no-header", no_header, "The CSV begins with data; its columns are called V1, V2, ...");
  command.option("--categorical", categorical,
                 "Columns of a CSV that hold labels, although they look like numbers (text is found)");
  command.option("--drop", drop, "Columns to leave out");
  command.option("--missing-words", missing_words,
                 "Further cells of a CSV that count as missing, beside empty ones, NA, NaN, ? and null");
}

void TableOptions::add_to(Command& command) {
  command.option(
      "--csv", file,
      "Table to read, plain or gzip: CSV with a header, ARFF or LIBSVM, found by its content; looked "
      "for in the folder of --data, too; - is standard input");
  add_format_options(command);
  command.option(
      "--missing", missing,
      "Missing cells: refuse; drop their rows; fill in the column's mean or median, computed on all rows "
      "that have a value, those held out among them; or indicator, the mean and a further column that "
      "marks them. Missing text is a label of its own",
      std::vector<std::string>{"refuse", "drop", "mean", "median", "indicator"});
  for (const char* name :
       {"--separator", "--decimal", "--no-header", "--categorical", "--missing-words", "--missing"}) {
    command.needs(name, "--csv");
  }
}

void TableFormat::refuse_csv_options(const std::string& what) const {
  const char* const given = !separator.empty()       ? "--separator"
                            : decimal == ","         ? "--decimal ,"
                            : no_header              ? "--no-header"
                            : !missing_words.empty() ? "--missing-words"
                                                     : nullptr;
  if (given != nullptr) throw Error("table", given, " with ", what, ": expected a CSV, which it is for");
}

std::variant<data::Table, data::SparseSet> TableFormat::read(const CommonOptions& common) const {
  const auto [text, source] = read_text(common);
  return parse(text, source);
}

std::pair<std::string, std::string> TableFormat::read_text(const CommonOptions& common) const {
  if (file == "-") return {data::read_standard_input("read_table"), "standard input"};
  const std::filesystem::path path = common.find(file);
  common.reads(path);
  return {data::read_file(path, "read_table"), path.string()};
}

std::variant<data::Table, data::SparseSet> TableFormat::parse(const std::string& text,
                                                              const std::string& source) const {
  // The length that a safetensors file begins with ends in a 0, which no text has.
  if (text.size() > 8 && text[7] == '\0' && text[8] == '{') {
    throw Error("table", source, " is a safetensors file, as models are: expected a table");
  }
  if (data::is_arff(text)) refuse_csv_options("ARFF");
  if (data::is_libsvm(text)) {
    refuse_csv_options("LIBSVM");
    data::SparseSet set = data::parse_libsvm(text, source);
    if (!categorical.empty()) {
      throw Error("table", "--categorical ", categorical.front(), ": expected none, as LIBSVM holds numbers");
    }
    drop_columns(set, drop);
    return set;
  }
  data::CsvOptions options{.header = !no_header,
                           .separator = std::nullopt,
                           .decimal = '.',
                           .missing = data::Missing::keep,
                           .categorical = categorical,
                           .numeric = model_numeric,
                           .text = true};
  if (!separator.empty()) {
    const auto named = separators.find(separator);
    options.separator = named == separators.end() ? separator.front() : named->second;
  }
  options.decimal = decimal == "auto" ? data::find_decimal(text, options.separator) : decimal.front();
  for (const std::vector<std::string>& words : {missing_words, model_missing_words}) {
    options.missing_words.insert(options.missing_words.end(), words.begin(), words.end());
  }
  for (const std::string& word : missing_words) {
    if (data::valid_utf8(word) == word) continue;
    throw Error("table", "--missing-words ", quote(word), ": expected UTF-8");
  }
  data::Table table = data::parse_table(text, options, source);
  if (data::is_arff(text)) {
    for (data::Column& column : table.columns) mark_missing(column, model_missing_words);
  }
  for (const std::string& name : drop) table.take(name);
  return table;
}

std::vector<std::string> TableOptions::drop_rows(data::Table& table,
                                                 const std::vector<std::string>& needed) const {
  const Index before = table.rows();
  if (missing == "refuse") {
    for (const data::Column& column : table.columns) {
      const Index count = missing_cells(column);
      if (count == 0) continue;
      const auto first = std::ranges::find_if(column.values, [](double value) { return std::isnan(value); });
      throw Error("table", "column ", quote(column.name), " has ", count,
                  count == 1 ? " missing cell, in row " : " missing cells, the first in row ",
                  first - column.values.begin() + 1,
                  ": expected values, or --missing drop, mean, median or indicator");
    }
  } else if (missing == "drop") {
    data::drop_missing_rows(table);
  } else {
    for (const std::string& name : needed) data::drop_missing_rows(table, name);
  }
  if (table.rows() == 0) throw Error("table", "no row is left without a missing cell: expected at least one");
  if (table.rows() == before) return {};
  return {fmt::format("{} of {} rows are left out: {}", before - table.rows(), before,
                      missing == "drop" ? "a cell is missing" : "the target is missing")};
}

std::vector<std::string> suspicions(const data::Table& table, bool no_header) {
  std::vector<std::string> notes;
  if (!no_header && !table.columns.empty() &&
      std::ranges::all_of(table.columns, [](const auto& column) { return data::is_number(column.name); })) {
    notes.push_back("line 1 holds nothing but numbers and was read as names: --no-header reads it as data");
  }
  for (const data::Column& column : table.columns) {
    if (!data::looks_like_row_number(column)) continue;
    notes.push_back(
        fmt::format("{} holds whole numbers that rise from row to row, as row numbers do: --drop {} "
                    "leaves it out",
                    column.name, column.name));
  }
  return notes;
}

std::vector<std::string> TableOptions::encode(data::Table& table, std::vector<std::string>& origin) const {
  for (const data::Column& column : table.columns) check_text(column);
  std::vector<std::string> notes = suspicions(table, no_header);
  if (missing == "mean" || missing == "median" || missing == "indicator") {
    const data::Fill fill = missing == "median"      ? data::Fill::median
                            : missing == "indicator" ? data::Fill::indicator
                                                     : data::Fill::mean;
    for (const data::FilledColumn& filled : data::fill_missing(table, fill)) {
      const bool text = !table.column(filled.name).labels.empty();
      notes.push_back(fmt::format("{}: {} missing cells become {}{}", filled.name, filled.cells,
                                  text ? "the label \"missing\""
                                       : fmt::format("{:.6g}, the {} of all other rows", filled.value,
                                                     missing == "median" ? "median" : "mean"),
                                  filled.indicator.empty() ? "" : ", marked by " + filled.indicator));
    }
  }
  const std::vector<data::OneHotColumn> encoded = data::one_hot(table);
  for (const data::OneHotColumn& one : encoded) {
    notes.push_back(one.columns.empty() ? fmt::format("{} has a single label and is left out", one.name)
                    : one.columns == std::vector{one.name}
                        ? fmt::format("{}: 1 where it is true, 0 where it is false", one.name)
                        : fmt::format("text {} becomes {}, 0 or 1", one.name, joined(one.columns)));
  }
  origin.clear();
  for (const data::Column& column : table.columns) {
    origin.push_back(column.name);
    for (const data::OneHotColumn& one : encoded) {
      if (std::ranges::find(one.columns, column.name) != one.columns.end()) origin.back() = one.name;
    }
  }
  return notes;
}

}  // namespace taper::apps
