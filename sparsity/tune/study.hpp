#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <taper/sparsity/tune/sampler.hpp>

namespace taper::sparsity {

/// A trial while it runs. It lives in one thread at a time, and owns what it goes on from: a trainer, a
/// model.
class RunningTrial {
 public:
  virtual ~RunningTrial() = default;
  /// Trains on until so many epochs have been made in all, from where it stands, and returns the result as if
  /// that were the end. Called with rising numbers.
  virtual TrialResult advance(Index epochs) = 0;
};

/// Makes the trial of a number. Whatever is random in it comes from `seed`, which differs from trial to
/// trial.
using StartTrial =
    std::function<std::unique_ptr<RunningTrial>(const TrialSettings& settings, std::uint64_t seed)>;

/// Successive halving on epochs (Jamieson and Talwalkar, "Non-stochastic best arm identification and
/// hyperparameter optimization", 2016, algorithm 1): all trials of a wave train for `first` epochs, the best
/// 1 / factor of them until factor * first, and so on up to all epochs; the others are pruned. Those that go
/// on do from where they stand. A wave has as many trials as it takes for one of them to reach the end.
struct Halving {
  Index first = 10;
  Index factor = 3;
};

/// What a study is, for whoever writes it down: resuming another one is an error.
struct StudyDescription {
  SearchSpace space;
  Sampler sampler = Sampler::tpe;
  TpeOptions tpe = {};
  std::uint64_t seed = 0;
  Index objectives = 1, epochs = 1, wave = 1;
  std::optional<Halving> halving = {};
  std::string note = {};  ///< TuneOptions::note
};

/// Where a study is written down as it runs: io::Journal is one, in a file. Calls come one at a time.
class StudyRecord {
 public:
  virtual ~StudyRecord() = default;
  /// Begins the study, or restores what there is of it: its trials by number, without gaps. Those that are
  /// running were cut off, and are run again with the same points. Throws Error for another study.
  virtual std::vector<Trial> begin(const StudyDescription& study) = 0;
  virtual void started(const Trial& trial) = 0;
  virtual void reported(const Trial& trial) = 0;  ///< trial.reports has grown by one
  virtual void finished(const Trial& trial) = 0;
};

struct TuneOptions {
  Index trials = 100;  ///< with halving, rounded up to whole waves
  std::uint64_t seed = 0;
  Sampler sampler = Sampler::tpe;
  TpeOptions tpe = {};
  /// How many objectives a result has. With several, there is no best trial, but a front; no halving.
  Index objectives = 1;
  /// What a trial is given to train for in all. What an epoch is, is the trial's business.
  Index epochs = 1;
  /// How many trials are proposed at a time, and run side by side. The n-th trial is proposed from the
  /// results of all trials of the waves before its own, and from the points of those of its own wave that
  /// come before: not from what happens to be finished. So the list of trials is the same for any number of
  /// threads, and for a study that was ended and taken up again. With halving, the size follows from that.
  Index wave = 8;
  std::optional<Halving> halving = {};
  StudyRecord* record = nullptr;
  /// What the trials depend on besides their points, such as the data: part of the description.
  std::string note = {};
  /// Asked before each wave, with the trials so far and the seconds that the study has taken, in earlier runs
  /// as well: false ends it there. Stopped at another time, a study has fewer or more of the same trials.
  std::function<bool(const std::vector<Trial>& trials, double seconds)> go_on = {};
  /// Called when a trial has ended, one call at a time: what is known so far, and which trial.
  std::function<void(const std::vector<Trial>& trials, const Trial& ended)> progress = {};
};

/// Searches for the point of a space at which trials have the least objective. Trials run side by side on
/// taper::threads() threads, each of them on one. A trial that throws Error has failed, and the study goes
/// on; other exceptions end it. A trial's objectives must be as many as said; one that is not finite is a
/// failure. Trials that the record has finished are not run again.
///
/// Returns all trials by number, and leaves the random generators of the calling thread where they were.
/// Throws Error for options out of range, halving of several objectives, and results of another number of
/// objectives.
std::vector<Trial> tune(const SearchSpace& space, const StartTrial& start, const TuneOptions& options);

/// The same for trials that are one function.
std::vector<Trial> tune(
    const SearchSpace& space,
    const std::function<TrialResult(const TrialSettings& settings, std::uint64_t seed)>& trial,
    const TuneOptions& options);

/// The seed of a trial, from that of the study.
std::uint64_t trial_seed(std::uint64_t seed, Index number);

}  // namespace taper::sparsity
