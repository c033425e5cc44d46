#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <utility>

#include <taper/instantiate.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity {
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
  std::vector<double> norms(static_cast<std::size_t>(product.group_count(weight.shape())));
  for (Index i = 0; i < weight.size(); ++i) {
    double& norm = norms[static_cast<std::size_t>(product.group_of(weight.shape(), i))];
    add_to_norm(norm, static_cast<double>(weight[i]));
  }
  return norms;
}

/// How many entries the groups of a parameter have.
Index group_size(const Shape& shape, Groups groups) {
  return groups == Groups::elements ? 1 : groups == Groups::inputs ? shape[0] : shape[1];
}

template <class T>
std::shared_ptr<nn::Hadamard<T>> product_for(const Shape& shape, Groups groups,
                                             const FactorizeOptions& options) {
  std::vector<double> weights;
  if (const auto* const given = std::get_if<std::vector<double>>(&options.weights)) {
    if (given->empty()) throw Error("factorize", "no weights: expected one for each group");
    weights = *given;
  } else if (std::get<GroupWeights>(options.weights) == GroupWeights::sqrt_size) {
    const auto size = static_cast<double>(std::max<Index>(1, group_size(shape, groups)));
    const double groups_in_all = static_cast<double>(shape.size()) / size;
    if (size > 1) weights.assign(static_cast<std::size_t>(groups_in_all), std::sqrt(size));
  }
  return std::make_shared<nn::Hadamard<T>>(groups, options.depth, std::move(weights));
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
  const Mask gates = factors[1].mask();
  for (const Index i : factors[0].mask().free_positions()) {
    const Index group = product.group_of(parameter.shape(), i);
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
  const auto entries = static_cast<double>(group_size(parameter.shape(), product.groups()));
  const auto draw = [&](Index group) {
    const double balance = std::sqrt(product.weight(group)) * std::pow(entries, 1 / (2 * depth));
    return scale * balance * truncated_normal(low, high, default_rng());
  };
  set_factors(
      parameter, product, [&](Index, Index group) { return draw(group) / std::sqrt(entries); }, draw);
}

}  // namespace

template <class T> Index factorize(nn::Module<T>& model, Groups groups, const FactorizeOptions& options) {
  struct Choice {
    nn::Parameter<T>* parameter;
    std::shared_ptr<nn::Hadamard<T>> product;
    double deviation;
  };
  // All are checked before the first is changed.
  std::vector<Choice> chosen;
  model.for_matching(options.match, "factorize", [&](const std::string& name, nn::Parameter<T>& parameter) {
    if (parameter.parametrization() != nullptr) {
      throw Error("factorize", "'", name, "' is computed from factors already: expected a plain parameter");
    }
    const Shape& shape = parameter.shape();
    if (groups != Groups::elements && shape.rank() != 2) {
      throw Error("factorize", "'", name, "' is ", shape, ": expected a matrix for rows or columns");
    }
    Choice choice{&parameter, product_for<T>(shape, groups, options), 0};
    choice.product->group_count(shape);  // as many as there are weights
    if (options.start == Start::truncated) {
      choice.deviation = deviation(parameter);
      const bool drawn = !parameter.mask().all_frozen();
      if (drawn && !(choice.deviation > 0 && std::isfinite(choice.deviation))) {
        throw Error("factorize", "the free entries of '", name, "' have the deviation ", choice.deviation,
                    ": expected a positive one, for the factors to have");
      }
    }
    chosen.push_back(std::move(choice));
  });
  for (auto& [parameter, product, deviation] : chosen) {
    parameter->parametrize(product);
    if (options.start == Start::balanced) start_balanced(*parameter, *product);
    if (options.start == Start::truncated) start_truncated(*parameter, *product, deviation);
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

#define TAPER_INSTANTIATE(T)                                                 \
  template Index factorize(nn::Module<T>&, Groups, const FactorizeOptions&); \
  template void collapse(nn::Module<T>&);                                    \
  template Penalty effective_penalty(nn::Module<T>&, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
