#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tune_hunt.hpp"

/// What a study says of its trials.
namespace taper::apps {

/// A figure of a result; NaN where there is none of this name.
double figure_in(const sparsity::TrialResult& result, const char* name);
std::vector<Index> list_in(const sparsity::TrialResult& result, const char* name);

Json finite_or_null(double value);
/// NaN for none.
double median_of(std::vector<double> values);

Json trial_as_json(const Hunt& hunt, const sparsity::Trial& trial, const TuneData& data);
Json seeds_as_json(const std::vector<sparsity::Trial>& seeds, const TuneData& data);

/// What the seeds are compared by: the test set, or without one the validation set; NaN for a seed that has
/// failed, or ended above the budget.
double judged(const sparsity::Trial& trial);
/// Of the seeds that are judged: smallest, median and largest loss, how many they are, and the median of the
/// seconds that a seed takes.
Json spread_of(const std::vector<sparsity::Trial>& seeds);

/// The front of all trials of several studies, size against loss; those that other programs have added
/// without a size are not on it.
Json front_of(const std::vector<std::pair<std::string, std::vector<sparsity::Trial>>>& studies,
              const TuneData& data);

}  // namespace taper::apps
