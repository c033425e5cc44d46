#include "table_fit.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/sparsity/exact_path.hpp>

namespace taper::apps {
namespace {

using sparsity::ConvexLoss;
using sparsity::CrossValidation;

/// The exact problem of one output: a regression, or one class against the others.
struct Output {
  std::vector<double> y;
  CrossValidation cv;
};

/// Parameters and columns of the place k of the paths of all outputs.
void count_place(const data::Preprocessing& preprocessing, const std::vector<Output>& outputs, std::size_t k,
                 PathPlace& place) {
  std::vector<bool> feature(preprocessing.features.size()), column(preprocessing.columns.size());
  for (const Output& output : outputs) {
    const std::vector<double>& w = output.cv.path[k].coefficients;
    for (std::size_t j = 0; j < w.size(); ++j) {
      if (w[j] == 0) continue;
      feature[j] = true;
      column[static_cast<std::size_t>(preprocessing.features[j].column)] = true;
    }
  }
  const auto n = static_cast<Index>(outputs.size());
  place.parameters = n * std::count(feature.begin(), feature.end(), true) + n;
  place.inputs = std::count(column.begin(), column.end(), true);
}

/// The paths of all outputs have the same places, as shares of the largest penalty of each. Losses of several
/// outputs are those of their sum, and so are standard errors at most.
std::vector<PathPlace> path_of(const data::Preprocessing& preprocessing, const std::vector<Output>& outputs) {
  std::vector<PathPlace> path(outputs.front().cv.lambdas.size());
  for (std::size_t k = 0; k < path.size(); ++k) {
    double error = 0;
    for (const Output& output : outputs) {
      path[k].penalty = std::max(path[k].penalty, output.cv.lambdas[k]);
      path[k].loss += output.cv.loss[k];
      path[k].standard_error += output.cv.standard_error[k];
      if (!output.cv.error.empty()) error = output.cv.error[k];
    }
    count_place(preprocessing, outputs, k, path[k]);
    if (outputs.size() == 1 && !outputs[0].cv.error.empty()) {
      path[k].details = {{"error", error}, {"auc", outputs[0].cv.auc[k]}};
    }
  }
  return path;
}

/// For each output the duality gap of its solution, which proves that no other is better.
Json certificate_of(const std::vector<Output>& outputs, std::size_t k) {
  Json result{{"kind", "duality gap"}};
  double largest = 0, relative = 0;
  bool converged = true;
  Json lambdas = Json::array();
  for (const Output& output : outputs) {
    const sparsity::ExactSolution& solution = output.cv.path[k];
    largest = std::max(largest, solution.gap);
    relative = std::max(relative, solution.relative_gap);
    converged = converged && solution.converged;
    lambdas.push_back(solution.lambda);
  }
  result["lambda"] = outputs.size() == 1 ? lambdas[0] : lambdas;
  result["gap"] = largest, result["relative_gap"] = relative, result["converged"] = converged;
  return result;
}

TableFit fit_exact(const data::Preprocessing& preprocessing, const sparsity::Design& design,
                   const std::vector<double>& y, const TableFitOptions& options) {
  const data::TargetColumn& target = preprocessing.target;
  const bool regression = target.kind == data::TargetKind::regression;
  const std::size_t problems = target.kind == data::TargetKind::classes ? target.classes.size() : 1;
  if (const Index fewest = fewest_linear_parameters(target); options.budget && *options.budget < fewest) {
    throw Error("fit", "a budget of ", *options.budget, " parameters: expected at least ", fewest,
                ", as a linear model of one column has");
  }
  std::vector<Output> outputs;
  for (std::size_t c = 0; c < problems; ++c) {
    Output& output = outputs.emplace_back();
    output.y = y;
    if (problems > 1) {
      for (double& value : output.y) value = value == static_cast<double>(c) ? 1 : 0;
    }
    std::vector<Index> least_class(2);
    if (!regression) {
      for (const double value : output.y) ++least_class[value == 1 ? 1 : 0];
    }
    // With more folds than rows of a class, some would hold out none of it.
    const Index most = regression ? static_cast<Index>(y.size()) : std::min(least_class[0], least_class[1]);
    sparsity::LambdaGrid grid{.count = 50, .smallest = regression ? 1e-3 : 1e-2};
    if (options.penalty) grid.lambdas = {*options.penalty};
    const Eigen::Map<const Eigen::VectorXd> target_vector(output.y.data(),
                                                          static_cast<Index>(output.y.size()));
    output.cv = sparsity::cross_validate(
        design, target_vector, regression ? ConvexLoss::squared : ConvexLoss::logistic,
        {.folds = std::clamp<Index>(options.folds, 2, std::max<Index>(2, most)), .seed = options.seed}, grid,
        {.standardize = true, .tolerance = 1e-8});
  }
  TableFit fit;
  fit.path = path_of(preprocessing, outputs);
  const std::optional<std::size_t> chosen = choose(fit.path, options);
  if (!chosen) {
    throw Error("fit", "--penalty ", *options.penalty, " takes ", fit.path.front().parameters,
                " parameters: expected a larger one for a budget of ", *options.budget);
  }
  fit.chosen = *chosen;
  const std::size_t k = fit.chosen;
  Tensor<double> weights(
      Shape{static_cast<Index>(problems), static_cast<Index>(preprocessing.features.size())});
  std::vector<double> intercepts;
  for (std::size_t c = 0; c < problems; ++c) {
    std::ranges::copy(outputs[c].cv.path[k].coefficients,
                      weights.begin() + static_cast<std::ptrdiff_t>(c * preprocessing.features.size()));
    intercepts.push_back(outputs[c].cv.path[k].intercept);
  }
  const Link link = regression ? Link::identity : problems == 1 ? Link::logistic : Link::one_vs_rest;
  fit.model = linear_model(preprocessing, link, weights, intercepts);
  fit.certificate = certificate_of(outputs, k);
  const PathPlace& place = fit.path[k];
  fit.validation = {{"method", "cross-validation"}, {"folds", outputs.front().cv.folds}, {"rows", y.size()}};
  if (regression) {
    const double mse = 2 * place.loss * target.scale * target.scale;
    fit.validation.update(Json{{"mse", mse},
                               {"standard_error", 2 * place.standard_error * target.scale * target.scale},
                               {"rmse", std::sqrt(2 * place.loss) * target.scale}});
  } else {
    fit.validation["log_loss"] = place.loss;
    fit.validation["standard_error"] = place.standard_error;
    if (place.details.is_object()) fit.validation.update(place.details);
    if (problems > 1) fit.validation["log_loss_of"] = "each class against the others, summed";
  }
  return fit;
}

}  // namespace

std::optional<std::size_t> choose(const std::vector<PathPlace>& path, const TableFitOptions& options) {
  const auto within = [&](const PathPlace& place) {
    return std::isfinite(place.loss) && (!options.budget || place.parameters <= *options.budget);
  };
  std::optional<std::size_t> best;
  for (std::size_t k = 0; k < path.size(); ++k) {
    if (within(path[k]) && (!best || path[k].loss < path[*best].loss)) best = k;
  }
  if (!best || !options.one_standard_error) return best;
  const double most = path[*best].loss + path[*best].standard_error;
  for (std::size_t k = 0; k < path.size(); ++k) {
    if (within(path[k]) && path[k].loss <= most) return k;
  }
  return best;
}

Index fewest_linear_parameters(const data::TargetColumn& target) {
  return target.kind == data::TargetKind::classes ? 2 * static_cast<Index>(target.classes.size()) : 2;
}

Index fewest_network_parameters(const data::TargetColumn& target, std::size_t hidden_layers) {
  return 2 * static_cast<Index>(hidden_layers) + fewest_linear_parameters(target);
}

TableFit fit_linear(const data::Preprocessing& preprocessing, const LearningSet& rows,
                    const TableFitOptions& options) {
  const Eigen::MatrixXd x =
      Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
          rows.x.data(), rows.x.shape()[0], rows.x.shape()[1]);
  return fit_exact(preprocessing, x, rows.y, options);
}

TableFit fit_linear(const data::Preprocessing& preprocessing, const data::SparseSet& set,
                    const std::vector<double>& y, const TableFitOptions& options) {
  const Eigen::SparseMatrix<double> x = Eigen::Map<const Eigen::SparseMatrix<double>>(
      set.rows, set.columns(), static_cast<Index>(set.values.size()), set.starts.data(),
      set.entry_rows.data(), set.values.data());
  return fit_exact(preprocessing, x, y, options);
}

}  // namespace taper::apps
