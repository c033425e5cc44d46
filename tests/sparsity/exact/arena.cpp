#include <taper/sparsity/exact/arena.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

using taper::sparsity::exact::Arena;

TEST_CASE("an arena gives memory that is apart and aligned, also beyond what was asked for") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{5} << 20}) {
    Arena arena(size);
    std::vector<std::pmr::vector<double>> arrays;
    for (std::size_t k = 0; k < 8; ++k) {
      arrays.emplace_back(std::size_t{100'000} * (k % 3) + 1, static_cast<double>(k), arena.resource());
      CHECK(reinterpret_cast<std::uintptr_t>(arrays.back().data()) % alignof(double) == 0);
    }
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      CHECK(std::ranges::all_of(arrays[k], [&](double value) { return value == static_cast<double>(k); }));
    }
  }
}
