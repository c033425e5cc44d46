// One trial, driven from outside.

#include <fmt/core.h>

#include <taper/autodiff/error.hpp>

#include "tune_report.hpp"
#include "tune_search.hpp"

namespace taper::apps {

using sparsity::TrialResult;
using sparsity::TrialSettings;

Json run_one_trial(const TuneData& data, const Json& given, sparsity::SizeMeasure measure) {
  if (!given.is_object()) throw Error("trial", "no object: expected one of settings, {\"lr\": 0.002, ...}");
  TrialSettings settings;
  sparsity::TwoPhaseOptions<float> phases;
  phases.loss = data.loss;
  phases.measure = measure;
  phases.model = [&data](const TrialSettings& all) { return offered_network(data, all); };
  std::uint64_t seed = 0;
  for (const auto& [key, value] : given.items()) {
    if (key == "seed" || key == "budget") {
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() > (std::uint64_t{1} << 53)) {
        throw Error("trial", key, " is ", value.dump(), ": expected a whole number");
      }
      if (key == "seed") {
        seed = value.get<std::uint64_t>();
      } else {
        phases.budget = value.get<Index>();
      }
      continue;
    }
    check_setting(key);
    if (value.is_number()) {
      settings.set(key, value.get<double>());
    } else if (value.is_string()) {
      settings.set(key, value.get<std::string>());
    } else {
      throw Error("trial", key, " is ", value.dump(), ": expected a number or a word");
    }
  }
  if (phases.budget) {
    TuneStudyOptions one;
    one.budgets = {*phases.budget};
    one.measure = measure;
    one.search = {fmt::format("layers={}", hidden_layers(settings))};
    check_budgets(data, one);
  }
  const auto outcome = sparsity::two_phase(settings, seed, data.train, data.validation, phases);
  const TrialResult result = sparsity::result_of(outcome, phases);
  Json report{{"objective", result.objectives.front()}, {"constraints", result.constraints}};
  for (const auto& [name, values] : result.figures) {
    const bool is_list = name == "widths" || name == "inputs";
    report[name] = is_list ? Json(list_in(result, name.c_str())) : Json(values.front());
  }
  return report;
}

}  // namespace taper::apps
