#include <taper/autodiff/error.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace taper;

TEST_CASE("error: its text is where, and the parts one after the other") {
  CHECK(std::string(Error("affine", 3, " columns: expected ", 2.5).what()) ==
        "[affine] 3 columns: expected 2.5");
}

TEST_CASE("error: infinities have signs, a NaN has none") {
  CHECK(concatenate(std::nan(""), ' ', -std::nan(""), ' ', -std::nanf("")) == "nan nan nan");
  CHECK(concatenate(-std::numeric_limits<double>::infinity()) == "-inf");
}

TEST_CASE("error: what was given, what was expected and the layer are fields") {
  const Error error("affine", "input ", 3, "x", 7, ": expected ", 8, " columns", InLayer{"encoder.fc1"});
  CHECK(std::string(error.what()) == "[affine] input 3x7: expected 8 columns (layer encoder.fc1)");
  CHECK(error.where() == "affine");
  CHECK(error.given() == "input 3x7");
  CHECK(error.expected() == "8 columns");
  CHECK(error.layer() == "encoder.fc1");
  const Error copy = error;
  CHECK(copy.given() == error.given());
}

TEST_CASE("error: a layer may stand in the middle, or be none, and nothing need be expected") {
  const Error middle("tape", "a recording without a mode", InLayer{"fc1"}, ": expected one");
  CHECK(std::string(middle.what()) == "[tape] a recording without a mode (layer fc1): expected one");
  CHECK(middle.given() == "a recording without a mode");
  CHECK(middle.expected() == "one");
  CHECK(middle.layer() == "fc1");
  const Error none("exp", "made ", std::nan(""), InLayer{});
  CHECK(std::string(none.what()) == "[exp] made nan");
  CHECK(none.given() == "made nan");
  CHECK(none.expected().empty());
  CHECK(none.layer().empty());
  const Error quoted("csv", "a cell 'x: expected y'", ": expected a number");
  CHECK(quoted.given() == "a cell 'x: expected y'");
  CHECK(quoted.expected() == "a number");
}

TEST_CASE("error: it can be told of another place") {
  const Error error = Error("shape", "axis 3: expected 0 or 1").at("slice", {"net.cut"});
  CHECK(std::string(error.what()) == "[slice] axis 3: expected 0 or 1 (layer net.cut)");
  CHECK(error.layer() == "net.cut");
  CHECK(std::string(Error("shape", "axis 3").at("slice", {}).what()) == "[slice] axis 3");
}
