#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../nn/random_mask.hpp"

using namespace taper;

namespace {

template <class T> bool same_tensors(const std::vector<Tensor<T>>& a, const std::vector<Tensor<T>>& b) {
  return std::ranges::equal(a, b, [](const Tensor<T>& x, const Tensor<T>& y) {
    return x.shape() == y.shape() && same_bits<const T, const T>(x, y);
  });
}

template <class T> bool same(const optim::OptimizerState<T>& a, const optim::OptimizerState<T>& b) {
  return a.kind == b.kind && a.steps == b.steps && a.lr_factor == b.lr_factor && a.settings == b.settings &&
         a.tensor_names == b.tensor_names &&
         std::ranges::equal(a.entries, b.entries, [](const auto& x, const auto& y) {
           return x.name == y.name && x.shape == y.shape && x.steps == y.steps &&
                  same_tensors(x.tensors, y.tensors);
         });
}

/// Three parameters, one of them without entries, under one optimizer.
template <class T> struct Run {
  using Make = std::function<std::unique_ptr<optim::Optimizer<T>>(nn::Parameters<T>)>;
  std::vector<nn::Parameter<T>> parameters{nn::Parameter<T>({3, 5}), nn::Parameter<T>({0, 4}),
                                           nn::Parameter<T>({19})};
  std::unique_ptr<optim::Optimizer<T>> optimizer;

  explicit Run(const Make& make) : optimizer(make(all())) {}
  Run(const Make& make, const Run& other) : parameters(other.parameters), optimizer(make(all())) {}

  nn::Parameters<T> all() {
    return nn::Parameters<T>({{"a", &parameters[0]}, {"none", &parameters[1]}, {"b", &parameters[2]}});
  }
  void set_gradients(const std::vector<Tensor<T>>& gradients) {
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      std::copy(gradients[p].begin(), gradients[p].end(),
                parameters[p].block()->gradients.data() + parameters[p].offset());
    }
  }
  void set_masks(const std::vector<Mask>& masks) {
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      parameters[p].freeze(masks[p]);
      parameters[p].thaw(masks[p]);
    }
  }
  bool same_values(const Run& other) const {
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      if (!same_bits<const T, const T>(parameters[p].value(), other.parameters[p].value())) return false;
    }
    return true;
  }
};

template <class T> struct Kind {
  std::string name;
  typename Run<T>::Make make;
};

template <class T> std::vector<Kind<T>> kinds() {
  const auto sgd = [](const std::string& name, const optim::SGDOptions& options) {
    return Kind<T>{"SGD, " + name, [=](nn::Parameters<T> p) {
                     return std::make_unique<optim::SGD<T>>(std::move(p), options);
                   }};
  };
  const auto adam = [](const std::string& name, const optim::AdamOptions& options) {
    return Kind<T>{"Adam, " + name, [=](nn::Parameters<T> p) {
                     return std::make_unique<optim::Adam<T>>(std::move(p), options);
                   }};
  };
  const auto adamw = [](const std::string& name, const optim::AdamWOptions& options) {
    return Kind<T>{"AdamW, " + name, [=](nn::Parameters<T> p) {
                     return std::make_unique<optim::AdamW<T>>(std::move(p), options);
                   }};
  };
  return {sgd("plain", {.lr = 0.1}),
          sgd("momentum", {.lr = 0.03, .momentum = 0.9, .weight_decay = 0.05}),
          sgd("dampening", {.lr = 0.05, .momentum = 0.9, .dampening = 0.3}),
          sgd("Nesterov", {.lr = 0.03, .momentum = 0.9, .nesterov = true}),
          adam("plain", {.lr = 0.05}),
          adam("coupled decay", {.lr = 0.05, .weight_decay = 0.3}),
          adam("short memory", {.lr = 0.02, .beta1 = 0.1, .beta2 = 0.2}),
          adam("groups", {.lr = 0.02, .groups = {{.match = "b", .lr = 0.1, .weight_decay = 0.1}}}),
          adamw("decay", {.lr = 0.05, .weight_decay = 0.2})};
}

template <class T> std::vector<Tensor<T>> random_gradients(Rng& rng, double size = 1) {
  std::vector<Tensor<T>> result{Tensor<T>({3, 5}), Tensor<T>({0, 4}), Tensor<T>(Shape{19})};
  for (Tensor<T>& tensor : result) {
    for (T& entry : tensor) entry = static_cast<T>(size * rng.normal());
  }
  return result;
}

std::vector<Mask> random_masks(Rng& rng) {
  return {random_mask(rng, {3, 5}, 0.7), Mask::all_free({0, 4}), random_mask(rng, {19}, 0.7)};
}

}  // namespace

TEST_CASE_TEMPLATE("Optimizer: put back into a new optimizer, a state goes on with the same bits", T, float,
                   double) {
  Rng rng(21);
  for (const Kind<T>& kind : kinds<T>()) {
    CAPTURE(kind.name);
    for (const double size : {1.0, 1e-8, 1e8}) {
      for (const bool clipped : {false, true}) {
        CAPTURE(size);
        CAPTURE(clipped);
        Run<T> run(kind.make);
        const auto clip = [&](Run<T>& one) {
          if (clipped) one.optimizer->clip_norm(2 * size), one.optimizer->clip_value(size);
        };
        clip(run);
        std::vector<std::unique_ptr<Run<T>>> resumed;  // taken out and put back at several moments
        const auto for_all = [&](const auto& f) {
          f(run);
          for (const auto& one : resumed) f(*one);
        };
        for (int t = 0; t < 40; ++t) {
          if (t % 5 == 2) {
            const auto masks = random_masks(rng);
            for_all([&](Run<T>& one) { one.set_masks(masks); });
          }
          // At the start, with masks that no step has seen yet, and between steps.
          if (t == 0 || t % 5 == 2 || t % 7 == 4) {
            const optim::OptimizerState<T> state = run.optimizer->state();
            auto next = std::make_unique<Run<T>>(kind.make, run);
            clip(*next);
            if (t % 2 == 0) next->optimizer->step();  // what the optimizer did before does not matter
            next->set_masks({Mask::all_frozen({3, 5}), Mask::all_free({0, 4}), Mask::all_frozen({19})});
            next->optimizer->step();
            for (std::size_t p = 0; p < 3; ++p) {
              next->parameters[p].value().vector() = run.parameters[p].value().vector();
            }
            next->set_masks({run.parameters[0].mask(), run.parameters[1].mask(), run.parameters[2].mask()});
            next->optimizer->load_state(state);
            CHECK(same(next->optimizer->state(), state));
            resumed.push_back(std::move(next));
          }
          const auto gradients = random_gradients<T>(rng, size);
          const double factor = 0.5 + 0.4 * std::cos(t);
          for_all([&](Run<T>& one) {
            one.set_gradients(gradients);
            if (t % 10 == 0) one.optimizer->set_lr_factor(factor);
            one.optimizer->step();
          });
          int wrong = 0;
          for (const auto& one : resumed) {
            wrong += !run.same_values(*one) || !same(one->optimizer->state(), run.optimizer->state());
          }
          CHECK(wrong == 0);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("Optimizer: a state that was taken after a step that was refused", T, float, double) {
  Rng rng(22);
  for (const Kind<T>& kind : kinds<T>()) {
    CAPTURE(kind.name);
    Run<T> run(kind.make);
    run.optimizer->clip_norm(1);
    const auto step = [](Run<T>& one, const std::vector<Tensor<T>>& gradients) {
      one.set_gradients(gradients);
      one.optimizer->step();
    };
    for (int t = 0; t < 3; ++t) step(run, random_gradients<T>(rng));
    run.set_masks({Mask::frozen({3, 5}, {1, 2, 7}), Mask::all_free({0, 4}), Mask::all_free({19})});
    step(run, random_gradients<T>(rng));
    run.set_masks({Mask::frozen({3, 5}, {2}), Mask::all_free({0, 4}), Mask::frozen({19}, {18})});
    auto bad = random_gradients<T>(rng);
    bad[2][0] = std::numeric_limits<T>::quiet_NaN();
    CHECK_ERROR(step(run, bad), "gradient of 'b'");
    const optim::OptimizerState<T> state = run.optimizer->state();
    CHECK(state.steps == 4);
    CHECK(state.entry("a").steps == std::vector<Index>{4, 0, -1, 4, 4, 4, 4, 0, 4, 4, 4, 4, 4, 4, 4});
    CHECK(state.entry("none").steps.empty());
    Run<T> next(kind.make, run);
    next.optimizer->clip_norm(1);
    next.optimizer->load_state(state);
    for (int t = 0; t < 5; ++t) {
      const auto gradients = random_gradients<T>(rng);
      step(run, gradients), step(next, gradients);
      CHECK(run.same_values(next));
    }
    // Adam counts the steps of each entry, for its corrections.
    if (kind.name.starts_with("Adam") && kind.name != "Adam, short memory") {
      CHECK(run.optimizer->state().entry("a").steps ==
            std::vector<Index>{9, 5, -1, 9, 9, 9, 9, 5, 9, 9, 9, 9, 9, 9, 9});
    }
  }
}

TEST_CASE("Optimizer: a state has PyTorch's names, and the moments of the textbook") {
  nn::Linear<double> model(2, 1);
  const nn::Parameters<double> all = model.parameters();
  const auto set = [&](double weight, double bias) {
    for (double& g : all.gradient(all.entry("weight"))) g = weight;
    for (double& g : all.gradient(all.entry("bias"))) g = bias;
  };
  optim::Adam<double> adam(all, {.beta1 = 0.5, .beta2 = 0.75});
  set(2, -4), adam.step();
  set(6, 8), adam.step();
  const optim::OptimizerState<double> state = adam.state();
  CHECK(state.kind == "adam");
  CHECK(state.steps == 2);
  CHECK(state.lr_factor == 1);
  CHECK(state.tensor_names == std::vector<std::string>{"exp_avg", "exp_avg_sq"});
  REQUIRE(state.entries.size() == 2);
  const auto& bias = state.entry("bias");
  CHECK(state.entry("weight").shape == Shape{1, 2});
  CHECK(state.entry("weight").steps.empty());
  CHECK(state.entry("weight").tensors[0][1] == 0.5 * (0.5 * 2) + 0.5 * 6);
  CHECK(state.entry("weight").tensors[1][1] == 0.75 * (0.25 * 4) + 0.25 * 36);
  CHECK(bias.tensors[0][0] == 0.5 * (0.5 * -4) + 0.5 * 8);
  CHECK(bias.tensors[1][0] == 0.75 * (0.25 * 16) + 0.25 * 64);
  CHECK_ERROR(state.entry("gate"), "[optimizer_state] no parameter 'gate'", "weight, bias");
  CHECK(optim::AdamW<double>(all).state().kind == "adamw");

  optim::SGD<double> sgd(all, {.momentum = 0.5, .dampening = 0.25});
  set(2, -4), sgd.step();
  set(6, 8), sgd.step();
  CHECK(sgd.state().kind == "sgd");
  CHECK(sgd.state().tensor_names == std::vector<std::string>{"momentum_buffer"});
  CHECK(sgd.state().entry("weight").tensors[0][0] == 0.5 * 2 + 0.75 * 6);
  CHECK(sgd.state().entry("bias").tensors[0][0] == 0.5 * -4 + 0.75 * 8);
  CHECK(optim::SGD<double>(all).state().tensor_names.empty());
}

TEST_CASE("Optimizer: settings with those of groups and the limits that there are") {
  nn::Sequential<double> model(nn::Linear<double>(2, 3), nn::Linear<double>(3, 1));
  using Settings = std::vector<optim::Setting>;
  optim::SGD<double> sgd(
      model.parameters(),
      {.lr = 0.5, .momentum = 0.25, .weight_decay = 0.125, .nesterov = true, .groups = {{"*.bias", 2.0}}});
  CHECK(sgd.settings() == Settings{{"lr", 0.5},
                                   {"weight_decay", 0.125},
                                   {"momentum", 0.25},
                                   {"dampening", 0},
                                   {"nesterov", 1},
                                   {"lr of 0.bias", 2},
                                   {"lr of 1.bias", 2}});
  optim::AdamW<double> adamw(
      model.parameters(),
      {.lr = 0.5, .weight_decay = 0.25, .groups = {{.match = "1.weight", .weight_decay = 0}}});
  adamw.clip_norm(3);
  adamw.clip_value(7);
  const Settings expected{
      {"lr", 0.5},       {"weight_decay", 0.25}, {"beta1", 0.9},    {"beta2", 0.999},
      {"epsilon", 1e-8}, {"clip_norm", 3},       {"clip_value", 7}, {"weight_decay of 1.weight", 0}};
  CHECK(adamw.settings() == expected);
  adamw.set_lr_factor(0.5);  // state
  CHECK(adamw.settings() == expected);
  CHECK(adamw.state().settings == expected);
  // Another setting does not keep a state from being loaded.
  optim::AdamW<double> slower(model.parameters(), {.lr = 0.25, .weight_decay = 0.25});
  slower.load_state(adamw.state());
  CHECK(slower.lr() == 0.125);
}

TEST_CASE_TEMPLATE("Optimizer: a state that does not fit is refused and changes nothing", T, float, double) {
  Rng rng(23);
  const Kind<T> kind = kinds<T>()[5];
  Run<T> run(kind.make);
  const auto masks = random_masks(rng);
  for (int t = 0; t < 4; ++t) {
    if (t == 1) run.set_masks(masks);
    if (t == 3) run.set_masks({~masks[0], masks[1], masks[2]});
    run.set_gradients(random_gradients<T>(rng));
    run.optimizer->step();
  }
  const optim::OptimizerState<T> before = run.optimizer->state();
  const auto refuses = [&](const auto& fault, std::initializer_list<std::string> words) {
    optim::OptimizerState<T> state = before;
    state.steps += 5;
    state.lr_factor = 0.25;
    state.entries[0].steps.clear();
    for (auto& entry : state.entries) {
      for (auto& tensor : entry.tensors) std::fill(tensor.begin(), tensor.end(), T{1});
    }
    fault(state);
    const std::string text = error_text([&] { run.optimizer->load_state(state); });
    for (const std::string& word : words) {
      INFO(text);
      CHECK(text.find(word) != std::string::npos);
    }
    CHECK(same(run.optimizer->state(), before));
  };
  using State = optim::OptimizerState<T>;
  refuses([](State& s) { s.kind = "sgd"; }, {"[adam] a state of 'sgd'", "expected", "'adam'"});
  refuses([](State& s) { s.tensor_names = {"momentum_buffer"}; },
          {"[adam] a state with the tensors momentum_buffer", "expected exp_avg, exp_avg_sq"});
  refuses([](State& s) { s.tensor_names.clear(); }, {"tensors none"});
  refuses([](State& s) { s.steps = -1; }, {"[adam] a state after -1 steps"});
  refuses([](State& s) { s.lr_factor = -1; }, {"[adam] lr factor -1"});
  refuses([](State& s) { s.lr_factor = std::nan(""); }, {"[adam] lr factor nan"});
  refuses([](State& s) { s.rename("b", "c"); }, {"[adam] a state of 'c'", "no other"});
  refuses([](State& s) { s.entries.pop_back(); }, {"[adam] a state without 'b'"});
  refuses([](State& s) { s.entries.push_back(s.entries[0]); }, {"[adam] a state of 'a'", "no other"});
  refuses([](State& s) { s.add("c", {2}); }, {"[adam] a state of 'c'", "no other"});
  refuses([](State& s) { s.entries[0].shape = {5, 3}; }, {"[adam] a state of 'a' 5x3", "expected 3x5"});
  refuses([](State& s) { s.cut("b", 0, std::vector<Index>{1, 2}); }, {"a state of 'b' 2: expected 19"});
  refuses([](State& s) { s.entries[2].tensors.pop_back(); }, {"1 state tensors of 'b'", "expected 2"});
  refuses(
      [](State& s) {
        s.entries[2].tensors[1] = Tensor<T>({19, 1});
      },
      {"exp_avg_sq of 'b' 19x1: expected 19"});
  refuses([](State& s) { s.entries[2].steps = {1, 2}; }, {"2 step counts of 'b'", "none or 19"});
  for (const Index bad : {Index{-2}, Index{10}, std::numeric_limits<Index>::min()}) {
    refuses([&](State& s) { s.entries[2].steps.assign(19, 3), s.entries[2].steps[7] = bad; },
            {"an entry of 'b' after " + std::to_string(bad) + " of 9 steps"});
  }
  run.optimizer->load_state(before);
  CHECK(same(run.optimizer->state(), before));
}

TEST_CASE("Optimizer: the order of the parameters in a state does not matter") {
  Rng rng(24);
  const Kind<double> kind = kinds<double>()[4];
  Run<double> run(kind.make);
  run.set_gradients(random_gradients<double>(rng));
  run.optimizer->step();
  optim::OptimizerState<double> state = run.optimizer->state();
  std::swap(state.entries[0], state.entries[2]);
  Run<double> next(kind.make);
  next.optimizer->load_state(state);
  CHECK(same(next.optimizer->state(), run.optimizer->state()));
}

TEST_CASE("Optimizer: no state is loaded after the parameters were laid out anew") {
  nn::Sequential<double> model(nn::Linear<double>(3, 2));
  optim::Adam<double> adam(model.parameters());
  const auto state = adam.state();
  sparsity::factorize(model, sparsity::Groups::inputs);
  CHECK_ERROR(adam.load_state(state), "[adam]", "laid out anew");
  CHECK(adam.state().entries.size() == 2);  // but one can be taken out
  CHECK_ERROR(optim::Adam<double>(model.parameters()).load_state(state), "a state of '0.weight'");
}

TEST_CASE_TEMPLATE(
    "Optimizer: moments that are not finite come back as they were, those of frozen entries do not", T, float,
    double) {
  Run<T> run([](nn::Parameters<T> p) { return std::make_unique<optim::Adam<T>>(std::move(p)); });
  optim::OptimizerState<T> state = run.optimizer->state();
  state.steps = 7;
  state.entries[0].tensors[0][3] = std::numeric_limits<T>::quiet_NaN();
  state.entries[0].tensors[1][4] = std::numeric_limits<T>::infinity();
  state.entries[0].tensors[1][5] = -std::numeric_limits<T>::denorm_min();
  run.optimizer->load_state(state);
  CHECK(same(run.optimizer->state(), state));
  // A frozen entry has no moments, whatever a file says, and one that has made no step has none either.
  state.entries[0].steps.assign(15, 7);
  state.entries[0].steps[3] = state.frozen;
  state.entries[0].steps[4] = 0;
  run.optimizer->load_state(state);
  const auto loaded = run.optimizer->state();
  CHECK(loaded.entry("a").tensors[0][3] == 0);
  CHECK(loaded.entry("a").tensors[1][4] == 0);
  CHECK(loaded.entry("a").steps == state.entries[0].steps);
}

TEST_CASE_TEMPLATE("OptimizerState: what is cut is the state of the smaller problem, which goes on", T, float,
                   double) {
  // Entries do not see each other: those that are kept move as if they had been alone from the beginning.
  Rng rng(25);
  const std::vector<Shape> shapes{Shape{7}, {5, 4}, {3, 4, 2}, {2, 3, 2, 4}, {1, 1}};
  for (const Kind<T>& kind : kinds<T>()) {
    if (kind.name == "Adam, groups") continue;
    CAPTURE(kind.name);
    for (const Shape& shape : shapes) {
      for (Index axis = -1; axis < shape.rank(); ++axis) {
        const Index length = shape[shape.axis(axis, "test")];
        std::vector<Index> kept;
        for (Index i = length - 1; i >= 0; --i) {  // in another order
          if (rng.uniform() < 0.6) kept.push_back(i);
        }
        nn::Parameter<T> whole(shape), places(shape);
        std::iota(places.value().begin(), places.value().end(), T{0});
        const nn::Parameters<T> all({{"w", &whole}});
        auto optimizer = kind.make(all);
        // Which entries are kept, found by cutting their positions in plain loops.
        std::vector<Index> positions;
        const Index at = shape.axis(axis, "test");
        Index after = 1;
        for (Index a = at + 1; a < shape.rank(); ++a) after *= shape[a];
        for (Index outer = 0; outer < shape.size() / std::max<Index>(1, length * after); ++outer) {
          for (const Index k : kept) {
            for (Index inner = 0; inner < after; ++inner) {
              positions.push_back((outer * length + k) * after + inner);
            }
          }
        }
        nn::Parameter<T> small(shape.with(at, static_cast<Index>(kept.size())));
        REQUIRE(small.shape().size() == static_cast<Index>(positions.size()));
        const nn::Parameters<T> few({{"w", &small}});
        auto alone = kind.make(few);
        const auto step = [&](bool also_whole, optim::Optimizer<T>& on_small) {
          for (T& g : all.gradient(all.entry("w"))) g = static_cast<T>(rng.normal());
          for (std::size_t i = 0; i < positions.size(); ++i) {
            few.gradient(few.entry("w"))[static_cast<Index>(i)] = all.gradient(all.entry("w"))[positions[i]];
          }
          if (also_whole) optimizer->step();
          on_small.step();
        };
        for (int t = 0; t < 6; ++t) {
          if (t == 2 || t == 4) {
            const Mask mask = random_mask(rng, shape, 0.6);
            whole.freeze(mask), whole.thaw(mask);
            const Mask part = Mask::free(
                small.shape(), [&](Index i) { return mask.is_free(positions[static_cast<std::size_t>(i)]); });
            small.freeze(part), small.thaw(part);
          }
          step(true, *alone);
        }
        optim::OptimizerState<T> state = optimizer->state();
        state.cut("w", axis, kept);
        optim::OptimizerState<T> expected = alone->state();
        // An entry's steps may be written out where they need not be.
        for (auto* s : {&state, &expected}) {
          if (s->entries[0].steps.empty()) s->entries[0].steps.assign(positions.size(), s->steps);
        }
        CHECK(same(state, expected));
        nn::Parameter<T> copy = small;
        auto resumed = kind.make(nn::Parameters<T>({{"w", &copy}}));
        resumed->load_state(state);
        for (T& g : few.gradient(few.entry("w"))) g = static_cast<T>(rng.normal());
        std::copy_n(few.gradient(few.entry("w")).data(), small.shape().size(),
                    copy.block()->gradients.data() + copy.offset());
        alone->step(), resumed->step();
        CHECK(same_bits<const T, const T>(std::as_const(small).value(), std::as_const(copy).value()));
      }
    }
  }
}

TEST_CASE("OptimizerState: cut, rename, add and remove refuse what is not there, and change nothing then") {
  nn::Linear<double> model(3, 2);
  optim::Adam<double> adam(model.parameters());
  adam.step();
  optim::OptimizerState<double> state = adam.state();
  const optim::OptimizerState<double> before = state;
  const std::vector<Index> first{0}, outside{0, 3}, negative{-1};
  CHECK_ERROR(state.cut("gate", 0, first), "[optimizer_state] no parameter 'gate'", "weight, bias");
  CHECK_ERROR(state.cut("weight", 2, first), "[optimizer_state] axis 2", "2x3");
  CHECK_ERROR(state.cut("weight", 1, outside), "place 3 of axis 1 of 'weight' 2x3", "expected 0 to 2");
  CHECK_ERROR(state.cut("weight", 0, negative), "place -1");
  CHECK_ERROR(state.rename("gate", "x"), "no parameter 'gate'");
  CHECK_ERROR(state.rename("weight", "bias"), "'bias' twice");
  CHECK_ERROR(state.add("bias", {2}), "'bias' twice");
  CHECK_ERROR(state.remove("gate"), "no parameter 'gate'");
  CHECK(same(state, before));
  state.rename("weight", "weight");
  CHECK(same(state, before));
  state.rename("weight", "fc.weight");
  CHECK(same_tensors(state.entry("fc.weight").tensors, before.entry("weight").tensors));
  state.remove("bias");
  CHECK(state.entries.size() == 1);
  optim::OptimizerState<double> none;
  none.add("x", {2});
  CHECK(none.entry("x").steps.empty());
  CHECK(none.entry("x").tensors.empty());
}

TEST_CASE_TEMPLATE("OptimizerState: a parameter that was added starts with its first step", T, float,
                   double) {
  for (const Kind<T>& kind : kinds<T>()) {
    if (kind.name == "Adam, groups") continue;
    CAPTURE(kind.name);
    nn::Parameter<T> old({2}), grown({3}), alone({3});
    auto before = kind.make(nn::Parameters<T>({{"old", &old}}));
    for (int t = 0; t < 5; ++t) before->step();
    optim::OptimizerState<T> state = before->state();
    state.add("new", {3});
    const nn::Parameters<T> both({{"old", &old}, {"new", &grown}}), one({{"new", &alone}});
    auto after = kind.make(both), first = kind.make(one);
    after->load_state(state);
    for (int t = 0; t < 3; ++t) {
      for (Index i = 0; i < 3; ++i) {
        both.gradient(both.entry("new"))[i] = one.gradient(one.entry("new"))[i] = static_cast<T>(1 + i - t);
      }
      after->step(), first->step();
      CHECK(same_bits<const T, const T>(std::as_const(grown).value(), std::as_const(alone).value()));
    }
    CHECK(after->steps() == 8);
  }
}
