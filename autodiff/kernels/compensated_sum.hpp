#pragma once

#include <cmath>

namespace taper::kernels {

/// A sum without the rounding of its partial sums (Kahan, 1965, as Neumaier has it): a gap is the small
/// difference of two sums, and a line search compares them up to the last digits.
class CompensatedSum {
 public:
  void operator+=(double x) {
    const double sum = sum_ + x;
    lost_ += std::abs(sum_) >= std::abs(x) ? (sum_ - sum) + x : (x - sum) + sum_;
    sum_ = sum;
  }
  /// Adds a b, the rounding of the product included.
  void add_product(double a, double b) {
    const double product = a * b;
    operator+=(product);
    if (product != 0) lost_ += std::fma(a, b, -product);
  }
  double value() const { return sum_ + lost_; }

 private:
  double sum_ = 0, lost_ = 0;
};

}  // namespace taper::kernels
