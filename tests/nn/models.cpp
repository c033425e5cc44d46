#include <taper/nn/module.hpp>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/summary.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

/// Models as people write them: what they share, forget, hold, and when they are recorded.

using namespace taper;

namespace {

template <class T> std::vector<std::string> parameter_names(const nn::Module<T>& model) {
  std::vector<std::string> names;
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { names.push_back(name); });
  return names;
}

/// The names of the parameters on a tape.
template <class T> std::vector<std::string> leaf_names(const Tape<T>& tape) {
  std::vector<std::string> names;
  for (const Node<T>& node : tape.nodes()) {
    if (node.op == nullptr && node.requires_grad) names.push_back(tape.path(node));
  }
  return names;
}

/// One child under two names.
struct Shared : nn::Layer<double> {
  nn::Linear<double> core{4, 4};
  void visit(nn::Visitor<double>& v) const override { v("first", core), v("second", core); }
  Var<double> forward(Var<double> x) const override { return core(relu(core(x))); }
};

/// Two inputs and two outputs, and no layer.
struct TwoHeads : nn::Module<double> {
  nn::Linear<double> left{3, 4}, right{2, 4}, mean{4, 1}, spread{4, 1};
  void visit(nn::Visitor<double>& v) const override {
    v("left", left), v("right", right), v("mean", mean), v("spread", spread);
  }
  std::vector<Var<double>> record(std::span<const Var<double>> x) const override {
    const Var<double> hidden = tanh(left(x[0]) + right(x[1]));
    return {mean(hidden), softplus(spread(hidden))};
  }
};

/// Centres its input by a running mean, as batch norm does.
struct Centre : nn::Layer<double> {
  nn::Buffer<double> running;
  explicit Centre(Index width) : running(Shape{width}) {}
  void visit(nn::Visitor<double>& v) const override { v("running", running); }
  Var<double> forward(Var<double> x) const override {
    Tape<double>& tape = x.tape();
    if (!tape.training()) return x - running.bind(tape);
    const Var<double> batch = mean(x, 0);
    running.assign_later(tape, running.bind(tape) * 0.9 + batch * 0.1);
    return x - batch;
  }
};

}  // namespace

TEST_CASE("Module: a shared child has its first name everywhere") {
  const Shared model;
  CHECK(parameter_names(model) == std::vector<std::string>{"first.weight", "first.bias"});
  Tape<double> tape;
  model(tape.input({2, 4}));
  CHECK(leaf_names(tape) == std::vector<std::string>{"first.weight", "first.bias"});
  for (const Node<double>& node : tape.nodes()) {
    if (node.op != nullptr && node.op->name == "affine") CHECK(tape.path(node) == "first");
  }
  const nn::Summary summary = nn::summary(model, {2, 4});
  REQUIRE(summary.rows.size() == 2);
  CHECK(summary.rows[1].name == "first");
  CHECK(summary.rows[1].multiply_adds == 2 * 2 * 16);
}

TEST_CASE("Module: a part that is not named is an error that says where, whoever records") {
  struct Inner : nn::Layer<double> {
    nn::Linear<double> fc{3, 3};
    nn::Parameter<double> scale{Shape{3}};
    bool with_scale = false;
    void visit(nn::Visitor<double>& v) const override {
      if (with_scale) v("fc", fc);
    }
    Var<double> forward(Var<double> x) const override {
      return with_scale ? fc(x) * scale.bind(x.tape()) : fc(x);
    }
  } inner;
  Tape<double> tape;
  const auto x = tape.input({2, 3});
  CHECK_ERROR(inner(x), "[nn] Linear(3, 3), which a module computes with and no module names", "visit()");
  nn::Sequential<double> net(nn::Tanh<double>{}, inner);
  CHECK_ERROR(net(x), "[nn] Linear(3, 3), which layer '1' computes with and no module names");
  inner.with_scale = true;
  net = nn::Sequential<double>(nn::Tanh<double>{}, inner);
  CHECK_ERROR(net(x), "[nn] a parameter 3 that layer '1' computes with and no module names", "visit()");
  CHECK_ERROR(train::predict(net, Tensor<double>({2, 3})), "[nn] a parameter 3 that layer '1'");
  struct Twice : nn::Module<double> {
    nn::Linear<double> a{1, 1}, b{1, 1};
    void visit(nn::Visitor<double>& v) const override { v("a", a), v("a", b); }
  };
  CHECK_ERROR(Twice().parameters(), "[nn] two parts named 'a'", "expected another name");
}

TEST_CASE("Module: recording before asking for parameters works, and so does training with it") {
  nn::Sequential<double> net(nn::Linear<double>(3, 4), nn::Tanh<double>(), nn::Linear<double>(4, 1));
  Rng rng(1);
  const Tensor<double> x = random_tensor<double>(rng, {8, 3}), y = random_tensor<double>(rng, {8, 1});
  Tape<double> tape;
  const Var<double> loss = mse_loss(net(tape.constant(x)), tape.constant(y));
  CHECK(leaf_names(tape) == std::vector<std::string>{"0.weight", "0.bias", "2.weight", "2.bias"});
  const double before = loss.item();
  optim::SGD<double> sgd(net.parameters(), {.lr = 0.1});
  for (int step = 0; step < 20; ++step) {
    tape.value_and_gradient(loss);
    sgd.step();
  }
  tape.replay();
  CHECK(loss.item() < 0.9 * before);
  Tape<double> fresh;
  CHECK(mse_loss(net(fresh.constant(x)), fresh.constant(y)).item() == loss.item());
}

TEST_CASE("Module: looking at a model moves nothing and draws no random numbers") {
  nn::Sequential<double> net(nn::Linear<double>(3, 4), nn::Linear<double>(4, 1));
  const auto* const place = std::as_const(net).operator[](0).describe().empty() ? nullptr : &net[0];
  std::vector<const double*> before, after;
  const auto places = [&](std::vector<const double*>& to) {
    std::as_const(net).for_parameters([&](const std::string&, const nn::Parameter<double>& parameter) {
      to.push_back(parameter.value().data());
    });
  };
  places(before);
  manual_seed(3);
  const nn::Linear<double> first(2, 2);
  manual_seed(3);
  nn::summary(net, {1, 3});
  train::predict(net, Tensor<double>({2, 3}));
  net.for_modules([](const std::string&, const nn::Module<double>&) {});
  const nn::Linear<double> second(2, 2);
  places(after);
  CHECK(before == after);
  CHECK(place == &net[0]);
  CHECK(same_bits(first.weight.value(), second.weight.value()));
}

TEST_CASE("Module: several inputs and outputs") {
  const TwoHeads model;
  Tape<double> tape;
  const std::vector<Var<double>> inputs{tape.input({5, 3}), tape.input({5, 2})};
  const nn::ModuleScope<double> scope(tape, model);
  const auto outputs = model.record(inputs);
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[1].shape() == Shape{5, 1});
  std::vector<std::string> names = leaf_names(tape), expected = parameter_names(model);
  std::ranges::sort(names);  // which of two operands comes first is up to the compiler
  std::ranges::sort(expected);
  CHECK(names == expected);
  CHECK_ERROR(nn::Tanh<double>().record(inputs), "[nn] Tanh with 2 inputs: expected one");
  CHECK_ERROR(nn::Module<double>().record(inputs), "[nn] Module does not say how it computes");
  CHECK_ERROR(train::predict(nn::Module<double>(), Tensor<double>({1, 1})), "does not say how it computes");
}

TEST_CASE("Sequential: layers of another scalar, references, and classes derived from layers") {
  manual_seed(5);
  const nn::Sequential<double> net(nn::Linear(8, 4), nn::Tanh(), nn::Dropout(0.5), nn::LeakyReLU(0.2),
                                   nn::ELU(2));
  manual_seed(5);
  const nn::Linear<float> single(8, 4);
  const auto& linear = dynamic_cast<const nn::Linear<double>&>(net[0]);
  for (Index i = 0; i < 32; ++i)
    CHECK(linear.weight.value()[i] == static_cast<double>(single.weight.value()[i]));
  CHECK(dynamic_cast<const nn::LeakyReLU<double>&>(net[3]).slope() == 0.2);
  CHECK(dynamic_cast<const nn::ELU<double>&>(net[4]).alpha() == 2);

  nn::Linear<double> held(4, 4);
  nn::Sequential<double> chain(std::ref(held), nn::ReLU<double>(), std::ref(held));
  const nn::Sequential<double> copy = chain;
  CHECK(&chain[0] == &held);
  CHECK(&copy[2] == &held);
  CHECK(parameter_names(copy) == std::vector<std::string>{"0.weight", "0.bias"});

  struct Doubled : nn::Linear<double> {
    using Linear::Linear;
    Var<double> forward(Var<double> x) const override { return 2.0 * Linear::forward(x); }
  };
  nn::Sequential<double> derived;
  derived.push_back(Doubled(2, 2));
  derived.push_front(nn::Tanh<double>(), "squash");
  CHECK(parameter_names(derived) == std::vector<std::string>{"0.weight", "0.bias"});
  Tape<double> tape;
  derived(tape.input({1, 2}));
  CHECK(tape.nodes()[static_cast<std::size_t>(1)].op->name == "tanh");
}

TEST_CASE("Sequential: a nesting of 50,000 is refused before anything is lost") {
  nn::Sequential<double> net(nn::Tanh<double>{});
  const auto nest = [&] {
    for (int depth = 0; depth < 50000; ++depth) {
      nn::Sequential<double> outer;
      outer.push_back(net);
      net = std::move(outer);
    }
  };
  CHECK_ERROR(nest(), "[nn] modules nested more than 1000 deep");
  nn::Sequential<double> flat;
  for (int i = 0; i < 3000; ++i) flat.push_back(nn::Tanh<double>());
  Tape<double> tape;
  flat(tape.input({1, 1}));
  CHECK(tape.nodes().size() == 3001);
}

TEST_CASE("Module: a const model predicts from eight threads at a time, dropout or not") {
  nn::Sequential<double> net(nn::Linear<double>(4, 8), nn::Dropout<double>(0.5), nn::Linear<double>(8, 1));
  Rng rng(7);
  const Tensor<double> x = random_tensor<double>(rng, {3, 4});
  const nn::Sequential<double>& shared = net;
  const Tensor<double> expected = train::predict(shared, x);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 250; ++i) {
        if (!same_bits(train::predict(shared, x).view(), expected.view())) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("Buffer: running statistics move with the steps of a training, and with nothing else") {
  Rng rng(8);
  Tensor<double> x = random_tensor<double>(rng, {32, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] += 5;
  const data::Dataset<double> set{x, random_tensor<double>(rng, {32, 1}), {}, {}};
  nn::Sequential<double> net(Centre(3), nn::Linear<double>(3, 1));
  auto& centre = dynamic_cast<Centre&>(net[0]);
  std::vector<std::string> names;
  std::as_const(net).for_buffers(
      [&](const std::string& name, const nn::Buffer<double>&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"0.running"});
  train::predict(net, x);
  CHECK(centre.running.value().vector().isZero(0));
  optim::Adam<double> adam(net.parameters());
  CHECK(net.parameters().count() == 4);
  train::fit(net, set, nn::mse_loss, adam,
             {.epochs = 20, .batch_size = 16, .progress = train::Progress::quiet, .check_recording = true});
  // Forty steps towards batch means near the mean of all.
  const Eigen::RowVectorXd mean = x.matrix().colwise().mean();
  for (Index j = 0; j < 3; ++j) {
    CHECK(centre.running.value()[j] == doctest::Approx((1 - std::pow(0.9, 40)) * mean[j]).epsilon(0.02));
  }
  const nn::Sequential<double> copy = net;
  const Tensor<double> before = train::predict(copy, x);
  centre.running.value()[0] += 1;
  CHECK(same_bits(train::predict(copy, x).view(), before.view()));
  CHECK_FALSE(same_bits(train::predict(net, x).view(), before.view()));
  CHECK_ERROR(centre.running = before.view(), "[buffer] a value 32x1: expected 3");
}

TEST_CASE("Module: a class of one's own may be written where it is used, in the parentheses of a call") {
  const auto outputs = [](const auto& make) {
    const nn::Sequential<double> net(make(), nn::Tanh(), make());
    return train::predict(net, Tensor<double>({2, 4})).shape();
  };
  CHECK(outputs([] {
          struct Mine : nn::Layer<double> {
            nn::Linear<double> fc{4, 4};
            void visit(nn::Visitor<double>& v) const override { v("fc", fc); }
            Var<double> forward(Var<double> x) const override { return x + fc(x); }
          };
          return Mine();
        }) == Shape{2, 4});
}
