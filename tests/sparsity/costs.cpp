#include <taper/sparsity/costs.hpp>

#include <cmath>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Costs;
using sparsity::Groups;
using sparsity::GroupWeights;

namespace {

nn::Sequential<double> small_net() {
  return nn::Sequential<double>(nn::Linear<double>(6, 8), nn::Tanh<double>(), nn::Linear<double>(8, 2));
}

/// A weight of rank 4 that is read as a matrix by all pixels of an image, a scale for each channel, and a
/// parameter that nothing reads. A convolution by hand.
struct Pixels : nn::Layer<double> {
  nn::Parameter<double> weight{Shape{5, 3, 1, 1}}, scale{Shape{5}}, unread{Shape{2}};

  void visit(nn::Visitor<double>& v) const override {
    v("conv.weight", weight), v("bn.weight", scale), v("unread", unread);
  }
  Var<double> forward(Var<double> x) const override {  // rows x pixels x 3
    const Index rows = x.shape()[0], pixels = x.shape()[1];
    const Var<double> y = matmul(reshape(x, {rows * pixels, 3}), reshape(weight.bind(x.tape()), {5, 3}),
                                 Transpose::no, Transpose::yes);
    return mul(y, scale.bind(x.tape()));
  }
};

/// One weight for two products.
struct UsedTwice : nn::Layer<double> {
  nn::Linear<double> inner{4, 4, false};

  void visit(nn::Visitor<double>& v) const override { v("inner", inner); }
  Var<double> forward(Var<double> x) const override { return inner(tanh(inner(x))); }
};

/// The weights of the groups of each factorized parameter.
std::map<std::string, std::vector<double>> weights_in(nn::Module<double>& model) {
  std::map<std::string, std::vector<double>> result;
  model.for_parameters([&](const std::string& name, nn::Parameter<double>& parameter) {
    const auto* const product = dynamic_cast<const nn::Hadamard<double>*>(parameter.parametrization());
    if (product == nullptr) return;
    for (Index g = 0; g < product->group_count(parameter.shape()); ++g)
      result[name].push_back(product->weight(g));
  });
  return result;
}

/// The mean over all entries of the weight of their group.
double mean_weight(nn::Module<double>& model) {
  double sum = 0, entries = 0;
  model.for_parameters([&](const std::string&, nn::Parameter<double>& parameter) {
    const auto* const product = dynamic_cast<const nn::Hadamard<double>*>(parameter.parametrization());
    if (product == nullptr) return;
    const auto blocks = product->groups().blocks(parameter.shape());
    for (Index i = 0; i < parameter.shape().size(); ++i)
      sum += product->weight(blocks.group_of(i)), ++entries;
  });
  return sum / entries;
}

}  // namespace

TEST_CASE("multiply_add_costs: of one row, from what the operations state, for any number of rows") {
  auto net = small_net();
  const Costs expected{{"0.weight", 48.0}, {"0.bias", 48.0}, {"2.weight", 16.0}, {"2.bias", 16.0}};
  for (const Index rows : {1, 7, 128}) {
    CAPTURE(rows);
    CHECK(sparsity::multiply_add_costs(net, {rows, 6}) == expected);
    Pixels pixels;
    CHECK(sparsity::multiply_add_costs(pixels, {rows, 9, 3}) ==
          Costs{{"conv.weight", 9.0 * 15}, {"bn.weight", 9.0 * 5}, {"unread", 0.0}});
  }
  const UsedTwice twice;
  CHECK(sparsity::multiply_add_costs(twice, {3, 4}) == Costs{{"inner.weight", 32.0}});
}

TEST_CASE("multiply_add_costs: a factorized weight costs what it computes, and nothing changes") {
  auto net = small_net();
  const Costs plain = sparsity::multiply_add_costs(net, {1, 6});
  sparsity::factorize(net, Groups::inputs, {.depth = 3, .weights = GroupWeights::sqrt_size});
  const Index count = net.parameters().count();
  CHECK(sparsity::multiply_add_costs(net, {1, 6}) == plain);
  CHECK(net.parameters().count() == count);
}

TEST_CASE("multiply_add_costs: inputs that cannot be") {
  auto net = small_net();
  CHECK_ERROR(sparsity::multiply_add_costs(net, {0, 6}), "[multiply_add_costs] an input 0x6",
              "expected rows, one at least");
  CHECK_ERROR(sparsity::multiply_add_costs(net, Shape{}), "[multiply_add_costs] an input scalar");
  CHECK_ERROR(sparsity::multiply_add_costs(net, std::vector<Shape>{}), "[multiply_add_costs] no inputs");
  CHECK_ERROR(sparsity::multiply_add_costs(net, {1, 5}), "[affine]", "expected 6 columns", "layer 0");
}

TEST_CASE("factorize: weights by costs have the mean 1 over all entries, and the ratios of the costs") {
  for (const double scale : {1e-8, 1.0, 1e8}) {
    CAPTURE(scale);
    Pixels pixels;
    Costs costs = sparsity::multiply_add_costs(pixels, {1, 9, 3});
    for (auto& [name, cost] : costs) cost *= scale;
    CHECK(sparsity::factorize(pixels, Groups::filters, {.weights = costs}) == 2);
    const auto weights = weights_in(pixels);
    REQUIRE(weights.at("conv.weight").size() == 5);
    REQUIRE(weights.at("bn.weight").size() == 5);
    // A filter takes 27 multiply-adds, a scale 9; there are 15 entries of the one, 5 of the other.
    const double unit = 20.0 / (15 * 27 + 5 * 9);
    for (std::size_t g = 0; g < 5; ++g) {
      CHECK(weights.at("conv.weight")[g] == doctest::Approx(27 * unit).epsilon(1e-13));
      CHECK(weights.at("bn.weight")[g] == doctest::Approx(9 * unit).epsilon(1e-13));
    }
    CHECK(mean_weight(pixels) == doctest::Approx(1).epsilon(1e-13));
  }
}

TEST_CASE("factorize: weights by parameters") {
  auto net = small_net();
  sparsity::factorize(net, Groups::inputs,
                      {.weights = GroupWeights::parameters, .except = {{"2.weight", Groups::elements}}});
  const auto weights = weights_in(net);
  CHECK(weights.at("0.weight").at(0) == doctest::Approx(8 * weights.at("2.weight").at(0)).epsilon(1e-13));
  CHECK(mean_weight(net) == doctest::Approx(1).epsilon(1e-13));

  // Groups of one size have nothing to tell apart.
  auto elements = small_net();
  sparsity::factorize(elements, Groups::elements, {.weights = GroupWeights::parameters});
  for (const auto& [name, all] : weights_in(elements)) {
    for (const double weight : all) CHECK(weight == 1);
  }
  nn::Linear<double> empty(3, 0);
  CHECK(sparsity::factorize(empty, Groups::inputs, {.weights = GroupWeights::parameters}) == 1);
}

TEST_CASE("factorize: what no operation reads has no cost to be weighted by") {
  Pixels pixels;
  const Costs costs = sparsity::multiply_add_costs(pixels, {1, 9, 3});
  CHECK_ERROR(sparsity::factorize(pixels, Groups::elements, {.weights = costs, .match = "*"}),
              "[factorize] 'unread' costs 0: expected a positive number");
  CHECK(weights_in(pixels).empty());
}
