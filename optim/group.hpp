#pragma once

#include <optional>
#include <string>
#include <vector>

#include <taper/nn/parameter.hpp>

namespace taper::optim {

/// Settings for the parameters whose names match a pattern: "*" stands for anything, so "*bias" is every
/// bias. What is not given is as for all others. The first group that matches counts.
struct Group {
  std::string match;
  std::optional<double> lr = {};
  std::optional<double> weight_decay = {};
};

/// The group of each entry, in their order, or null. Throws Error, in the name of `where`, for a pattern that
/// no parameter matches and for a setting that is negative or not finite.
template <class T>
std::vector<const Group*> match_groups(const std::vector<Group>& groups, const nn::Parameters<T>& parameters,
                                       const char* where);

/// Throws the Error of a setting that is not at least zero (or, with `below_one`, not in [0, 1)).
void require_setting(const char* where, const char* name, double value, bool below_one = false);

}  // namespace taper::optim
