#pragma once

#include <string>

#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/tune/space.hpp>

namespace taper::sparsity {

/// What an Error of the two phases calls them.
inline constexpr const char* in_two_phase = "two_phase";

/// The settings of a trial of the two phases by their names (TwoPhaseOptions says what they are), checked.
struct TwoPhaseSettings {
  /// Throws Error for one out of range.
  explicit TwoPhaseSettings(const TrialSettings& from);

  double lr, penalty, growth, refit_penalty, refit_decay, refit_lr;
  Index epochs, batch_size, path_epochs, refit_epochs, refit_iterations, cut_iterations, starts;
  FactorizeOptions factorize;
  Groups groups;
  std::string refit;
  bool by_units;
};

}  // namespace taper::sparsity
