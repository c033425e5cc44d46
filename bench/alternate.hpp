#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

/// Times two things in turns, so that whatever else the machine does falls on both alike.
namespace taper::bench {

struct Pair {
  double first, second;  // medians, in seconds
  double ratio;          // the median of second / first, turn by turn
};

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

template <class F, class G> Pair alternate(const F& first, const G& second, int turns = 400) {
  const auto seconds = [](const auto& f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (int warm_up = 0; warm_up < 10; ++warm_up) first(), second();
  std::vector<double> a, b, ratios;
  for (int turn = 0; turn < turns; ++turn) {
    a.push_back(seconds(first));
    b.push_back(seconds(second));
    ratios.push_back(b.back() / a.back());
  }
  return {median(a), median(b), median(ratios)};
}

}  // namespace taper::bench
