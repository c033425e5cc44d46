#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <string>

#include "../check.hpp"
#include "../sanitized.hpp"

/// error_text of `run`, which gets `bytes` of memory beside what the process has; empty where the system has
/// no such limit.
template <class Run> std::string error_within(std::size_t bytes, const Run& run) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{};
  if (sanitized || pages == 0 || getrlimit(RLIMIT_AS, &limit) != 0) return {};
  const rlimit small{pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + bytes, limit.rlim_max};
  if (setrlimit(RLIMIT_AS, &small) != 0) return {};
  std::string text = error_text(run);
  setrlimit(RLIMIT_AS, &limit);
  return text;
}
