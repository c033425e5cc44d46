#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/optim/optimizer.hpp>
#include <taper/optim/schedule.hpp>
#include <taper/train/diverged.hpp>
#include <taper/train/history.hpp>

namespace taper::train {

/// Stops a training that no longer improves. What counts is the validation loss or, without a validation set,
/// the loss on the training set, which is then evaluated at the end of each epoch in the same way.
struct EarlyStopping {
  /// Epochs without improvement that are waited for, at least 1.
  Index patience = 10;
  /// What counts as improvement: more than this, which is 0 or more.
  double at_least = 0;
  /// Whether the parameters with the least loss, of those at the start and at the end of each epoch that
  /// counted as an improvement, are put back at the end, also when that is an Error. When a callback changes
  /// masks, it starts anew with the parameters of that time; after one that changes the model's layout, which
  /// training cannot go on from, nothing is put back.
  bool restore_best = true;
};

/// How progress is shown on standard error: a bar on a terminal, a line for each tenth elsewhere, or nothing.
enum class Progress { automatic, quiet };

template <class T> struct FitOptions {
  Index epochs = 10;
  Index batch_size = 32;
  bool shuffle = true;
  std::uint64_t seed = 0;
  optim::Schedule schedule = {};
  /// Evaluated after each epoch, when given; it must outlive the call.
  const data::Dataset<T>* validation = nullptr;
  /// Called after each epoch; one that returns false ends the training.
  std::vector<std::function<bool(const Epoch&)>> callbacks = {};
  std::optional<EarlyStopping> early_stopping = {};
  Progress progress = Progress::automatic;
  /// Shown in front of the progress.
  std::string title = "fit";
  /// Records every step anew and throws Error when that is not what is replayed: a model whose `forward` goes
  /// other ways when values, its own state or its mode have changed, or computes constants from them. Takes
  /// about the time of one more forward pass; always on in a library that is built without NDEBUG, whose
  /// models therefore run `forward` in every step.
  bool check_recording = false;
  /// Accepts a loss that computes a table of all pairs, of a column and a row. Without, an operation whose
  /// result is larger than both of its operands is an Error: most often, one of them has the wrong shape.
  bool pairwise_loss = false;
};

/// Trains a model on batches of a data set: records the step once for each batch size that occurs (whole
/// batches and the remainder) and replays it after that, so that steps allocate nothing. What
/// `forward` does besides recording, it does once; see FitOptions::check_recording. Gradients of what is
/// computed, and the values of factorized weights, are not kept on its tape. The step is recorded for
/// training (Tape::training), evaluations for evaluation: the model itself has no mode and is left in none.
/// After a schedule, the optimizer has the lr factor that it came with, also when an Error ends the
/// training. A vector in the data set is a column (Dataset::targets). Throws Error for
/// a batch size of 0, fewer than 0 epochs, settings of early stopping out of range, data that are empty or
/// not finite or do not fit the model, a parameter that the model computes with and does not name, and a loss
/// that repeats prediction and target along each other.
///
/// Throws Diverged when the loss of a batch, its gradient in an entry that is not frozen, the parameters at
/// the end of an epoch, the loss that these are evaluated to, or without that the loss of the last batch
/// after the last step is not finite. Loss and gradient of a batch are looked at before the step, which is
/// not made then, and the text names the operation that made the number.
template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>& optimizer, const std::type_identity_t<FitOptions<T>>& options = {});
/// The same with an optimizer that is not needed afterwards.
template <class T>
History fit(nn::Module<T>& model, const data::Dataset<T>& data, const std::type_identity_t<nn::Loss<T>>& loss,
            optim::Optimizer<T>&& optimizer, const std::type_identity_t<FitOptions<T>>& options = {}) {
  return fit(model, data, loss, optimizer, options);
}

/// The predictions of a model, recorded for evaluation, for all rows of x, in batches. Several threads may
/// predict with one model at a time, as long as nobody changes it. A vector is a column.
template <class T> Tensor<T> predict(const nn::Module<T>& model, std::type_identity_t<View<const T>> x);

/// The mean loss of a model, recorded for evaluation, over a data set. A loss that is not finite is returned
/// as it is. Throws Error for data that are not finite or do not fit the model, and, unless `pairwise_loss`,
/// for a loss that repeats prediction and target along each other (FitOptions::pairwise_loss).
template <class T>
double evaluate(const nn::Module<T>& model, const data::Dataset<T>& data,
                const std::type_identity_t<nn::Loss<T>>& loss, bool pairwise_loss = false);

#define TAPER_EXTERN(T)                                                                         \
  extern template History fit(nn::Module<T>&, const data::Dataset<T>&,                          \
                              const std::type_identity_t<nn::Loss<T>>&, optim::Optimizer<T>&,   \
                              const std::type_identity_t<FitOptions<T>>&);                      \
  extern template Tensor<T> predict(const nn::Module<T>&, std::type_identity_t<View<const T>>); \
  extern template double evaluate(const nn::Module<T>&, const data::Dataset<T>&,                \
                                  const std::type_identity_t<nn::Loss<T>>&, bool);
TAPER_EXTERN(float)
TAPER_EXTERN(double)
#undef TAPER_EXTERN

}  // namespace taper::train
