#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <taper/optim/optimizer.hpp>
#include <taper/train/progress.hpp>
#include <taper/train/trainer/best.hpp>
#include <taper/train/trainer/finite_check.hpp>
#include <taper/train/trainer/setup.hpp>

namespace taper::train {

/// How progress is shown where standard error is what it is.
ProgressDisplay::Kind kind_of(Progress progress);

/// What a Trainer consists of, out of sight of those who use one. Its state as data: train/trainer/state.hpp.
template <class T> struct Training {
  using Clock = std::chrono::steady_clock;

  Training(nn::Module<T>& model, Setup<T> setup, optim::Optimizer<T>& optimizer,
           const FitOptions<T>& options);

  double step();
  void finish();
  /// Looks at what the last step made of the loss, unless the model has been judged since, or laid out anew
  /// by a callback.
  void check_last_step();
  bool is_done() const { return epoch >= options.epochs || !history.stopped.empty(); }
  std::uint64_t checksum() const;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start).count(); }

  Clock::time_point start = Clock::now();
  nn::Module<T>& model;
  optim::Optimizer<T>& optimizer;
  const FitOptions<T> options;
  const Setup<T> setup;
  data::Batches<T> batches;
  const nn::Parameters<T> parameters;
  Best<T> best;
  FiniteCheck<T> finite;
  ProgressDisplay progress;
  std::deque<RecordedStep<T>> steps;  // for whole batches, and for the last one if it has fewer rows
  RecordingCheck<T> check_recording;
  mutable std::optional<std::uint64_t> known_checksum;

  Index epoch = 0, batch = 0;  // of the next step
  double mean = 0;             // the loss of this epoch so far
  Rng seeds;
  std::optional<std::uint64_t> seed;  // of the last batch, if there has been one
  double last_lr_factor;
  History history;
  std::vector<double> losses;  // of the epochs, as schedules read them
  double seconds_before = 0;   // of the training that this one goes on from
  Clock::time_point epoch_start = start;

 private:
  void begin_epoch();
  double run_batches(Index end);
  void end_epoch();
  optim::TrainingTime time() const;
  RecordedStep<T>& recorded(Index at) { return at + 1 == batches.count() ? steps.back() : steps.front(); }
  [[noreturn]] void diverge(Index in_epoch, std::optional<Index> in_batch, const std::string& what);
};

}  // namespace taper::train
