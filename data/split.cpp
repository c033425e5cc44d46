#include <taper/data/split.hpp>

#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {

template <class T>
std::pair<Dataset<T>, Dataset<T>> train_test_split(const Dataset<T>& data, double test_fraction,
                                                   std::uint64_t seed) {
  if (!(test_fraction > 0 && test_fraction < 1)) {
    throw Error("train_test_split", "test fraction ", test_fraction,
                ": expected more than 0 and less than 1");
  }
  const Index n = data.rows();
  const auto test_rows = static_cast<Index>(std::llround(test_fraction * static_cast<double>(n)));
  if (test_rows == 0 || test_rows == n) {
    throw Error("train_test_split", "test fraction ", test_fraction, " of ", n, " rows leaves ",
                n - test_rows, " for training and ", test_rows,
                " for testing: expected at least one in each");
  }
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  Rng(seed).shuffle(order.begin(), order.end());
  const std::span<const Index> all(order);
  const auto test = static_cast<std::size_t>(test_rows);
  return {rows(data, all.subspan(test)), rows(data, all.first(test))};
}

#define TAPER_INSTANTIATE(T) \
  template std::pair<Dataset<T>, Dataset<T>> train_test_split(const Dataset<T>&, double, std::uint64_t);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data
