#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/number.hpp>
#include <taper/sparsity/exact_path.hpp>

#include "../output.hpp"
#include "learn.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

/// A column of the table on the path.
struct Candidate {
  std::string name;
  double enters = 0;     ///< The largest penalty with a coefficient other than 0, as a share of the largest.
  double stability = 0;  ///< The share of the folds that choose it at the chosen penalty.
  bool selected = false;
};

class Select : public Verb {
 public:
  const char* name() const override { return "select"; }
  const char* summary() const override {
    return "Which columns a linear model needs: the group lasso, solved exactly, as CSV on standard output.";
  }
  const char* example() const override { return "taper select houses.csv --target price --features 3"; }

  void add_to(Command& command) override {
    options_.add_table(command);
    command.option(
        "--features", features_,
        "Columns at most; 0 chooses by cross-validation: the largest penalty that is no worse than "
        "the best and its standard error",
        0, 1'000'000);
    command.option("--folds", options_.folds, "Folds of the cross-validation", 2, 1000);
    options_.table.add_format_options(command);
    options_.add_run_options(command);
  }

  void run() override {
    set_threads(options_.threads);
    const TableProblem problem = load_table_problem(options_.table, options_.target, options_.task, options_);
    TableFitOptions quiet;
    quiet.quiet = options_.quiet;
    tell(quiet, fmt::format("{}: {} rows; {}", problem.source, problem.rows(), describe(problem.target)));
    for (const std::string& note : problem.notes) tell(quiet, "note: " + note);
    if (problem.target.kind == data::TargetKind::classes) {
      throw Error("select", problem.target.name, " has ", problem.target.classes.size(),
                  " classes: expected a number or two classes");
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
    if (options_.prints()) print(columns);
    apps::save(Json{{"data", problem.source},
                    {"rows", problem.rows()},
                    {"target", problem.target.name},
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

  static void print(const std::vector<Candidate>& columns) {
    fmt::print("column,selected,enters,stability\n");
    for (const Candidate& column : columns) {
      fmt::print("{},{},{},{}\n", csv_cell(column.name), column.selected ? 1 : 0,
                 data::number_text(column.enters), data::number_text(column.stability));
    }
  }

  LearnOptions options_;
  Index features_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_select() {
  return std::make_unique<Select>();
}

}  // namespace taper::apps
