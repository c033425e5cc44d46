#include <taper/sparsity/certify.hpp>

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <taper/instantiate.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/factorized_weights.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity {
namespace {

template <class T>
LayerCertificate test(const FactorizedWeight<T>& product, const std::vector<double>& gradient, double alpha,
                      double tolerance) {
  LayerCertificate layer;
  layer.name = product.name;
  layer.depth = product.depth();
  const Tensor<T> weight = product.parameter->materialize();
  const std::vector<double> norms = group_norms(product, weight), steep = group_norms(product, gradient);
  // Slope of the penalty in the direction of each group.
  const auto slope = [&](std::size_t g) {
    const double power = 2.0 / static_cast<double>(product.depth()) - 1;
    return alpha * product.weight(static_cast<Index>(g)) * (power == 0 ? 1 : std::pow(norms[g], power));
  };
  std::vector<double> residual(norms.size(), 0.0);  // norms, of groups that are not zero
  for (std::size_t i = 0; i < product.group.size(); ++i) {
    const auto g = static_cast<std::size_t>(product.group[i]);
    if (norms[g] == 0) continue;
    const double w = static_cast<double>(weight[static_cast<Index>(i)]);
    const double r = gradient[i] + slope(g) * w / norms[g];
    if (w != 0 || gradient[i] != 0) add_to_norm(residual[g], r);
  }
  for (std::size_t g = 0; g < norms.size(); ++g) {
    if (product.frozen[g]) {
      ++layer.frozen;
    } else if (norms[g] == 0) {
      ++layer.zero;
      if (product.depth() > 2) continue;
      const double violation = steep[g] / slope(g) - 1;
      layer.worst_zero = std::max(layer.worst_zero, violation);
      if (violation <= tolerance) continue;
      ++layer.violated_zero;
      layer.revivable.push_back(static_cast<Index>(g));
    } else {
      ++layer.nonzero;
      const double violation = residual[g] / slope(g);
      layer.worst_nonzero = std::max(layer.worst_nonzero, violation);
      layer.violated_nonzero += !(violation <= tolerance);
    }
  }
  return layer;
}

}  // namespace

double NetworkCertificate::worst() const {
  double result = 0;
  for (const LayerCertificate& layer : layers) {
    result = std::max({result, layer.worst_zero, layer.worst_nonzero});
  }
  return result;
}

Index NetworkCertificate::violated() const {
  Index result = 0;
  for (const LayerCertificate& layer : layers) result += layer.violated_zero + layer.violated_nonzero;
  return result;
}

Index NetworkCertificate::tested() const {
  Index result = 0;
  for (const LayerCertificate& layer : layers) result += layer.zero + layer.nonzero;
  return result;
}

bool NetworkCertificate::certifiable() const {
  return std::ranges::all_of(layers, [](const LayerCertificate& layer) { return layer.depth == 2; });
}

std::ostream& operator<<(std::ostream& out, const NetworkCertificate& certificate) {
  std::ostringstream text;
  std::size_t width = 5;
  for (const LayerCertificate& layer : certificate.layers) width = std::max(width, layer.name.size());
  const auto name = [&](const std::string& what) -> std::ostream& {
    return text << std::left << std::setw(static_cast<int>(width)) << what << std::right;
  };
  name("layer") << "      zero  violated     worst   nonzero  violated     worst  frozen\n";
  text << std::scientific << std::setprecision(1);
  const auto number = [&](bool tested, auto value, int room) {
    text << std::setw(room);
    tested ? text << value : text << "-";
  };
  for (const LayerCertificate& layer : certificate.layers) {
    name(layer.name);
    number(true, layer.zero, 10);
    number(layer.depth == 2, layer.violated_zero, 10);
    number(layer.depth == 2 && layer.zero > 0, layer.worst_zero, 10);
    number(true, layer.nonzero, 10);
    number(true, layer.violated_nonzero, 10);
    number(layer.nonzero > 0, layer.worst_nonzero, 10);
    number(true, layer.frozen, 8);
    text << '\n';
  }
  text << "gradient of what is not factorized: " << certificate.rest << '\n';
  if (!certificate.certifiable()) {
    text << "zeros of three factors or more cannot be certified: zero is a local minimum of their penalty "
            "whatever the loss\n";
  } else if (certificate.tested() == 0) {
    text << "nothing to certify: masks hold every group\n";
  } else if (certificate.violated() == 0) {
    text << "certified: every group that no mask holds is where the penalty asks for, within "
         << certificate.tolerance << " of its slope\n";
  } else {
    text << "not certified: " << certificate.violated() << " groups violate their condition by more than "
         << certificate.tolerance << " of the penalty's slope\n";
  }
  return out << text.str();
}

template <class T>
NetworkCertificate certify(nn::Module<T>& model, const data::Dataset<T>& data,
                           const std::type_identity_t<nn::Loss<T>>& loss, double alpha, double tolerance) {
  const char* const where = "certify";
  require_positive(where, "weight decay", alpha);
  require_positive(where, "tolerance", tolerance);
  const auto products = factorized_weights(model, where);
  const WeightGradients gradients = weight_gradients(model, products, data, loss, where);
  NetworkCertificate result{.alpha = alpha,
                            .tolerance = tolerance,
                            .loss = gradients.loss,
                            .penalty = effective_penalty(model, alpha).induced,
                            .rest = gradients.rest,
                            .layers = {}};
  for (std::size_t k = 0; k < products.size(); ++k) {
    result.layers.push_back(test(products[k], gradients.of[k], alpha, tolerance));
  }
  return result;
}

template <class T>
Index revive(nn::Module<T>& model, const data::Dataset<T>& data,
             const std::type_identity_t<nn::Loss<T>>& loss, double alpha, double tolerance, double size) {
  const char* const where = "revive";
  require_positive(where, "weight decay", alpha);
  require_positive(where, "tolerance", tolerance);
  require_positive(where, "size", size);
  const auto products = factorized_weights(model, where);
  require_two_factors(products, where);
  const WeightGradients gradients = weight_gradients(model, products, data, loss, where);
  Index count = 0;
  for (std::size_t k = 0; k < products.size(); ++k) {
    const FactorizedWeight<T>& product = products[k];
    const LayerCertificate layer = test(product, gradients.of[k], alpha, tolerance);
    const std::vector<double> steep = group_norms(product, gradients.of[k]);
    nn::Parameter<T>&u = product.parameter->factors()[0], &v = product.parameter->factors()[1];
    const Mask mask = u.mask();
    for (const Index g : layer.revivable) {
      v.value()[g] = static_cast<T>(size);
      for (Index i = 0; i < u.shape().size(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (product.group[at] != g || mask.is_frozen(i)) continue;
        u.value()[i] = static_cast<T>(-size * gradients.of[k][at] / steep[static_cast<std::size_t>(g)]);
      }
    }
    count += static_cast<Index>(layer.revivable.size());
  }
  return count;
}

#define TAPER_INSTANTIATE(T)                                                                               \
  template NetworkCertificate certify(nn::Module<T>&, const data::Dataset<T>&,                             \
                                      const std::type_identity_t<nn::Loss<T>>&, double, double);           \
  template Index revive(nn::Module<T>&, const data::Dataset<T>&, const std::type_identity_t<nn::Loss<T>>&, \
                        double, double, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
