#include <taper/autodiff/kernels/logistic.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "targets.hpp"

using taper::Index;
using taper::Rng;

namespace {

using Real = long double;

struct Examples {
  std::vector<double> z, y, s, offset;

  Examples(Rng& rng, Index n) {
    for (Index i = 0; i < n; ++i) {
      z.push_back(rng.uniform() < 0.1 ? 800 * rng.normal() : 5 * rng.normal());
      y.push_back(rng.uniform() < 0.5 ? 1 : 0);
      s.push_back(rng.uniform() < 0.1 ? 0 : rng.uniform() / static_cast<double>(n));
      offset.push_back(rng.normal());
    }
  }
};

}  // namespace

TEST_CASE("logistic loss, slopes and curvatures are those of long double, on every instruction set") {
  for_each_target([](const char*) {
    Rng rng(1);
    for (const Index n : {1, 3, 7, 16, 100, 513, 2000}) {
      const Examples examples(rng, n);
      std::vector<double> slope(static_cast<std::size_t>(n)), curvature(slope.size());
      const double loss = taper::kernels::logistic(n, examples.z.data(), examples.y.data(), examples.s.data(),
                                                   slope.data(), curvature.data());
      Real total = 0;
      for (std::size_t i = 0; i < slope.size(); ++i) {
        const Real z = examples.z[i], s = examples.s[i], against = examples.y[i] != 0 ? -z : z;
        total += s * (std::max(against, Real{0}) + std::log1p(std::exp(-std::abs(against))));
        const Real wrong = 1 / (1 + std::exp(-against)), right = 1 / (1 + std::exp(against));
        const Real expected = s * (examples.y[i] != 0 ? wrong : -wrong);
        CHECK(std::abs(slope[i] - expected) <= 4e-15L * std::abs(expected) + 1e-300L);
        CHECK(std::abs(curvature[i] - s * wrong * right) <= 1e-14L * s * wrong * right + 1e-300L);
      }
      CHECK(std::abs(loss - total) <= 1e-15L * total * 4);
    }
  });
}

TEST_CASE("the dual of the logistic loss: entropies, and -infinity outside of its domain") {
  for_each_target([](const char*) {
    Rng rng(2);
    for (const Index n : {1, 5, 16, 700}) {
      const Examples examples(rng, n);
      const double scale = 0.7, level = 0.3;
      std::vector<double> theta;
      Real total = 0;
      for (std::size_t i = 0; i < examples.z.size(); ++i) {
        // Of what is inside, some at the ends.
        const double pick = rng.uniform(), t = pick < 0.1 ? 0 : pick < 0.15 ? 1e-300 : rng.uniform();
        const double u = examples.y[i] != 0 ? t : -t;
        theta.push_back(u * examples.s[i] / scale);
        if (examples.s[i] == 0) continue;
        const Real at = Real{scale} * theta.back() / examples.s[i], size = std::abs(at);
        Real value = -at * (Real{examples.offset[i]} + level);
        if (size > 0) value -= size * std::log(size) + (1 - size) * std::log1p(-size);
        total += examples.s[i] * value;
      }
      const auto dual = [&](const double* offset) {
        return taper::kernels::logistic_dual(n, theta.data(), scale, examples.y.data(), examples.s.data(),
                                             offset, level);
      };
      CHECK(dual(examples.offset.data()) == doctest::Approx(static_cast<double>(total)).epsilon(1e-13));
      for (std::size_t i = 0; i < theta.size(); ++i) {
        if (examples.s[i] == 0) continue;
        const double kept = theta[i];
        for (const double outside : {-1e-3, 1.001}) {
          theta[i] = (examples.y[i] != 0 ? outside : -outside) * examples.s[i] / scale;
          CHECK(dual(nullptr) == -std::numeric_limits<double>::infinity());
        }
        theta[i] = kept;
        break;
      }
    }
  });
}
