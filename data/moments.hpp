#pragma once

#include <span>

namespace taper::data {

/// The mean of some numbers. No sum or difference is beyond the range of double where the numbers are not,
/// and the mean is not beyond the least and the largest of them. 0 for no numbers.
double mean_of(std::span<const double> numbers);

/// The root of the population variance (divided by n), around their mean; 0 for numbers that are all equal up
/// to rounding. Like mean_of it holds for numbers of any size; infinity where it is itself beyond double.
double deviation_of(std::span<const double> numbers, double mean);

}  // namespace taper::data
