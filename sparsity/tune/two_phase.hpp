#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/sparsity/cut_units.hpp>
#include <taper/sparsity/tune/study.hpp>

namespace taper::sparsity {

/// What becomes of a budget: of a trial's objective and constraint.
enum class BudgetRule {
  constraint,  ///< the loss; size / budget - 1 is a constraint
  penalty,     ///< the loss, plus `over_budget` times size / budget - 1 when that is above 0
  front        ///< two objectives, the loss and the size, and no budget
};

/// Trials of the two phases: factorize, train with a penalty, shrink, and train again what is left.
///
/// 1. The model is factorized and trained for `epochs` with Adam, at `lr` with the coupled decay `penalty` on
///    its factors (and on nothing else).
/// 2. It is shrunk. With a budget that is a constraint, it is then cut until it fits, as `cut` says. By
///    `units`, what is left goes unit by unit and is trained between (cut_units), for `cut_iterations` of
///    Levenberg-Marquardt or `path_epochs` of Adam. By `penalty`, the penalty grows by `penalty_growth` every
///    `path_epochs`, each step from where the one before ended; a step that cuts to far below the budget is
///    taken back and tried with the root of its factor, twice at most.
/// 3. What is left is trained again: by Levenberg-Marquardt, or by Adam where that is not to be had, above
///    2000 entries (factors are entries), or where it is asked for. With `refit_penalty` above 0 the weights
///    are factorized again while they are trained, and this is the decay of the factors; `refit_decay` is
///    then that of the biases, and that of all entries otherwise. Training between cuts of units has half of
///    `refit_penalty`. Such a penalty (Yuan and Lin, "Model selection and estimation in regression with
///    grouped variables", 2006, equation 2.1) shrinks a large group by a smaller share than a small one,
///    where decay shrinks all by the same share: fewer and larger features are left. What the refit brings to
///    zero is not cut any more.
///
/// Settings by name, with what they are when they are not given: `lr` 2e-3, `penalty` 1e-3, `epochs` 100,
/// `batch_size` 128, `factors` 2, `groups` inputs (or elements, outputs), `weights` one (or sqrt_size,
/// parameters: penalties by what a group costs); `cut` units (or penalty), `cut_iterations` 8,
/// `penalty_growth` 1.3, `path_epochs` 10; `refit` automatic (or adam, levenberg_marquardt), `refit_penalty`
/// 0, `refit_decay` 1e-6, `refit_lr` 2e-3 and `refit_epochs` 100 of Adam, `refit_iterations` 100 of
/// Levenberg-Marquardt; `starts` 1: of so many from different weights, each refitted for a quarter of the
/// refit, the best on the validation set is taken and refitted for the rest. Other settings are the model's.
template <class T> struct TwoPhaseOptions {
  /// Makes the model that is offered, with weights drawn from default_rng().
  std::function<nn::Sequential<T>(const TrialSettings&)> model = {};
  nn::Loss<T> loss = {};
  std::optional<Index> budget = {};
  SizeMeasure measure = SizeMeasure::parameters;
  BudgetRule rule = BudgetRule::constraint;
  double over_budget = 1;
  /// Trained as it is made, without factors, penalties or shrinking: the control.
  bool dense = false;
  /// The epochs that count as all of a trial's `epochs` (TuneOptions::epochs).
  Index epochs = 1;
};

/// What a trial ends with.
template <class T> struct TwoPhaseOutcome {
  nn::Sequential<T> model;
  Index size = 0;
  std::vector<Index> widths;  ///< of the matrices: inputs of each, and the outputs of the last
  std::vector<Index> inputs;  ///< the columns that it reads
  double penalty = 0;         ///< of the first phase, as cuts by `penalty` have raised it
  double shrunk_loss = 0;     ///< on the validation set, before the last refit
  double train_loss = 0, validation_loss = 0;
};

/// The settings that such a trial reads itself, by name.
const std::vector<std::string>& two_phase_settings();

/// One trial from its beginning to its end. Data must outlive the call. Throws Error for settings out of
/// range and like the parts that it is made of.
template <class T>
TwoPhaseOutcome<T> two_phase(const TrialSettings& settings, std::uint64_t seed, const data::Dataset<T>& train,
                             const data::Dataset<T>& validation, const TwoPhaseOptions<T>& options);

/// What a study is told of it. Figures: size, widths, inputs, ended_penalty, shrunk_loss, train_loss,
/// validation_loss.
template <class T>
TrialResult result_of(const TwoPhaseOutcome<T>& outcome, const TwoPhaseOptions<T>& options);

/// Trials for `tune`. A trial that goes on does so from its trainers in memory; what it is judged by is its
/// network, shrunk and refitted for the same share of the epochs. Data must outlive the trials.
template <class T>
StartTrial two_phase_trials(const data::Dataset<T>& train, const data::Dataset<T>& validation,
                            const TwoPhaseOptions<T>& options);

/// Trains a network on, as the third step does: for example, on all rows. It has no factors. A dense control
/// is refitted by settings without `refit_penalty`. Throws Error like the parts.
template <class T>
void two_phase_refit(nn::Sequential<T>& model, const TrialSettings& settings, std::uint64_t seed,
                     const data::Dataset<T>& data, const nn::Loss<T>& loss, double share = 1);

/// The fewest parameters of a network of so many matrices that depends on an input: one unit in each.
Index fewest_parameters(Index matrices);

}  // namespace taper::sparsity
