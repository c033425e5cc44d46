#pragma once

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>

namespace taper::sparsity {

/// What one proximal step did.
struct ProximalStep {
  double step = 0;  ///< its length t
  double objective_before = 0, objective_after = 0;
  Index zero = 0, nonzero = 0;  ///< groups after it, apart from those that masks hold
};

/// One step of the proximal gradient method over all factorized weights at once:
///
///     W_g <- max(0, 1 - t alpha weight_g / ||Z_g||) Z_g   with   Z = W - t G
///
/// (Parikh and Boyd, "Proximal algorithms", 2014, sections 4.2 and 6.5.4). It ends with exact zeros, chosen
/// by gradient and penalty and not by a threshold on the weights, and not with a larger objective, up to
/// rounding of the loss: t is halved from `first_step` until the loss is at most its quadratic bound (ibid.,
/// section 4.2). Factors are left balanced; groups that masks hold stay as they are. Follow it with certify.
/// Throws Error like certify, for factorizations of more than two, and when no step is found (a loss that is
/// not smooth there).
template <class T>
ProximalStep proximal_step(nn::Module<T>& model, const data::Dataset<T>& data,
                           const std::type_identity_t<nn::Loss<T>>& loss, double alpha,
                           double first_step = 1);

}  // namespace taper::sparsity
