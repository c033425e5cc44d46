#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/number.hpp>
#include <taper/sparsity/exact_path.hpp>
#include <taper/sparsity/select_features.hpp>

#include "../output.hpp"
#include "learn.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

/// A column of the table on the path.
struct Candidate {
  std::string name;
  double enters = 0;     ///< The largest penalty with a coefficient other than 0, as a share of the largest.
  double stability = 0;  ///< The share of the folds, or of random halves of the rows, that choose it.
  bool selected = false;
  std::string left_out = {};  ///< Why it was not among those to choose from.
};

class Select : public Verb {
 public:
  Select() { options_.model = "linear"; }
  const char* name() const override { return "select"; }
  const char* summary() const override {
    return "Which columns a model needs, linear (the lasso, solved exactly) or a network, as CSV on standard "
           "output.";
  }
  const char* example() const override {
    return "taper select houses.csv --target price --features 3\n\n"
           "Columns of the CSV, with a line for each column of the table, those first that enter first:\n"
           "  column     its name\n"
           "  selected   1 if the model needs it, else 0\n"
           "  enters     the largest penalty at which the model reads it, as a share of the largest of the "
           "path: 1 is\n"
           "             the first to enter, 0 never enters\n"
           "  stability  the share of the folds (with --stability of the random halves) that choose it at "
           "the "
           "penalty\n"
           "             of the model; not there where there are neither\n"
           "A network, halves and many classes choose among columns that vary, and of those that are equal "
           "up "
           "to units\n"
           "among the first; the others stand at the end, and the JSON says why they are left out.";
  }

  void add_to(Command& command) override {
    options_.add_table(command);
    command.option(
        "--features", features_,
        "Columns at most (with --model network or --stability, just so many); 0 chooses on rows held out: "
        "the largest penalty that is no worse than the best by more than one standard error",
        0, 1'000'000);
    command.option("--model", options_.model,
                   "linear, or network, which also finds columns that matter only together or not in a "
                   "straight line",
                   std::vector<std::string>{"linear", "network"});
    command.option("--stability", halves_,
                   "Chooses again on so many random halves of the rows, for the share of them that choose a "
                   "column, and a bound of how many chosen by most are wrong; 0 for none",
                   0, 100'000);
    command.option("--folds", options_.folds,
                   "Folds of the cross-validation of a linear model without --stability", 2, 1000);
    options_.table.add_format_options(command);
    options_.add_run_options(command);
    command_ = &command;
  }

  void run() override {
    set_threads(options_.threads);
    if (options_.model == "network") refuse_folds("--model network");
    if (halves_ > 0) refuse_folds("--stability");
    const TableProblem problem = load_table_problem(options_.table, options_.target, options_.task, options_);
    tell_problem(options_.quiet, problem);
    // More than two classes have no exact solver.
    if (problem.target.kind == data::TargetKind::classes) refuse_folds("a target of more than two classes");
    if (options_.model == "network" || halves_ > 0 || problem.target.kind == data::TargetKind::classes) {
      return select_on_path(problem);
    }
    const data::Preprocessing preprocessing = problem.sparse
                                                  ? data::fit_preprocessing(*problem.sparse, problem.target)
                                                  : data::fit_preprocessing(*problem.table, problem.target);
    const sparsity::CrossValidation cv = solve(problem, preprocessing);
    const std::size_t place = choose_place(cv, preprocessing);
    const std::vector<Candidate> columns = candidates(cv, preprocessing, place);
    const sparsity::ExactSolution& solution = cv.path[place];

    Json list = Json::array(), selected = Json::array();
    for (const Candidate& column : columns) {
      list.push_back({{"name", column.name},
                      {"selected", column.selected},
                      {"enters", column.enters},
                      {"stability", column.stability}});
      if (column.selected) selected.push_back(column.name);
    }
    if (options_.json != "-") print(columns);
    apps::save(Json{{"data", problem.source},
                    {"rows", problem.rows()},
                    {"target", problem.target.name},
                    {"model", "linear"},
                    {"selected", selected},
                    {"penalty", cv.lambdas[place]},
                    {"loss", cv.loss[place]},
                    {"standard_error", cv.standard_error[place]},
                    {"certificate",
                     {{"kind", "duality gap"},
                      {"gap", solution.gap},
                      {"relative_gap", solution.relative_gap},
                      {"converged", solution.converged}}},
                    {"columns", list},
                    {"notes", problem.notes}},
               options_);
  }

 private:
  void refuse_folds(const std::string& choice) const {
    command_->refuse({"--folds"}, choice, "no --folds, as it chooses without cross-validation");
  }

  /// By sparsity::select_features, which all models and resampling have in common.
  void select_on_path(const TableProblem& given) const {
    const auto start = std::chrono::steady_clock::now();
    const TableProblem problem = written_out(given);
    const data::Preprocessing preprocessing = data::fit_preprocessing(*problem.table, problem.target);
    sparsity::SelectFeaturesOptions options;
    if (features_ > 0) options.features = features_;
    const bool network = options_.model == "network";
    options.model = network ? sparsity::FeatureModel::network : sparsity::FeatureModel::linear;
    options.classification = problem.target.kind != data::TargetKind::regression;
    options.resamples = halves_;
    options.seed = options_.seed;
    // Columns of the table that have features, by number.
    std::vector<Index> number_of(preprocessing.columns.size(), -1), column_of;
    for (const data::Feature& feature : preprocessing.features) {
      Index& number = number_of[static_cast<std::size_t>(feature.column)];
      if (number < 0) {
        number = static_cast<Index>(column_of.size());
        column_of.push_back(feature.column);
      }
      options.groups.push_back(number);
    }
    if (features_ > static_cast<Index>(column_of.size())) {
      throw Error("select", "--features ", features_, ": expected at most the ", column_of.size(),
                  " columns that can be used");
    }
    const auto chosen = network ? choose<float>(problem, preprocessing, options)
                                : choose<double>(problem, preprocessing, options);
    report(problem, preprocessing, column_of, chosen, start);
  }

  template <class T>
  static sparsity::FeatureSelection choose(const TableProblem& problem,
                                           const data::Preprocessing& preprocessing,
                                           const sparsity::SelectFeaturesOptions& options) {
    std::vector<std::string> notes;
    const Tensor<double> x = preprocessing.apply(*problem.table, notes);
    const std::vector<double> y = preprocessing.apply_target(problem.target_column());
    data::Dataset<T> set{Tensor<T>(x.shape()), Tensor<T>(Shape{static_cast<Index>(y.size()), 1}), {}, {}};
    std::ranges::transform(x, set.x.begin(), [](double value) { return static_cast<T>(value); });
    std::ranges::transform(y, set.y.begin(), [](double value) { return static_cast<T>(value); });
    return sparsity::select_features(set, options);
  }

  void report(const TableProblem& problem, const data::Preprocessing& preprocessing,
              const std::vector<Index>& column_of, const sparsity::FeatureSelection& chosen,
              std::chrono::steady_clock::time_point start) const {
    const auto name_of = [&](Index feature) -> const std::string& {
      return preprocessing.columns[static_cast<std::size_t>(column_of[static_cast<std::size_t>(feature)])]
          .name;
    };
    const auto names_of = [&](const std::vector<Index>& features) {
      Json names = Json::array();
      for (const Index feature : features) names.push_back(name_of(feature));
      return names;
    };
    std::vector<Candidate> columns;
    for (const Index feature : chosen.order) {
      const auto f = static_cast<std::size_t>(feature);
      columns.push_back({name_of(feature), chosen.enters[f] / chosen.path.front().penalty,
                         halves_ > 0 ? chosen.frequencies[f] : 0,
                         std::ranges::binary_search(chosen.features, feature)});
    }
    add_not_offered(preprocessing, chosen, columns);
    Json list = Json::array(), path = Json::array();
    for (const Candidate& column : columns) {
      list.push_back({{"name", column.name}, {"selected", column.selected}, {"enters", column.enters}});
      if (halves_ > 0) list.back()["stability"] = column.stability;
      if (column.left_out.empty()) continue;
      list.back()["left_out"] = column.left_out;
      tell(options_.quiet, fmt::format("note: {} is left out: {}", column.name, column.left_out));
    }
    for (const sparsity::FeaturePoint& point : chosen.path) {
      path.push_back({{"penalty", point.penalty},
                      {"columns", names_of(point.features)},
                      {"train_loss", point.train_loss},
                      {"loss", point.validation_loss},
                      {"worse_by", point.worse_by},
                      {"standard_error", point.standard_error}});
    }
    const sparsity::FeatureCertificate& certificate = chosen.certificate;
    Json proof{{"kind", "slopes of what is left out"},
               {"penalty", certificate.penalty},
               {"left_out", certificate.left_out},
               {"left_out_weight", certificate.left_out_weight}};
    if (certificate.is_measured()) proof["violated"] = names_of(certificate.violated);
    if (certificate.relative_gap) proof["relative_gap"] = *certificate.relative_gap;
    const sparsity::FeaturePoint& point = chosen.path[chosen.chosen];
    Json figures{{"data", problem.source},
                 {"rows", problem.rows()},
                 {"target", problem.target.name},
                 {"model", options_.model},
                 {"selected", names_of(chosen.features)},
                 {"penalty", point.penalty},
                 {"loss", point.validation_loss},
                 {"worse_by", point.worse_by},
                 {"standard_error", point.standard_error},
                 {"certificate", proof},
                 {"columns", list},
                 {"path", path},
                 {"notes", problem.notes}};
    if (halves_ > 0) {
      figures["halves"] = halves_;
      figures["expected_false_at_0.9"] = chosen.expected_false(0.9);
    }
    figures["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::string line = fmt::format("{} of {} columns", chosen.features.size(), chosen.offered);
    if (certificate.is_measured()) {
      line += fmt::format("; {} of the {} left out would grow at penalty {:.3g}", certificate.violated.size(),
                          certificate.left_out, certificate.penalty);
    }
    tell(options_.quiet, line);
    if (options_.json != "-") print(columns, halves_ > 0);
    apps::save(figures, options_);
  }

  /// The columns that there was nothing to choose about: constant ones, and those that another one stands
  /// for.
  static void add_not_offered(const data::Preprocessing& preprocessing,
                              const sparsity::FeatureSelection& chosen, std::vector<Candidate>& columns) {
    for (std::size_t c = 0; c < preprocessing.columns.size(); ++c) {
      const data::InputColumn& column = preprocessing.columns[c];
      if (std::ranges::find(columns, column.name, &Candidate::name) != columns.end()) continue;
      Candidate candidate{column.name};
      candidate.left_out = column.reason.empty() ? "the same value in every row" : column.reason;
      for (std::size_t j = 0; j < preprocessing.features.size(); ++j) {
        if (preprocessing.features[j].column != static_cast<Index>(c) || chosen.duplicate_of[j] < 0) continue;
        const data::Feature& twin = preprocessing.features[static_cast<std::size_t>(chosen.duplicate_of[j])];
        candidate.left_out =
            "equal, up to units, to " + preprocessing.columns[static_cast<std::size_t>(twin.column)].name;
      }
      columns.push_back(candidate);
    }
  }

  sparsity::CrossValidation solve(const TableProblem& problem,
                                  const data::Preprocessing& preprocessing) const {
    const bool regression = problem.target.kind == data::TargetKind::regression;
    sparsity::ExactOptions exact{.standardize = true, .tolerance = 1e-8};
    // Features of one column are in or out together; columns of many are not preferred.
    std::vector<Index> group_of(preprocessing.columns.size(), -1);
    for (const data::Feature& feature : preprocessing.features) {
      Index& group = group_of[static_cast<std::size_t>(feature.column)];
      if (group < 0) {
        group = static_cast<Index>(exact.weights.size());
        exact.weights.push_back(0);
      }
      exact.groups.push_back(group);
      exact.weights[static_cast<std::size_t>(group)] += 1;
    }
    for (double& weight : exact.weights) weight = std::sqrt(weight);
    const sparsity::CrossValidationOptions folds{.folds = std::min(options_.folds, problem.rows()),
                                                 .seed = options_.seed};
    const sparsity::LambdaGrid grid{.count = 50, .smallest = regression ? 1e-3 : 1e-2};
    const auto loss = regression ? sparsity::ConvexLoss::squared : sparsity::ConvexLoss::logistic;
    const std::vector<double> y = preprocessing.apply_target(problem.target_column());
    const Eigen::Map<const Eigen::VectorXd> target(y.data(), static_cast<Index>(y.size()));
    if (problem.sparse) {
      const data::SparseSet& set = *problem.sparse;
      const Eigen::SparseMatrix<double> x = Eigen::Map<const Eigen::SparseMatrix<double>>(
          set.rows, set.columns(), static_cast<Index>(set.values.size()), set.starts.data(),
          set.entry_rows.data(), set.values.data());
      return sparsity::cross_validate(x, target, loss, folds, grid, exact);
    }
    std::vector<std::string> notes;
    const Tensor<double> rows = preprocessing.apply(*problem.table, notes);
    const Eigen::MatrixXd x =
        Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
            rows.data(), rows.shape()[0], rows.shape()[1]);
    return sparsity::cross_validate(x, target, loss, folds, grid, exact);
  }

  static std::vector<bool> chosen_columns(const sparsity::ExactSolution& solution,
                                          const data::Preprocessing& preprocessing) {
    std::vector<bool> chosen(preprocessing.columns.size());
    for (std::size_t j = 0; j < solution.coefficients.size(); ++j) {
      if (solution.coefficients[j] != 0) {
        chosen[static_cast<std::size_t>(preprocessing.features[j].column)] = true;
      }
    }
    return chosen;
  }

  /// Of the places with so many columns at most, the one of the smallest penalty.
  std::size_t choose_place(const sparsity::CrossValidation& cv,
                           const data::Preprocessing& preprocessing) const {
    if (features_ == 0) return static_cast<std::size_t>(cv.one_standard_error);
    std::size_t place = 0;
    for (std::size_t k = 0; k < cv.path.size(); ++k) {
      const std::vector<bool> chosen = chosen_columns(cv.path[k], preprocessing);
      if (std::ranges::count(chosen, true) <= features_) place = k;
    }
    return place;
  }

  static std::vector<Candidate> candidates(const sparsity::CrossValidation& cv,
                                           const data::Preprocessing& preprocessing, std::size_t place) {
    std::vector<Candidate> columns(preprocessing.columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c) columns[c].name = preprocessing.columns[c].name;
    for (std::size_t k = cv.path.size(); k-- > 0;) {
      const std::vector<bool> chosen = chosen_columns(cv.path[k], preprocessing);
      for (std::size_t c = 0; c < columns.size(); ++c) {
        if (chosen[c]) columns[c].enters = cv.lambdas[k] / cv.lambdas.front();
        if (k == place) columns[c].selected = chosen[c];
      }
    }
    for (std::size_t j = 0; j < preprocessing.features.size(); ++j) {
      double& stability = columns[static_cast<std::size_t>(preprocessing.features[j].column)].stability;
      stability = std::max(stability, cv.stability_at(static_cast<Index>(place), static_cast<Index>(j)));
    }
    std::ranges::stable_sort(columns,
                             [](const Candidate& a, const Candidate& b) { return a.enters > b.enters; });
    return columns;
  }

  static void print(const std::vector<Candidate>& columns, bool stability = true) {
    fmt::print("column,selected,enters{}\n", stability ? ",stability" : "");
    for (const Candidate& column : columns) {
      fmt::print("{},{},{}{}\n", csv_cell(column.name), column.selected ? 1 : 0,
                 data::number_text(column.enters),
                 stability ? "," + data::number_text(column.stability) : std::string());
    }
  }

  const Command* command_ = nullptr;
  LearnOptions options_;
  Index features_ = 0, halves_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_select() {
  return std::make_unique<Select>();
}

}  // namespace taper::apps
