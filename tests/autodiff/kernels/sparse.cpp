#include <taper/autodiff/kernels/sparse.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <taper/autodiff/random.hpp>

#include "targets.hpp"

using taper::Index;
using taper::Rng;

namespace {

/// Columns of 0 to 40 entries in 50 rows; with holes behind each, or none.
struct Sparse {
  std::vector<double> values;
  std::vector<int> rows, begin{0}, count;

  Sparse(Rng& rng, Index columns, bool holes) {
    for (Index j = 0; j < columns; ++j) {
      const double share = rng.uniform();
      int entries = 0;
      for (int row = 0; row < 50; ++row) {
        if (entries == 40 || rng.uniform() > share) continue;
        values.push_back(rng.normal());
        rows.push_back(row);
        ++entries;
      }
      count.push_back(entries);
      for (int hole = 0; holes && hole < 3; ++hole) {
        values.push_back(std::numeric_limits<double>::quiet_NaN());
        rows.push_back(std::numeric_limits<int>::max());
      }
      begin.push_back(static_cast<int>(values.size()));
    }
    values.shrink_to_fit();  // so that reading behind the last entry is seen
    rows.shrink_to_fit();
  }

  taper::kernels::SparseRef ref(bool holes) const {
    return {values.data(), rows.data(), begin.data(), holes ? count.data() : nullptr};
  }
};

}  // namespace

TEST_CASE("products of sparse columns are those of a loop, on every instruction set") {
  for_each_target([](const char*) {
    Rng rng(1);
    for (const bool holes : {false, true}) {
      const Sparse x(rng, 60, holes);
      std::vector<double> v(50);
      for (double& entry : v) entry = rng.normal();
      std::vector<Index> columns;
      for (Index j = 0; j < 60; j += 1 + static_cast<Index>(2 * rng.uniform())) columns.push_back(j);
      columns.push_back(59);
      std::vector<double> out(60, 7);
      taper::kernels::sparse_dots(x.ref(holes), columns, v.data(), out.data());
      for (Index j = 0; j < 60; ++j) {
        const auto at = static_cast<std::size_t>(j);
        if (std::ranges::find(columns, j) == columns.end()) {
          CHECK(out[at] == 7);
          continue;
        }
        long double sum = 0, size = 0;
        for (int k = x.begin[at]; k < x.begin[at] + x.count[at]; ++k) {
          const auto entry = static_cast<std::size_t>(k);
          const long double part =
              static_cast<long double>(x.values[entry]) * v[static_cast<std::size_t>(x.rows[entry])];
          sum += part;
          size += std::abs(part);
        }
        CHECK(std::abs(out[at] - sum) <= 4e-15L * size);
      }
    }
  });
}

TEST_CASE("products of sparse columns: a row that a column does not have does not touch it") {
  for_each_target([](const char*) {
    const double values[] = {1, 2, 3};
    const int rows[] = {1, 2, 3}, begin[] = {0, 3, 3};
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double v[] = {nan, 10, 20, 30, nan};
    double out[2] = {nan, nan};
    const Index columns[] = {0, 1};
    taper::kernels::sparse_dots({values, rows, begin, nullptr}, columns, v, out);
    CHECK(out[0] == 140);
    CHECK(out[1] == 0);
  });
}
