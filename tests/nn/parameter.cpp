#include <taper/nn/parameter.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "../check.hpp"
#include "parameters.hpp"

using namespace taper;

namespace {

/// The number of a gate for the entry (row, column) of a weight.
Index gate(nn::Groups groups, const Shape& shape, Index row, Index column) {
  return groups == nn::Groups::elements ? row * shape[1] + column
         : groups == nn::Groups::inputs ? column
                                        : row;
}

}  // namespace

TEST_CASE_TEMPLATE("Parameter: copying copies the numbers", T, float, double) {
  Rng rng(1);
  const Tensor<T> value = random_tensor<T>(rng, {3, 2});
  nn::Parameter<T> original = filled(value);
  nn::Parameter<T> copy = original, assigned;
  assigned = original;
  CHECK(copy.block() != original.block());
  CHECK(assigned.block() != original.block());
  original.value()[0] = 99;
  CHECK(equal<T>(copy.value(), value));
  CHECK(equal<T>(assigned.value(), value));
  nn::Parameter<T> moved = std::move(copy);
  CHECK(equal<T>(moved.value(), value));
  CHECK(equal<T>(std::as_const(moved).materialize(), value));

  moved.parametrize(std::make_shared<nn::Hadamard<T>>(nn::Groups::inputs));
  nn::Parameter<T> factored;
  factored = moved;  // with the names of its factors
  std::vector<std::string> names;
  factored.for_leaves("p", [&](const std::string& name, nn::Parameter<T>&) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"p.u", "p.v"});
  moved.factors()[1].value()[0] = 5;
  CHECK(equal<T>(factored.materialize(), value));
  CHECK(!equal<T>(moved.materialize(), value));
}

TEST_CASE_TEMPLATE("Parameters: one block with names, the same one when asked again", T, float, double) {
  nn::Sequential<T> model(nn::Linear<T>(3, 5), nn::Linear<T>(5, 1, false));
  const Tensor<T> weight(static_cast<nn::Linear<T>&>(model[0]).weight.value());
  const nn::Parameters<T> parameters = model.parameters();
  std::vector<std::string> names;
  for (const auto& entry : parameters.entries()) names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"0.weight", "0.bias", "1.weight"});
  CHECK(parameters.count() == 15 + 5 + 5);
  CHECK(parameters.entry("0.weight").shape == Shape{5, 3});
  CHECK(equal<T>(parameters.value(parameters.entry("0.weight")), weight));
  CHECK_ERROR(parameters.entry("2.weight"), "'2.weight'", "0.weight, 0.bias, 1.weight");

  Index end = 0;
  for (const auto& entry : parameters.entries()) {
    CHECK(entry.offset >= end);
    CHECK(reinterpret_cast<std::uintptr_t>(parameters.value(entry).data()) % 64 == 0);
    end = entry.offset + entry.shape.size();
  }
  const nn::Parameters<T> again = model.parameters();
  CHECK(again.block() == parameters.block());
  CHECK(again.block()->version == 0);
  const nn::Parameters<T> part = model[1].parameters();
  CHECK(part.block() == parameters.block());
  CHECK(part.entry("weight").offset == parameters.entry("1.weight").offset);
  model.push_back(nn::Linear<T>(1, 1));
  const nn::Parameters<T> longer = model.parameters();
  CHECK(longer.block() != parameters.block());
  CHECK(parameters.block()->version > 0);
  CHECK(equal<T>(longer.value(longer.entry("0.weight")), weight));
  CHECK(nn::Sequential<T>().parameters().count() == 0);
}

TEST_CASE_TEMPLATE("Simplex: the value is a softmax, and gradients follow its chain rule", T, float, double) {
  const Tensor<T> value({2, 3}, {T(0.2), T(0.3), T(0.5), T(0.6), T(0.1), T(0.3)});
  nn::Parameter<T> p = filled(value);
  p.parametrize(std::make_shared<nn::Simplex<T>>());
  CHECK(p.shape() == value.shape());
  CHECK(p.factors().size() == 1);
  const Tensor<T> effective = p.materialize();
  CHECK(apart<const T, const T>(effective, value) < 1e-6);

  Rng rng(2);
  const Tensor<T> seed = random_tensor<T>(rng, value.shape());
  Tape<T> tape;
  tape.backward(sum(p.bind(tape) * tape.constant(seed)));
  for (Index r = 0; r < 2; ++r) {
    double dot = 0;
    for (Index c = 0; c < 3; ++c)
      dot += static_cast<double>(effective[r * 3 + c]) * static_cast<double>(seed[r * 3 + c]);
    for (Index c = 0; c < 3; ++c) {
      const double expected =
          static_cast<double>(effective[r * 3 + c]) * (static_cast<double>(seed[r * 3 + c]) - dot);
      CHECK(p.factors()[0].gradient()[r * 3 + c] == doctest::Approx(expected).epsilon(1e-4));
    }
  }
  nn::Parameter<T> zero(Shape{2});
  CHECK_ERROR(zero.parametrize(std::make_shared<nn::Simplex<T>>()), "[simplex]", "positive");
  CHECK(zero.parametrization() == nullptr);
  CHECK(zero.value().size() == 2);
}

TEST_CASE_TEMPLATE("Hadamard: the value is the product, and gradients follow its chain rule", T, float,
                   double) {
  for (const nn::Groups groups : {nn::Groups::elements, nn::Groups::inputs, nn::Groups::outputs}) {
    CAPTURE(groups);
    Rng rng(3);
    const Shape shape{4, 3};
    const Tensor<T> value = random_tensor<T>(rng, shape), seed = random_tensor<T>(rng, shape);
    nn::Parameter<T> p = filled(value);
    p.parametrize(std::make_shared<nn::Hadamard<T>>(groups));
    CHECK(equal<T>(p.materialize(), value));
    REQUIRE(p.factors().size() == 2);
    nn::Parameter<T>&u = p.factors()[0], &v = p.factors()[1];
    const Index gates = groups == nn::Groups::elements ? 12 : groups == nn::Groups::inputs ? 3 : 4;
    CHECK(equal<T>(u.value(), value));
    CHECK(v.shape().size() == gates);
    for (T& entry : v.value()) {
      CHECK(entry == 1);
      entry = static_cast<T>(rng.uniform(-2, 2));
    }

    Tape<T> tape;
    const Var<T> w = p.bind(tape);
    CHECK(p.bind(tape).index() == w.index());  // once per recording
    CHECK(equal<T>(w.value(), p.materialize()));
    tape.backward(sum(w * tape.constant(seed)));
    std::vector<double> gate_gradient(static_cast<std::size_t>(gates));
    for (Index r = 0; r < 4; ++r) {
      for (Index c = 0; c < 3; ++c) {
        const Index i = r * 3 + c, g = gate(groups, shape, r, c);
        const double s = static_cast<double>(seed[i]);
        CHECK(w.value()[i] == doctest::Approx(u.value()[i] * v.value()[g]).epsilon(1e-6));
        CHECK(u.gradient()[i] == doctest::Approx(s * static_cast<double>(v.value()[g])).epsilon(1e-5));
        gate_gradient[static_cast<std::size_t>(g)] += s * static_cast<double>(u.value()[i]);
      }
    }
    for (Index g = 0; g < gates; ++g) {
      CHECK(v.gradient()[g] == doctest::Approx(gate_gradient[static_cast<std::size_t>(g)]).epsilon(1e-4));
    }

    const Tensor<T> effective = p.materialize();
    p.collapse();
    CHECK(p.parametrization() == nullptr);
    CHECK(p.factors().empty());
    CHECK(equal<T>(p.value(), effective));
    p.collapse();
    CHECK(equal<T>(p.value(), effective));
  }
  nn::Parameter<T> row(Shape{3});
  CHECK_ERROR(row.parametrize(std::make_shared<nn::Hadamard<T>>(nn::Groups::inputs)),
              "[groups] inputs of a parameter 3: expected 2 axes or more");
}

TEST_CASE("Parameter: one that is computed has no numbers of its own") {
  nn::Parameter<double> p(Shape{2, 3});
  const auto hadamard = std::make_shared<nn::Hadamard<double>>(nn::Groups::elements);
  p.parametrize(hadamard);
  CHECK_ERROR(p.value(), "[value]", "2x3", "computed from factors", "materialize()");
  CHECK_ERROR(std::as_const(p).value(), "[value]", "computed from factors");
  CHECK_ERROR(p.gradient(), "[gradient]", "computed from factors");
  CHECK_ERROR(p.parametrize(hadamard), "[parametrize]", "computed from factors");
  CHECK(p.parametrization() == hadamard.get());
}

TEST_CASE("Parametrization: one of your own, also on a factor of another") {
  nn::Parameter<double> p = filled(Tensor<double>({2}, {0.5, 3}));
  p.parametrize(std::make_shared<Positive>());
  CHECK(p.factors()[0].value()[1] == doctest::Approx(std::log(3)));
  CHECK(p.materialize()[0] == doctest::Approx(0.5));
  Tape<double> tape;
  tape.backward(sum(square(p.bind(tape))));
  for (Index i = 0; i < 2; ++i) {  // d exp(z)^2 / dz = 2 exp(z)^2
    CHECK(p.factors()[0].gradient()[i] == doctest::Approx(2 * p.materialize()[i] * p.materialize()[i]));
  }

  nn::Linear<double> layer(2, 2);
  const Tensor<double> weight(layer.weight.value());
  layer.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  layer.weight.factors()[1].parametrize(std::make_shared<Positive>());
  const nn::Parameters<double> parameters = layer.parameters();
  std::vector<std::string> names;
  for (const auto& entry : parameters.entries()) names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"weight.u", "weight.v.log", "bias"});
  for (double& entry : parameters.value(parameters.entry("weight.v.log"))) entry = std::log(2);
  CHECK(layer.weight.materialize()[3] == doctest::Approx(2 * weight[3]));
  layer.weight.collapse();
  CHECK(layer.weight.value()[3] == doctest::Approx(2 * weight[3]));
}

TEST_CASE("Parameter: a tape follows to a new layout, and refuses to be replayed when one was replaced") {
  nn::Linear<double> layer(3, 2);
  const Tensor<double> input({4, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3});
  Tape<double> tape;
  Var<double> loss = sum(square(layer(tape.constant(input))));
  const auto follows = [&] {
    layer.parameters();
    layer.weight.value()[1] += 0.5;
    tape.value_and_gradient(loss);
    const Tensor<double> gradient(layer.weight.gradient());
    const double value = loss.item();
    Tape<double> fresh;
    const Var<double> again = sum(square(layer(fresh.constant(input))));
    CHECK(again.item() == value);
    fresh.backward(again);
    CHECK(same_bits(layer.weight.gradient(), std::as_const(gradient).view()));
  };
  const auto refuses = [&](const char* name) {
    CHECK_ERROR(tape.replay(), "[replay] parameter '", name, "was replaced", "record again");
    CHECK_ERROR(tape.backward(loss), "[backward]");
    tape.clear();
    loss = sum(square(layer(tape.constant(input))));
  };
  follows();
  nn::Sequential<double> around(std::ref(layer), nn::Linear<double>(2, 2));
  around.parameters();  // moves once more
  follows();
  layer.weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs));
  refuses("weight'");
  layer.parameters();
  tape.replay();
  layer.weight.collapse();
  refuses("weight.u'");
  layer.bias = nn::Parameter<double>(Shape{2});
  refuses("bias'");
  {
    nn::Linear<double> gone(3, 2);
    loss = sum(gone(tape.constant(input)));
  }
  refuses("weight'");
}

namespace {

/// One that does what it is told, right or wrong.
struct Odd : nn::Parametrization<double> {
  std::vector<std::string> names;
  Shape factor{2, 2};
  std::size_t factors = 1;
  std::vector<std::string> factor_names() const override { return names; }
  std::vector<Tensor<double>> decompose(View<const double>) const override {
    return std::vector<Tensor<double>>(factors, Tensor<double>(factor));
  }
  Var<double> compute(std::span<const Var<double>> parts) const override { return exp(parts[0]); }
};

}  // namespace

TEST_CASE("Parametrization: one that does not fit is refused, and the parameter stays as it was") {
  nn::Parameter<double> parameter({2, 2});
  std::fill(parameter.value().begin(), parameter.value().end(), 3.0);
  const auto attach = [&](const Odd& odd) { parameter.parametrize(std::make_shared<Odd>(odd)); };
  const auto odd = [](std::vector<std::string> names, const Shape& factor, std::size_t factors) {
    Odd result;
    result.names = std::move(names);
    result.factor = factor;
    result.factors = factors;
    return result;
  };
  CHECK_ERROR(attach(odd({"a"}, {100, 100}, 1)), "[parametrize]", "computes 100x100", "expected 2x2");
  CHECK_ERROR(attach(odd({}, {2, 2}, 1)), "1 factors and 0 names");
  CHECK_ERROR(attach(odd({"a", "b"}, {2, 2}, 1)), "1 factors and 2 names");
  CHECK_ERROR(attach(odd({}, {2, 2}, 0)), "0 factors");
  CHECK_ERROR(attach(odd(std::vector<std::string>(9, "a"), {2, 2}, 9)), "9 factors", "1 to 8");
  CHECK(parameter.parametrization() == nullptr);
  CHECK(parameter.value()[3] == 3);
  attach(odd({"a"}, {2, 2}, 1));
  CHECK(parameter.materialize()[0] == 1);
}
