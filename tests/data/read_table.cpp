#include <taper/data/read_table.hpp>

#include <string>
#include <vector>

#include "../check.hpp"
#include "files.hpp"

using namespace taper::data;

namespace {
using Numbers = std::vector<double>;
}  // namespace

TEST_CASE("read_table: the format is found by its content") {
  const CsvOptions options{.separator = std::nullopt, .text = true};
  CHECK(read_table(TempFile("a;b\n1;x\n").path(), options).column("a").values == Numbers{1});
  CHECK(read_table(TempFile("1 2:3\n0\n").path(), options).column("V2").values == Numbers{3, 0});
  const std::string arff = "@relation r\n@attribute a real\n@attribute k {x,y}\n@data\n1,x\n?,y\n";
  const CsvOptions keep{.missing = Missing::keep};
  CHECK(read_table(TempFile(gzip(arff)).path(), keep).column("k").values == Numbers{0, 1});
  CHECK(parse_table(arff, {.missing = Missing::drop_row}).rows() == 1);
  CHECK_ERROR(parse_table(arff, {}, "f"), "f: missing cell in row 2, column \"a\"");
  CHECK_ERROR(parse_table(arff, {.missing = Missing::keep, .categorical = {"a"}}),
              "column \"a\" holds numbers");
  CHECK(parse_table(arff, {.missing = Missing::keep, .categorical = {"k"}}).rows() == 2);
  CHECK_ERROR(read_table("/nowhere/at/all"), "[read_table] /nowhere/at/all: no such file");
  CHECK_ERROR(parse_table("a,b\n1\n", options, "f"), "[read_csv] f: line 2 has 1 cell");
}
