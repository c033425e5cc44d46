#include <taper/sparsity/tune/two_phase.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>

#include <taper/instantiate.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/levenberg_marquardt.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/penalized.hpp>
#include <taper/sparsity/proximal.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/sparsity/tune/two_phase_settings.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity {
namespace {

/// Memory and time of Levenberg-Marquardt grow with the square and the cube.
constexpr Index most_for_second_order = 2000;

template <class T> Index size_of(const nn::Sequential<T>& model) {
  Index size = 0;
  model.for_parameters(
      [&](const std::string&, const nn::Parameter<T>& parameter) { size += parameter.shape().size(); });
  return size;
}

template <class T>
train::FitOptions<T> quiet_fit(const TwoPhaseSettings& settings, Index epochs, std::uint64_t seed) {
  return {
      .epochs = epochs, .batch_size = settings.batch_size, .seed = seed, .progress = train::Progress::quiet};
}

Index share_of(Index count, double share) {
  return static_cast<Index>(std::llround(static_cast<double>(count) * share));
}

/// How what is left is trained: for so many iterations of Levenberg-Marquardt or epochs of Adam.
struct Training {
  Index iterations, epochs;
  double penalty;  // 0: no factors
};

/// Trains a model as it is, with its factors or without.
template <class T>
void train_as_it_is(nn::Sequential<T>& model, const TwoPhaseSettings& settings, std::uint64_t seed,
                    const data::Dataset<T>& data, const nn::Loss<T>& loss, const Training& training) {
  const std::vector<optim::Group> groups = beside_factors(model, settings.refit_decay);
  const bool is_small = model.parameters().count() <= most_for_second_order;
  if (settings.refit == "levenberg_marquardt" || (settings.refit == "automatic" && is_small)) {
    try {
      const optim::LevenbergMarquardtOptions options{.weight_decay = training.penalty,
                                                     .groups = groups,
                                                     .max_iterations = training.iterations,
                                                     .seed = seed};
      if (options.max_iterations > 0) {
        optim::LevenbergMarquardt<T>(model, data, loss, options).minimize();
      }
      return;
    } catch (const Error&) {  // another loss, or operations that have no such form
      if (settings.refit != "automatic") throw;
    }
  }
  train::fit(model, data, loss,
             optim::Adam<T>(model.parameters(),
                            {.lr = settings.refit_lr, .weight_decay = training.penalty, .groups = groups}),
             quiet_fit<T>(settings, training.epochs, seed));
}

/// Trains what is left: under a penalty with factors, which it does not have before and after. Changes
/// nothing when it throws.
template <class T>
void train_rest(nn::Sequential<T>& model, const TwoPhaseSettings& settings, std::uint64_t seed,
                const data::Dataset<T>& data, const nn::Loss<T>& loss, const Training& training) {
  if (size_of(model) == 0) return;
  nn::Sequential<T> trained = model;
  if (training.penalty > 0) {
    FactorizeOptions options = settings.factorize;
    options.start = Start::balanced;
    factorize(trained, settings.groups, options);
  }
  train_as_it_is(trained, settings, seed, data, loss, training);
  if (training.penalty > 0) collapse(trained);
  model = std::move(trained);
}

/// The same, by a share of the refit's iterations or epochs, and of its penalty.
template <class T>
void refit_rest(nn::Sequential<T>& model, const TwoPhaseSettings& settings, std::uint64_t seed,
                const data::Dataset<T>& data, const nn::Loss<T>& loss, double share,
                double penalty_share = 1) {
  train_rest(model, settings, seed, data, loss,
             {share_of(settings.refit_iterations, share), share_of(settings.refit_epochs, share),
              penalty_share * settings.refit_penalty});
}

TwoPhaseSettings settings_for(const TrialSettings& settings, bool dense) {
  TwoPhaseSettings result(settings);
  if (dense) result.refit_penalty = 0;
  return result;
}

/// One training from one start.
template <class T> class TwoPhaseRun {
 public:
  TwoPhaseRun(const TrialSettings& settings, std::uint64_t seed, const data::Dataset<T>& train,
              const data::Dataset<T>& validation, const TwoPhaseOptions<T>& options)
      : settings_(settings_for(settings, options.dense)),
        seed_(seed),
        train_(train),
        validation_(validation),
        options_(options) {
    manual_seed(seed);
    model_ = options.model(settings);
    if (!options.dense) factorize(model_, settings_.groups, settings_.factorize);
    optimizer_ = std::make_unique<optim::Adam<T>>(
        model_.parameters(), penalized_adam(model_, settings_.lr, options.dense ? 0 : settings_.penalty));
    trainer_ = std::make_unique<train::Trainer<T>>(model_, train, options.loss, *optimizer_,
                                                   quiet_fit<T>(settings_, settings_.epochs, seed));
    random_ = random_state();
  }
  TwoPhaseRun(const TwoPhaseRun&) = delete;
  TwoPhaseRun& operator=(const TwoPhaseRun&) = delete;

  /// The first phase, up to this share of its epochs; then the others on a copy, the refit for `refit_share`.
  TwoPhaseOutcome<T> advance(double share, double refit_share) {
    set_random_state(random_);
    trainer_->run(std::max<Index>(share_of(settings_.epochs, share) - trainer_->epoch(), 0));
    random_ = random_state();
    TwoPhaseOutcome<T> outcome;
    if (options_.dense) {
      outcome.model = model_;
      describe(outcome);
      outcome.shrunk_loss = train::evaluate(model_, validation_, options_.loss);
      refit_rest(outcome.model, settings_, seed_, train_, options_.loss, refit_share);
    } else {
      outcome = cut_and_refit(refit_share);
    }
    judge(outcome);
    return outcome;
  }

  /// Refits what another run of this kind has begun, for the rest.
  void refit_further(TwoPhaseOutcome<T>& outcome, double share) const {
    refit_rest(outcome.model, settings_, seed_ + 1, train_, options_.loss, share);
    judge(outcome);
  }

 private:
  void judge(TwoPhaseOutcome<T>& outcome) const {
    outcome.train_loss = train::evaluate(outcome.model, train_, options_.loss);
    outcome.validation_loss = train::evaluate(outcome.model, validation_, options_.loss);
  }

  static std::vector<Index> widths_of(const nn::Sequential<T>& model) {
    std::vector<Index> widths;
    for (std::size_t k = 0; k < model.size(); ++k) {
      const auto* const linear = dynamic_cast<const nn::Linear<T>*>(&model[k]);
      if (linear == nullptr) continue;
      if (widths.empty()) widths.push_back(linear->inputs());
      widths.push_back(linear->outputs());
    }
    return widths;
  }

  /// The columns that a chain reads: those that it selects, or all.
  std::vector<Index> inputs_of(const nn::Sequential<T>& model) const {
    if (model.size() > 0) {
      if (const auto* const select = dynamic_cast<const nn::Select<T>*>(&model[0])) return select->columns();
    }
    std::vector<Index> all(static_cast<std::size_t>(train_.inputs().shape()[1]));
    std::iota(all.begin(), all.end(), Index{0});
    return all;
  }

  /// What the penalty has left.
  nn::Sequential<T> cut(nn::Sequential<T>& model, double alpha) const {
    // Exact zeros, where their conditions say so; with more factors, small is what is small enough.
    if (settings_.factorize.depth == 2 && alpha > 0) proximal_step(model, train_, options_.loss, alpha);
    ShrinkOptions<T> options;
    options.examples = train_.inputs();
    options.tolerance = 1e-3;  // of float, in networks that are about to be trained on
    return shrink(model, options).model;
  }

  Index size_now(const nn::Sequential<T>& model) const { return chain_size(model, options_.measure); }

  /// Raises the penalty until the model fits; `alpha` ends with the last one.
  nn::Sequential<T> cut_by_penalty(nn::Sequential<T>& model, double& alpha, Index target) const {
    nn::Sequential<T> result = cut(model, alpha);
    double growth = settings_.growth;
    constexpr int most_steps = 200;
    int back = 0;
    for (int step = 0; growth > 1 && alpha > 0 && size_now(result) > target && step < most_steps; ++step) {
      const nn::Sequential<T> before = model;
      const double alpha_before = alpha;
      alpha *= growth;
      train::fit(model, train_, options_.loss,
                 optim::Adam<T>(model.parameters(), penalized_adam(model, settings_.lr, alpha)),
                 quiet_fit<T>(settings_, settings_.path_epochs, seed_ + static_cast<std::uint64_t>(step)));
      nn::Sequential<T> next = cut(model, alpha);
      if (10 * size_now(next) < 8 * target && back < 2) {
        ++back;
        growth = std::sqrt(growth);
        model = before;
        alpha = alpha_before;
        continue;
      }
      result = std::move(next);
    }
    return result;
  }

  /// Cuts what the penalty has left, unit by unit.
  nn::Sequential<T> cut_by_units(nn::Sequential<T>& model, Index target, double refit_share) const {
    nn::Sequential<T> result = cut(model, settings_.penalty);
    if (size_now(result) <= target) return result;
    // Under the whole penalty, the large network loses units that the small one needs.
    constexpr double penalty_share = 0.5;
    refit_rest(result, settings_, seed_, train_, options_.loss, refit_share, penalty_share);
    CutUnitsOptions<T> options{.measure = options_.measure};
    options.train = [&](nn::Sequential<T>& network) {
      train_rest(network, settings_, seed_, train_, options_.loss,
                 {settings_.cut_iterations, settings_.path_epochs, penalty_share * settings_.refit_penalty});
    };
    cut_units(result, train_, options_.loss, target, options);
    return result;
  }

  TwoPhaseOutcome<T> cut_and_refit(double refit_share) const {
    nn::Sequential<T> model = model_;
    TwoPhaseOutcome<T> outcome;
    outcome.penalty = settings_.penalty;
    // A budget that may be exceeded is kept by the penalty of the search.
    constexpr Index none = std::numeric_limits<Index>::max();
    const Index target = options_.rule == BudgetRule::constraint ? options_.budget.value_or(none) : none;
    outcome.model = settings_.by_units ? cut_by_units(model, target, refit_share)
                                       : cut_by_penalty(model, outcome.penalty, target);
    describe(outcome);
    outcome.shrunk_loss = train::evaluate(outcome.model, validation_, options_.loss);
    refit_rest(outcome.model, settings_, seed_, train_, options_.loss, refit_share);
    return outcome;
  }

  /// Widths, inputs and size of its model.
  void describe(TwoPhaseOutcome<T>& outcome) const {
    outcome.widths = widths_of(outcome.model);
    outcome.inputs = inputs_of(outcome.model);
    outcome.size = size_now(outcome.model);
  }

  const TwoPhaseSettings settings_;
  const std::uint64_t seed_;
  const data::Dataset<T>&train_, &validation_;
  const TwoPhaseOptions<T>& options_;
  nn::Sequential<T> model_;
  std::unique_ptr<optim::Adam<T>> optimizer_;
  std::unique_ptr<train::Trainer<T>> trainer_;
  RandomState random_;
};

/// All starts of a trial.
template <class T> class TwoPhaseTrial : public RunningTrial {
 public:
  TwoPhaseTrial(const TrialSettings& settings, std::uint64_t seed, const data::Dataset<T>& train,
                const data::Dataset<T>& validation, const TwoPhaseOptions<T>& options)
      : options_(options) {
    if (!options.model || !options.loss) throw Error(in_two_phase, "no model or no loss: expected both");
    if (options.epochs < 1) throw Error(in_two_phase, options.epochs, " epochs: expected 1 at least");
    if (options.budget && *options.budget < 1) {
      throw Error(in_two_phase, "a budget of ", *options.budget, ": expected 1 at least");
    }
    const Index starts = TwoPhaseSettings(settings).starts;
    runs_.resize(static_cast<std::size_t>(starts));
    make_ = [=, this, &train, &validation](std::size_t k) {
      const std::uint64_t own = k == 0 ? seed : Rng(seed, static_cast<std::uint64_t>(k)).bits();
      return std::make_unique<TwoPhaseRun<T>>(settings, own, train, validation, options_);
    };
    runs_.front() = make_(0);  // what is wrong with the settings is said now
  }

  TrialResult advance(Index epochs) override {
    return result_of(outcome(static_cast<double>(epochs) / static_cast<double>(options_.epochs)), options_);
  }

  TwoPhaseOutcome<T> outcome(double share) {
    if (runs_.size() == 1) return runs_.front()->advance(share, share);
    std::optional<TwoPhaseOutcome<T>> best;
    std::shared_ptr<const TwoPhaseRun<T>> of;
    std::string fault;  // of the first start that diverges, and is not taken
    for (std::size_t k = 0; k < runs_.size(); ++k) {
      std::shared_ptr<TwoPhaseRun<T>> run = std::move(runs_[k]);
      if (run == nullptr) run = make_(k);
      if (options_.epochs > 1) runs_[k] = run;  // it may go on
      try {
        TwoPhaseOutcome<T> one = run->advance(share, share / 4);
        if (!std::isfinite(one.validation_loss)) {
          throw Error(in_two_phase, "a loss of ", one.validation_loss,
                      " on the validation set: expected a finite number");
        }
        if (best && !is_better(result_of(one, options_), result_of(*best, options_))) continue;
        best = std::move(one);
        of = run;
      } catch (const Error& error) {
        if (fault.empty()) fault = error.what();
      }
    }
    if (!best) {
      throw Error(in_two_phase, "none of ", runs_.size(), " starts ends, the first because ", fault);
    }
    of->refit_further(*best, share * 3 / 4);
    return std::move(*best);
  }

 private:
  const TwoPhaseOptions<T> options_;
  std::function<std::unique_ptr<TwoPhaseRun<T>>(std::size_t start)> make_;
  std::vector<std::shared_ptr<TwoPhaseRun<T>>> runs_;  // by start, where there is one
};

}  // namespace

template <class T>
TwoPhaseOutcome<T> two_phase(const TrialSettings& settings, std::uint64_t seed, const data::Dataset<T>& train,
                             const data::Dataset<T>& validation, const TwoPhaseOptions<T>& options) {
  const KeepRandomState keep;
  return TwoPhaseTrial<T>(settings, seed, train, validation, options).outcome(1);
}

template <class T>
TrialResult result_of(const TwoPhaseOutcome<T>& outcome, const TwoPhaseOptions<T>& options) {
  const auto numbers = [](const std::vector<Index>& from) {
    return std::vector<double>(from.begin(), from.end());
  };
  TrialResult result;
  const double size = static_cast<double>(outcome.size);
  result.objectives = {outcome.validation_loss};
  if (options.rule == BudgetRule::front) {
    result.objectives.push_back(size);
  } else if (options.budget) {
    const double over = size / static_cast<double>(*options.budget) - 1;
    if (options.rule == BudgetRule::constraint) {
      result.constraints = {over};
    } else {
      result.objectives.front() += options.over_budget * std::max(over, 0.0);
    }
  }
  result.figures = {{"size", {size}},
                    {"widths", numbers(outcome.widths)},
                    {"inputs", numbers(outcome.inputs)},
                    {"ended_penalty", {outcome.penalty}},
                    {"shrunk_loss", {outcome.shrunk_loss}},
                    {"train_loss", {outcome.train_loss}},
                    {"validation_loss", {outcome.validation_loss}}};
  return result;
}

template <class T>
StartTrial two_phase_trials(const data::Dataset<T>& train, const data::Dataset<T>& validation,
                            const TwoPhaseOptions<T>& options) {
  return [&train, &validation, options](const TrialSettings& settings,
                                        std::uint64_t seed) -> std::unique_ptr<RunningTrial> {
    return std::make_unique<TwoPhaseTrial<T>>(settings, seed, train, validation, options);
  };
}

template <class T>
void two_phase_refit(nn::Sequential<T>& model, const TrialSettings& settings, std::uint64_t seed,
                     const data::Dataset<T>& data, const nn::Loss<T>& loss, double share) {
  const KeepRandomState keep;
  refit_rest(model, TwoPhaseSettings(settings), seed, data, loss, share);
}

Index fewest_parameters(Index matrices) {
  return 2 * matrices;
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template TwoPhaseOutcome<T> two_phase(const TrialSettings&, std::uint64_t, const data::Dataset<T>&, \
                                        const data::Dataset<T>&, const TwoPhaseOptions<T>&);          \
  template TrialResult result_of(const TwoPhaseOutcome<T>&, const TwoPhaseOptions<T>&);               \
  template StartTrial two_phase_trials(const data::Dataset<T>&, const data::Dataset<T>&,              \
                                       const TwoPhaseOptions<T>&);                                    \
  template void two_phase_refit(nn::Sequential<T>&, const TrialSettings&, std::uint64_t,              \
                                const data::Dataset<T>&, const nn::Loss<T>&, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
