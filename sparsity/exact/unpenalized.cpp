#include <Eigen/QR>
#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/compensated_sum.hpp>
#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

/// What may be left of the slope of what is not penalized, as a share of its terms. The gap suffers by its
/// square only, as project() takes it out of the dual point.
constexpr double balanced = 1e-9;
/// A logistic loss that counts as none.
constexpr double nothing = 1e-20;

}  // namespace

void Solver::use_free(std::vector<Index> free) {
  if (free == free_) return;
  free_ = std::move(free);
  settled_ = false;
  reference_.resize(0);
  hessian_.forget();
  const Index n = problem_.rows(), count = static_cast<Index>(free_.size());
  free_columns_.resize(0, 0);
  if (count == 0) {
    basis_.resize(n, 0);
    basis_coefficients_.resize(0, 0);
    return;
  }
  Eigen::MatrixXd columns = Eigen::MatrixXd::Zero(n, count);
  for (Index k = 0; k < count; ++k) {
    Eigen::VectorXd column = Eigen::VectorXd::Zero(n);
    add(free_[static_cast<std::size_t>(k)], 1, column);
    columns.col(k) = column;
  }
  if (count == 1 && free_[0] == problem_.columns()) {
    basis_ = columns;
    basis_coefficients_ = Eigen::MatrixXd::Ones(1, 1);
    return;
  }
  const Eigen::VectorXd root = problem_.s.cwiseSqrt();
  const Eigen::MatrixXd weighted = root.asDiagonal() * columns;
  const Eigen::VectorXd scale =
      weighted.colwise().norm().transpose().unaryExpr([](double norm) { return norm > 0 ? 1 / norm : 0.0; });
  Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr;
  qr.setThreshold(4 * static_cast<double>(n + count) * std::numeric_limits<double>::epsilon());
  qr.compute(weighted * scale.asDiagonal());
  const Index rank = qr.rank();
  Eigen::MatrixXd upper = Eigen::MatrixXd::Zero(count, rank);
  upper.topRows(rank) = qr.matrixR()
                            .topLeftCorner(rank, rank)
                            .template triangularView<Eigen::Upper>()
                            .solve(Eigen::MatrixXd::Identity(rank, rank));
  basis_coefficients_ = scale.asDiagonal() * (qr.colsPermutation() * upper);
  free_columns_ = std::move(columns);
  basis_ = of_free(basis_coefficients_);
}

/// What the free columns come to with these coefficients, a vector for each column of them. Of columns that
/// all but depend on each other large coefficients cancel, and the gap is that of what is left: it must have
/// all its digits.
Eigen::MatrixXd Solver::of_free(const Eigen::MatrixXd& coefficients) const {
  Eigen::MatrixXd result(free_columns_.rows(), coefficients.cols());
  for (Index k = 0; k < result.cols(); ++k) {
    for (Index i = 0; i < result.rows(); ++i) {
      kernels::CompensatedSum sum;
      for (Index j = 0; j < free_columns_.cols(); ++j)
        sum.add_product(free_columns_(i, j), coefficients(j, k));
      result(i, k) = sum.value();
    }
  }
  return result;
}

Eigen::MatrixXd Solver::basis_hessian(const Eigen::VectorXd& weights) const {
  if (basis_.cols() == 1) {
    return Eigen::MatrixXd::Constant(1, 1, basis_.col(0).cwiseAbs2().dot(weights));
  }
  return transposed_times(basis_, weights.asDiagonal() * basis_);
}

void Solver::move_free(const Eigen::VectorXd& along_basis) {
  const Eigen::VectorXd by = basis_coefficients_ * along_basis;
  for (std::size_t k = 0; k < free_.size(); ++k) {
    (free_[k] == problem_.columns() ? b_ : w(free_[k])) += by[static_cast<Index>(k)];
  }
}

/// Fits what is not penalized, the rest standing still: Newton's method, halved until the loss falls. Where
/// the logistic loss has saturated, its curvature says nothing about the way back, and a majorant does.
/// Returns whether anything has moved.
bool Solver::fit_unpenalized() {
  if (free_.empty()) return false;
  const bool logistic = problem_.kind == ConvexLoss::logistic;
  bool moved = false;
  for (int round = 0; round < 100; ++round) {
    // Separable labels: the loss falls to 0 and its slope is never balanced.
    if (logistic && loss_ <= std::max(0.1 * tolerance_, nothing)) return moved;
    const Eigen::VectorXd gradient = basis_.transpose() * residual_;
    const Eigen::VectorXd size = basis_.cwiseAbs().transpose() * residual_.cwiseAbs();
    if (((gradient.array().abs() - balanced * size.array()) <= 0).all()) return moved;
    const Eigen::VectorXd before = z_;
    const double loss = loss_;
    Eigen::VectorXd step;
    double t = 0;
    for (const bool careful : {false, true}) {
      if (careful) problem_.majorant(z_, curvature_);
      step = solve_semidefinite(basis_hessian(curvature_), gradient);
      const Eigen::VectorXd direction = basis_ * step;
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
    if (t == 0) return moved;
    move_free(t * step);
    moved = true;
    if (!logistic && round > 1) return moved;  // one step is exact, one more for rounding
  }
  return moved;
}

/// theta: the residuals, made orthogonal to what is not penalized by a Newton step of the dual, which keeps
/// them inside of the dual's domain.
void Solver::project() {
  theta_ = residual_;
  feasible_ = true;
  if (free_.empty()) return;
  const Eigen::MatrixXd hessian = basis_hessian(curvature_);
  for (int round = 0; round < 2; ++round) {
    const Eigen::VectorXd excess = basis_.transpose() * theta_;
    theta_ -= curvature_.cwiseProduct(basis_ * solve_semidefinite(hessian, excess));
  }
  const Eigen::VectorXd excess = basis_.transpose() * theta_;
  const Eigen::VectorXd size = basis_.cwiseAbs().transpose() * theta_.cwiseAbs();
  feasible_ = ((excess.array().abs() - balanced * size.array()) <= 0).all();
}

}  // namespace taper::sparsity::exact
