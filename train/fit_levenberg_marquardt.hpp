#pragma once

#include <taper/optim/levenberg_marquardt.hpp>
#include <taper/train/fit_options.hpp>

namespace taper::train {

/// Trains a model of one input and one output on a data set by Levenberg-Marquardt: on all rows at a time,
/// and with its parameters as they are for evaluation (see optim::LevenbergMarquardt). A step counts as an
/// epoch: it costs about as much as two or three.
///
/// FitOptions say how many steps there are at most (`epochs`; max_iterations of `method` if that is fewer),
/// validation, callbacks, early stopping and progress as for any training; batch size, order and seed say
/// nothing. Epoch::lr is 0. The callback of `method` is called, too. Throws Error like LevenbergMarquardt and
/// Trainer, for a schedule, a checkpoint, batches to be accumulated, rows to be changed (`augment`), and
/// validation columns, and Diverged when the validation loss is not finite.
template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            const optim::LevenbergMarquardtOptions& method,
            const std::type_identity_t<FitOptions<T>>& options = {});

}  // namespace taper::train
