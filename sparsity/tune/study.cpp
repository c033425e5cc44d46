#include <taper/sparsity/tune/study.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/kernels/threads.hpp>
#include <taper/autodiff/random.hpp>

namespace taper::sparsity {
namespace {

using TuneClock = std::chrono::steady_clock;

double seconds_since(TuneClock::time_point start) {
  return std::chrono::duration<double>(TuneClock::now() - start).count();
}

/// Of how many trials one reaches the end, and after how many epochs each rung ends.
struct Rungs {
  explicit Rungs(const TuneOptions& options) : wave(options.wave), epochs{options.epochs} {
    if (!options.halving) return;
    wave = 1;
    epochs.clear();
    for (Index e = options.halving->first; e < options.epochs; e *= options.halving->factor) {
      epochs.push_back(e);
      wave *= options.halving->factor;
    }
    epochs.push_back(options.epochs);
  }

  Index wave;
  std::vector<Index> epochs;
};

void check_tune_options(const TuneOptions& options) {
  const char* const where = "tune";
  if (options.trials < 0) throw Error(where, options.trials, " trials: expected 0 or more");
  if (options.epochs < 1) throw Error(where, options.epochs, " epochs: expected 1 at least");
  if (options.wave < 1) throw Error(where, "waves of ", options.wave, " trials: expected 1 at least");
  if (options.objectives < 1) throw Error(where, options.objectives, " objectives: expected 1 at least");
  if (!options.halving) return;
  if (options.objectives > 1) {
    throw Error(where, "halving with ", options.objectives, " objectives: expected one, by which to rank");
  }
  const auto [first, factor] = *options.halving;
  if (first < 1 || factor < 2) {
    throw Error(where, "halving from ", first, " epochs on by ", factor,
                ": expected 1 epoch and a factor of 2 at least");
  }
  // The number of trials in a wave is about their quotient.
  if (options.epochs / first > 10'000) {
    throw Error(where, "halving from ", first, " to ", options.epochs,
                " epochs: expected at most 10000 times as many");
  }
}

/// A study while it runs.
class Study {
 public:
  Study(const SearchSpace& space, const StartTrial& start, const TuneOptions& options)
      : space_(space), start_(start), options_(options), rungs_(options) {
    if (options.record == nullptr) return;
    trials_ = options.record->begin({.space = space,
                                     .sampler = options.sampler,
                                     .tpe = options.tpe,
                                     .seed = options.seed,
                                     .objectives = options.objectives,
                                     .epochs = options.epochs,
                                     .wave = rungs_.wave,
                                     .halving = options.halving,
                                     .note = options.note});
    for (const Trial& trial : trials_) before_ = std::max(before_, trial.study_seconds);
  }

  std::vector<Trial> run() {
    for (Index begin = 0; begin < options_.trials; begin += rungs_.wave) {
      // What goes on depends on the whole wave.
      const Index end =
          options_.halving ? begin + rungs_.wave : std::min(begin + rungs_.wave, options_.trials);
      const auto known = std::min(static_cast<Index>(trials_.size()), end);
      bool is_done = known == end;
      for (Index k = begin; k < known; ++k) is_done = is_done && at(k).is_finished();
      if (is_done) continue;
      if (options_.go_on && !options_.go_on(before(begin), seconds())) break;
      run_wave(begin, end);
    }
    return std::move(trials_);
  }

 private:
  Trial& at(Index number) { return trials_[static_cast<std::size_t>(number)]; }
  double seconds() const { return before_ + seconds_since(began_); }
  std::vector<Trial> before(Index end) const {
    const auto count = std::min(static_cast<std::size_t>(end), trials_.size());
    return {trials_.begin(), trials_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  void run_wave(Index begin, Index end) {
    // What came before is finished; those of this wave count as running, whether they are or not.
    std::vector<Trial> seen = before(begin);
    for (Index number = begin; number < end; ++number) {
      if (number == static_cast<Index>(trials_.size())) {
        Trial trial{.number = number,
                    .point = propose(space_, options_.sampler, options_.tpe, seen, options_.seed, number)};
        trials_.push_back(trial);
        if (options_.record != nullptr) options_.record->started(trial);
      }
      seen.push_back({.number = number, .point = at(number).point});
    }
    running_.clear();
    running_.resize(static_cast<std::size_t>(end - begin));
    std::vector<Index> alive;  // of this wave, at this rung
    for (Index number = begin; number < end; ++number) alive.push_back(number);
    for (std::size_t rung = 0; rung < rungs_.epochs.size(); ++rung) {
      const bool is_last = rung + 1 == rungs_.epochs.size();
      std::vector<Index> open;
      for (const Index number : alive) {
        if (!at(number).is_finished()) open.push_back(number);
      }
      kernels::for_pieces(
          static_cast<Index>(open.size()), 1,
          [&](Index first, Index) {
            const Index number = open[static_cast<std::size_t>(first)];
            advance(number, number - begin, rungs_.epochs[rung], is_last);
          },
          0, kernels::Schedule::dynamic);
      if (!is_last) alive = going_on(alive, rungs_.epochs[rung]);
    }
    running_.clear();
  }

  /// Those of a rung that train on; the others end here. What was finished in an earlier run has been
  /// decided: it went on from this rung or not.
  std::vector<Index> going_on(const std::vector<Index>& alive, Index epochs) {
    const Index places = std::max<Index>(1, static_cast<Index>(alive.size()) / options_.halving->factor);
    std::vector<Index> result, open;
    for (const Index number : alive) {
      const Trial& trial = at(number);
      if (!trial.is_finished()) open.push_back(number);
      if (trial.is_finished() && trial.epochs > epochs) result.push_back(number);
    }
    std::ranges::stable_sort(open, [&](Index a, Index b) { return is_better(at(a).result, at(b).result); });
    for (const Index number : open) {
      if (static_cast<Index>(result.size()) < places) {
        result.push_back(number);
      } else {
        end(at(number), Trial::State::pruned);
      }
    }
    std::ranges::sort(result);
    return result;
  }

  /// Runs a trial until so many epochs are made.
  void advance(Index number, Index place, Index epochs, bool is_last) {
    const TuneClock::time_point start = TuneClock::now();
    const KeepRandomState keep;
    std::unique_ptr<RunningTrial>& running = running_[static_cast<std::size_t>(place)];
    TrialResult result;
    std::string fault;
    std::vector<double> point;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      point = at(number).point;
    }
    try {
      if (running == nullptr) running = start_(space_.settings(point), trial_seed(options_.seed, number));
      result = running->advance(epochs);
    } catch (const Error& error) {
      fault = error.what();
    }
    if (fault.empty() && static_cast<Index>(result.objectives.size()) != options_.objectives) {
      throw Error("tune", "a trial with ", result.objectives.size(), " objectives: expected ",
                  options_.objectives);
    }
    const auto finite = [](double x) { return std::isfinite(x); };
    if (fault.empty() && !(std::ranges::all_of(result.objectives, finite) &&
                           std::ranges::all_of(result.constraints, finite))) {
      fault = "an objective or a constraint is not finite";
    }
    if (is_last || !fault.empty()) running.reset();

    const std::lock_guard<std::mutex> lock(mutex_);
    Trial& trial = at(number);
    trial.seconds += seconds_since(start);
    trial.epochs = epochs;
    trial.message = fault;
    if (!fault.empty()) {
      trial.result = {};
      end(trial, Trial::State::failed);
      return;
    }
    trial.result = std::move(result);
    if (options_.halving) {
      trial.reports.emplace_back(epochs, trial.result.objectives.front());
      if (options_.record != nullptr) options_.record->reported(trial);
    }
    if (is_last) end(trial, Trial::State::complete);
  }

  void end(Trial& trial, Trial::State state) {
    trial.state = state;
    trial.study_seconds = seconds();
    if (options_.record != nullptr) options_.record->finished(trial);
    if (options_.progress) options_.progress(trials_, trial);
  }

  const SearchSpace& space_;
  const StartTrial& start_;
  const TuneOptions& options_;
  const Rungs rungs_;
  const TuneClock::time_point began_ = TuneClock::now();
  double before_ = 0;  // seconds of earlier runs
  std::mutex mutex_;
  std::vector<Trial> trials_;
  std::vector<std::unique_ptr<RunningTrial>> running_;  // of the wave
};

/// A trial that is one function.
class WholeTrial : public RunningTrial {
 public:
  explicit WholeTrial(std::function<TrialResult()> run) : run_(std::move(run)) {}
  TrialResult advance(Index) override { return run_(); }

 private:
  std::function<TrialResult()> run_;
};

}  // namespace

std::uint64_t trial_seed(std::uint64_t seed, Index number) {
  return Rng(seed, static_cast<std::uint64_t>(number) + (std::uint64_t{1} << 40)).bits();
}

std::vector<Trial> tune(const SearchSpace& space, const StartTrial& start, const TuneOptions& options) {
  check_tune_options(options);
  return Study(space, start, options).run();
}

std::vector<Trial> tune(
    const SearchSpace& space,
    const std::function<TrialResult(const TrialSettings& settings, std::uint64_t seed)>& trial,
    const TuneOptions& options) {
  if (options.halving) throw Error("tune", "halving of trials that are one function: expected a StartTrial");
  return tune(
      space,
      [&](const TrialSettings& settings, std::uint64_t seed) -> std::unique_ptr<RunningTrial> {
        return std::make_unique<WholeTrial>([&trial, settings, seed] { return trial(settings, seed); });
      },
      options);
}

}  // namespace taper::sparsity
