// One training step (forward, loss, backward, optimizer) of three networks: factorized against dense,
// replayed by hand against whole epochs of fit(), and against what fit() looks at before it moves. Against
// PyTorch: training_steps.py, which has the same networks and runs this program with --serve.

#include <cmath>
#include <memory>
#include <stdexcept>
#include <taper/autodiff/finite.hpp>
#include <taper/taper.hpp>

#include "limits.hpp"
#include "numbers.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::fill, bench::Role, bench::Table;

namespace {

struct Network {
  const char* name;
  const char* layers;
  Index batch, rows;  // of an epoch
  std::vector<Index> widths;
  sparsity::Groups groups;  // when it is factorized
  nn::Loss<float> loss;
  Index classes;  // 0: the targets are numbers, 1: they are 0 or 1
  optim::AdamOptions adam;
};

const std::vector<Network>& networks() {
  static const std::vector<Network> all{
      {"madelon",
       "500-1, logistic, batch 8",
       8,
       2600,
       {500, 1},
       sparsity::Groups::elements,
       nn::bce_with_logits_loss,
       1,
       {.lr = 1e-4, .weight_decay = 1e-2, .groups = {{"*bias", {}, 0.0}}}},
      {"california",
       "8-32-64-32-1, batch 128",
       128,
       16512,
       {8, 32, 64, 32, 1},
       sparsity::Groups::inputs,
       nn::mse_loss,
       0,
       {.lr = 2e-3, .weight_decay = 1e-3}},
      {"lenet",
       "784-300-100-10, batch 128",
       128,
       1280,
       {784, 300, 100, 10},
       sparsity::Groups::inputs,
       nn::cross_entropy_loss,
       10,
       {.lr = 1e-3}},
  };
  return all;
}

data::Dataset<float> examples(const Network& of, Index rows) {
  data::Dataset<float> set;
  set.x = Tensor<float>({rows, of.widths.front()});
  set.y = of.classes > 1 ? Tensor<float>({rows}) : Tensor<float>({rows, 1});
  fill(set.x, 0, 1);
  fill(set.y, 1, 1);
  if (of.classes == 1)
    for (float& y : set.y) y = y > 0 ? 1.0f : 0.0f;
  if (of.classes > 1)
    for (float& y : set.y) y = std::floor(0.5f * (y + 1) * static_cast<float>(of.classes));
  return set;
}

nn::Sequential<float> build(const Network& of, bool factorized) {
  nn::Sequential<float> net;
  for (std::size_t i = 0; i + 1 < of.widths.size(); ++i) {
    if (i > 0) net.push_back(nn::ReLU());
    net.push_back(nn::Linear(of.widths[i], of.widths[i + 1]));
  }
  if (factorized) sparsity::factorize(net, of.groups);
  // Gates start at 1, all else near zero.
  const nn::Parameters<float> parameters = net.parameters();
  Index k = 2;
  for (const auto& entry : parameters.entries()) {
    const View<float> values = parameters.value(entry);
    if (entry.name.ends_with(".v")) {
      std::fill(values.begin(), values.end(), 1.0f);
    } else {
      const Index inputs = entry.shape.rank() == 2 ? entry.shape[1] : 1;
      fill(values, k, static_cast<float>(1 / std::sqrt(static_cast<double>(inputs))));
    }
    ++k;
  }
  return net;
}

/// A step on one batch, recorded once.
struct Training {
  nn::Sequential<float> net;
  nn::Parameters<float> parameters;
  optim::Adam<float> adam;
  Tape<float> tape{Mode::training};
  Var<float> loss;

  Training(const Network& of, bool factorized)
      : net(build(of, factorized)), parameters(net.parameters()), adam(parameters, of.adam) {
    const data::Dataset<float> batch = examples(of, of.batch);
    tape.keep_gradients(false);  // as fit() does
    loss = of.loss(net(tape.constant(batch.x)), tape.constant(batch.y));
  }
  void step() {
    tape.value_and_gradient(loss);
    adam.step();
  }
  /// As fit() looks at the loss and the gradient before the optimizer moves.
  void check() const {
    const auto& gradient = parameters.block()->gradients;
    if (!std::isfinite(loss.item()) ||
        first_not_finite(gradient.data(), static_cast<Index>(gradient.size())) >= 0) {
      throw std::runtime_error("what is measured is not finite");
    }
  }
  void checked_step() {
    tape.value_and_gradient(loss);
    check();
    adam.step();
  }
};

Contender step(const Network& of, bool factorized, const char* name, Role role) {
  const auto training = std::make_shared<Training>(of, factorized);
  return {name, role, [=] { training->step(); }, 1,
          [=] { return static_cast<double>(training->loss.item()); }};
}

/// Whole epochs, with a fresh start of fit() every few.
Contender fit(const Network& of) {
  constexpr Index epochs = 5;
  const Index steps = epochs * (of.rows / of.batch);
  const auto net = std::make_shared<nn::Sequential<float>>(build(of, true));
  const auto set = std::make_shared<data::Dataset<float>>(examples(of, of.rows));
  const auto adam = std::make_shared<optim::Adam<float>>(net->parameters(), of.adam);
  return {"fit()", Role::peer,
          [=, &of] {
            train::fit(*net, *set, of.loss, *adam,
                       {.epochs = epochs, .batch_size = of.batch, .progress = train::Progress::quiet});
          },
          static_cast<double>(steps)};
}

/// A step, the same with the check that everything is finite, and the check alone: it takes so little that
/// the first two differ by no more than their noise.
std::vector<Contender> finite_check(const Network& of) {
  const auto training = std::make_shared<Training>(of, true);
  return {{"step", Role::subject, [=] { training->step(); }},
          {"checked step", Role::other, [=] { training->checked_step(); }},
          {"check", Role::other, [=] { training->check(); }}};
}

/// The products alone, were they done at the machine's peak: a layer's output, its weight's gradient and, but
/// for the first one, its input's.
Contender peak(const Network& of) {
  double operations = 0;
  for (std::size_t i = 0; i + 1 < of.widths.size(); ++i)
    operations += (i > 0 ? 6.0 : 4.0) * static_cast<double>(of.batch * of.widths[i] * of.widths[i + 1]);
  return {"products at FMA peak", Role::limit, [] { bench::multiply_add<float>(); },
          bench::multiply_add<float>() / operations};
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  Table steps{
      "step", "A factorized training step against a dense one", "network", bench::microseconds("step"), {}};
  Table fits{"fit", "fit() against the step alone, factorized", "network", bench::microseconds("step"), {}};
  Table checks{"finite_check",
               "The check of fit() that loss and gradient are finite, against the step, factorized",
               "network",
               bench::microseconds("step"),
               {}};
  for (const Network& of : networks()) {
    steps.cases.push_back({of.name, 1, [&of] {
                             return std::vector{step(of, false, "dense", Role::subject),
                                                step(of, true, "factorized", Role::peer), peak(of)};
                           }});
    fits.cases.push_back({of.name, 1, [&of] {
                            return std::vector{step(of, true, "step", Role::subject), fit(of)};
                          }});
    checks.cases.push_back({of.name, 1, [&of] { return finite_check(of); }});
  }
  return bench::main(argc, argv, {steps, fits, checks});
}
