#include <taper/data/read_table.hpp>

#include <optional>

#include <taper/data/arff.hpp>
#include <taper/data/libsvm.hpp>

#include "tables.hpp"

using namespace taper::data;

namespace {

/// What is read, or nothing where there is an error.
std::optional<Table> table_of(std::string_view text, CsvOptions options, Missing missing) {
  options.missing = missing;
  try {
    return parse_table(text, options);
  } catch (const taper::Error&) {
    return {};
  }
}

}  // namespace

/// The first byte chooses among the options.
TAPER_FUZZ {
  if (bytes.empty()) return;
  const auto choice = static_cast<unsigned char>(bytes.front());
  const std::string_view text = bytes.substr(1);
  require(!is_arff(text) || !is_libsvm(text));
  if (has_large_index(text)) return;
  CsvOptions options{.header = (choice & 1) == 0,
                     .separator = std::nullopt,
                     .decimal = (choice & 2) == 0 ? '.' : ',',
                     .missing = Missing::keep,
                     .text = (choice & 4) == 0};
  if ((choice & 8) != 0) options.separator = ' ';
  if ((choice & 16) != 0) options.categorical = {"a"};
  if ((choice & 32) != 0) options.missing_words = {"-99"};
  Table table = parse_table(text, options);
  require_table(table);
  require(same(table, parse_table(text, options)));
  if (!options.categorical.empty()) {
    const Column& labels = table.column("a");
    require(!labels.labels.empty() ||
            std::ranges::all_of(labels.values, [](double x) { return std::isnan(x); }));
  }

  // What becomes of missing cells is all that the option changes.
  const std::optional<Table> refused = table_of(text, options, Missing::refuse);
  require(refused.has_value() == std::ranges::none_of(table.columns, has_missing));
  require(!refused || same(*refused, table));
  const std::optional<Table> dropped = table_of(text, options, Missing::drop_row);
  drop_missing_rows(table);
  require(dropped.has_value() == (table.rows() > 0));
  require(!dropped || same(*dropped, table));
}
