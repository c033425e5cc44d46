#pragma once

#include <optional>
#include <string>
#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/sparsity/tune.hpp>
#include <vector>

#include "common.hpp"
#include "figures.hpp"

/// The search for a network of a size, from data to report: what is behind `tune`.
namespace taper::apps {

/// What is learned, scaled. Trials are trained on `train` and chosen on `validation`; the networks of the end
/// are trained on both, and measured once on `test`.
struct TuneData {
  std::string name;
  data::Dataset<float> train, validation, test;
  nn::Loss<float> loss = nn::mse_loss;
  Index outputs = 1;
  std::string loss_name = "mse";  ///< what the report calls the loss
};

struct TuneStudyOptions {
  std::vector<Index> budgets;  ///< A study for each; without, one for the front of size against loss.
  sparsity::SizeMeasure measure = sparsity::SizeMeasure::parameters;
  double minutes = 0;           ///< For the search of all budgets together. 0: no limit.
  Index trials = 100;           ///< Of each study, at most.
  std::string sampler = "tpe";  ///< or random
  bool halving = false;
  bool soft = false;  ///< A penalty above the budget in place of the constraint.
  std::string journal;
  Index seeds = 10;
  bool control = true;
  /// Further settings to search, or to hold: "lr=1e-4:1e-2:log", "width=8:64:int", "activation=tanh,relu",
  /// "factors=3".
  std::vector<std::string> search;
  std::uint64_t seed = 0;
  bool quiet = false;
  bool keep_model = false;  ///< Whether the network of the last budget is trained once more, to be returned.
};

struct TuneStudy {
  Json report;
  std::vector<SizedLoss> sizes;  ///< Of the networks of the end, seed by seed, for the figure.
  /// Of the last budget, if it is asked for: of all seeds within it the one with the best validation.
  std::optional<nn::Sequential<float>> model;
};

/// Throws Error for a budget below what any network needs, settings that are not known, and like the parts.
TuneStudy run_tune_study(const TuneData& data, const TuneStudyOptions& options);

/// The report of a study as a table: what was found at each budget, and the front of all trials. `loss` is
/// the name of the loss.
void print_study(const Json& report, const std::string& loss);

/// One trial by a JSON object of its settings, with "budget" and "seed" among them, as --trial has it.
Json run_one_trial(const TuneData& data, const Json& settings, sparsity::SizeMeasure measure);

/// Throws Error for budgets that no network of these settings can keep.
void check_budgets(const TuneData& data, const TuneStudyOptions& options);

}  // namespace taper::apps
