#include <taper/nn/parametrization.hpp>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include <taper/autodiff/gradcheck.hpp>

#include "../check.hpp"
#include "parameters.hpp"

using namespace taper;

namespace {

constexpr nn::Groups kinds_of_groups[] = {nn::Groups::elements, nn::Groups::inputs, nn::Groups::outputs};

/// Of a matrix with 3 columns.
Index group_in_three_columns(nn::Groups groups, Index entry) {
  if (groups == nn::Groups::elements) return entry;
  return groups == nn::Groups::inputs ? entry % 3 : entry / 3;
}

std::vector<double> random_weights(Rng& rng, nn::Groups groups) {
  std::vector<double> weights(groups == nn::Groups::elements ? 12 : groups == nn::Groups::inputs ? 3 : 4);
  for (double& weight : weights) weight = rng.uniform(0.3, 3);
  return weights;
}

}  // namespace

TEST_CASE_TEMPLATE("Hadamard: a product of many factors, divided by the weights to the power D/2", T, float,
                   double) {
  Rng rng(31);
  const Shape shape{4, 3};
  for (const nn::Groups groups : kinds_of_groups) {
    for (const Index depth : {2, 3, 4, 8}) {
      for (const bool weighted : {false, true}) {
        CAPTURE(groups);
        CAPTURE(depth);
        CAPTURE(weighted);
        const auto weights = weighted ? random_weights(rng, groups) : std::vector<double>{};
        const Tensor<T> value = random_tensor<T>(rng, shape);
        nn::Parameter<T> p = filled(value);
        p.parametrize(std::make_shared<nn::Hadamard<T>>(groups, depth, weights));
        REQUIRE(static_cast<Index>(p.factors().size()) == depth);
        CHECK(equal<T>(p.materialize(), value));  // to the bit, weights or not
        CHECK(equal<T>(p.factors()[0].value(), value));
        for (nn::Parameter<T>& factor : p.factors()) {
          for (T& number : factor.value()) number = static_cast<T>(rng.uniform(-2, 2));
        }
        const Tensor<T> product = p.materialize();
        for (Index i = 0; i < shape.size(); ++i) {
          const Index g = group_in_three_columns(groups, i);
          double expected = static_cast<double>(p.factors()[0].value()[i]);
          for (std::size_t d = 1; d < p.factors().size(); ++d)
            expected *= static_cast<double>(p.factors()[d].value()[g]);
          if (weighted)
            expected /= std::pow(weights[static_cast<std::size_t>(g)], static_cast<double>(depth) / 2);
          CHECK(static_cast<double>(product[i]) ==
                doctest::Approx(expected).epsilon(sizeof(T) == 4 ? 1e-5 : 1e-13));
        }
      }
    }
  }
}

TEST_CASE("Hadamard: gradients of all factors agree with differences") {
  Rng rng(32);
  for (const nn::Groups groups : kinds_of_groups) {
    for (const Index depth : {2, 3, 4}) {
      CAPTURE(groups);
      CAPTURE(depth);
      const nn::Hadamard<double> product(groups, depth, random_weights(rng, groups));
      std::vector<Tensor<double>> factors = product.decompose(random_tensor<double>(rng, {4, 3}));
      for (Tensor<double>& factor : factors) factor = random_tensor<double>(rng, factor.shape());
      const auto report =
          gradcheck([&](std::span<const Var<double>> x) { return product.compute(x); }, factors);
      INFO(report);
      CHECK(report.ok);
    }
  }
}

TEST_CASE("Hadamard: groups along any axis of tensors, with weights and deep products") {
  Rng rng(33);
  for (const Shape& shape : {Shape{5}, Shape{4, 3}, Shape{3, 4, 2}, Shape{2, 3, 2, 3}}) {
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      for (const Index depth : {2, 3}) {
        CAPTURE(shape);
        CAPTURE(axis);
        CAPTURE(depth);
        const nn::Groups groups = nn::Groups::axis(axis);
        std::vector<double> weights(static_cast<std::size_t>(shape[axis]));
        for (double& weight : weights) weight = rng.uniform(0.3, 3);
        const nn::Hadamard<double> product(groups, depth, weights);
        const Tensor<double> value = random_tensor<double>(rng, shape);
        nn::Parameter<double> p = filled(value);
        p.parametrize(std::make_shared<nn::Hadamard<double>>(product));
        CHECK(equal<double>(p.materialize(), value));
        for (nn::Parameter<double>& factor : p.factors()) {
          for (double& number : factor.value()) number = rng.uniform(-2, 2);
        }
        CHECK(p.factors()[1].shape() == groups.gates(shape));
        const Tensor<double> made = p.materialize();
        Index inner = 1;
        for (Index k = axis + 1; k < shape.rank(); ++k) inner *= shape[k];
        for (Index i = 0; i < shape.size(); ++i) {
          const Index g = i / inner % shape[axis];
          double expected = p.factors()[0].value()[i];
          for (std::size_t d = 1; d < p.factors().size(); ++d) expected *= p.factors()[d].value()[g];
          expected /= std::pow(weights[static_cast<std::size_t>(g)], static_cast<double>(depth) / 2);
          CHECK(made[i] == doctest::Approx(expected).epsilon(1e-13));
        }
        // What is held of an entry is its own number and the gates of its group.
        const Mask one = Mask::free(shape, {shape.size() - 1});
        std::vector<Shape> factors;
        for (const nn::Parameter<double>& factor : p.factors()) factors.push_back(factor.shape());
        const std::vector<Mask> of = product.factor_entries_of(one, factors);
        CHECK(of[0] == one);
        for (std::size_t d = 1; d < of.size(); ++d) {
          CHECK(of[d].count_free() == 1);
          CHECK(of[d].is_free(shape[axis] - 1));
        }
        // The groups that are kept keep their weights.
        KeptAxes kept;
        for (Index k = 0; k < shape.rank(); ++k) {
          for (Index i = k == axis ? 1 : 0; i < shape[k]; ++i) kept[static_cast<std::size_t>(k)].push_back(i);
        }
        const auto cut = std::dynamic_pointer_cast<const nn::Hadamard<double>>(product.cut(shape, kept));
        REQUIRE(cut != nullptr);
        CHECK(cut->groups() == groups);
        for (Index g = 1; g < shape[axis]; ++g) CHECK(cut->weight(g - 1) == product.weight(g));
      }
    }
  }
}

TEST_CASE("Hadamard: groups, weights and names") {
  using Names = std::vector<std::string>;
  CHECK(nn::Hadamard<double>(nn::Groups::inputs).factor_names() == Names{"u", "v"});
  CHECK(nn::Hadamard<double>(nn::Groups::inputs, 4).factor_names() == Names{"u", "v1", "v2", "v3"});
  const nn::Hadamard<float> product(nn::Groups::outputs, 3, {1, 2, 3, 4});
  CHECK(product.groups() == nn::Groups::outputs);
  CHECK(product.depth() == 3);
  CHECK(product.weight(3) == 4);
  CHECK(product.group_count({4, 3}) == 4);
  for (const nn::Groups groups : kinds_of_groups) {
    const nn::Hadamard<double> plain(groups, 3);
    CHECK(plain.weight(7) == 1);
    CHECK(plain.group_count({4, 3}) == static_cast<Index>(random_weights(default_rng(), groups).size()));
    for (Index i = 0; i < 12; ++i)
      CHECK(groups.blocks({4, 3}).group_of(i) == group_in_three_columns(groups, i));
  }
  CHECK(nn::Hadamard<double>(nn::Groups::elements).group_count({2, 3, 2}) == 12);
  nn::Parameter<double> empty(Shape{0, 3});
  empty.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::outputs, 3));
  CHECK(empty.materialize().size() == 0);
}

TEST_CASE("Hadamard: depths and weights that cannot be are refused") {
  using Product = nn::Hadamard<double>;
  const auto inputs = nn::Groups::inputs;
  for (const Index depth : {-1, 0, 1, 9}) {
    CHECK_ERROR(Product(inputs, depth), "[factorize]", "a product of " + std::to_string(depth) + " factors",
                "expected 2 to 8");
  }
  for (const double weight : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    CHECK_ERROR(Product(inputs, 2, {1, weight}), "[factorize]", "of a group: expected a positive finite");
  }
  CHECK_ERROR(nn::Hadamard<float>(inputs, 2, {1e100}), "a weight 1e+100");
  const Product two(inputs, 3, {1, 2});
  CHECK_ERROR(two.group_count({4, 3}), "[factorize]", "2 weights for a parameter 4x3", "each of 3 groups");
  CHECK_ERROR(two.decompose(Tensor<double>({4, 3})), "2 weights", "3 groups");
  CHECK_ERROR(two.group_count({4}), "[groups] inputs of a parameter 4", "expected 2 axes or more");
  CHECK_ERROR(two.weight(2), "group 2 of 2");
  CHECK_ERROR(two.weight(-1), "group -1");
}
