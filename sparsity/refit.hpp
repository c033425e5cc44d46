#pragma once

#include <taper/optim/adam.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity {

struct RefitOptions {
  double lr = 2e-3;
  /// Small: the structure is settled, and the penalty that settled it has pulled the weights towards zero.
  double weight_decay = 1e-6;
};

/// Trains a shrunk model again, as it stands, with Adam.
template <class T>
train::History refit(nn::Module<T>& model, const data::Dataset<T>& data,
                     const std::type_identity_t<nn::Loss<T>>& loss, const RefitOptions& options = {},
                     const std::type_identity_t<train::FitOptions<T>>& fit = {}) {
  return train::fit(
      model, data, loss,
      optim::Adam<T>(model.parameters(), {.lr = options.lr, .weight_decay = options.weight_decay}), fit);
}

}  // namespace taper::sparsity
