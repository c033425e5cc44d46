#include <taper/data/preprocessing.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/data/csv.hpp>

#include "../check.hpp"

using namespace taper;
using namespace taper::data;

namespace {

Table table_of(const std::string& text) {
  return parse_csv(text, {.separator = std::nullopt, .missing = Missing::keep, .text = true});
}

Preprocessing learn(const Table& table, const std::string& target, const PreprocessingOptions& options = {}) {
  return fit_preprocessing(table, decide_target(table.column(target)), options);
}

std::vector<std::string> names(const Preprocessing& preprocessing) {
  std::vector<std::string> result;
  for (const Feature& feature : preprocessing.features) result.push_back(feature.name);
  return result;
}

/// The features in place of the standardized ones.
std::vector<double> raw_row(const Preprocessing& preprocessing, const Tensor<double>& x, Index row) {
  std::vector<double> result;
  for (std::size_t j = 0; j < preprocessing.features.size(); ++j) {
    const Feature& feature = preprocessing.features[j];
    result.push_back(x[row * x.shape()[1] + static_cast<Index>(j)] * feature.scale + feature.mean);
  }
  return result;
}

std::string message_of(const auto& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const char* const ships =
    "age,sex,port,day,same,empty,alive\n"
    "22,male,S,2020-01-01,1,,no\n"
    "38,female,C,2020-01-03,1,,yes\n"
    ",female,,2020-01-05,1,,yes\n"
    "30,male,Q,2020-01-07,1,,no\n"
    "30,male,S,2020-01-09,1,,no\n";

}  // namespace

TEST_CASE("preprocessing: each kind of column becomes the features that it should") {
  const Table table = table_of(ships);
  const Preprocessing p = learn(table, "alive");
  CHECK(names(p) == std::vector<std::string>{"age", "age missing", "sex=male", "port=C", "port=Q", "port=S",
                                             "port missing", "day"});
  CHECK(p.inputs() == std::vector<std::string>{"age", "sex", "port", "day"});
  CHECK(p.columns[4].reason == "the same value in every training row");
  CHECK(p.columns[5].reason == "no value in any training row");
  CHECK(p.columns[0].fill == 30);
  CHECK(p.target.kind == TargetKind::two_classes);
  CHECK(p.target.classes == std::vector<std::string>{"no", "yes"});
  CHECK(p.apply_target(table.column("alive")) == std::vector<double>{0, 1, 1, 0, 0});

  std::vector<std::string> notes;
  const Tensor<double> x = p.apply(table, notes);
  const std::vector<double> first{22, 0, 1, 0, 0, 1, 0, 18262}, third{30, 1, 0, 0, 0, 0, 1, 18266};
  for (std::size_t j = 0; j < first.size(); ++j) {
    CHECK(raw_row(p, x, 0)[j] == doctest::Approx(first[j]));
    CHECK(raw_row(p, x, 2)[j] == doctest::Approx(third[j]));
  }
  for (Index j = 0; j < x.shape()[1]; ++j) {
    double sum = 0, squares = 0;
    for (Index i = 0; i < 5; ++i) sum += x[i * 8 + j], squares += x[i * 8 + j] * x[i * 8 + j];
    CHECK(sum == doctest::Approx(0).epsilon(1e-12));
    CHECK(squares / 5 == doctest::Approx(1));
  }
}

TEST_CASE("preprocessing: columns are found by name, in any order, and others may be there") {
  const Table table = table_of(ships);
  const Preprocessing p = learn(table, "alive");
  std::vector<std::string> notes;
  const Tensor<double> x = p.apply(table, notes);
  Table other = table;
  std::ranges::reverse(other.columns);
  static_cast<void>(other.take("same"));
  static_cast<void>(other.take("alive"));
  other.columns.push_back({"further", {1, 2, 3, 4, 5}, {}});
  const Tensor<double> y = p.apply(other, notes);
  CHECK(std::ranges::equal(x, y));
  // Labels in another order of appearance.
  const std::vector<Index> reversed{4, 3, 2, 1, 0};
  const Tensor<double> z = p.apply(rows(table, reversed), notes);
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 8; ++j) CHECK(z[i * 8 + j] == x[(4 - i) * 8 + j]);
  }
  static_cast<void>(other.take("sex"));
  static_cast<void>(other.take("port"));
  const std::string message = message_of([&] { p.apply(other, notes); });
  CHECK(message.find("no columns \"sex\", \"port\" in a table of") != std::string::npos);
}

TEST_CASE("preprocessing: what training rows did not have is the average row, and said") {
  const Preprocessing p = learn(table_of(ships), "alive");
  const Table other = table_of("age,sex,port,day\n50,other,X,2020-02-01\n,,,\n");
  std::vector<std::string> notes;
  const Tensor<double> x = p.apply(other, notes);
  const std::vector<double> unknown = raw_row(p, x, 0), missing = raw_row(p, x, 1);
  CHECK(unknown[0] == doctest::Approx(50));
  CHECK(x[2] == 0);                                // sex=male
  for (Index j = 3; j < 7; ++j) CHECK(x[j] == 0);  // port
  CHECK(missing[0] == doctest::Approx(30));
  CHECK(missing[1] == doctest::Approx(1));
  CHECK(x[8 + 2] == 0);
  CHECK(missing[6] == doctest::Approx(1));
  CHECK(missing[5] == doctest::Approx(0));
  CHECK(x[8 + 7] == doctest::Approx(0));  // a date, filled by the mean
  std::string all;
  for (const std::string& note : notes) all += note + '\n';
  CHECK(all.find("\"sex\": 1 cell of categories that no training row has (\"other\")") != std::string::npos);
  CHECK(all.find("\"sex\": 1 cell missing, taken as the average row") != std::string::npos);
  CHECK(all.find("\"port\": 1 cell missing, as in training rows") != std::string::npos);
  CHECK(all.find("\"age\": 1 cell missing, taken as 30, the mean of the training rows") != std::string::npos);
}

TEST_CASE("preprocessing: rare categories share a feature, which unknown ones have, too") {
  std::string text = "c,y\n";
  for (const char* row : {"a,1.5", "a,2", "a,3", "b,4", "b,5", "c,6", "d,7"}) text += std::string(row) + '\n';
  const Table table = table_of(text);
  const Preprocessing p = learn(table, "y", {.most_categories = 2});
  CHECK(names(p) == std::vector<std::string>{"c=a", "c=b", "c=other"});
  std::vector<std::string> notes;
  const Tensor<double> x = p.apply(table, notes);
  CHECK(raw_row(p, x, 5)[2] == doctest::Approx(1));
  CHECK(raw_row(p, x, 0)[2] == doctest::Approx(0));
  notes.clear();
  const Tensor<double> z = p.apply(table_of("c\nzzz\n"), notes);
  CHECK(raw_row(p, z, 0)[2] == doctest::Approx(1));
  CHECK(notes.size() == 1);
}

TEST_CASE("preprocessing: features that are kept alone are what they were among all") {
  const Table table = table_of("c,d,a,y\nu,x,1,1.5\nu,y,,2\nv,,3,3\nv,x,4,4\nw,y,5,5\n,x,6,6\nz,x,2,7\n");
  const Preprocessing all = learn(table, "y", {.most_categories = 2});
  std::vector<std::string> notes;
  const Tensor<double> x = all.apply(table, notes);
  const Index width = x.shape()[1];
  for (Index j = 0; j < width; ++j) {
    Preprocessing one = all;
    one.keep({j});
    CHECK(one.inputs().size() == 1);
    std::vector<std::string> more;
    const Tensor<double> alone = one.apply(table, more);
    for (Index i = 0; i < 7; ++i) CHECK(alone[i] == x[i * width + j]);
    for (const std::string& note : more) CHECK(note.find("no training row") == std::string::npos);
  }
}

TEST_CASE("preprocessing: features do not depend on units, and numbers may be huge") {
  const std::vector<double> values{1, 2, 3, 6, -4};
  for (const double scale : {1e-8, 1e8, 1e300}) {
    Table table{{{"a", values, {}}, {"y", values, {}}}}, other = table;
    for (Column& column : other.columns) {
      for (double& value : column.values) value *= scale;
    }
    const Preprocessing p = learn(table, "y"), q = learn(other, "y");
    std::vector<std::string> notes;
    const Tensor<double> x = p.apply(table, notes), z = q.apply(other, notes);
    const std::vector<double> y = p.apply_target(table.column("y")), t = q.apply_target(other.column("y"));
    for (Index i = 0; i < 5; ++i) {
      CHECK(z[i] == doctest::Approx(x[i]).epsilon(1e-10));
      CHECK(t[static_cast<std::size_t>(i)] == doctest::Approx(y[static_cast<std::size_t>(i)]).epsilon(1e-10));
    }
  }
  // What cannot be compared with the training rows.
  Table table{{{"a", {1e-300, 2e-300, 3e-300}, {}}, {"y", values, {}}}};
  table.columns[1].values.resize(3);
  const Preprocessing p = learn(table, "y");
  std::vector<std::string> notes;
  table.columns[0].values[1] = 1e300;
  CHECK(message_of([&] { p.apply(table, notes); }).find("\"a\" has 1e+300 in row 2") != std::string::npos);
}

TEST_CASE("preprocessing: it is learned from the rows that it is given alone") {
  Table table = table_of(ships);
  const Preprocessing p = learn(rows(table, {0, 1, 3, 3}), "alive");
  table.columns[0].values[4] = 1e6;
  const Preprocessing q = learn(rows(table, {0, 1, 3, 3}), "alive");
  CHECK(p.features[0].mean == q.features[0].mean);
  CHECK(p.features[0].mean == doctest::Approx(30));  // of 22, 38, 30 and 30
  CHECK(std::ranges::count(names(p), "age missing") == 0);
}

TEST_CASE("preprocessing: whether a column is dates does not depend on the rows that are drawn") {
  std::string text = "day,y\n";
  for (int i = 0; i < 12; ++i)
    text += "2020-01-0" + std::to_string(1 + i % 6) + "," + std::to_string(i) + "\n";
  const Table dates = table_of(text), mixed = table_of(text + "unknown,12\n");
  std::vector<Index> drawn(12);
  for (Index i = 0; i < 12; ++i) drawn[static_cast<std::size_t>(i)] = i;
  CHECK(learn(rows(dates, drawn), "y").columns[0].kind == ColumnKind::date);
  const Preprocessing p = learn(rows(mixed, drawn), "y");
  CHECK(p.columns[0].kind == ColumnKind::category);
  std::vector<std::string> notes;
  CHECK(p.apply(rows(mixed, {12}), notes).shape() == Shape{1, 6});
  CHECK(notes.size() == 1);
}

TEST_CASE("preprocessing: LIBSVM by the numbers of its columns") {
  const SparseSet set = parse_libsvm("1 1:2 3:4\n-1 2:5\n");
  const TargetColumn target = decide_target({"target", set.target, {}});
  CHECK(target.kind == TargetKind::two_classes);
  Preprocessing p = fit_preprocessing(set, target);
  p.keep({2, 0});
  CHECK(p.inputs() == std::vector<std::string>{"V1", "V3"});
  std::vector<std::string> notes;
  const Tensor<double> x = p.apply(set, notes);
  CHECK(std::ranges::equal(x, std::vector<double>{4, 2, 0, 0}));
  CHECK(notes.empty());
  CHECK(std::ranges::equal(p.apply(parse_libsvm("1 1:7\n"), notes), std::vector<double>{0, 7}));
  CHECK(notes == std::vector<std::string>{"zero in all rows: \"V3\""});
  // The same as a table.
  CHECK(std::ranges::equal(p.apply(to_table(set), notes), x));
  const Preprocessing named = learn(table_of("a,y\n1,2.5\n2,3\n4,1\n"), "y");
  CHECK(message_of([&] { named.apply(set, notes); }).find("no columns \"a\": expected some") !=
        std::string::npos);
  CHECK_THROWS_AS(p.keep({5}), Error);
}

TEST_CASE("decide_target: numbers, two classes, many, and what is asked for") {
  const auto kind = [](const Column& column, std::optional<TargetKind> asked = {}) {
    return decide_target(column, asked).kind;
  };
  std::vector<double> digits, grades, halves;
  for (int i = 0; i < 60; ++i) {
    digits.push_back(i % 10), grades.push_back(3 + i % 5), halves.push_back(0.5 * (i % 4));
  }
  CHECK(kind({"y", digits, {}}) == TargetKind::classes);
  CHECK(decide_target({"y", digits, {}}).classes.at(9) == "9");
  CHECK(kind({"y", grades, {}}) == TargetKind::regression);
  CHECK(kind({"y", halves, {}}) == TargetKind::regression);
  CHECK(kind({"y", digits, {}}, TargetKind::regression) == TargetKind::regression);
  CHECK(decide_target({"y", grades, {}}, TargetKind::classes).classes ==
        std::vector<std::string>{"3", "4", "5", "6", "7"});
  CHECK(kind({"y", {1, -1, 1}, {}}) == TargetKind::two_classes);
  CHECK(kind({"y", {0, 1, 2}, {}}) == TargetKind::regression);  // too few rows of each
  CHECK(kind({"y", {0, 1, 2, 0}, {"a", "b", "c"}}) == TargetKind::classes);
  CHECK(decide_target({"y", {1, 2, 1, 2}, {"unused", "b", "a"}}).classes ==
        std::vector<std::string>{"a", "b"});
}

TEST_CASE("preprocessing: bad tables are told in one sentence") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    Column column;
    std::optional<TargetKind> kind;
    const char* words;
  };
  for (const Case& bad : {
           Case{{"y", {2, 2, nan}, {}}, {}, "\"y\" is 2 in every row"},
           Case{{"y", {1, 1}, {"a", "b"}}, {}, "\"y\" is \"b\" in every row"},
           Case{{"y", {nan, nan}, {}}, {}, "\"y\" is missing in every row"},
           Case{{"y", {}, {}}, {}, "\"y\" is missing in every row"},
           Case{{"y", {0, 1, 2}, {"a", "b", "c"}}, {}, "different value in each row"},
           Case{{"y", {0, 1, 0}, {"a", "b"}}, TargetKind::regression, "holds text"},
           Case{{"y", {0, 1, 2}, {}}, TargetKind::two_classes, "3 different values: expected two"},
       }) {
    const std::string message = message_of([&] { decide_target(bad.column, bad.kind); });
    INFO(message);
    CHECK(message.find(bad.words) != std::string::npos);
  }
  CHECK(message_of([] {
          learn(table_of("name,y\nann,1\nbob,2\neve,3.5\n"), "y");
        }).find("\"name\" is text with a different value in each row") != std::string::npos);
  CHECK(message_of([] { learn(table_of("y\n1\n2\n3\n"), "y"); }).find("only the target") !=
        std::string::npos);
  CHECK(message_of([] {
          learn(table_of("a,y\n1,1\n1,2\n1,3\n"), "y");
        }).find("no column beside the target") != std::string::npos);
  CHECK(message_of([] {
          learn(Table{{{"a", {1, 2}, {}}, {"y", {-1.7e308, 1.7e308}, {}}, {"z", {1}, {}}}}, "y");
        }).find("\"z\" has 1 values") != std::string::npos);

  const Preprocessing p =
      learn(table_of("a,b,d,y\n1,u,2020-01-01,1\n2,v,2020-01-02,2\n3,u,2020-01-03,3\n"), "y");
  std::vector<std::string> notes;
  CHECK(message_of([&] {
          p.apply(table_of("a,b,d\nx,u,2020-01-01\n"), notes);
        }).find("\"a\" holds text, \"x\": expected numbers") != std::string::npos);
  CHECK(message_of([&] {
          p.apply(table_of("a,b,d\n1,u,soon\n"), notes);
        }).find("\"d\" holds \"soon\": expected dates") != std::string::npos);
  CHECK(message_of([&] {
          p.apply(table_of("a,b,d\n1,u,7\n"), notes);
        }).find("\"d\" holds numbers: expected dates") != std::string::npos);
  CHECK(message_of([&] {
          p.apply_target({"y", {0}, {"text"}});
        }).find("\"y\" holds text") != std::string::npos);
  const Preprocessing q = learn(table_of(ships), "alive");
  CHECK(message_of([&] {
          q.apply_target({"alive", {0}, {"perhaps"}});
        }).find("the class \"perhaps\" in row 1: expected one of \"no\", \"yes\"") != std::string::npos);
  CHECK(message_of([&] {
          q.apply_target({"alive", {nan}, {}});
        }).find("missing in row 1") != std::string::npos);
}
