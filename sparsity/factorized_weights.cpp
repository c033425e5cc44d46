#include <taper/instantiate.hpp>
#include <taper/sparsity/factorized_weights.hpp>
#include <taper/sparsity/group_norms.hpp>

#include <algorithm>

namespace taper::sparsity {
namespace {

constexpr Index batch_rows = 1024;

template <class T>
FactorizedWeight<T> factorized_weight(const std::string& name, nn::Parameter<T>& parameter) {
  FactorizedWeight<T> product{
      name, &parameter, dynamic_cast<const nn::Hadamard<T>*>(parameter.parametrization()), {}, {}};
  const nn::Parameter<T>& u = parameter.factors().front();
  const Shape& shape = parameter.shape();
  const nn::Groups::Blocks blocks = product.map->groups().blocks(shape);
  for (Index i = 0; i < shape.size(); ++i) product.group.push_back(blocks.group_of(i));
  const Index groups = product.map->group_count(shape);
  std::vector<bool> any_free(static_cast<std::size_t>(groups), false);
  product.frozen.assign(static_cast<std::size_t>(groups), false);
  const Mask mask = u.mask();
  for (Index i = 0; i < shape.size(); ++i) {
    const auto g = static_cast<std::size_t>(product.group[static_cast<std::size_t>(i)]);
    if (mask.is_free(i)) {
      any_free[g] = true;
    } else if (u.value()[i] != 0) {
      product.frozen[g] = true;
    }
  }
  for (std::size_t k = 1; k < parameter.factors().size(); ++k) {
    const Mask gates = parameter.factors()[k].mask();
    for (Index g = 0; g < groups; ++g) {
      const auto at = static_cast<std::size_t>(g);
      if (gates.is_frozen(g) || !any_free[at]) product.frozen[at] = true;
    }
  }
  return product;
}

/// What a model learns apart from products: plain parameters, and factors of other kinds.
template <class T> std::vector<nn::Parameter<T>*> others_of(nn::Module<T>& model) {
  std::vector<nn::Parameter<T>*> result;
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string&, nn::Parameter<T>& leaf) {
      if (dynamic_cast<const nn::Hadamard<T>*>(leaf.factor_of().get()) == nullptr) result.push_back(&leaf);
    });
  });
  return result;
}

/// The rows of a data set from `begin` on, as they lie.
template <class T> View<const T> some_rows(View<const T> all, Index begin, Index count) {
  const Index width = all.size() / all.shape()[0];
  return {all.data() + begin * width, all.shape().with(0, count)};
}

}  // namespace

template <class T>
std::vector<FactorizedWeight<T>> factorized_weights(nn::Module<T>& model, const char* where) {
  std::vector<FactorizedWeight<T>> result;
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    if (dynamic_cast<const nn::Hadamard<T>*>(parameter.parametrization()) != nullptr) {
      result.push_back(factorized_weight(name, parameter));
    }
  });
  if (result.empty()) throw Error(where, "a model without factorized parameters: expected one at least");
  return result;
}

template <class T>
void require_two_factors(const std::vector<FactorizedWeight<T>>& products, const char* where) {
  for (const FactorizedWeight<T>& product : products) {
    if (product.depth() == 2) continue;
    throw Error(where, "'", product.name, "' of ", product.depth(),
                " factors: expected 2, as with more zero is always a local minimum");
  }
}

void require_positive(const char* where, const char* what, double value) {
  if (std::isfinite(value) && value > 0) return;
  throw Error(where, what, " ", value, ": expected a finite number above 0");
}

template <class T>
WeightGradients weight_gradients(nn::Module<T>& model, const std::vector<FactorizedWeight<T>>& products,
                                 const data::Dataset<T>& data, const nn::Loss<T>& loss, const char* where) {
  data::check(data, where);
  if (data.rows() == 0) throw Error(where, "a data set of 0 rows: expected some");
  const nn::Parameters<T> parameters = model.parameters();
  WeightGradients result;
  for (const FactorizedWeight<T>& product : products) result.of.emplace_back(product.group.size(), 0.0);
  const std::vector<nn::Parameter<T>*> others = others_of(model);
  std::vector<std::vector<double>> rest;
  for (const nn::Parameter<T>* other : others) {
    rest.emplace_back(static_cast<std::size_t>(other->shape().size()), 0.0);
  }
  Tape<T> tape(Mode::evaluation);
  for (Index begin = 0; begin < data.rows(); begin += batch_rows) {
    const Index count = std::min(batch_rows, data.rows() - begin);
    const double share = static_cast<double>(count) / static_cast<double>(data.rows());
    tape.clear();
    const Var<T> x = tape.constant(some_rows(data.inputs(), begin, count), "x");
    const Var<T> prediction = nn::record_one(model, x, where);
    if (begin == 0) parameters.require_all_of(tape, where);
    const Var<T> value = loss(prediction, tape.constant(some_rows(data.targets(), begin, count), "y"));
    tape.backward(value);
    result.loss += share * static_cast<double>(value.item());
    const auto add = [&](const nn::Parameter<T>& parameter, std::vector<double>& to) {
      const Var<T> weight = parameter.bind(tape);
      if (!weight.reached()) return;  // no part of the loss
      const View<const T> gradient = weight.gradient();
      for (std::size_t i = 0; i < to.size(); ++i) {
        to[i] += share * static_cast<double>(gradient[static_cast<Index>(i)]);
      }
    };
    for (std::size_t k = 0; k < products.size(); ++k) add(*products[k].parameter, result.of[k]);
    for (std::size_t k = 0; k < others.size(); ++k) add(*others[k], rest[k]);
  }
  for (std::size_t k = 0; k < others.size(); ++k) {
    for (const Index i : others[k]->mask().free_positions()) {
      add_to_norm(result.rest, rest[k][static_cast<std::size_t>(i)]);
    }
  }
  bool finite = std::isfinite(result.loss) && std::isfinite(result.rest);
  for (std::size_t k = 0; k < products.size(); ++k) {
    const nn::Parameter<T>& u = products[k].parameter->factors().front();
    const Mask mask = u.mask();
    for (Index i = 0; i < mask.size(); ++i) {
      double& gradient = result.of[k][static_cast<std::size_t>(i)];
      if (mask.is_frozen(i) && u.value()[i] == 0) gradient = 0;
      finite = finite && std::isfinite(gradient);
    }
  }
  if (!finite) throw Error(where, "a loss or gradient that is not finite: expected a model that computes");
  return result;
}

#define TAPER_INSTANTIATE(T)                                                                         \
  template std::vector<FactorizedWeight<T>> factorized_weights(nn::Module<T>&, const char*);         \
  template void require_two_factors(const std::vector<FactorizedWeight<T>>&, const char*);           \
  template WeightGradients weight_gradients(nn::Module<T>&, const std::vector<FactorizedWeight<T>>&, \
                                            const data::Dataset<T>&, const nn::Loss<T>&, const char*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
