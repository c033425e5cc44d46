#include <taper/optim/lbfgs.hpp>

namespace taper::optim {

LBFGSHistory::LBFGSHistory(Index n, Index most)
    : steps_(n, most),
      changes_(n, most),
      curvature_(static_cast<std::size_t>(most)),
      weight_(static_cast<std::size_t>(most)),
      most_(most) {}

void LBFGSHistory::push(const Eigen::VectorXd& step, const Eigen::VectorXd& gradient_change) {
  if (!(step.dot(gradient_change) > 1e-16 * step.norm() * gradient_change.norm())) return;
  steps_.col(next_) = step;
  changes_.col(next_) = gradient_change;
  next_ = (next_ + 1) % most_;
  count_ = std::min(count_ + 1, most_);
}

void LBFGSHistory::multiply(Eigen::VectorXd& v) {
  apply(v, nullptr);
}

void LBFGSHistory::multiply(Eigen::VectorXd& v, const Eigen::VectorXd& free) {
  apply(v, &free);
}

void LBFGSHistory::apply(Eigen::VectorXd& v, const Eigen::VectorXd* free) {
  const auto dot = [&](const auto& a, const auto& b) {
    return free == nullptr ? a.dot(b) : (a.array() * b.array() * free->array()).sum();
  };
  const auto slot = [&](Index age) { return (next_ - age + 2 * most_) % most_; };  // 1 is the youngest
  double scale = 1;
  bool scaled = false;
  for (Index age = 1; age <= count_; ++age) {
    const Index k = slot(age);
    const auto s = steps_.col(k), y = changes_.col(k);
    const double curvature = curvature_[static_cast<std::size_t>(k)] = dot(s, y);
    if (!(curvature > 0)) continue;  // in a subspace a pair may have lost it
    if (!scaled) scale = curvature / dot(y, y);
    scaled = true;
    const double weight = weight_[static_cast<std::size_t>(k)] = dot(s, v) / curvature;
    v -= weight * y;
    if (free != nullptr) v.array() *= free->array();
  }
  v *= scale;
  for (Index age = count_; age >= 1; --age) {
    const Index k = slot(age);
    const double curvature = curvature_[static_cast<std::size_t>(k)];
    if (!(curvature > 0)) continue;
    const double beta = dot(changes_.col(k), v) / curvature;
    v += (weight_[static_cast<std::size_t>(k)] - beta) * steps_.col(k);
    if (free != nullptr) v.array() *= free->array();
  }
}

}  // namespace taper::optim
