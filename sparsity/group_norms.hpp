#pragma once

#include <cmath>
#include <ranges>
#include <span>

/// The norm of a group, its penalty and its proximal step: one home for exact solvers, smooth solver and
/// networks.
namespace taper::sparsity {

/// The norm of a group that has one more number, without overflow and underflow of squares; of one number it
/// is |x|.
inline void add_to_norm(double& norm, double x) {
  norm = std::hypot(norm, x);
}

/// ||w||_2, likewise.
template <std::ranges::input_range Numbers> double group_norm(const Numbers& w) {
  double norm = 0;
  for (const auto x : w) add_to_norm(norm, static_cast<double>(x));
  return norm;
}

/// l1 ||w|| + l2/2 ||w||^2 of a group with this norm.
inline double group_penalty(double norm, double l1, double l2 = 0) {
  return l1 * norm + l2 / 2 * norm * norm;
}

/// What the proximal step of that penalty multiplies a group by whose norm is `norm`: max(0, 1 - l1 / norm) /
/// (1 + l2) (Parikh and Boyd, "Proximal algorithms", 2014, sections 6.5.1 and 6.5.4).
inline double shrinkage(double norm, double l1, double l2 = 0) {
  return norm > l1 ? (1 - l1 / norm) / (1 + l2) : 0;
}

/// w <- that multiple of w; exact zeros where it is 0.
inline void shrink_group(std::span<double> w, double l1, double l2 = 0) {
  const double by = shrinkage(group_norm(w), l1, l2);
  for (double& x : w) x = by == 0 ? 0 : by * x;
}

}  // namespace taper::sparsity
