// What figures are made of: places of labels, tics, and text in quotes.

#include "../../apps/plot.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/random.hpp>

using taper::apps::quoted;
using taper::apps::spread;
using taper::apps::step;

TEST_CASE("plot: labels that do not touch stay, others move apart around where they belong") {
  CHECK(spread({}, 1).empty());
  CHECK(spread({3, 1, 5}, 1) == std::vector<double>{3, 1, 5});
  CHECK(spread({2, 2}, 1) == std::vector<double>{1.5, 2.5});
  CHECK(spread({2.5, 2, 9}, 1) == std::vector<double>{2.75, 1.75, 9});
  CHECK(spread({0, 0, 0.75}, 1) == std::vector<double>{-0.75, 0.25, 1.25});  // a chain of three
}

TEST_CASE("plot: spread labels keep order and distance, and no block of them could move closer") {
  taper::Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> at;
    for (int i = 0; i < 1 + round % 12; ++i) at.push_back(rng.uniform(0, 6));
    const std::vector<double> to = spread(at, 1);
    std::vector<std::size_t> order(at.size());
    for (std::size_t i = 0; i < at.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](std::size_t i) { return at[i]; });
    for (std::size_t first = 0; first < order.size();) {
      std::size_t end = first + 1;
      while (end < order.size() && to[order[end]] - to[order[end - 1]] < 1 + 1e-9) {
        CHECK(to[order[end]] - to[order[end - 1]] > 1 - 1e-9);
        ++end;
      }
      double moved = 0;  // the sum of squares is least where a block is moved by nothing on average
      for (std::size_t i = first; i < end; ++i) moved += to[order[i]] - at[order[i]];
      CHECK(std::abs(moved) < 1e-9);
      first = end;
    }
  }
}

TEST_CASE("plot: steps between tics") {
  CHECK(step(10, 5) == 2);
  CHECK(step(10, 4) == 5);
  CHECK(step(1700, 4) == 500);
  CHECK(std::abs(step(0.03, 4) - 0.01) < 1e-15);
  taper::Rng rng(2);
  for (int round = 0; round < 100; ++round) {
    const double range = std::pow(10, rng.uniform(-5, 5));
    CHECK(range / step(range, 4) <= 4 * (1 + 1e-12));
    CHECK(range / step(range, 4) > 4 / 2.5 * (1 - 1e-12));  // a finer one would be too many
  }
}

TEST_CASE("plot: quotes for gnuplot") {
  CHECK(quoted("s1") == "'s1'");
  CHECK(quoted("a'b\n\"c\"\\") == "'a''b \"c\"\\'");
}
