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
