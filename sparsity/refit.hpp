#pragma once

#include <taper/optim/adam.hpp>
#include <taper/train/fit.hpp>
#include <taper/train/fit_levenberg_marquardt.hpp>

namespace taper::sparsity {

/// How a shrunk model is trained again.
enum class RefitMethod {
  adam,
  levenberg_marquardt,
  /// Levenberg-Marquardt where its matrices are small and it has nothing to leave out; see
  /// suits_second_order. Else Adam.
  by_size
};

struct RefitOptions {
  double lr = 2e-3;  ///< Of Adam.
  /// Small: the structure is settled, and the penalty that settled it has pulled the weights towards zero.
  double weight_decay = 1e-6;
  RefitMethod method = RefitMethod::by_size;
};

/// Whether RefitMethod::by_size takes Levenberg-Marquardt: for up to 1000 free entries, with ten outputs in
/// the data for each (rows times outputs of a row) unless there is early stopping, that the minimum is not
/// one of noise, and not more than 10^8 of these, a model and a loss that it can train
/// (optim::LevenbergMarquardt), a model that computes the same in training as afterwards (no dropout, no
/// batch norm); and when `fit` has nothing that is for Adam alone (a schedule, a checkpoint, accumulation,
/// rows that are changed).
template <class T>
bool suits_second_order(nn::Module<T>& model, const data::Dataset<T>& data,
                        const std::type_identity_t<nn::Loss<T>>& loss,
                        const std::type_identity_t<train::FitOptions<T>>& fit = {});

/// Trains a shrunk model again, as it stands, with Adam or by Levenberg-Marquardt, where a step is an epoch
/// (train::fit with LevenbergMarquardtOptions). Frozen entries stay as they are. With
/// FitOptions::validation and early_stopping, it ends with the parameters of the least validation loss.
template <class T>
train::History refit(nn::Module<T>& model, const data::Dataset<T>& data,
                     const std::type_identity_t<nn::Loss<T>>& loss, const RefitOptions& options = {},
                     const std::type_identity_t<train::FitOptions<T>>& fit = {});

}  // namespace taper::sparsity
