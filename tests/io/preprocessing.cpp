#include <taper/io/preprocessing.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include <taper/autodiff/error.hpp>
#include <taper/data/csv.hpp>

using namespace taper;

namespace {

data::Preprocessing learned() {
  const data::Table table = data::parse_csv(
      "age,sex,day,same,y\n0.1,m,2020-01-01,1,1e-3\n0.7,f,2020-01-03,1,2\n,f,2020-01-05,1,-3.3\n0.3,d,2021-"
      "01-01,1,0.1\n0.2,d,2021-01-02,1,5\n",
      {.missing = data::Missing::keep, .text = true});
  return data::fit_preprocessing(table, data::decide_target(table.column("y")),
                                 {.missing_words = {"-", "none", "-"}});
}

std::string message_of(const std::string& text) {
  try {
    io::preprocessing_from_json(text, "m.safetensors");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("preprocessing as JSON: what is read again is the same to the bit") {
  const data::Preprocessing p = learned();
  const std::string text = io::to_json(p);
  const data::Preprocessing q = io::preprocessing_from_json(text, "text");
  CHECK(io::to_json(q) == text);
  REQUIRE(q.features.size() == p.features.size());
  for (std::size_t j = 0; j < p.features.size(); ++j) {
    CHECK(q.features[j].name == p.features[j].name);
    CHECK(q.features[j].column == p.features[j].column);
    CHECK(q.features[j].kind == p.features[j].kind);
    CHECK(q.features[j].category == p.features[j].category);
    CHECK(q.features[j].mean == p.features[j].mean);
    CHECK(q.features[j].scale == p.features[j].scale);
  }
  CHECK(q.missing_words == p.missing_words);
  REQUIRE(q.columns.size() == p.columns.size());
  for (std::size_t c = 0; c < p.columns.size(); ++c) {
    CHECK(q.columns[c].name == p.columns[c].name);
    CHECK(q.columns[c].kind == p.columns[c].kind);
    CHECK(q.columns[c].categories == p.columns[c].categories);
    CHECK(q.columns[c].fill == p.columns[c].fill);
    CHECK(q.columns[c].missing == p.columns[c].missing);
    CHECK(q.columns[c].others == p.columns[c].others);
    CHECK(q.columns[c].reason == p.columns[c].reason);
  }
  CHECK(q.target.name == "y");
  CHECK(q.target.mean == p.target.mean);
  CHECK(q.target.scale == p.target.scale);
}

TEST_CASE("preprocessing as JSON: everything else is refused") {
  using Json = nlohmann::ordered_json;
  const Json good = Json::parse(io::to_json(learned()));
  CHECK(message_of(good.dump()).empty());
  const auto changed = [&](const char* pointer, const Json& value) {
    Json text = good;
    text[Json::json_pointer(pointer)] = value;
    return message_of(text.dump());
  };
  CHECK(changed("/version", 1) ==
        "[load] m.safetensors has a preprocessing of version 1: expected 2, which this program reads");
  CHECK(changed("/version", "x").find("of version \"x\"") != std::string::npos);
  for (const std::string& message : {
           message_of(""),
           message_of("[1]"),
           message_of("{\"version\":2}"),
           changed("/missing_words", 3),
           changed("/missing_words", {"x", "x"}),
           changed("/columns", 3),
           changed("/columns/0", 3),
           changed("/columns/0/kind", "thing"),
           changed("/columns/0/fill", "x"),
           changed("/columns/0/missing", 1),
           changed("/columns/1/others", nullptr),
           changed("/columns/1/name", "age"),
           changed("/columns/1/categories/0", 3),
           changed("/columns/1/categories", Json::array()),
           changed("/columns/1/categories/1", good["columns"][1]["categories"][0]),
           changed("/target/name", good["columns"][0]["name"]),
           changed("/features/0/column", 9),
           changed("/features/0/column", -1),
           changed("/features/0/column", 0.5),
           changed("/features/0/column", 1),
           changed("/features/0/column", 3),
           changed("/features/0/scale", 0),
           changed("/features/0/scale", nullptr),
           changed("/features/0/mean", "1"),
           changed("/features/2/category", 3),
           changed("/target", nullptr),
           changed("/target/kind", "classes"),
           changed("/target/scale", -1),
       }) {
    INFO(message);
    CHECK(message.starts_with("[load] m.safetensors has a preprocessing that "));
  }
  Json two = good;
  two["target"] = {{"name", "y"}, {"kind", "two_classes"}, {"classes", {"a", "b", "c"}}};
  CHECK(message_of(two.dump()).find("has 3 classes") != std::string::npos);

  data::Preprocessing p = learned();
  p.columns[0].name = "\xff";
  CHECK_THROWS_AS(io::to_json(p), Error);
  p = learned();
  p.features[0].mean = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(io::to_json(p), Error);
}
