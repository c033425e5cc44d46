#pragma once

#include <taper/train/evaluate.hpp>
#include <taper/train/trainer.hpp>

namespace taper::train {

/// Trains a model of one input and one output on batches of a data set: makes a Trainer, which says more
/// about it, resumes it from FitOptions::checkpoint, runs it to the end, and finishes it, also when an Error
/// ends it. A vector in the data set is a column (Dataset::targets). Throws like Trainer.
template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>& optimizer, const std::type_identity_t<FitOptions<T>>& options = {});
/// Trains a model with a step of one's own on batches of these columns; see Step.
template <class T>
History fit(nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
            const std::type_identity_t<Step<T>>& step, optim::Optimizer<T>& optimizer,
            const std::type_identity_t<FitOptions<T>>& options = {});

// The same with an optimizer that is not needed afterwards.
template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>&& optimizer, const std::type_identity_t<FitOptions<T>>& options = {}) {
  return fit(model, data, loss, optimizer, options);
}
template <class T>
History fit(nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
            const std::type_identity_t<Step<T>>& step, optim::Optimizer<T>&& optimizer,
            const std::type_identity_t<FitOptions<T>>& options = {}) {
  return fit(model, columns, step, optimizer, options);
}

}  // namespace taper::train
