#pragma once

#include <cstdint>
#include <utility>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// Deals the rows at random into a training set and a test set, in this order. The test set gets
/// test_fraction * rows, rounded to the nearest whole number. Which rows, and in which order, depends only on
/// the seed and the number of rows. Throws Error for a fraction outside (0, 1), and when a set would be
/// empty.
template <class T>
std::pair<Dataset<T>, Dataset<T>> train_test_split(const Dataset<T>& data, double test_fraction,
                                                   std::uint64_t seed);

}  // namespace taper::data
