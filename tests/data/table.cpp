#include <taper/data/table.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "../check.hpp"

using namespace taper::data;

namespace {
constexpr double missing = std::numeric_limits<double>::quiet_NaN();
}  // namespace

TEST_CASE("table: rows and columns by name") {
  const Table table{{{"a", {1, 2}, {}}, {"b", {3, 4}, {}}}};
  CHECK(table.rows() == 2);
  CHECK(Table{}.rows() == 0);
  CHECK(table.column("b").values == std::vector<double>{3, 4});
  CHECK_ERROR(table.column("c"), "[table] no column \"c\": expected one of \"a\", \"b\"");
}

TEST_CASE("drop_missing_rows: rows go from all columns, labels with them") {
  Table table{{{"x", {1, missing, 3, 4}, {}}, {"kind", {0, 1, 2, missing}, {"red", "green", "blue"}}}};
  drop_missing_rows(table);
  CHECK(table.rows() == 2);
  CHECK(table.column("x").values == std::vector<double>{1, 3});
  CHECK(table.column("kind").values == std::vector<double>{0, 1});
  CHECK(table.column("kind").labels == std::vector<std::string>{"red", "blue"});

  Table none{{{"x", {missing}, {}}}};
  drop_missing_rows(none);
  CHECK(none.rows() == 0);
}

TEST_CASE("drop_missing_rows: those of one column; other missing labels stay") {
  Table table{{{"x", {1, missing, 3, 4}, {}}, {"kind", {0, 1, missing, 2}, {"red", "green", "blue"}}}};
  drop_missing_rows(table, "x");
  CHECK(table.column("x").values == std::vector<double>{1, 3, 4});
  CHECK(table.column("kind").labels == std::vector<std::string>{"red", "blue"});
  CHECK(table.column("kind").values[0] == 0);
  CHECK(std::isnan(table.column("kind").values[1]));
  CHECK(table.column("kind").values[2] == 1);
  CHECK_ERROR(drop_missing_rows(table, "y"), "no column \"y\"");
}

TEST_CASE("table: a column is taken out") {
  Table table{{{"a", {1, 2}, {}}, {"b", {3, 4}, {}}, {"c", {5, 6}, {}}}};
  CHECK(table.take("b").values == std::vector<double>{3, 4});
  CHECK(table.columns.size() == 2);
  CHECK(table.columns[1].name == "c");
  CHECK_ERROR(table.take("b"), "[table] no column \"b\": expected one of \"a\", \"c\"");
}

TEST_CASE("drop_missing_rows: columns that do not fit") {
  Table ragged{{{"a", {1, 2}, {}}, {"b", {3}, {}}}};
  CHECK_ERROR(drop_missing_rows(ragged), "column \"b\" has 1 values: expected 2");
  for (const double position : {-1.0, 0.5, 2.0, 1e300}) {
    Table wrong{{{"kind", {position}, {"red", "blue"}}}};
    CHECK_ERROR(drop_missing_rows(wrong), "column \"kind\"", "expected a position among its 2 labels");
  }
}
