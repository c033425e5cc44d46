#include <taper/sparsity/tune/trial.hpp>

#include <algorithm>
#include <numeric>

namespace taper::sparsity {
namespace {

double violation_of(const TrialResult& result) {
  double sum = 0;
  for (const double constraint : result.constraints) sum += std::max(constraint, 0.0);
  return sum;
}

bool dominates(const std::vector<double>& a, const std::vector<double>& b) {
  bool somewhere = false;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!(a[k] <= b[k])) return false;
    somewhere = somewhere || a[k] < b[k];
  }
  return somewhere;
}

}  // namespace

double Trial::violation() const {
  return violation_of(result);
}

bool is_better(const TrialResult& a, const TrialResult& b) {
  const double over_a = violation_of(a), over_b = violation_of(b);
  if (over_a != over_b) return over_a < over_b;
  return a.objectives.front() < b.objectives.front();
}

std::vector<Trial>::const_iterator best_trial(const std::vector<Trial>& trials) {
  auto best = trials.end();
  for (auto at = trials.begin(); at != trials.end(); ++at) {
    if (at->is_feasible() && (best == trials.end() || is_better(at->result, best->result))) best = at;
  }
  return best;
}

std::vector<Index> domination_ranks(const std::vector<std::vector<double>>& objectives) {
  const std::size_t count = objectives.size();
  std::vector<Index> ranks(count, -1);
  std::size_t left = count;
  for (Index rank = 0; left > 0; ++rank) {
    std::vector<std::size_t> front;
    for (std::size_t i = 0; i < count; ++i) {
      if (ranks[i] >= 0) continue;
      bool free = true;
      for (std::size_t j = 0; free && j < count; ++j) {
        free = ranks[j] >= 0 || !dominates(objectives[j], objectives[i]);
      }
      if (free) front.push_back(i);
    }
    for (const std::size_t i : front) ranks[i] = rank;
    left -= front.size();
  }
  return ranks;
}

std::vector<std::size_t> front(const std::vector<Trial>& trials) {
  std::vector<std::size_t> feasible;
  std::vector<std::vector<double>> objectives;
  for (std::size_t k = 0; k < trials.size(); ++k) {
    if (!trials[k].is_feasible()) continue;
    if (std::ranges::find(objectives, trials[k].result.objectives) != objectives.end()) continue;
    feasible.push_back(k);
    objectives.push_back(trials[k].result.objectives);
  }
  const std::vector<Index> ranks = domination_ranks(objectives);
  std::vector<std::size_t> result;
  for (std::size_t k = 0; k < feasible.size(); ++k) {
    if (ranks[k] == 0) result.push_back(feasible[k]);
  }
  std::ranges::stable_sort(result, {}, [&](std::size_t k) { return trials[k].result.objectives.back(); });
  return result;
}

}  // namespace taper::sparsity
