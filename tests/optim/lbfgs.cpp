#include <taper/optim/lbfgs.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace taper;

TEST_CASE("LBFGSHistory: the units of x and of the gradient change nothing, at the ends of their range") {
  const auto multiplied = [](double x, double g) {
    optim::LBFGSHistory history(3, 2);
    for (int k = 0; k < 3; ++k) {  // with diagonal curvatures 1, 2 and 4
      const std::vector<double> step{x * (k + 1), x * 0.5, -x * k};
      history.push(step, std::vector<double>{g * (k + 1), g * 1, -g * 4 * k});
    }
    std::vector<double> v{g, 2 * g, -g};
    history.multiply(v);
    for (double& entry : v) entry /= x;
    return v;
  };
  const auto expected = multiplied(1, 1);
  for (const auto& units : {std::pair{1.0, 0x1p600},
                            {0x1p600, 1.0},
                            {0x1p-600, 1.0},
                            {1.0, 0x1p-600},
                            {0x1p400, 0x1p400},
                            {0x1p-400, 0x1p-400}}) {
    CAPTURE(units.first);
    CAPTURE(units.second);
    CHECK(multiplied(units.first, units.second) == expected);
  }
}

TEST_CASE("LBFGSHistory: a refused pair leaves those that are remembered") {
  optim::LBFGSHistory history(2, 1);
  history.push(std::vector<double>{1, 0}, std::vector<double>{2, 0});
  history.push(std::vector<double>{1, 1}, std::vector<double>{-1, 0});
  history.push(std::vector<double>{0, 0}, std::vector<double>{0, 0});
  std::vector<double> v{1, 0};
  history.multiply(v);
  CHECK(v == std::vector<double>{0.5, 0});
}
