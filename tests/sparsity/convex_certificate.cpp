#include <taper/sparsity/convex_certificate.hpp>

#include <limits>
#include <sstream>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "exact_problems.hpp"

using namespace taper;
using namespace sparsity;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

/// A problem of 40 examples and 12 coefficients with what the bits of the number ask for: logistic, groups,
/// elastic net, weights, weights of examples, a fixed intercept.
Case combined(int combination, Rng& rng) {
  const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
  Case test(40, 12, has(0) ? ConvexLoss::logistic : ConvexLoss::squared, rng);
  ExactOptions& options = test.options;
  if (has(1)) options.groups = {0, 1, 1, 2, 0, 3, 3, 3, 4, 2, 5, 1};
  if (has(2)) options.ratio = 0.6;
  if (has(3)) {
    for (std::size_t g = 0; g < test.groups(); ++g) {
      options.weights.push_back(g == 2 ? 0 : rng.uniform(0.5, 2));
    }
  }
  if (has(4)) {
    for (int i = 0; i < 40; ++i) options.sample_weights.push_back(i == 7 ? 0 : rng.uniform(0.1, 2));
  }
  options.intercept = !has(5);
  if (has(5)) options.start_intercept = 0.3;
  return test;
}

VectorXd as_vector(const std::vector<double>& w) {
  return Eigen::Map<const VectorXd>(w.data(), static_cast<Index>(w.size()));
}

}  // namespace

TEST_CASE("a true optimum is certified, and what was changed in it is always reported") {
  Rng rng(31);
  const double lambda = 0.05;
  Index flipped = 0, zeroed = 0, shifted = 0;
  for (int combination = 0; combination < 64; ++combination) {
    Case test = combined(combination, rng);
    test.options.tolerance = 1e-13;
    const ExactSolution best = solve_exact(test.x, test.y, test.loss, lambda, test.options);
    test.options.tolerance = 1e-10;
    const auto judge = [&](const std::vector<double>& w, double b) {
      return certify(test.x, test.y, test.loss, lambda, w, b, test.options);
    };
    INFO("combination ", combination);
    const ConvexCertificate optimum = judge(best.coefficients, best.intercept);
    CHECK(optimum.certified(1e-10));
    CHECK(optimum.objective == doctest::Approx(best.objective).epsilon(1e-14));
    const VectorXd norms = test.norms(as_vector(best.coefficients));
    CHECK(optimum.zeros == (norms.array() == 0).count());
    CHECK(optimum.zeros + optimum.nonzeros == norms.size());

    for (int change = 0; change < 14; ++change) {
      std::vector<double> w = best.coefficients;
      double b = best.intercept;
      const auto j = static_cast<std::size_t>(change % 13);
      const double by = (rng.uniform() < 0.5 ? -1 : 1) * std::pow(10, rng.uniform(-3, 0.5));
      if (j == 12) {
        if (!test.options.intercept) continue;
        b += by;
      } else if (w[j] == 0) {
        w[j] = by;
        ++flipped;
      } else if (rng.uniform() < 0.5 && std::abs(w[j]) > 1e-3) {
        w[j] = 0;
        ++zeroed;
      } else {
        w[j] += by;
        ++shifted;
      }
      const ConvexCertificate changed = judge(w, b);
      INFO("change ", change, " by ", by);
      CHECK(changed.gap > 1e-10);
      CHECK(changed.gap >= changed.objective - best.objective - 1e-12);  // the gap is never too small
      CHECK(changed.bound <= best.objective + 1e-13);
      CHECK(changed.violated_zeros + changed.violated_nonzeros + (changed.intercept_violated ? 1 : 0) > 0);
      CHECK_FALSE(changed.certified(1e-10));
    }
  }
  CHECK(flipped > 50);
  CHECK(zeroed > 50);
  CHECK(shifted > 50);
}

TEST_CASE("the numbers of a certificate are those of the definitions") {
  Rng rng(32);
  const double lambda = 0.07;
  for (int combination = 0; combination < 64; ++combination) {
    const Case test = combined(combination, rng);
    Point at{VectorXd(12), combination >= 32 ? 0.3 : rng.normal()};
    for (double& w : at.w) w = rng.uniform() < 0.5 ? 0 : rng.normal();
    const ConvexCertificate certificate =
        certify(test.x, test.y, test.loss, lambda, {at.w.data(), 12}, at.b, test.options);
    INFO("combination ", combination);
    CHECK(certificate.objective == doctest::Approx(test.objective(at, lambda)).epsilon(1e-12));
    CHECK(certificate.loss == doctest::Approx(test.objective(at, 0)).epsilon(1e-12));
    CHECK(certificate.gap >= certificate.objective - certificate.bound);
    const double unrounded = certificate.objective - certificate.bound;
    if (std::isfinite(unrounded)) CHECK(certificate.gap == doctest::Approx(unrounded).epsilon(1e-12));

    const Point slope = test.gradient(at);
    if (test.options.intercept) {
      CHECK(certificate.intercept_violation == doctest::Approx(std::abs(slope.b)).epsilon(1e-10));
    } else {
      CHECK(certificate.intercept_violation == 0);
    }
    // Group by group, by a loop over all coefficients for each.
    double worst = 0;
    Index where = -1;
    for (std::size_t g = 0; g < test.groups(); ++g) {
      const double price = lambda * test.weight(g), norm = test.norms(at.w)[static_cast<Index>(g)];
      double square = 0;
      for (Index j = 0; j < 12; ++j) {
        if (test.group(j) != g) continue;
        const double part =
            norm == 0 ? slope.w[j]
                      : slope.w[j] + price * at.w[j] * (test.options.ratio / norm + 1 - test.options.ratio);
        square += part * part;
      }
      const double violation = std::sqrt(square) - (norm == 0 ? price * test.options.ratio : 0);
      if (violation > worst) worst = violation, where = static_cast<Index>(g);
    }
    CHECK(certificate.worst == doctest::Approx(worst).epsilon(1e-10));
    CHECK(certificate.worst_group == where);
  }
}

TEST_CASE("a lasso with an orthogonal design has a certificate in closed form") {
  // x'x / n = 1, so the loss's slope at w is w - y'x / n, and the zero point has the gap of the scaled
  // target.
  const MatrixXd x = 2 * MatrixXd::Identity(4, 4);
  const VectorXd y{{2, -0.2, 0.4, -3}};  // y'x / n: 1, -0.1, 0.2, -1.5
  const ExactOptions options{.intercept = false, .tolerance = 1e-12};
  const ConvexCertificate at_zero =
      certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>(4, 0.0), 0, options);
  CHECK(at_zero.zeros == 4);
  CHECK(at_zero.violated_zeros == 2);
  CHECK(at_zero.worst == doctest::Approx(1));  // 1.5 - 0.5
  CHECK(at_zero.worst_group == 3);
  // The dual at theta = c y / n with c = 1/3 is ||y||^2 / 2n (1 - (1 - c)^2).
  CHECK(at_zero.bound == doctest::Approx(y.squaredNorm() / 8 * 5 / 9));
  const ConvexCertificate best =
      certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>{0.5, 0, 0, -1}, 0, options);
  CHECK(best.certified(1e-12));
  CHECK(best.worst <= 1e-15);
  const ConvexCertificate frozen =
      certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>{9, 0, 0, -1}, 0,
              {.intercept = false, .mask = Mask::frozen({4}, {0}), .tolerance = 1e-12});
  CHECK(frozen.certified(1e-12));  // what is frozen is not to blame
  CHECK(frozen.nonzeros == 1);
  CHECK(frozen.penalty == doctest::Approx(0.5 * 10));
}

TEST_CASE("a point that is not finite has no certificate") {
  const MatrixXd x = 2 * MatrixXd::Identity(2, 2);
  const VectorXd y{{2, -0.2}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>{0, nan}, 0), "certify",
              "coefficient nan at position 1");
  CHECK_ERROR(certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>{0, 0}, nan), "certify",
              "intercept nan: expected a finite number");
}

TEST_CASE("a certificate prints as a table") {
  const MatrixXd x = 2 * MatrixXd::Identity(4, 4);
  const VectorXd y{{2, -0.2, 0.4, -3}};
  std::ostringstream out;
  out << certify(x, y, ConvexLoss::squared, 0.5, std::vector<double>(4, 0.0), 0, {.intercept = false});
  for (const char* words :
       {"loss", "1.65", "(lambda 0.5)", "beyond 1e-08", "4  groups, 2 violated", "group 3"}) {
    INFO(out.str());
    CHECK(out.str().find(words) != std::string::npos);
  }
}

TEST_CASE("a certificate is refused for points that do not fit") {
  Rng rng(33);
  const Case test(20, 4, ConvexLoss::squared, rng);
  const auto judge = [&](const std::vector<double>& w, double b, double lambda) {
    return certify(test.x, test.y, test.loss, lambda, w, b);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(judge({1, 2, 3}, 0, 0.1), "[certify] 3 coefficients", "expected 4");
  CHECK_ERROR(judge({1, 2, nan, 3}, 0, 0.1), "[certify]", "nan at position 2", "finite");
  CHECK_ERROR(judge({1, 2, 3, 4}, nan, 0.1), "intercept nan");
  CHECK_ERROR(judge({1, 2, 3, 4}, 0, -1), "[certify] lambda -1");
  CHECK_ERROR(judge({1e200, 2, 3, 4}, 0, 1), "[certify] a point with the objective");
}
