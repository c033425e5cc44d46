#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>

namespace taper::sparsity {

struct ImbalanceOptions {
  double alpha = 1e-3;  ///< coupled weight decay on the factors
  double lr = 1e-2;     ///< of gradient descent, which the predictions are for
  /// A group is balanced when | ||U_g|| - |v_g| | is at most this times the larger of the two.
  double tolerance = 1e-2;
  /// The norm of a group at which it counts as gone.
  double threshold = 1e-5;
};

/// One factorized parameter of depth 2; groups whose weights are exactly zero are left out.
struct LayerImbalance {
  std::string name;
  Index groups = 0;
  /// The largest of | ||U_g|| - |v_g| | / max(||U_g||, |v_g|): 0 when balanced, 1 when one factor is zero.
  double largest = 0;
  Index unbalanced = 0;  ///< groups beyond the tolerance
  /// Steps until the last of these is balanced, if its norm stays what it is.
  double steps_until_balanced = 0;
  /// Groups above the threshold whose norm falls (by more than a thousandth of what decay alone would do),
  /// and the steps until the last of them is below it, if they were balanced and the gradient stays what it
  /// is.
  Index decaying = 0;
  double steps_until_gone = 0;
};

std::ostream& operator<<(std::ostream& out, const std::vector<LayerImbalance>& report);

/// How far the factors of each group are from balance, in which alone the decay is the penalty that it
/// induces, and what gradient descent will do about it. Under a step of rate lr,
///
///     ||U_g||^2 - v_g^2   shrinks by the factor (1 - lr alpha)^2,   up to terms (lr ||G_g||)^2
///
/// which is exp(-2 alpha lr) per step, whatever the loss (Arora, Cohen and Hazan, "On the optimization of
/// deep networks", 2018, theorem 1, with decay); and the norm of a small balanced group shrinks by exp(-2 lr
/// (alpha + <G_g, W_g> / (weight_g ||W_g||))). Adam rescales gradients, so its steps differ. Throws Error for
/// options that are not finite and above 0, lr alpha of 1 or more, a model without factorized parameters,
/// more than two factors, and data that do not fit.
template <class T>
std::vector<LayerImbalance> imbalance(nn::Module<T>& model, const data::Dataset<T>& data,
                                      const std::type_identity_t<nn::Loss<T>>& loss,
                                      const ImbalanceOptions& options = {});

}  // namespace taper::sparsity
