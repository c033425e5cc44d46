#include <taper/optim/line_search.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace taper;
using optim::LinePoint;

namespace {

struct Line {
  const char* name;
  double (*value)(double);
  double (*slope)(double);
};

/// The functions of Moré and Thuente (1994), section 5: 5.1, 5.2 and 5.4 with two pairs of parameters.
const std::vector<Line> lines{
    {"5.1", [](double a) { return -a / (a * a + 2); },
     [](double a) { return (a * a - 2) / ((a * a + 2) * (a * a + 2)); }},
    {"5.2", [](double a) { return std::pow(a + 0.004, 5) - 2 * std::pow(a + 0.004, 4); },
     [](double a) { return 5 * std::pow(a + 0.004, 4) - 8 * std::pow(a + 0.004, 3); }},
    {"5.4, 0.001 and 0.001",
     [](double a) {
       const double g = std::sqrt(1 + 1e-6) - 1e-3;
       return g * std::sqrt((1 - a) * (1 - a) + 1e-6) + g * std::sqrt(a * a + 1e-6);
     },
     [](double a) {
       const double g = std::sqrt(1 + 1e-6) - 1e-3;
       return g * (a - 1) / std::sqrt((1 - a) * (1 - a) + 1e-6) + g * a / std::sqrt(a * a + 1e-6);
     }},
    {"cosine", [](double a) { return 0.2 * a - std::sin(a); }, [](double a) { return 0.2 - std::cos(a); }},
};

}  // namespace

TEST_CASE("strong_wolfe: meets both conditions from starts that are orders of magnitude off") {
  for (const Line& line : lines) {
    for (const double first : {1e-3, 1e-1, 1e1, 1e3}) {
      for (const auto& conditions : {std::pair{1e-4, 0.9}, std::pair{0.1, 0.1}, std::pair{1e-3, 1e-3}}) {
        const double decrease = conditions.first, curvature = conditions.second;
        CAPTURE(line.name);
        CAPTURE(first);
        CAPTURE(curvature);
        Index calls = 0;
        const LinePoint start{0, line.value(0), line.slope(0)};
        REQUIRE(start.slope < 0);
        const auto search = optim::strong_wolfe(
            [&](double a) {
              ++calls;
              return LinePoint{a, line.value(a), line.slope(a)};
            },
            start, first, {.decrease = decrease, .curvature = curvature, .max_evaluations = 100});
        const LinePoint& p = search.point;
        CHECK(search.found);
        CHECK(p.value == line.value(p.step));
        CHECK(p.value <= start.value + decrease * p.step * start.slope);
        CHECK(std::abs(p.slope) <= curvature * std::abs(start.slope));
        CHECK(calls <= 30);
      }
    }
  }
}

TEST_CASE("strong_wolfe: stops at the longest step when the function keeps falling") {
  const auto search = optim::strong_wolfe(
      [](double a) {
        return LinePoint{a, -a, -1};
      },
      {0, 0, -1}, 0.5, {.max_step = 8});
  CHECK(search.found);
  CHECK(search.point.step == 8);
}

TEST_CASE("strong_wolfe: backs off from what is not finite and says so") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), HUGE_VAL, -HUGE_VAL}) {
    const auto search = optim::strong_wolfe(
        [&](double a) {
          return a < 0.1 ? LinePoint{a, a * a - 0.1 * a, 2 * a - 0.1} : LinePoint{a, bad, bad};
        },
        {0, 0, -0.1}, 1);
    CHECK(search.found);
    CHECK(search.backed_off == 4);  // 1, 1/2, 1/4, 1/8
    CHECK(search.point.step < 0.1);
    CHECK(search.point.value < 0);
  }
}

TEST_CASE("strong_wolfe: gives up on a slope that lies") {
  Index calls = 0;
  const auto search = optim::strong_wolfe(
      [&](double a) {
        ++calls;
        return LinePoint{a, a, -1};
      },
      {0, 0, -1}, 1);
  CHECK_FALSE(search.found);
  CHECK(calls <= 40);
}

TEST_CASE("strong_wolfe: does not ask again for the last point before what is not finite") {
  std::vector<double> steps;
  const auto search = optim::strong_wolfe(
      [&](double a) {
        steps.push_back(a);
        return LinePoint{a, a <= 2.2 ? -a : HUGE_VAL, -1};
      },
      {0, 0, -1}, 1);
  CHECK(search.found);
  CHECK(search.point.step > 1);
  CHECK(search.point.step <= 2.2);
  CHECK(steps.size() <= 8);
}
