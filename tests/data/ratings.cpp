#include <taper/data/ratings.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../check.hpp"
#include "files.hpp"

using namespace taper::data;
using taper::Index;

namespace {
using Codes = std::vector<Index>;
using Texts = std::vector<std::string>;
using Values = std::vector<double>;
}  // namespace

TEST_CASE("parse_ratings: the separators that people use, with a header and without") {
  for (const std::string separator : {"\t", "::", ",", ";", " "}) {
    CAPTURE(separator);
    std::string text;
    for (const Texts& line : {Texts{"7", "x", "4.5", "1"}, {"8", "x", "-1e1", "2"}, {"7", "y", "3", "3"}}) {
      for (std::size_t k = 0; k < line.size(); ++k) text += (k == 0 ? "" : separator) + line[k];
      text += '\n';
    }
    for (const std::string header : {"", "who,what,how much,when\n"}) {
      std::string head = header;
      if (const auto at = head.find("how much"); at != head.npos && separator == " ")
        head.replace(at, 8, "much");
      for (std::size_t at; (at = head.find(',')) != head.npos && separator != ",";) {
        head.replace(at, 1, separator);
      }
      const Ratings ratings = parse_ratings("\n" + head + "\r\n" + text);
      REQUIRE(ratings.fields.size() == 2);
      CHECK(ratings.fields[0].words == Texts{"7", "8"});
      CHECK(ratings.fields[0].codes == Codes{0, 1, 0});
      CHECK(ratings.fields[1].words == Texts{"x", "y"});
      CHECK(ratings.fields[1].codes == Codes{0, 0, 1});
      CHECK(ratings.values == Values{4.5, -10, 3});
      CHECK(ratings.rows() == 3);
      CHECK(ratings.fields[0].name == (header.empty() ? "user" : "who"));
    }
  }
}

TEST_CASE("parse_ratings: columns by name, quotes, sides, and a header that is numbers") {
  const std::string text =
      "rating,timestamp,userId,movieId,genre\n3,10,1,\"The \"\"Best\"\", 2\",\"a,b\"\n4,20,2,z , c\n";
  const Ratings ratings = parse_ratings(text, {.separator = {}, .header = {}, .sides = {"genre", "2"}});
  REQUIRE(ratings.fields.size() == 4);
  CHECK(ratings.target == "rating");
  CHECK(ratings.fields[0].words == Texts{"1", "2"});
  CHECK(ratings.fields[1].words == Texts{"The \"Best\", 2", "z"});
  CHECK(ratings.fields[2].words == Texts{"a,b", "c"});
  CHECK(ratings.fields[3].name == "timestamp");
  CHECK(ratings.values == Values{3, 4});
  // Two columns could be the item: the first three count.
  CHECK(parse_ratings("user,item,rating,item2\n1,2,3,4\n").fields[1].name == "item");
  CHECK(parse_ratings("1,2,3\n4,5,6\n", {.separator = {}, .header = true, .sides = {}}).values == Values{6});
  CHECK_ERROR(parse_ratings("a,b,c\n1,2,3\n", {.separator = {}, .header = false, .sides = {}}, "f"),
              "[read_ratings] f, line 1: rating \"c\": expected a finite number");
}

TEST_CASE("read_ratings: files, plain and gzip") {
  const std::string text = "1\t2\t3\t881250949\n1\t3\t4\t881250949\n";
  const TempFile plain(text), packed(gzip(text));
  CHECK(read_ratings(plain.path().string()).values == Values{3, 4});
  CHECK(read_ratings(packed.path().string()).values == Values{3, 4});
  CHECK_ERROR(read_ratings("/nowhere/ratings.csv"), "[read_ratings]", "/nowhere/ratings.csv");
}

TEST_CASE("parse_ratings: damage is named by line") {
  CHECK_ERROR(parse_ratings("", {}, "f"), "[read_ratings] f has no ratings: expected at least one");
  CHECK_ERROR(parse_ratings("\n\n"), "has no ratings");
  CHECK_ERROR(parse_ratings("user,item,rating\n"), "has no ratings");
  CHECK_ERROR(parse_ratings("12\n"), "line 1: \"12\": expected user, item and rating");
  CHECK_ERROR(parse_ratings("1,2\n"), "expected user, item and rating");
  CHECK_ERROR(parse_ratings("1,2,3\n\n1,2\n", {}, "f"),
              "[read_ratings] f, line 3: 2 cells: expected 3, as in the first line");
  CHECK_ERROR(parse_ratings("1,2,3\n1,2,3,4\n"), "line 2: 4 cells: expected 3");
  CHECK_ERROR(parse_ratings("1,2,3\n1,2,x\n"), "line 2: rating \"x\": expected a finite number");
  for (const char* rating : {"nan", "inf", "1e999", "", "3 4"}) {
    CAPTURE(rating);
    CHECK_ERROR(parse_ratings("1;2;3\n1;2;" + std::string(rating) + "\n"), "line 2: rating");
  }
  CHECK_ERROR(parse_ratings("1,2,3\n,2,3\n"), "line 2: an empty cell in column \"user\"");
  CHECK_ERROR(parse_ratings("1,2,3\n1,,3\n"), "line 2: an empty cell in column \"item\"");
  CHECK_ERROR(parse_ratings("1,2,3\n\"1,2,3\n"), "line 2: a quote that does not close");
  CHECK_ERROR(parse_ratings("1,2,3\n\"1\"x,2,3\n"), "line 2: a quote that does not close, or has text");
  CHECK_ERROR(parse_ratings("1|2|3\n"), "expected user, item and rating");
  CHECK_ERROR(parse_ratings("1,2,3\n", {.separator = "|", .header = {}, .sides = {}}), "separator \"|\"");
  const auto with_side = [](const char* text, Texts sides) {
    return parse_ratings(text, {.separator = {}, .header = {}, .sides = std::move(sides)});
  };
  CHECK_ERROR(with_side("1,2,3,4\n", {"x"}), "no column \"x\": expected a number from 1 to 4");
  CHECK_ERROR(with_side("a,b,c,d\n1,2,3,4\n", {"x"}), "no column \"x\": expected one of \"a\", \"b\"");
  CHECK_ERROR(with_side("1,2,3,4\n", {"5"}), "no column \"5\"");
  CHECK_ERROR(with_side("1,2,3,4\n", {"1"}), "column \"1\" as a side");
  CHECK_ERROR(with_side("1,2,3,4\n", {"4", "4"}), "column \"4\" twice");
  CHECK_ERROR(with_side("a,b,c,d,d\n1,2,3,4,5\n", {"d"}), "two columns named \"d\"");
  CHECK_ERROR(parse_ratings("user,user,item,rating\n1,2,3,4\n"), "line 1: two columns named \"user\"");
  CHECK_ERROR(with_side("a,b,c,d\n1,2,3,\n", {"d"}), "line 2: an empty cell in column \"d\"");
}

TEST_CASE_TEMPLATE("RatingEncoder: positions, and one more for what is unknown", T, float, double) {
  const Ratings train = parse_ratings("b,x,1\na,y,2\nb,y,3\n"), test = parse_ratings("a,z,4\nc,x,5\n");
  const RatingEncoder encoder(train);
  CHECK(encoder.field_sizes() == Codes{3, 3});
  const Dataset<T> set = encoder.encode<T>(train), other = encoder.encode<T>(test);
  CHECK(std::vector<T>(set.x.begin(), set.x.end()) == std::vector<T>{1, 0, 0, 1, 1, 1});
  CHECK(std::vector<T>(set.y.begin(), set.y.end()) == std::vector<T>{1, 2, 3});
  CHECK(set.features == Texts{"user", "item"});
  CHECK(std::vector<T>(other.x.begin(), other.x.end()) == std::vector<T>{0, 2, 2, 0});
  CHECK(encoder.unknown(test) == Codes{1, 1});
  CHECK(encoder.unknown(train) == Codes{0, 0});
  CHECK_ERROR(encoder.encode<T>(parse_ratings("a,x,1,s\n", {.separator = {}, .header = {}, .sides = {"4"}})),
              "[RatingEncoder] 3 fields: expected 2");
  CHECK_ERROR(RatingEncoder(Ratings{}), "no ratings");
  CHECK_ERROR(encoder.encode<float>(parse_ratings("a,x,1e300\n")), "rating 1e+300 in row 1");
}

TEST_CASE("RatingEncoder: a side of many numbers is cut into ranges of about as many rows") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "u,i,1," + std::to_string((i * 7919) % 1000) + "\n";
  const RatingsOptions with_side{.separator = {}, .header = {}, .sides = {"4"}};
  const Ratings train = parse_ratings(text, with_side);
  const RatingEncoder encoder(train);
  CHECK(encoder.field_sizes() == Codes{2, 2, RatingEncoder::ranges + 1});
  CHECK(encoder.cut() == Texts{"column 4"});
  std::vector<Index> counts(static_cast<std::size_t>(RatingEncoder::ranges));
  const Dataset<double> set = encoder.encode<double>(train);
  for (Index i = 0; i < set.rows(); ++i) {
    ++counts[static_cast<std::size_t>(set.x[3 * i + 2])];
    double range = 0;  // how many edges are at or below
    while (range < 15 && std::floor(1000 * (range + 1) / 16) <= static_cast<double>((i * 7919) % 1000))
      ++range;
    CHECK(set.x[3 * i + 2] == range);
  }
  CHECK(std::ranges::min(counts) >= 62);
  CHECK(std::ranges::max(counts) <= 63);
  const Ratings test = parse_ratings("u,i,1,-5\nu,i,1,1e9\nu,i,1,old\n", with_side);
  const Dataset<double> other = encoder.encode<double>(test);
  CHECK(other.x[2] == 0);
  CHECK(other.x[5] == 15);
  CHECK(other.x[8] == 16);  // unknown
  CHECK(encoder.unknown(test) == Codes{0, 0, 1});
}

TEST_CASE("make_ratings: no pair twice, popular items, the variance that was asked for, the same again") {
  const MakeRatingsOptions options{.users = 200,
                                   .items = 300,
                                   .ratings = 20000,
                                   .rank = 3,
                                   .noise = 0.5,
                                   .biases = 0.3,
                                   .signal = 0.9,
                                   .seed = 4};
  const Ratings ratings = make_ratings(options);
  REQUIRE(ratings.rows() == 20000);
  std::set<std::pair<Index, Index>> pairs;
  std::vector<Index> uses(ratings.fields[1].words.size());
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < ratings.values.size(); ++i) {
    pairs.emplace(ratings.fields[0].codes[i], ratings.fields[1].codes[i]);
    ++uses[static_cast<std::size_t>(ratings.fields[1].codes[i])];
    sum += ratings.values[i], squares += ratings.values[i] * ratings.values[i];
  }
  CHECK(pairs.size() == 20000);
  std::ranges::sort(uses);
  CHECK(uses.front() >= 1);
  CHECK(uses.back() > 2 * uses[uses.size() / 2]);
  const double mean = sum / 20000, variance = squares / 20000 - mean * mean;
  CHECK(std::abs(mean - 3.5) < 0.3);
  CHECK(std::abs(variance - (0.25 + 2 * 0.09 + 0.81)) < 0.35);
  CHECK(make_ratings(options).values == ratings.values);
  MakeRatingsOptions other = options;
  other.seed = 5;
  CHECK(make_ratings(other).values != ratings.values);
  other.rank = 0, other.noise = 0, other.biases = 0;
  CHECK(std::ranges::all_of(make_ratings(other).values, [](double y) { return y == 3.5; }));
  // As full as it may be.
  CHECK(make_ratings({.users = 10, .items = 10, .ratings = 50}).rows() == 50);
  CHECK_ERROR(make_ratings({.users = 10, .items = 10, .ratings = 51}),
              "[make_ratings] ratings 51: expected 1 to 50");
  CHECK_ERROR(make_ratings({.users = 0}), "users 0");
  CHECK_ERROR(make_ratings({.noise = std::numeric_limits<double>::quiet_NaN()}), "noise nan");
}
