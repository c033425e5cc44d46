#include "tune_hunt.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/checksum.hpp>
#include <taper/io/journal.hpp>
#include <taper/train/evaluate.hpp>
#include <taper/version.hpp>

#include "tune_report.hpp"

namespace taper::apps {

using sparsity::Sampler;
using sparsity::SearchDimension;
using sparsity::SearchSpace;
using sparsity::Trial;
using sparsity::TrialResult;
using sparsity::TrialSettings;

namespace {

/// Kernels use one thread for as long as this lives.
struct OneThread {
  OneThread() { set_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { set_threads(before); }
  const int before = threads();
};

/// A trial that is one function.
struct Final : sparsity::RunningTrial {
  explicit Final(std::function<TrialResult()> f) : run(std::move(f)) {}
  TrialResult advance(Index) override { return run(); }
  std::function<TrialResult()> run;
};

}  // namespace

Hunt::Hunt(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
           std::string name, Searched searched, Phases phases)
    : data_(data),
      all_(all),
      options_(options),
      name_(std::move(name)),
      space_(std::move(searched.dimensions)),
      held_(std::move(searched.held)),
      starts_(searched.starts),
      phases_(std::move(phases)) {
  const std::vector<View<const float>> views{data.train.x.view(), data.train.y.view(),
                                             data.validation.x.view(), data.validation.y.view()};
  // Another version may come to other networks from the same settings and seeds.
  note_ = fmt::format("taper {} {} {:016x} {}", version, data.name, data::checksum<float>(views),
                      as_json(held_).dump());
  note_ += phases_.measure == sparsity::SizeMeasure::parameters ? " parameters" : " multiply_adds";
  if (phases_.budget) note_ += fmt::format(" budget {}", *phases_.budget);
  if (phases_.rule == sparsity::BudgetRule::penalty) note_ += " soft";
  if (starts_) {
    note_ += fmt::format(" starts in {} s: {}, {} each, {} for each epoch above {}", starts_->seconds,
                         starts_->rest, starts_->of_start, starts_->of_epoch, starts_->least_epochs);
  }
}

Hunt::Trials Hunt::search(Index trials, double seconds) {
  sparsity::TuneOptions tune = options_for(trials, options_.seed);
  tune.sampler = options_.sampler == "tpe" ? Sampler::tpe : Sampler::random;
  tune.objectives = objectives();
  tune.epochs = phases_.epochs;
  if (options_.halving && tune.objectives == 1) {
    tune.halving = sparsity::Halving{.first = std::max<Index>(phases_.epochs / 9, 1), .factor = 3};
  }
  if (seconds > 0) {
    tune.go_on = [seconds](const std::vector<Trial>&, double taken) { return taken < seconds; };
  }
  say_progress(tune, name_);
  const sparsity::StartTrial start = sparsity::two_phase_trials(data_.train, data_.validation, phases_);
  return run("", tune, space_,
             [&](const TrialSettings& settings, std::uint64_t seed) { return start(whole(settings), seed); });
}

Trial Hunt::winner(const Trials& trials) {
  constexpr std::size_t most = 5;
  constexpr Index repeats = 3;
  std::vector<Trial> best;
  for (const Trial& trial : trials) {
    if (trial.is_feasible()) best.push_back(trial);
  }
  if (best.empty()) {
    require_one_that_ended(trials);
    throw Error("tune", "none of ", trials.size(), " trials of the study '", name_,
                "' keeps the budget: expected more trials or a larger one");
  }
  std::ranges::stable_sort(best,
                           [](const Trial& a, const Trial& b) { return is_better(a.result, b.result); });
  best.resize(std::min(best.size(), most));
  if (best.size() == 1) return best.front();
  const auto count = static_cast<Index>(best.size());
  const SearchSpace grid(
      {SearchDimension::integer("finalist", 0, count - 1), SearchDimension::integer("repeat", 1, repeats)});
  sparsity::TuneOptions tune = options_for(count * repeats, options_.seed + 1);
  tune.sampler = Sampler::grid;
  tune.objectives = objectives();
  // Their numbers are in the name: with more trials, others are the best.
  std::string part = " finalists";
  for (const Trial& trial : best) part += fmt::format(" {}", trial.number);
  say_progress(tune, name_ + " finalists");
  const auto again = run(part, tune, grid, [&](const TrialSettings& at, std::uint64_t seed) {
    const Trial& trial = best[static_cast<std::size_t>(at.integer("finalist", 0))];
    return sparsity::two_phase_trials(data_.train, data_.validation, with_all_epochs())(settings_of(trial),
                                                                                        seed);
  });
  std::size_t chosen = 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < best.size(); ++k) {
    std::vector<double> losses{best[k].result.objectives.front()};
    for (const Trial& trial : again) {
      if (static_cast<std::size_t>(trial.point[0]) != k) continue;
      losses.push_back(trial.is_feasible() ? trial.result.objectives.front()
                                           : std::numeric_limits<double>::infinity());
    }
    if (const double median = median_of(losses); median < least) least = median, chosen = k;
  }
  return best[chosen];
}

Hunt::Trials Hunt::seeds(const Trial& winner, const std::vector<DenseShape>& shapes) {
  const Index count = shapes.empty() ? options_.seeds : static_cast<Index>(shapes.size());
  const SearchSpace grid({SearchDimension::integer("seed", 0, count - 1)});
  sparsity::TuneOptions tune = options_for(count, options_.seed);
  tune.sampler = Sampler::grid;
  tune.objectives = objectives();
  tune.note += " winner " + as_json(settings_of(winner)).dump();
  if (!shapes.empty()) tune.note += " shapes";
  for (const DenseShape& shape : shapes) tune.note += ' ' + Json{shape.widths, shape.inputs}.dump();
  say_progress(tune, name_ + " seeds");
  return run(fmt::format(" {} seeds of {}", count, winner.number), tune, grid,
             [&](const TrialSettings& at, std::uint64_t) -> std::unique_ptr<sparsity::RunningTrial> {
               return std::make_unique<Final>([&, at]() {
                 const Index seed = at.integer("seed", 0);
                 const Phases phases =
                     shapes.empty()
                         ? with_all_epochs()
                         : control_phases(data_, shapes[static_cast<std::size_t>(seed)], with_all_epochs());
                 return final_run(winner, seed, phases).result;
               });
             });
}

Hunt::Ended Hunt::final_run(const Trial& winner, Index seed, const Phases& phases) const {
  const TrialSettings settings = settings_of(winner);
  const std::uint64_t own = sparsity::trial_seed(options_.seed + 2, seed);
  auto outcome = sparsity::two_phase(settings, own, data_.train, data_.validation, phases);
  TrialResult result = sparsity::result_of(outcome, phases);
  sparsity::two_phase_refit(outcome.model, settings, own, all_, data_.loss, 0.5);
  if (data_.test.rows() > 0) {
    result.figures.push_back({"test", {train::evaluate(outcome.model, data_.test, data_.loss)}});
  }
  return {std::move(outcome.model), std::move(result)};
}

nn::Sequential<float> Hunt::final_network(const Trial& winner, Index seed) const {
  return final_run(winner, seed, with_all_epochs()).model;
}

TrialSettings Hunt::settings_of(const Trial& trial) const {
  return whole(space_.settings(trial.point));
}

TrialSettings Hunt::whole(TrialSettings settings) const {
  settings = merged(std::move(settings), held_);
  if (starts_) settings.set("starts", starts_->with(settings.number("epochs", 0)));
  return settings;
}

StartsInTime Hunt::dense_starts(const Trial& winner, const DenseShape& shape, double least_epochs,
                                double most_epochs) {
  sparsity::TuneOptions tune = options_for(1, options_.seed);
  tune.sampler = Sampler::grid;
  const SearchSpace one({SearchDimension::integer("run", 0, 0)});
  const auto measured = [&](std::uint64_t seed) -> TrialResult {
    const auto seconds_of = [&](const TrialSettings& settings, const Phases& phases) {
      using Clock = std::chrono::steady_clock;
      const auto start = Clock::now();
      sparsity::two_phase(settings, seed, data_.train, data_.validation, phases);
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    const OneThread as_trials_have_it;
    const TrialSettings settings = settings_of(winner);
    const Phases phases = control_phases(data_, shape, phases_);
    const auto dense = [&](double starts, double epochs) {
      TrialSettings other = settings;
      other.set("starts", starts), other.set("epochs", epochs);
      return seconds_of(other, phases);
    };
    StartsInTime time{.seconds = seconds_of(settings, with_all_epochs()), .least_epochs = least_epochs};
    const double of_two = dense(2, least_epochs);
    if (most_epochs > least_epochs) {
      time.of_epoch = std::max(dense(2, most_epochs) - of_two, 0.0) / (2 * (most_epochs - least_epochs));
    }
    // The best start is refitted for longer, so the time does not grow in proportion: what two say of many is
    // tried out.
    const double many = std::clamp(std::round(2 * time.seconds / of_two), 4.0, 1000.0);
    time.of_start = std::max(dense(many, least_epochs) - of_two, 1e-9) / (many - 2);
    time.rest = std::max(of_two - 2 * time.of_start, 0.0);
    return {.objectives = {0},
            .figures = {{"trial_seconds", {time.seconds}},
                        {"rest_seconds", {time.rest}},
                        {"start_seconds", {time.of_start}},
                        {"epoch_seconds", {time.of_epoch}}}};
  };
  const auto trials =
      run(fmt::format(" time of control of {}", winner.number), tune, one,
          [&](const TrialSettings&, std::uint64_t seed) -> std::unique_ptr<sparsity::RunningTrial> {
            return std::make_unique<Final>([&, seed] { return measured(seed); });
          });
  const TrialResult& result = trials.front().result;
  const StartsInTime time{.seconds = figure_in(result, "trial_seconds"),
                          .rest = figure_in(result, "rest_seconds"),
                          .of_start = figure_in(result, "start_seconds"),
                          .of_epoch = figure_in(result, "epoch_seconds"),
                          .least_epochs = least_epochs};
  if (std::isfinite(time.with(least_epochs))) return time;
  const std::string& message = trials.front().message;
  throw Error("tune", "how long a dense network takes was not measured: ",
              message.empty() ? "the trial has no start_seconds" : message);
}

Hunt::Phases Hunt::control_phases(const TuneData& data, const DenseShape& shape, const Phases& from) {
  Phases dense = from;
  dense.dense = true;
  dense.budget.reset();
  dense.rule = sparsity::BudgetRule::constraint;
  dense.model = [&data, shape](const TrialSettings& settings) {
    return dense_network(data, shape, settings);
  };
  return dense;
}

Hunt::Phases Hunt::with_all_epochs() const {
  Phases phases = phases_;
  phases.epochs = 1;
  return phases;
}

sparsity::TuneOptions Hunt::options_for(Index trials, std::uint64_t seed) const {
  return {.trials = trials, .seed = seed, .note = note_};
}

Hunt::Trials Hunt::run(const std::string& part, sparsity::TuneOptions& tune, const SearchSpace& space,
                       const sparsity::StartTrial& start) const {
  if (options_.journal.empty()) return sparsity::tune(space, start, tune);
  io::Journal journal(options_.journal, name_ + part);
  tune.record = &journal;
  return sparsity::tune(space, start, tune);
}

void Hunt::say_progress(sparsity::TuneOptions& tune, const std::string& what) const {
  if (options_.quiet) return;
  tune.progress = [this, what, of = tune.trials](const Trials& trials, const Trial& ended) {
    say(what, trials, ended, of);
  };
}

void Hunt::say(const std::string& what, const Trials& trials, const Trial& ended, Index of) const {
  std::string line = fmt::format("{}: trial {} of {}", what, ended.number + 1, of);
  if (ended.state == Trial::State::failed) {
    line += ", failed";
  } else {
    line += fmt::format(", {} {:.5g} at {}", data_.loss_name, ended.result.objectives.front(),
                        figure_in(ended.result, "size"));
  }
  if (const auto best = sparsity::best_trial(trials);
      best != trials.end() && ended.result.objectives.size() < 2) {
    line += fmt::format("; best {:.5g} at {} (trial {})", best->result.objectives.front(),
                        figure_in(best->result, "size"), best->number + 1);
  }
  std::fputs((line + '\n').c_str(), stderr);
}

void require_one_that_ended(const std::vector<Trial>& trials) {
  for (const Trial& trial : trials) {
    if (trial.state != Trial::State::failed) return;
  }
  if (trials.empty()) throw Error("tune", "no trial has ended: expected more minutes");
  throw Error("tune", "all ", trials.size(), " trials have failed, the first because ",
              trials.front().message);
}

}  // namespace taper::apps
