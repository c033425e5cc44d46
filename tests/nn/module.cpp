#include <taper/nn/module.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <taper/nn/init.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/summary.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

// As the documentation of Module has it.
struct Residual : nn::Layer<float> {
  nn::Linear<float> fc1{8, 8}, fc2{8, 8};
  void visit(nn::Visitor<float>& m) const override { m("fc1", fc1), m("fc2", fc2); }
  Var<float> forward(Var<float> x) const override { return x + fc2(relu(fc1(x))); }
};

template <class T> std::vector<std::string> names_of(nn::Module<T>& model) {
  std::vector<std::string> names;
  const nn::Parameters<T> parameters = model.parameters();
  for (const auto& entry : parameters.entries()) names.push_back(entry.name);
  return names;
}

template <class T>
Tensor<T> output(const nn::Layer<T>& model, const Tensor<T>& input, Mode mode = Mode::evaluation) {
  Tape<T> tape(mode);
  return Tensor<T>(model(tape.constant(input)).value());
}

template <class T> bool equal(const Tensor<T>& a, const Tensor<T>& b) {
  return same_bits<const T, const T>(a, b);
}

struct Moments {
  double low = HUGE_VAL, high = -HUGE_VAL, mean = 0, variance = 0;

  explicit Moments(const Tensor<double>& x) {
    for (const double entry : x) low = std::min(low, entry), high = std::max(high, entry);
    mean = x.vector().mean();
    variance = (x.vector().array() - mean).square().mean();
  }
};

}  // namespace

TEST_CASE_TEMPLATE("Linear: the forward pass equals Eigen's product", T, float, double) {
  Rng rng(1);
  for (const bool with_bias : {true, false}) {
    const nn::Linear<T> layer(7, 5, with_bias);
    const Tensor<T> x = random_tensor<T>(rng, {9, 7});
    Matrix<T> expected = x.matrix() * layer.weight.value().matrix().transpose();
    if (with_bias) expected.rowwise() += layer.bias->value().vector().transpose();
    CHECK(apart<const T, const T>(output<T>(layer, x), Tensor<T>(expected)) <
          (sizeof(T) == 8 ? 1e-13 : 1e-5));
    CHECK(layer.bias.has_value() == with_bias);
  }
  nn::Linear<T> layer(7, 5);
  CHECK(layer.inputs() == 7);
  CHECK(layer.outputs() == 5);
  CHECK(layer.describe() == "Linear(7, 5)");
  CHECK(nn::Linear<T>(2, 3, false).describe() == "Linear(2, 3, no bias)");
  CHECK(names_of<T>(layer) == std::vector<std::string>{"weight", "bias"});
  CHECK(output<T>(nn::Linear<T>(0, 2), Tensor<T>({3, 0})).shape() == Shape{3, 2});
  CHECK_ERROR(nn::Linear<T>(-1, 2), "-1");
}

TEST_CASE_TEMPLATE("Linear: starts uniform in 1 / sqrt(inputs), the same for the same seed", T, float,
                   double) {
  const auto make = [](std::uint64_t seed) {
    manual_seed(seed);
    return nn::Linear<T>(100, 400);
  };
  const nn::Linear<T> layer = make(5), same = make(5), other = make(6);
  for (const View<const T> numbers : {layer.weight.value(), layer.bias->value()}) {
    const Moments moments(Tensor<double>(numbers.vector().template cast<double>().eval()));
    CHECK(moments.low >= -0.1);
    CHECK(moments.high <= 0.1);
    CHECK(moments.low < -0.095);
    CHECK(moments.high > 0.095);
    CHECK(moments.variance == doctest::Approx(0.01 / 3).epsilon(0.1));
  }
  CHECK(same_bits(layer.weight.value(), same.weight.value()));
  CHECK(same_bits(layer.bias->value(), same.bias->value()));
  CHECK(!same_bits(layer.weight.value(), other.weight.value()));
}

TEST_CASE("Sequential: parts are named by position, and a copy is deep") {
  nn::Sequential<float> model(nn::Linear<float>(4, 3), nn::Tanh<float>());
  model.push_back(nn::Sequential<float>(nn::Linear<float>(3, 3), nn::Linear<float>(3, 2, false)));
  CHECK(names_of<float>(model) ==
        std::vector<std::string>{"0.weight", "0.bias", "2.0.weight", "2.0.bias", "2.1.weight"});
  std::vector<std::string> modules;
  model.for_modules(
      [&](const std::string& name, nn::Module<float>& m) { modules.push_back(name + ":" + m.describe()); });
  CHECK(modules == std::vector<std::string>{":Sequential", "0:Linear(4, 3)", "1:Tanh", "2:Sequential",
                                            "2.0:Linear(3, 3)", "2.1:Linear(3, 2, no bias)"});

  Rng rng(2);
  const Tensor<float> x = random_tensor<float>(rng, {5, 4});
  const Tensor<float> before = output<float>(model, x);
  const nn::Sequential<float> copy = model;
  nn::Sequential<float> assigned, chosen;
  assigned = model;
  chosen.push_back_copy(model, 0);
  const Tensor<float> first = output<float>(model[0], x);
  const nn::Parameters<float> parameters = model.parameters();
  for (float& value : parameters.value(parameters.entry("0.weight"))) value += 1;
  CHECK(!equal(output<float>(model, x), before));
  CHECK(equal(output<float>(copy, x), before));
  CHECK(equal(output<float>(assigned, x), before));
  CHECK(equal(output<float>(chosen, x), first));
  CHECK(copy.size() == 3);
  const nn::Sequential<float> moved = std::move(assigned);
  CHECK(equal(output<float>(moved, x), before));
  CHECK(equal(output<float>(nn::Sequential<float>(), x), x));

  CHECK_ERROR(model[3], "[sequential] part 3 of a chain of 3: expected one that exists");
  CHECK_ERROR(copy[static_cast<std::size_t>(-1)], "[sequential] part", "of a chain of 3");
  CHECK_ERROR(chosen.push_back_copy(model, 3), "[sequential] part 3 of a chain of 3");
  CHECK(chosen.size() == 1);

  const nn::Sequential<float> step(nn::ReLU<float>{}, nn::ReLU<float>{});
  CHECK(nn::Sequential<float>(step, step).size() == 2);
}

TEST_CASE("Module: one of your own computes, is named, learns and is copied") {
  Residual model;
  CHECK(names_of<float>(model) ==
        std::vector<std::string>{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"});
  Rng rng(3);
  const Tensor<float> x = random_tensor<float>(rng, {4, 8});
  const auto layer = [](const nn::Linear<float>& l, const Matrix<float>& in) {
    Matrix<float> out = in * l.weight.value().matrix().transpose();
    out.rowwise() += l.bias->value().vector().transpose();
    return out;
  };
  const Matrix<float> hidden = layer(model.fc1, x.matrix()).cwiseMax(0.0f);
  const Tensor<float> expected(Matrix<float>(x.matrix() + layer(model.fc2, hidden)));
  CHECK(apart<const float, const float>(output<float>(model, x), expected) < 1e-5);

  Tape<float> tape;
  tape.backward(sum(square(model(tape.constant(x)))));
  for (const nn::Linear<float>* l : {&model.fc1, &model.fc2}) CHECK(l->weight.gradient().vector().norm() > 0);

  nn::Sequential<float> chain(model, nn::Linear<float>(8, 1), Residual(model));
  CHECK(names_of<float>(chain)[3] == "0.fc2.bias");
  CHECK(names_of<float>(chain)[6] == "2.fc1.weight");
  const Residual copy = model;
  model.fc1.weight.value()[0] += 1;
  CHECK(copy.fc1.weight.value()[0] != model.fc1.weight.value()[0]);
  CHECK(copy.describe() == "Module");
}

TEST_CASE("Module: a misfit names the layer") {
  nn::Sequential<float> model(nn::Linear<float>(4, 3), nn::Sequential<float>(nn::Linear<float>(5, 2)));
  Tape<float> tape;
  CHECK_ERROR(model(tape.input({2, 4})), "(layer 1.0)", "2x3", "5");
  CHECK_ERROR(model(tape.input({2, 7})), "(layer 0)", "2x7");
}

TEST_CASE("Dropout: drops where a training is recorded, through all levels of a model") {
  nn::Sequential<float> model;
  model.push_back(nn::Sequential<float>(nn::Dropout<float>(0.25)));
  Tensor<float> x({100, 100});
  std::fill(x.begin(), x.end(), 3.0f);
  Index dropped = 0;
  for (const float y : output<float>(model, x, Mode::training)) {
    dropped += y == 0;
    CHECK_UNARY(y == 0 || std::abs(y - 4) < 1e-5f);
  }
  CHECK(static_cast<double>(dropped) / 1e4 == doctest::Approx(0.25).epsilon(0.1));
  CHECK(equal(output<float>(model, x, Mode::evaluation), x));
  Tape<float> unstated;
  CHECK_ERROR(model(unstated.constant(x)), "[tape] a recording without a mode (layer 0.0)", "Mode::training");
  model = nn::Sequential<float>(nn::Dropout<float>(0));
  CHECK(equal(output<float>(model, x, Mode::training), x));
  CHECK_ERROR(nn::Dropout<float>(1), "[dropout]", "probability 1", "0 <= probability < 1");
  CHECK_ERROR(nn::Dropout<float>(-0.1), "[dropout]");
  CHECK_ERROR(nn::Dropout<float>(std::nan("")), "[dropout]");
}

TEST_CASE_TEMPLATE("Activations: every module is the operation of its name", T, float, double) {
  Rng rng(4);
  const Tensor<T> x = random_tensor<T>(rng, {6, 11}, -5, 5);
  const auto check = [&](const nn::Layer<T>& module, const char* name,
                         const std::function<Var<T>(Var<T>)>& op) {
    CAPTURE(name);
    Tape<T> tape;
    const Var<T> in = tape.constant(x);
    CHECK(same_bits(module(in).value(), op(in).value()));
    CHECK(module.describe() == name);
  };
  check(nn::ReLU<T>(), "ReLU", [](Var<T> v) { return relu(v); });
  check(nn::Tanh<T>(), "Tanh", [](Var<T> v) { return tanh(v); });
  check(nn::Sigmoid<T>(), "Sigmoid", [](Var<T> v) { return sigmoid(v); });
  check(nn::Softplus<T>(), "Softplus", [](Var<T> v) { return softplus(v); });
  check(nn::GELU<T>(), "GELU", [](Var<T> v) { return gelu(v); });
  check(nn::SiLU<T>(), "SiLU", [](Var<T> v) { return silu(v); });
  check(nn::LeakyReLU<T>(), "LeakyReLU", [](Var<T> v) { return leaky_relu(v); });
  check(nn::LeakyReLU<T>(0.3), "LeakyReLU", [](Var<T> v) { return leaky_relu(v, T(0.3)); });
  check(nn::ELU<T>(), "ELU", [](Var<T> v) { return elu(v); });
  check(nn::ELU<T>(0.7), "ELU", [](Var<T> v) { return elu(v, T(0.7)); });
}

TEST_CASE("Losses: every object is the operation of its name") {
  Rng rng(5);
  Tape<double> tape;
  const Var<double> p = tape.constant(random_tensor<double>(rng, {6, 3})),
                    t = tape.constant(random_tensor<double>(rng, {6, 3}, 0, 1)),
                    labels = tape.constant(Tensor<double>({6}, {0, 2, 1, 1, 0, 2}));
  CHECK(nn::mse_loss(p, t).item() == mse_loss(p, t).item());
  CHECK(nn::mae_loss(p, t).item() == mae_loss(p, t).item());
  CHECK(nn::huber_loss(p, t).item() == huber_loss(p, t).item());
  CHECK(nn::bce_with_logits_loss(p, t).item() == bce_with_logits_loss(p, t).item());
  CHECK(nn::cross_entropy_loss(p, labels).item() == cross_entropy_loss(p, labels).item());
  const nn::Loss<double> loss = nn::mse_loss;
  CHECK(loss(p, t).item() == mse_loss(p, t).item());
}

TEST_CASE("Select: keeps the columns in the order given") {
  Rng rng(6);
  const Tensor<float> x = random_tensor<float>(rng, {5, 8});
  for (const std::vector<Index>& columns : std::vector<std::vector<Index>>{
           {}, {3}, {0, 1, 2, 3, 4, 5, 6, 7}, {1, 2, 5, 7}, {7, 6, 0, 1}, {2, 2}}) {
    const nn::Select<float> select(columns, 8);
    const Tensor<float> y = output<float>(select, x);
    const Index kept = static_cast<Index>(columns.size());
    REQUIRE(y.shape() == Shape{5, kept});
    for (Index r = 0; r < 5; ++r) {
      for (Index c = 0; c < kept; ++c)
        CHECK(y[r * kept + c] == x[r * 8 + columns[static_cast<std::size_t>(c)]]);
    }
    CHECK(select.columns() == columns);
    CHECK(select.describe() == "Select(" + std::to_string(kept) + ")");
  }
  CHECK_ERROR(nn::Select<float>({6, 8}, 8), "column 8 of 8");
  CHECK_ERROR(output<float>(nn::Select<float>({0}, 7), x), "[select] input 5x8: expected 7 columns");
}

TEST_CASE("init: bounds and variances of the usual starting values") {
  const Index outs = 200, ins = 300;
  Rng rng(7);
  const auto moments = [&](auto draw) {
    Tensor<double> weight({outs, ins});
    draw(weight.view());
    return Moments(weight);
  };
  const auto check_uniform = [](const Moments& m, double bound) {
    CHECK(m.low >= -bound);
    CHECK(m.high <= bound);
    CHECK(m.high > 0.99 * bound);
    CHECK(std::abs(m.mean) < 0.02 * bound);
    CHECK(m.variance == doctest::Approx(bound * bound / 3).epsilon(0.03));
  };
  const auto check_normal = [](const Moments& m, double variance) {
    CHECK(std::abs(m.mean) < 0.02 * std::sqrt(variance));
    CHECK(m.variance == doctest::Approx(variance).epsilon(0.03));
    CHECK(m.high > 3 * std::sqrt(variance));
  };
  using namespace nn;
  const double root2 = std::sqrt(2);
  check_uniform(moments([&](View<double> w) { init::kaiming_uniform(w, root2, init::Fan::in, rng); }),
                std::sqrt(6.0 / 300));
  check_uniform(moments([&](View<double> w) { init::kaiming_uniform(w, 1, init::Fan::out, rng); }),
                std::sqrt(3.0 / 200));
  check_normal(moments([&](View<double> w) { init::kaiming_normal(w, root2, init::Fan::in, rng); }),
               2.0 / 300);
  check_normal(moments([&](View<double> w) { init::kaiming_normal(w, root2, init::Fan::out, rng); }),
               2.0 / 200);
  check_uniform(moments([&](View<double> w) { init::xavier_uniform(w, 1, rng); }), std::sqrt(6.0 / 500));
  check_normal(moments([&](View<double> w) { init::xavier_normal(w, 2, rng); }), 4 * 2.0 / 500);
  check_uniform(moments([&](View<double> w) { init::uniform(w, -0.5, 0.5, rng); }), 0.5);
  const Moments shifted = moments([&](View<double> w) { init::normal(w, 3, 0.5, rng); });
  CHECK(shifted.mean == doctest::Approx(3).epsilon(0.01));
  CHECK(shifted.variance == doctest::Approx(0.25).epsilon(0.03));
  const Moments constant = moments([&](View<double> w) { init::constant(w, 0.75); });
  CHECK(constant.low == 0.75);
  CHECK(constant.high == 0.75);

  manual_seed(9);
  Tensor<double> one({3, 2}), two({3, 2});
  init::xavier_normal(one.view());
  manual_seed(9);
  init::xavier_normal(two.view());
  CHECK(same_bits(one.view(), two.view()));
  Tensor<double> row({3});
  CHECK_ERROR(init::kaiming_uniform(row.view()), "[init]", "at least two dimensions");
}

namespace {

/// Two layers that share one weight.
struct Tied : nn::Layer<double> {
  nn::Parameter<double> weight{Shape{2, 2}};
  struct Part : nn::Layer<double> {
    nn::Parameter<double>* shared = nullptr;
    void visit(nn::Visitor<double>& m) const override { m("weight", *shared); }
    Var<double> forward(Var<double> x) const override { return affine(x, shared->bind(x.tape())); }
  } first, second;
  Tied() { first.shared = second.shared = &weight; }
  void visit(nn::Visitor<double>& m) const override { m("first", first), m("second", second); }
  Var<double> forward(Var<double> x) const override { return second(first(x)); }
};

}  // namespace

TEST_CASE("Module: a parameter that two parts share is one, and its gradient is the sum of both uses") {
  Tied tied;
  std::ranges::copy(std::initializer_list<double>{1, 2, -1, 0.5}, tied.weight.value().begin());
  const auto parameters = tied.parameters();
  REQUIRE(parameters.entries().size() == 1);
  CHECK(parameters.entries()[0].name == "first.weight");
  CHECK(parameters.count() == 4);
  Tape<double> tape;
  const auto x = tape.constant(Tensor<double>({1, 2}, {1, 3}));
  tape.backward(sum(tied(x)));
  // d/dW sum(W W x') = 1 (W x')' + W' 1 x.
  const Eigen::Matrix2d w = tied.weight.value().matrix();
  const Eigen::Vector2d one(1, 1), input(1, 3);
  const Eigen::Matrix2d expected = one * (w * input).transpose() + w.transpose() * one * input.transpose();
  CHECK((tied.weight.gradient().matrix() - expected).norm() < 1e-14);
}

TEST_CASE("Module: a shared parameter is factorized, penalized and counted once") {
  Tied tied;
  std::ranges::copy(std::initializer_list<double>{1, 2, -1, 0.5}, tied.weight.value().begin());
  CHECK(nn::summary(tied, {1, 2}).rows[0].parameters == 4);
  CHECK(sparsity::factorize(tied, sparsity::Groups::elements) == 1);
  CHECK(tied.parameters().entries().size() == 2);
  CHECK(sparsity::effective_penalty(tied, 2.0).induced == doctest::Approx(2 * 4.5));
}
