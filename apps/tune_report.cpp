#include "tune_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace taper::apps {

using sparsity::Trial;
using sparsity::TrialResult;

double figure_in(const TrialResult& result, const char* name) {
  for (const auto& [key, values] : result.figures) {
    if (key == name && values.size() == 1) return values.front();
  }
  return std::nan("");
}

std::vector<Index> list_in(const TrialResult& result, const char* name) {
  std::vector<Index> list;
  for (const auto& [key, values] : result.figures) {
    if (key != name) continue;
    for (const double value : values) list.push_back(static_cast<Index>(value));
  }
  return list;
}

Json finite_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

double median_of(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::ranges::sort(values);
  return (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2;
}

Json trial_as_json(const Hunt& hunt, const Trial& trial, const TuneData& data) {
  return {{"trial", trial.number},
          {"settings", as_json(hunt.settings_of(trial))},
          {"size", finite_or_null(figure_in(trial.result, "size"))},
          {"widths", list_in(trial.result, "widths")},
          {"inputs", list_in(trial.result, "inputs")},
          {"validation_" + data.loss_name, finite_or_null(figure_in(trial.result, "validation_loss"))}};
}

Json seeds_as_json(const std::vector<Trial>& seeds, const TuneData& data) {
  Json result = Json::array();
  for (const Trial& trial : seeds) {
    Json one{{"seed", trial.number}};
    if (trial.state == Trial::State::failed) {
      one["failed"] = trial.message;
    } else {
      one["size"] = figure_in(trial.result, "size");
      one["widths"] = list_in(trial.result, "widths");
      one["validation_" + data.loss_name] = figure_in(trial.result, "validation_loss");
      one["test_" + data.loss_name] = finite_or_null(figure_in(trial.result, "test"));
    }
    result.push_back(one);
  }
  return result;
}

double judged(const Trial& trial) {
  if (!trial.is_feasible()) return std::nan("");
  const bool is_tested =
      std::ranges::any_of(trial.result.figures, [](const auto& figure) { return figure.first == "test"; });
  return figure_in(trial.result, is_tested ? "test" : "validation_loss");
}

Json spread_of(const std::vector<Trial>& seeds) {
  std::vector<double> losses, seconds;
  for (const Trial& trial : seeds) {
    if (!std::isfinite(judged(trial))) continue;
    losses.push_back(judged(trial));
    seconds.push_back(trial.seconds);
  }
  Json result{{"seeds_within_budget", losses.size()},
              {"seconds_of_each", finite_or_null(median_of(seconds))},
              {"median", finite_or_null(median_of(losses))}};
  if (losses.empty()) return result;
  const auto [least, most] = std::ranges::minmax(losses);
  result["from"] = least, result["to"] = most;
  return result;
}

Json front_of(const std::vector<std::pair<std::string, std::vector<Trial>>>& studies, const TuneData& data) {
  std::vector<Trial> all;
  std::vector<std::string> from;
  for (const auto& [name, trials] : studies) {
    for (const Trial& trial : trials) {
      const double loss = figure_in(trial.result, "validation_loss"), size = figure_in(trial.result, "size");
      if (!trial.is_feasible() || !std::isfinite(loss) || !std::isfinite(size)) continue;
      all.push_back(trial);
      all.back().result.objectives = {loss, size};
      from.push_back(name);
    }
  }
  Json result = Json::array();
  for (const std::size_t k : sparsity::front(all)) {
    result.push_back({{"size", all[k].result.objectives[1]},
                      {"validation_" + data.loss_name, all[k].result.objectives[0]},
                      {"study", from[k]},
                      {"trial", all[k].number}});
  }
  return result;
}

void print_study(const Json& report, const std::string& loss) {
  const std::string validation = "validation_" + loss;
  fmt::print("{:>8} {:>6} {:>20} {:>11} {:>11} {:>11} {:>11} {:>11}\n", "budget", "size", "widths",
             "validation", "median", "from", "to", "dense");
  for (const auto& one : report["found"]) {
    if (one.contains("error")) {
      fmt::print("{:>8} {}\n", one["budget"].dump(), one["error"].get<std::string>());
      continue;
    }
    const Json& winner = one["winner"];
    const auto number = [](const Json& from, const char* key) {
      return from.contains(key) && from[key].is_number() ? fmt::format("{:.5g}", from[key].get<double>())
                                                         : "-";
    };
    fmt::print("{:>8} {:>6} {:>20} {:>11} {:>11} {:>11} {:>11} {:>11}\n",
               one.contains("budget") ? one["budget"].dump() : "-", number(winner, "size"),
               winner["widths"].dump(), number(winner, validation.c_str()), number(one, "median"),
               number(one, "from"), number(one, "to"),
               one.contains("control") ? number(one["control"], "median") : "-");
    if (one.contains("says")) fmt::print("{:>8} {}\n", "", one["says"].get<std::string>());
  }
  fmt::print("the front of all trials, size against validation loss:\n");
  for (const auto& point : report["front"]) {
    fmt::print("{:>8} {:>11.5g}\n", point["size"].get<double>(), point[validation].get<double>());
  }
}

}  // namespace taper::apps
