#include <taper/data/read_table.hpp>

#include <algorithm>
#include <cmath>

#include <taper/autodiff/error.hpp>
#include <taper/data/arff.hpp>
#include <taper/data/file.hpp>
#include <taper/data/libsvm.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {
namespace {

/// What parse_csv does while it reads.
Table apply(Table table, const CsvOptions& options, std::string_view source) {
  for (const std::string& name : options.categorical) {
    if (table.column(name).labels.empty()) {
      throw Error("read_table", source, ": column ", quote(name), " holds numbers: expected labels");
    }
  }
  if (options.missing == Missing::drop_row) {
    drop_missing_rows(table);
    if (table.rows() == 0) throw Error("read_table", source, " has a missing cell in every row");
  }
  for (const Column& column : table.columns) {
    const auto gap = std::ranges::find_if(column.values, [](double value) { return std::isnan(value); });
    if (options.missing != Missing::refuse || gap == column.values.end()) continue;
    throw Error("read_table", source, ": missing cell in row ", gap - column.values.begin() + 1, ", column ",
                quote(column.name), ": expected a value (missing cells can be kept, or their rows left out)");
  }
  return table;
}

}  // namespace

Table parse_table(std::string_view text, const CsvOptions& options, std::string_view source) {
  if (is_arff(text)) return apply(parse_arff(text, source), options, source);
  if (is_libsvm(text)) return apply(to_table(parse_libsvm(text, source), source), options, source);
  return parse_csv(text, options, source);
}

Table read_table(const std::string& path, const CsvOptions& options) {
  return parse_table(read_file(path, "read_table"), options, path);
}

}  // namespace taper::data
