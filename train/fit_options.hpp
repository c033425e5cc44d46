#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/data/dataset.hpp>
#include <taper/optim/schedule.hpp>
#include <taper/train/history.hpp>

namespace taper::train {

template <class T> class Trainer;

/// Stops a training that no longer improves. What counts is the validation loss or, without a validation set,
/// the loss on the training set, which is then evaluated at the end of each epoch in the same way.
struct EarlyStopping {
  /// Epochs without improvement that are waited for, at least 1.
  Index patience = 10;
  /// What counts as improvement: more than this, which is 0 or more.
  double at_least = 0;
  /// Whether the parameters and buffers with the least loss, of those at the start and at the end of each
  /// epoch that counted as an improvement, are put back at the end, also when that is an Error. When a
  /// callback changes masks, it starts anew with the parameters of that time; after one that changes the
  /// model's layout, which training cannot go on from, nothing is put back.
  bool restore_best = true;
};

/// How progress is shown on standard error: a bar on a terminal, a line for each tenth elsewhere, or nothing.
enum class Progress { automatic, quiet };

/// How a training is saved while it runs, and taken up again: io::checkpoint(path) makes one.
template <class T> struct Checkpoint {
  /// Called before the first step: loads the state that was saved last into the trainer, if there is one.
  std::function<void(Trainer<T>&)> resume = {};
  /// Called after each step. It decides whether to save; when the training is done, it does.
  std::function<void(const Trainer<T>&)> save = {};
};

template <class T> struct FitOptions {
  Index epochs = 10;
  Index batch_size = 32;
  bool shuffle = true;
  std::uint64_t seed = 0;
  /// Asked for the factor of the learning rates before each epoch or each step, see optim::Schedule.
  optim::Schedule schedule = {};
  /// Evaluated after each epoch, when given; it must outlive the training.
  const data::Dataset<T>* validation = nullptr;
  /// The same for a training with a Step, as columns like those of the training.
  std::vector<View<const T>> validation_columns = {};
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
  /// How many batches make one step of the optimizer, at least 1; the last step of an epoch takes what is
  /// left. Its gradient is that of the mean loss over all their rows: the gradients of the batches, weighted
  /// by their rows, added up.
  Index accumulate = 1;
  /// Saves the training while it runs, and goes on with one that was ended. Each training needs a checkpoint
  /// of its own.
  Checkpoint<T> checkpoint = {};
  /// Changes the rows of a batch before a step reads them, such as data::shift_images: they are copies, one
  /// tensor for each column of the data (the inputs first, then the targets). The generator depends on seed,
  /// epoch and batch alone, so that a training that is taken up again sees the same.
  std::function<void(std::span<const View<T>> columns, Rng& rng)> augment = {};
};

}  // namespace taper::train
