#include "learn.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <thread>

#include "../output.hpp"

namespace taper::apps {
namespace {

constexpr Index network_rows = 500;  // from which on a network is tried

/// A finite number above 0 from an option that may be empty.
std::optional<double> positive(const std::string& text, const char* name) {
  if (text.empty()) return {};
  double value;
  if (data::parse_number(text, value) == data::NumberKind::finite && value > 0) return value;
  throw Error("fit", name, ' ', text, ": expected a number above 0");
}

std::vector<Index> widths_of(const std::string& text) {
  std::vector<Index> widths;
  if (text.empty()) return widths;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string word = text.substr(from, end - from);
    double value;
    const bool number = data::parse_number(word, value) == data::NumberKind::finite;
    if (!number || value != std::floor(value) || value < 1 || value > 10'000) {
      throw Error("fit", "--hidden ", text, ": expected whole numbers from 1 to 10000 between commas");
    }
    widths.push_back(static_cast<Index>(value));
    from = end + 1;
  }
  return widths;
}

std::vector<Index> all_rows(const TableProblem& problem) {
  std::vector<Index> rows(static_cast<std::size_t>(problem.rows()));
  std::iota(rows.begin(), rows.end(), Index{0});
  return rows;
}

data::Preprocessing prepare(const LearnOptions& options, const TableProblem& problem,
                            const std::vector<Index>& chosen) {
  return data::fit_preprocessing(
      data::rows(*problem.table, chosen), problem.target,
      {.most_categories = options.most_categories, .missing_words = options.table.missing_words});
}

/// By how much the losses of one model are above those of another on the same rows, in standard errors.
struct Difference {
  double mean = 0, standard_error = 0;
};
Difference difference_of(const std::vector<double>& worse, const std::vector<double>& better) {
  const auto n = static_cast<double>(worse.size());
  Difference result;
  for (std::size_t i = 0; i < worse.size(); ++i) result.mean += (worse[i] - better[i]) / n;
  double squares = 0;
  for (std::size_t i = 0; i < worse.size(); ++i) {
    const double rest = worse[i] - better[i] - result.mean;
    squares += rest * rest;
  }
  result.standard_error = std::sqrt(squares / n / n);
  return result;
}

/// A linear model of all rows, by cross-validation.
TableFit fit_all_linear(const LearnOptions& options, TableProblem const& problem) {
  if (problem.sparse) {
    const data::Preprocessing preprocessing = data::fit_preprocessing(*problem.sparse, problem.target);
    return fit_linear(preprocessing, *problem.sparse, preprocessing.apply_target(problem.target_column()),
                      options.fit_options());
  }
  const data::Preprocessing preprocessing = prepare(options, problem, all_rows(problem));
  std::vector<std::string> notes;
  return fit_linear(preprocessing, rows_of(preprocessing, problem, all_rows(problem), notes),
                    options.fit_options());
}

std::vector<double> held_out_losses(const TableModel& model, const TableProblem& problem,
                                    const std::vector<Index>& rows) {
  std::vector<std::string> notes;
  const LearningSet set = rows_of(model.preprocessing, problem, rows, notes);
  return row_losses(problem.target, said_by(model, set.x), set.y);
}

Index count_features(const LearnOptions& options, const TableProblem& problem) {
  if (problem.sparse) return problem.sparse->columns();
  return static_cast<Index>(prepare(options, problem, all_rows(problem)).features.size());
}

}  // namespace

LearnOptions::LearnOptions() {
  table.decimal = "auto";
  threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
}

void LearnOptions::add_table(Command& command) {
  command_ = &command;
  command.positional("TABLE", table.file,
                     "Table to learn from, plain or gzip: CSV with a header, ARFF or LIBSVM, found by its "
                     "content; - is standard input");
  command.option("--target", target, "Column to predict from all others (LIBSVM: its first number)");
  command.option("--task", task,
                 "What the target is: auto decides by its values (two of them, text, or few whole numbers "
                 "from 0 or 1 on are classes)",
                 std::vector<std::string>{"auto", "regression", "classes"});
}

void LearnOptions::add_to(Command& command) {
  add_table(command);
  command.option("--model", model,
                 "linear; network; fm, a factorization machine; auto is linear, or a network where that is "
                 "clearly better on rows held out (500 rows and more, no LIBSVM)",
                 std::vector<std::string>{"auto", "linear", "network", "fm"});
  command.option("--penalty", penalty, "A penalty, in place of a path of them to choose from");
  command.option("--budget", budget, "Parameters at most");
  command.option("--rule", rule,
                 "Which penalty of the path: best, with the least loss on rows held out, or "
                 "one-standard-error, the largest that is no worse by more than that",
                 std::vector<std::string>{"best", "one-standard-error"});
  command.option("--folds", folds, "Folds of the cross-validation of linear models", 2, 1000);
  command.option("--validation", validation, "Share of the rows that networks are chosen on");
  command.option("--hidden", hidden, "Units of the hidden layers of a network, between commas");
  command.option("--effort", effort, "Trains networks for so many times the usual steps");
  command.option("--most-categories", most_categories,
                 "Categories of a column that are told apart at most; rarer ones are one together", 1,
                 100'000);
  table.add_format_options(command);
  add_run_options(command);
}

TableFitOptions LearnOptions::fit_options() const {
  TableFitOptions result;
  result.penalty = positive(penalty, "--penalty");
  if (const std::optional<double> most = positive(budget, "--budget")) {
    if (*most != std::floor(*most) || *most > 1e15) {
      throw Error("fit", "--budget ", budget, ": expected a whole number of parameters");
    }
    result.budget = static_cast<Index>(*most);
  }
  if (!(validation > 0 && validation < 1)) {
    throw Error("fit", "--validation ", validation, ": expected a share of the rows above 0 and below 1");
  }
  if (!(effort > 0 && effort <= 1000)) {
    throw Error("fit", "--effort ", effort, ": expected more than 0, and at most 1000");
  }
  if (!penalty.empty()) command_->refuse({"--rule"}, "--penalty", "no --penalty, for a path to choose from");
  if (model != "auto") refuse_idle({model}, "--model " + model);
  result.one_standard_error = rule == "one-standard-error";
  result.folds = folds;
  result.hidden = widths_of(hidden);
  result.effort = effort;
  result.seed = seed;
  result.quiet = quiet;
  return result;
}

void LearnOptions::refuse_idle(const std::vector<std::string>& kinds, const std::string& choice) const {
  const auto fits = [&](const char* kind) { return std::ranges::find(kinds, kind) != kinds.end(); };
  if (!fits("linear")) command_->refuse({"--folds"}, choice, "a linear model, which folds are for");
  if (!fits("network")) command_->refuse({"--hidden"}, choice, "--model network");
  if (!fits("network") && !fits("fm")) {
    command_->refuse({"--effort", "--validation"}, choice, "--model network or fm");
  }
}

void LearnOptions::refuse_categories() const {
  command_->refuse({"--most-categories"}, "LIBSVM", "a table with labels");
}

std::vector<std::string> kinds_for(const TableProblem& problem, const std::string& asked) {
  if (asked != "auto") return {asked};
  if (problem.sparse || problem.rows() < network_rows) return {"linear"};
  return {"linear", "network"};
}

TableProblem written_out(const TableProblem& problem) {
  if (!problem.sparse) return problem;
  return {problem.source, data::to_table(*problem.sparse, problem.source), {}, problem.target, problem.notes};
}

LearningSet rows_of(const data::Preprocessing& preprocessing, const TableProblem& problem,
                    const std::vector<Index>& chosen, std::vector<std::string>& notes) {
  const data::Table table = data::rows(*problem.table, chosen);
  return {preprocessing.apply(table, notes), preprocessing.apply_target(table.column(problem.target.name))};
}

Learned learn(const LearnOptions& options, const TableProblem& problem) {
  const TableFitOptions fit_options = options.fit_options();
  std::vector<std::string> kinds = kinds_for(problem, options.model);
  Learned result;
  // A penalty means one thing for a linear model and another for a network.
  if (kinds.size() == 2 && fit_options.penalty) {
    throw Error("fit", "--penalty ", options.penalty, ": expected --model linear, network or fm with it");
  }
  std::string too_small;
  if (kinds.size() == 2 && fit_options.budget) {
    const std::size_t layers = fit_options.hidden.empty() ? 3 : fit_options.hidden.size();
    if (*fit_options.budget < fewest_network_parameters(problem.target, layers)) kinds.pop_back();
    if (kinds.size() == 1) too_small = "the budget is too small for a network";
  }
  if (kinds == std::vector<std::string>{"linear"}) {
    result.model = "linear";
    result.why = options.model != "auto" ? "asked for"
                 : !too_small.empty()    ? too_small
                 : problem.sparse        ? "the table is sparse"
                                         : fmt::format("fewer than {} rows", network_rows);
    if (options.model == "auto") options.refuse_idle(kinds, "a linear model (" + result.why + ")");
  }
  if (problem.sparse) options.refuse_categories();
  result.features = count_features(options, problem);
  if (kinds == std::vector<std::string>{"linear"}) {
    tell(options.quiet, fmt::format("linear model of {} features ({})", result.features, result.why));
    result.fit = fit_all_linear(options, problem);
    return result;
  }

  const TableProblem columns = written_out(problem);
  const data::Preprocessing for_target{{}, {}, problem.target};
  const Split split = split_rows(for_target.apply_target(problem.target_column()), problem.target,
                                 options.validation, options.seed);
  if (split.train.empty() || split.validation.empty()) {
    throw Error("fit", "--validation ", options.validation, " of ", problem.rows(), " rows holds out ",
                split.validation.size(), ": expected at least one, and one to train on");
  }
  const data::Preprocessing preprocessing = prepare(options, columns, split.train);
  std::vector<std::string> ignored;
  const LearningSet train = rows_of(preprocessing, columns, split.train, ignored),
                    validation = rows_of(preprocessing, columns, split.validation, ignored);
  result.features = static_cast<Index>(preprocessing.features.size());
  const auto fit_kind = [&](const std::string& kind) {
    tell(options.quiet, fmt::format("{} of {} features, {} rows to train on and {} held out",
                                    kind == "fm" ? "factorization machine" : kind, result.features,
                                    split.train.size(), split.validation.size()));
    return kind == "fm" ? fit_machine(preprocessing, train, validation, fit_options)
                        : fit_network(preprocessing, train, validation, fit_options);
  };
  if (kinds.size() == 1) {
    result.model = kinds.front();
    result.why = "asked for";
    result.fit = fit_kind(result.model);
    return result;
  }
  TableFit linear = fit_linear(preprocessing, train, fit_options), network = fit_kind("network");
  const std::vector<double> of_linear = held_out_losses(linear.model, columns, split.validation),
                            of_network = held_out_losses(network.model, columns, split.validation);
  const Difference difference = difference_of(of_linear, of_network);
  const bool better = difference.mean > difference.standard_error;
  result.model = better ? "network" : "linear";
  result.why = fmt::format("on {} rows held out, the loss of the network is {} by {:.3g} +- {:.2g}",
                           of_linear.size(), difference.mean >= 0 ? "lower" : "higher",
                           std::abs(difference.mean), difference.standard_error);
  if (better) {
    result.fit = std::move(network);
  } else {
    result.fit = fit_all_linear(options, problem);
    result.features = count_features(options, problem);
  }
  tell(options.quiet, fmt::format("{} model: {}", result.model, result.why));
  return result;
}

Json report_on(const std::vector<PathPlace>& path, const data::TargetColumn& target) {
  Json result = Json::array();
  const bool regression = target.kind == data::TargetKind::regression;
  for (const PathPlace& place : path) {
    Json entry{{"penalty", place.penalty},
               {"parameters", place.parameters},
               {"inputs", place.inputs},
               {"loss", place.loss},
               {"standard_error", place.standard_error}};
    if (regression) entry["rmse"] = std::sqrt(2 * place.loss) * target.scale;
    if (place.details.is_object()) entry.update(place.details);
    result.push_back(std::move(entry));
  }
  return result;
}

}  // namespace taper::apps
