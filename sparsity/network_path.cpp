#include <taper/sparsity/network_path.hpp>

#include <algorithm>
#include <functional>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <taper/instantiate.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/factorized_weights.hpp>
#include <taper/sparsity/penalized.hpp>
#include <taper/sparsity/proximal.hpp>
#include <taper/sparsity/refit.hpp>

namespace taper::sparsity {
namespace {

void check_alphas(const std::vector<double>& alphas, const char* where) {
  if (alphas.empty()) throw Error(where, "no alphas: expected one at least");
  for (const double alpha : alphas) require_positive(where, "alpha", alpha);
  const bool rise = std::ranges::adjacent_find(alphas, std::greater_equal()) == alphas.end();
  const bool fall = std::ranges::adjacent_find(alphas, std::less_equal()) == alphas.end();
  if (!rise && !fall) throw Error(where, "alphas that neither rise nor fall: expected one of the two");
}

}  // namespace

template <class T>
std::vector<NetworkPoint<T>> network_path(nn::Sequential<T>& model, const data::Dataset<T>& data,
                                          const data::Dataset<T>& validation,
                                          const std::type_identity_t<nn::Loss<T>>& loss,
                                          const std::type_identity_t<NetworkPathOptions<T>>& options) {
  const char* const where = "network_path";
  check_alphas(options.alphas, where);
  if (options.fit.checkpoint.save) {
    throw Error(where, "a checkpoint, which is of one training: expected none for a path of several");
  }
  require_two_factors(factorized_weights(model, where), where);
  train::evaluate(model, validation, loss);  // what does not fit shows before the work is done
  std::vector<NetworkPoint<T>> path;
  for (const double alpha : options.alphas) {
    NetworkPoint<T>& point = path.emplace_back();
    point.alpha = alpha;
    train::FitOptions<T> fit = options.fit;
    if (path.size() == 1) {
      fit.epochs = options.first_epochs.value_or(fit.epochs);
    } else if (alpha < path[path.size() - 2].alpha) {
      point.revived = revive(model, data, loss, alpha);
    }
    train::fit(model, data, loss,
               optim::Adam<T>(model.parameters(), penalized_adam(model, options.lr, alpha)), fit);
    proximal_step(model, data, loss, alpha);
    point.certificate = certify(model, data, loss, alpha);

    ShrinkOptions<T> cut = options.shrink;
    cut.examples = validation.inputs();
    Shrunk<nn::Sequential<T>> small = shrink(model, cut);
    point.shrunk = std::move(small.report);
    point.loss = train::evaluate(small.model, validation, loss);
    if (options.refit_epochs > 0) {
      fit.epochs = options.refit_epochs;
      refit(small.model, data, loss, {.lr = options.lr, .method = RefitMethod::adam}, fit);
      point.refit_loss = train::evaluate(small.model, validation, loss);
    }
    point.model = std::move(small.model);
  }
  return path;
}

template <class T> std::ostream& operator<<(std::ostream& out, const std::vector<NetworkPoint<T>>& path) {
  std::ostringstream text;
  text << "     alpha  parameters      loss     refit  zero groups  of  revived  violated zeros  worst "
          "nonzero\n";
  for (const NetworkPoint<T>& point : path) {
    Index zero = 0, nonzero = 0, violated = 0;
    double worst = 0;
    for (const LayerCertificate& layer : point.certificate.layers) {
      zero += layer.zero;
      nonzero += layer.nonzero;
      violated += layer.violated_zero;
      worst = std::max(worst, layer.worst_nonzero);
    }
    text << std::setprecision(3) << std::setw(10) << point.alpha << std::setw(12)
         << point.shrunk.parameters_after << std::setprecision(4) << std::setw(10) << point.loss;
    if (point.refit_loss) {
      text << std::setw(10) << *point.refit_loss;
    } else {
      text << std::setw(10) << "-";
    }
    text << std::setw(8) << zero << std::setw(9) << zero + nonzero << std::setw(9) << point.revived
         << std::setw(16) << violated << std::setprecision(2) << std::setw(15) << worst << '\n';
  }
  return out << text.str();
}

#define TAPER_INSTANTIATE(T)                                                                         \
  template std::vector<NetworkPoint<T>> network_path(                                                \
      nn::Sequential<T>&, const data::Dataset<T>&, const data::Dataset<T>&,                          \
      const std::type_identity_t<nn::Loss<T>>&, const std::type_identity_t<NetworkPathOptions<T>>&); \
  template std::ostream& operator<<(std::ostream&, const std::vector<NetworkPoint<T>>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
