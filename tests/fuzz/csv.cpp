#include <taper/data/csv.hpp>

#include "fuzz.hpp"

using namespace taper::data;

/// The first byte chooses among the options.
TAPER_FUZZ {
  if (bytes.empty()) return;
  const auto choice = static_cast<unsigned char>(bytes.front());
  CsvOptions options{.header = (choice & 1) == 0,
                     .separator = (choice & 2) == 0 ? ',' : ' ',
                     .missing = static_cast<Missing>((choice >> 2) % 3)};
  if ((choice & 16) != 0) options.categorical = {"a"};
  if ((choice & 32) != 0) options.missing_words = {"-99"};
  const Table table = parse_csv(bytes.substr(1), options);
  require(!table.columns.empty() && table.rows() > 0);
  for (const Column& column : table.columns) {
    require(column.values.size() == static_cast<std::size_t>(table.rows()));
  }
}
