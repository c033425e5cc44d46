#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"

/// A training with all that a state has to hold: two inputs, weights of samples, running statistics, dropout,
/// a factorized parameter, frozen entries, a validation set, early stopping.
namespace training {

using namespace taper;

/// Two inputs, one of them centred by a running mean.
template <class T> struct TwoInputs : nn::Module<T> {
  nn::Linear<T> left{3, 8}, right{2, 8}, out{8, 1};
  nn::Buffer<T> running{Shape{2}};

  void visit(nn::Visitor<T>& v) const override {
    v("left", left), v("right", right), v("out", out), v("running", running);
  }
  std::vector<Var<T>> record(std::span<const Var<T>> x) const override {
    Tape<T>& tape = x[0].tape();
    Var<T> shift = running.bind(tape);
    if (tape.training()) {
      const Var<T> batch = mean(x[1], 0);
      running.assign_later(tape, shift * T(0.9) + batch * T(0.1));
      shift = batch;
    }
    const Var<T> hidden = tanh(left(x[0]) + right(x[1] - shift));
    return {out(tape.training() ? dropout(hidden, 0.2) : hidden)};
  }
};

template <class T> struct Columns {
  Tensor<T> left, right, targets, weights;

  Columns(Index rows, std::uint64_t seed)
      : left(normal_tensor<T>({rows, 3}, seed)),
        right(normal_tensor<T>({rows, 2}, seed + 1)),
        targets(normal_tensor<T>({rows, 1}, seed + 2)),
        weights(Shape{rows}) {
    Rng rng(seed + 3);
    for (Index i = 0; i < rows; ++i) {
      right[2 * i] += 3;
      weights[i] = static_cast<T>(rng.uniform(0.1, 2));
      targets[i] += left[3 * i] + right[2 * i + 1];
    }
  }
  std::vector<View<const T>> views() const { return {left, right, targets, weights}; }
};

template <class T> struct Everything {
  Columns<T> columns{23, 10}, validation{9, 20};
  TwoInputs<T> model;
  std::unique_ptr<optim::Adam<T>> adam;
  train::FitOptions<T> options{.epochs = 6, .batch_size = 4, .seed = 7, .progress = train::Progress::quiet};

  Everything() {
    manual_seed(5);
    model = TwoInputs<T>();
    sparsity::factorize(model, sparsity::Groups::inputs, "left.weight");
    model.freeze("right.weight", Mask::frozen(Shape{8, 2}, {1, 4, 5}));
    adam = std::make_unique<optim::Adam<T>>(model.parameters(),
                                            optim::AdamOptions{.lr = 0.01, .weight_decay = 1e-3});
    options.validation_columns = validation.views();
    options.early_stopping = train::EarlyStopping{.patience = 50};
    options.schedule = optim::one_cycle_schedule();
    options.augment = [](std::span<const View<T>> rows, Rng& rng) {
      for (T& entry : rows[0]) entry += static_cast<T>(0.1 * rng.normal());
    };
  }

  train::Step<T> step() const {
    return [this](Tape<T>&, std::span<const Var<T>> in) {
      return mean(in[3] * square(model.record(in.first(2))[0] - in[2]));
    };
  }
  train::Trainer<T> trainer() { return {model, columns.views(), step(), *adam, options}; }
};

/// All of a state but for times, as a text.
template <class T> std::string text_of(const train::TrainerState<T>& state) {
  std::ostringstream text;
  text << std::hexfloat;
  const auto put = [&](const std::string& name, const Tensor<T>& tensor) {
    text << "\n  " << name << ' ' << tensor.shape() << ':';
    for (const T entry : tensor) text << ' ' << entry;
  };
  const auto put_words = [&](const char* name, const Rng::State& words) {
    text << '\n' << name;
    for (const std::uint64_t word : words) text << ' ' << word;
  };
  text << state.epoch << ' ' << state.batch << ' ' << state.loss << ' ' << state.last_lr_factor << ' '
       << state.batch_size << ' ' << state.accumulate << ' ' << state.shuffle << ' ' << state.seed << ' '
       << state.rows << ' ' << state.data_checksum;
  put_words("seeds", state.seeds);
  put_words("weights", state.random.weights);
  put_words("tapes", state.random.tapes);
  for (const auto& part : state.parameters) {
    put(part.name, part.value);
    for (Index i = 0; i < part.mask.size(); ++i) text << (part.mask.is_free(i) ? '#' : '.');
  }
  for (const auto& part : state.buffers) put(part.name, part.value);
  text << "\noptimizer " << state.optimizer.kind << ' ' << state.optimizer.steps << ' '
       << state.optimizer.lr_factor;
  for (const auto& [name, value] : state.optimizer.settings) text << '\n' << name << ' ' << value;
  for (const std::string& name : state.optimizer.tensor_names) text << ' ' << name;
  for (const auto& entry : state.optimizer.entries) {
    for (const Tensor<T>& tensor : entry.tensors) put(entry.name, tensor);
    for (const Index made : entry.steps) text << ' ' << made;
  }
  if (state.best) {
    text << "\nbest " << state.best->loss << ' ' << state.best->waited << ' ' << state.best->kept_loss << ' '
         << state.best->is_of_present_masks;
    for (const Tensor<T>& tensor : state.best->parameters) put("kept", tensor);
    for (const Tensor<T>& tensor : state.best->buffers) put("kept buffer", tensor);
  }
  text << '\n' << state.history.stopped;
  for (const train::Epoch& epoch : state.history.epochs) {
    text << '\n' << epoch.number << ' ' << epoch.loss << ' ' << epoch.lr;
    if (epoch.validation_loss) text << ' ' << *epoch.validation_loss;
  }
  return text.str();
}

}  // namespace training
