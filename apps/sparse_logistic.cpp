// L1 logistic regression by smooth means: every weight is a product u * v, and ordinary weight decay on the
// factors is an L1 penalty on the product. Adam or L-BFGS minimizes that; the exact solver says how near they
// came, and the duality gap proves it.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <limits>
#include <taper/taper.hpp>

#include "common.hpp"
#include "figures.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  std::string method = "adam", plot;
  double lambda = 1e-2;
  double lr = 1e-4;
  Index batch_size = 8;
  Index epochs = 500;
};

/// Standardized columns, and the target 1 for class -1.
template <class T> data::Dataset<T> prepare(data::Dataset<T> set) {
  data::StandardScaler<T> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  for (T& label : set.y) {
    if (label != -1 && label != 1) throw Error("sparse_logistic", "class ", label, ": expected 1 or -1");
    label = label < 0 ? T(1) : T(0);
  }
  return set;
}

/// Madelon, or the embedded set made like it: for Adam in float, for everything that proves in double.
struct Data {
  data::Dataset<float> set;
  Eigen::MatrixXd x;
  Eigen::VectorXd y;
};

Data load(const Options& options) {
  const auto both = [](data::Dataset<float> single, const data::Dataset<double>& full) {
    return Data{std::move(single), full.x.matrix(), full.y.vector()};
  };
  if (const auto folder = options.folder()) {
    options.reads(*folder / "madelon.csv.gz");
    const data::Table table = data::read_csv(*folder / "madelon.csv.gz");
    return both(prepare(data::to_dataset<float>(table, "Class")),
                prepare(data::to_dataset<double>(table, "Class")));
  }
  return both(prepare(data::make_madelon<float>({.seed = options.seed}).data),
              prepare(data::make_madelon<double>({.seed = options.seed}).data));
}

/// What a method came to.
struct Result {
  std::vector<double> coefficients;
  double intercept = 0, loss = 0, objective = 0;
  double cutoff = 0;            ///< What counts as zero: magnitudes up to this.
  double decay = 0;             ///< The penalty as the factors have it; balanced ones have lambda ||w||_1.
  std::vector<double> history;  ///< For a figure: the objective after each epoch or iteration.
};

sparsity::ExactOptions exact_options() {
  sparsity::ExactOptions options;
  options.tolerance = 1e-10;
  return options;
}

Result by_adam(const Options& options, const data::Dataset<float>& set) {
  nn::Linear<float> model(set.x.shape()[1], 1);
  sparsity::factorize(model, sparsity::Groups::elements);
  optim::Adam<float> adam(model.parameters(),
                          {.lr = options.lr, .weight_decay = options.lambda, .groups = {{"bias", {}, 0.0}}});
  train::FitOptions<float> fit{
      .epochs = options.epochs,
      .batch_size = options.batch_size,
      .seed = options.seed,
      .progress = options.quiet ? train::Progress::quiet : train::Progress::automatic,
      .title = "training"};
  Result result;
  const auto measure = [&] {
    const Tensor<float> weight = model.weight.materialize();
    result.loss = train::evaluate(model, set, nn::bce_with_logits_loss);
    result.objective = result.loss + options.lambda * weight.vector().cast<double>().lpNorm<1>();
    return weight;
  };
  if (!options.plot.empty()) {
    fit.callbacks.push_back([&](const train::Epoch&) {
      measure();
      result.history.push_back(result.objective);
      return true;
    });
  }
  train::fit(model, set, nn::bce_with_logits_loss, adam, fit);
  result.decay = sparsity::effective_penalty(model, options.lambda).decay;
  sparsity::collapse(model);
  const Tensor<float> weight = measure();
  result.coefficients.assign(weight.begin(), weight.end());
  result.intercept = model.bias->value()[0];
  // Products whose factors have decayed are many orders below those that the data hold up.
  result.cutoff = 1e-4 * static_cast<double>(weight.vector().cwiseAbs().maxCoeff());
  return result;
}

Result from(const sparsity::ExactSolution& solution) {
  return {solution.coefficients,
          solution.intercept,
          solution.loss,
          solution.objective,
          0,
          solution.objective - solution.loss,
          {}};
}

Result by_lbfgs(const Options& options, const Data& data) {
  sparsity::SmoothOptions smooth;
  smooth.problem = exact_options();
  smooth.record = !options.plot.empty();
  const auto solution =
      sparsity::solve_smooth(data.x, data.y, sparsity::ConvexLoss::logistic, options.lambda, smooth);
  Result result = from(solution);
  result.history = solution.history;
  return result;
}

/// One proximal step, without a threshold that somebody chose: it sets to zero what L1 asks for.
Result proximal(const Options& options, const Data& data, const Result& result) {
  sparsity::SmoothOptions step;
  step.problem = exact_options();
  step.problem.max_iterations = 0;
  step.problem.start = result.coefficients;
  step.problem.start_intercept = result.intercept;
  return from(sparsity::solve_smooth(data.x, data.y, sparsity::ConvexLoss::logistic, options.lambda, step));
}

/// What the duality gap and the exact solution say of a result.
apps::Json judged(const Options& options, const Data& data, const Result& result, const Result& exact) {
  const sparsity::ConvexCertificate certificate =
      sparsity::certify(data.x, data.y, sparsity::ConvexLoss::logistic, options.lambda, result.coefficients,
                        result.intercept, exact_options());
  Index difference = 0;
  for (std::size_t j = 0; j < result.coefficients.size(); ++j) {
    difference += (std::abs(result.coefficients[j]) > result.cutoff) != (exact.coefficients[j] != 0);
  }
  return {{"gap", certificate.gap},
          {"objective_difference", certificate.objective - exact.objective},
          {"support_difference", difference}};
}

Index nonzero(const Result& result) {
  return std::ranges::count_if(result.coefficients, [&](double w) { return std::abs(w) > result.cutoff; });
}

apps::Json described(const Result& result) {
  return {{"loss", result.loss},
          {"objective", result.objective},
          {"nonzero", nonzero(result)},
          {"intercept", result.intercept},
          {"coef", result.coefficients}};
}

std::vector<apps::Figure> figures(const Options& options, const Result& result, const Result& sparse,
                                  const Result& exact) {
  const char* const name = options.method == "adam"    ? "Adam"
                           : options.method == "lbfgs" ? "L-BFGS"
                                                       : "the exact solver";
  std::vector<apps::Figure> figures{apps::coefficients_figure(exact.coefficients, result.coefficients, name)};
  if (options.method == "exact") return figures;
  std::vector<double> excess;
  for (const double objective : result.history) excess.push_back(objective - exact.objective);
  // L-BFGS ends with proximal steps: the point itself is its result.
  const bool adam = options.method == "adam";
  const double hole = std::numeric_limits<double>::quiet_NaN();
  figures.push_back(apps::convergence_figure(excess, adam ? sparse.objective - exact.objective : hole,
                                             1e-14 * exact.objective, adam ? "epoch" : "iteration"));
  return figures;
}

void program(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [](auto since) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  };
  set_threads(options.threads);
  manual_seed(options.seed);
  const Data data = load(options);

  const auto solve_exactly = [&] {
    return sparsity::solve_exact(data.x, data.y, sparsity::ConvexLoss::logistic, options.lambda,
                                 exact_options());
  };
  const Result result = options.method == "adam"    ? by_adam(options, data.set)
                        : options.method == "lbfgs" ? by_lbfgs(options, data)
                                                    : from(solve_exactly());
  const double method_seconds = seconds(start);
  const auto exact_start = std::chrono::steady_clock::now();
  const sparsity::ExactSolution solution = solve_exactly();
  const double exact_seconds = seconds(exact_start);
  const Result exact = from(solution);

  apps::Json report = {{"data", options.folder() ? "madelon" : "embedded"},
                       {"rows", data.set.rows()},
                       {"lambda", options.lambda},
                       {"method", options.method}};
  double induced = 0;
  for (const double w : result.coefficients) induced += options.lambda * std::abs(w);
  report.update(described(result));
  report["penalty"] = {{"decay", result.decay}, {"induced", induced}};
  report.update(judged(options, data, result, exact));
  Result sparse = result;
  if (options.method == "adam") {
    sparse = proximal(options, data, result);
    report["proximal"] = described(sparse);
    report["proximal"].update(judged(options, data, sparse, exact));
  }
  report["exact"] = described(exact);
  report["exact"].update({{"gap", solution.gap}, {"seconds", exact_seconds}});
  report["seconds"] = method_seconds;
  apps::publish(report, options);
  if (!options.plot.empty()) {
    const std::string drawn = apps::draw(figures(options, result, sparse, exact), options.plot);
    if (options.prints()) std::cout << drawn << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command("sparse_logistic",
                        "L1 logistic regression by Hadamard factors and weight decay, on Madelon.");
  command.option("--method", options.method, "adam or lbfgs, on the factors; or exact, the convex solver",
                 std::vector<std::string>{"adam", "lbfgs", "exact"});
  command.option("--lambda", options.lambda, "Weight of the L1 norm");
  command.option("--lr", options.lr, "Learning rate of Adam");
  command.option("--batch-size", options.batch_size, "Rows in a batch of Adam", 1, apps::at_most);
  command.option("--epochs", options.epochs, "Passes over the data of Adam", 0, apps::at_most);
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] {
    if (options.method != "adam") {
      command.refuse({"--lr", "--batch-size", "--epochs"}, "--method " + options.method, "--method adam");
    }
    program(options);
  });
}
