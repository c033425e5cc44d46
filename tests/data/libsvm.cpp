#include <taper/data/libsvm.hpp>

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
using Texts = std::vector<std::string>;
}  // namespace

TEST_CASE("parse_libsvm: by columns, and written out") {
  const std::string text = "+1 1:0.5 3:-2 # a comment\n\n-1\n# nothing\n+1\t2:1e2  3:4\r\n";
  CHECK(is_libsvm(text));
  const SparseSet set = parse_libsvm(text);
  CHECK(set.rows == 3);
  CHECK(set.features == Texts{"V1", "V2", "V3"});
  CHECK(set.target == Numbers{1, -1, 1});
  CHECK(set.starts == std::vector<int>{0, 1, 2, 4});
  CHECK(set.entry_rows == std::vector<int>{0, 2, 0, 2});
  CHECK(set.values == Numbers{0.5, 100, -2, 4});
  const Table table = to_table(set);
  REQUIRE(table.columns.size() == 4);
  CHECK(table.column("V1").values == Numbers{0.5, 0, 0});
  CHECK(table.column("V3").values == Numbers{-2, 0, 4});
  CHECK(table.column("target").values == Numbers{1, -1, 1});
}

TEST_CASE("parse_libsvm: indices from 0, where there is one") {
  const SparseSet set = parse_libsvm("2.5 1:1\n0 0:3\n");
  CHECK(set.features == Texts{"V0", "V1"});
  CHECK(set.starts == std::vector<int>{0, 1, 2});
  CHECK(set.values == Numbers{3, 1});
  CHECK(set.target == Numbers{2.5, 0});
}

TEST_CASE("parse_libsvm: what is found by content, and what is not") {
  CHECK(is_libsvm("# x\n1\n0 7:1\n"));
  for (const char* other :
       {"", "1\n2\n", "a,b\n1,2\n", "1 2\n3 4\n", "time\n12:30\n", "1 a:2\n", "x 1:2\n", "1:2 3:4\n"}) {
    CAPTURE(other);
    CHECK_FALSE(is_libsvm(other));
  }
}

TEST_CASE("parse_libsvm: damage is named by line") {
  CHECK_ERROR(parse_libsvm("1 1:1\n1 1:x\n", "f"), "[read_libsvm] f, line 2: \"1:x\": expected index:value");
  CHECK_ERROR(parse_libsvm("1 1:\n"), "expected index:value");
  CHECK_ERROR(parse_libsvm("1 -1:2\n"), "expected index:value");
  CHECK_ERROR(parse_libsvm("1 qid:3 1:2\n"), "\"qid:3\"");
  CHECK_ERROR(parse_libsvm("1 1:nan\n"), "expected index:value");
  CHECK_ERROR(parse_libsvm("1,2 1:1\n"), "target \"1,2\": expected a finite number");
  CHECK_ERROR(parse_libsvm("1 2:1 2:1\n"), "index 2 after 2: expected indices that rise");
  CHECK_ERROR(parse_libsvm("1 3:1 2:1\n"), "index 2 after 3");
  CHECK_ERROR(parse_libsvm("1 999999999999:1\n"), "index 999999999999: expected at most 20000000");
  CHECK_ERROR(parse_libsvm("1 99999999999999999999:1\n"), "expected index:value");
  CHECK_ERROR(parse_libsvm("1\n2\n"), "has no entries");
  CHECK_ERROR(parse_libsvm(""), "has no entries");
}

TEST_CASE("to_table: a small set does not take all memory") {
  std::string text = "1 100000:1\n";
  for (int row = 0; row < 10'000; ++row) text += "1\n";
  CHECK_ERROR(to_table(parse_libsvm(text), "f"), "[read_libsvm] f is too sparse",
              "a table of 10001 x 100000 cells");
  CHECK(to_table(parse_libsvm("1 100000:1\n0\n")).column("V100000").values == Numbers{1, 0});
}

TEST_CASE("parse_libsvm, to_table: without memory") {
  const std::size_t most = std::size_t{256} << 20;
  const std::string expected = "[read_libsvm] f does not fit in memory: expected as much to be free";
  std::string problem = error_within(most, [] { parse_libsvm("1 20000000:1\n", "f"); });
  if (!problem.empty()) CHECK(problem == expected);
  std::string text = "1 10000:1\n";
  for (int row = 0; row < 10'000; ++row) text += "1\n";
  problem = error_within(most, [&] { to_table(parse_libsvm(text), "f"); });
  if (!problem.empty()) CHECK(problem == expected);
}

TEST_CASE("parse_libsvm: random sets come back as they were written") {
  taper::Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    const Index rows = 1 + rng.below(6), columns = 1 + rng.below(6);
    std::vector<Numbers> x(static_cast<std::size_t>(columns), Numbers(static_cast<std::size_t>(rows)));
    std::string text;
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
      text += std::to_string(i);
      for (std::size_t j = 0; j < x.size(); ++j) {
        if (rng.below(2) == 0 && i + j > 0) continue;
        x[j][i] = static_cast<double>(1 + rng.below(9)) / 8;
        text += " " + std::to_string(j + 1) + ":" + std::to_string(x[j][i]);
      }
      text += "\n";
    }
    const Table table = to_table(parse_libsvm(text));
    for (std::size_t j = 0; j < x.size(); ++j) {
      const Numbers& column = x[j];
      if (j + 1 < table.columns.size())
        CHECK(table.columns[j].values == column);
      else
        CHECK(column == Numbers(column.size()));  // columns behind the last entry are not there
    }
  }
}

TEST_CASE("parse_libsvm: damaged texts give a set or an Error, nothing else") {
  taper::Rng rng(2);
  const std::string bytes("\0\n\r: \t#-+.e019x", 15);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = "+1 1:0.5 3:-2 # a comment\n-1 2:1e2\n0\n+1 1:3 4:1\r\n";
    for (Index k = 1 + rng.below(4); k > 0; --k) {
      const auto at = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size())));
      const char byte = bytes[static_cast<std::size_t>(rng.below(static_cast<Index>(bytes.size())))];
      if (rng.below(2) == 0) {
        text[at] = byte;
      } else {
        text.insert(at, 1, byte);
      }
    }
    static_cast<void>(is_libsvm(text));
    try {
      const SparseSet set = parse_libsvm(text);
      REQUIRE(static_cast<Index>(set.target.size()) == set.rows);
      REQUIRE(static_cast<Index>(set.starts.size()) == set.columns() + 1);
      REQUIRE(set.starts.back() == static_cast<int>(set.values.size()));
      for (std::size_t k = 0; k < set.values.size(); ++k) {
        REQUIRE(set.entry_rows[k] < set.rows);
        REQUIRE(std::isfinite(set.values[k]));
      }
    } catch (const taper::Error& error) {
      REQUIRE(std::string(error.what()).starts_with("[read_libsvm] "));
    }
  }
}
