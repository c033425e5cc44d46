#include <taper/sparsity/tune/two_phase_settings.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/sparsity/tune/two_phase.hpp>

namespace taper::sparsity {
namespace {

double above_zero(const TrialSettings& from, const char* name, double fallback) {
  const double value = from.number(name, fallback);
  if (std::isfinite(value) && value > 0) return value;
  throw Error(in_two_phase, name, " is ", value, ": expected a number above 0");
}
double not_negative(const TrialSettings& from, const char* name, double fallback) {
  const double value = from.number(name, fallback);
  if (std::isfinite(value) && value >= 0) return value;
  throw Error(in_two_phase, name, " is ", value, ": expected 0 or more");
}
Index whole_from(const TrialSettings& from, const char* name, Index fallback, Index low, Index high) {
  const Index value = from.integer(name, fallback);
  if (value >= low && value <= high) return value;
  throw Error(in_two_phase, name, " is ", value, ": expected a whole number from ", low, " to ", high);
}
std::string one_of(const TrialSettings& from, const char* name, const std::vector<std::string>& words) {
  const std::string word = from.word(name, words.front());
  if (std::ranges::find(words, word) != words.end()) return word;
  std::string list;
  for (const std::string& each : words) list += (list.empty() ? "" : " or ") + each;
  throw Error(in_two_phase, name, " is '", word, "': expected ", list);
}

constexpr Index most_of_a_count = 1'000'000;

}  // namespace

TwoPhaseSettings::TwoPhaseSettings(const TrialSettings& from)
    : lr(above_zero(from, "lr", 2e-3)),
      penalty(not_negative(from, "penalty", 1e-3)),
      growth(above_zero(from, "penalty_growth", 1.3)),
      refit_penalty(not_negative(from, "refit_penalty", 0)),
      refit_decay(not_negative(from, "refit_decay", 1e-6)),
      refit_lr(above_zero(from, "refit_lr", 2e-3)),
      epochs(whole_from(from, "epochs", 100, 0, most_of_a_count)),
      batch_size(whole_from(from, "batch_size", 128, 1, most_of_a_count)),
      path_epochs(whole_from(from, "path_epochs", 10, 1, most_of_a_count)),
      refit_epochs(whole_from(from, "refit_epochs", 100, 0, most_of_a_count)),
      refit_iterations(whole_from(from, "refit_iterations", 100, 0, most_of_a_count)),
      cut_iterations(whole_from(from, "cut_iterations", 8, 0, most_of_a_count)),
      starts(whole_from(from, "starts", 1, 1, 1000)),
      refit(one_of(from, "refit", {"automatic", "adam", "levenberg_marquardt"})),
      by_units(one_of(from, "cut", {"units", "penalty"}) == "units") {
  factorize.depth = whole_from(from, "factors", 2, 2, 8);
  const std::string weights = one_of(from, "weights", {"one", "sqrt_size", "parameters"});
  factorize.weights = weights == "one"         ? GroupWeights::one
                      : weights == "sqrt_size" ? GroupWeights::sqrt_size
                                               : GroupWeights::parameters;
  const std::string kind = one_of(from, "groups", {"inputs", "elements", "outputs"});
  groups = kind == "inputs" ? Groups::inputs : kind == "elements" ? Groups::elements : Groups::outputs;
}

const std::vector<std::string>& two_phase_settings() {
  static const std::vector<std::string> names{"lr",
                                              "penalty",
                                              "epochs",
                                              "batch_size",
                                              "factors",
                                              "groups",
                                              "weights",
                                              "cut",
                                              "cut_iterations",
                                              "penalty_growth",
                                              "path_epochs",
                                              "refit",
                                              "refit_penalty",
                                              "refit_decay",
                                              "refit_lr",
                                              "refit_epochs",
                                              "refit_iterations",
                                              "starts"};
  return names;
}

}  // namespace taper::sparsity
