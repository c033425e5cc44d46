#pragma once

#include <span>
#include <vector>

#include <taper/autodiff/tensor.hpp>

namespace taper::data {

/// Brings each column to mean 0 and variance 1: z = (x - mean) / scale. As in scikit-learn, `scale` is the
/// square root of the population variance (divided by n), and 1 for a column that is constant up to rounding.
/// Fit it on the training rows, then transform training and test rows alike.
template <class T> class StandardScaler {
 public:
  /// Learns means and scales from x (n x d), in double precision. Throws Error unless x is a matrix with at
  /// least one row and finite entries.
  void fit(View<const T> x);

  /// Scales x (n x d, any n) in place, and back. Both throw Error before fit, or when d is not that of fit.
  void transform(View<T> x) const;
  void inverse(View<T> x) const;

  /// What was learned: d numbers each, in the units of x. Both throw Error before fit.
  std::span<const double> mean() const;
  std::span<const double> scale() const;

 private:
  void check_fitted() const;
  void check_columns(View<T> x) const;

  std::vector<double> mean_, scale_;
  bool fitted_ = false;
};

}  // namespace taper::data
