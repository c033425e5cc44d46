#include <taper/data/arff.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "limited_memory.hpp"

using namespace taper::data;
using taper::Index;

namespace {

using Numbers = std::vector<double>;
using Names = std::vector<std::string>;

const std::string weather =
    "% A comment\n\n@RELATION 'the weather'\n\n@attribute outlook {sunny, overcast, 'very rainy'}\n"
    "@attribute temperature real\n@ATTRIBUTE \"wind speed\" NUMERIC\n@attribute note string\n"
    "@attribute day date \"yyyy-MM-dd\"\n@attribute play {yes,no}\n@data\n"
    "sunny,85,1e1,'it\\'s',2020-01-01,no\n'very rainy', -70.5 ,?,\"a, b\",2020-01-02, yes\r\n% in between\n"
    "?,64,0,it\\'s,2020-01-01,yes";

}  // namespace

TEST_CASE("parse_arff: numbers, lists, text, missing cells") {
  const std::string text =
      "@relation r\n@attribute k {b, a, 'c d'}\n@attribute x real\n@attribute 'a name' integer\n"
      "@attribute note string\n@data\na,1.5,-3,'it\\'s'\n% comment\n'c d', ? ,4,\"x, y\"\r\n"
      "a,2e3,+5,it\n";
  CHECK(is_arff(text));
  const Table table = parse_arff(text);
  REQUIRE(table.columns.size() == 4);
  CHECK(table.rows() == 3);
  CHECK(table.column("k").labels == Names{"a", "c d"});
  CHECK(table.column("k").values == Numbers{0, 1, 0});
  CHECK(table.column("x").values[0] == 1.5);
  CHECK(std::isnan(table.column("x").values[1]));
  CHECK(table.column("x").values[2] == 2000);
  CHECK(table.column("a name").values == Numbers{-3, 4, 5});
  CHECK(table.column("note").labels == Names{"it's", "x, y", "it"});
}

TEST_CASE("parse_arff: sparse rows") {
  const Table table = parse_arff(
      "@relation r\n@attribute a numeric\n@attribute k {no,yes}\n@attribute b numeric\n@data\n"
      "{0 2.5, 1 yes}\n{ }\n{2 -1}\n");
  CHECK(table.column("a").values == Numbers{2.5, 0, 0});
  CHECK(table.column("b").values == Numbers{0, 0, -1});
  CHECK(table.column("k").labels == Names{"yes", "no"});
  CHECK(table.column("k").values == Numbers{0, 1, 1});
}

TEST_CASE("parse_arff: what is found by content, and what is not") {
  CHECK(is_arff("\xef\xbb\xbf% x\n\n  @Relation y\n"));
  CHECK_FALSE(is_arff(""));
  CHECK_FALSE(is_arff("% x\na,b\n1,2\n"));
  CHECK(is_arff(weather));
  CHECK(parse_arff(weather).rows() == 3);
}

TEST_CASE("parse_arff: damage is named by line") {
  const std::string head = "@relation r\n@attribute a numeric\n@attribute k {x,y}\n@data\n";
  CHECK_ERROR(parse_arff(head + "1,x\n2\n", "f.arff"), "[read_arff] f.arff, line 6: 1 cell: expected 2");
  CHECK_ERROR(parse_arff(head + "1,x,3\n"), "line 5: 3 cells: expected 2");
  CHECK_ERROR(parse_arff(head + "one,x\n"), "\"one\" in column \"a\": expected a finite number");
  CHECK_ERROR(parse_arff(head + "inf,x\n"), "expected a finite number");
  CHECK_ERROR(parse_arff(head + "1,z\n"), "\"z\" in column \"k\": expected one of its labels");
  CHECK_ERROR(parse_arff(head + "1,'x\n"), "a quote never closes");
  CHECK_ERROR(parse_arff(head + "1,'x'y\n"), "text after a closing quote");
  CHECK_ERROR(parse_arff(head), "no rows below @data");
  CHECK_ERROR(parse_arff(head + "{0 1\n"), "a row in braces never closes");
  for (const char* position : {"2", "-1", "0.5", "x", "nan", "1e300"}) {
    CHECK_ERROR(parse_arff(head + "{" + position + " 1}\n"), "position", "expected a new one from 0 to 1");
  }
  CHECK_ERROR(parse_arff(head + "{0 1, 0 2}\n"), "position \"0\"");
  CHECK_ERROR(parse_arff(head + "{0 1} 2\n"), "text after a closing brace: expected the end of the line");
  CHECK_ERROR(parse_arff(head + "{0 1}, {5}\n"), "text after a closing brace");
  CHECK_ERROR(parse_arff("@relation r\n@data\n1\n"), "no @attribute");
  CHECK_ERROR(parse_arff("@relation r\n@attribute a numeric\n@attribute a real\n"),
              "a second attribute \"a\"");
  CHECK_ERROR(parse_arff("@relation r\n@attribute a relational\n"), "of type \"relational\"");
  CHECK_ERROR(parse_arff("@relation r\n@attribute a {x, y\n"), "a list of labels never closes");
  CHECK_ERROR(parse_arff("@relation r\n1,2\n"), "\"1,2\": expected @attribute or @data");
}

TEST_CASE("parse_arff: a small text does not take all memory") {
  std::string text = "@relation r\n";
  for (int k = 0; k < 20'000; ++k) text += "@attribute a" + std::to_string(k) + " real\n";
  text += "@data\n";
  CHECK(parse_arff(text + "{}\n{19999 1}\n").columns.back().values == Numbers{0, 1});
  std::string fits = text;
  for (int row = 0; row < 5'000; ++row) fits += "{}\n";
  const std::string problem = error_within(std::size_t{256} << 20, [&] { parse_arff(fits, "f"); });
  if (!problem.empty()) CHECK(problem == "[read_arff] f does not fit in memory: expected as much to be free");
  for (int row = 0; row < 20'000; ++row) text += "{}\n";
  CHECK_ERROR(parse_arff(text, "f"), "[read_arff] f is too sparse", "a table of 20000 x 20000 cells");
}

TEST_CASE("parse_arff: damaged texts give a table or an Error, nothing else") {
  taper::Rng rng(1);
  const std::string bytes("\0\n'\"{},%?@ \t1\\", 14);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = weather;
    for (Index k = 1 + rng.below(4); k > 0; --k) {
      const auto at = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size())));
      const char byte = bytes[static_cast<std::size_t>(rng.below(static_cast<Index>(bytes.size())))];
      if (rng.below(2) == 0)
        text[at] = byte;
      else
        text.insert(at, 1, byte);
    }
    try {
      const Table table = parse_arff(text);
      REQUIRE(table.rows() >= 1);
      for (const Column& column : table.columns) {
        REQUIRE(static_cast<Index>(column.values.size()) == table.rows());
      }
    } catch (const taper::Error& error) {
      REQUIRE(std::string(error.what()).starts_with("[read_arff] "));
    }
  }
}
