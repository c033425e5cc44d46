#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <taper/nn/graph.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/embedding.hpp>
#include <taper/nn/layers/factorization_machine.hpp>
#include <taper/nn/layers/group_norm.hpp>
#include <taper/nn/layers/layer_norm.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/sparsity/shrink.hpp>

#include "../../autodiff/random_tensors.hpp"
#include "../../check.hpp"

using namespace taper;

namespace {

template <class T> std::vector<std::string> parameter_names(const nn::Module<T>& module) {
  std::vector<std::string> names;
  module.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { names.push_back(name); });
  return names;
}

template <class T> Tensor<T> result_of(const nn::Module<T>& model, const Tensor<T>& x) {
  Tape<T> tape(Mode::evaluation);
  const Var<T> given = tape.constant(x);
  return Tensor<T>(model.record(std::span(&given, 1))[0].value());
}

template <class T> constexpr double few = 100 * static_cast<double>(std::numeric_limits<T>::epsilon());

}  // namespace

TEST_CASE_TEMPLATE("LayerNorm, RMSNorm, GroupNorm: mean and spread of what they normalize", T, float,
                   double) {
  const Tensor<T> x = normal_tensor<T>({3, 6, 4});
  const auto spread = [](const Tensor<T>& y, Index begin, Index count) {
    double sum = 0, squares = 0;
    for (Index i = begin; i < begin + count; ++i) sum += static_cast<double>(y[i]);
    for (Index i = begin; i < begin + count; ++i) squares += std::pow(static_cast<double>(y[i]), 2);
    return std::pair(sum / static_cast<double>(count), squares / static_cast<double>(count));
  };
  nn::LayerNorm<T> layer(Shape{6, 4}, {.eps = 0});
  CHECK(parameter_names(layer) == std::vector<std::string>{"weight", "bias"});
  CHECK(parameter_names(nn::LayerNorm<T>(4, {.bias = false})) == std::vector<std::string>{"weight"});
  CHECK(layer.describe() == "LayerNorm(6x4)");
  const Tensor<T> y = result_of(layer, x), z = result_of(nn::GroupNorm<T>(3, 6, {.eps = 0}), x),
                  r = result_of(nn::RMSNorm<T>(4, {.eps = 0}), x);
  for (Index row = 0; row < 3; ++row) {
    CHECK(std::abs(spread(y, row * 24, 24).first) < few<T>);
    CHECK(std::abs(spread(y, row * 24, 24).second - 1) < few<T>);
    for (Index group = 0; group < 3; ++group) {
      CHECK(std::abs(spread(z, row * 24 + group * 8, 8).first) < few<T>);
      CHECK(std::abs(spread(z, row * 24 + group * 8, 8).second - 1) < few<T>);
    }
    for (Index k = 0; k < 6; ++k) CHECK(std::abs(spread(r, row * 24 + k * 4, 4).second - 1) < few<T>);
  }
  nn::GroupNorm<T> group(2, 6);
  group.weight->value()[5] = 2;
  group.bias->value()[5] = 1;
  const Tensor<T> plain = result_of(nn::GroupNorm<T>(2, 6), x), scaled = result_of(group, x);
  CHECK(std::abs(static_cast<double>(scaled[23] - (2 * plain[23] + 1))) < few<T>);
  CHECK(scaled[3] == plain[3]);
  for (const Shape& shape : {Shape{3, 6}, Shape{3, 6, 2, 2}}) {
    CHECK(result_of(group, normal_tensor<T>(shape)).shape() == shape);
  }
  Tape<T> tape;
  CHECK_ERROR(layer(tape.input({3, 5, 4})), "[LayerNorm] input 3x5x4: expected last dimensions 6x4");
  CHECK_ERROR(layer(tape.input({4})), "[LayerNorm] input 4: expected last dimensions 6x4");
  CHECK_ERROR(group(tape.input({3, 5})), "[GroupNorm] input 3x5: expected rows x 6 channels");
  CHECK_ERROR(nn::GroupNorm<T>(4, 6), "[GroupNorm] 6 channels in 4 groups: expected groups of one size");
  CHECK_ERROR(nn::LayerNorm<T>(0), "[LayerNorm] a shape 0: expected one dimension or more, with entries");
  // For any number of rows.
  nn::Sequential<T> chain(nn::GroupNorm<T>(2, 6), nn::LayerNorm<T>(6), nn::RMSNorm<T>(6));
  const nn::Graph<T> graph = nn::Graph<T>::trace(chain, {{1, 6}});
  const Tensor<T> rows = normal_tensor<T>({11, 6});
  CHECK(same_bits(result_of(graph, rows).view(), result_of(chain, rows).view()));
}

TEST_CASE_TEMPLATE("PReLU: one slope, and one for each channel of rows and maps", T, float, double) {
  nn::PReLU<T> one, several(3);
  CHECK(parameter_names(several) == std::vector<std::string>{"weight"});
  CHECK(several.weight.value()[2] == T(0.25));
  several.weight.value()[2] = T(0.5);
  Tape<T> tape;
  const Tensor<T> x({2, 3}, {1, -2, -4, -1, 2, 4});
  const auto same = [](Var<T> y, std::initializer_list<T> expected) {
    return std::equal(y.value().begin(), y.value().end(), expected.begin(), expected.end());
  };
  CHECK(same(one(tape.constant(x)), {1, T(-0.5), -1, T(-0.25), 2, 4}));
  CHECK(same(several(tape.constant(x)), {1, T(-0.5), -2, T(-0.25), 2, 4}));
  Tape<T> training;
  const Var<T> map = training.constant(Tensor<T>({1, 3, 1, 2}, {1, 2, -1, 2, -4, -6}));
  const Var<T> y = several(map);
  CHECK(same(y, {1, 2, T(-0.25), 2, -2, -3}));
  training.backward(sum(y));
  CHECK(several.weight.gradient()[0] == 0);
  CHECK(several.weight.gradient()[1] == -1);
  CHECK(several.weight.gradient()[2] == -10);
  CHECK_ERROR(several(tape.input({2, 4})), "[PReLU] input 2x4: expected rows x 3 channels");
}

TEST_CASE_TEMPLATE("Embedding: rows at positions, of which the others have no gradient", T, float, double) {
  nn::Embedding<T> table(5, 3);
  CHECK(table.describe() == "Embedding(5, 3)");
  Tape<T> tape;
  const Var<T> y = table(tape.constant(Tensor<T>({2, 2}, {4, 0, 4, 1})));
  CHECK(y.shape() == Shape{2, 2, 3});
  CHECK(y.value()[0] == table.weight.value()[12]);
  tape.backward(sum(y));
  CHECK((table.weight.gradient()[12] == 2 && table.weight.gradient()[0] == 1 &&
         table.weight.gradient()[6] == 0));
  CHECK_ERROR(table(tape.constant(Tensor<T>({1}, {5}))), "position 5: expected a whole number from 0 to 4");
}

TEST_CASE_TEMPLATE("FactorizationMachine: the sum over all pairs, dense and by fields", T, float, double) {
  Rng rng(3);
  const std::vector<Index> sizes{3, 2, 4};
  nn::FactorizationMachine<T> dense(9, 5), fields(sizes, 5);
  CHECK(parameter_names(dense) == std::vector<std::string>{"weight", "bias", "factors"});
  for (T& entry : dense.factors.value()) entry = static_cast<T>(rng.normal());
  dense.bias.value()[0] = T(0.5);
  std::copy(dense.factors.value().begin(), dense.factors.value().end(), fields.factors.value().begin());
  std::copy(dense.weight.value().begin(), dense.weight.value().end(), fields.weight.value().begin());
  fields.bias.value()[0] = T(0.5);
  const auto exact = [&](const Tensor<T>& x, Index row) {
    const auto at = [&](Index i) { return static_cast<double>(x[row * 9 + i]); };
    double y = 0.5;
    for (Index i = 0; i < 9; ++i) {
      y += static_cast<double>(dense.weight.value()[i]) * at(i);
      for (Index j = i + 1; j < 9; ++j) {
        for (Index f = 0; f < 5; ++f) {
          y += static_cast<double>(dense.factors.value()[i * 5 + f]) *
               static_cast<double>(dense.factors.value()[j * 5 + f]) * at(i) * at(j);
        }
      }
    }
    return y;
  };
  const Tensor<T> x = random_tensor<T>(rng, {6, 9});
  const Tensor<T> y = result_of(dense, x);
  REQUIRE(y.shape() == Shape{6, 1});
  for (Index row = 0; row < 6; ++row)
    CHECK(std::abs(static_cast<double>(y[row]) - exact(x, row)) < 10 * few<T>);
  // Categories are rows with a 1 in each field.
  Tensor<T> categories({6, 3}), ones({6, 9});
  for (Index row = 0; row < 6; ++row) {
    Index offset = 0;
    for (Index f = 0; f < 3; ++f) {
      const Index here = rng.below(sizes[static_cast<std::size_t>(f)]);
      categories[row * 3 + f] = static_cast<T>(here);
      ones[row * 9 + offset + here] = 1;
      offset += sizes[static_cast<std::size_t>(f)];
    }
  }
  const Tensor<T> z = result_of(fields, categories);
  REQUIRE(z.shape() == Shape{6, 1});
  for (Index row = 0; row < 6; ++row)
    CHECK(std::abs(static_cast<double>(z[row]) - exact(ones, row)) < 10 * few<T>);
  // Both have the same gradients.
  Tape<T> one, other;
  const Tensor<T> seed = random_tensor<T>(rng, {6, 1});
  one.backward(dense(one.constant(ones)), seed.view());
  other.backward(fields(other.constant(categories)), seed.view());
  CHECK(apart(dense.factors.gradient(), fields.factors.gradient()) < 10 * few<T>);
  CHECK(apart(dense.weight.gradient(), fields.weight.gradient()) < 10 * few<T>);

  Tape<T> tape;
  CHECK_ERROR(dense(tape.input({2, 8})), "[FactorizationMachine] input 2x8: expected rows x 9");
  CHECK_ERROR(fields(tape.input({2, 9})), "[FactorizationMachine] input 2x9: expected rows x 3");
  CHECK_ERROR(fields(tape.constant(Tensor<T>({1, 3}, {0, 2, 0}))),
              "[field_positions] position 2 in field 1: expected a whole number from 0 to 1");
  CHECK_ERROR(fields(tape.constant(Tensor<T>({1, 3}, {T(0.5), 0, 0}))),
              "[field_positions] position 0.5 in field 0");
  CHECK_ERROR(nn::FactorizationMachine<T>(std::vector<Index>{3, 0}, 2),
              "a field of size 0: expected 1 or more");
  CHECK(nn::Graph<T>::trace(fields, {{1, 3}}).parts().parameters.size() == 3);
}

TEST_CASE("FactorizationMachine: latent dimensions and inputs without factors are cut") {
  manual_seed(6);
  nn::Sequential<double> net(nn::FactorizationMachine<double>(7, 4));
  auto& machine = dynamic_cast<nn::FactorizationMachine<double>&>(net[0]);
  machine.factors.value().matrix().col(2).setZero();
  machine.factors.value().matrix().row(3).setZero();
  machine.weight.value()[3] = 0;
  const Tensor<double> x = normal_tensor<double>({50, 7}, 6);
  auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0.0, .drop_inputs = false});
  Shape factors;
  small.for_parameters([&](const std::string& name, const nn::Parameter<double>& p) {
    if (name.find("factors") != std::string::npos) factors = p.shape();
  });
  CHECK(factors[1] == 3);
  CHECK(apart(result_of(small, x).view(), result_of(net, x).view()) < 1e-12);
}
