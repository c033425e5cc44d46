#include <taper/data/moments.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace taper::data {

// In quarters, of which no sum or difference here is beyond the range of double.
double mean_of(std::span<const double> numbers) {
  if (numbers.empty()) return 0;
  const auto n = static_cast<double>(numbers.size());
  double mean = 0;
  for (const double number : numbers) mean += number / 4 / n;
  double rest = 0;
  for (const double number : numbers) rest += (number / 4 - mean) / n;
  const auto [least, most] = std::ranges::minmax(numbers);
  return std::clamp(4 * (mean + rest), least, most);
}

double deviation_of(std::span<const double> numbers, double mean) {
  double most = 0;  // squares of what is far from 1 would leave the range
  for (const double number : numbers) most = std::max(most, std::abs(number / 4 - mean / 4));
  if (most == 0) return 0;
  double squares = 0;
  for (const double number : numbers) {
    const double share = (number / 4 - mean / 4) / most;
    squares += share * share;
  }
  const auto n = static_cast<double>(numbers.size());
  const double deviation = 4 * (std::sqrt(squares / n) * most);
  // What rounding of the mean leaves of a constant.
  return deviation <= 4 * std::numeric_limits<double>::epsilon() * std::abs(mean) ? 0 : deviation;
}

}  // namespace taper::data
