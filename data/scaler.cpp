#include <taper/data/scaler.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

/// Calls visit(entry, column) for every entry of a matrix, row by row.
template <class T, class Visit> void for_each_entry(View<T> x, Visit visit) {
  const Index rows = x.shape()[0];
  const auto columns = static_cast<std::size_t>(x.shape()[1]);
  T* entry = x.data();
  for (Index row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) visit(*entry++, column);
  }
}

}  // namespace

template <class T> void StandardScaler<T>::fit(View<const T> x) {
  if (x.shape().rank() != 2 || x.shape()[0] == 0) {
    throw Error("scaler", "cannot fit to x of shape ", x.shape(),
                ": expected a matrix with at least one row");
  }
  const auto n = static_cast<double>(x.shape()[0]);
  const auto d = static_cast<std::size_t>(x.shape()[1]);

  // Two passes: sums of squares around the mean do not cancel as those around zero would.
  std::vector<double> mean(d), scale(d);
  for_each_entry(x, [&](T entry, std::size_t column) { mean[column] += static_cast<double>(entry); });
  for (double& entry : mean) entry /= n;
  for_each_entry(x, [&](T entry, std::size_t column) {
    const double difference = static_cast<double>(entry) - mean[column];
    scale[column] += difference * difference;
  });
  for (std::size_t column = 0; column < d; ++column) {
    const double variance = scale[column] / n;
    if (!std::isfinite(variance)) {
      throw Error("scaler", "column ", column, " (counted from 0) of x ", x.shape(),
                  " has entries that are infinite, not a number, or too large to square");
    }
    // The rounding error that the two sums may leave in the variance of a constant column.
    constexpr double epsilon = std::numeric_limits<double>::epsilon();
    const double mean_error = n * epsilon * mean[column];
    const bool constant = variance <= n * epsilon * variance + mean_error * mean_error;
    scale[column] = constant ? 1 : std::sqrt(variance);
  }
  mean_ = std::move(mean);
  scale_ = std::move(scale);
  fitted_ = true;
}

template <class T> void StandardScaler<T>::transform(View<T> x) const {
  check_columns(x);
  for_each_entry(x, [&](T& entry, std::size_t column) {
    entry = static_cast<T>((static_cast<double>(entry) - mean_[column]) / scale_[column]);
  });
}

template <class T> void StandardScaler<T>::inverse(View<T> x) const {
  check_columns(x);
  for_each_entry(x, [&](T& entry, std::size_t column) {
    entry = static_cast<T>(static_cast<double>(entry) * scale_[column] + mean_[column]);
  });
}

template <class T> std::span<const double> StandardScaler<T>::mean() const {
  check_fitted();
  return mean_;
}

template <class T> std::span<const double> StandardScaler<T>::scale() const {
  check_fitted();
  return scale_;
}

template <class T> void StandardScaler<T>::check_fitted() const {
  if (!fitted_) throw Error("scaler", "used before fit: expected a call of fit first");
}

template <class T> void StandardScaler<T>::check_columns(View<T> x) const {
  check_fitted();
  if (x.shape().rank() != 2 || x.shape()[1] != static_cast<Index>(mean_.size())) {
    throw Error("scaler", "x of shape ", x.shape(), " does not fit: expected a matrix with ", mean_.size(),
                " columns, as in fit");
  }
}

TAPER_INSTANTIATE_CLASS(StandardScaler)

}  // namespace taper::data
