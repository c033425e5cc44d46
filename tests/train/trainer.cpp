#include <taper/train/trainer.hpp>

#include <cmath>
#include <limits>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/sgd.hpp>

#include "../check.hpp"
#include "training.hpp"

using namespace taper;
using training::Everything, training::text_of;

namespace {

constexpr auto unseen = train::Progress::quiet;

data::Dataset<double> plane(Index rows) {
  data::Dataset<double> set{normal_tensor<double>({rows, 2}, 3), Tensor<double>({rows, 1}), {}, {}};
  for (Index i = 0; i < rows; ++i) set.y[i] = set.x[2 * i] - 2 * set.x[2 * i + 1] + 0.5;
  return set;
}

}  // namespace

TEST_CASE_TEMPLATE("trainer: stopped after any step, another one goes on with the same bits", T, float,
                   double) {
  for (const Index accumulate : {1, 2, 4}) {
    CAPTURE(accumulate);
    std::vector<train::TrainerState<T>> states;
    Everything<T> whole;
    whole.options.accumulate = accumulate;
    train::Trainer<T> trainer = whole.trainer();
    while (!trainer.is_done()) {
      states.push_back(trainer.state());
      trainer.step();
    }
    const std::string end = text_of(trainer.state());
    CHECK(trainer.history().epochs.size() == 6);
    CHECK(states.size() == static_cast<std::size_t>(accumulate == 1 ? 36 : accumulate == 2 ? 18 : 12));
    for (const train::TrainerState<T>& state : states) {
      Everything<T> other;
      other.options.accumulate = accumulate;
      train::Trainer<T> again = other.trainer();
      manual_seed(99);
      again.load_state(state);
      CHECK(text_of(again.state()) == text_of(state));
      again.run();
      CHECK(text_of(again.state()) == end);
    }
    // Also in the same trainer, whatever it has done since.
    trainer.load_state(states[7]);
    trainer.run();
    CHECK(text_of(trainer.state()) == end);
  }
}

TEST_CASE("trainer: 5 + 5 epochs are 10 epochs, and so are 60 steps, and fit") {
  const auto trained = [](const auto& run) {
    Everything<double> all;
    all.options.epochs = 10;
    run(all);
    std::ostringstream text;
    text << std::hexfloat;
    for (const auto& entry : all.model.parameters().entries()) {
      for (const double element : all.model.parameters().value(entry)) text << element << ' ';
    }
    return text.str() + std::to_string(all.model.running.value()[0]);
  };
  const std::string expected = trained([](auto& all) {
    train::Trainer<double> trainer = all.trainer();
    CHECK(trainer.run().epochs.size() == 10);
    CHECK(trainer.is_done());
    CHECK(trainer.run().epochs.size() == 10);
    trainer.finish();
  });
  CHECK(expected == trained([](auto& all) {
          train::Trainer<double> trainer = all.trainer();
          CHECK(trainer.run(5).epochs.size() == 5);
          CHECK_FALSE(trainer.is_done());
          CHECK(trainer.run(5).epochs.size() == 10);
          trainer.finish();
        }));
  CHECK(expected == trained([](auto& all) {
          train::Trainer<double> trainer = all.trainer();
          for (int i = 0; i < 8; ++i) trainer.step();
          CHECK(trainer.epoch() == 1);
          CHECK(trainer.batch() == 2);
          CHECK(trainer.run_epoch().number == 1);
          CHECK(trainer.batch() == 0);
          trainer.run();
          trainer.finish();
          trainer.finish();
        }));
  CHECK(expected == trained([](auto& all) {
          train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
        }));
  CHECK(expected != trained([](auto& all) {
          all.options.augment = {};
          train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
        }));
}

TEST_CASE("fit: batches are augmented with numbers of their own, and the data stay as they are") {
  const auto set = plane(11);
  const auto kept = set.x;
  manual_seed(2);
  nn::Sequential<double> net(nn::Linear(2, 1));
  optim::SGD<double> sgd(net.parameters(), {.lr = 0.1});
  std::vector<double> drawn;
  std::vector<Shape> shapes;
  train::FitOptions<double> options{.epochs = 3, .batch_size = 4, .progress = train::Progress::quiet};
  options.augment = [&](std::span<const View<double>> rows, Rng& rng) {
    CHECK(rows.size() == 2);
    shapes.push_back(rows[0].shape());
    drawn.push_back(rng.uniform());
    for (double& entry : rows[0]) entry = 0;
  };
  train::fit(net, set, nn::mse_loss, sgd, options);
  CHECK(shapes == std::vector<Shape>{{4, 2}, {4, 2}, {3, 2}, {4, 2}, {4, 2}, {3, 2}, {4, 2}, {4, 2}, {3, 2}});
  std::ranges::sort(drawn);
  CHECK(std::ranges::adjacent_find(drawn) == drawn.end());
  CHECK(std::ranges::equal(set.x, kept));
}

TEST_CASE("trainer: a step with the model and loss is the one that fit makes of them") {
  const auto set = plane(11);
  const auto trained = [&](const auto& run) {
    manual_seed(2);
    nn::Sequential<double> net(nn::Linear(2, 4), nn::Tanh(), nn::Linear(4, 1));
    optim::SGD<double> sgd(net.parameters(), {.lr = 0.1});
    run(net, sgd);
    return train::predict(net, set.x);
  };
  const train::FitOptions<double> options{.epochs = 3, .batch_size = 4, .progress = unseen};
  const auto by_loss =
      trained([&](auto& net, auto& sgd) { train::fit(net, set, nn::mse_loss, sgd, options); });
  const auto by_step = trained([&](auto& net, auto& sgd) {
    train::fit(
        net, {set.x, set.y},
        [&](Tape<double>&, std::span<const Var<double>> in) { return mse_loss(net(in[0]), in[1]); }, sgd,
        options);
  });
  CHECK(same_bits(by_loss.view(), by_step.view()));
}

TEST_CASE("trainer: weights of samples count rows as often as they say") {
  // Weight 2 is the row twice, weight 0 none at all.
  const auto set = plane(8);
  Tensor<double> weights({8}, {0, 1, 2, 1, 0, 2, 1, 1});
  data::Dataset<double> repeated{Tensor<double>({8, 2}), Tensor<double>({8, 1}), {}, {}};
  Index row = 0;
  for (Index i = 0; i < 8; ++i) {
    for (double w = weights[i]; w > 0; --w, ++row) {
      std::copy_n(set.x.data() + 2 * i, 2, repeated.x.data() + 2 * row);
      repeated.y[row] = set.y[i];
    }
  }
  REQUIRE(row == 8);
  const train::FitOptions<double> options{.epochs = 50, .batch_size = 8, .progress = unseen};
  nn::Linear<double> weighted(2, 1), plain = weighted;
  train::fit(
      weighted, {set.x, set.y, weights},
      [&](Tape<double>&, std::span<const Var<double>> in) {
        return mean(in[2] * square(weighted(in[0]) - in[1]));
      },
      optim::SGD(weighted.parameters(), {.lr = 0.1}), options);
  train::fit(plain, repeated, nn::mse_loss, optim::SGD(plain.parameters(), {.lr = 0.1}), options);
  CHECK(apart(weighted.weight.value(), plain.weight.value()) < 1e-12);
}

TEST_CASE("trainer: accumulated batches make the step of one large batch") {
  const auto set = plane(23);
  const auto trained = [&](Index batch_size, Index accumulate, double scale = 1) {
    manual_seed(4);
    nn::Sequential<double> net(nn::Linear(2, 4), nn::Tanh(), nn::Linear(4, 1));
    const nn::Loss<double> loss = [=](Var<double> prediction, Var<double> target) {
      return scale * mse_loss(prediction, target);
    };
    optim::SGD<double> sgd(net.parameters(), {.lr = 0.1 / scale, .momentum = 0.9});
    const auto history =
        train::fit(net, set, loss, sgd,
                   {.epochs = 5, .batch_size = batch_size, .progress = unseen, .accumulate = accumulate});
    CHECK(sgd.steps() == 5 * ((23 + batch_size * accumulate - 1) / (batch_size * accumulate)));
    return std::pair(train::predict(net, set.x), history.epochs.back().loss / scale);
  };
  for (const auto& [batch_size, accumulate] : {std::pair<Index, Index>{3, 2}, {2, 3}, {1, 6}}) {
    for (const double scale : {1.0, 1e-8, 1e8}) {
      const auto [whole, whole_loss] = trained(6, 1, scale);
      const auto [parts, loss] = trained(batch_size, accumulate, scale);
      CHECK(apart(parts.view(), whole.view()) < 1e-12);
      CHECK(loss == doctest::Approx(whole_loss).epsilon(1e-12));
    }
  }
  const auto [whole, whole_loss] = trained(23, 1);
  const auto [parts, loss] = trained(5, 100);  // more than there are
  CHECK(apart(parts.view(), whole.view()) < 1e-12);
  nn::Linear<double> model(2, 1);
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, optim::SGD(model.parameters()),
                         {.progress = unseen, .accumulate = 0}),
              "[fit] 0 batches in a step: expected 1 or more");
}

TEST_CASE("trainer: schedules are asked per step, with the losses of all epochs before") {
  const auto set = plane(10);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 1e-3});
  std::vector<optim::TrainingTime> times;
  std::vector<std::size_t> known;
  train::FitOptions<double> options{.epochs = 3, .batch_size = 3, .progress = unseen, .accumulate = 2};
  options.schedule = [&](const optim::TrainingTime& at) {
    times.push_back(at);
    known.push_back(at.losses.size());
    return 1 / static_cast<double>(at.step + 1);
  };
  train::Trainer<double> trainer(model, set, nn::mse_loss, sgd, options);
  for (Index step = 0; step < 6; ++step) {
    trainer.step();
    CHECK(sgd.lr_factor() == 1 / static_cast<double>(step + 1));
  }
  REQUIRE(times.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(times[i].step == static_cast<Index>(i));
    CHECK(times[i].epoch == static_cast<Index>(i / 2));
    CHECK(times[i].steps == 6);
    CHECK(times[i].epochs == 3);
    CHECK(known[i] == i / 2);
  }
  trainer.finish();
  CHECK(sgd.lr_factor() == 1);
  CHECK(trainer.history().epochs.back().lr == 1e-3 / 6);

  options.schedule = optim::plateau_schedule({.factor = 0.5, .patience = 0, .threshold = 1});
  options.epochs = 4;
  const auto history = train::fit(model, set, nn::mse_loss, sgd, options);
  CHECK(history.epochs[1].lr == 1e-3);  // the first loss is the best so far, whatever it is
  CHECK(history.epochs[2].lr == 1e-3 / 2);
  CHECK(history.epochs[3].lr == 1e-3 / 4);
  options.schedule = optim::one_cycle_schedule();
  CHECK(train::fit(model, set, nn::mse_loss, sgd, options).epochs.back().lr ==
        doctest::Approx(1e-3 * optim::OneCycle{}.last));
}

TEST_CASE("trainer: the best buffers come back with the best parameters") {
  Everything<double> all;
  all.options.early_stopping->patience = 3;
  all.options.epochs = 100;
  all.options.schedule = [](Index epoch) { return epoch < 4 ? 1.0 : 100.0; };
  std::vector<double> running, losses;
  all.options.callbacks = {[&](const train::Epoch& epoch) {
    running.push_back(all.model.running.value()[0]);
    losses.push_back(*epoch.validation_loss);
    return true;
  }};
  const auto history = train::fit(all.model, all.columns.views(), all.step(), *all.adam, all.options);
  CHECK(history.stopped == "no improvement");
  const auto best = static_cast<std::size_t>(std::ranges::min_element(losses) - losses.begin());
  REQUIRE(best + 4 == losses.size());
  CHECK(all.model.running.value()[0] == running[best]);
  CHECK(running.back() != running[best]);
  CHECK(train::evaluate(all.model, all.validation.views(), all.step()) == losses[best]);
}

TEST_CASE("trainer: masks that a callback changes are part of the state") {
  const auto make = [](Everything<double>& all) {
    all.options.callbacks = {[&](const train::Epoch& epoch) {
      if (epoch.number == 2) all.model.prune("out.weight", Mask::frozen(Shape{1, 8}, {2, 3}));
      if (epoch.number == 4) all.model.thaw("out.weight");
      return true;
    }};
  };
  Everything<double> whole;
  make(whole);
  train::Trainer<double> trainer = whole.trainer();
  std::vector<train::TrainerState<double>> states;
  while (!trainer.is_done()) {
    trainer.step();
    states.push_back(trainer.state());
  }
  CHECK_FALSE(states[17].best->is_of_present_masks);
  CHECK(states[18].best->is_of_present_masks);
  for (const std::size_t at : {2, 16, 17, 18, 28, 29, 30, 35}) {
    Everything<double> other;
    make(other);
    train::Trainer<double> again = other.trainer();
    again.load_state(states[at]);
    again.run();
    CHECK(text_of(again.state()) == text_of(states.back()));
  }
}

TEST_CASE("trainer: a state goes into a trainer that was made in the same way, and into no other") {
  Everything<double> all;
  train::Trainer<double> trainer = all.trainer();
  for (int i = 0; i < 8; ++i) trainer.step();
  const train::TrainerState<double> state = trainer.state();
  const auto load_with = [&](const auto& change) {
    Everything<double> other;
    change(other);
    train::Trainer<double> again = other.trainer();
    const std::string before = text_of(again.state());
    const std::string error = error_text([&] { again.load_state(state); });
    if (error != "(no error was thrown)") CHECK(text_of(again.state()) == before);
    return error;
  };
  const auto has = [](const std::string& text, const char* words) {
    INFO(text, " has ", words);
    CHECK(text.find(words) != std::string::npos);
  };
  has(load_with([](auto& other) { other.options.batch_size = 5; }),
      "[trainer] a state of a training with the batch size 4: expected 5");
  has(load_with([](auto& other) { other.options.seed = 8; }), "the seed 7: expected 8");
  has(load_with([](auto& other) { other.options.shuffle = false; }), "the setting shuffle 1: expected 0");
  has(load_with([](auto& other) { other.options.accumulate = 2; }), "batches in a step 1: expected 2");
  has(load_with([](auto& other) { other.columns = training::Columns<double>(22, 10); }),
      "the number of rows 23: expected 22");
  has(load_with([](auto& other) { other.columns.left[0] = std::nextafter(other.columns.left[0], 100.0); }),
      "a training on other data");
  has(load_with([](auto& other) { other.validation.targets[3] += 1; }), "a training on other data");
  has(load_with([](auto& other) { other.options.early_stopping.reset(); }),
      "a state of a training with early stopping: expected one without it");
  has(load_with([](auto& other) {
        other.adam = std::make_unique<optim::Adam<double>>(
            other.model.parameters(), optim::AdamOptions{.lr = 0.02, .weight_decay = 1e-3});
      }),
      "a state of an optimizer with lr 0.01: expected 0.02");
  has(load_with([](auto& other) { other.adam->clip_norm(3); }),
      "a state of an optimizer with clip_norm none: expected 3");
  has(load_with([](auto& other) {
        sparsity::factorize(other.model, sparsity::Groups::inputs, "out.weight");
        other.adam = std::make_unique<optim::Adam<double>>(
            other.model.parameters(), optim::AdamOptions{.lr = 0.01, .weight_decay = 1e-3});
      }),
      "a state whose parameter 5 (counted from 0) is 'out.weight' 1x8: expected 'out.weight.");
  // Epochs, patience and schedule may differ.
  CHECK(load_with([](auto& other) {
          other.options.early_stopping->patience = 3;
          other.options.schedule = {};
        }) == "(no error was thrown)");

  const auto load_changed = [&](const auto& change) {
    train::TrainerState<double> wrong = state;
    change(wrong);
    return error_text([&] { trainer.load_state(wrong); });
  };
  has(load_changed([](auto& wrong) { wrong.batch = 6; }), "a state before batch 6 of epoch 1");
  has(load_changed([](auto& wrong) { wrong.epoch = -1; }), "of epoch -1");
  has(load_changed([](auto& wrong) { wrong.epoch = 2; }), "a history of 1 epochs: expected 2");
  has(load_changed([](auto& wrong) { wrong.buffers.clear(); }),
      "a state whose buffer 0 (counted from 0) is none: expected 'running' 2");
  has(load_changed([](auto& wrong) { wrong.parameters[0].value = Tensor<double>(Shape{2}); }),
      "a state whose parameter 0");
  has(load_changed([](auto& wrong) { wrong.best->parameters.pop_back(); }), "best parameters");
  has(load_changed([](auto& wrong) { wrong.best->waited = -1; }), "after -1 epochs of waiting");
  has(load_changed([](auto& wrong) { wrong.seeds = {}; }), "expected");
  has(load_changed([](auto& wrong) { wrong.optimizer.kind = "sgd"; }), "[adam] a state of 'sgd'");
  CHECK(text_of(trainer.state()) == text_of(state));
}

TEST_CASE("trainer: columns and steps that do not fit") {
  Everything<double> all;
  const auto fit = [&](const std::vector<View<const double>>& columns, const train::Step<double>& step) {
    return train::fit(all.model, columns, step, *all.adam, {.progress = unseen});
  };
  CHECK_ERROR(fit({}, all.step()), "[fit] no columns: expected one at least");
  CHECK_ERROR(fit(all.columns.views(), {}), "[fit] an empty step");
  const Tensor<double> shorter({5, 2}), none({0, 2});
  CHECK_ERROR(fit({all.columns.left, shorter}, all.step()), "[fit] columns 23x3 and 5x2: expected as many");
  CHECK_ERROR(fit({none}, all.step()), "[fit] columns 0x2 and 0x2", "at least one");
  CHECK_ERROR(fit({Tensor<double>()}, all.step()), "[fit] columns scalar and scalar");
  all.columns.right[5] = std::nan("");
  CHECK_ERROR(fit(all.columns.views(), all.step()),
              "[fit] entry nan in row 2 of column 1 (both counted from 0): expected a finite number");
  all.columns.right[5] = 0;
  const train::Step<double> rows = [&](Tape<double>&, std::span<const Var<double>> in) {
    return square(all.model.record(in.first(2))[0] - in[2]);
  };
  CHECK_ERROR(fit(all.columns.views(), rows), "[fit] a loss 23x1: expected one number");
  const nn::Linear<double> outside(3, 1);
  const train::Step<double> foreign = [&](Tape<double>&, std::span<const Var<double>> in) {
    return mean(outside(in[0]) + all.model.record(in.first(2))[0]);
  };
  CHECK_ERROR(fit(all.columns.views(), foreign), "[nn] Linear(3, 1), which a module computes with");
  all.options.validation_columns.pop_back();
  CHECK_ERROR(all.trainer(), "[fit] 3 columns of validation data: expected 4");
  const auto set = plane(5);
  all.options.validation = &set;
  CHECK_ERROR(all.trainer(), "[fit] a validation set and validation columns: expected one of the two");
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters());
  CHECK_ERROR(train::fit(model, set, nn::mse_loss, sgd, {.validation_columns = {set.x}, .progress = unseen}),
              "[fit] validation columns for a training with a loss");
}

TEST_CASE("trainer: a step with two columns is judged by a validation set, others by columns") {
  const auto set = plane(40), validation = plane(1500);  // more than one batch of an evaluation
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 0.01});
  const train::Step<double> step = [&](Tape<double>&, std::span<const Var<double>> in) {
    return mse_loss(model(in[0]), in[1]);
  };
  const auto history = train::fit(model, {set.x, set.y}, step, sgd,
                                  {.epochs = 2, .validation = &validation, .progress = unseen});
  CHECK(*history.epochs[1].validation_loss ==
        doctest::Approx(train::evaluate(model, validation, nn::mse_loss)).epsilon(1e-12));
  CHECK(train::evaluate(model, {set.x, set.y}, step) ==
        doctest::Approx(train::evaluate(model, set, nn::mse_loss)).epsilon(1e-12));
}

TEST_CASE("trainer: a buffer that is no longer finite is found at the end of the epoch") {
  Everything<float> all;
  all.options.early_stopping.reset();
  all.options.validation_columns.clear();
  const train::Step<float> overflowing = [&](Tape<float>& tape, std::span<const Var<float>> in) {
    const Var<float> large = mean(in[1], 0) * 1e38f;
    all.model.running.assign_later(tape, large * large);
    return all.step()(tape, in);
  };
  (void)overflowing;
  all.model.running.value()[1] = std::numeric_limits<float>::infinity();
  train::Trainer<float> trainer = all.trainer();
  CHECK_ERROR(trainer.run(), "[fit] training diverged in epoch 0, at its end: buffer 'running' became inf",
              "at entry 1");
}

TEST_CASE("trainer: the last step is looked at where it ends, and a trainer can be moved") {
  const auto set = plane(50);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 1e200});
  train::Trainer<double> first(model, set, nn::mse_loss, sgd,
                               {.epochs = 3, .batch_size = 50, .progress = unseen});
  train::Trainer<double> trainer = std::move(first);
  CHECK_ERROR(trainer.run(1), "in epoch 0, at its end: the loss of the last batch became inf");
  CHECK(trainer.history().epochs.size() == 1);
  CHECK_FALSE(trainer.is_done());
}

TEST_CASE("trainer: no epochs, and fewer") {
  const auto set = plane(10);
  nn::Linear<double> model(2, 1);
  optim::SGD<double> sgd(model.parameters(), {.lr = 0.1});
  train::Trainer<double> trainer(model, set, nn::mse_loss, sgd, {.epochs = 3, .progress = unseen});
  CHECK(trainer.epochs() == 3);
  CHECK(trainer.run(0).epochs.empty());
  CHECK_ERROR(trainer.run(-1), "[fit] -1 epochs: expected 0 or more");
}

TEST_CASE("trainer: early stopping and callbacks end it, and it stays ended after loading") {
  Everything<double> all;
  all.options.callbacks = {[](const train::Epoch& epoch) { return epoch.number < 2; }};
  train::Trainer<double> trainer = all.trainer();
  CHECK(trainer.run().epochs.size() == 3);
  CHECK(trainer.history().stopped == "a callback asked for it");
  CHECK(trainer.run(4).epochs.size() == 3);
  const train::TrainerState<double> state = trainer.state();
  Everything<double> other;
  train::Trainer<double> again = other.trainer();
  again.load_state(state);
  CHECK(again.is_done());
  CHECK(again.run().epochs.size() == 3);
  again.finish();
  trainer.finish();
  CHECK(text_of(again.state()) == text_of(trainer.state()));
}

TEST_CASE("trainer: a model that was laid out anew has no state") {
  Everything<double> all;
  train::Trainer<double> trainer = all.trainer();
  trainer.step();
  sparsity::factorize(all.model, sparsity::Groups::inputs, "right.weight");
  CHECK_ERROR(trainer.state(), "[trainer] the model's parameters were laid out anew");
}
