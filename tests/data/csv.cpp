#include <taper/data/csv.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "files.hpp"

using namespace taper::data;
using taper::Index;
using taper::Rng;

namespace {

using Numbers = std::vector<double>;
using Names = std::vector<std::string>;

double sum(const Table& table, const char* name) {
  const Numbers& values = table.column(name).values;
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

TEST_CASE("read_csv: a plain file") {
  const Table table = read_csv(TempFile("a,b\n1,2.5\n-3,4e2\n").path());
  REQUIRE(table.columns.size() == 2);
  CHECK(table.column("a").values == Numbers{1, -3});
  CHECK(table.column("b").values == Numbers{2.5, 400});
  CHECK(table.column("b").labels.empty());
}

TEST_CASE("read_csv: a gzip file, and a truncated one") {
  const std::string packed = gzip("a,b\n1,2\n");
  CHECK(read_csv(TempFile(packed).path()).column("b").values == Numbers{2});
  const TempFile cut(packed.substr(0, packed.size() - 3));
  CHECK_ERROR(read_csv(cut.path()), "[read_csv]", cut.path().string(), "cut short");
}

TEST_CASE("read_csv: files that are not there, or hold nothing") {
  const auto folder = std::filesystem::temp_directory_path();
  CHECK_ERROR(read_csv(folder / "taper-no-such-file.csv"), "[read_csv]",
              "taper-no-such-file.csv: no such file");
  CHECK_ERROR(read_csv(folder), "[read_csv]", "is a directory: expected a file");
  for (const char* nothing : {"", "\n", "\r\n\r\n", "\xef\xbb\xbf", "\xef\xbb\xbf\n"}) {
    const TempFile file(nothing);
    CHECK_ERROR(read_csv(file.path()), "[read_csv]", file.path().string(),
                "is empty: expected a header and rows");
    CHECK_ERROR(read_csv(file.path(), {.header = false}), "is empty: expected rows");
  }
  CHECK_ERROR(read_csv(TempFile(gzip("")).path()), "is empty");
  CHECK_ERROR(parse_csv("a,b"), "[read_csv] text has a header and no rows");
  CHECK_ERROR(parse_csv("a,b\r\n\n"), "a header and no rows");
  CHECK_ERROR(parse_csv("\na,b\n1,2"), "line 1 is blank");
  CHECK_ERROR(parse_csv("\xff\xfe"
                        "a"),
              "is UTF-16: expected UTF-8");
}

TEST_CASE("parse_csv: every kind of line end, byte order mark, blanks") {
  for (const std::string text :
       {"a,b\n1,2\n3,4", "a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r\r",
        "\xef\xbb\xbf"
        "a,b\n1,2\n3,4\n\n\n",
        " a ,\tb\n 1, 2\t\n3 , 4 \n", "\"a\" , \"b\"\n\"1\" , \"2\"\n+3, \"+4\"\r\n"}) {
    CAPTURE(text);
    const Table table = parse_csv(text);
    CHECK(table.column("a").values == Numbers{1, 3});
    CHECK(table.column("b").values == Numbers{2, 4});
  }
}

TEST_CASE("parse_csv: quotes as in RFC 4180") {
  const Table table =
      parse_csv("\"x, \"\"y\"\"\",k\n1,\"two\nlines\"\n2,\"a,b\"\n3,\"say \"\"hi\"\"\"\n4,5\" pipe\n",
                {.categorical = {"k"}});
  CHECK(table.columns[0].name == "x, \"y\"");
  CHECK(table.columns[0].values == Numbers{1, 2, 3, 4});
  CHECK(table.column("k").labels == Names{"two\nlines", "a,b", "say \"hi\"", "5\" pipe"});

  CHECK_ERROR(parse_csv("a,b\n1,2\n\"3,4\n5,6\n"), "the quote opened on line 3 never closes");
  CHECK_ERROR(parse_csv("\""), "the quote opened on line 1 never closes");
  CHECK_ERROR(parse_csv("a,b\n1,\"2\"3\n"), "text after the closing quote on line 2", "expected \",\"");
}

TEST_CASE("parse_csv: separators and headers") {
  for (const char separator : {',', ';', '\t', ' ', '|', ':'}) {
    std::string text = "a,b\n1.5,-2\n";
    for (char& c : text) c = c == ',' ? separator : c;
    CHECK(parse_csv(text, {.separator = separator}).column("b").values == Numbers{-2});
  }
  for (const char separator : {'.', '-', '+', '7', 'e', '"', '\n', '\r', '\0'}) {
    CHECK_ERROR(parse_csv("a\n1", {.separator = separator}), "[read_csv] separator", "expected a character");
  }
  const Table unnamed = parse_csv("1,2\n3,4", {.header = false});
  CHECK(unnamed.column("V1").values == Numbers{1, 3});
  CHECK(unnamed.column("V2").values == Numbers{2, 4});
  CHECK(parse_csv(",b\n1,2").columns[0].name == "V1");
  CHECK_ERROR(parse_csv("a,b,a\n1,2,3"), "two columns \"a\": expected distinct names",
              "the file has no header");
  CHECK_ERROR(parse_csv("a,b\n1,2", {.separator = ';'}), "\"1,2\" on line 2, column \"a,b\" is not a number");
}

TEST_CASE("parse_csv: blanks between cells, one or more of them") {
  const CsvOptions options{.separator = ' ', .text = true};
  for (const std::string text :
       {"a b c\n1 2.5 x\n-3 4 y\n", "  a\tb \t c  \r\n\t1   2.5 x \r\n -3 4 \"y\"\t"}) {
    CAPTURE(text);
    const Table table = parse_csv(text, options);
    REQUIRE(table.columns.size() == 3);
    CHECK(table.column("a").values == Numbers{1, -3});
    CHECK(table.column("b").values == Numbers{2.5, 4});
    CHECK(table.column("c").labels == Names{"x", "y"});
  }
  CHECK_ERROR(parse_csv("a b\n1 2 3\n", options), "line 2 has 3 cells: expected 2");
  CHECK_ERROR(parse_csv("a b\n1 2\n \t\n3 4\n", options), "line 3 is blank");
  CHECK(parse_csv("a b\n1 2\n  \n\n", options).rows() == 1);
  for (const char* const text : {" ", "\t\n", " \r\n\t"}) {
    CHECK_ERROR(parse_csv(text, options), "line 1 is blank");
    CHECK_ERROR(parse_csv(text, {.header = false, .separator = ' '}), "line 1 is blank");
  }
}

TEST_CASE("parse_csv: a decimal comma") {
  const CsvOptions options{.separator = ';', .decimal = ','};
  const Table table = parse_csv("a;b\n1,5;-0,25\n2;+1,5e3\n123456789,123456789;\"7,0\"\n", options);
  CHECK(table.column("a").values == Numbers{1.5, 2, 123456789.123456789});
  CHECK(table.column("b").values == Numbers{-0.25, 1500, 7});
  CHECK_ERROR(parse_csv("a;b\n1.5;2\n", options), "\"1.5\" on line 2, column \"a\" is not a number");
  CHECK_ERROR(parse_csv("a;b\n1.234,5;2\n", options), "is not a number");
  CHECK_ERROR(parse_csv("a,b\n1,2\n", {.decimal = ','}), "separator \",\"");
  CHECK_ERROR(parse_csv("a\n1\n", {.decimal = ';'}), "decimal mark \";\": expected");
  // The other decimal mark is a mistake, and no label.
  CHECK_ERROR(parse_csv("a;b\n1,5;x\n", {.separator = ';', .text = true}),
              "\"1,5\" on line 2, column \"a\" is not a number", "is the decimal mark a comma?");
  CHECK_ERROR(parse_csv("a;b\n1.5;x\n", {.separator = ';', .decimal = ',', .text = true}),
              "is the decimal mark a point?");
}

TEST_CASE("parse_csv: text columns are found by their first cells") {
  const CsvOptions options{.missing = Missing::keep, .text = true};
  const Table table = parse_csv("a,k,n,flag\n1,,,TRUE\n2,red,7,FALSE\n3,blue,NA,TRUE\n", options);
  CHECK(table.column("a").labels.empty());
  CHECK(table.column("k").labels == Names{"red", "blue"});
  CHECK(std::isnan(table.column("k").values[0]));
  CHECK(table.column("k").values[2] == 1);
  CHECK(table.column("n").labels.empty());
  CHECK(table.column("n").values[1] == 7);
  CHECK(table.column("flag").labels == Names{"TRUE", "FALSE"});
  CHECK_ERROR(parse_csv("a,k\n1,2\n2,two\n", options), "\"two\" on line 3, column \"k\" is not a number");
  CHECK_ERROR(parse_csv("k\nunknown\n2\n", options), "column \"k\" holds \"unknown\" and \"2\"");
  CHECK_ERROR(parse_csv("k\ninf\n2\n", options), "\"inf\" on line 2", "finite");
  const CsvOptions named{.categorical = {"k"}, .text = true};
  CHECK(
      parse_csv("k\nunknown\n2\ninf\n1,5\n\"1,5\"\n", {.separator = ';', .categorical = {"k"}, .text = true})
          .column("k")
          .labels == Names{"unknown", "2", "inf", "1,5"});
  CHECK(parse_csv("k,b\n2,1\nx,2\n", named).column("k").labels == Names{"2", "x"});
}

TEST_CASE("find_separator: the one that cuts the lines alike") {
  CHECK(find_separator("a,b\n1,2\n") == ',');
  CHECK(find_separator("a;b\n1,5;2,5\n", ',') == ';');
  CHECK(find_separator("a;b\n1,5;2,5\n") == ';');
  CHECK(find_separator("1,5;2,5\n3,5;4,5\n") == ';');
  CHECK(find_separator("a\tb c\n1\t2\n") == '\t');
  CHECK(find_separator("a b  c\n 1 2\t3\n") == ' ');
  CHECK(find_separator("first name,last name\nA B,C\nD,E\n") == ',');
  CHECK(find_separator("\"a;x\",\"b;y\"\n1,2\n\"3;\n;\",4\n") == ',');
  CHECK(find_separator("my value\n1\n2\n3\n") == ',');  // one column
  CHECK(find_separator("value\n1,5\n", ',') == ';');
  CHECK(find_separator("a,b\n1,2\n3\n4,5\n") == ',');  // a ragged row is for the reader to find
  CHECK(find_separator("1,5 2,5\n3,5 4,5\n", ',') == ' ');
  CHECK(find_separator("") == ',');
  CHECK(find_separator("\"never closed") == ',');
  CHECK(parse_csv("\xef\xbb\xbf"
                  "a;b\n1;2\n",
                  {.separator = std::nullopt})
            .column("b")
            .values == Numbers{2});
}

TEST_CASE("parse_csv: categorical columns") {
  const CsvOptions options{.categorical = {"sea", "size"}};
  const Table table = parse_csv("sea,x,size\nNEAR BAY,1,10\nINLAND,2,9\nNEAR BAY,3,10\n", options);
  CHECK(table.column("sea").labels == Names{"NEAR BAY", "INLAND"});
  CHECK(table.column("sea").values == Numbers{0, 1, 0});
  CHECK(table.column("size").labels == Names{"10", "9"});
  CHECK(table.column("x").labels.empty());
  CHECK_ERROR(parse_csv("a,b\n1,2", {.categorical = {"c"}}), "no column \"c\" to read as labels",
              "expected one of \"a\", \"b\"");
}

TEST_CASE("parse_csv: cells that are not numbers") {
  CHECK_ERROR(parse_csv("a,b\n1,2\n3,four\n"), "\"four\" on line 3, column \"b\" is not a number");
  const std::string words(1000, 'w');
  CHECK_ERROR(parse_csv("a\n" + words), "\"wwww", "www...\" on line 2");
  for (const std::string cell :
       {"1 2", "1,5", "0x10", "1e", "--1", "+-1", "+", "-", ".", "1.2.3", "12-", "1_000", "\x01"}) {
    CAPTURE(cell);
    CHECK_ERROR(parse_csv("a\n\"" + cell + "\"\n"), "is not a number");
  }
  for (const std::string cell : {"inf", "-inf", "Infinity", "NAN", "-nan", "1e999", "-1e999", "1e-999"}) {
    CAPTURE(cell);
    const std::string text = "a\n1\n" + cell;
    CHECK_ERROR(parse_csv(text, {.missing = Missing::keep}), cell, "line 3, column \"a\"", "finite number");
  }
}

TEST_CASE("parse_csv: missing cells") {
  for (const std::string cell : {"", " ", "NA", "N/A", "NaN", "nan", "?", "null", "NULL", "\"\"", "\"NA\""}) {
    CAPTURE(cell);
    const std::string text = "a,total_rooms,k\n1,2,x\n3," + cell + ",y\n5,6,z\n";
    CHECK_ERROR(parse_csv(text, {.categorical = {"k"}}), "missing cell on line 3, column \"total_rooms\"");

    const Table kept = parse_csv(text, {.missing = Missing::keep, .categorical = {"k"}});
    CHECK(kept.rows() == 3);
    CHECK(std::isnan(kept.column("total_rooms").values[1]));

    const Table dropped = parse_csv(text, {.missing = Missing::drop_row, .categorical = {"k"}});
    CHECK(dropped.column("a").values == Numbers{1, 5});
    CHECK(dropped.column("total_rooms").values == Numbers{2, 6});
    CHECK(dropped.column("k").values == Numbers{0, 1});
    CHECK(dropped.column("k").labels == Names{"x", "z"});
  }
  CHECK_ERROR(parse_csv("a,k\n1,\n", {.categorical = {"k"}}), "missing cell on line 2, column \"k\"");
  CHECK_ERROR(parse_csv("a,b\n,1\n2,\n", {.missing = Missing::drop_row}), "missing cell in every row");
  CHECK(parse_csv("a\n-99\n1", {.missing = Missing::drop_row, .missing_words = {"-99.0"}}).rows() == 2);
}

TEST_CASE("parse_csv: a word for missing may look like a number") {
  const CsvOptions options{.missing = Missing::drop_row, .missing_words = {"-99"}};
  CHECK(parse_csv("a,b\n-99,1\n1,2\n", options).column("b").values == Numbers{2});
  CHECK_ERROR(parse_csv("a,b\n,1\n", options), "\"\" on line 2, column \"a\" is not a number");
}

TEST_CASE("parse_csv: ragged rows and blank lines") {
  CHECK_ERROR(parse_csv("a,b,c\n1,2,3\n4,5\n"), "line 3 has 2 cells: expected 3");
  CHECK_ERROR(parse_csv("a,b\n1,2,3,4\n"), "line 2 has 4 cells: expected 2");
  CHECK_ERROR(parse_csv("a,b\n1,2,\n"), "line 2 has 3 cells: expected 2");
  CHECK_ERROR(parse_csv("a,b\n1\n"), "line 2 has 1 cell: expected 2");
  CHECK_ERROR(parse_csv("a,b\n1,2\n\n3,4\n"), "line 3 is blank: expected 2 cells");
  CHECK(parse_csv("a\n1\n\n3\n\n", {.missing = Missing::drop_row}).column("a").values == Numbers{1, 3});
}

TEST_CASE("parse_csv: numbers are read to the nearest double") {
  Rng rng(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string cell = rng.below(2) == 0 ? "-" : "";
    const auto digits = 1 + rng.below(22);
    const auto point = rng.below(2 * digits);
    for (Index k = 0; k < digits; ++k) {
      if (k == point) cell += '.';
      cell += static_cast<char>('0' + rng.below(10));
    }
    if (rng.below(4) == 0) cell += "e" + std::to_string(rng.below(560) - 280);
    CAPTURE(cell);
    CHECK(parse_csv(cell, {.header = false}).columns[0].values[0] == std::strtod(cell.c_str(), nullptr));
  }
}

namespace {

/// A random table and one of its spellings.
struct Sample {
  Table table;
  CsvOptions options;
  std::vector<std::vector<std::string>> cells;  // as they are written, header first
  std::string line_end;
  std::size_t blank_lines;

  std::string text() const {
    std::string text;
    for (const auto& row : cells) {
      for (std::size_t k = 0; k < row.size(); ++k)
        text += (k > 0 ? std::string(1, *options.separator) : "") + row[k];
      text += line_end;
    }
    if (blank_lines == 0) text.resize(text.size() - line_end.size());
    for (std::size_t k = 1; k < blank_lines; ++k) text += line_end;
    return text;
  }
};

std::string in_quotes(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string shortest(double value) {
  char digits[40];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

std::string random_label(Rng& rng) {
  static const Names pieces = {"a", "B", " ", ",", ";", "\"", "\n", "\r\n", "7", "\xc3\xa9", "NA", "'"};
  std::string label = "_";  // so that it is no word for missing
  for (Index k = rng.below(6); k > 0; --k) label += pieces[static_cast<std::size_t>(rng.below(12))];
  return label;
}

double random_number(Rng& rng) {
  switch (rng.below(4)) {
    case 0:
      return static_cast<double>(rng.below(2001) - 1000);
    case 1:
      return static_cast<double>(rng.below(2001) - 1000) / 100;
    case 2:
      return rng.normal() * std::pow(10, rng.uniform(-300, 300));
    default:
      return rng.normal();
  }
}

Sample random_sample(Rng& rng) {
  Sample sample;
  sample.options.separator = rng.below(2) == 0 ? ',' : ';';
  sample.line_end = Names{"\n", "\r\n", "\r"}[static_cast<std::size_t>(rng.below(3))];
  sample.blank_lines = static_cast<std::size_t>(rng.below(4));
  const Index rows = 1 + rng.below(8);
  const Index columns = 1 + rng.below(6);
  sample.cells.resize(static_cast<std::size_t>(rows + 1));
  for (Index k = 0; k < columns; ++k) {
    const bool categorical = rng.below(3) == 0;
    Column column{std::to_string(k) + random_label(rng), {}, {}};
    if (categorical) sample.options.categorical.push_back(column.name);
    sample.cells[0].push_back(in_quotes(column.name));
    for (std::size_t i = 1; i < sample.cells.size(); ++i) {
      std::string cell;
      if (categorical) {
        const std::string label = rng.below(2) == 0 ? random_label(rng) : "_";
        const auto found = std::find(column.labels.begin(), column.labels.end(), label);
        column.values.push_back(static_cast<double>(found - column.labels.begin()));
        if (found == column.labels.end()) column.labels.push_back(label);
        cell = in_quotes(label);
      } else {
        column.values.push_back(random_number(rng));
        cell = shortest(column.values.back());
        if (rng.below(4) == 0) cell = in_quotes(cell);
      }
      if (rng.below(4) == 0) cell = " " + cell + "\t ";
      sample.cells[i].push_back(cell);
    }
    sample.table.columns.push_back(column);
  }
  return sample;
}

}  // namespace

TEST_CASE("parse_csv: random tables come back as they were written") {
  Rng rng(2);
  for (int round = 0; round < 2000; ++round) {
    const Sample sample = random_sample(rng);
    const std::string text = sample.text();
    CAPTURE(text);
    const Table table = parse_csv(text, sample.options);
    REQUIRE(table.columns.size() == sample.table.columns.size());
    for (std::size_t k = 0; k < table.columns.size(); ++k) {
      CHECK(table.columns[k].name == sample.table.columns[k].name);
      CHECK(table.columns[k].values == sample.table.columns[k].values);
      CHECK(table.columns[k].labels == sample.table.columns[k].labels);
    }
  }
}

TEST_CASE("parse_csv: errors name the line and the column, wherever they are") {
  Rng rng(3);
  for (int round = 0; round < 1000; ++round) {
    Sample sample = random_sample(rng);
    sample.options.categorical.clear();
    const auto row = static_cast<std::size_t>(1 + rng.below(static_cast<Index>(sample.cells.size()) - 1));
    const auto column = static_cast<std::size_t>(rng.below(static_cast<Index>(sample.cells[0].size())));
    for (std::size_t i = 1; i < sample.cells.size(); ++i) {
      for (std::string& cell : sample.cells[i]) cell = "1";
    }
    sample.cells[row][column] = "wrong";
    const std::string text = sample.text();
    CAPTURE(text);
    // Lines as an editor counts them: the header may take several.
    int line = 1;
    for (std::size_t at = 0; at < text.find("wrong"); ++at) {
      line += text[at] == '\n' || (text[at] == '\r' && text[at + 1] != '\n');
    }
    const std::string place =
        "\"wrong\" on line " + std::to_string(line) + ", column \"" + std::to_string(column);
    CHECK_ERROR(parse_csv(text, sample.options), place, "is not a number");
  }
}

TEST_CASE("parse_csv: damaged texts give a table or an Error, nothing else") {
  Rng rng(4);
  static const std::string bytes = std::string("\0\n\r\",; \t.-+e0NA?", 17) + "\xef\xff";
  for (int round = 0; round < 20'000; ++round) {
    Sample sample = random_sample(rng);
    sample.options.missing = static_cast<Missing>(rng.below(3));
    sample.options.header = rng.below(4) > 0;
    sample.options.text = rng.below(2) == 0;
    if (rng.below(4) == 0) sample.options.separator = std::nullopt;
    if (rng.below(4) == 0) sample.options.separator = ' ';
    if (sample.options.separator != ',' && rng.below(4) == 0) sample.options.decimal = ',';
    if (!sample.options.header) sample.options.categorical.clear();
    std::string text = sample.text();
    for (Index k = 1 + rng.below(4); k > 0; --k) {
      const auto at = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size())));
      const char byte = bytes[static_cast<std::size_t>(rng.below(static_cast<Index>(bytes.size())))];
      switch (rng.below(3)) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        default:
          text.resize(at + 1);
          break;
      }
    }
    try {
      const Table table = parse_csv(text, sample.options);
      REQUIRE(table.rows() >= 1);
      for (const Column& column : table.columns) {
        REQUIRE(static_cast<Index>(column.values.size()) == table.rows());
        for (const double value : column.values) REQUIRE(!std::isinf(value));
      }
    } catch (const taper::Error& error) {
      REQUIRE(std::string(error.what()).starts_with("[read_csv] "));
    }
  }
}

TEST_CASE("read_csv: the California housing table") {
  const auto path = real_data("california_housing_train.csv");
  if (path.empty()) {
    MESSAGE("skipped: TAPER_DATA names no folder with california_housing_train.csv");
    return;
  }
  const Table table = read_csv(path);
  CHECK(table.rows() == 17000);
  REQUIRE(table.columns.size() == 9);
  CHECK(table.columns.front().name == "longitude");
  CHECK(table.columns.back().name == "median_house_value");
  CHECK(sum(table, "longitude") == doctest::Approx(-2032555.84).epsilon(1e-12));
  CHECK(sum(table, "total_rooms") == 44942295);
  CHECK(sum(table, "median_income") == doctest::Approx(66020.8277).epsilon(1e-12));
  CHECK(sum(table, "median_house_value") == 3524115510);
}

TEST_CASE("read_csv: Madelon") {
  const auto path = real_data("madelon.csv.gz");
  if (path.empty()) {
    MESSAGE("skipped: TAPER_DATA names no folder with madelon.csv.gz");
    return;
  }
  const Table table = read_csv(path);
  CHECK(table.rows() == 2600);
  REQUIRE(table.columns.size() == 501);
  double total = 0;
  for (const Column& column : table.columns) total += sum(table, column.name.c_str());
  CHECK(total == 634479344);
  CHECK(sum(table, "V1") == 1252530);
  CHECK(sum(table, "V500") == 1275529);
  CHECK(sum(table, "Class") == 0);
}

TEST_CASE("find_decimal: the mark that numbers have, where it does not separate them") {
  CHECK(find_decimal("a;b\n1,5;2,25\n") == ',');
  CHECK(find_decimal("a\tb\n1,5\tx\n") == ',');
  CHECK(find_decimal("a;b\n1,5;2.5\n") == '.');  // one of them is no number anyway
  CHECK(find_decimal("a;b\n1;2\n") == '.');
  CHECK(find_decimal("a,b\n1,5\n2,5\n") == '.');
  CHECK(find_decimal("a;b\nx,y;1\n") == '.');
  CHECK(find_decimal("a b\n1,5 2\n", ' ') == ',');
  CHECK(find_decimal("") == '.');
  CHECK(find_decimal("a;b\n\"1,5;2\n") == '.');  // a quote that never closes
  const Table table =
      parse_csv("a;b\n1,5;-2\n", {.separator = ';', .decimal = find_decimal("a;b\n1,5;-2\n")});
  CHECK(table.columns[0].values[0] == 1.5);
}
