#include <taper/autodiff/kernels/target.hpp>

#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "targets.hpp"

using taper::kernels::instruction_set;

TEST_CASE("instruction_set: each target can be forced, the best is chosen otherwise") {
  const std::string best = instruction_set();
  std::set<std::string> seen;
  std::string first;
  const int count = for_each_target([&](const char* name) {
    CHECK(std::string(instruction_set()) == name);
    if (seen.empty()) first = name;
    seen.insert(name);
  });
  CHECK(static_cast<int>(seen.size()) == count);
  CHECK(count >= 1);
  CHECK(first == best);
  CHECK(std::string(instruction_set()) == best);
#if defined(__x86_64__) && defined(__GNUC__)
  // The baseline is always there, and the others are what the processor has.
  CHECK(seen.count(hwy::TargetName(HWY_BASELINE_SCALAR)) == 1);
  CHECK(seen.count("AVX2") == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0));
  CHECK(seen.count("AVX3") == (__builtin_cpu_supports("avx512dq") ? 1 : 0));
#endif
}

TEST_CASE("for_each_target: an exception leaves the best target chosen") {
  const std::string best = instruction_set();
  int calls = 0;
  const auto stop_at_second = [&](const char*) {
    if (++calls == 2) throw std::runtime_error("stop");
  };
  try {
    for_each_target(stop_at_second);
  } catch (const std::runtime_error&) {
    CHECK(calls == 2);
  }
  CHECK(std::string(instruction_set()) == best);
}
