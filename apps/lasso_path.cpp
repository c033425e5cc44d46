// A lasso from its largest penalty to its smallest, and which penalty the data recommend: the regularization
// path, k-fold cross-validation, and how stable the choice of columns is.

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <taper/autodiff/threads.hpp>
#include <taper/sparsity/exact_path.hpp>

#include "figures.hpp"
#include "linear_problem.hpp"

using namespace taper;
using sparsity::ConvexLoss;
using sparsity::CrossValidation;
using sparsity::ExactSolution;

namespace {

struct Options : apps::CommonOptions {
  apps::LinearProblemOptions problem;
  std::string loss = "squared", plot;
  Index folds = 10, count = 100;
  double smallest = 1e-3, ratio = 1;
  ConvexLoss kind() const { return loss == "logistic" ? ConvexLoss::logistic : ConvexLoss::squared; }
};

using apps::LinearProblem;

Index nonzero(const ExactSolution& solution) {
  return std::ranges::count_if(solution.coefficients, [](double w) { return w != 0; });
}

/// Shows how many of the problems are solved, over the same line, on a terminal alone.
std::function<void(Index, Index)> progress_on_terminal() {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return [shown = std::chrono::steady_clock::time_point()](Index done, Index total) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (done < total && now - shown < std::chrono::milliseconds(100)) return;
    shown = now;
    if (done < total)
      fmt::print(stderr, "\r{} of {} problems solved", done, total);
    else
      fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  };
}

CrossValidation solve(const Options& options, const LinearProblem& problem) {
  if (!(options.ratio > 0 && options.ratio <= 1)) {
    throw Error("lasso_path", "--ratio ", options.ratio,
                ": expected more than 0, as squares alone set nothing to zero, and at most 1");
  }
  if (!(options.smallest > 0 && options.smallest < 1)) {
    throw Error("lasso_path", "--smallest ", options.smallest, ": expected more than 0, less than 1");
  }
  const sparsity::CrossValidationOptions validation{
      .folds = options.folds,
      .seed = options.seed,
      .fold_of = problem.fold_of,
      .progress = options.quiet ? nullptr : progress_on_terminal()};
  return sparsity::cross_validate(problem.design(), problem.y, options.kind(), validation,
                                  {.count = options.count, .smallest = options.smallest},
                                  {.ratio = options.ratio,
                                   .groups = problem.groups,
                                   .weights = problem.weights,
                                   .standardize = true,
                                   .tolerance = 1e-10});
}

void print_problem(const Options& options, const LinearProblem& problem, const CrossValidation& cv) {
  fmt::print("{}: {} rows, {} columns, target {}, {} loss, {} folds\n", problem.source, problem.y.size(),
             problem.features.size(), problem.target, options.loss, cv.folds);
  if (problem.classes) {
    fmt::print("class 1 is {}, class 0 is {}: a positive coefficient speaks for {}\n", problem.classes->one,
               problem.classes->zero, problem.classes->one);
  }
  if (options.ratio < 1) fmt::print("elastic net: {:g} of the penalty is lasso\n", options.ratio);
  if (!problem.groups.empty()) {
    fmt::print("{} groups of columns, each in or out as a whole\n", problem.group_names.size());
  }
  for (const std::string& note : problem.notes) fmt::print("note: {}\n", note);
  fmt::print("\n");
}

/// The path as it is printed: some twenty places of it, and the two that are chosen.
void print_path(const CrossValidation& cv) {
  const bool classes = !cv.auc.empty();
  fmt::print("{:>12} {:>8} {:>12}   {:<10}{} {:>12}\n", "lambda", "nonzero", "cv loss", "+- se",
             classes ? fmt::format(" {:>7} {:>7}", "error", "AUC") : "", "relative gap");
  const Index last = static_cast<Index>(cv.lambdas.size()) - 1, step = std::max<Index>(1, (last + 10) / 20);
  for (Index k = 0; k <= last; ++k) {
    if (k % step != 0 && k != last && k != cv.best && k != cv.one_standard_error) continue;
    const auto at = static_cast<std::size_t>(k);
    fmt::print("{:>12.5g} {:>8} {:>12.6g}   {:<10.3g}{} {:>12.1e}{}{}\n", cv.lambdas[at],
               nonzero(cv.path[at]), cv.loss[at], cv.standard_error[at],
               classes ? fmt::format(" {:>7.4f} {:>7.4f}", cv.error[at], cv.auc[at]) : "",
               cv.path[at].relative_gap, k == cv.one_standard_error ? "  one standard error" : "",
               k == cv.best ? "  best" : "");
  }
}

/// Intercept and coefficients of both choices, for columns that are in one of them.
void print_choice(const LinearProblem& problem, const CrossValidation& cv) {
  constexpr std::size_t lines = 30;
  const ExactSolution& sparse = cv.path[static_cast<std::size_t>(cv.one_standard_error)];
  const ExactSolution& best = cv.path[static_cast<std::size_t>(cv.best)];
  std::vector<std::size_t> chosen;
  for (std::size_t j = 0; j < problem.features.size(); ++j) {
    if (sparse.coefficients[j] != 0 || best.coefficients[j] != 0) chosen.push_back(j);
  }
  fmt::print("\n{:<24} {:>35}   {:>35}\n{:<24} {:>12} {:>12} {:>9}   {:>12} {:>12} {:>9}\n", "",
             "one standard error", "best", "", "coefficient", "per st. dev.", "stability", "coefficient",
             "per st. dev.", "stability");
  fmt::print("{:<24} {:>12.5g} {:>22}   {:>12.5g}\n", "(intercept)", sparse.intercept, "", best.intercept);
  for (std::size_t line = 0; line < std::min(lines, chosen.size()); ++line) {
    const std::size_t j = chosen[line];
    const auto cell = [&](const ExactSolution& solution, Index k) {
      const double w = solution.coefficients[j];
      return fmt::format("{:>12.5g} {:>12.5g} {:>8.0f}%", w, w * problem.deviation[j],
                         100 * cv.stability_at(k, static_cast<Index>(j)));
    };
    fmt::print("{:<24} {}   {}\n", problem.features[j], cell(sparse, cv.one_standard_error),
               cell(best, cv.best));
  }
  if (chosen.size() > lines) fmt::print("... and {} more, see --json\n", chosen.size() - lines);
}

/// How good both choices are on rows held out, and whether all problems were solved.
void print_quality(const CrossValidation& cv, const apps::Json& report) {
  fmt::print("\nheld-out deviance: {:.6g} at one standard error, {:.6g} at best, {:.6g} of the null model\n",
             cv.deviance[static_cast<std::size_t>(cv.one_standard_error)],
             cv.deviance[static_cast<std::size_t>(cv.best)], 2 * report["null_loss"].get<double>());
  const auto problems = static_cast<Index>(cv.lambdas.size());
  fmt::print(
      "not converged: {} of {} on all rows, {} of {} in the folds; largest relative gap {:.1e} and {:.1e}\n",
      report["unfinished"].get<Index>(), problems, report["unfinished_in_folds"].get<Index>(),
      problems * cv.folds, report["largest_relative_gap"].get<double>(),
      report["largest_fold_gap"].get<double>());
  fmt::print("{:.3g} seconds\n", report["seconds"].get<double>());
}

/// One place of the path; of the coefficients those that are not zero.
apps::Json place(const LinearProblem& problem, const CrossValidation& cv, std::size_t k) {
  const ExactSolution& solution = cv.path[k];
  apps::Json coefficients = apps::Json::object();
  for (std::size_t j = 0; j < problem.features.size(); ++j) {
    if (solution.coefficients[j] != 0) coefficients[problem.features[j]] = solution.coefficients[j];
  }
  apps::Json result{{"lambda", cv.lambdas[k]},
                    {"nonzero", nonzero(solution)},
                    {"loss", solution.loss},
                    {"objective", solution.objective},
                    {"gap", solution.gap},
                    {"relative_gap", solution.relative_gap},
                    {"converged", solution.converged},
                    {"cv_loss", cv.loss[k]},
                    {"cv_standard_error", cv.standard_error[k]},
                    {"cv_deviance", cv.deviance[k]}};
  if (!cv.error.empty()) result["cv_error"] = cv.error[k], result["cv_auc"] = cv.auc[k];
  result["unconverged_folds"] = cv.unconverged[k];
  result["fold_gap"] = cv.fold_gap[k];
  result["intercept"] = solution.intercept;
  result["coefficients"] = std::move(coefficients);
  return result;
}

/// The same for a choice, with every column, how stable it is, and its coefficient per standard deviation.
apps::Json choice(const LinearProblem& problem, const CrossValidation& cv, Index at) {
  const auto k = static_cast<std::size_t>(at);
  apps::Json result{{"place", at}};
  result.update(place(problem, cv, k));
  apps::Json& coefficients = result["coefficients"] = apps::Json::array();
  for (std::size_t j = 0; j < problem.features.size(); ++j) {
    const double w = cv.path[k].coefficients[j];
    coefficients.push_back({{"name", problem.features[j]},
                            {"coefficient", w},
                            {"standardized", w * problem.deviation[j]},
                            {"stability", cv.stability_at(at, static_cast<Index>(j))}});
  }
  return result;
}

apps::Json report(const Options& options, const LinearProblem& problem, const CrossValidation& cv) {
  apps::Json path = apps::Json::array();
  for (std::size_t k = 0; k < cv.lambdas.size(); ++k) path.push_back(place(problem, cv, k));
  const auto largest = [](const auto& values, auto member) {
    return std::invoke(member, *std::ranges::max_element(values, {}, member));
  };
  apps::Json result{{"data", problem.source}, {"target", problem.target}};
  if (problem.classes) result["classes"] = {{"0", problem.classes->zero}, {"1", problem.classes->one}};
  result.update(apps::Json{
      {"rows", problem.y.size()},
      {"columns", problem.features.size()},
      {"notes", problem.notes},
      {"loss", options.loss},
      {"ratio", options.ratio},
      {"folds", cv.folds},
      {"null_loss", cv.path.front().null_objective},
      {"lambda_max", cv.lambdas.front()},
      {"largest_gap", largest(cv.path, &ExactSolution::gap)},
      {"largest_relative_gap", largest(cv.path, &ExactSolution::relative_gap)},
      {"largest_fold_gap", *std::ranges::max_element(cv.fold_gap)},
      {"unfinished", std::ranges::count(cv.path, false, &ExactSolution::converged)},
      {"unfinished_in_folds", std::accumulate(cv.unconverged.begin(), cv.unconverged.end(), Index{0})}});
  if (!problem.groups.empty() || !problem.weights.empty()) {
    apps::Json groups = apps::Json::array();
    for (const std::string& name : problem.group_names) groups.push_back({{"name", name}, {"weight", 1.0}});
    for (std::size_t g = 0; g < problem.weights.size(); ++g) groups[g]["weight"] = problem.weights[g];
    for (std::size_t j = 0; j < problem.features.size(); ++j) {
      groups[problem.groups.empty() ? j : static_cast<std::size_t>(problem.groups[j])]["columns"].push_back(
          problem.features[j]);
    }
    result["groups"] = std::move(groups);
  }
  result["one_standard_error"] = choice(problem, cv, cv.one_standard_error);
  result["best"] = choice(problem, cv, cv.best);
  result["path"] = std::move(path);
  return result;
}

apps::Figure figure(const Options& options, const LinearProblem& problem, const CrossValidation& cv) {
  apps::Path path{cv.lambdas, {}, problem.features, cv.loss, cv.standard_error, {}, 0, 0};
  for (const ExactSolution& solution : cv.path) {
    path.coefficients.push_back(solution.coefficients);
    for (std::size_t j = 0; j < problem.deviation.size(); ++j)
      path.coefficients.back()[j] *= problem.deviation[j];
  }
  path.loss_name = options.kind() == ConvexLoss::logistic ? "held-out log loss" : "held-out loss";
  path.best = static_cast<std::size_t>(cv.best);
  path.one_standard_error = static_cast<std::size_t>(cv.one_standard_error);
  return apps::path_figure(path);
}

void program(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  set_threads(options.threads);
  const LinearProblem problem = apps::load_linear_problem(options.problem, options, options.kind());
  const CrossValidation cv = solve(options, problem);
  apps::Json figures = report(options, problem, cv);
  figures["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.prints()) {
    print_problem(options, problem, cv);
    print_path(cv);
    print_choice(problem, cv);
    print_quality(cv, figures);
  }
  apps::save(figures, options);
  if (!options.plot.empty()) {
    const std::string drawn = apps::draw({figure(options, problem, cv)}, options.plot);
    if (options.prints()) fmt::print("{}\n", drawn);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "lasso_path",
      "The regularization path of a lasso with cross-validation, on an embedded set or a table of your own. "
      "The "
      "penalty is on coefficients per standard deviation; those printed are in the units of the columns.");
  options.problem.add_to(command);
  command.option("--loss", options.loss, "squared, or logistic for targets of two classes",
                 std::vector<std::string>{"squared", "logistic"});
  command.option("--ratio", options.ratio,
                 "Share of the lasso in the penalty, the rest being squares (elastic net)");
  command.option("--folds", options.folds, "Folds of the cross-validation", 2, 1'000'000'000);
  command.option("--count", options.count, "Values of lambda, from the largest that matters down", 1,
                 1'000'000);
  command.option("--smallest", options.smallest, "The smallest of them as a share of the largest, below 1");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] {
    if (!options.problem.fold_column.empty()) command.refuse({"--folds"}, "--fold-column", "one of the two");
    if (options.count == 1) command.refuse({"--smallest"}, "--count 1", "two or more");
    program(options);
  });
}
