#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/averaged_weights.hpp>
#include <taper/optim/lion.hpp>
#include <taper/optim/rmsprop.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

/// A layer whose gradients are set by hand.
template <class T> struct ByHand {
  nn::Linear<T> layer{3, 2};

  ByHand() {
    for (Index i = 0; i < 6; ++i)
      layer.weight.value()[i] = static_cast<T>(0.3 * static_cast<double>(i) - 0.7);
    for (Index i = 0; i < 2; ++i) layer.bias->value()[i] = static_cast<T>(0.1 * static_cast<double>(i + 1));
  }
  std::vector<double> values() {
    std::vector<double> result;
    layer.for_parameters([&](const std::string&, const nn::Parameter<T>& p) {
      for (const T entry : p.value()) result.push_back(static_cast<double>(entry));
    });
    return result;
  }
};

constexpr std::size_t small_entries = 8;

/// The gradient of entry i in a step.
double slope(std::size_t i, int step) {
  return std::sin(1.3 * static_cast<double>(i) + 0.7 * step) * (i % 3 == 0 ? 2 : 0.4);
}

template <class T> void set_gradients(nn::Parameters<T> parameters, int step, double unit = 1) {
  std::size_t i = 0;
  for (const auto& entry : parameters.entries()) {
    for (T& g : parameters.gradient(entry)) g = static_cast<T>(unit * slope(i++, step));
  }
}

/// How one entry moves: given value, gradient and its state, in a step.
using UpdateRule = std::function<void(double& x, double g, std::vector<double>& state)>;

template <class T> using Maker = std::function<std::unique_ptr<optim::Optimizer<T>>(nn::Parameters<T>)>;

/// Makes steps and compares with the rule in double.
template <class T> void check_rule(const char* name, const Maker<T>& make, const UpdateRule& rule) {
  CAPTURE(std::string(name));
  ByHand<T> model;
  const auto optimizer = make(model.layer.parameters());
  std::vector<double> expected = model.values();
  std::vector<std::vector<double>> states(small_entries, std::vector<double>(4));
  for (int step = 0; step < 12; ++step) {
    set_gradients(model.layer.parameters(), step);
    optimizer->step();
    for (std::size_t i = 0; i < small_entries; ++i) rule(expected[i], slope(i, step), states[i]);
    const std::vector<double> got = model.values();
    for (std::size_t i = 0; i < small_entries; ++i) {
      CHECK(std::abs(got[i] - expected[i]) <=
            200 * static_cast<double>(std::numeric_limits<T>::epsilon()) * (1 + std::abs(expected[i])));
    }
  }
}

/// Frozen entries keep their bits whatever their gradient is, the others move as if alone, and what is thawed
/// starts as an optimizer does.
template <class T> void check_masks(const char* name, const Maker<T>& make) {
  CAPTURE(std::string(name));
  const T nan = std::numeric_limits<T>::quiet_NaN();
  ByHand<T> masked, whole, fresh;
  const auto held = make(masked.layer.parameters()), all = make(whole.layer.parameters());
  masked.layer.weight.freeze(Mask::frozen(Shape{2, 3}, {1, 4}));
  for (int step = 0; step < 5; ++step) {
    set_gradients(masked.layer.parameters(), step);
    set_gradients(whole.layer.parameters(), step);
    const auto parameters = masked.layer.parameters();
    parameters.gradient(parameters.entry("weight"))[1] = nan;
    held->step(), all->step();
  }
  const ByHand<T> start;
  for (Index i = 0; i < 6; ++i) {
    const bool frozen = i == 1 || i == 4;
    CHECK(masked.layer.weight.value()[i] ==
          (frozen ? start.layer.weight.value()[i] : std::as_const(whole.layer.weight).value()[i]));
  }
  const auto state = held->state();
  for (const auto& tensor : state.entry("weight").tensors) CHECK((tensor[1] == 0 && tensor[4] == 0));
  masked.layer.weight.thaw();
  set_gradients(masked.layer.parameters(), 9);
  held->step();
  const auto first = make(fresh.layer.parameters());
  set_gradients(fresh.layer.parameters(), 9);
  first->step();
  CHECK(masked.layer.weight.value()[1] == fresh.layer.weight.value()[1]);
  CHECK(masked.layer.weight.value()[4] == fresh.layer.weight.value()[4]);
}

template <class T> Maker<T> rmsprop(const optim::RMSpropOptions& options) {
  return [options](nn::Parameters<T> p) { return std::make_unique<optim::RMSprop<T>>(p, options); };
}
template <class T> Maker<T> adagrad(const optim::AdagradOptions& options) {
  return [options](nn::Parameters<T> p) { return std::make_unique<optim::Adagrad<T>>(p, options); };
}
template <class T> Maker<T> lion(const optim::LionOptions& options) {
  return [options](nn::Parameters<T> p) { return std::make_unique<optim::Lion<T>>(p, options); };
}
template <class T> Maker<T> amsgrad(const optim::AdamOptions& options) {
  return [options](nn::Parameters<T> p) { return std::make_unique<optim::Adam<T>>(p, options); };
}

}  // namespace

TEST_CASE_TEMPLATE("RMSprop, Adagrad, Lion, amsgrad: the published steps", T, float, double) {
  check_rule<T>("rmsprop", rmsprop<T>({.lr = 0.05, .alpha = 0.9, .weight_decay = 0.1}),
                [](double& x, double g, std::vector<double>& s) {
                  g += 0.1 * x;
                  s[0] = 0.9 * s[0] + 0.1 * g * g;
                  x -= 0.05 * g / (std::sqrt(s[0]) + 1e-8);
                });
  check_rule<T>("rmsprop with momentum, centered",
                rmsprop<T>({.lr = 0.05, .alpha = 0.9, .epsilon = 0.1, .momentum = 0.5, .centered = true}),
                [](double& x, double g, std::vector<double>& s) {
                  s[0] = 0.9 * s[0] + 0.1 * g * g;
                  s[1] = 0.9 * s[1] + 0.1 * g;
                  s[2] = 0.5 * s[2] + g / (std::sqrt(s[0] - s[1] * s[1]) + 0.1);
                  x -= 0.05 * s[2];
                });
  check_rule<T>("adagrad", adagrad<T>({.lr = 0.05, .weight_decay = 0.1}),
                [](double& x, double g, std::vector<double>& s) {
                  g += 0.1 * x;
                  s[0] += g * g;
                  x -= 0.05 * g / (std::sqrt(s[0]) + 1e-10);
                });
  check_rule<T>("lion", lion<T>({.lr = 0.05, .weight_decay = 0.1}),
                [](double& x, double g, std::vector<double>& s) {
                  const double c = 0.9 * s[0] + 0.1 * g;
                  x = x * (1 - 0.05 * 0.1) - 0.05 * ((c > 0) - (c < 0));
                  s[0] = 0.99 * s[0] + 0.01 * g;
                });
  check_rule<T>("amsgrad", amsgrad<T>({.lr = 0.05, .beta2 = 0.5, .amsgrad = true}),
                [](double& x, double g, std::vector<double>& s) {
                  s[3] += 1;
                  s[0] = 0.9 * s[0] + 0.1 * g;
                  s[1] = 0.5 * s[1] + 0.5 * g * g;
                  s[2] = std::max(s[2], s[1]);
                  const double root = std::sqrt(s[2]) / std::sqrt(1 - std::pow(0.5, s[3]));
                  x -= 0.05 / (1 - std::pow(0.9, s[3])) * s[0] / (root + 1e-8);
                });
}

TEST_CASE_TEMPLATE("RMSprop, Adagrad, Lion, amsgrad: masks", T, float, double) {
  check_masks<T>("rmsprop", rmsprop<T>({.weight_decay = 0.1}));
  check_masks<T>("rmsprop with momentum, centered", rmsprop<T>({.momentum = 0.5, .centered = true}));
  check_masks<T>("adagrad", adagrad<T>({}));
  check_masks<T>("lion", lion<T>({.weight_decay = 0.1}));
  check_masks<T>("amsgrad", amsgrad<T>({.amsgrad = true}));
}

TEST_CASE_TEMPLATE("RMSprop, Adagrad, amsgrad: gradients of any size that T can hold", T, float, double) {
  const double large = sizeof(T) == 4 ? 1e30 : 1e250;
  for (const Maker<T>& make : {rmsprop<T>({.lr = 0.1, .centered = true}), rmsprop<T>({.lr = 0.1}),
                               adagrad<T>({.lr = 0.1}), amsgrad<T>({.lr = 0.1, .amsgrad = true})}) {
    ByHand<T> plain, scaled;
    const auto one = make(plain.layer.parameters()), other = make(scaled.layer.parameters());
    for (int step = 0; step < 4; ++step) {
      set_gradients(plain.layer.parameters(), step, 1e6);
      set_gradients(scaled.layer.parameters(), step, large);
      one->step(), other->step();
    }
    const std::vector<double> a = plain.values(), b = scaled.values();
    for (std::size_t i = 0; i < small_entries; ++i) CHECK(std::abs(a[i] - b[i]) < 1e-4);
  }
}

TEST_CASE("RMSprop, Adagrad, Lion: states go on, settings that are none are refused") {
  for (const Maker<double>& make : {rmsprop<double>({.momentum = 0.5, .centered = true}), adagrad<double>({}),
                                    lion<double>({}), amsgrad<double>({.amsgrad = true})}) {
    ByHand<double> a, b;
    const auto one = make(a.layer.parameters()), other = make(b.layer.parameters());
    for (int step = 0; step < 3; ++step) set_gradients(a.layer.parameters(), step), one->step();
    other->load_state(one->state());
    std::copy(a.layer.weight.value().begin(), a.layer.weight.value().end(), b.layer.weight.value().begin());
    std::copy(a.layer.bias->value().begin(), a.layer.bias->value().end(), b.layer.bias->value().begin());
    for (int step = 3; step < 6; ++step) {
      set_gradients(a.layer.parameters(), step), set_gradients(b.layer.parameters(), step);
      one->step(), other->step();
    }
    CHECK(a.values() == b.values());
  }
  nn::Linear<double> layer(2, 2);
  CHECK_ERROR(optim::RMSprop<double>(layer.parameters(), {.alpha = 1}),
              "[rmsprop] alpha 1: expected 0 <= number < 1");
  CHECK_ERROR(optim::RMSprop<double>(layer.parameters(), {.epsilon = 0}),
              "[rmsprop] epsilon 0: expected a positive");
  CHECK_ERROR(optim::Adagrad<double>(layer.parameters(), {.lr = -1}), "[adagrad] lr -1: expected 0 or more");
  CHECK_ERROR(optim::Lion<double>(layer.parameters(), {.beta2 = 1}),
              "[lion] beta2 1: expected 0 <= number < 1");
  sparsity::factorize(layer, sparsity::Groups::inputs);
  CHECK_ERROR(optim::Lion<double>(layer.parameters(), {.weight_decay = 0.1}),
              "[lion] decoupled decay on 'weight.");
  CHECK_NOTHROW(optim::Lion<double>(layer.parameters(), {.weight_decay = 0.1, .decay_factors = true}));
}

TEST_CASE_TEMPLATE("AveragedWeights: averages of the free entries, swaps, and masks bit for bit", T, float,
                   double) {
  ByHand<T> model;
  optim::AveragedWeights<T> average(model.layer.parameters(), 0.75);
  const T start = model.layer.weight.value()[0];
  model.layer.weight.value()[0] = 4;
  average.update();
  const double expected = 0.75 * static_cast<double>(start) + 1;
  CHECK(static_cast<double>(average.averages()[0].second[0]) == doctest::Approx(expected).epsilon(1e-6));
  CHECK(average.averages()[0].second[1] ==
        std::as_const(model.layer.weight).value()[1]);  // that did not move
  model.layer.weight.prune(Mask::frozen(Shape{2, 3}, {2}));
  CHECK(average.averages()[0].second[2] == 0);
  average.swap();
  CHECK(static_cast<double>(model.layer.weight.value()[0]) == doctest::Approx(expected).epsilon(1e-6));
  CHECK(model.layer.weight.value()[2] == 0);
  CHECK_ERROR(average.update(), "[averaged_weights] an update while the model has the averages");
  average.swap();
  CHECK(model.layer.weight.value()[0] == 4);
  CHECK(model.layer.weight.value()[2] == 0);
  average.update();
  CHECK(average.updates() == 2);
  average.swap();
  model.layer.weight.thaw();
  CHECK_ERROR(average.swap(), "[averaged_weights] masks that changed while the model had the averages");
  CHECK_ERROR(optim::AveragedWeights<T>(model.layer.parameters(), 1),
              "[averaged_weights] decay 1: expected 0 <= number < 1");
}
