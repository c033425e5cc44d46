#include <taper/autodiff/kernels/update.hpp>

#include <doctest/doctest.h>

#include <cmath>

#include "../random_tensors.hpp"

using namespace taper;
using kernels::AdamStep;
using kernels::SgdStep;

namespace {

template <class T> constexpr double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;

}  // namespace

TEST_CASE_TEMPLATE("sgd_step: against a plain loop", T, float, double) {
  Rng rng(1);
  for (const Index n : {0, 1, 7, 16, 33, 1000, 70000}) {
    for (int kind = 0; kind < 16; ++kind) {
      CAPTURE(n);
      CAPTURE(kind);
      const SgdStep step{.rate = 0.1,
                         .gradient_scale = kind & 1 ? 0.5 : 1,
                         .decay = kind & 2 ? 0.01 : 0,
                         .momentum = 0.9,
                         .dampening = kind & 4 ? 0.2 : 0,
                         .nesterov = (kind & 8) != 0,
                         .first = kind == 1 || kind == 10};
      Tensor<T> x = random_tensor<T>(rng, {n}), plain = x, v = random_tensor<T>(rng, {n});
      const Tensor<T> g = random_tensor<T>(rng, {n});
      Tensor<double> expected(x.shape()), without_momentum(x.shape()), velocity(x.shape());
      for (Index i = 0; i < n; ++i) {
        const double value = static_cast<double>(x[i]);
        const double gradient = static_cast<double>(g[i]) * step.gradient_scale + step.decay * value;
        velocity[i] = step.first
                          ? gradient
                          : step.momentum * static_cast<double>(v[i]) + (1 - step.dampening) * gradient;
        expected[i] =
            value - step.rate * (step.nesterov ? gradient + step.momentum * velocity[i] : velocity[i]);
        without_momentum[i] = value - step.rate * gradient;
      }
      kernels::sgd_step<T>(n, x.data(), g.data(), v.data(), nullptr, step);
      CHECK(apart(x.view(), expected.view()) < tolerance<T>);
      CHECK(apart(v.view(), velocity.view()) < tolerance<T>);
      kernels::sgd_step<T>(n, plain.data(), g.data(), nullptr, nullptr, step);
      CHECK(apart(plain.view(), without_momentum.view()) < tolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("adam_step: against a plain loop, over several steps", T, float, double) {
  Rng rng(2);
  for (const Index n : {0, 1, 7, 16, 33, 1000, 70000}) {
    for (int kind = 0; kind < 4; ++kind) {
      CAPTURE(n);
      CAPTURE(kind);
      Tensor<T> x = random_tensor<T>(rng, {n}), first(x.shape()), second(x.shape());
      Tensor<double> expected(x.vector()), m(x.shape()), v(x.shape());
      for (int t = 1; t <= 3; ++t) {
        const double beta1 = 0.9, beta2 = 0.999, rate = 0.01, decay = 0.1;
        const double coupled = kind & 1 ? 0.03 : 0, scale = kind & 2 ? 0.25 : 1;
        const Tensor<T> g = random_tensor<T>(rng, {n});
        const AdamStep step{.rate = rate / (1 - std::pow(beta1, t)),
                            .gradient_scale = scale,
                            .coupled_decay = coupled,
                            .shrinkage = 1 - rate * decay,
                            .beta1 = beta1,
                            .beta2 = beta2,
                            .root_correction = 1 / std::sqrt(1 - std::pow(beta2, t)),
                            .epsilon = 1e-8};
        kernels::adam_step<T>(n, x.data(), g.data(), first.data(), second.data(), nullptr, step);
        for (Index i = 0; i < n; ++i) {  // as in Loshchilov and Hutter (2019), algorithm 2
          const double gradient = scale * static_cast<double>(g[i]) + coupled * expected[i];
          m[i] = beta1 * m[i] + (1 - beta1) * gradient;
          v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
          const double first_hat = m[i] / (1 - std::pow(beta1, t)),
                       second_hat = v[i] / (1 - std::pow(beta2, t));
          expected[i] -= rate * (first_hat / (std::sqrt(second_hat) + 1e-8) + decay * expected[i]);
        }
      }
      CHECK(apart(first.view(), m.view()) < tolerance<T>);
      CHECK(apart(second.view(), v.view()) < tolerance<T>);
      CHECK(apart(x.view(), expected.view()) < 5 * tolerance<T>);
    }
  }
}
