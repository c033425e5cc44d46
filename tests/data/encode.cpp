#include <taper/data/encode.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "../check.hpp"

using namespace taper::data;

namespace {

using Numbers = std::vector<double>;
using Texts = std::vector<std::string>;
constexpr double no_value = std::numeric_limits<double>::quiet_NaN();

Texts names_of(const Table& table) {
  Texts names;
  for (const Column& column : table.columns) names.push_back(column.name);
  return names;
}

}  // namespace

TEST_CASE("sort_labels: numbers by value, text by the alphabet") {
  Column sizes{"size", {0, 1, 2, 1, 3}, {"10", "9", "-1", "1e1"}};
  sort_labels(sizes);
  CHECK(sizes.labels == Texts{"-1", "9", "10", "1e1"});
  CHECK(sizes.values == Numbers{2, 1, 0, 1, 3});
  Column mixed{"size", {0, 1, no_value, 2}, {"b", "9", "10"}};
  sort_labels(mixed);
  CHECK(mixed.labels == Texts{"10", "9", "b"});
  CHECK(mixed.values[0] == 2);
  CHECK(mixed.values[1] == 1);
  CHECK(std::isnan(mixed.values[2]));
  CHECK(mixed.values[3] == 0);
  Column numbers{"x", {3, 1, 1e9}, {}};
  sort_labels(numbers);
  CHECK(numbers.labels.empty());
  CHECK(numbers.values == Numbers{3, 1, 1e9});
}

TEST_CASE("encode_classes: the later one is 1, or the one that is named") {
  const Column kind{"kind", {0, 1, 0, no_value}, {"tall", "low"}};
  Column column = kind;
  Classes classes = encode_classes(column);
  CHECK(classes.zero == "low");
  CHECK(classes.one == "tall");
  CHECK(column.labels.empty());
  CHECK(column.values[0] == 1);
  CHECK(column.values[1] == 0);
  CHECK(std::isnan(column.values[3]));
  column = kind;
  classes = encode_classes(column, "low");
  CHECK(classes.zero == "tall");
  CHECK(classes.one == "low");
  CHECK(column.values[0] == 0);
  CHECK(column.values[1] == 1);
  column = kind;
  CHECK(encode_classes(column, "tall").one == "tall");

  Column numbers{"y", {1, -1, 1}, {}};
  classes = encode_classes(numbers);
  CHECK(classes.zero == "-1");
  CHECK(classes.one == "1");
  CHECK(numbers.values == Numbers{1, 0, 1});
  numbers.values = {1, 2.5, 1};
  CHECK(encode_classes(numbers, "1.0").one == "1");
  CHECK(numbers.values == Numbers{1, 0, 1});
  Column written{"y", {0, 1, 1}, {"9", "10"}};  // labels that are numbers
  CHECK(encode_classes(written).one == "10");
  CHECK(written.values == Numbers{0, 1, 1});

  Column blank{"y", {0, 1, 1}, {"", "a"}};  // a label without letters is one like others
  CHECK(encode_classes(blank).one == "a");
  CHECK(blank.values == Numbers{0, 1, 1});
  const Column alike{"y", {0, 1, 1}, {"1", "1.0"}};  // of one value: the letters decide
  column = alike;
  CHECK(encode_classes(column, "1.0").one == "1.0");
  CHECK(column.values == Numbers{0, 1, 1});
  column = alike;
  CHECK(encode_classes(column, "1").one == "1");

  Column one{"y", {3, 3}, {}};
  CHECK_ERROR(encode_classes(one), "column \"y\" has the class \"3\": expected two");
  Column three{"y", {0, 1, 2}, {"a", "b", "c"}};
  CHECK_ERROR(encode_classes(three), "has the classes \"a\", \"b\", \"c\": expected two");
  Column many{"y", {}, {}};
  for (int i = 0; i < 1000; ++i) many.values.push_back(i);
  CHECK_ERROR(encode_classes(many), "has the classes \"0\", \"1\"", "...", "expected two");
  column = kind;
  CHECK_ERROR(encode_classes(column, "small"), "no class \"small\" in column \"kind\"",
              "expected one of \"low\", \"tall\"");
}

TEST_CASE("looks_like_row_number: whole numbers that rise") {
  CHECK(looks_like_row_number({"id", {1, 2, 3}, {}}));
  CHECK(looks_like_row_number({"id", {-4, 100, 1e9}, {}}));
  CHECK_FALSE(looks_like_row_number({"id", {1, 2}, {}}));
  CHECK_FALSE(looks_like_row_number({"id", {1, 3, 2}, {}}));
  CHECK_FALSE(looks_like_row_number({"id", {1, 2, 2}, {}}));
  CHECK_FALSE(looks_like_row_number({"x", {0.5, 1.5, 2.5}, {}}));
  CHECK_FALSE(looks_like_row_number({"x", {1, no_value, 2}, {}}));
  CHECK_FALSE(looks_like_row_number({"k", {0, 1, 2}, {"a", "b", "c"}}));
}

TEST_CASE("fill_missing: mean, median, indicator, and a label of its own") {
  const Table table{{{"x", {1, no_value, 2, 6}, {}},
                     {"z", {no_value, 4, no_value, 1}, {}},
                     {"full", {1, 2, 3, 4}, {}},
                     {"k", {0, no_value, 1, 0}, {"a", "b"}}}};
  Table by_mean = table;
  std::vector<FilledColumn> filled = fill_missing(by_mean, Fill::mean);
  CHECK(by_mean.column("x").values == Numbers{1, 3, 2, 6});
  CHECK(by_mean.column("z").values == Numbers{2.5, 4, 2.5, 1});
  CHECK(by_mean.column("k").labels == Texts{"a", "b", "missing"});
  CHECK(by_mean.column("k").values == Numbers{0, 2, 1, 0});
  REQUIRE(filled.size() == 3);
  CHECK(filled[0].name == "x");
  CHECK(filled[0].cells == 1);
  CHECK(filled[0].value == 3);
  CHECK(filled[0].indicator.empty());
  CHECK(filled[1].cells == 2);

  Table by_median = table;
  filled = fill_missing(by_median, Fill::median);
  CHECK(by_median.column("x").values == Numbers{1, 2, 2, 6});
  CHECK(by_median.column("z").values == Numbers{2.5, 4, 2.5, 1});

  Table marked = table;
  filled = fill_missing(marked, Fill::indicator);
  CHECK(names_of(marked) == Texts{"x", "x missing", "z", "z missing", "full", "k"});
  CHECK(marked.column("x").values == Numbers{1, 3, 2, 6});
  CHECK(marked.column("x missing").values == Numbers{0, 1, 0, 0});
  CHECK(marked.column("z missing").values == Numbers{1, 0, 1, 0});
  CHECK(filled[1].indicator == "z missing");

  Table huge{{{"x", {1e308, 1e308, no_value}, {}}, {"y", {1e8 + 1, 1e8 + 3, no_value}, {}}}};
  fill_missing(huge, Fill::mean);
  CHECK(huge.column("x").values[2] == doctest::Approx(1e308));
  CHECK(huge.column("y").values[2] == 1e8 + 2);
  const double most = std::numeric_limits<double>::max(), least = std::numeric_limits<double>::denorm_min();
  const Table extreme{{{"x", {most, most, most, -most, no_value}, {}},
                       {"y", {-most, most, no_value, most, -most}, {}},
                       {"z", {least, least, least, no_value, least}, {}}}};
  Table filled_in = extreme;
  fill_missing(filled_in, Fill::mean);
  CHECK(filled_in.column("x").values[4] == doctest::Approx(most / 2));
  CHECK(filled_in.column("y").values[2] == 0);
  CHECK(filled_in.column("z").values[3] == least);
  filled_in = extreme;
  fill_missing(filled_in, Fill::median);
  CHECK(filled_in.column("x").values[4] == most);
  CHECK(filled_in.column("y").values[2] == 0);

  Table twice{{{"x", {1, no_value}, {}}, {"x missing", {2, 3}, {}}}};
  CHECK_ERROR(fill_missing(twice, Fill::indicator), "a second column \"x missing\"");
  Table empty{{{"x", {no_value, no_value}, {}}}};
  CHECK_ERROR(fill_missing(empty, Fill::mean), "column \"x\" has no value in any row");
}

TEST_CASE("one_hot: one column for each label, one for two, none for one") {
  Table table{{{"size", {1, 2, 3}, {}},
               {"colour", {0, 1, 2}, {"red", "blue", "white"}},
               {"scent", {0, 1, 1}, {"yes", "no"}},
               {"flag", {0, 1, 0}, {"TRUE", "false"}},
               {"same", {0, 0, 0}, {"x"}}}};
  const std::vector<OneHotColumn> encoded = one_hot(table);
  CHECK(names_of(table) == Texts{"size", "colour=blue", "colour=red", "colour=white", "scent=yes", "flag"});
  CHECK(table.column("colour=blue").values == Numbers{0, 1, 0});
  CHECK(table.column("colour=red").values == Numbers{1, 0, 0});
  CHECK(table.column("colour=white").values == Numbers{0, 0, 1});
  CHECK(table.column("scent=yes").values == Numbers{1, 0, 0});
  CHECK(table.column("flag").values == Numbers{1, 0, 1});
  REQUIRE(encoded.size() == 4);
  CHECK(encoded[0].name == "colour");
  CHECK(encoded[0].columns == Texts{"colour=blue", "colour=red", "colour=white"});
  CHECK(encoded[1].columns == Texts{"scent=yes"});
  CHECK(encoded[2].columns == Texts{"flag"});
  CHECK(encoded[3].columns.empty());
  for (const Column& column : table.columns) CHECK(column.labels.empty());

  Table gap{{{"k", {0, no_value}, {"a"}}}};
  CHECK_ERROR(one_hot(gap), "column \"k\" misses the cell in row 1");
  Table twice{{{"k=b", {1, 2}, {}}, {"k", {0, 1}, {"a", "b"}}}};
  CHECK_ERROR(one_hot(twice), "a second column \"k=b\"");
}
