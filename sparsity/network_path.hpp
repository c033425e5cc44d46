#pragma once

#include <iosfwd>
#include <optional>
#include <vector>

#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity {

template <class T> struct NetworkPathOptions {
  /// The penalties alpha of the points, in the order in which they are trained, each from the one before:
  /// rising or falling. With falling ones, groups that were zero and violate their condition at the next
  /// alpha are revived. A hidden unit that nothing enters and nothing leaves is not among them: each side
  /// has gradient 0 as the other is zero.
  std::vector<double> alphas = {};
  double lr = 2e-3;  ///< of Adam
  /// Of the training at each point; `first_epochs` at the first one, when given, as it starts from nothing.
  train::FitOptions<T> fit = {};
  std::optional<Index> first_epochs = {};
  /// Epochs of training again after shrinking, without a penalty to speak of (see RefitOptions); 0 for none.
  Index refit_epochs = 0;
  /// Zeros are exact after the proximal step: nothing else is cut.
  ShrinkOptions<T> shrink = {.threshold = 0};
};

/// A point of the path.
template <class T> struct NetworkPoint {
  double alpha = 0;
  NetworkCertificate certificate;  ///< on the training set, after the proximal step that makes zeros
  Index revived = 0;               ///< groups at the start of this point
  ShrinkReport shrunk;
  double loss = 0;                   ///< of the shrunk network on the validation set
  std::optional<double> refit_loss;  ///< the same, trained again
  nn::Sequential<T> model;           ///< the shrunk network, trained again if asked for
};

/// Trains a factorized chain along a path of penalties (the decay of the factors; nothing else decays),
/// warm-started from point to point; at each one, makes exact zeros by a proximal step, certifies, shrinks a
/// copy and, if asked, trains that again. The model ends as the last point left it. Throws Error for no
/// alphas, some that neither rise nor fall or are not above 0, more than two factors, and like fit,
/// proximal_step and shrink.
template <class T>
std::vector<NetworkPoint<T>> network_path(nn::Sequential<T>& model, const data::Dataset<T>& data,
                                          const data::Dataset<T>& validation,
                                          const std::type_identity_t<nn::Loss<T>>& loss,
                                          const std::type_identity_t<NetworkPathOptions<T>>& options);

/// A table with a line for each point: penalty, size, losses, what is certified.
template <class T> std::ostream& operator<<(std::ostream& out, const std::vector<NetworkPoint<T>>& path);

}  // namespace taper::sparsity
