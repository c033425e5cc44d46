#pragma once

#include <span>
#include <vector>

#include <taper/autodiff/shape.hpp>

namespace taper::optim {

/// The memory of L-BFGS: the last steps and the changes of the gradient along them, from which it multiplies
/// by an approximate inverse Hessian (Nocedal, 1980). All memory is taken at the start.
class LBFGSHistory {
 public:
  /// For n variables; keeps `most` pairs.
  LBFGSHistory(Index n, Index most);

  bool empty() const { return count_ == 0; }
  void clear() { count_ = 0; }
  /// Stores a pair in place of the oldest one, unless its curvature is not clearly positive.
  void push(std::span<const double> step, std::span<const double> gradient_change);
  /// v = H v, by the two-loop recursion.
  void multiply(std::span<double> v);
  /// The same in the subspace of the entries with free[i] != 0; the others of v must be zero and stay so.
  void multiply(std::span<double> v, std::span<const double> free);

 private:
  Index n_, most_, count_ = 0, next_ = 0;
  std::vector<double> steps_, changes_;  // n for each pair
  std::vector<double> curvature_, weight_;
};

}  // namespace taper::optim
