#include <algorithm>
#include <cmath>

#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

/// What may be left of the quadratic model's own gap, as a share of what is asked for.
constexpr double model_share = 0.3;

}  // namespace

/// Moves to the minimum of the quadratic model over the working set, or part of the way. Returns whether the
/// objective fell, up to rounding.
bool Solver::newton_step(double gap, double tolerance, Index limit) {
  settled_ = false;
  std::vector<Index> columns;
  QuadraticModel model(scratch_);
  double norms = 0, length = 0;
  for (const Index g : working_) {
    const auto members = problem_.columns_of(g);
    model.blocks.push_back(
        {static_cast<Index>(columns.size()), static_cast<Index>(members.size()), l1(g), l2(g), 0, {}});
    columns.insert(columns.end(), members.begin(), members.end());
    for (const Index j : members) length += static_cast<double>(problem_.x.entries(j));
  }
  const Index m = static_cast<Index>(columns.size());
  // A pass reads a column twice when H is not written out, and a sparse one at random.
  if (static_cast<double>(m) * static_cast<double>(m) <= 8 * length) {
    if (hessian_.empty()) {
      hessian_.restart(curvature_, basis_);
      stale_ = false;
    }
    hessian_.require(columns);
    hessian_.block(columns, model.h);
  }
  if (basis_.cols() > 0) {
    const Eigen::VectorXd& weights = model.h.size() > 0 ? hessian_.weights() : curvature_;
    if (model.h.size() > 0) {
      model.cross = hessian_.beside(columns);
    } else {
      model.cross.resize(basis_.cols(), m);
      for (Index k = 0; k < basis_.cols(); ++k) {
        const Eigen::VectorXd weighted = weights.cwiseProduct(basis_.col(k));
        for (Index i = 0; i < m; ++i) {
          model.cross(k, i) = problem_.x.dot(columns[static_cast<std::size_t>(i)], weighted.data());
        }
      }
    }
    model.elimination = solve_semidefinite(basis_hessian(weights), model.cross);
    if (model.h.size() > 0) subtract_transposed_times(model.cross, model.elimination, model.h);
  }
  model.problem = &problem_;
  model.products = &hessian_;
  model.basis = &basis_;
  model.weights = &curvature_;
  model.columns = columns;
  model.w0.resize(m);
  model.gradient0.resize(m);
  for (Index k = 0; k < m; ++k) {
    model.w0[k] = w(columns[static_cast<std::size_t>(k)]);
    model.gradient0[k] = -slope(columns[static_cast<std::size_t>(k)]);
  }
  model.prepare();
  for (const QuadraticModel::Block& block : model.blocks) {
    norms += block.l1 * model.w0.segment(block.begin, block.size).norm();
  }
  // A small violation, as a share v of the penalty, costs about v sum(norms) of the gap.
  const double target = model_share * std::max(tolerance, 0.01 * gap);
  const double violation = std::min(0.01, target / std::max(norms, 0.01 * primal()));
  iterations_ += model.minimize(violation, target, std::max<Index>(limit, 1));

  const Eigen::VectorXd d = model.w - model.w0;
  Eigen::VectorXd direction = Eigen::VectorXd::Zero(problem_.rows()), free_step;
  for (Index k = 0; k < m; ++k) {
    if (d[k] != 0) add(columns[static_cast<std::size_t>(k)], d[k], direction);
  }
  if (basis_.cols() > 0) {
    free_step = -(model.elimination * d);
    direction.noalias() += basis_ * free_step;
  }

  const Eigen::VectorXd before = z_;
  const double start = loss_, start_penalty = model.penalty(model.w0);
  const double decrease = model.gradient0.dot(d) + model.penalty(model.w) - start_penalty;
  // Not down, by more than rounding: a Hessian that says nothing here.
  if (problem_.kind == ConvexLoss::logistic && !(decrease <= rounding * (start + start_penalty)))
    return false;
  double t = 1;
  for (;; t /= 2) {
    if (t < 1e-9) {
      z_ = before;
      update_residual();
      return false;
    }
    z_ = before + t * direction;
    update_residual();
    if (problem_.kind == ConvexLoss::squared) break;  // the model is exact
    const double fresh = loss_ + (t == 1 ? model.penalty(model.w) : model.penalty(model.w0 + t * d));
    const double old = start + start_penalty;
    if (fresh <= old + 1e-4 * t * decrease + rounding * std::abs(old)) break;
  }
  for (Index k = 0; k < m; ++k) {
    w(columns[static_cast<std::size_t>(k)]) = t == 1 ? model.w[k] : model.w0[k] + t * d[k];
  }
  if (basis_.cols() > 0) move_free(t * free_step);
  stale_ = problem_.kind != ConvexLoss::squared;
  return true;
}

}  // namespace taper::sparsity::exact
