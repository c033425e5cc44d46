// How small can a network be, and how good is it then? A search under a budget, with a dense network of the
// same size beside every one that is found.

#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <taper/sparsity/tune.hpp>
#include <taper/taper.hpp>

#include "figures.hpp"
#include "housing.hpp"
#include "output.hpp"
#include "tune_study.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  apps::OwnTable table;
  apps::TuneStudyOptions study;
  std::string trial, plot, measure = "parameters";
  std::vector<std::string> budgets;
  double minutes = 0;
  bool no_control = false;
};

/// The tables of the housing job, or one of somebody's own, of which a fifth is the test set; of the rest, a
/// fifth is for validation.
apps::TuneData load(const Options& options) {
  apps::Housing housing = apps::load_housing(options, options.table);
  apps::TuneData sets;
  sets.name = housing.name == "california_housing" ? "california" : housing.name;
  sets.test = std::move(housing.test);
  std::tie(sets.train, sets.validation) = data::train_test_split(housing.train, 0.2, options.seed);
  return sets;
}

apps::Json read_trial(const Options& options) {
  options.reads(options.trial);
  std::ifstream file(options.trial);
  if (!file) throw Error("trial", options.trial, " cannot be read: expected a file of JSON");
  std::ostringstream text;
  text << file.rdbuf();
  apps::Json settings = apps::Json::parse(text.str(), nullptr, false);
  if (settings.is_discarded())
    throw Error("trial", options.trial, " is no JSON: expected an object of settings");
  return settings;
}

void program(Options& options) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(options.threads);
  for (const std::string& text : options.budgets) {
    Index budget = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), budget);
    if (error != std::errc() || stop != text.data() + text.size() || budget < 1) {
      throw Error("tune", "a budget of '", text, "': expected a whole number above 0");
    }
    options.study.budgets.push_back(budget);
  }
  options.study.seed = options.seed;
  options.study.quiet = options.quiet;
  options.study.minutes = options.minutes;
  options.study.control = !options.no_control;
  options.study.measure = options.measure == "parameters" ? sparsity::SizeMeasure::parameters
                                                          : sparsity::SizeMeasure::multiply_adds;
  const apps::TuneData data = load(options);
  if (!options.trial.empty()) {
    apps::Json report = apps::run_one_trial(data, read_trial(options), options.study.measure);
    apps::publish(report, options);
    return;
  }
  if (!options.study.journal.empty()) apps::note_file(options.study.journal);
  apps::TuneStudy study = apps::run_tune_study(data, options.study);
  study.report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  apps::save(study.report, options);
  if (options.prints()) apps::print_study(study.report, data.loss_name);
  if (options.plot.empty()) return;
  const std::string drawn = apps::draw({apps::sizes_figure(study.sizes, "test MSE")}, options.plot);
  if (options.prints()) std::cout << drawn << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "tune",
      "Searches for the best network within a budget, and trains a dense one of the same size "
      "beside it. For example: tune --budget-parameters 120 --minutes 5 --journal study.log");
  options.table.add_to(command);
  command.list("--budget-parameters", options.budgets,
               "The largest size, may be given several times; without, the front of size against loss");
  command.option("--measure", options.measure, "What a budget is of",
                 std::vector<std::string>{"parameters", "multiply_adds"});
  command.flag("--soft", options.study.soft, "A penalty above the budget in place of the constraint");
  command.option(
      "--minutes", options.minutes,
      "No new trials after so long, for all budgets together; the control takes the same again (0: no "
      "limit)");
  command.option("--trials", options.study.trials,
                 "Trials for each budget, at most (with --halving, whole waves of 9)", 1, 1'000'000);
  command.option("--sampler", options.study.sampler, "How trials are proposed",
                 std::vector<std::string>{"tpe", "random"});
  command.flag("--halving", options.study.halving,
               "Successive halving: of 9 trials, 1 is trained to its end");
  command.list(
      "--search", options.study.search,
      "A setting to search or to hold, may be given several times: lr=1e-4:1e-2:log, width=8:64:int, "
      "activation=tanh,relu, factors=3");
  command.option("--journal", options.study.journal,
                 "File to append every trial to, in the form that Optuna reads; the study goes on from there",
                 [](const std::string& path) {
                   return apps::can_be_written(path) ? nullptr : "a file that can be written";
                 });
  command.option("--seeds", options.study.seeds, "Seeds from which the winner is trained again", 1, 1000);
  command.flag("--no-control", options.no_control, "No dense networks");
  command.option("--trial", options.trial,
                 "A file of JSON: runs one trial with these settings, and reports what came out");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
