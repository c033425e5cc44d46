#include <taper/sparsity/proximal.hpp>

#include <limits>

#include <taper/instantiate.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/factorized_weights.hpp>
#include <taper/sparsity/group_norms.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity {
namespace {

/// Factors that compute to a group's weights, and are balanced.
template <class T> class Groupwise {
 public:
  explicit Groupwise(const FactorizedWeight<T>& product)
      : weight_(product), u_(product.parameter->factors()[0]), v_(product.parameter->factors()[1]) {}

  /// Sets every group that is not held to `weight`, which stands like the weight.
  void set(const std::vector<double>& weight) const {
    const std::vector<double> norms = group_norms(weight_, weight);
    std::vector<double> gates(norms.size());
    for (std::size_t g = 0; g < gates.size(); ++g) {
      if (weight_.frozen[g]) continue;
      gates[g] = std::sqrt(weight_.weight(static_cast<Index>(g)) * norms[g]);
      v_.value()[static_cast<Index>(g)] = static_cast<T>(gates[g]);
    }
    const Mask free = u_.mask();
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const Index entry = static_cast<Index>(i), group = weight_.group[i];
      const auto g = static_cast<std::size_t>(group);
      if (weight_.frozen[g] || free.is_frozen(entry)) continue;
      const double u = gates[g] > 0 ? weight_.weight(group) * weight[i] / gates[g] : 0;
      u_.value()[entry] = static_cast<T>(u);
    }
  }

 private:
  const FactorizedWeight<T>& weight_;
  nn::Parameter<T>&u_, &v_;
};

}  // namespace

template <class T>
ProximalStep proximal_step(nn::Module<T>& model, const data::Dataset<T>& data,
                           const std::type_identity_t<nn::Loss<T>>& loss, double alpha, double first_step) {
  const char* const where = "proximal_step";
  require_positive(where, "weight decay", alpha);
  require_positive(where, "first step", first_step);
  const auto products = factorized_weights(model, where);
  require_two_factors(products, where);
  const WeightGradients gradients = weight_gradients(model, products, data, loss, where);
  std::vector<std::vector<double>> before;
  for (const FactorizedWeight<T>& product : products) {
    const Tensor<T> weight = product.parameter->materialize();
    before.emplace_back(weight.begin(), weight.end());
  }
  const AlignedArray<T> kept = model.parameters().block()->values;

  ProximalStep result;
  const double start = train::evaluate(model, data, loss);
  result.objective_before = start + effective_penalty(model, alpha).induced;
  // What the rounding of the loss may hide.
  const double rounding = 4 * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::abs(start);
  for (double t = first_step; t > 1e-12 * first_step; t /= 2) {
    double slope = 0, square = 0;
    result.zero = result.nonzero = 0;
    for (std::size_t k = 0; k < products.size(); ++k) {
      const FactorizedWeight<T>& product = products[k];
      std::vector<double> target(before[k].size());
      for (std::size_t i = 0; i < target.size(); ++i) target[i] = before[k][i] - t * gradients.of[k][i];
      const std::vector<double> norms = group_norms(product, target);
      for (std::size_t i = 0; i < target.size(); ++i) {
        const auto g = static_cast<std::size_t>(product.group[i]);
        const double threshold = t * alpha * product.weight(product.group[i]);
        const double by = shrinkage(norms[g], threshold);
        target[i] = by == 0 ? 0 : by * target[i];
        const double moved = product.frozen[g] ? 0 : target[i] - before[k][i];
        slope += gradients.of[k][i] * moved;
        square += moved * moved;
      }
      for (std::size_t g = 0; g < norms.size(); ++g) {
        if (product.frozen[g]) continue;
        const bool out = norms[g] <= t * alpha * product.weight(static_cast<Index>(g));
        ++(out ? result.zero : result.nonzero);
      }
      Groupwise<T>(product).set(target);
    }
    const double now = train::evaluate(model, data, loss);
    if (now <= start + slope + square / (2 * t) + rounding) {
      result.step = t;
      result.objective_after = now + effective_penalty(model, alpha).induced;
      return result;
    }
    std::copy_n(kept.data(), kept.size(), model.parameters().block()->values.data());
  }
  throw Error(where, "no step above ", 1e-12 * first_step,
              " keeps the loss below its quadratic bound: expected a loss that is smooth there");
}

#define TAPER_INSTANTIATE(T)                                                                               \
  template ProximalStep proximal_step(nn::Module<T>&, const data::Dataset<T>&, const nn::Loss<T>&, double, \
                                      double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
