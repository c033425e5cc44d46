#include "tune_arguments.hpp"

#include <fmt/core.h>

#include <cmath>
#include <taper/autodiff/error.hpp>
#include <taper/data/number.hpp>

#include "output.hpp"

namespace taper::apps {

void TuneArguments::add_to(Command& command, const char* budget) {
  budget_ = budget;
  command.list(budget, budgets,
               "The largest size, may be given several times, for a search each; without, the front of size "
               "against loss");
  command.option("--measure", measure, "What a budget is of",
                 std::vector<std::string>{"parameters", "multiply_adds"});
  command.flag("--soft", study.soft, "A penalty above the budget in place of the constraint");
  command.option("--minutes", study.minutes,
                 "No new trials after so long, for all budgets together; finalists, seeds and the control "
                 "come on top, and take longer than the search where trials are few (0: no limit)");
  command.option("--trials", study.trials,
                 "Trials for each budget, at most (with --halving, whole waves of 9)", 1, 1'000'000);
  command.option("--sampler", study.sampler, "How trials are proposed",
                 std::vector<std::string>{"tpe", "random"});
  command.flag("--halving", study.halving, "Successive halving: of 9 trials, 1 is trained to its end");
  command.list(
      "--search", study.search,
      "A setting to search or to hold, may be given several times: lr=1e-4:1e-2:log, width=8:64:int, "
      "activation=tanh,relu, factors=3");
  command.option("--journal", study.journal,
                 "File to append every trial to, in the form that Optuna reads; the study goes on from there",
                 expected_file);
  command.option("--seeds", study.seeds, "Seeds from which the winner is trained again", 1, 1000);
  command.flag("--no-control", no_control, "No dense networks");
  add_plot_option(command, plot);
}

void TuneArguments::read(const CommonOptions& common) {
  for (const std::string& text : budgets) {
    double value;
    const bool number = data::parse_number(text, value) == data::NumberKind::finite;
    if (!number || value < 1 || value > 1e15 || value != std::floor(value)) {
      throw Error("tune", budget_, ' ', text, ": expected a whole number above 0");
    }
    study.budgets.push_back(static_cast<Index>(value));
  }
  study.control = !no_control;
  study.measure =
      measure == "parameters" ? sparsity::SizeMeasure::parameters : sparsity::SizeMeasure::multiply_adds;
  study.seed = common.seed;
  study.quiet = common.quiet;
}

void TuneArguments::refuse(const Command& command, const std::string& choice,
                           const std::string& expected) const {
  command.refuse({budget_, "--soft", "--minutes", "--trials", "--sampler", "--halving", "--search",
                  "--journal", "--seeds", "--no-control", "--plot"},
                 choice, expected);
}

void TuneArguments::draw(const TuneStudy& found, const std::string& loss_name, bool prints) const {
  if (plot.empty()) return;
  if (found.sizes.empty()) {
    tell(study.quiet, "no figure is drawn: no seed ends within a budget");
    return;
  }
  const SizesAxes axes{
      .loss = loss_name == "mse" ? "test MSE" : "test log loss",
      .size = study.measure == sparsity::SizeMeasure::parameters ? "parameters" : "multiply-adds",
      .alpha = false};
  const std::string drawn = apps::draw({sizes_figure(found.sizes, axes)}, plot);
  if (prints) fmt::print("{}\n", drawn);
}

}  // namespace taper::apps
