#include <taper/autodiff/kernels/update.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../random_tensors.hpp"
#include "targets.hpp"

using namespace taper;
using kernels::AdamStep;
using kernels::EntryState;
using kernels::SgdStep;

namespace {

template <class T> constexpr double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;

/// Lengths around those of vectors, and one that several threads share.
constexpr Index lengths[] = {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1000, 34001};

std::vector<EntryState> random_marks(Rng& rng, Index n) {
  std::vector<EntryState> held(static_cast<std::size_t>(n));
  for (EntryState& mark : held) mark = static_cast<EntryState>(rng.below(3));
  return held;
}

/// Something that arithmetic would not leave as it is.
template <class T> T odd(Rng& rng) {
  using Limits = std::numeric_limits<T>;
  const T choices[] = {Limits::quiet_NaN(),
                       -Limits::quiet_NaN(),
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::denorm_min(),
                       -Limits::denorm_min(),
                       Limits::max(),
                       T{-0.0},
                       static_cast<T>(rng.uniform(-2, 2))};
  return choices[rng.below(std::size(choices))];
}

/// Puts odd numbers where the marks say frozen.
template <class T> void spoil(Rng& rng, const std::vector<EntryState>& held, Tensor<T>& x) {
  for (Index i = 0; i < x.size(); ++i) {
    if (held[static_cast<std::size_t>(i)] == kernels::EntryState::frozen) x[i] = odd<T>(rng);
  }
}

/// How far apart the entries are that move, and infinite when one that is frozen has other bits than before.
template <class T>
double apart_where_held(const std::vector<EntryState>& held, const Tensor<T>& x,
                        const Tensor<double>& expected, const Tensor<T>& before) {
  double worst = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const bool frozen = held[static_cast<std::size_t>(i)] == kernels::EntryState::frozen;
    if (frozen) {
      if (std::memcmp(&x[i], &before[i], sizeof(T)) != 0) return HUGE_VAL;
    } else {
      const double distance = std::abs(static_cast<double>(x[i]) - expected[i]) / (1 + std::abs(expected[i]));
      if (!(distance < HUGE_VAL)) return HUGE_VAL;
      worst = std::max(worst, distance);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("sgd_step: against a plain loop", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(1);
    for (const Index n : {0, 1, 7, 16, 33, 1000, 34000}) {
      for (int kind = 0; kind < 16; ++kind) {
        if (n > 1000 && kind > 1) continue;  // the long one is for the pieces
        CAPTURE(n);
        CAPTURE(kind);
        const SgdStep step{.lr = 0.1,
                           .clipping = {.scale = kind & 1 ? 0.5 : 1},
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
          const double gradient = static_cast<double>(g[i]) * step.clipping.scale + step.decay * value;
          velocity[i] = step.first
                            ? gradient
                            : step.momentum * static_cast<double>(v[i]) + (1 - step.dampening) * gradient;
          expected[i] =
              value - step.lr * (step.nesterov ? gradient + step.momentum * velocity[i] : velocity[i]);
          without_momentum[i] = value - step.lr * gradient;
        }
        kernels::sgd_step<T>(n, x.data(), g.data(), v.data(), nullptr, step);
        CHECK(apart(x.view(), expected.view()) < tolerance<T>);
        CHECK(apart(v.view(), velocity.view()) < tolerance<T>);
        kernels::sgd_step<T>(n, plain.data(), g.data(), nullptr, nullptr, step);
        CHECK(apart(plain.view(), without_momentum.view()) < tolerance<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("adam_step: against a plain loop, over several steps", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(2);
    for (const Index n : {0, 1, 7, 16, 33, 1000, 34000}) {
      for (int kind = 0; kind < 4; ++kind) {
        if (n > 1000 && kind > 1) continue;  // the long one is for the pieces
        CAPTURE(n);
        CAPTURE(kind);
        Tensor<T> x = random_tensor<T>(rng, {n}), first(x.shape()), second(x.shape());
        Tensor<double> expected(x.vector()), m(x.shape()), v(x.shape());
        for (int t = 1; t <= 3; ++t) {
          const double beta1 = 0.9, beta2 = 0.999, rate = 0.01, decay = 0.1;
          const double coupled = kind & 1 ? 0.03 : 0, scale = kind & 2 ? 0.25 : 1;
          const Tensor<T> g = random_tensor<T>(rng, {n});
          const AdamStep step{.lr = rate / (1 - std::pow(beta1, t)),
                              .clipping = {.scale = scale},
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
  });
}

TEST_CASE_TEMPLATE("sgd_step: frozen and fresh numbers against a plain loop", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(3);
    for (const Index n : lengths) {
      for (int kind = 0; kind < 8; ++kind) {
        if (n > 1000 && kind > 1) continue;  // the long one is for the pieces
        CAPTURE(n);
        CAPTURE(kind);
        const SgdStep step{.lr = 0.1,
                           .clipping = {.scale = kind & 1 ? 0.5 : 1},
                           .decay = 0.01,
                           .momentum = 0.9,
                           .dampening = kind & 2 ? 0.2 : 0,
                           .nesterov = (kind & 4) != 0,
                           .first = kind == 3};
        const std::vector<EntryState> held = random_marks(rng, n);
        Tensor<T> x = random_tensor<T>(rng, {n}), v = random_tensor<T>(rng, {n}),
                  g = random_tensor<T>(rng, {n});
        spoil(rng, held, x), spoil(rng, held, v), spoil(rng, held, g);
        const Tensor<T> x_before = x, v_before = v;
        Tensor<double> expected(x.shape()), without_momentum(x.shape()), velocity(x.shape());
        for (Index i = 0; i < n; ++i) {
          const double value = static_cast<double>(x[i]);
          const double gradient = static_cast<double>(g[i]) * step.clipping.scale + step.decay * value;
          const bool starts =
              step.first || held[static_cast<std::size_t>(i)] == kernels::EntryState::restarted;
          velocity[i] =
              starts ? gradient : step.momentum * static_cast<double>(v[i]) + (1 - step.dampening) * gradient;
          expected[i] =
              value - step.lr * (step.nesterov ? gradient + step.momentum * velocity[i] : velocity[i]);
          without_momentum[i] = value - step.lr * gradient;
        }
        Tensor<T> plain = x;
        kernels::sgd_step<T>(n, x.data(), g.data(), v.data(), held.data(), step);
        CHECK(apart_where_held(held, x, expected, x_before) < tolerance<T>);
        CHECK(apart_where_held(held, v, velocity, v_before) < tolerance<T>);
        kernels::sgd_step<T>(n, plain.data(), g.data(), nullptr, held.data(), step);
        CHECK(apart_where_held(held, plain, without_momentum, x_before) < tolerance<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("adam_step: frozen numbers and cohorts against a plain loop", T, float, double) {
  for_each_target([&](const char*) {
    Rng rng(4);
    const double beta1 = 0.9, beta2 = 0.99, rate = 0.01, decay = 0.1, coupled = 0.03, epsilon = 1e-8;
    for (const Index n : lengths) {
      for (const Index cohort_count : {0, 1, 2, 300}) {
        CAPTURE(n);
        CAPTURE(cohort_count);
        const std::vector<EntryState> held = random_marks(rng, n);
        std::vector<kernels::Ordinal<T>> cohort(static_cast<std::size_t>(n));
        for (auto& place : cohort) {
          place = static_cast<kernels::Ordinal<T>>(cohort_count == 0 ? 0 : rng.below(cohort_count));
        }
        Tensor<T> x = random_tensor<T>(rng, {n}), g = random_tensor<T>(rng, {n}),
                  m = random_tensor<T>(rng, {n}), v = random_tensor<T>(rng, {n}, 0.01, 1);
        spoil(rng, held, x), spoil(rng, held, g), spoil(rng, held, m), spoil(rng, held, v);
        const Tensor<T> x_before = x, m_before = m, v_before = v;
        // Cohort c has made 1 + c steps; without cohorts, everyone has made 5.
        std::vector<T> rates, root_corrections;
        for (Index c = 0; c < cohort_count; ++c) {
          rates.push_back(static_cast<T>(rate / (1 - std::pow(beta1, c + 1))));
          root_corrections.push_back(static_cast<T>(1 / std::sqrt(1 - std::pow(beta2, c + 1))));
        }
        const AdamStep step{
            .lr = cohort_count == 0 ? rate / (1 - std::pow(beta1, 5)) : 1e9,
            .clipping = {.scale = 0.5},
            .coupled_decay = coupled,
            .shrinkage = 1 - rate * decay,
            .beta1 = beta1,
            .beta2 = beta2,
            .root_correction = cohort_count == 0 ? 1 / std::sqrt(1 - std::pow(beta2, 5)) : 1e9,
            .epsilon = epsilon};
        Tensor<double> expected(x.shape()), first(x.shape()), second(x.shape());
        for (Index i = 0; i < n; ++i) {
          const double value = static_cast<double>(x[i]);
          const double gradient = 0.5 * static_cast<double>(g[i]) + coupled * value;
          first[i] = beta1 * static_cast<double>(m[i]) + (1 - beta1) * gradient;
          second[i] = beta2 * static_cast<double>(v[i]) + (1 - beta2) * gradient * gradient;
          const double made =
              cohort_count == 0 ? 5 : 1 + static_cast<double>(cohort[static_cast<std::size_t>(i)]);
          const double first_hat = first[i] / (1 - std::pow(beta1, made)),
                       second_hat = second[i] / (1 - std::pow(beta2, made));
          expected[i] = value - rate * (first_hat / (std::sqrt(second_hat) + epsilon) + decay * value);
        }
        kernels::AdamCohorts<T> cohorts;
        if (cohort_count > 0) cohorts = {cohort.data(), rates.data(), root_corrections.data()};
        kernels::adam_step<T>(n, x.data(), g.data(), m.data(), v.data(), held.data(), step, cohorts);
        CHECK(apart_where_held(held, x, expected, x_before) < 5 * tolerance<T>);
        CHECK(apart_where_held(held, m, first, m_before) < tolerance<T>);
        CHECK(apart_where_held(held, v, second, v_before) < tolerance<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("sgd_step, adam_step: with nothing frozen, the bits are those without marks", T, float,
                   double) {
  for_each_target([&](const char*) {
    Rng rng(5);
    const SgdStep sgd{.lr = 0.1,
                      .clipping = {.scale = 0.7},
                      .decay = 0.01,
                      .momentum = 0.9,
                      .dampening = 0.1,
                      .nesterov = false,
                      .first = false};
    const AdamStep adam{.lr = 0.02,
                        .clipping = {.scale = 0.7},
                        .coupled_decay = 0.1,
                        .shrinkage = 0.99,
                        .beta1 = 0.9,
                        .beta2 = 0.99,
                        .root_correction = 1.5,
                        .epsilon = 1e-8};
    const T rate = static_cast<T>(adam.lr), root_correction = static_cast<T>(adam.root_correction);
    for (const Index n : lengths) {
      CAPTURE(n);
      const std::vector<EntryState> held(static_cast<std::size_t>(n), kernels::EntryState::trainable);
      const std::vector<kernels::Ordinal<T>> cohort(static_cast<std::size_t>(n));
      Tensor<T> x = random_tensor<T>(rng, {n}), m = random_tensor<T>(rng, {n}),
                v = random_tensor<T>(rng, {n}, 0, 1);
      const Tensor<T> g = random_tensor<T>(rng, {n});
      Tensor<T> x2 = x, m2 = m, v2 = v;
      kernels::sgd_step<T>(n, x.data(), g.data(), m.data(), nullptr, sgd);
      kernels::sgd_step<T>(n, x2.data(), g.data(), m2.data(), held.data(), sgd);
      CHECK(same_bits(x.view(), x2.view()));
      CHECK(same_bits(m.view(), m2.view()));
      kernels::adam_step<T>(n, x.data(), g.data(), m.data(), v.data(), nullptr, adam);
      kernels::adam_step<T>(n, x2.data(), g.data(), m2.data(), v2.data(), held.data(), adam,
                            {cohort.data(), &rate, &root_correction});
      CHECK(same_bits(x.view(), x2.view()));
      CHECK(same_bits(m.view(), m2.view()));
      CHECK(same_bits(v.view(), v2.view()));
    }
  });
}

TEST_CASE_TEMPLATE("sgd_step, adam_step: the same bits from any address", T, float, double) {
  const SgdStep sgd{.lr = 0.1,
                    .clipping = {.scale = 0.7},
                    .decay = 0.01,
                    .momentum = 0.9,
                    .dampening = 0.1,
                    .nesterov = true,
                    .first = false};
  const AdamStep adam{.lr = 0.02,
                      .clipping = {.scale = 0.7},
                      .coupled_decay = 0.1,
                      .shrinkage = 0.99,
                      .beta1 = 0.9,
                      .beta2 = 0.99,
                      .root_correction = 1.5,
                      .epsilon = 1e-8};
  for_each_target([&](const char*) {
    Rng rng(6);
    for (const Index n : {1, 7, 16, 33, 65}) {
      CAPTURE(n);
      const auto size = static_cast<std::size_t>(n);
      const std::vector<EntryState> held = random_marks(rng, n);
      std::vector<T> x(size), g(size), m(size), v(size);
      for (auto* block : {&x, &g, &m, &v}) {
        for (T& entry : *block) entry = static_cast<T>(rng.uniform(0.1, 1));
      }
      const auto moved = [](const auto& block) {  // one place off any alignment, between two guards
        auto result = block;
        result.insert(result.begin(), block.front());
        result.push_back(block.back());
        return result;
      };
      std::vector<T> x2 = moved(x), m2 = moved(m), v2 = moved(v);
      const std::vector<T> g2 = moved(g), guards = x2;
      const std::vector<EntryState> held2 = moved(held);
      kernels::sgd_step<T>(n, x.data(), g.data(), m.data(), held.data(), sgd);
      kernels::sgd_step<T>(n, x2.data() + 1, g2.data() + 1, m2.data() + 1, held2.data() + 1, sgd);
      kernels::adam_step<T>(n, x.data(), g.data(), m.data(), v.data(), held.data(), adam);
      kernels::adam_step<T>(n, x2.data() + 1, g2.data() + 1, m2.data() + 1, v2.data() + 1, held2.data() + 1,
                            adam);
      CHECK(std::equal(x.begin(), x.end(), x2.begin() + 1));
      CHECK(std::equal(m.begin(), m.end(), m2.begin() + 1));
      CHECK(std::equal(v.begin(), v.end(), v2.begin() + 1));
      CHECK((x2.front() == guards.front() && x2.back() == guards.back()));
    }
  });
}
