// The textbook case of a masked variable: minimize f(x) = sum (x - 3)^2 from x0 = (1, 2, 4, 5) over entries 0
// and 2, with entries 1 and 3 held. The answer is (3, 2, 3, 5). Five ways to it, and one that misses.

#include <fmt/core.h>

#include <cstring>
#include <taper/taper.hpp>

#include "common.hpp"

using namespace taper;
using Eigen::Vector4d;

namespace {

const Vector4d x0(1, 2, 4, 5);
const Mask mask = Mask::free({true, false, true, false});
// Weight decay moves the minimum by this, relative to x: small enough not to be seen in the answer.
constexpr double decay = 1e-6;

double f(const Vector4d& x) {
  return (x.array() - 3).square().sum();
}

Var<double> f_on_tape(Var<double> x) {
  return sum(square(x - 3.0));
}

struct Result {
  const char* name;
  const char* title;
  Vector4d x;
  Index evaluations;
};

/// Gradient descent by hand: the mask chooses which entries move.
Result descent_loop() {
  Vector4d x = x0;
  for (int step = 0; step < 100; ++step) {
    const Vector4d gradient = 2 * (x.array() - 3);
    for (const Index i : mask.free_positions()) x(i) -= 0.1 * gradient(i);
  }
  return {"descent_loop", "descent loop, 100 steps of rate 0.1", x, 100};
}

Result minimize_differences() {
  const auto result = optim::minimize(f, x0, {.mask = mask});
  return {"minimize_differences", "minimize, gradient by differences", result.x, result.evaluations};
}

Result lbfgs_tape() {
  const auto result = optim::minimize(f_on_tape, x0, {.method = optim::LBFGS{}, .mask = mask});
  return {"lbfgs_tape", "minimize, L-BFGS on the tape", result.x, result.evaluations};
}

/// A module whose only parameter is x.
struct Model : nn::Layer<double> {
  nn::Parameter<double> x{Shape{4}};
  Model() { x.value().vector() = x0; }
  void visit(nn::Visitor<double>& m) const override { m("x", x); }
  Var<double> forward(Var<double> at) const override { return f_on_tape(x.bind(at.tape())); }
};

/// Trains the model as one trains a network. `on_gradient` may spoil the gradient before each step.
template <class Optimizer, class Options, class F>
Vector4d train(Model model, const Options& options, Index steps, const F& on_gradient) {
  Optimizer optimizer(model.parameters(), options);
  Tape<double> tape;
  const auto loss = model(tape.input({}));
  for (Index step = 0; step < steps; ++step) {
    tape.replay();
    tape.backward(loss);
    on_gradient(model);
    optimizer.step();
  }
  return model.x.value().vector();
}

Model masked_model() {
  Model model;
  model.x.freeze(mask);
  return model;
}

const optim::SGDOptions sgd{.lr = 0.05, .momentum = 0.9, .weight_decay = decay};
const optim::AdamOptions adam{.lr = 0.05, .weight_decay = decay};

Result module_sgd() {
  const Vector4d x = train<optim::SGD<double>>(masked_model(), sgd, 1000, [](Model&) {});
  return {"module_sgd", "masked parameter, SGD with momentum and decay", x, 1000};
}

Result module_adam() {
  const Vector4d x = train<optim::Adam<double>>(masked_model(), adam, 1000, [](Model&) {});
  return {"module_adam", "masked parameter, Adam with decay", x, 1000};
}

/// The usual recipe: no mask, and the gradient multiplied by 0 or 1. Decay is added behind that, and Adam
/// divides it by its own size: the "frozen" entries move by the full rate, however small the decay is.
Result naive_adam() {
  const Vector4d x = train<optim::Adam<double>>(Model(), adam, 1000, [](Model& model) {
    const auto parameters = model.parameters();
    const View<double> gradient = parameters.gradient(parameters.entry("x"));
    for (Index i = 0; i < 4; ++i) gradient[i] *= mask.is_free(i) ? 1 : 0;
  });
  return {"naive_adam", "gradient times 0 or 1, Adam with decay", x, 1000};
}

bool frozen_bits_unchanged(const Vector4d& x) {
  for (const Index i : (~mask).free_positions()) {
    if (std::memcmp(&x(i), &x0(i), sizeof(double)) != 0) return false;
  }
  return true;
}

void print(const Result& result) {
  const Vector4d& x = result.x;
  fmt::print("{:<46} {:>9.6f} {:>9.6f} {:>9.6f} {:>9.6f} {:>12} {:>10}\n", result.title, x(0), x(1), x(2),
             x(3), result.evaluations, frozen_bits_unchanged(x) ? "yes" : "NO");
}

void program(const apps::CommonOptions& options) {
  set_threads(options.threads);
  apps::Json report{{"x0", std::vector<double>(x0.begin(), x0.end())},
                    {"free", mask.free_positions()},
                    {"methods", apps::Json::object()}};
  if (options.prints()) {
    fmt::print("f(x) = sum (x - 3)^2 from x0 = (1, 2, 4, 5), entries 0 and 2 free\n\n");
    fmt::print("{:<46} {:>9} {:>9} {:>9} {:>9} {:>12} {:>10}\n", "method", "x[0]", "x[1]", "x[2]", "x[3]",
               "evaluations", "bits held");
  }
  const auto add = [&](apps::Json& to, const Result& result) {
    to[result.name] = {{"x", std::vector<double>(result.x.begin(), result.x.end())},
                       {"evaluations", result.evaluations},
                       {"frozen_bits_unchanged", frozen_bits_unchanged(result.x)}};
    if (options.prints()) print(result);
  };
  for (const auto method : {descent_loop, minimize_differences, lbfgs_tape, module_sgd, module_adam}) {
    add(report["methods"], method());
  }
  if (options.prints()) fmt::print("\nWhat the usual recipe does:\n");
  add(report["naive"], naive_adam());
  apps::save(report, options);
}

}  // namespace

int main(int argc, char** argv) {
  apps::CommonOptions options;
  apps::Command command("masked_quadratic",
                        "Minimizes sum (x - 3)^2 over some of its variables, in several ways.");
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
