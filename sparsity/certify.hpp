#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>

namespace taper::sparsity {

/// The optimality test of one factorized parameter. A violation is a share of the penalty's slope
/// alpha * weight of the group, so 0.01 means one percent of it.
struct LayerCertificate {
  std::string name;
  Index depth = 2;
  Index zero = 0;                                 ///< groups that are exactly zero
  Index nonzero = 0;                              ///< groups that are not
  Index frozen = 0;                               ///< groups that masks hold, which are not tested
  Index violated_zero = 0, violated_nonzero = 0;  ///< of them, with a violation above the tolerance
  /// The largest violation: of a zero group ||gradient|| / slope - 1, below 0 when all hold with room; of
  /// another ||gradient + slope of the penalty|| / slope.
  double worst_zero = -1, worst_nonzero = 0;
  /// Zero groups that would grow if they could: those violated, for `revive`.
  std::vector<Index> revivable;
};

/// Whether each group of a trained sparse network is where the penalized loss is stationary.
struct NetworkCertificate {
  double alpha = 0;
  double tolerance = 0;
  double loss = 0;     ///< mean over all rows
  double penalty = 0;  ///< induced by the decay, see effective_penalty
  /// The norm of the loss's gradient in what is free and not factorized, such as biases; no part of the
  /// test, as what decays there is the optimizer's business.
  double rest = 0;
  std::vector<LayerCertificate> layers;

  double objective() const { return loss + penalty; }
  /// The largest violation over all groups that are tested, at least 0.
  double worst() const;
  Index violated() const;
  /// Groups that are tested: all that no mask holds.
  Index tested() const;
  /// Whether zeros can be certified at all: with three factors or more, zero is always a local minimum, so
  /// that a test at zero says nothing.
  bool certifiable() const;
  /// No violation among the groups tested, of which there are some, and zeros that mean something.
  bool holds() const { return violated() == 0 && tested() > 0 && certifiable(); }
};

/// A short table: a line for each layer, and in words what it proves or why it does not.
std::ostream& operator<<(std::ostream& out, const NetworkCertificate& certificate);

/// The optimality (KKT) conditions of
///
///     mean loss  +  alpha * sum over groups of weight_g ||W_g||_2
///
/// in the factorized weights of a model, everything else standing still; alpha is the coupled weight decay on
/// the factors. With the full-batch gradient G, a group at zero is optimal iff ||G_g|| <= alpha weight_g, and
/// another iff G_g + alpha weight_g W_g / ||W_g|| = 0 (Yuan and Lin, "Model selection and estimation in
/// regression with grouped variables", 2006, equations 2.2 and 2.3). What is tested is the factorized
/// weights, each group given all the rest: where they are all that a convex loss depends on, it is then at
/// its minimum, up to the tolerance; for a network, no group alone can lower the penalized loss to first
/// order. For D factors the condition of groups that are not zero has the slope alpha weight_g ||W_g||^(2/D -
/// 1), and that of zeros is void: they are counted and not certified.
///
/// `loss` is a mean over rows, taken in evaluation mode. Leaves other gradients in the model's parameters.
/// Throws Error for a model without factorized parameters, alpha or tolerance that is not a finite number
/// above 0, and data that do not fit.
template <class T>
NetworkCertificate certify(nn::Module<T>& model, const data::Dataset<T>& data,
                           const std::type_identity_t<nn::Loss<T>>& loss, double alpha,
                           double tolerance = 0.01);

/// Gives every zero group that violates its condition by more than `tolerance` factors of norm `size`, with
/// the sign that makes the loss fall: U_g = -size G_g / ||G_g||, v_g = size. A pair at exactly (0, 0) would
/// never leave by itself. Returns how many. Throws Error like certify, for a size that is not above 0, and
/// for factorizations of more than two.
template <class T>
Index revive(nn::Module<T>& model, const data::Dataset<T>& data,
             const std::type_identity_t<nn::Loss<T>>& loss, double alpha, double tolerance = 0.01,
             double size = 1e-2);

}  // namespace taper::sparsity
