#include <taper/data/moments.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace taper::data;

TEST_CASE("moments: mean and deviation as computed by hand") {
  const std::vector<double> numbers{1, 2, 3, 6};
  CHECK(mean_of(numbers) == 3);
  CHECK(deviation_of(numbers, 3) == doctest::Approx(std::sqrt(14.0 / 4)));
  CHECK(mean_of({}) == 0);
  CHECK(deviation_of({}, 0) == 0);
  const std::vector<double> one{-7.25};
  CHECK(mean_of(one) == -7.25);
  CHECK(deviation_of(one, -7.25) == 0);
}

TEST_CASE("moments: they follow scale and offset, at the ends of the range, too") {
  const std::vector<double> numbers{1, 2, 3, 6};
  for (const double scale : {1e-300, 1e-8, 1e8, 1e150, 1e300, -1e300}) {
    std::vector<double> scaled;
    for (const double number : numbers) scaled.push_back(scale * number);
    const double mean = mean_of(scaled);
    CHECK(mean == doctest::Approx(3 * scale).epsilon(1e-12));
    CHECK(deviation_of(scaled, mean) == doctest::Approx(std::abs(scale) * std::sqrt(3.5)).epsilon(1e-12));
  }
  std::vector<double> offset;
  for (const double number : numbers) offset.push_back(1e8 + number);
  CHECK(deviation_of(offset, mean_of(offset)) == doctest::Approx(std::sqrt(3.5)).epsilon(1e-7));
  const std::vector<double> ends{-1.7e308, 1.7e308};
  CHECK(mean_of(ends) == 0);
  CHECK(deviation_of(ends, 0) == doctest::Approx(1.7e308));
}

TEST_CASE("moments: a constant has deviation 0, whatever rounding does to its mean") {
  for (const double value : {0.1, 1e8 + 0.1, -1e-300, 1.7e308}) {
    const std::vector<double> constant(1001, value);
    CHECK(deviation_of(constant, mean_of(constant)) == 0);
  }
}
