// A lasso from its largest penalty to its smallest, and which penalty the data recommend: the regularization
// path, k-fold cross-validation, and how stable the choice of columns is.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <taper/autodiff/threads.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/sparsity/exact_path.hpp>

#include "common.hpp"
#include "figures.hpp"

using namespace taper;
using sparsity::ConvexLoss;
using sparsity::CrossValidation;
using sparsity::ExactSolution;

namespace {

struct Options : apps::CommonOptions {
  std::string csv, target, loss = "squared", plot;
  std::vector<std::string> categorical;
  Index folds = 10, count = 100;
  double smallest = 1e-3;
  ConvexLoss kind() const { return loss == "logistic" ? ConvexLoss::logistic : ConvexLoss::squared; }
};

/// The columns standardized, and what coefficients on the columns as they came are divided by.
struct Problem {
  std::string source, target;
  std::vector<std::string> features;
  Eigen::MatrixXd x;
  Eigen::VectorXd y;
  std::vector<double> mean, scale;
  /// Of the loss of the best constant: what all losses and gaps are measured against.
  double null_loss = 0;
};

/// Labels have no order: a column of k > 2 of them becomes k columns of 0 and 1.
data::Table indicators(data::Table table, const std::string& target) {
  data::Table result;
  for (data::Column& column : table.columns) {
    if (column.labels.size() <= 2 || column.name == target) {
      result.columns.push_back(std::move(column));
      continue;
    }
    for (std::size_t k = 0; k < column.labels.size(); ++k) {
      data::Column one{column.name + '=' + column.labels[k], {}, {}};
      for (const double label : column.values) one.values.push_back(label == static_cast<double>(k) ? 1 : 0);
      result.columns.push_back(std::move(one));
    }
  }
  return result;
}

data::Dataset<double> load(const Options& options) {
  if (options.csv.empty()) {
    data::Dataset<double> set = data::make_diabetes<double>({.seed = options.seed});
    if (options.kind() == ConvexLoss::logistic) {
      for (double& y : set.y) y = y > 150 ? 1 : 0;
      set.target += " > 150";
    }
    return set;
  }
  std::filesystem::path path = options.csv;
  if (const auto folder = options.folder(); folder && !std::filesystem::exists(path)) path = *folder / path;
  const data::Table table = data::read_csv(path, {.categorical = options.categorical});
  const data::Column& target = table.column(options.target);
  if (options.kind() == ConvexLoss::squared && !target.labels.empty()) {
    throw Error("lasso_path", "target '", options.target,
                "' of labels: expected numbers, or --loss logistic");
  }
  return data::to_dataset<double>(indicators(table, options.target), options.target);
}

/// Of two values the smaller one becomes 0 and the larger 1.
void to_classes(Eigen::VectorXd& y, const std::string& target) {
  const double low = y.minCoeff(), high = y.maxCoeff();
  for (double& value : y) {
    if (low == high || (value != low && value != high)) {
      throw Error("lasso_path", "target '", target, "' with ",
                  low == high ? "one value" : "more than two values",
                  ": expected two classes for --loss logistic");
    }
    value = value == high ? 1 : 0;
  }
}

Problem prepare(const Options& options) {
  data::Dataset<double> set = load(options);
  data::StandardScaler<double> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  Problem problem{options.csv.empty() ? "embedded" : options.csv,
                  set.target,
                  set.features,
                  set.x.matrix(),
                  set.y.vector(),
                  {scaler.mean().begin(), scaler.mean().end()},
                  {scaler.scale().begin(), scaler.scale().end()}};
  Eigen::VectorXd& y = problem.y;
  if (options.kind() == ConvexLoss::logistic) {
    to_classes(y, set.target);
    const double share = y.mean();
    problem.null_loss = -share * std::log(share) - (1 - share) * std::log(1 - share);
  } else {
    problem.null_loss = (y.array() - y.mean()).square().mean() / 2;
  }
  return problem;
}

Index nonzero(const ExactSolution& solution) {
  return std::ranges::count_if(solution.coefficients, [](double w) { return w != 0; });
}

/// The path as it is printed: some twenty places of it, and the two that are chosen.
void print_path(const CrossValidation& cv) {
  fmt::print("{:>12} {:>8} {:>12}   {:<10} {:>9}\n", "lambda", "nonzero", "cv loss", "+- se", "gap");
  const Index last = static_cast<Index>(cv.lambdas.size()) - 1, step = std::max<Index>(1, (last + 10) / 20);
  for (Index k = 0; k <= last; ++k) {
    if (k % step != 0 && k != last && k != cv.best && k != cv.one_standard_error) continue;
    const auto at = static_cast<std::size_t>(k);
    fmt::print("{:>12.5g} {:>8} {:>12.6g}   {:<10.3g} {:>9.1e}{}{}\n", cv.lambdas[at], nonzero(cv.path[at]),
               cv.loss[at], cv.standard_error[at], cv.path[at].gap,
               k == cv.one_standard_error ? "  one standard error" : "", k == cv.best ? "  best" : "");
  }
}

/// The coefficients of both choices, for columns that are in one of them.
void print_choice(const Problem& problem, const CrossValidation& cv) {
  constexpr Index lines = 30;
  const ExactSolution& sparse = cv.path[static_cast<std::size_t>(cv.one_standard_error)];
  const ExactSolution& best = cv.path[static_cast<std::size_t>(cv.best)];
  std::vector<Index> chosen;
  for (Index j = 0; j < problem.x.cols(); ++j) {
    const auto at = static_cast<std::size_t>(j);
    if (sparse.coefficients[at] != 0 || best.coefficients[at] != 0) chosen.push_back(j);
  }
  const auto most = static_cast<Index>(chosen.size());
  fmt::print("\n{:<24} {:>24}   {:>24}\n{:<24} {:>12} {:>11}   {:>12} {:>11}\n", "coefficients of",
             "one standard error", "best", "standardized columns", "", "stability", "", "stability");
  for (Index line = 0; line < std::min(lines, most); ++line) {
    const Index j = chosen[static_cast<std::size_t>(line)];
    const auto at = static_cast<std::size_t>(j);
    const auto cell = [&](const ExactSolution& solution, Index k) {
      const double w = solution.coefficients[at];
      return fmt::format("{:>12} {:>10.0f}%", w == 0 ? "0" : fmt::format("{:.5g}", w),
                         100 * cv.stability_at(k, j));
    };
    fmt::print("{:<24} {}   {}\n", problem.features[at], cell(sparse, cv.one_standard_error),
               cell(best, cv.best));
  }
  if (most > lines) fmt::print("... and {} more, see --json\n", most - lines);
}

apps::Json choice(const Problem& problem, const CrossValidation& cv, Index place) {
  const auto k = static_cast<std::size_t>(place);
  const ExactSolution& solution = cv.path[k];
  double intercept = solution.intercept;
  apps::Json coefficients = apps::Json::array();
  for (std::size_t j = 0; j < solution.coefficients.size(); ++j) {
    const double w = solution.coefficients[j];
    intercept -= w * problem.mean[j] / problem.scale[j];
    coefficients.push_back({{"name", problem.features[j]},
                            {"standardized", w},
                            {"coefficient", w / problem.scale[j]},
                            {"stability", cv.stability_at(place, static_cast<Index>(j))}});
  }
  return {{"place", place},
          {"lambda", cv.lambdas[k]},
          {"nonzero", nonzero(solution)},
          {"objective", solution.objective},
          {"gap", solution.gap},
          {"cv_loss", cv.loss[k]},
          {"cv_standard_error", cv.standard_error[k]},
          {"intercept", intercept},
          {"coefficients", coefficients}};
}

apps::Json report(const Options& options, const Problem& problem, const CrossValidation& cv) {
  apps::Json path = apps::Json::array();
  double largest = 0;
  Index unfinished = 0;
  for (std::size_t k = 0; k < cv.lambdas.size(); ++k) {
    const ExactSolution& solution = cv.path[k];
    largest = std::max(largest, solution.gap);
    unfinished += solution.converged ? 0 : 1;
    path.push_back({{"lambda", cv.lambdas[k]},
                    {"nonzero", nonzero(solution)},
                    {"objective", solution.objective},
                    {"gap", solution.gap},
                    {"cv_loss", cv.loss[k]},
                    {"cv_standard_error", cv.standard_error[k]}});
  }
  return {{"data", problem.source},
          {"target", problem.target},
          {"rows", problem.x.rows()},
          {"columns", problem.x.cols()},
          {"loss", options.loss},
          {"folds", options.folds},
          {"null_loss", problem.null_loss},
          {"lambda_max", cv.lambdas.front()},
          {"largest_gap", largest},
          {"unfinished", unfinished},
          {"one_standard_error", choice(problem, cv, cv.one_standard_error)},
          {"best", choice(problem, cv, cv.best)},
          {"path", path}};
}

apps::Figure figure(const Options& options, const Problem& problem, const CrossValidation& cv) {
  apps::Path path{cv.lambdas, {}, problem.features, cv.loss, cv.standard_error, {}, 0, 0};
  for (const ExactSolution& solution : cv.path) path.coefficients.push_back(solution.coefficients);
  path.loss_name = options.kind() == ConvexLoss::logistic ? "held-out log loss" : "held-out loss";
  path.best = static_cast<std::size_t>(cv.best);
  path.one_standard_error = static_cast<std::size_t>(cv.one_standard_error);
  return apps::path_figure(path);
}

void program(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(options.threads);
  const Problem problem = prepare(options);
  sparsity::ExactOptions exact;
  exact.tolerance = 1e-10;
  const CrossValidation cv =
      sparsity::cross_validate(problem.x, problem.y, options.kind(),
                               {.folds = options.folds, .seed = options.seed},
                               {.count = options.count, .smallest = options.smallest}, exact);
  apps::Json figures = report(options, problem, cv);
  figures["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!options.quiet) {
    fmt::print("{}: {} rows, {} columns, target {}, {} loss, {} folds\n\n", problem.source, problem.x.rows(),
               problem.x.cols(), problem.target, options.loss, options.folds);
    print_path(cv);
    print_choice(problem, cv);
    fmt::print("\nlargest gap {:.1e}, loss of a constant {:.6g}, {:.3g} seconds\n",
               figures["largest_gap"].get<double>(), problem.null_loss, figures["seconds"].get<double>());
    if (figures["unfinished"] != 0) {
      fmt::print("{} places of the path stopped before a gap of {:.1e}\n", figures["unfinished"].get<int>(),
                 exact.tolerance);
    }
  }
  apps::save(figures, options);
  if (!options.plot.empty()) {
    const std::string drawn = apps::draw({figure(options, problem, cv)}, options.plot);
    if (!options.quiet) fmt::print("{}\n", drawn);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "lasso_path",
      "The regularization path of a lasso with cross-validation, on an embedded set or a CSV file.");
  command.option("--csv", options.csv,
                 "CSV file with a header, plain or gzip; looked for in the folder of --data, too");
  command.option("--target", options.target, "Column of it to predict from all others");
  command.needs("--csv", "--target"), command.needs("--target", "--csv");
  command.option("--categorical", options.categorical, "Columns of it that hold labels");
  command.needs("--categorical", "--csv");
  command.option("--loss", options.loss, "squared, or logistic for targets of two classes",
                 std::vector<std::string>{"squared", "logistic"});
  command.option("--folds", options.folds, "Folds of the cross-validation", 2, 1'000'000'000);
  command.option("--count", options.count, "Values of lambda, from the largest that matters down", 1,
                 1'000'000);
  command.option("--smallest", options.smallest, "The smallest of them as a share of the largest, below 1");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
