#include <cmath>

#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

/// What may be left of the slope of what is not penalized, as a share of its terms. The gap suffers by its
/// square only, as project() takes it out of the dual point.
constexpr double balanced = 1e-9;
/// A logistic loss that counts as none.
constexpr double nothing = 1e-20;

}  // namespace

Eigen::MatrixXd Solver::free_hessian() const {
  if (free_columns_.cols() == 1) {
    return Eigen::MatrixXd::Constant(1, 1, free_columns_.col(0).cwiseAbs2().dot(curvature_));
  }
  return transposed_times(free_columns_, curvature_.asDiagonal() * free_columns_);
}

/// Fits what is not penalized, the rest standing still: Newton's method, halved until the loss falls. Where
/// the logistic loss has saturated, its curvature says nothing about the way back, and a majorant does.
void Solver::fit_unpenalized() {
  if (free_.empty()) return;
  const bool logistic = problem_.kind == ConvexLoss::logistic;
  for (int round = 0; round < 100; ++round) {
    // Separable labels: the loss falls to 0 and its slope is never balanced.
    if (logistic && loss_ <= std::max(0.1 * tolerance_, nothing)) return;
    const Eigen::VectorXd gradient = free_columns_.transpose() * residual_;
    const Eigen::VectorXd size = free_columns_.cwiseAbs().transpose() * residual_.cwiseAbs();
    if (((gradient.array().abs() - balanced * size.array()) <= 0).all()) return;
    const Eigen::VectorXd before = z_;
    const double loss = loss_;
    Eigen::VectorXd step;
    double t = 0;
    for (const bool careful : {false, true}) {
      if (careful) problem_.majorant(z_, curvature_);
      step = solve_semidefinite(free_hessian(), gradient);
      const Eigen::VectorXd direction = free_columns_ * step;
      const double slope = gradient.dot(step), least = careful || !logistic ? 1e-9 : 1e-3;
      for (t = slope > 0 ? 1 : 0; t >= least; t /= 2) {
        z_ = before + t * direction;
        update_residual();
        if (loss_ <= loss - 1e-4 * t * slope + rounding * std::abs(loss)) break;
      }
      if (t >= least) break;
      t = 0;
      z_ = before;
      update_residual();
      if (!logistic) break;
    }
    if (t == 0) return;
    for (std::size_t k = 0; k < free_.size(); ++k) {
      double& target = free_[k] == problem_.columns() ? b_ : w(free_[k]);
      target += t * step[static_cast<Index>(k)];
    }
    if (!logistic && round > 1) return;  // one step is exact, one more for rounding
  }
}

/// theta: the residuals, made orthogonal to what is not penalized by a Newton step of the dual, which keeps
/// them inside of the dual's domain.
void Solver::project() {
  theta_ = residual_;
  feasible_ = true;
  if (free_.empty()) return;
  const Eigen::MatrixXd hessian = free_hessian();
  for (int round = 0; round < 2; ++round) {
    const Eigen::VectorXd excess = free_columns_.transpose() * theta_;
    theta_ -= curvature_.cwiseProduct(free_columns_ * solve_semidefinite(hessian, excess));
  }
  const Eigen::VectorXd excess = free_columns_.transpose() * theta_;
  const Eigen::VectorXd size = free_columns_.cwiseAbs().transpose() * theta_.cwiseAbs();
  feasible_ = ((excess.array().abs() - balanced * size.array()) <= 0).all();
}

}  // namespace taper::sparsity::exact
