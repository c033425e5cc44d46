#include "tune_study.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/error.hpp>
#include <utility>

#include "tune_report.hpp"
#include "tune_search.hpp"

namespace taper::apps {
namespace {

using sparsity::SearchDimension;
using sparsity::Trial;
using sparsity::TrialSettings;
using Phases = sparsity::TwoPhaseOptions<float>;

data::Dataset<float> both(const data::Dataset<float>& a, const data::Dataset<float>& b) {
  const auto stacked = [](const Tensor<float>& top, const Tensor<float>& bottom) {
    Shape shape = top.shape();
    Tensor<float> result(Shape{shape[0] + bottom.shape()[0], shape.rank() > 1 ? shape[1] : 1});
    std::copy(bottom.begin(), bottom.end(), std::copy(top.begin(), top.end(), result.begin()));
    return result;
  };
  return {stacked(a.x, b.x), stacked(a.y, b.y), a.features, a.target};
}

/// The dense networks beside those that were found.
struct Control {
  Json report;
  std::vector<Trial> seeds;
  std::vector<std::size_t> beside;  ///< of these seeds that were found

  /// What the dense network beside a seed comes to; NaN where there is none.
  double judged_beside(std::size_t seed) const {
    for (std::size_t k = 0; k < seeds.size(); ++k) {
      if (beside[k] == seed) return judged(seeds[k]);
    }
    return std::nan("");
  }
};

DenseShape shape_of(const Trial& trial) {
  return {list_in(trial.result, "widths"), list_in(trial.result, "inputs")};
}

/// The fewest and the most epochs of what is searched.
std::pair<double, double> range_of_epochs(const Searched& searched) {
  const auto found = std::ranges::find(searched.dimensions, "epochs", &SearchDimension::name);
  if (found == searched.dimensions.end()) {
    const double held = searched.held.number("epochs", 100);
    return {held, held};
  }
  if (found->kind != SearchDimension::Kind::categorical) return {found->low, found->high};
  std::vector<double> numbers;
  for (const std::string& word : found->choices) {
    numbers.push_back(TrialSettings({{"one", 0, word, true}}).number("one", 0));
  }
  return {std::ranges::min(numbers), std::ranges::max(numbers)};
}

/// Settings are searched for with the shape of the winner; then each seed that is judged, and reads anything,
/// has a dense network of its own shape beside it.
Control run_control(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
                    const std::string& name, Hunt& hunt, const Trial& winner, const std::vector<Trial>& found,
                    const Phases& phases, Index tries) {
  Control control;
  std::vector<DenseShape> shapes;
  for (std::size_t k = 0; k < found.size(); ++k) {
    if (!std::isfinite(judged(found[k])) || !shape_of(found[k]).is_network()) continue;
    shapes.push_back(shape_of(found[k]));
    control.beside.push_back(k);
  }
  if (shapes.empty()) {
    control.report = {{"none", "no seed ends within the budget with a network that reads anything"}};
    return control;
  }
  DenseShape shape = shape_of(winner);
  // A trial that another program has added says nothing of its network.
  if (!shape.is_network()) shape = shapes.front();
  const Index rows = data.train.rows();
  Searched dense_search = searched_dense(searched(options, rows, phases.budget.value_or(0)), rows);
  const auto [least_epochs, most_epochs] = range_of_epochs(dense_search);
  dense_search.starts = hunt.dense_starts(winner, shape, least_epochs, most_epochs);
  Hunt dense(data, all, options, fmt::format("{} control of {}", name, winner.number), dense_search,
             Hunt::control_phases(data, shape, phases));
  const std::vector<Trial> trials = dense.search(tries, 0);
  const Trial best = dense.winner(trials);
  control.seeds = dense.seeds(best, shapes);
  control.report = {{"widths", shape.widths},
                    {"tries", trials.size()},
                    {"starts_of_each", dense.settings_of(best).integer("starts", 1)},
                    {"winner", trial_as_json(dense, best, data)},
                    {"seeds", seeds_as_json(control.seeds, data)}};
  control.report.update(spread_of(control.seeds));
  return control;
}

/// Seed by seed, what was found beside what is dense.
Json comparison(const std::vector<Trial>& seeds, const Control& control) {
  std::vector<double> differences;
  for (std::size_t k = 0; k < seeds.size(); ++k) {
    const double difference = judged(seeds[k]) - control.judged_beside(k);
    if (std::isfinite(difference)) differences.push_back(difference);
  }
  const double paired = median_of(differences);
  const auto lower = std::ranges::count_if(differences, [](double difference) { return difference < 0; });
  const bool is_worth_it = paired < 0;
  std::string says = "there is nothing to compare";
  if (std::isfinite(paired)) {
    says = fmt::format(
        "training sparse is {}worth it: {:.4g} {} a dense network of the same widths, and lower in {} of {} "
        "seeds",
        is_worth_it ? "" : "not ", std::abs(paired), is_worth_it ? "below" : "above", lower,
        differences.size());
  }
  return {{"control", control.report},
          {"paired_median_difference", finite_or_null(paired)},
          {"lower_in", lower},  // a median of few seeds can be below 0 by chance
          {"worth_it", is_worth_it},
          {"says", says}};
}

/// One network that was found, from seeds, and its control.
Json report_on_found(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
                     const std::string& name, Hunt& hunt, const Trial& winner, const Phases& phases,
                     Index tries, TuneStudy& study) {
  const std::vector<Trial> seeds = hunt.seeds(winner);
  Json report{{"winner", trial_as_json(hunt, winner, data)}, {"seeds", seeds_as_json(seeds, data)}};
  report.update(spread_of(seeds));
  Control control;
  if (options.control) {
    try {
      control = run_control(data, all, options, name, hunt, winner, seeds, phases, tries);
    } catch (const Error& error) {  // what was found is not lost
      control.report = {{"none", error.what()}};
    }
    report.update(comparison(seeds, control));
  }
  const auto group = study.sizes.empty() ? 0 : study.sizes.back().alpha + 1;
  std::optional<std::size_t> best;
  for (std::size_t k = 0; k < seeds.size(); ++k) {
    if (!seeds[k].is_feasible()) continue;
    study.sizes.push_back({group, figure_in(seeds[k].result, "size"), std::nan(""), judged(seeds[k]),
                           control.judged_beside(k)});
    if (!best || is_better(seeds[k].result, seeds[*best].result)) best = k;
  }
  study.model.reset();
  const bool is_last = !options.budgets.empty() && phases.budget == options.budgets.back();
  if (best && is_last && options.keep_model) {
    study.model = hunt.final_network(winner, static_cast<Index>(*best));
  }
  return report;
}

}  // namespace

void check_budgets(const TuneData& data, const TuneStudyOptions& options) {
  const Searched space = searched(options, data.train.rows(), 0);
  Index layers = space.held.integer("layers", 3);
  for (const SearchDimension& one : space.dimensions) {
    if (one.name != "layers") continue;
    layers = static_cast<Index>(one.low);
    if (one.kind == SearchDimension::Kind::categorical) {
      layers = 1'000'000;
      for (const std::string& word : one.choices) {
        layers = std::min(layers, TrialSettings({{"layers", 0, word, true}}).integer("layers", 0));
      }
    }
  }
  // One unit in each hidden layer, and every output reads the last.
  const bool counts_products = options.measure == sparsity::SizeMeasure::multiply_adds;
  const Index fewest =
      counts_products ? layers + data.outputs : sparsity::fewest_parameters(layers) + 2 * data.outputs;
  for (const Index budget : options.budgets) {
    if (budget >= fewest) continue;
    throw Error("tune", "a budget of ", budget, counts_products ? " multiply-adds" : " parameters",
                ": expected ", fewest, " at least, which a network with one unit in each layer has");
  }
}

TuneStudy run_tune_study(const TuneData& data, const TuneStudyOptions& options) {
  check_budgets(data, options);
  if (options.budgets.empty() && (options.halving || options.soft)) {
    throw Error("tune", options.halving ? "halving" : "a soft budget",
                " without a budget: expected one at least, as a front has no order to rank by");
  }
  const data::Dataset<float> all = both(data.train, data.validation);
  Phases phases;
  phases.loss = data.loss;
  phases.measure = options.measure;
  phases.epochs = options.halving ? 27 : 1;
  phases.model = [&data](const TrialSettings& settings) { return offered_network(data, settings); };
  TuneStudy study;
  Json found = Json::array();
  std::vector<std::pair<std::string, std::vector<Trial>>> studies;
  const auto count = static_cast<double>(std::max<std::size_t>(options.budgets.size(), 1));
  const double seconds = options.minutes * 60 / count;
  bool any = false;
  for (const Index budget : options.budgets) {
    phases.budget = budget;
    phases.rule = options.soft ? sparsity::BudgetRule::penalty : sparsity::BudgetRule::constraint;
    const std::string name = fmt::format("{} {}", data.name, budget);
    Hunt hunt(data, all, options, name, searched(options, data.train.rows(), budget), phases);
    const std::vector<Trial> trials = hunt.search(options.trials, seconds);
    studies.emplace_back(name, trials);
    Json report{{"budget", budget},
                {"trials", trials.size()},
                {"failed", std::ranges::count(trials, Trial::State::failed, &Trial::state)}};
    try {
      report.update(report_on_found(data, all, options, name, hunt, hunt.winner(trials), phases,
                                    static_cast<Index>(trials.size()), study));
      any = true;
    } catch (const Error& error) {  // what other budgets came to is not lost
      if (!any && budget == options.budgets.back()) throw;
      report["error"] = error.what();
    }
    found.push_back(report);
  }
  if (options.budgets.empty()) {
    phases.rule = sparsity::BudgetRule::front;
    const std::string name = data.name + " front";
    Hunt hunt(data, all, options, name, searched(options, data.train.rows(), 0), phases);
    const std::vector<Trial> trials = hunt.search(options.trials, seconds);
    studies.emplace_back(name, trials);
    // Some of the front, evenly along it.
    std::vector<std::size_t> front = sparsity::front(trials), chosen;
    if (front.empty()) {
      require_one_that_ended(trials);
      throw Error("tune", "no trial has ended: expected one at least");
    }
    constexpr std::size_t most = 6;
    for (std::size_t k = 0; k < std::min(most, front.size()); ++k) {
      const std::size_t places = std::min(most, front.size());
      chosen.push_back(front[places == 1 ? 0 : k * (front.size() - 1) / (places - 1)]);
    }
    for (const std::size_t k : chosen) {
      const std::string own = fmt::format("{} {}", name, trials[k].number);
      const Index tries = std::max<Index>(static_cast<Index>(trials.size() / chosen.size()), 1);
      found.push_back(report_on_found(data, all, options, own, hunt, trials[k], phases, tries, study));
    }
  }
  study.report = {
      {"data", data.name},
      {"rows",
       {{"train", data.train.rows()}, {"validation", data.validation.rows()}, {"test", data.test.rows()}}},
      {"measure", options.measure == sparsity::SizeMeasure::parameters ? "parameters" : "multiply_adds"},
      {"found", found},
      {"front", front_of(studies, data)}};
  return study;
}

}  // namespace taper::apps
