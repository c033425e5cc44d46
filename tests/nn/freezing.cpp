#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/parameter.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../check.hpp"
#include "parameters.hpp"
#include "random_mask.hpp"

using namespace taper;
using nn::Groups;

namespace {

constexpr Groups all_groups[] = {Groups::elements, Groups::inputs, Groups::outputs};

template <class T> nn::Parameter<T> factorized(const Tensor<T>& value, Groups groups, Index depth = 2) {
  nn::Parameter<T> parameter = filled(value);
  parameter.parametrize(std::make_shared<nn::Hadamard<T>>(groups, depth));
  return parameter;
}

/// Also moves the gates away from 1.
template <class T>
nn::Parameter<T> random_product(Rng& rng, const Shape& shape, Groups groups, Index depth = 2) {
  nn::Parameter<T> parameter = factorized(random_tensor<T>(rng, shape), groups, depth);
  for (std::size_t d = 1; d < parameter.factors().size(); ++d) {
    for (T& gate : parameter.factors()[d].value()) gate = static_cast<T>(rng.uniform(0.5, 2));
  }
  return parameter;
}

/// Of two or more gates, whether all have this mask.
template <class T> bool gates_have(const nn::Parameter<T>& product, const Mask& mask) {
  const auto& factors = product.factors();
  return std::all_of(factors.begin() + 1, factors.end(),
                     [&](const nn::Parameter<T>& gate) { return gate.mask() == mask; });
}

template <class T> bool same_entry(const Tensor<T>& a, const Tensor<T>& b, Index i) {
  return std::memcmp(&a[i], &b[i], sizeof(T)) == 0;
}

/// The gates whose group has one of these (free) entries, or nothing but these.
Mask gates_of(const Mask& entries, Groups groups, const Shape& gates, bool whole_groups = false) {
  if (whole_groups) return ~gates_of(~entries, groups, gates);
  if (groups == Groups::elements) return entries;
  std::vector<Index> found;
  for (const Index i : entries.free_positions()) {
    found.push_back(groups == Groups::inputs ? i % entries.shape()[1] : i / entries.shape()[1]);
  }
  return Mask::free(gates, found);
}

template <class T> nn::Parameters<T> leaves_of(nn::Parameter<T>& parameter) {
  std::vector<std::pair<std::string, nn::Parameter<T>*>> leaves;
  parameter.for_leaves(
      "w", [&](const std::string& name, nn::Parameter<T>& leaf) { leaves.emplace_back(name, &leaf); });
  return nn::Parameters<T>(leaves);
}

/// Fifty steps with momentum and fifty of Adam, both with decay, from gradients that are never zero.
template <class T> void train(Rng& rng, const nn::Parameters<T>& parameters) {
  const auto run = [&](optim::Optimizer<T>& optimizer) {
    for (int t = 0; t < 50; ++t) {
      for (const auto& entry : parameters.entries()) {
        for (T& g : parameters.gradient(entry)) g = static_cast<T>(rng.uniform(0.5, 1));
      }
      optimizer.step();
    }
  };
  optim::SGD<T> sgd(parameters, {.lr = 0.001, .momentum = 0.9, .weight_decay = 0.1});
  run(sgd);
  optim::Adam<T> adam(parameters, {.lr = 0.01, .weight_decay = 0.1});
  run(adam);
}

/// The entries that have another value after a training. A pruned one is a product with a zero, whose sign
/// may change.
template <class T> Mask moved_by_training(Rng& rng, nn::Parameter<T>& parameter) {
  const Tensor<T> before = parameter.materialize();
  train(rng, leaves_of(parameter));
  const Tensor<T> after = parameter.materialize();
  return Mask::free(before.shape(), [&](Index i) { return before[i] != after[i]; });
}

/// The numbers and masks of all leaves.
template <class T> std::vector<std::pair<Tensor<T>, Mask>> state_of(nn::Parameter<T>& parameter) {
  std::vector<std::pair<Tensor<T>, Mask>> state;
  parameter.for_leaves("", [&](const std::string&, nn::Parameter<T>& leaf) {
    state.emplace_back(Tensor<T>(leaf.value()), leaf.mask());
  });
  return state;
}

template <class T>
bool unchanged(nn::Parameter<T>& parameter, const std::vector<std::pair<Tensor<T>, Mask>>& state) {
  const auto now = state_of(parameter);
  if (now.size() != state.size()) return false;
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (!equal<T>(now[i].first, state[i].first) || now[i].second != state[i].second) return false;
  }
  return true;
}

}  // namespace

TEST_CASE_TEMPLATE("Parameter: freeze adds to what is frozen, thaw takes away from it", T, float, double) {
  Rng rng(1);
  const Shape shape{4, 5};
  const Tensor<T> value = random_tensor<T>(rng, shape);
  nn::Parameter<T> p = filled(value);
  CHECK(p.mask() == Mask::all_free(shape));
  for (int round = 0; round < 10; ++round) {
    const Mask a = random_mask(rng, shape, 0.6), b = random_mask(rng, shape, 0.6),
               c = random_mask(rng, shape, 0.3);
    p.thaw();
    CHECK(p.mask().all_free());
    p.freeze(a);
    CHECK(p.mask() == a);
    p.freeze(b);
    CHECK(p.mask() == (a & b));
    p.freeze(Mask::all_free(shape));
    CHECK(p.mask() == (a & b));
    p.thaw(c);
    CHECK(p.mask() == ((a & b) | c));
    p.thaw(Mask::all_frozen(shape));
    CHECK(p.mask() == ((a & b) | c));
    p.freeze();
    CHECK(p.mask().all_frozen());
  }
  CHECK(equal<T>(p.value(), value));
  CHECK(moved_by_training(rng, p).all_frozen());
  p.thaw();
  CHECK(moved_by_training(rng, p).all_free());
}

TEST_CASE_TEMPLATE("Parameter: prune sets to zero what the mask has frozen, and holds it there", T, float,
                   double) {
  Rng rng(2);
  const Shape shape{3, 7};
  Tensor<T> value = random_tensor<T>(rng, shape);
  value[4] = std::numeric_limits<T>::quiet_NaN();
  value[5] = T{-0.0};
  nn::Parameter<T> p = filled(value);
  const Mask held = Mask::frozen(shape, {0, 1}), mask = Mask::frozen(shape, {1, 4, 5, 20});
  p.freeze(held);
  p.prune(Mask::all_free(shape));
  CHECK(p.mask() == held);
  p.prune(mask);
  CHECK(p.mask() == (held & mask));
  for (const Index i : {1, 4, 5, 20}) value[i] = 0;
  CHECK(equal<T>(p.value(), value));
  CHECK(moved_by_training(rng, p) == (held & mask));
  p.thaw(Mask::free(shape, {20}));
  CHECK(moved_by_training(rng, p) == ((held & mask) | Mask::free(shape, {20})));
  p.prune();
  CHECK(p.mask().all_frozen());
  CHECK(equal<T>(p.value(), Tensor<T>(shape)));
}

TEST_CASE("Parameter: a mask of another shape is refused and changes nothing") {
  Rng rng(3);
  for (const bool product : {false, true}) {
    nn::Parameter<double> p = product ? random_product<double>(rng, {2, 3}, Groups::inputs)
                                      : filled(random_tensor<double>(rng, {2, 3}));
    p.freeze(Mask::frozen({2, 3}, {1}));
    const auto before = state_of(p);
    for (const Mask& wrong : {Mask::all_frozen({3, 2}), Mask::all_free({6}), Mask()}) {
      CHECK_ERROR(p.freeze(wrong), "[freeze]", "a mask " + wrong.shape().str(), "expected 2x3");
      CHECK_ERROR(p.prune(wrong), "[prune]", "a mask " + wrong.shape().str(), "expected 2x3");
      CHECK_ERROR(p.thaw(wrong), "[thaw]", "a mask " + wrong.shape().str(), "expected 2x3");
    }
    CHECK(unchanged(p, before));
  }
}

TEST_CASE_TEMPLATE("Parameter: copies, assignments and moves keep the mask", T, float, double) {
  Rng rng(4);
  for (const bool product : {false, true}) {
    CAPTURE(product);
    const Shape shape{4, 3};
    nn::Parameter<T> p =
        product ? random_product<T>(rng, shape, Groups::outputs) : filled(random_tensor<T>(rng, shape));
    const Mask mask = random_mask(rng, shape, 0.5);
    p.freeze(mask);
    const auto state = state_of(p);
    nn::Parameter<T> copy = p, assigned;
    assigned = p;
    p.thaw();
    CHECK(p.mask().all_free());
    CHECK(unchanged(copy, state));
    CHECK(unchanged(assigned, state));
    CHECK(copy.mask() == mask);
    copy.freeze();
    CHECK(assigned.mask() == mask);
    nn::Parameter<T> moved = std::move(assigned);
    CHECK(unchanged(moved, state));
    copy = std::move(moved);
    CHECK(unchanged(copy, state));
    CHECK(moved_by_training(rng, copy) == mask);
  }
}

TEST_CASE_TEMPLATE("Parameters: laid out in one block, anew or as a copy, each keeps its mask", T, float,
                   double) {
  Rng rng(5);
  nn::Sequential<T> model(nn::Linear<T>(3, 5), nn::Linear<T>(5, 4));
  const auto layer = [](nn::Sequential<T>& m, std::size_t i) -> nn::Linear<T>& {
    return static_cast<nn::Linear<T>&>(m[i]);
  };
  const Mask first = random_mask(rng, {5, 3}, 0.5), second = random_mask(rng, {4, 5}, 0.5),
             bias = random_mask(rng, {4}, 0.5);
  layer(model, 0).weight.freeze(first);
  layer(model, 1).weight.freeze(second);
  layer(model, 1).bias->freeze(bias);
  const auto check = [&](nn::Sequential<T>& m) {
    CHECK(layer(m, 0).weight.mask() == first);
    CHECK(layer(m, 0).bias->mask().all_free());
    CHECK(layer(m, 1).weight.mask() == second);
    CHECK(layer(m, 1).bias->mask() == bias);
  };
  const nn::Parameters<T> parameters = model.parameters();
  check(model);
  Index frozen = 0;  // the gaps between the parameters are free
  for (std::size_t i = 0; i < parameters.block()->frozen.size(); ++i)
    frozen += parameters.block()->frozen.data()[i];
  CHECK(frozen == (~first).count_free() + (~second).count_free() + (~bias).count_free());

  std::vector<Tensor<T>> before;
  for (const auto& entry : parameters.entries()) before.emplace_back(Tensor<T>(parameters.value(entry)));
  train(rng, parameters);
  const Mask masks[] = {first, Mask::all_free({5}), second, bias};
  for (std::size_t e = 0; e < 4; ++e) {
    const Tensor<T> after(parameters.value(parameters.entries()[e]));
    for (Index i = 0; i < after.size(); ++i) CHECK(same_entry(before[e], after, i) == masks[e].is_frozen(i));
  }

  nn::Sequential<T> copy = model;
  copy.parameters();
  check(copy);
  copy.thaw();
  check(model);
  model.push_back(nn::Linear<T>(4, 1));
  CHECK(model.parameters().block() != parameters.block());
  check(model);
  sparsity::factorize(model, Groups::inputs, "2.weight");
  model.parameters();
  check(model);
  model = nn::Sequential<T>(model);
  model.parameters();
  check(model);
}

TEST_CASE_TEMPLATE("Parameter: freezing entries of a product holds both factors of each", T, float, double) {
  Rng rng(6);
  for (const Groups groups : all_groups) {
    for (const double share : {0.1, 0.5, 0.9}) {
      CAPTURE(groups);
      CAPTURE(share);
      const Shape shape{5, 4};
      nn::Parameter<T> p = random_product<T>(rng, shape, groups);
      nn::Parameter<T>&u = p.factors()[0], &v = p.factors()[1];
      CHECK(p.mask() == Mask::all_free(shape));
      const Mask a = random_mask(rng, shape, std::sqrt(share)), b = random_mask(rng, shape, std::sqrt(share));
      const Tensor<T> before = p.materialize();
      p.freeze(a);
      CHECK(p.mask() == a);
      p.freeze(b);
      CHECK(p.mask() == (a & b));
      CHECK(u.mask() == (a & b));
      CHECK(v.mask() == ~gates_of(~(a & b), groups, v.shape()));
      CHECK(equal<T>(p.materialize(), before));
      CHECK(moved_by_training(rng, p) == (a & b));
      const Tensor<T> after = p.materialize();
      for (Index i = 0; i < shape.size(); ++i) {
        if ((a & b).is_frozen(i)) CHECK(same_entry(before, after, i));
      }
    }
    nn::Parameter<T> p = random_product<T>(rng, {3, 2}, groups);
    p.freeze();
    CHECK(p.mask().all_frozen());
    CHECK(moved_by_training(rng, p).all_frozen());
  }
}

TEST_CASE_TEMPLATE("Parameter: pruned entries of a product stay zero while their group moves on", T, float,
                   double) {
  Rng rng(7);
  for (const Groups groups : all_groups) {
    for (const double share : {0.2, 0.5, 0.9}) {
      CAPTURE(groups);
      CAPTURE(share);
      const Shape shape{6, 4};
      nn::Parameter<T> p = random_product<T>(rng, shape, groups);
      nn::Parameter<T>&u = p.factors()[0], &v = p.factors()[1];
      // A row and a column with one entry left, one row and one column gone.
      Mask mask = random_mask(rng, shape, share) - Mask::free(shape, {4, 5, 6, 7, 1, 9, 13, 17, 21});
      mask = mask | Mask::free(shape, {0, 2, 23});
      Tensor<T> expected = p.materialize();
      const Tensor<T> gates(p.factors()[1].value());
      for (const Index i : (~mask).free_positions()) expected[i] = 0;
      p.prune(mask);
      CHECK(apart<const T, const T>(p.materialize(), expected) == 0);
      CHECK(p.mask() == mask);
      const Mask dead = gates_of(~mask, groups, v.shape(), true);  // gates that nothing is left for
      CHECK(u.mask() == mask);
      CHECK(v.mask() == ~dead);
      CHECK(apart<const T, const T>(v.value(), gates) == 0);  // they keep their values, to start from again
      CHECK(moved_by_training(rng, p) == mask);
      for (const Index i : (~mask).free_positions()) CHECK(p.materialize()[i] == 0);
      for (Index g = 0; g < dead.size(); ++g) CHECK((v.value()[g] == gates[g]) == dead.is_free(g));

      p.prune();
      CHECK(p.mask().all_frozen());
      CHECK(apart<const T, const T>(p.materialize(), Tensor<T>(shape)) == 0);
    }
  }
}

TEST_CASE_TEMPLATE("Parameter: thawing entries of a product lets go what no held entry needs", T, float,
                   double) {
  Rng rng(8);
  for (const Groups groups : all_groups) {
    for (int round = 0; round < 10; ++round) {
      CAPTURE(groups);
      CAPTURE(round);
      const Shape shape{5, 4};
      nn::Parameter<T> p = random_product<T>(rng, shape, groups);
      nn::Parameter<T>&u = p.factors()[0], &v = p.factors()[1];
      const Mask frozen = random_mask(rng, shape, 0.5), thawed = random_mask(rng, shape, 0.7);
      p.freeze(~frozen);
      p.thaw(thawed);
      const Mask held = frozen - thawed;
      CHECK(p.mask() == ~held);
      CHECK(u.mask() == ~held);
      // A gate goes when one of its entries is thawed and none is held.
      const Mask before = gates_of(frozen, groups, v.shape());
      const Mask gates = before - (gates_of(thawed, groups, v.shape()) - gates_of(held, groups, v.shape()));
      CHECK(v.mask() == ~gates);
      CHECK(moved_by_training(rng, p) == ~held);
      p.thaw();
      CHECK(p.mask().all_free());
      CHECK(u.mask().all_free());
      CHECK(v.mask().all_free());
      CHECK(moved_by_training(rng, p).all_free());
    }
  }
}

TEST_CASE_TEMPLATE("Parameter: thawing one entry of a group that was pruned lets it move", T, float, double) {
  Rng rng(9);
  for (const Groups groups : all_groups) {
    CAPTURE(groups);
    const Shape shape{4, 4};
    nn::Parameter<T> p = random_product<T>(rng, shape, groups);
    const Mask row_and_column = Mask::free(shape, [](Index i) { return i / 4 == 1 || i % 4 == 1; });
    p.prune(~row_and_column);
    CHECK(p.mask() == ~row_and_column);
    const Mask corner = Mask::free(shape, {5});
    p.thaw(corner);  // the others of its row and column are still zero, and need no gate for that
    CHECK(p.mask() == (~row_and_column | corner));
    CHECK(moved_by_training(rng, p) == (~row_and_column | corner));
    for (const Index i : (row_and_column - corner).free_positions()) CHECK(p.materialize()[i] == 0);
  }
}

TEST_CASE_TEMPLATE("Parameter: freezing, pruning and thawing mix", T, float, double) {
  Rng rng(10);
  for (const Groups groups : all_groups) {
    for (int round = 0; round < 20; ++round) {
      CAPTURE(groups);
      CAPTURE(round);
      const Shape shape{4, 5};
      nn::Parameter<T> p = random_product<T>(rng, shape, groups);
      Mask expected = Mask::all_free(shape);
      for (int call = 0; call < 6; ++call) {
        const Mask mask = random_mask(rng, shape, 0.7);
        const Tensor<T> before = p.materialize();
        const Index verb = rng.below(3);
        try {
          if (verb == 0) p.freeze(mask), expected = expected & mask;
          if (verb == 1) p.prune(mask), expected = expected & mask;
          if (verb == 2) p.thaw(mask), expected = expected | mask;
        } catch (const Error&) {  // entries that lean on the same gate, which changes nothing
          CHECK(equal<T>(p.materialize(), before));
        }
        CHECK(p.mask() == expected);
      }
      CHECK((moved_by_training(rng, p) - expected).all_frozen());
    }
  }
}

TEST_CASE_TEMPLATE("Parameter: factorizing and collapsing carry the mask along", T, float, double) {
  Rng rng(11);
  for (const Groups groups : all_groups) {
    for (const bool pruned : {false, true}) {
      CAPTURE(groups);
      CAPTURE(pruned);
      const Shape shape{5, 4};
      nn::Parameter<T> p = filled(random_tensor<T>(rng, shape));
      const Mask mask = random_mask(rng, shape, 0.5);
      pruned ? p.prune(mask) : p.freeze(mask);
      const Tensor<T> value = p.materialize();
      p.parametrize(std::make_shared<nn::Hadamard<T>>(groups));
      CHECK(p.mask() == mask);
      CHECK(equal<T>(p.materialize(), value));
      CHECK(moved_by_training(rng, p) == mask);
      const Tensor<T> trained = p.materialize();
      p.collapse();
      CHECK(p.mask() == mask);
      CHECK(equal<T>(p.value(), trained));
      for (Index i = 0; i < shape.size(); ++i) {
        if (mask.is_frozen(i)) CHECK(same_entry(value, trained, i));
      }
      CHECK(moved_by_training(rng, p) == mask);

      // What is pruned as a product is held at zero afterwards.
      p = random_product<T>(rng, shape, groups);
      p.prune(mask);
      p.collapse();
      CHECK(p.mask() == mask);
      for (Index i = 0; i < shape.size(); ++i) CHECK((p.value()[i] == 0) == mask.is_frozen(i));
      CHECK(moved_by_training(rng, p) == mask);
    }
    nn::Parameter<T> free = random_product<T>(rng, {2, 2}, groups);
    free.collapse();
    CHECK(free.mask().all_free());
  }
}

TEST_CASE_TEMPLATE("Parameter: deep products are frozen, pruned and thawed like pairs", T, float, double) {
  Rng rng(21);
  for (const Groups groups : all_groups) {
    for (const Index depth : {3, 4}) {
      CAPTURE(groups);
      CAPTURE(depth);
      const Shape shape{5, 4};
      const Mask mask = random_mask(rng, shape, 0.5) - Mask::free(shape, {1, 5, 9, 13, 17, 4, 6, 7});

      nn::Parameter<T> p = random_product<T>(rng, shape, groups, depth);
      const Shape gates = p.factors()[1].shape();
      p.freeze(mask);
      CHECK(p.mask() == mask);
      CHECK(p.factors()[0].mask() == mask);
      CHECK(gates_have(p, ~gates_of(~mask, groups, gates)));
      CHECK(moved_by_training(rng, p) == mask);
      p.thaw();
      CHECK(p.mask().all_free());
      CHECK(gates_have(p, Mask::all_free(gates)));

      p = random_product<T>(rng, shape, groups, depth);
      std::vector<Tensor<T>> before;
      for (const nn::Parameter<T>& factor : p.factors()) before.emplace_back(factor.value());
      Tensor<T> expected = p.materialize();
      for (const Index i : (~mask).free_positions()) expected[i] = 0;
      p.prune(mask);
      CHECK(apart<const T, const T>(p.materialize(), expected) == 0);
      CHECK(p.mask() == mask);
      CHECK(p.factors()[0].mask() == mask);
      CHECK(gates_have(p, ~gates_of(~mask, groups, gates, true)));
      for (std::size_t d = 1; d < before.size(); ++d) CHECK(equal<T>(p.factors()[d].value(), before[d]));
      CHECK(moved_by_training(rng, p) == mask);
      for (const Index i : (~mask).free_positions()) CHECK(p.materialize()[i] == 0);

      const Mask corner = Mask::free(shape, {5});  // its row and column are pruned
      p.thaw(corner);
      CHECK(p.mask() == (mask | corner));
      CHECK(moved_by_training(rng, p) == (mask | corner));
      const Tensor<T> trained = p.materialize();
      p.collapse();
      CHECK(equal<T>(p.value(), trained));
      CHECK(p.mask() == (mask | corner));
    }
  }
}

TEST_CASE("Parameter: a held zero among many factors holds a deep product") {
  nn::Parameter<double> p = factorized(Tensor<double>({2, 2}, {1, 2, 3, 4}), Groups::inputs, 4);
  for (std::size_t d : {0u, 1u, 2u}) p.factors()[d].freeze();
  CHECK(p.mask().all_free());  // by way of the last
  p.factors()[2].value()[1] = 0;
  CHECK(p.mask() == Mask::frozen({2, 2}, {1, 3}));
  p.factors()[2].thaw();
  p.factors()[3].freeze();
  CHECK(p.mask().all_free());
  p.factors()[2].freeze();
  CHECK(p.mask().all_frozen());
}

TEST_CASE("Parameter: the mask of a product follows from those of its factors") {
  nn::Parameter<double> p = factorized(Tensor<double>({2, 3}, {1, 2, 3, 4, 5, 6}), Groups::inputs);
  nn::Parameter<double>&u = p.factors()[0], &v = p.factors()[1];
  v.freeze();
  CHECK(p.mask().all_free());  // by way of u
  u.freeze(Mask::frozen({2, 3}, {4}));
  CHECK(p.mask() == Mask::frozen({2, 3}, {4}));
  v.thaw();
  CHECK(p.mask().all_free());  // by way of v
  v.prune(Mask::frozen({3}, {0}));
  CHECK(p.mask() == Mask::frozen({2, 3}, {0, 3}));  // a gate at zero
  u.prune(Mask::frozen({2, 3}, {2}));
  CHECK(p.mask() == Mask::frozen({2, 3}, {0, 3, 2}));
  p.collapse();
  CHECK(p.mask() == Mask::frozen({2, 3}, {0, 3, 2}));
}

TEST_CASE("Parameter: an entry that would only be held along with others is not frozen alone") {
  nn::Parameter<double> p = factorized(Tensor<double>({2, 2}, {1, 2, 3, 4}), Groups::inputs);
  p.factors()[1].value()[0] = 0;  // entries 0 and 2 hang on this gate; held at zero it holds both
  const auto before = state_of(p);
  CHECK_ERROR(p.freeze(Mask::frozen({2, 2}, {0})), "[freeze]", "1 of 4 entries", "computed together");
  CHECK(unchanged(p, before));
  p.freeze(Mask::frozen({2, 2}, {0, 2}));
  CHECK(p.mask() == Mask::frozen({2, 2}, {0, 2}));
}

TEST_CASE_TEMPLATE("Simplex: all of it can be frozen, and nothing less", T, float, double) {
  Rng rng(12);
  const Tensor<T> value({2, 3}, {T(0.2), T(0.3), T(0.5), T(0.6), T(0.1), T(0.3)});
  nn::Parameter<T> p = filled(value);
  p.parametrize(std::make_shared<nn::Simplex<T>>());
  const auto before = state_of(p);
  for (const Mask& part :
       {Mask::frozen({2, 3}, {4}), Mask::free({2, 3}, {4}), Mask::frozen({2, 3}, {0, 1, 2})}) {
    CHECK_ERROR(p.freeze(part), "[freeze]", std::to_string((~part).count_free()) + " of 6 entries",
                "computed together", "expected all of them");
    CHECK_ERROR(p.prune(part), "[prune]", "not a product");
    CHECK(unchanged(p, before));
  }
  CHECK_ERROR(p.prune(), "[prune]", "6 of 6 entries", "not a product");
  CHECK(unchanged(p, before));
  CHECK(p.mask().all_free());
  p.freeze(Mask::all_free({2, 3}));
  p.prune(Mask::all_free({2, 3}));
  CHECK(unchanged(p, before));
  CHECK(moved_by_training(rng, p).count_free() > 0);

  p.freeze();
  CHECK(p.mask().all_frozen());
  CHECK(moved_by_training(rng, p).all_frozen());
  p.freeze(Mask::frozen({2, 3}, {4}));  // is already
  p.thaw(Mask::free({2, 3}, {4}));      // the other entries need all of z
  CHECK(p.mask().all_frozen());
  p.thaw();
  CHECK(p.mask().all_free());
  CHECK(p.factors()[0].mask().all_free());
}

TEST_CASE_TEMPLATE("Parameter: a parametrization that cannot carry the mask is refused", T, float, double) {
  const Tensor<T> value({3}, {T(0.2), T(0.3), T(0.5)});
  nn::Parameter<T> p = filled(value);
  const auto block = p.block();
  p.freeze(Mask::frozen({3}, {1}));
  const std::uint64_t version = block->version;
  CHECK_ERROR(p.parametrize(std::make_shared<nn::Simplex<T>>()), "[freeze]", "1 of 3", "computed together");
  CHECK(p.parametrization() == nullptr);
  CHECK(p.factors().empty());
  REQUIRE(p.block() == block);
  CHECK(block->version == version);
  CHECK(equal<T>(p.value(), value));
  CHECK(p.mask() == Mask::frozen({3}, {1}));
  p.freeze();
  p.parametrize(std::make_shared<nn::Simplex<T>>());
  CHECK(p.mask().all_frozen());
  CHECK(apart<const T, const T>(p.materialize(), value) < 1e-6);
  p.collapse();
  CHECK(p.mask().all_frozen());
}

TEST_CASE("Parameter: a factor with a parametrization of its own") {
  Rng rng(13);
  nn::Parameter<double> p = random_product<double>(rng, {3, 2}, Groups::inputs);
  p.factors()[1].parametrize(std::make_shared<Positive>());
  const auto before = state_of(p);
  CHECK_ERROR(p.freeze(Mask::frozen({3, 2}, {0})), "[freeze]", "computed together");
  CHECK(unchanged(p, before));
  p.freeze(Mask::frozen({3, 2}, {0, 1}));  // one entry of each group: all gates
  CHECK(p.mask() == Mask::frozen({3, 2}, {0, 1}));
  CHECK(p.factors()[1].mask().all_frozen());
  CHECK(moved_by_training(rng, p) == Mask::frozen({3, 2}, {0, 1}));
  p.thaw();
  CHECK(p.mask().all_free());
  p.prune(Mask::frozen({3, 2}, {0}));  // by its own factor alone
  CHECK(p.mask() == Mask::frozen({3, 2}, {0}));
  CHECK(moved_by_training(rng, p) == Mask::frozen({3, 2}, {0}));
  CHECK(p.materialize()[0] == 0);
  p.prune();  // a positive gate cannot be zero, but the other factor can
  CHECK(p.materialize().vector().cwiseAbs().maxCoeff() == 0);
  CHECK(p.mask().all_frozen());
}

TEST_CASE_TEMPLATE("Module: freeze, prune and thaw by patterns of names", T, float, double) {
  nn::Sequential<T> model(nn::Linear<T>(3, 4), nn::Linear<T>(4, 4), nn::Linear<T>(4, 4, false));
  sparsity::factorize(model, Groups::outputs, "2.weight");
  const auto layer = [&](std::size_t i) -> nn::Linear<T>& { return static_cast<nn::Linear<T>&>(model[i]); };
  const nn::Parameters<T> parameters = model.parameters();
  const auto frozen = [&] {  // the names of the leaves that are held as a whole
    std::vector<std::string> names;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto add = [&](const std::string& name, nn::Parameter<T>& leaf) {
        if (leaf.mask().all_frozen()) {
          names.push_back(name);
        } else {
          CHECK(leaf.mask().all_free());
        }
      };
      layer(i).weight.for_leaves(std::to_string(i) + ".weight", add);
      if (layer(i).bias) layer(i).bias->for_leaves(std::to_string(i) + ".bias", add);
    }
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(frozen() == Names{});
  model.freeze("*.bias");
  CHECK(frozen() == Names{"0.bias", "1.bias"});
  model.freeze("*.weight.v");
  CHECK(frozen() == Names{"0.bias", "1.bias", "2.weight.v"});
  CHECK(layer(2).weight.mask().all_free());
  model.thaw("0.*");
  CHECK(frozen() == Names{"1.bias", "2.weight.v"});
  model.freeze("[12].weight");
  CHECK(frozen() == Names{"1.weight", "1.bias", "2.weight.u", "2.weight.v"});
  CHECK(layer(2).weight.mask().all_frozen());
  model.thaw("2.weight.u");
  CHECK(frozen() == Names{"1.weight", "1.bias", "2.weight.v"});
  model.thaw();
  CHECK(frozen() == Names{});
  model.freeze();
  CHECK(frozen().size() == parameters.entries().size());
  model.thaw();

  model.prune("1.*");
  CHECK(frozen() == Names{"1.weight", "1.bias"});
  CHECK(equal<T>(layer(1).weight.value(), Tensor<T>(Shape{4, 4})));
  CHECK(equal<T>(layer(1).bias->value(), Tensor<T>(Shape{4})));
  model.prune("*.v");
  CHECK(layer(2).weight.mask().all_frozen());
  CHECK(apart<const T, const T>(layer(2).weight.materialize(), Tensor<T>(Shape{4, 4})) == 0);
  CHECK(layer(2).weight.factors()[0].mask().all_free());
  model.thaw("*.weight");
  CHECK(frozen() == Names{"1.bias"});
  CHECK(model.parameters().block() == parameters.block());
}

TEST_CASE("Module: the entries of a mask, in every parameter that matches") {
  nn::Sequential<double> model(nn::Linear<double>(4, 4), nn::Linear<double>(4, 4), nn::Linear<double>(4, 2));
  sparsity::factorize(model, Groups::inputs, "1.weight");
  const auto layer = [&](std::size_t i) -> nn::Linear<double>& {
    return static_cast<nn::Linear<double>&>(model[i]);
  };
  const Mask mask = Mask::frozen({4, 4}, {0, 7, 9});
  model.freeze("[01].weight", mask);
  CHECK(layer(0).weight.mask() == mask);
  CHECK(layer(1).weight.mask() == mask);
  CHECK(layer(0).bias->mask().all_free());
  model.thaw("[01].weight", Mask::free({4, 4}, {7}));
  CHECK(layer(0).weight.mask() == Mask::frozen({4, 4}, {0, 9}));
  CHECK(layer(1).weight.mask() == Mask::frozen({4, 4}, {0, 9}));
  model.prune("*.weight.v", Mask::frozen({4}, {3}));
  CHECK(layer(1).weight.mask() == Mask::frozen({4, 4}, {0, 9, 3, 7, 11, 15}));
  model.prune("0.weight", Mask::frozen({4, 4}, {5}));
  CHECK(layer(0).weight.mask() == Mask::frozen({4, 4}, {0, 9, 5}));
  CHECK(layer(0).weight.value()[5] == 0);
}

TEST_CASE("Module: a pattern or a mask that does not fit is refused and changes nothing") {
  nn::Sequential<double> model(nn::Linear<double>(4, 4), nn::Linear<double>(4, 2));
  sparsity::factorize(model, Groups::inputs, "0.weight");
  const nn::Parameters<double> parameters = model.parameters();
  const std::uint64_t masks = parameters.block()->mask_version;
  const std::vector<double> before(parameters.block()->values.data(),
                                   parameters.block()->values.data() + parameters.block()->values.size());
  const std::string names = "0.weight, 0.weight.u, 0.weight.v, 0.bias, 1.weight, 1.bias";
  const Mask mask = Mask::all_frozen({4, 4});
  for (const std::string pattern : {"2.*", "bias", "", "weight.v"}) {
    const std::string quoted = "nothing matches '" + pattern + "'";
    CHECK_ERROR(model.freeze(pattern), "[freeze]", quoted, names);
    CHECK_ERROR(model.prune(pattern), "[prune]", quoted, names);
    CHECK_ERROR(model.thaw(pattern), "[thaw]", quoted, names);
    CHECK_ERROR(model.freeze(pattern, mask), "[freeze]", quoted, names);
    CHECK_ERROR(model.prune(pattern, mask), "[prune]", quoted, names);
    CHECK_ERROR(model.thaw(pattern, mask), "[thaw]", quoted, names);
  }
  // It fits the first that matches and not the second.
  CHECK_ERROR(model.freeze("*.weight", mask), "[freeze]", "a mask 4x4 for '1.weight'", "expected 2x4");
  CHECK_ERROR(model.prune("*.weight", mask), "[prune]", "a mask 4x4 for '1.weight'", "expected 2x4");
  CHECK_ERROR(model.prune("*.bias", Mask::all_frozen({4})), "[prune]", "a mask 4 for '1.bias'", "expected 2");
  CHECK(parameters.block()->mask_version == masks);
  CHECK(std::equal(before.begin(), before.end(), parameters.block()->values.data()));
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(parameters.block()->frozen.data()[i] == 0);
  model.freeze();
  CHECK_ERROR(model.thaw("*.weight", mask), "[thaw]", "a mask 4x4 for '1.weight'", "expected 2x4");
  CHECK(static_cast<nn::Linear<double>&>(model[0]).weight.mask().all_frozen());
}

TEST_CASE("prune and thaw: a product can learn again, with gradients from a tape") {
  for (const nn::Groups groups : {nn::Groups::elements, nn::Groups::inputs, nn::Groups::outputs}) {
    manual_seed(4);
    nn::Linear<double> model(3, 2, false);
    sparsity::factorize(model, groups);
    const Mask all = Mask::all_frozen({2, 3});
    model.prune("weight", all);
    Tape<double> tape;
    const auto train = [&] {
      optim::Adam<double> adam(model.parameters(), {.lr = 0.05});
      for (int step = 0; step < 400; ++step) {
        tape.clear();
        const auto loss = mean(square(model.weight.bind(tape) - 2.0));
        tape.backward(loss);
        adam.step();
      }
    };
    train();
    CHECK(model.weight.materialize().vector().cwiseAbs().maxCoeff() == 0);
    model.thaw("weight", Mask::free(Shape{2, 3}, {1}));
    train();
    CHECK(model.weight.materialize()[1] == doctest::Approx(2).epsilon(1e-2));
    for (const Index held : {0, 2, 3, 4, 5}) CHECK(model.weight.materialize()[held] == 0);
  }
}

TEST_CASE("factorize: zeros that are held do not hold the gate of their group") {
  for (const bool before : {true, false}) {
    nn::Linear<double> model(4, 4, false);
    const Mask mask = Mask::frozen(Shape{4, 4}, {0, 5, 10, 15});  // one of each input
    if (before) model.prune("weight", mask);
    sparsity::factorize(model, sparsity::Groups::inputs);
    if (!before) model.prune("weight", mask);
    CHECK(model.weight.factors()[0].mask() == mask);
    CHECK(model.weight.factors()[1].mask().all_free());
    CHECK(model.weight.mask() == mask);
  }
}

TEST_CASE("Module: a verb that one of several parameters refuses changes none") {
  struct Pair : nn::Layer<double> {
    nn::Parameter<double> plain{Shape{2}}, point{Shape{2}};
    void visit(nn::Visitor<double>& m) const override { m("plain", plain), m("point", point); }
    Var<double> forward(Var<double> x) const override { return x; }
  } pair;
  std::fill(pair.plain.value().begin(), pair.plain.value().end(), 0.5);
  std::fill(pair.point.value().begin(), pair.point.value().end(), 0.5);
  pair.point.parametrize(std::make_shared<nn::Simplex<double>>());
  CHECK_ERROR(pair.prune("*"), "[prune]");
  CHECK_ERROR(pair.freeze("*", Mask::frozen({true, false})), "[freeze]");
  CHECK(pair.plain.value()[0] == 0.5);
  CHECK(pair.plain.mask().all_free());
}
