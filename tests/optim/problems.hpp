#pragma once

#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include <Eigen/Core>

/// A test function with its gradient.
struct Problem {
  using Vector = Eigen::VectorXd;
  std::string name;
  std::function<double(const Vector& x, Vector& gradient)> f;
  Vector start, solution;
};

/// Sums of squares r'r, given the residuals and their Jacobian.
inline double sum_of_squares(const Eigen::VectorXd& r, const Eigen::MatrixXd& jacobian,
                             Eigen::VectorXd& gradient) {
  gradient = 2 * jacobian.transpose() * r;
  return r.squaredNorm();
}

/// Problems of Moré, Garbow and Hillstrom, "Testing unconstrained optimization software", 1981, by the
/// numbers they have there, from their standard starts.
inline std::vector<Problem> more_garbow_hillstrom() {
  using Vector = Eigen::VectorXd;
  using Matrix = Eigen::MatrixXd;
  const auto vector = [](std::initializer_list<double> values) {
    return Vector(Eigen::Map<const Vector>(values.begin(), static_cast<Eigen::Index>(values.size())));
  };
  const auto rosenbrock = [](const Vector& x, Vector& g) {  // (1) and (21)
    double f = 0;
    g.setZero(x.size());
    for (Eigen::Index i = 0; i < x.size(); i += 2) {
      const double a = 10 * (x(i + 1) - x(i) * x(i)), b = 1 - x(i);
      f += a * a + b * b;
      g(i) = -40 * x(i) * a - 2 * b;
      g(i + 1) = 20 * a;
    }
    return f;
  };
  const auto helical_valley = [](const Vector& x, Vector& g) {  // (7)
    constexpr double turn = 2 * std::numbers::pi;
    const double square = x(0) * x(0) + x(1) * x(1), radius = std::sqrt(square);
    const double theta = std::atan(x(1) / x(0)) / turn + (x(0) < 0 ? 0.5 : 0);
    const Vector r{{10 * (x(2) - 10 * theta), 10 * (radius - 1), x(2)}};
    const double slope = 100 / turn / square;
    const Matrix j{{slope * x(1), -slope * x(0), 10}, {10 * x(0) / radius, 10 * x(1) / radius, 0}, {0, 0, 1}};
    return sum_of_squares(r, j, g);
  };
  const auto powell_singular = [](const Vector& x, Vector& g) {  // (13)
    const double a = std::sqrt(5.0), b = std::sqrt(10.0), u = x(1) - 2 * x(2), v = x(0) - x(3);
    const Vector r{{x(0) + 10 * x(1), a * (x(2) - x(3)), u * u, b * v * v}};
    const Matrix j{{1, 10, 0, 0}, {0, 0, a, -a}, {0, 2 * u, -4 * u, 0}, {2 * b * v, 0, 0, -2 * b * v}};
    return sum_of_squares(r, j, g);
  };
  const auto wood = [](const Vector& x, Vector& g) {  // (14)
    const double a = std::sqrt(90.0), b = std::sqrt(10.0), c = std::sqrt(0.1);
    const Vector r{{10 * (x(1) - x(0) * x(0)), 1 - x(0), a * (x(3) - x(2) * x(2)), 1 - x(2),
                    b * (x(1) + x(3) - 2), c * (x(1) - x(3))}};
    const Matrix j{{-20 * x(0), 10, 0, 0}, {-1, 0, 0, 0}, {0, 0, -2 * a * x(2), a},
                   {0, 0, -1, 0},          {0, b, 0, b},  {0, c, 0, -c}};
    return sum_of_squares(r, j, g);
  };
  const auto beale = [](const Vector& x, Vector& g) {  // (5)
    const double y[] = {1.5, 2.25, 2.625};
    Vector r(3);
    Matrix j(3, 2);
    for (int i = 0; i < 3; ++i) {
      r(i) = y[i] - x(0) * (1 - std::pow(x(1), i + 1));
      j(i, 0) = std::pow(x(1), i + 1) - 1;
      j(i, 1) = x(0) * (i + 1) * std::pow(x(1), i);
    }
    return sum_of_squares(r, j, g);
  };
  const auto brown = [](const Vector& x, Vector& g) {  // (4)
    const Vector r{{x(0) - 1e6, x(1) - 2e-6, x(0) * x(1) - 2}};
    const Matrix j{{1, 0}, {0, 1}, {x(1), x(0)}};
    return sum_of_squares(r, j, g);
  };
  Vector many(100);
  for (Eigen::Index i = 0; i < 100; i += 2) many(i) = -1.2, many(i + 1) = 1;
  return {{"Rosenbrock", rosenbrock, vector({-1.2, 1}), vector({1, 1})},
          {"extended Rosenbrock, 100", rosenbrock, many, Vector::Ones(100)},
          {"Powell singular", powell_singular, vector({3, -1, 0, 1}), Vector::Zero(4)},
          {"Wood", wood, vector({-3, -1, -3, -1}), Vector::Ones(4)},
          {"Beale", beale, vector({1, 1}), vector({3, 0.5})},
          {"Brown badly scaled", brown, vector({1, 1}), vector({1e6, 2e-6})},
          {"Helical valley", helical_valley, vector({-1, 0, 0}), vector({1, 0, 0})}};
}
