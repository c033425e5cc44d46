#pragma once

#include <string>
#include <utility>
#include <vector>

#include <taper/autodiff/shape.hpp>

namespace taper::sparsity {

/// What came out of a trial, or of a part of one.
struct TrialResult {
  /// What is minimized: one number, or several for a front.
  std::vector<double> objectives;
  /// Each is kept when it is 0 or less, else by how much it is violated (as Optuna has them).
  std::vector<double> constraints = {};
  /// What else there is to know, by name: a number, or a list of them.
  std::vector<std::pair<std::string, std::vector<double>>> figures = {};
};

/// One trial of a study.
struct Trial {
  enum class State {
    running,
    complete,
    pruned,  ///< stopped before its end, as others were better; its result is the one of that time
    failed   ///< it threw an Error, or an objective or constraint was not finite: it diverged, mostly
  };

  Index number = 0;                ///< from 0
  std::vector<double> point = {};  ///< one number for each dimension of the space
  State state = State::running;
  TrialResult result = {};                             ///< once it has ended
  std::vector<std::pair<Index, double>> reports = {};  ///< the first objective after so many epochs
  Index epochs = 0;          ///< for which it was trained, or was to be when it failed
  double seconds = 0;        ///< what this trial took
  double study_seconds = 0;  ///< what the study had taken when it ended, over all its runs
  std::string message = {};  ///< of a failed one

  bool is_finished() const { return state != State::running; }
  /// The sum of the violations of its constraints.
  double violation() const;
  bool is_feasible() const { return state == State::complete && violation() == 0; }
};

/// Whether one result is better than another one: with less violation, else in the first objective.
bool is_better(const TrialResult& a, const TrialResult& b);

/// The complete trial with the best result, the first of equal ones; the end when there is none that is
/// feasible.
std::vector<Trial>::const_iterator best_trial(const std::vector<Trial>& trials);

/// The positions of those complete, feasible trials that no other one is better than or equal to in all
/// objectives, sorted by the last objective. Of equal ones, the first.
std::vector<std::size_t> front(const std::vector<Trial>& trials);

/// To which front each point belongs: 0 for those that none dominates, 1 for those that only these do, and so
/// on (Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
/// 2002, section III.A). All points have the same number of objectives.
std::vector<Index> domination_ranks(const std::vector<std::vector<double>>& objectives);

}  // namespace taper::sparsity
