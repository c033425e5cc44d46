#include <taper/optim/lbfgs.hpp>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace taper::optim {
namespace {

using Constant = Eigen::Map<const Eigen::VectorXd>;

Constant map(std::span<const double> v) {
  return {v.data(), static_cast<Index>(v.size())};
}

}  // namespace

LBFGSHistory::LBFGSHistory(Index n, Index most)
    : n_(n),
      most_(most),
      steps_(static_cast<std::size_t>(n * most)),
      changes_(steps_.size()),
      curvature_(static_cast<std::size_t>(most)),
      weight_(curvature_.size()) {}

void LBFGSHistory::push(std::span<const double> step, std::span<const double> gradient_change) {
  const Constant s = map(step), y = map(gradient_change);
  const double size = y.stableNorm();
  if (!(size > 0 && std::isfinite(size))) return;
  // A factor that both have in common makes no difference to H. With one that makes y about as long as 1, no
  // square of it is out of range, and as a power of two it rounds nothing.
  const double factor = std::ldexp(1.0, -std::clamp(std::ilogb(size), -1000, 1000));
  const double curvature = (factor * s).dot(factor * y);
  const double lengths = (factor * s).stableNorm() * (factor * y).norm();
  if (!(curvature > 1e-16 * lengths && std::isfinite(curvature))) return;
  Eigen::Map<Eigen::VectorXd>(steps_.data() + next_ * n_, n_) = factor * s;
  Eigen::Map<Eigen::VectorXd>(changes_.data() + next_ * n_, n_) = factor * y;
  next_ = (next_ + 1) % most_;
  count_ = std::min(count_ + 1, most_);
}

void LBFGSHistory::multiply(std::span<double> v) {
  multiply(v, {});
}

void LBFGSHistory::multiply(std::span<double> v, std::span<const double> free) {
  Eigen::Map<Eigen::VectorXd> result(v.data(), n_);
  const Constant mask = map(free);
  const auto dot = [&](const Constant& a, const auto& b) {
    return free.empty() ? a.dot(b) : (a.array() * b.array() * mask.array()).sum();
  };
  const auto add = [&](double factor, const Constant& a) {
    if (free.empty()) {
      result += factor * a;
    } else {
      result.array() += factor * a.array() * mask.array();
    }
  };
  const auto slot = [&](Index age) { return (next_ - age + most_) % most_; };  // 1 is the youngest
  const auto step = [&](Index k) { return Constant(steps_.data() + k * n_, n_); };
  const auto change = [&](Index k) { return Constant(changes_.data() + k * n_, n_); };
  double scale = 1;
  bool scaled = false;
  for (Index age = 1; age <= count_; ++age) {
    const Index k = slot(age);
    const double curvature = curvature_[static_cast<std::size_t>(k)] = dot(step(k), change(k));
    if (!(curvature > 0)) continue;  // in a subspace a pair may have lost it
    if (!scaled) scale = curvature / dot(change(k), change(k));
    scaled = true;
    const double weight = weight_[static_cast<std::size_t>(k)] = dot(step(k), result) / curvature;
    add(-weight, change(k));
  }
  result *= scale;
  for (Index age = count_; age >= 1; --age) {
    const Index k = slot(age);
    const double curvature = curvature_[static_cast<std::size_t>(k)];
    if (!(curvature > 0)) continue;
    add(weight_[static_cast<std::size_t>(k)] - dot(change(k), result) / curvature, step(k));
  }
}

}  // namespace taper::optim
