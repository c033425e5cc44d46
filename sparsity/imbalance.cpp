#include <taper/sparsity/imbalance.hpp>

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <taper/instantiate.hpp>
#include <taper/sparsity/factorized_weights.hpp>

namespace taper::sparsity {
namespace {

template <class T>
LayerImbalance report_on(const FactorizedWeight<T>& product, const std::vector<double>& gradient,
                         const ImbalanceOptions& options) {
  LayerImbalance layer;
  layer.name = product.name;
  const View<const T> gates = std::as_const(*product.parameter).factors()[1].value();
  const Tensor<T> weight = product.parameter->materialize();
  const std::vector<double> u = group_norms(product, std::as_const(*product.parameter).factors()[0].value());
  const std::vector<double> norms = group_norms(product, weight);
  std::vector<double> slope(norms.size(), 0.0);  // <G_g, W_g>
  for (std::size_t i = 0; i < product.group.size(); ++i) {
    slope[static_cast<std::size_t>(product.group[i])] +=
        gradient[i] * static_cast<double>(weight[static_cast<Index>(i)]);
  }
  const double kept = 1 - options.lr * options.alpha;  // of a factor, by decay alone
  for (std::size_t g = 0; g < norms.size(); ++g) {
    const double v = std::abs(static_cast<double>(gates[static_cast<Index>(g)]));
    const double large = std::max(u[g], v), small = std::min(u[g], v);
    if (product.frozen[g] || norms[g] == 0) continue;
    ++layer.groups;
    const double apart = (large - small) / large;
    layer.largest = std::max(layer.largest, apart);
    if (apart > options.tolerance) {
      ++layer.unbalanced;
      // Where ||U|| |v| stays and the larger is 1 / (1 - tolerance) times the smaller.
      const double product_of_both = large * small, ratio = 1 - options.tolerance;
      const double enough = product_of_both * (1 / ratio - ratio);
      const double steps = std::log((large * large - small * small) / enough) / (-2 * std::log(kept));
      layer.steps_until_balanced = std::max(layer.steps_until_balanced, steps);
    }
    if (norms[g] <= options.threshold) continue;
    const double pull = options.alpha + slope[g] / norms[g] / product.weight(static_cast<Index>(g));
    // What stands still up to rounding and noise does not decay.
    if (pull <= 1e-3 * options.alpha) continue;
    ++layer.decaying;
    layer.steps_until_gone =
        std::max(layer.steps_until_gone, std::log(norms[g] / options.threshold) / (2 * options.lr * pull));
  }
  return layer;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const std::vector<LayerImbalance>& report) {
  std::ostringstream text;
  std::size_t width = 5;
  for (const LayerImbalance& layer : report) width = std::max(width, layer.name.size());
  const auto name = [&](const std::string& what) -> std::ostream& {
    return text << std::left << std::setw(static_cast<int>(width)) << what << std::right;
  };
  name("layer") << "    groups   largest  unbalanced     steps  decaying     steps\n";
  for (const LayerImbalance& layer : report) {
    name(layer.name) << std::setw(10) << layer.groups << std::setw(10) << std::setprecision(2)
                     << layer.largest << std::setw(12) << layer.unbalanced << std::setw(10)
                     << std::setprecision(3) << layer.steps_until_balanced << std::setw(10) << layer.decaying
                     << std::setw(10) << layer.steps_until_gone << '\n';
  }
  return out << text.str();
}

template <class T>
std::vector<LayerImbalance> imbalance(nn::Module<T>& model, const data::Dataset<T>& data,
                                      const std::type_identity_t<nn::Loss<T>>& loss,
                                      const ImbalanceOptions& options) {
  const char* const where = "imbalance";
  require_positive(where, "weight decay", options.alpha);
  require_positive(where, "learning rate", options.lr);
  require_positive(where, "tolerance", options.tolerance);
  require_positive(where, "threshold", options.threshold);
  if (options.lr * options.alpha >= 1) {
    throw Error(where, "lr * alpha = ", options.lr * options.alpha, ": expected less than 1");
  }
  if (options.tolerance >= 1) throw Error(where, "tolerance ", options.tolerance, ": expected less than 1");
  const auto products = factorized_weights(model, where);
  require_two_factors(products, where);
  const WeightGradients gradients = weight_gradients(model, products, data, loss, where);
  std::vector<LayerImbalance> result;
  for (std::size_t k = 0; k < products.size(); ++k) {
    result.push_back(report_on(products[k], gradients.of[k], options));
  }
  return result;
}

#define TAPER_INSTANTIATE(T)                                                              \
  template std::vector<LayerImbalance> imbalance(nn::Module<T>&, const data::Dataset<T>&, \
                                                 const nn::Loss<T>&, const ImbalanceOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
