// How small can a network be, and how good is it then? A search under a budget, with a dense network of the
// same size beside every one that is found.

#include <chrono>
#include <fstream>
#include <sstream>
#include <taper/data/utf8.hpp>
#include <taper/taper.hpp>

#include "housing.hpp"
#include "output.hpp"
#include "tune_arguments.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  apps::OwnTable table;
  apps::TuneArguments arguments;
  std::string trial;
};

/// The tables of the housing job, or one of somebody's own, of which a fifth is the test set; of the rest, a
/// fifth is for validation.
apps::TuneData load(const Options& options) {
  apps::Housing housing = apps::load_housing(options, options.table);
  apps::TuneData sets;
  sets.name = housing.name == "california_housing" ? "california" : data::valid_utf8(housing.name);
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

void program(Options& options, const apps::Command& command) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(options.threads);
  if (!options.trial.empty()) {
    options.arguments.refuse(command, "--trial", "settings in its JSON, as it runs one trial");
  }
  options.arguments.read(options);
  const apps::TuneStudyOptions& study_options = options.arguments.study;
  const apps::TuneData data = load(options);
  if (!options.trial.empty()) {
    apps::publish(apps::run_one_trial(data, read_trial(options), study_options.measure), options);
    return;
  }
  if (!study_options.journal.empty()) apps::note_file(study_options.journal);
  apps::TuneStudy study = apps::run_tune_study(data, study_options);
  study.report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  apps::save(study.report, options);
  if (options.prints()) apps::print_study(study.report, data.loss_name);
  options.arguments.draw(study, data.loss_name, options.prints());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command("tune",
                        "Searches for the best network within a budget, and trains a dense one of the same "
                        "size beside it. For example: tune --budget-parameters 120 --minutes 5 --journal "
                        "study.log");
  options.table.add_to(command);
  options.arguments.add_to(command, "--budget-parameters");
  command.option("--trial", options.trial,
                 "A file of JSON: runs one trial with these settings, and reports what came out");
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options, command); });
}
