#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <cstdint>
#include <cstring>
#include <string>

#include <taper/autodiff/kernels/target.hpp>

/// While it lives, the kernels run on one of Highway's targets; afterwards on the machine's best again.
class ForcedTarget {
 public:
  explicit ForcedTarget(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
  }
  ~ForcedTarget() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();  // the next call chooses anew
  }
  ForcedTarget(const ForcedTarget&) = delete;
  ForcedTarget& operator=(const ForcedTarget&) = delete;
};

/// Calls f(name) on each instruction set that the library was compiled for and this machine has, one by one,
/// the best first; returns how many they are. What is asserted in f is reported with the name.
template <class F> int for_each_target(const F& f) {
  int count = 0;
  // The baseline is not among what Highway lists.
  for (std::int64_t rest = hwy::SupportedTargets() | HWY_EMU128 | HWY_SCALAR; rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    const ForcedTarget forced(target);
    // The kernels themselves say what runs: a step in between, which they were not compiled for, falls back.
    const char* const name = taper::kernels::instruction_set();
    if (std::strcmp(name, hwy::TargetName(target)) != 0) continue;
    INFO("on ", std::string(name));
    f(name);
    ++count;
  }
  return count;
}
