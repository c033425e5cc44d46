#pragma once

#include <memory>
#include <string>

#include <taper/train/trainer.hpp>

namespace taper::io {

struct CheckpointOptions {
  /// How many files are kept, at least 1: the newest is PATH, those before it are PATH.1, PATH.2, and so on.
  Index keep = 2;
  /// Seconds from one to the next, at least 0, which saves after each step.
  double every = 60;
};

/// What keeps a training in files; made by `checkpoint`.
class CheckpointFiles {
 public:
  CheckpointFiles(const std::string& path, const CheckpointOptions& options);

  template <class T> operator train::Checkpoint<T>() const {
    return {.resume = [*this](train::Trainer<T>& trainer) { resume(trainer); },
            .save = [*this](const train::Trainer<T>& trainer) { save(trainer); }};
  }

 private:
  struct Files;

  template <class T> void resume(train::Trainer<T>& trainer) const;
  template <class T> void save(const train::Trainer<T>& trainer) const;

  std::shared_ptr<Files> files_;  // shared by all copies
};

/// Saves a training in a file while it runs, and goes on from there when the program is started again,
/// however it was ended:
///
///     train::fit(net, set, loss, adam, {.epochs = 100, .checkpoint = io::checkpoint("run.safetensors")});
///
/// A training that goes on makes the steps, to the bit, that it would have made without a break, on any
/// number of threads; one that is done loads its end at once. So a program that trains, shrinks and trains
/// again is started again as a whole, with a checkpoint for each training: the second one for the same
/// training in a process is an Error. What is saved is a TrainerState without the times of its epochs, which
/// are 0 after loading. A training saves when it begins, every so many seconds, and when it is done.
///
/// Each file appears as a whole or not at all (see AtomicFile). A damaged or missing one is passed over, and
/// the one before it loaded. Throws Error, from within the training, when all are damaged; when the newest is
/// a safetensors file of something else, a checkpoint of another training (see Trainer::load_state) or
/// version, or one of more epochs than FitOptions::epochs; and when a file cannot be written. Throws Error at
/// once for options out of range.
CheckpointFiles checkpoint(const std::string& path, const CheckpointOptions& options = {});

/// Writes a state as a safetensors file: "model.NAME" for each parameter and buffer and "model.NAME.mask" for
/// the masks, which `load` takes with {.partial = true, .rename = {{"model.*", "*"}}}; "best.NAME",
/// "optimizer.TENSOR.NAME" and "optimizer.steps.NAME" likewise, "history" with a row of loss, validation loss
/// (NaN for none) and lr for each epoch; all else is in the metadata, as JSON. Two states that differ in
/// times alone give the same bytes. Throws Error like `save`.
template <class T> void write_checkpoint(const train::TrainerState<T>& state, const std::string& path);
/// Reads what write_checkpoint has written. Throws Error for a file that is missing, damaged or of another
/// scalar.
template <class T> train::TrainerState<T> read_checkpoint(const std::string& path);

}  // namespace taper::io
