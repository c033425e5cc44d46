#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <utility>
#include <variant>

#include <taper/instantiate.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity {

struct PenaltyWeights::Choice : std::variant<GroupWeights, std::vector<double>, Costs> {
  using variant::variant;
};

PenaltyWeights::PenaltyWeights(GroupWeights by_name) : choice_(std::make_shared<Choice>(by_name)) {}
PenaltyWeights::PenaltyWeights(std::vector<double> each)
    : choice_(std::make_shared<Choice>(std::move(each))) {}
PenaltyWeights::PenaltyWeights(Costs costs) : choice_(std::make_shared<Choice>(std::move(costs))) {}

namespace {

template <class T> const nn::Hadamard<T>* hadamard(const nn::Parameter<T>& parameter) {
  return dynamic_cast<const nn::Hadamard<T>*>(parameter.parametrization());
}

template <class T> double squared_norm(View<const T> x) {
  double total = 0;
  for (const T entry : x) total += static_cast<double>(entry) * static_cast<double>(entry);
  return total;
}

/// The Euclidean norms of the groups of a weight.
template <class T> std::vector<double> norms_of_groups(View<const T> weight, const nn::Hadamard<T>& product) {
  const nn::Groups::Blocks blocks = product.groups().blocks(weight.shape());
  std::vector<double> norms(static_cast<std::size_t>(blocks.count));
  for (Index i = 0; i < weight.size(); ++i) {
    double& norm = norms[static_cast<std::size_t>(blocks.group_of(i))];
    add_to_norm(norm, static_cast<double>(weight[i]));
  }
  return norms;
}

/// The deviation from zero of the free entries; 0 when there are none.
template <class T> double deviation(const nn::Parameter<T>& parameter) {
  const Mask mask = parameter.mask();
  const View<const T> value = parameter.value();
  double norm = 0;
  for (const Index i : mask.free_positions()) add_to_norm(norm, static_cast<double>(value[i]));
  return mask.all_frozen() ? 0 : norm / std::sqrt(static_cast<double>(mask.count_free()));
}

/// Each free number of U becomes `entry(position, group)`, each of the d-th gates `gate(group)`; but nothing
/// changes in groups whose gates are held, which is so when an entry is held at a value other than zero.
template <class T, class Entry, class Gate>
void set_factors(nn::Parameter<T>& parameter, const nn::Hadamard<T>& product, Entry entry, Gate gate) {
  std::vector<nn::Parameter<T>>& factors = parameter.factors();
  const nn::Groups::Blocks blocks = product.groups().blocks(parameter.shape());
  const Mask gates = factors[1].mask();
  for (const Index i : factors[0].mask().free_positions()) {
    const Index group = blocks.group_of(i);
    if (gates.is_free(group)) factors[0].value()[i] = static_cast<T>(entry(i, group));
  }
  for (std::size_t d = 1; d < factors.size(); ++d) {
    for (const Index group : gates.free_positions()) factors[d].value()[group] = static_cast<T>(gate(group));
  }
}

/// Gates and norms of U are all (c ||W||)^(1/D), where c = weight^(D/2) divides the product.
template <class T> void start_balanced(nn::Parameter<T>& parameter, const nn::Hadamard<T>& product) {
  const Tensor<T> weight = parameter.materialize();
  const std::vector<double> norms = norms_of_groups<T>(weight, product);
  const double depth = static_cast<double>(product.depth());
  const auto unit = [&](Index group) { return std::pow(product.weight(group), depth / (2 * (depth - 1))); };
  const auto size = [&](Index group) {
    const double norm = norms[static_cast<std::size_t>(group)];
    return norm == 0 ? unit(group) : std::sqrt(product.weight(group)) * std::pow(norm, 1 / depth);
  };
  set_factors(
      parameter, product,
      [&](Index i, Index g) {
        return static_cast<double>(weight[i]) * std::pow(unit(g) / size(g), depth - 1);
      },
      size);
}

/// Standard normal, but with a magnitude from `low` to `high`. Fast where high^2 - low^2 is a few at most.
double truncated_normal(double low, double high, Rng& rng) {
  for (;;) {
    const double x = rng.uniform(low, high);
    if (rng.uniform() >= std::exp((low * low - x * x) / 2)) continue;
    return (rng.bits() >> 63) == 0 ? x : -x;
  }
}

/// The variance of these numbers: partial integration of x^2 exp(-x^2 / 2).
double truncated_variance(double low, double high) {
  const auto density = [](double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); };
  const double mass = (std::erf(high / std::numbers::sqrt2) - std::erf(low / std::numbers::sqrt2)) / 2;
  return 1 + (low * density(low) - high * density(high)) / mass;
}

/// See Start::truncated.
template <class T>
void start_truncated(nn::Parameter<T>& parameter, const nn::Hadamard<T>& product, double deviation) {
  const double depth = static_cast<double>(product.depth());
  const double low = std::pow(0.1, 1 / depth), high = std::pow(2.0, 1 / depth);  // in units of s^(1/D)
  const double scale = std::pow(deviation, 1 / depth) / std::sqrt(truncated_variance(low, high));
  const auto entries = static_cast<double>(product.groups().size(parameter.shape()));
  const auto draw = [&](Index group) {
    const double balance = std::sqrt(product.weight(group)) * std::pow(entries, 1 / (2 * depth));
    return scale * balance * truncated_normal(low, high, default_rng());
  };
  set_factors(
      parameter, product, [&](Index, Index group) { return draw(group) / std::sqrt(entries); }, draw);
}

/// A parameter that is to be factorized.
template <class T> struct Chosen {
  std::string name;
  nn::Parameter<T>* parameter;
  Groups groups;
  double deviation = 0;  // of its free entries, where a start needs it

  const Shape& shape() const { return parameter->shape(); }
  double group_count() const { return static_cast<double>(groups.count(shape())); }
  double group_size() const { return std::max(1.0, static_cast<double>(groups.size(shape()))); }
};

/// The parameters that have groups, in the order of the model.
template <class T>
std::vector<Chosen<T>> choose(nn::Module<T>& model, std::optional<Groups> groups,
                              const FactorizeOptions& options) {
  std::map<nn::Parameter<T>*, std::optional<Groups>> excepted;
  for (const GroupChoice& choice : options.except) {
    model.for_matching(choice.match, "factorize", [&](const std::string&, nn::Parameter<T>& parameter) {
      excepted.try_emplace(&parameter, choice.groups);
    });
  }
  std::map<nn::Parameter<T>*, std::optional<Groups>> chosen = excepted;
  if (groups) {
    model.for_matching(options.match, "factorize", [&](const std::string&, nn::Parameter<T>& parameter) {
      chosen.try_emplace(&parameter, parameter.shape().rank() < 2 ? Groups::elements : groups);
    });
  }
  std::vector<Chosen<T>> result;
  const auto add = [&](const std::string& name, nn::Parameter<T>& parameter) {
    const auto found = chosen.find(&parameter);
    if (found == chosen.end() || !found->second) return;
    const Groups& of = *found->second;
    if (parameter.parametrization() != nullptr) {
      throw Error("factorize", "'", name, "' is computed from factors already: expected a plain parameter");
    }
    if (!of.fit(parameter.shape())) {
      throw Error("factorize", "'", name, "' is ", parameter.shape(), " and has no ", of, ": expected ",
                  of.axis() + 1, " axes or more, or an exception with other groups or none");
    }
    result.push_back({name, &parameter, of});
  };
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    add(name, parameter);
    if (parameter.parametrization() != nullptr) parameter.for_leaves(name, add);
  });
  return result;
}

/// What a group of each parameter costs, multiplied by one number so that its mean over entries is 1.
template <class T>
std::vector<double> shares(const std::vector<Chosen<T>>& chosen, const FactorizeOptions& options) {
  const auto* const costs = std::get_if<Costs>(&options.weights.choice());
  std::vector<double> result;
  double sum = 0, entries = 0;
  for (const Chosen<T>& of : chosen) {
    double share = of.group_size();
    if (costs != nullptr) {
      const auto found = costs->find(of.name);
      if (found == costs->end()) {
        throw Error("factorize", "costs without '", of.name, "': expected one for each parameter");
      }
      if (!(found->second > 0 && std::isfinite(found->second))) {
        throw Error("factorize", "'", of.name, "' costs ", found->second, ": expected a positive number");
      }
      share = found->second / std::max(1.0, of.group_count());
    }
    result.push_back(share);
    sum += share * static_cast<double>(of.shape().size());
    entries += static_cast<double>(of.shape().size());
  }
  for (double& share : result) share = entries > 0 ? share * (entries / sum) : 1;
  return result;
}

/// The weights of all groups of each parameter; none where they are 1.
template <class T>
std::vector<std::vector<double>> weights_of(const std::vector<Chosen<T>>& chosen,
                                            const FactorizeOptions& options) {
  std::vector<std::vector<double>> result(chosen.size());
  if (const auto* const given = std::get_if<std::vector<double>>(&options.weights.choice())) {
    if (given->empty()) throw Error("factorize", "no weights: expected one for each group");
    std::ranges::fill(result, *given);
    return result;
  }
  const auto* const named = std::get_if<GroupWeights>(&options.weights.choice());
  std::vector<double> each(chosen.size(), 1.0);
  if (named == nullptr || *named == GroupWeights::parameters) {
    each = shares(chosen, options);
  } else if (*named == GroupWeights::sqrt_size) {
    std::ranges::transform(chosen, each.begin(),
                           [](const Chosen<T>& of) { return std::sqrt(of.group_size()); });
  }
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    if (each[k] != 1) result[k].assign(static_cast<std::size_t>(chosen[k].group_count()), each[k]);
  }
  return result;
}

}  // namespace

template <class T>
Index factorize(nn::Module<T>& model, std::optional<Groups> groups, const FactorizeOptions& options) {
  // All are checked before the first is changed.
  std::vector<Chosen<T>> chosen = choose(model, groups, options);
  std::vector<std::vector<double>> weights = weights_of(chosen, options);
  std::vector<std::shared_ptr<nn::Hadamard<T>>> products;
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    Chosen<T>& of = chosen[k];
    products.push_back(std::make_shared<nn::Hadamard<T>>(of.groups, options.depth, std::move(weights[k])));
    products.back()->group_count(of.shape());  // as many as there are weights
    if (options.start != Start::truncated) continue;
    of.deviation = deviation(*of.parameter);
    const bool drawn = !of.parameter->mask().all_frozen();
    if (drawn && !(of.deviation > 0 && std::isfinite(of.deviation))) {
      throw Error("factorize", "the free entries of '", of.name, "' have the deviation ", of.deviation,
                  ": expected a positive one, for the factors to have");
    }
  }
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    nn::Parameter<T>& parameter = *chosen[k].parameter;
    parameter.parametrize(products[k]);
    if (options.start == Start::balanced) start_balanced(parameter, *products[k]);
    if (options.start == Start::truncated) start_truncated(parameter, *products[k], chosen[k].deviation);
  }
  return static_cast<Index>(chosen.size());
}

template <class T> void collapse(nn::Module<T>& model) {
  model.for_parameters([](const std::string&, nn::Parameter<T>& parameter) {
    if (hadamard(parameter) != nullptr) parameter.collapse();
  });
}

template <class T> Penalty effective_penalty(nn::Module<T>& model, double alpha) {
  Penalty penalty;
  model.for_parameters([&](const std::string&, nn::Parameter<T>& parameter) {
    const nn::Hadamard<T>* const product = hadamard(parameter);
    if (product == nullptr) return;
    for (const nn::Parameter<T>& factor : parameter.factors()) {
      penalty.decay += alpha / 2 * squared_norm<T>(factor.value());
    }
    const Tensor<T> weight = parameter.materialize();
    const std::vector<double> norms = norms_of_groups<T>(weight, *product);
    const double depth = static_cast<double>(product->depth());
    double sum = 0;
    for (std::size_t g = 0; g < norms.size(); ++g) {
      sum += product->weight(static_cast<Index>(g)) * std::pow(norms[g], 2 / depth);
    }
    penalty.induced += depth * alpha / 2 * sum;
  });
  return penalty;
}

#define TAPER_INSTANTIATE(T)                                                                \
  template Index factorize(nn::Module<T>&, std::optional<Groups>, const FactorizeOptions&); \
  template void collapse(nn::Module<T>&);                                                   \
  template Penalty effective_penalty(nn::Module<T>&, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
