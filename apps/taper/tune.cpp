#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>

#include "../output.hpp"
#include "../tune_arguments.hpp"
#include "learn.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

/// The rows of a table, prepared by those that are trained on.
struct TuneRows {
  data::Preprocessing preprocessing;
  TuneData data;
};

class TuneVerb : public Verb {
 public:
  TuneVerb() {
    arguments_.study.trials = 30;
    arguments_.study.seeds = 3;
  }
  const char* name() const override { return "tune"; }
  const char* summary() const override {
    return "Searches for the best network within a budget, and trains a dense one of the same size beside "
           "it.";
  }
  const char* example() const override {
    return "taper tune houses.csv --target price --budget 100 --minutes 5 --save houses.safetensors\n\n"
           "A fifth of the rows is set aside and measures once what was found; of the rest a fifth chooses. "
           "Losses are of the standardized target, or log losses of classes. Networks only: no linear "
           "models and no factorization machines (see taper fit), no features chosen by name (see taper "
           "select), no --test file.";
  }

  void add_to(Command& command) override {
    options_.add_table(command);
    arguments_.add_to(command, "--budget");
    command.option("--most-categories", options_.most_categories,
                   "Categories of a column that are told apart at most; rarer ones are one together", 1,
                   100'000);
    command.option("--save", save_,
                   "File to write the network of the last budget to, with its preprocessing; - is standard "
                   "output",
                   expected_file_or_output);
    options_.table.add_format_options(command);
    options_.add_run_options(command);
  }

  void run() override {
    require_one_stream("tune", {"--save", save_}, {"--json", options_.json}, "standard output");
    const auto start = std::chrono::steady_clock::now();
    set_threads(options_.threads);
    arguments_.read(options_);
    TuneStudyOptions& study_options = arguments_.study;
    if (!save_.empty() && study_options.budgets.empty()) {
      throw Error("tune", "--save without --budget: expected one, as a front is of many networks");
    }
    study_options.keep_model = !save_.empty();
    const TableProblem given = load_table_problem(options_.table, options_.target, options_.task, options_);
    if (given.sparse) options_.refuse_categories();
    const TableProblem problem = written_out(given);
    tell_problem(options_.quiet, problem);
    const TuneRows rows = rows_for(problem);
    check_budgets(rows.data, study_options);
    if (!study_options.journal.empty()) note_file(study_options.journal);
    TuneStudy study = run_tune_study(rows.data, study_options);
    const data::TargetColumn& target = rows.preprocessing.target;
    study.report["target"] = target.name;
    if (target.kind == data::TargetKind::regression) {
      study.report["target_deviation"] = target.scale;  // of which losses are in squares
    }
    study.report["notes"] = problem.notes;
    if (study.model) {
      std::vector<Index> kept;
      TableModel model = network_model(*study.model, rows.preprocessing, kept);
      model.about = {{"model", "network"}, {"rows", problem.rows()}, {"found", study.report["found"].back()}};
      save_table_model(model, save_);
      study.report["saved"] = save_;
    }
    study.report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    apps::save(study.report, options_);
    const bool prints = save_ != "-" && options_.prints();
    if (prints) print_study(study.report, rows.data.loss_name);
    arguments_.draw(study, rows.data.loss_name, prints);
    if (!save_.empty() && !study.model) {
      throw Error("tune", "--save ", save_, ": expected a network, but no seed ends within the last budget");
    }
  }

 private:
  TuneRows rows_for(const TableProblem& problem) const {
    constexpr double share = 0.2;
    constexpr Index fewest = 10;
    if (problem.rows() < fewest) {
      throw Error("tune", problem.source, " has ", problem.rows(), " rows: expected at least ", fewest,
                  ", to learn from some, choose by others and test with others");
    }
    const data::Preprocessing for_target{{}, {}, problem.target};
    const std::vector<double> y = for_target.apply_target(problem.target_column());
    const Split outer = split_rows(y, problem.target, share, options_.seed);
    std::vector<double> inner_y;
    for (const Index row : outer.train) inner_y.push_back(y[static_cast<std::size_t>(row)]);
    const Split inner = split_rows(inner_y, problem.target, share, options_.seed + 1);
    const auto rows_at = [&](const std::vector<Index>& places) {
      std::vector<Index> result;
      for (const Index place : places) result.push_back(outer.train[static_cast<std::size_t>(place)]);
      return result;
    };
    const std::vector<Index> train = rows_at(inner.train);
    TuneRows rows;
    rows.preprocessing = data::fit_preprocessing(
        data::rows(*problem.table, train), problem.target,
        {.most_categories = options_.most_categories, .missing_words = options_.table.missing_words});
    std::vector<std::string> ignored;
    const auto set = [&](const std::vector<Index>& chosen) {
      return dataset_of(rows_of(rows.preprocessing, problem, chosen, ignored));
    };
    rows.data.name = problem.source == "standard input"
                         ? problem.source
                         : std::filesystem::path(problem.source).stem().string();
    rows.data.train = set(train);
    rows.data.validation = set(rows_at(inner.validation));
    rows.data.test = set(outer.validation);
    rows.data.loss = network_loss(problem.target);
    rows.data.outputs = network_outputs(problem.target);
    if (problem.target.kind != data::TargetKind::regression) rows.data.loss_name = "log_loss";
    return rows;
  }

  LearnOptions options_;
  TuneArguments arguments_;
  std::string save_;
};

}  // namespace

std::unique_ptr<Verb> make_tune() {
  return std::make_unique<TuneVerb>();
}

}  // namespace taper::apps
