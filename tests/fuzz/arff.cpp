#include <taper/data/arff.hpp>

#include "tables.hpp"

using namespace taper::data;

TAPER_FUZZ {
  const Table table = parse_arff(bytes);
  require_table(table);
  require(same(table, parse_arff(bytes)));
  // Nothing but a row in braces holds more than is written.
  std::size_t written = table.columns.size() + static_cast<std::size_t>(table.rows());
  for (const Column& column : table.columns) {
    written += column.name.size();
    for (const std::string& label : column.labels) written += label.size();
  }
  require(written <= bytes.size());
}
