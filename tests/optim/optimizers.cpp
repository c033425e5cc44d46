#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

constexpr Index rows = 16, ins = 5, outs = 3;

/// One parameter of the reference: plain loops in double, written from the documentation of torch.optim.
struct Weights {
  std::vector<double> value, gradient, first, second;
  double lr = 0, decay = 0;

  explicit Weights(std::size_t n) : value(n), gradient(n), first(n), second(n) {}
};

/// A linear layer under the mean squared error, differentiated by hand.
struct Reference {
  Weights weight{outs * ins}, bias{outs};
  std::vector<double> x, y;
  double most = 0;  // of the gradient norm

  double differentiate() {
    std::fill(weight.gradient.begin(), weight.gradient.end(), 0);
    std::fill(bias.gradient.begin(), bias.gradient.end(), 0);
    double loss = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t o = 0; o < outs; ++o) {
        double residual = bias.value[o] - y[r * outs + o];
        for (std::size_t i = 0; i < ins; ++i) residual += x[r * ins + i] * weight.value[o * ins + i];
        loss += residual * residual / (rows * outs);
        const double seed = 2 * residual / (rows * outs);
        bias.gradient[o] += seed;
        for (std::size_t i = 0; i < ins; ++i) weight.gradient[o * ins + i] += seed * x[r * ins + i];
      }
    }
    if (most > 0) {
      double squares = 0;
      for (const Weights* w : {&weight, &bias}) {
        for (const double g : w->gradient) squares += g * g;
      }
      const double factor = std::min(1.0, most / (std::sqrt(squares) + 1e-6));
      for (Weights* w : {&weight, &bias}) {
        for (double& g : w->gradient) g *= factor;
      }
    }
    return loss;
  }
};

/// Moves one entry of `w` by a rule; `t` counts the steps from 1.
using ReferenceRule = std::function<void(Weights& w, std::size_t i, int t, double lr)>;

ReferenceRule sgd_rule(const optim::SGDOptions& options) {
  return [options](Weights& w, std::size_t i, int t, double lr) {
    double g = w.gradient[i] + w.decay * w.value[i];
    if (options.momentum != 0) {
      w.first[i] = t == 1 ? g : options.momentum * w.first[i] + (1 - options.dampening) * g;
      g = options.nesterov ? g + options.momentum * w.first[i] : w.first[i];
    }
    w.value[i] -= lr * g;
  };
}

ReferenceRule adam_rule(const optim::AdamOptions& options, bool decoupled) {
  return [=](Weights& w, std::size_t i, int t, double lr) {
    double g = w.gradient[i];
    if (decoupled) {
      w.value[i] -= lr * w.decay * w.value[i];
    } else {
      g += w.decay * w.value[i];
    }
    w.first[i] = options.beta1 * w.first[i] + (1 - options.beta1) * g;
    w.second[i] = options.beta2 * w.second[i] + (1 - options.beta2) * g * g;
    const double first = w.first[i] / (1 - std::pow(options.beta1, t));
    const double second = w.second[i] / (1 - std::pow(options.beta2, t));
    w.value[i] -= lr * first / (std::sqrt(second) + options.epsilon);
  };
}

/// A layer and its loss on fixed random data.
template <class T> struct LinearProblem {
  nn::Linear<T> model;
  Tape<T> tape;
  Var<T> loss;
  Reference reference;

  LinearProblem() : model((manual_seed(3), nn::Linear<T>(ins, outs))) {
    Rng rng(7);
    const Tensor<T> x = random_tensor<T>(rng, {rows, ins}), y = random_tensor<T>(rng, {rows, outs});
    reference.x.assign(x.begin(), x.end());
    reference.y.assign(y.begin(), y.end());
    model.parameters();
    std::copy(model.weight.value().begin(), model.weight.value().end(), reference.weight.value.begin());
    std::copy(model.bias->value().begin(), model.bias->value().end(), reference.bias.value.begin());
    loss = mse_loss(model(tape.constant(x)), tape.constant(y));
  }

  /// The largest difference, relative to the largest entry.
  double distance() {
    const auto worst = [](View<const T> got, const std::vector<double>& expected) {
      const auto wanted = View<const double>(expected.data(), got.shape()).vector();
      const auto difference = got.vector().template cast<double>() - wanted;
      return difference.cwiseAbs().maxCoeff() / wanted.cwiseAbs().maxCoeff();
    };
    return std::max(worst(model.weight.value(), reference.weight.value),
                    worst(model.bias->value(), reference.bias.value));
  }
};

template <class T> constexpr double tolerance = sizeof(T) == 8 ? 1e-11 : 2e-5;

/// A hundred steps of both; the factor of all learning rates changes on the way.
template <class T, class Options>
void compare(optim::Optimizer<T>& optimizer, LinearProblem<T>& problem, const Options& options,
             const ReferenceRule& rule, double most = 0) {
  Reference& reference = problem.reference;
  for (Weights* w : {&reference.weight, &reference.bias}) w->lr = options.lr, w->decay = options.weight_decay;
  for (const optim::Group& group : options.groups) {
    Weights& w = group.match == "bias" ? reference.bias : reference.weight;
    w.lr = group.lr.value_or(w.lr);
    w.decay = group.weight_decay.value_or(w.decay);
  }
  if (most > 0) optimizer.clip_norm(most), reference.most = most;
  double first_loss = 0, loss = 0;
  for (int t = 1; t <= 100; ++t) {
    const double factor = t <= 50 ? 1 : 0.5;
    optimizer.set_lr_factor(factor);
    problem.tape.replay();
    problem.tape.backward(problem.loss);
    optimizer.step();
    loss = reference.differentiate();
    if (t == 1) first_loss = loss;
    for (Weights* w : {&reference.weight, &reference.bias}) {
      for (std::size_t i = 0; i < w->value.size(); ++i) rule(*w, i, t, w->lr * factor);
    }
  }
  CHECK(loss < first_loss);
  CHECK(problem.distance() < tolerance<T>);
  CHECK(optimizer.steps() == 100);
  CHECK(optimizer.lr() == doctest::Approx(options.lr / 2));
}

template <class T> void compare_sgd(const optim::SGDOptions& options, double most = 0) {
  LinearProblem<T> problem;
  optim::SGD<T> optimizer(problem.model.parameters(), options);
  compare(optimizer, problem, options, sgd_rule(options), most);
}

template <class T> void compare_adam(const optim::AdamOptions& options, double most = 0) {
  LinearProblem<T> problem;
  optim::Adam<T> optimizer(problem.model.parameters(), options);
  compare(optimizer, problem, options, adam_rule(options, false), most);
}

template <class T> void compare_adamw(const optim::AdamWOptions& given, double most = 0) {
  LinearProblem<T> problem;
  optim::AdamW<T> optimizer(problem.model.parameters(), given);
  const optim::AdamOptions options{
      .lr = given.lr, .weight_decay = given.weight_decay, .groups = given.groups};
  compare(optimizer, problem, options, adam_rule(options, true), most);
}

}  // namespace

TEST_CASE_TEMPLATE("SGD: a hundred steps of every form equal plain loops", T, float, double) {
  compare_sgd<T>({.lr = 0.05});
  compare_sgd<T>({.lr = 0.05, .weight_decay = 0.1});
  compare_sgd<T>({.lr = 0.02, .momentum = 0.9});
  compare_sgd<T>({.lr = 0.02, .momentum = 0.9, .dampening = 0.5});
  compare_sgd<T>({.lr = 0.02, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.01});
  compare_sgd<T>({.lr = 0.02, .momentum = 0.8, .nesterov = true});
  compare_sgd<T>({.lr = 0.02, .momentum = 0.8, .weight_decay = 0.05, .nesterov = true});
}

TEST_CASE_TEMPLATE("Adam: a hundred steps with and without coupled decay equal plain loops", T, float,
                   double) {
  compare_adam<T>({});
  compare_adam<T>({.lr = 0.02});
  compare_adam<T>({.lr = 0.02, .weight_decay = 0.1});
  compare_adam<T>({.lr = 0.01, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3});
  compare_adam<T>({.lr = 0.01, .beta1 = 0, .beta2 = 0.99});
}

TEST_CASE_TEMPLATE("AdamW: a hundred steps of decoupled decay equal plain loops", T, float, double) {
  compare_adamw<T>({.lr = 0.02, .weight_decay = 0});
  compare_adamw<T>({.lr = 0.02, .weight_decay = 0.3});
  compare_adamw<T>({.lr = 0.02});  // a decay by itself
  CHECK(optim::AdamWOptions{}.weight_decay == 1e-2);
}

TEST_CASE("AdamW: decoupled decay on the factors of a product is refused unless insisted on") {
  nn::Sequential<double> model(nn::Linear<double>(3, 2), nn::Linear<double>(2, 1));
  sparsity::factorize(model, sparsity::Groups::elements, "1.weight");
  const auto adamw = [&](const optim::AdamWOptions& options) {
    optim::AdamW<double>(model.parameters(), options);
  };
  CHECK_ERROR(adamw({}), "[adamw]", "'1.weight.u'", "no L1 penalty", "expected Adam");
  CHECK_ERROR(adamw({.groups = {{.match = "*.u", .weight_decay = 0}}}), "'1.weight.v'");
  adamw({.weight_decay = 0});
  adamw({.groups = {{.match = "*weight.?", .weight_decay = 0}}});
  adamw({.decay_factors = true});
  // A copy of the model has factors too; a collapsed one has none.
  nn::Sequential<double> copy = model;
  CHECK_ERROR(optim::AdamW<double>(copy.parameters()), "'1.weight.u'");
  sparsity::collapse(model);
  adamw({});

  // A deeper product is refused as well, by its own penalty, and as long as one factor decays.
  sparsity::factorize(model, sparsity::Groups::inputs, {.depth = 3, .match = "0.weight"});
  CHECK_ERROR(adamw({}), "[adamw]", "'0.weight.u'", "a product of 3", "no L2/3 penalty", "decay_factors");
  CHECK_ERROR(adamw({.groups = {{.match = "*.u", .weight_decay = 0}, {.match = "*.v1", .weight_decay = 0}}}),
              "'0.weight.v2'");
  adamw({.decay_factors = true});
  adamw({.groups = {{.match = "0.weight.*", .weight_decay = 0}}});
  sparsity::collapse(model);
  sparsity::factorize(model, sparsity::Groups::elements, {.depth = 4, .match = "0.weight"});
  CHECK_ERROR(adamw({}), "no L1/2 penalty");
}

TEST_CASE_TEMPLATE("Optimizer: groups have learning rates and decays of their own", T, float, double) {
  compare_sgd<T>({.lr = 0.05, .weight_decay = 0.3, .groups = {{.match = "bias", .weight_decay = 0}}});
  compare_sgd<T>({.lr = 0.02,
                  .momentum = 0.9,
                  .weight_decay = 0.1,
                  .groups = {{.match = "bias", .lr = 0.005}, {.match = "weight", .weight_decay = 0.02}}});
  compare_adam<T>({.lr = 0.02, .weight_decay = 0.3, .groups = {{.match = "bias", .weight_decay = 0}}});
  compare_adam<T>({.lr = 0.02, .groups = {{.match = "w*", .lr = 0.001, .weight_decay = 0.1}}});
  compare_adamw<T>(
      {.lr = 0.02, .weight_decay = 0.3, .groups = {{.match = "bias", .lr = 0.04, .weight_decay = 0}}});
}

TEST_CASE(
    "Optimizer: a learning rate of zero for one group freezes it, and the first group that matches counts") {
  nn::Sequential<double> model(nn::Linear<double>(3, 2), nn::Linear<double>(2, 1));
  const nn::Parameters<double> parameters = model.parameters();
  optim::SGD<double> optimizer(
      parameters, {.lr = 1, .groups = {{.match = "*.bias", .lr = 0}, {.match = "1.*", .lr = 2}}});
  const Index size = static_cast<Index>(parameters.block()->values.size());
  const std::vector<double> before(parameters.block()->values.data(),
                                   parameters.block()->values.data() + size);
  for (const auto& entry : parameters.entries()) {
    for (double& g : parameters.gradient(entry)) g = 1;
  }
  optimizer.step();
  for (const auto& entry : parameters.entries()) {
    const double moved = entry.name == "0.weight" ? 1 : entry.name == "1.weight" ? 2 : 0;
    for (Index i = 0; i < entry.shape.size(); ++i) {
      const double start = before[static_cast<std::size_t>(entry.offset + i)];
      CHECK(parameters.value(entry)[i] == doctest::Approx(start - moved).epsilon(1e-12));
    }
  }
}

TEST_CASE_TEMPLATE("Optimizer: clipping scales the gradients of all parameters together", T, float, double) {
  compare_sgd<T>({.lr = 0.2}, 0.1);
  compare_sgd<T>({.lr = 0.02, .momentum = 0.9, .weight_decay = 0.1}, 0.05);
  compare_sgd<T>({.lr = 0.05}, 1e6);  // never exceeded
  compare_adam<T>({.lr = 0.02, .weight_decay = 0.1}, 0.2);
  compare_adamw<T>({.lr = 0.02, .weight_decay = 0.1}, 0.2);
}

TEST_CASE("Optimizer: clipping bounds the length of a plain step") {
  LinearProblem<double> problem;
  optim::SGD<double> optimizer(problem.model.parameters(), {.lr = 1});
  optimizer.clip_norm(0.125);
  const Tensor<double> weight(problem.model.weight.value()), bias(problem.model.bias->value());
  problem.tape.backward(problem.loss);
  optimizer.step();
  const double squares = (problem.model.weight.value().vector() - weight.vector()).squaredNorm() +
                         (problem.model.bias->value().vector() - bias.vector()).squaredNorm();
  CHECK(std::sqrt(squares) == doctest::Approx(0.125).epsilon(1e-4));
  CHECK_ERROR(optimizer.clip_norm(0), "[sgd]", "positive");
  CHECK_ERROR(optimizer.clip_norm(-1), "[sgd]", "-1", "positive");
  CHECK_ERROR(optimizer.clip_norm(std::nan("")), "[sgd]", "positive");
}

namespace {

/// A parameter of n zeros whose gradient is given.
template <class T> struct Zeros {
  nn::Parameter<T> parameter;
  nn::Parameters<T> all;

  explicit Zeros(const std::vector<T>& gradient)
      : parameter(Shape{static_cast<Index>(gradient.size())}), all({{"x", &parameter}}) {
    arrive(gradient);
  }
  void arrive(const std::vector<T>& gradient) {
    std::copy(gradient.begin(), gradient.end(), parameter.block()->gradients.data() + parameter.offset());
  }
  T operator[](Index i) const { return parameter.value()[i]; }
};

}  // namespace

TEST_CASE_TEMPLATE("Optimizer: a norm is clipped whose square is outside the range", T, float, double) {
  // A hundred equal entries: each moves by a tenth of the norm.
  const double huge = std::is_same_v<T, float> ? 3e38 : 1.7e308,
               tiny = std::is_same_v<T, float> ? 1e-30 : 1e-250;
  for (const double size : {1e20, huge, 1e-20, tiny, std::is_same_v<T, float> ? 1e30 : 1e160}) {
    CAPTURE(size);
    Zeros<T> x(std::vector<T>(100, static_cast<T>(size)));
    optim::SGD<T> sgd(x.all, {.lr = size < 1 ? 1e10 : 1});
    sgd.clip_norm(size < 1 ? 4 * size : 1);  // below 1e-6 that which keeps it from zero counts
    sgd.step();
    const double norm = 10 * size;
    const double expected = size < 1 ? -1e10 * size * std::min(1.0, 4 * size / (norm + 1e-6)) : -0.1;
    if (std::abs(expected) < 1e-37) continue;  // what moves is too small for float itself
    for (const Index i : {0, 57, 99})
      CHECK(static_cast<double>(x[i]) == doctest::Approx(expected).epsilon(1e-6));
  }
}

TEST_CASE_TEMPLATE("Optimizer: clipping refuses gradients that are not finite, before anything moves", T,
                   float, double) {
  for (const T odd : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    for (const bool by_norm : {true, false}) {
      Zeros<T> x({1000, odd, odd});
      optim::SGD<T> sgd(x.all, {.lr = 1, .momentum = 0.9});
      by_norm ? sgd.clip_norm(1) : sgd.clip_value(1);
      CHECK_ERROR(sgd.step(), "[sgd] the gradient of 'x' is", "at entry 1", "expected");
      CHECK(sgd.steps() == 0);
      for (const Index i : {0, 1, 2}) CHECK(x[i] == 0);
      // Frozen entries have none.
      x.parameter.freeze(Mask::frozen(Shape{3}, {1, 2}));
      sgd.step();
      CHECK(x[0] == doctest::Approx(-1));
      CHECK(x[1] == 0);
    }
  }
}

TEST_CASE_TEMPLATE("Optimizer: entries are clipped by their value, and then by the norm", T, float, double) {
  Zeros<T> x({-5, T(0.5), 30});
  optim::SGD<T> sgd(x.all, {.lr = 1});
  sgd.clip_value(2);
  sgd.step();
  CHECK(x[0] == 2);
  CHECK(x[1] == T(-0.5));
  CHECK(x[2] == -2);
  CHECK(x.parameter.block()->gradients.data()[x.parameter.offset() + 2] == 30);
  sgd.clip_norm(1);  // of (-2, 0.5, 2)
  sgd.step();
  CHECK(x[2] == doctest::Approx(-2 - 2 / std::sqrt(8.25)));
  CHECK(x[1] == doctest::Approx(-0.5 - 0.5 / std::sqrt(8.25)));
  Zeros<T> large(std::vector<T>(100, T(1e30)));
  optim::SGD<T> both(large.all, {.lr = 1});
  both.clip_value(1e25), both.clip_norm(1);
  both.step();
  CHECK(large[7] == doctest::Approx(-0.1));
  CHECK_ERROR(sgd.clip_value(sizeof(T) == 4 ? 1e-50 : 1e-310), "[sgd] gradient entries of at most",
              "below which gradients count as zero");
  CHECK_ERROR(sgd.clip_norm(sizeof(T) == 4 ? 1e-50 : 1e-310), "[sgd] a gradient norm of at most");
  sgd.clip_value(static_cast<double>(std::numeric_limits<T>::min()));
  sgd.clip_norm(static_cast<double>(std::numeric_limits<T>::min()));
  CHECK_ERROR(sgd.clip_value(0), "[sgd]", "positive");
  CHECK_ERROR(sgd.clip_value(-1), "[sgd]", "-1", "positive");
  CHECK_ERROR(sgd.clip_value(std::nan("")), "[sgd]", "positive");
}

TEST_CASE_TEMPLATE("Optimizer: an infinite limit is none, and takes back one that was set", T, float,
                   double) {
  for (const bool by_norm : {true, false}) {
    Zeros<T> x({1000, -2});
    optim::SGD<T> sgd(x.all, {.lr = 1});
    const auto clip = [&](double most) { by_norm ? sgd.clip_norm(most) : sgd.clip_value(most); };
    clip(1), clip(HUGE_VAL);
    sgd.step();
    CHECK(x[0] == -1000);
    CHECK(x[1] == 2);
    x.arrive({std::numeric_limits<T>::quiet_NaN(), 1});  // which is looked at by no limit
    sgd.step();
    CHECK(std::isnan(x[0]));
    CHECK(x[1] == 1);
  }
}

TEST_CASE("Adam: the smallest gradients that move as they should, in float") {
  for (const double lr : {1e-3, 0.5}) {
    const double least = std::numeric_limits<float>::min() / (0.1 * 0.001 * lr);
    Zeros<float> x({static_cast<float>(least), static_cast<float>(-1e3 * least), 0});
    optim::Adam<float> adam(x.all, {.lr = lr, .epsilon = 1e-300});
    for (int t = 0; t < 10; ++t) adam.step();
    CHECK(x[0] == doctest::Approx(-10 * lr).epsilon(1e-3));
    CHECK(x[1] == doctest::Approx(10 * lr).epsilon(1e-5));
    CHECK(x[2] == 0);
  }
}

TEST_CASE("Adam: in float as in double, whatever the size of gradients and of epsilon") {
  Rng rng(5);
  for (const double epsilon : {1e-8, 1e-30, 1e-45, 1e-300}) {
    CAPTURE(epsilon);
    const std::vector<double> sizes{1e20, 1e-20, 1, 0, 1e30, 1e-30, 1e19, 1e-16, 1e10, 1e-10};
    const Index n = 40;  // whole vectors and a rest, with every size next to every other
    Zeros<float> x(std::vector<float>(static_cast<std::size_t>(n)));
    Zeros<double> y(std::vector<double>(static_cast<std::size_t>(n)));
    optim::Adam<float> adam(x.all, {.lr = 0.01, .epsilon = epsilon});
    optim::Adam<double> exact(y.all, {.lr = 0.01, .epsilon = epsilon});
    for (int t = 0; t < 300; ++t) {
      std::vector<float> g;
      for (Index i = 0; i < n; ++i) {
        // In the second hundred the sizes change places, so that moments come back into the range.
        const auto size = static_cast<std::size_t>(t / 100 == 1 ? i + 3 : i) % sizes.size();
        g.push_back(static_cast<float>(sizes[size] * rng.uniform(0.2, 1)));
      }
      x.arrive(g);
      y.arrive(std::vector<double>(g.begin(), g.end()));
      adam.step(), exact.step();
    }
    for (Index i = 0; i < n; ++i) {
      CAPTURE(i);
      CHECK(static_cast<double>(x[i]) == doctest::Approx(y[i]).epsilon(1e-4));
    }
  }
}

TEST_CASE("Adam: in double, gradients whose squares are outside the range") {
  for (const double size : {1e200, 1e-200}) {
    Zeros<double> x({size, -size, 0});
    optim::Adam<double> adam(x.all, {.lr = 0.01, .epsilon = 1e-300});
    for (int t = 0; t < 10; ++t) adam.step();
    CHECK(x[0] == doctest::Approx(-0.1));
    CHECK(x[1] == doctest::Approx(0.1));
    CHECK(x[2] == 0);
  }
}

TEST_CASE("Optimizer: the parameters of a part of a model are trained alone") {
  nn::Sequential<float> model(nn::Linear<float>(3, 2), nn::Linear<float>(2, 4));
  const nn::Parameters<float> all = model.parameters();
  std::fill(all.block()->gradients.data(), all.block()->gradients.data() + all.block()->gradients.size(),
            1.0f);
  optim::Adam<float> optimizer(model[1].parameters(), {.lr = 0.5});
  const Tensor<float> first(all.value(all.entry("0.weight"))), second(all.value(all.entry("1.weight")));
  optimizer.step();
  CHECK(same_bits<const float, const float>(all.value(all.entry("0.weight")), first));
  for (Index i = 0; i < second.size(); ++i) {
    CHECK(all.value(all.entry("1.weight"))[i] == doctest::Approx(second[i] - 0.5f).epsilon(1e-5));
  }
}

TEST_CASE("Optimizer: a parameter on the tape that it does not have is named") {
  nn::Linear<double> known(3, 2), other(2, 1);
  optim::SGD<double> sgd(known.parameters());
  Tape<double> tape;
  const Var<double> x = tape.constant(Tensor<double>({4, 3}));
  const Var<double> y = known(x);
  sgd.require_all_of(tape);
  other(y);
  CHECK_ERROR(sgd.require_all_of(tape), "[sgd] parameter", "weight", "1x2", "expected");
}

TEST_CASE("Optimizer: settings that make no sense are refused") {
  nn::Linear<double> model(2, 1);
  const auto sgd = [&](const optim::SGDOptions& options) { optim::SGD<double>(model.parameters(), options); };
  const auto adam = [&](const optim::AdamOptions& options) {
    optim::Adam<double>(model.parameters(), options);
  };
  const auto adamw = [&](const optim::AdamWOptions& options) {
    optim::AdamW<double>(model.parameters(), options);
  };
  CHECK_ERROR(sgd({.lr = -0.5}), "[sgd]", "lr", "-0.5", "0 or more");
  CHECK_ERROR(sgd({.lr = std::nan("")}), "[sgd]", "lr");
  CHECK_ERROR(sgd({.lr = HUGE_VAL}), "[sgd]", "lr", "inf");
  CHECK_ERROR(sgd({.momentum = -1}), "[sgd]", "momentum", "-1");
  CHECK_ERROR(sgd({.dampening = -1}), "[sgd]", "dampening");
  CHECK_ERROR(sgd({.weight_decay = -1}), "[sgd]", "weight_decay");
  CHECK_ERROR(sgd({.nesterov = true}), "[sgd]", "Nesterov", "momentum 0", "expected momentum");
  CHECK_ERROR(sgd({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), "[sgd]", "Nesterov",
              "dampening 0.1");
  CHECK_ERROR(adam({.lr = -1}), "[adam]", "lr");
  CHECK_ERROR(adam({.beta1 = 1}), "[adam]", "beta1 1", "0 <= number < 1");
  CHECK_ERROR(adam({.beta2 = 1.5}), "[adam]", "beta2 1.5");
  CHECK_ERROR(adam({.beta2 = -0.1}), "[adam]", "beta2");
  CHECK_ERROR(adam({.epsilon = -1e-8}), "[adam]", "epsilon");
  CHECK_ERROR(adamw({.weight_decay = -1}), "[adamw]", "weight_decay");
  CHECK_ERROR(adamw({.beta1 = 2}), "[adamw]", "beta1");
  CHECK_ERROR(sgd({.groups = {{.match = "*.bias"}}}), "[sgd]", "'*.bias'", "some parameter matches");
  CHECK_ERROR(adam({.groups = {{.match = "bias", .lr = -2}}}), "[adam]", "lr -2");
  CHECK_ERROR(adam({.groups = {{.match = "bias", .weight_decay = -2}}}), "[adam]", "weight_decay -2");
}

TEST_CASE("Adam: an epsilon that is not a positive finite number is refused") {
  nn::Linear<double> model(2, 1);
  for (const double epsilon : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    CHECK_ERROR(optim::Adam(model.parameters(), {.epsilon = epsilon}), "[adam] epsilon", "finite");
    CHECK_ERROR(optim::AdamW(model.parameters(), {.epsilon = epsilon}), "[adamw] epsilon", "finite");
  }
}

TEST_CASE("Optimizer: refuses to go on when the parameters were laid out anew") {
  nn::Sequential<float> model(nn::Linear<float>(3, 2));
  optim::Adam<float> before(model.parameters());
  before.step();
  model.parameters();  // laid out already
  before.step();
  sparsity::factorize(model, sparsity::Groups::inputs);
  CHECK_ERROR(before.step(), "[adam]", "laid out anew", "build a new one");
  CHECK(before.steps() == 2);

  optim::SGD<float> factors(model.parameters());
  factors.step();
  sparsity::collapse(model);
  CHECK_ERROR(factors.step(), "[sgd]", "laid out anew");

  optim::SGD<float> part(model[0].parameters());
  part.step();
  nn::Sequential<float> copy = model;
  copy.parameters();  // of its own
  part.step();
}

TEST_CASE("Optimizer: refuses to go on when the model was assigned over") {
  nn::Sequential<float> chain(nn::Linear<float>(3, 2));
  nn::Linear<float> layer(3, 2);
  const nn::Sequential<float> other_chain = chain;
  const nn::Linear<float> other_layer = layer;
  optim::SGD<float> on_chain(chain.parameters()), on_layer(layer.parameters());
  on_chain.step();
  on_layer.step();
  chain = other_chain;
  layer = other_layer;
  CHECK_ERROR(on_chain.step(), "[sgd]", "laid out anew");
  CHECK_ERROR(on_layer.step(), "[sgd]", "laid out anew");
  optim::SGD<float> again(chain.parameters());
  again.step();
}

TEST_CASE("Optimizer: an lr factor that makes no sense is refused and changes nothing") {
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 0.5});
  sgd.set_lr_factor(0.25);
  CHECK(sgd.lr() == 0.125);
  CHECK_ERROR(sgd.set_lr_factor(-1), "[sgd]", "lr factor -1", "0 or more");
  CHECK_ERROR(sgd.set_lr_factor(std::nan("")), "[sgd]", "lr factor");
  CHECK_ERROR(sgd.set_lr_factor(HUGE_VAL), "[sgd]", "lr factor inf");
  CHECK(sgd.lr() == 0.125);
}

TEST_CASE("Optimizer: places that are no longer the model's are refused") {
  nn::Sequential<double> model(nn::Linear<double>(3, 2), nn::Linear<double>(2, 1));
  const auto stale = model.parameters();
  sparsity::factorize(model, sparsity::Groups::elements);
  const auto factors = model.parameters();
  optim::SGD<double> sgd(stale);
  CHECK_ERROR(sgd.step(), "[sgd]", "laid out anew");
  CHECK_FALSE(sgd.optimizes(factors));
  CHECK(optim::SGD<double>(factors).optimizes(model.parameters()));
  CHECK_FALSE(optim::SGD<double>(model[0].parameters()).optimizes(factors));
  sparsity::collapse(model);
  CHECK_ERROR(optim::AdamW<double>(factors),
              "a factor of a product");  // still known, though its weight is gone
}
