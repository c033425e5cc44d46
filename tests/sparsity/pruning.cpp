#include <taper/sparsity/pruning.hpp>

#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Pruned;
using sparsity::Ranking;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

template <class T> nn::Sequential<T> network(Index inputs = 7) {
  manual_seed(11);
  return nn::Sequential<T>(nn::Linear<T>(inputs, 9), nn::Tanh<T>(), nn::Linear<T>(9, 4));
}

template <class T> std::vector<nn::Parameter<T>*> weights(nn::Module<T>& model) {
  std::vector<nn::Parameter<T>*> result;
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    if (name.ends_with("weight")) result.push_back(&parameter);
  });
  return result;
}

template <class T> Index count_pruned(const nn::Parameter<T>& parameter) {
  const Tensor<T> value = parameter.materialize();
  const Mask mask = parameter.mask();
  Index count = 0;
  for (Index i = 0; i < value.size(); ++i) count += mask.is_frozen(i) && value[i] == 0;
  return count;
}

/// Which entries of several tensors are the smallest: by sorting all of them.
template <class T> std::vector<Mask> naive(const std::vector<Tensor<T>>& values, double fraction) {
  std::vector<std::tuple<T, std::size_t, Index>> sorted;
  for (std::size_t p = 0; p < values.size(); ++p) {
    for (Index i = 0; i < values[p].size(); ++i) sorted.emplace_back(std::abs(values[p][i]), p, i);
  }
  std::sort(sorted.begin(), sorted.end());
  sorted.resize(static_cast<std::size_t>(std::round(fraction * static_cast<double>(sorted.size()))));
  std::vector<std::vector<Index>> positions(values.size());
  for (const auto& [size, p, i] : sorted) positions[p].push_back(i);
  std::vector<Mask> masks;
  for (std::size_t p = 0; p < values.size(); ++p) {
    masks.push_back(Mask::frozen(values[p].shape(), positions[p]));
  }
  return masks;
}

/// The values with the frozen entries at zero.
template <class T> Tensor<T> cut(Tensor<T> value, const Mask& mask) {
  for (Index i = 0; i < value.size(); ++i) value[i] = mask.is_free(i) ? value[i] : 0;
  return value;
}

template <class T> bool equal(View<const T> a, const Tensor<T>& b) {
  return same_bits<const T, const T>(a, b);
}

/// Computes one layer twice.
struct Twice : nn::Layer<double> {
  nn::Linear<double> inner{3, 3, false};
  void visit(nn::Visitor<double>& m) const override { m("first", inner), m("second", inner); }
  Var<double> forward(Var<double> x) const override { return inner(inner(x)); }
};

/// A network on random data, trained by replaying its tape.
template <class T> struct Training {
  nn::Sequential<T>& model;
  optim::Adam<T> adam;
  Tape<T> tape;
  Var<T> loss;

  explicit Training(nn::Sequential<T>& net) : model(net), adam(net.parameters(), {.lr = 0.01}) {
    Rng rng(5);
    const Tensor<T> x = random_tensor<T>(rng, {64, 7}), y = random_tensor<T>(rng, {64, 4});
    loss = mse_loss(model(tape.constant(x)), tape.constant(y));
    tape.backward(loss);
  }
  void step() {
    tape.replay();
    tape.backward(loss);
    adam.step();
  }
};

}  // namespace

TEST_CASE("cubic_sparsity: the formula between the ends, the ends outside") {
  const sparsity::CubicSchedule schedule{.initial = 0.2, .final = 0.9, .begin = 10, .end = 60};
  double before = 0;
  for (Index step = -5; step < 80; ++step) {
    CAPTURE(step);
    const double t = std::clamp((static_cast<double>(step) - 10) / 50, 0.0, 1.0);
    const double sparsity = sparsity::cubic_sparsity(step, schedule);
    CHECK(sparsity == doctest::Approx(0.9 + (0.2 - 0.9) * std::pow(1 - t, 3)).epsilon(1e-14));
    CHECK(sparsity >= before);
    before = sparsity;
  }
  CHECK(sparsity::cubic_sparsity(10, schedule) == 0.2);
  CHECK(sparsity::cubic_sparsity(60, schedule) == 0.9);
  constexpr Index least = std::numeric_limits<Index>::min(), most = std::numeric_limits<Index>::max();
  CHECK(sparsity::cubic_sparsity(0, {.initial = 0, .final = 1, .begin = least, .end = most}) ==
        doctest::Approx(1 - 0.125));

  CHECK_ERROR(sparsity::cubic_sparsity(0, {.initial = -0.1}), "[cubic_sparsity]", "initial -0.1", "0 to 1");
  CHECK_ERROR(sparsity::cubic_sparsity(0, {.final = 1.1}), "[cubic_sparsity]", "final 1.1");
  CHECK_ERROR(sparsity::cubic_sparsity(0, {.final = no_number}), "[cubic_sparsity]", "final nan");
  CHECK_ERROR(sparsity::cubic_sparsity(0, {.begin = 5, .end = 5}), "[cubic_sparsity]", "steps 5 to 5");
}

TEST_CASE("drop_fraction: half a cosine") {
  for (Index step = 0; step < 100; ++step) {
    const double t = static_cast<double>(step) / 100;
    CHECK(sparsity::drop_fraction(step, 100, 0.3) ==
          doctest::Approx(0.15 * (1 + std::cos(std::numbers::pi * t))).epsilon(1e-14));
  }
  CHECK(sparsity::drop_fraction(-1, 100, 0.3) == 0.3);
  CHECK(sparsity::drop_fraction(0, 100, 0.3) == 0.3);
  CHECK(sparsity::drop_fraction(100, 100, 0.3) == 0);
  CHECK(sparsity::drop_fraction(101, 100, 0.3) == 0);
  CHECK_ERROR(sparsity::drop_fraction(0, 0, 0.3), "[drop_fraction]", "end 0");
  CHECK_ERROR(sparsity::drop_fraction(0, 10, 2), "[drop_fraction]", "initial 2");
}

TEST_CASE_TEMPLATE("prune_by_magnitude: as many as asked for, the same ones as after sorting", T, float,
                   double) {
  for (const Ranking ranking : {Ranking::global, Ranking::per_parameter}) {
    CAPTURE(static_cast<int>(ranking));
    Rng rng(1);
    for (int trial = 0; trial < 50; ++trial) {
      auto net = network<T>();
      const auto parameters = weights(net);
      std::vector<Tensor<T>> values;
      for (nn::Parameter<T>* parameter : parameters) {
        for (T& entry : parameter->value()) {
          // With many equal ones.
          entry = static_cast<T>(trial % 2 == 0 ? rng.normal() : std::round(rng.normal() * 2));
        }
        values.emplace_back(parameter->materialize());
      }
      const double fraction = trial == 0 ? 0 : trial == 1 ? 1 : rng.uniform();
      CAPTURE(fraction);
      const Pruned report = sparsity::prune_by_magnitude(net, fraction, {.ranking = ranking});
      std::vector<Mask> expected = naive(values, fraction);
      if (ranking == Ranking::per_parameter) {
        for (std::size_t p = 0; p < values.size(); ++p) expected[p] = naive<T>({values[p]}, fraction)[0];
      }
      Index pruned = 0;
      for (std::size_t p = 0; p < values.size(); ++p) {
        CHECK(parameters[p]->mask() == expected[p]);
        CHECK(equal<T>(parameters[p]->value(), cut(values[p], expected[p])));
        pruned += (~expected[p]).count_free();
      }
      CHECK(report.pruned == pruned);
      CHECK(report.total == 7 * 9 + 9 * 4);
      CHECK(static_cast<nn::Linear<T>&>(net[0]).bias->mask().all_free());
    }
  }
}

TEST_CASE("prune_by_magnitude: ties go by position, pruned entries count, fixed ones are let alone") {
  nn::Linear<double> model(6, 1);
  model.weight.value().vector() << 1, -1, 0, 1, -3, 2;
  CHECK(sparsity::prune_by_magnitude(model, 0.5).pruned == 3);
  CHECK(model.weight.mask() == Mask::free({1, 6}, {3, 4, 5}));
  // More are pruned than asked for: they stay so, and nothing moves.
  const auto version = model.weight.block()->mask_version;
  CHECK(sparsity::prune_by_magnitude(model, 0.2).pruned == 3);
  CHECK(model.weight.block()->mask_version == version);

  model.weight.thaw();
  model.weight.value().vector() << 1, -1, 0, 1, -3, 2;
  model.weight.freeze(Mask::frozen({1, 6}, {0, 1}));
  model.weight.prune(Mask::frozen({1, 6}, {4}));
  const Pruned report = sparsity::prune_by_magnitude(model, 0.5);
  CHECK(report.pruned == 2);
  CHECK(report.total == 4);
  CHECK(model.weight.mask() == Mask::free({1, 6}, {3, 5}));
  CHECK(sparsity::prune_by_magnitude(model, 1).pruned == 4);
  CHECK(model.weight.value().vector() == (Eigen::VectorXd(6) << 1, -1, 0, 0, 0, 0).finished());

  model.weight.thaw();
  model.weight.value().vector() << HUGE_VAL, 1, -HUGE_VAL, 2, 3, 4;
  CHECK(sparsity::prune_by_magnitude(model, 0.6).pruned == 4);
  CHECK(model.weight.mask() == Mask::free({1, 6}, {0, 2}));
}

TEST_CASE_TEMPLATE("prune_by_magnitude: whole blocks in the order of their norms", T, float, double) {
  Rng rng(4);
  const std::vector<sparsity::BlockSize> sizes{{2, 3}, {9, 1}, {1, 7}, {4, 100}};
  for (const sparsity::BlockSize& block : sizes) {
    const Index rows = block.rows, columns = block.columns;
    for (const double fraction : {0.0, 0.1, 0.5, 0.77, 1.0}) {
      CAPTURE(rows);
      CAPTURE(columns);
      CAPTURE(fraction);
      nn::Linear<T> model(7, 9);
      const Tensor<T> value = random_tensor<T>(rng, {9, 7});
      std::copy(value.begin(), value.end(), model.weight.value().begin());
      model.weight.prune(Mask::frozen({9, 7}, {0}));  // its block goes by what is left
      const Tensor<T> start = model.weight.materialize();

      std::vector<std::tuple<double, Index, Index>> blocks;
      for (Index i = 0; i < 9; i += rows) {
        for (Index j = 0; j < 7; j += columns) {
          const Index h = std::min(rows, 9 - i), w = std::min(columns, 7 - j);
          blocks.emplace_back(start.matrix().template cast<double>().block(i, j, h, w).norm(), i, j);
        }
      }
      std::sort(blocks.begin(), blocks.end());
      blocks.resize(static_cast<std::size_t>(std::round(fraction * static_cast<double>(blocks.size()))));
      Eigen::MatrixXd pattern = Eigen::MatrixXd::Ones(9, 7);
      pattern(0, 0) = 0;
      for (const auto& [norm, i, j] : blocks) {
        pattern.block(i, j, std::min(rows, 9 - i), std::min(columns, 7 - j)).setZero();
      }
      const Pruned report = sparsity::prune_by_magnitude(model, fraction, {.block = block});
      CHECK(model.weight.mask() == Mask::free(pattern));
      CHECK(equal<T>(model.weight.value(), cut(start, Mask::free(pattern))));
      CHECK(report.pruned == count_pruned(model.weight));
      CHECK(report.total == 63);
    }
  }
}

TEST_CASE("prune_by_magnitude: blocks with a fixed entry stay, and wholly pruned ones come first") {
  nn::Linear<double> model(4, 2);
  model.weight.value().vector() << 1, 1, 5, 5,  //
      2, 2, 3, 3;
  model.weight.freeze(Mask::frozen({2, 4}, {0}));
  model.weight.prune(Mask::frozen({2, 4}, {2, 3}));
  const sparsity::PruneOptions options{.block = {.rows = 1, .columns = 2}};
  Pruned report = sparsity::prune_by_magnitude(model, 0.34, options);  // one of three blocks: it is there
  CHECK(report.pruned == 2);
  CHECK(report.total == 7);
  report = sparsity::prune_by_magnitude(model, 0.67, options);
  CHECK(report.pruned == 4);
  CHECK(model.weight.mask() == Mask::free({2, 4}, {1, 6, 7}));
  sparsity::prune_by_magnitude(model, 1, options);
  CHECK(model.weight.mask() == Mask::free({2, 4}, {1}));
  CHECK(model.weight.value()[0] == 1);
}

TEST_CASE_TEMPLATE("prune_n_of_m: the n largest of every run stay", T, float, double) {
  const std::vector<std::pair<Index, Index>> patterns{{2, 4}, {1, 4}, {0, 3}, {5, 6}, {12, 12}};
  for (const auto& pattern : patterns) {
    const Index n = pattern.first, m = pattern.second;
    CAPTURE(n);
    CAPTURE(m);
    nn::Sequential<T> net(nn::Linear<T>(12, 9), nn::Linear<T>(24, 5));
    const std::vector<Tensor<T>> before{weights(net)[0]->materialize(), weights(net)[1]->materialize()};
    const Pruned report = sparsity::prune_n_of_m(net, n, m);
    CHECK(report.total == 12 * 9 + 24 * 5);
    CHECK(report.pruned == report.total / m * (m - n));
    for (std::size_t p = 0; p < before.size(); ++p) {
      const Tensor<T> after = weights(net)[p]->materialize();
      const Mask mask = weights(net)[p]->mask();
      CHECK(equal<T>(after, cut(before[p], mask)));
      for (Index begin = 0; begin < mask.size(); begin += m) {
        T least_kept = HUGE_VALF, largest_pruned = 0;
        Index kept = 0;
        for (Index i = begin; i < begin + m; ++i) {
          kept += mask.is_free(i);
          T& extreme = mask.is_free(i) ? least_kept : largest_pruned;
          const T size = std::abs(before[p][i]);
          extreme = mask.is_free(i) ? std::min(extreme, size) : std::max(extreme, size);
        }
        CHECK(kept == n);
        CHECK(least_kept >= largest_pruned);
      }
    }
  }
}

TEST_CASE("prune_n_of_m: ties, fixed and pruned entries") {
  nn::Linear<double> model(4, 3);
  model.weight.value().vector() << 1, 1, 1, 1,  //
      0.1, 5, 6, 7,                             //
      3, 2, 1, 4;
  model.weight.freeze(Mask::frozen({3, 4}, {4}));
  model.weight.prune(Mask::frozen({3, 4}, {11, 8, 9}));
  const Pruned report = sparsity::prune_n_of_m(model, 2, 4);
  CHECK(model.weight.mask() == Mask::free({3, 4}, {2, 3, 7, 10}));
  CHECK(model.weight.value()[4] == 0.1);
  CHECK(report.pruned == 7);
  CHECK(report.total == 11);
  model.weight.thaw(Mask::free({3, 4}, {7}));
  model.weight.freeze(Mask::frozen({3, 4}, {7}));
  CHECK_ERROR(sparsity::prune_n_of_m(model, 1, 4), "[prune_n_of_m]", "2 of the 4 entries of 'weight'",
              "position 4", "at most 1");
  CHECK(model.weight.mask() == Mask::free({3, 4}, {2, 3, 10}));
}

TEST_CASE_TEMPLATE("drop_and_grow: the smallest go, and the largest gradients come", T, float, double) {
  for (const double fraction : {0.0, 0.05, 0.3, 1.0}) {
    CAPTURE(fraction);
    auto net = network<T>();
    Training<T> training(net);
    sparsity::prune_by_magnitude(net, 0.6, {.ranking = Ranking::per_parameter});
    auto& first = static_cast<nn::Linear<T>&>(net[0]).weight;
    first.freeze(Mask::frozen(first.shape(), {first.mask().free_positions()[3]}));  // fixed
    for (int round = 0; round < 5; ++round) {
      for (int step = 0; step < 3; ++step) training.step();
      std::vector<Tensor<T>> values, gradients;
      std::vector<Mask> masks;
      for (nn::Parameter<T>* parameter : weights(net)) {
        values.emplace_back(parameter->materialize());
        gradients.emplace_back(parameter->gradient());
        masks.push_back(parameter->mask());
      }
      const Index moved = sparsity::drop_and_grow(net, fraction);
      Index expected_moved = 0;
      for (std::size_t p = 0; p < values.size(); ++p) {
        const nn::Parameter<T>& parameter = *weights(net)[p];
        const Mask mask = parameter.mask();
        const Tensor<T> after = parameter.materialize();
        CHECK(mask.count_free() == masks[p].count_free());

        const auto k =
            static_cast<std::size_t>(std::round(fraction * static_cast<double>(masks[p].count_free())));
        std::vector<std::pair<T, Index>> free, growable;
        for (const Index i : masks[p].free_positions()) free.emplace_back(std::abs(values[p][i]), i);
        std::sort(free.begin(), free.end());
        for (std::size_t i = 0; i < k; ++i) {
          growable.emplace_back(-std::abs(gradients[p][free[i].second]), free[i].second);
        }
        for (Index i = 0; i < values[p].size(); ++i) {
          const bool gone = masks[p].is_frozen(i) && values[p][i] == 0;
          if (gone) growable.emplace_back(-std::abs(gradients[p][i]), i);
        }
        std::sort(growable.begin(), growable.end());
        std::vector<Index> expected;
        for (std::size_t i = k; i < free.size(); ++i) expected.push_back(free[i].second);
        for (std::size_t i = 0; i < k; ++i) expected.push_back(growable[i].second);
        CHECK(mask == Mask::free(mask.shape(), expected));

        for (Index i = 0; i < after.size(); ++i) {
          const bool lost = masks[p].is_free(i) && mask.is_frozen(i);
          const bool grown = masks[p].is_frozen(i) && mask.is_free(i);
          expected_moved += grown;
          CHECK(after[i] == (lost || grown ? 0 : values[p][i]));  // what stayed, and what was fixed
        }
      }
      CHECK(moved == expected_moved);
      if (fraction == 0) CHECK(moved == 0);
      if (fraction == 0.3 && round == 0) CHECK(moved > 0);
    }
  }
}

TEST_CASE("drop_and_grow: a grown entry starts anew, also in the optimizer") {
  nn::Linear<double> model(3, 1, false);
  model.weight.value().vector() << 5, 0.1, 0;
  model.weight.prune(Mask::frozen({1, 3}, {2}));
  const auto parameters = model.parameters();
  optim::Adam<double> adam(parameters, {.lr = 0.01});
  const auto gradient = parameters.gradient(parameters.entry("weight"));
  const auto step = [&](double a, double b, double c) {
    gradient.vector() << a, b, c;
    adam.step();
  };
  for (int i = 0; i < 10; ++i) step(0.01, 0.01, 7);
  CHECK(model.weight.value()[2] == 0);
  CHECK(sparsity::drop_and_grow(model, 0.5) == 1);
  CHECK(model.weight.mask() == Mask::free({1, 3}, {0, 2}));
  CHECK(model.weight.value()[1] == 0);
  CHECK(model.weight.value()[2] == 0);
  step(0.01, 3, -2);
  CHECK(model.weight.value()[1] == 0);
  CHECK(model.weight.value()[2] == doctest::Approx(0.01));  // as in the first step of Adam

  // Dropped and grown at once: nothing has happened to it.
  gradient.vector() << 0, 0, 1;
  const double before = model.weight.value()[2];
  CHECK(sparsity::drop_and_grow(model, 0.5) == 0);
  CHECK(model.weight.value()[2] == before);
}

TEST_CASE("drop_and_grow: gradients that are not numbers, ties, and parameters with nothing to exchange") {
  nn::Linear<double> model(6, 1, false);
  const auto parameters = model.parameters();
  const auto gradient = parameters.gradient(parameters.entry("weight"));
  const auto start = [&] {
    model.weight.thaw();
    model.weight.value().vector() << 1, 2, 0, 0, 0, 3;
    model.weight.prune(Mask::frozen({1, 6}, {2, 3, 4}));
  };
  start();
  gradient.vector() << no_number, no_number, no_number, 0, HUGE_VAL, no_number;
  CHECK(sparsity::drop_and_grow(model, 0.67) == 2);
  CHECK(model.weight.mask() == Mask::free({1, 6}, {3, 4, 5}));
  start();
  gradient.vector().setConstant(no_number);
  CHECK(sparsity::drop_and_grow(model, 0.34) == 0);  // all alike, and the dropped one is the first
  CHECK(model.weight.mask() == Mask::free({1, 6}, {0, 1, 5}));
  start();
  gradient.vector() << 0, 0, 1, -1, 1, 0;
  CHECK(sparsity::drop_and_grow(model, 0.67) == 2);
  CHECK(model.weight.mask() == Mask::free({1, 6}, {2, 3, 5}));

  model.weight.thaw();
  CHECK(sparsity::drop_and_grow(model, 1) == 0);
  CHECK(model.weight.value()[5] == 3);
  model.weight.prune();
  CHECK(sparsity::drop_and_grow(model, 1) == 0);
  CHECK(model.weight.mask().all_frozen());
}

TEST_CASE_TEMPLATE("gradual pruning while training ends at the target", T, float, double) {
  auto net = network<T>();
  Training<T> training(net);
  const double first_loss = static_cast<double>(training.loss.item());
  const sparsity::CubicSchedule schedule{.final = 0.8, .begin = 20, .end = 200};
  std::vector<std::vector<Index>> gone(2);
  for (Index step = 0; step < 400; ++step) {
    if (step % 10 == 0) {
      const double fraction = sparsity::cubic_sparsity(step, schedule);
      const Pruned report = sparsity::prune_by_magnitude(net, fraction);
      CHECK(report.pruned == std::llround(fraction * static_cast<double>(report.total)));
      for (std::size_t p = 0; p < 2; ++p) {
        for (const Index i : gone[p]) CHECK(weights(net)[p]->value()[i] == 0);
        gone[p] = (~weights(net)[p]->mask()).free_positions();
      }
    }
    training.step();
  }
  training.tape.replay();
  const double loss = static_cast<double>(training.loss.item());
  CHECK(std::isfinite(loss));
  CHECK(loss < first_loss);
  Index pruned = 0;
  for (const nn::Parameter<T>* weight : weights(net)) {
    for (const T entry : weight->value()) pruned += entry == 0;
  }
  CHECK(pruned == std::llround(0.8 * (63 + 36)));
}

TEST_CASE_TEMPLATE("drop_and_grow while training keeps the number of weights", T, float, double) {
  auto net = network<T>();
  Training<T> training(net);
  const double first_loss = static_cast<double>(training.loss.item());
  sparsity::prune_by_magnitude(net, 0.7, {.ranking = Ranking::per_parameter});
  const Index pruned = count_pruned(*weights(net)[0]);
  Index moved = 0;
  for (Index step = 1; step <= 300; ++step) {
    training.step();
    if (step % 20 == 0) moved += sparsity::drop_and_grow(net, sparsity::drop_fraction(step, 240, 0.3));
    CHECK(count_pruned(*weights(net)[0]) == pruned);
  }
  CHECK(moved > 0);
  training.tape.replay();
  CHECK(static_cast<double>(training.loss.item()) < first_loss);
}

TEST_CASE_TEMPLATE("pruned entries of factorized weights stay at zero while training", T, float, double) {
  for (const sparsity::Groups groups :
       {sparsity::Groups::elements, sparsity::Groups::inputs, sparsity::Groups::outputs}) {
    CAPTURE(groups);
    auto net = network<T>();
    auto plain = network<T>();
    sparsity::factorize(net, groups);
    Training<T> training(net);
    Pruned report = sparsity::prune_by_magnitude(net, 0.4);
    CHECK(report.pruned == 40);
    sparsity::prune_by_magnitude(plain, 0.4);
    for (std::size_t p = 0; p < 2; ++p) CHECK(weights(net)[p]->mask() == weights(plain)[p]->mask());
    for (int step = 0; step < 50; ++step) training.step();
    report = sparsity::prune_by_magnitude(net, 0.8);
    CHECK(report.pruned == 79);
    CHECK(report.total == 99);
    const std::vector<Mask> masks{weights(net)[0]->mask(), weights(net)[1]->mask()};
    for (int step = 0; step < 50; ++step) training.step();
    for (std::size_t p = 0; p < 2; ++p) {
      const Tensor<T> value = weights(net)[p]->materialize();
      CHECK(weights(net)[p]->mask() == masks[p]);
      for (const Index i : (~masks[p]).free_positions()) CHECK(value[i] == 0);
      for (const Index i : masks[p].free_positions()) CHECK(value[i] != 0);
    }
    CHECK(sparsity::prune_by_magnitude(net, 1).pruned == 99);
    for (const nn::Parameter<T>* weight : weights(net)) {
      for (const nn::Parameter<T>& factor : weight->factors()) CHECK(factor.mask().all_frozen());
    }
  }
}

TEST_CASE("pruning: a weight that two parts share counts once") {
  Twice model;
  CHECK(sparsity::prune_by_magnitude(model, 0.5).pruned == 5);
  CHECK(count_pruned(model.inner.weight) == 5);
  CHECK(sparsity::prune_by_magnitude(model, 0.5).total == 9);
}

TEST_CASE("pruning: errors, with nothing changed") {
  auto net = network<double>();
  const auto parameters = net.parameters();
  CHECK_ERROR(sparsity::prune_by_magnitude(net, 1.5), "[prune_by_magnitude]", "fraction 1.5", "0 to 1");
  CHECK_ERROR(sparsity::prune_by_magnitude(net, no_number), "[prune_by_magnitude]", "fraction nan");
  CHECK_ERROR(sparsity::prune_by_magnitude(net, 0.5, {.match = "gamma"}), "[prune_by_magnitude]", "'gamma'");
  CHECK_ERROR(sparsity::prune_by_magnitude(net, 0.5, {.block = {.rows = 0}}), "[prune_by_magnitude]",
              "0 x 1");
  CHECK_ERROR(sparsity::prune_n_of_m(net, 5, 4), "[prune_n_of_m]", "5 of 4");
  CHECK_ERROR(sparsity::prune_n_of_m(net, -1, 4), "[prune_n_of_m]", "-1 of 4");
  CHECK_ERROR(sparsity::prune_n_of_m(net, 0, 0), "[prune_n_of_m]", "0 of 0");
  CHECK_ERROR(sparsity::prune_n_of_m(net, 1, 7), "[prune_n_of_m]", "'2.weight' is 4x9", "7 divides");
  CHECK_ERROR(sparsity::prune_n_of_m(net, 2, 4, "gamma"), "[prune_n_of_m]", "'gamma'");
  CHECK_ERROR(sparsity::drop_and_grow(net, -1), "[drop_and_grow]", "fraction -1");
  CHECK_ERROR(sparsity::drop_and_grow(net, 0.3, "gamma"), "[drop_and_grow]", "'gamma'");
  for (const nn::Parameter<double>* weight : weights(net)) CHECK(weight->mask().all_free());

  auto& last = static_cast<nn::Linear<double>&>(net[2]).weight;
  const double was = last.value()[2];
  last.value()[2] = no_number;
  CHECK_ERROR(sparsity::prune_by_magnitude(net, 0.5), "[prune_by_magnitude]", "'2.weight'",
              "NaN at position 2");
  CHECK_ERROR(sparsity::prune_n_of_m(net, 1, 1), "[prune_n_of_m]", "NaN at position 2");
  last.freeze(Mask::frozen(last.shape(), {2}));  // what is held is nobody's business
  CHECK(sparsity::prune_by_magnitude(net, 0).total == 98);
  last.value()[2] = was;
  last.thaw();

  last.prune(Mask::frozen(last.shape(), {0}));
  CHECK_ERROR(sparsity::drop_and_grow(net, 0.3), "[drop_and_grow]", "'2.weight' has no gradient",
              "backward pass");

  // Probabilities cannot be zero; the weight before them is not pruned either.
  last.thaw();
  for (double& entry : last.value()) entry = 0.25;
  last.parametrize(std::make_shared<nn::Simplex<double>>());
  CHECK_ERROR(sparsity::prune_by_magnitude(net, 0.9), "[prune]", "not a product");
  CHECK(weights(net)[0]->mask().all_free());
  CHECK_ERROR(sparsity::drop_and_grow(net, 0.3), "[drop_and_grow]", "'2.weight'", "computed from factors");
  CHECK_ERROR(sparsity::drop_and_grow(net, 0.3, "2.weight.z"), "[drop_and_grow]", "'2.weight.z' is a factor");
}
