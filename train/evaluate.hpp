#pragma once

#include <type_traits>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/train/step.hpp>

namespace taper::train {

/// The predictions of a model, recorded for evaluation, for all rows of x, in batches. Several threads may
/// predict with one model at a time, as long as nobody changes it. A vector is a column.
template <class T> Tensor<T> predict(const nn::Module<T>& model, std::type_identity_t<View<const T>> x);

/// The mean loss of a model, recorded for evaluation, over a data set. A loss that is not finite is returned
/// as it is. Throws Error for data that are not finite or do not fit the model, and, unless `pairwise_loss`,
/// for a loss that repeats prediction and target along each other (FitOptions::pairwise_loss).
template <class T>
double evaluate(const nn::Module<T>& model, const data::Dataset<T>& data,
                const std::type_identity_t<nn::Loss<T>>& loss, bool pairwise_loss = false);

/// The loss of a step, recorded for evaluation, over all rows of these columns: the mean over batches of at
/// most 1024 rows, weighted by their rows. `model` gives parameters and buffers their names. Throws Error for
/// columns that are empty, not finite, of different lengths or do not fit the step.
template <class T>
double evaluate(const nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
                const std::type_identity_t<Step<T>>& step);

}  // namespace taper::train
