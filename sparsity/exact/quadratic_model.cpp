#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/sparsity/exact/quadratic_model.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity::exact {
namespace {

/// A fall of the objective, as a share of it, that is none of rounding.
constexpr double gain = 1e-13;

}  // namespace

double QuadraticModel::slope(Index k, const Eigen::VectorXd& of) const {
  if (written_out()) return of[k];
  double result = gradient0[k] + problem->x.dot(columns[static_cast<std::size_t>(k)], of.data());
  if (cross.rows() > 0) result -= cross.col(k).dot(of.tail(cross.rows()));
  return result;
}

void QuadraticModel::shift(Index k, double by) {
  if (written_out()) {
    kernels::scale(state.size(), by, h.col(k).data(), state.data(), true);
    return;
  }
  problem->x.add_weighted(columns[static_cast<std::size_t>(k)], by, weights->data(), state.data());
  if (cross.rows() > 0) state.tail(cross.rows()) += by * elimination.col(k);
}

void QuadraticModel::prepare() {
  const Index m = w0.size();
  w = w0;
  if (written_out()) {
    state = gradient0;
  } else {
    state.setZero(problem->rows() + cross.rows());
  }
  size_.resize(m);
  Eigen::VectorXd scaled(written_out() ? 0 : problem->rows());
  for (Block& block : blocks) {
    if (block.size == 1) {
      block.steepest = diagonal(block.begin);
      size_[block.begin] = std::sqrt(block.steepest);
      continue;
    }
    Eigen::MatrixXd& part = block.hessian;
    part.resize(block.size, block.size);
    for (Index k = 0; k < block.size; ++k) {
      if (written_out()) {
        part.col(k) = h.col(block.begin + k).segment(block.begin, block.size);
        continue;
      }
      const auto column = [&](Index i) { return columns[static_cast<std::size_t>(block.begin + i)]; };
      scaled.setZero();
      problem->x.add_weighted(column(k), 1, weights->data(), scaled.data());
      for (Index i = 0; i < block.size; ++i) {
        part(i, k) = problem->x.dot(column(i), scaled.data());
        if (cross.rows() > 0) part(i, k) -= cross.col(block.begin + i).dot(elimination.col(block.begin + k));
      }
    }
    size_.segment(block.begin, block.size) = part.diagonal().cwiseMax(0).cwiseSqrt();
    if (block.size <= 64) {
      const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(part, Eigen::EigenvaluesOnly);
      block.steepest = std::max(solver.eigenvalues().maxCoeff(), 0.0) * (1 + 1e-12);
    } else {
      block.steepest = std::min(part.norm(), part.cwiseAbs().rowwise().sum().maxCoeff());
    }
  }
}

/// Of H, not below 0.
double QuadraticModel::diagonal(Index k) const {
  if (written_out()) return std::max(h(k, k), 0.0);
  double result = problem->x.moments(columns[static_cast<std::size_t>(k)], weights->data()).square;
  if (cross.rows() > 0) result -= cross.col(k).dot(elimination.col(k));
  return std::max(result, 0.0);
}

double QuadraticModel::penalty(const Eigen::VectorXd& at) const {
  double total = 0;
  for (const Block& block : blocks) {
    const double norm =
        block.size == 1 ? std::abs(at[block.begin]) : at.segment(block.begin, block.size).norm();
    total += group_penalty(norm, block.l1, block.l2);
  }
  return total;
}

/// Beyond what does not depend on w.
double QuadraticModel::value(const Eigen::VectorXd& at, const Eigen::VectorXd& of) const {
  double total = 0;
  for (Index k = 0; k < at.size(); ++k) {
    if (at[k] != w0[k]) total += (at[k] - w0[k]) * (gradient0[k] + slope(k, of)) / 2;
  }
  return total + penalty(at);
}

double QuadraticModel::violation_of(const Block& block, double slope) const {
  if (block.l1 > 0) return slope / block.l1;
  return block.l2 > 0 ? slope * std::sqrt(per_square_ / (2 * block.l2)) : slope;
}

double QuadraticModel::update(const Block& block) {
  const double steep = block.steepest + block.l2;
  const auto share = [&](double slope) { return violation_of(block, slope); };
  if (block.size == 1) {
    const Index j = block.begin;
    const double old = w[j], target = block.steepest * old - slope(j, state);
    double fresh = 0;
    if (std::abs(target) > block.l1 && steep > 0) {
      fresh = std::copysign(std::abs(target) - block.l1, target) / steep;
    }
    if (fresh == old) return 0;
    shift(j, fresh - old);
    w[j] = fresh;
    return share(std::abs(fresh - old) * steep);
  }

  // Steps of the proximal gradient method on the block, which settle it while the rest stands still.
  const Eigen::VectorXd old = w.segment(block.begin, block.size);
  Eigen::VectorXd now = old, slopes(block.size);
  for (Index k = 0; k < block.size; ++k) slopes[k] = slope(block.begin + k, state);
  double first = 0;
  for (int step = 0; step < 10; ++step) {
    const Eigen::VectorXd target = block.steepest * now - slopes;
    const double norm = target.norm();
    Eigen::VectorXd fresh = Eigen::VectorXd::Zero(block.size);
    if (steep > 0) fresh = target * (shrinkage(norm, block.l1) / steep);
    const double moved = (fresh - now).norm() * steep;
    if (step == 0) first = moved;
    if (moved == 0) break;
    slopes.noalias() += block.hessian * (fresh - now);
    now = fresh;
    if (moved <= 0.1 * first && step > 0) break;
  }
  for (Index k = 0; k < block.size; ++k) {
    if (now[k] != old[k]) shift(block.begin + k, now[k] - old[k]);
  }
  w.segment(block.begin, block.size) = now;
  return share(first);
}

double QuadraticModel::pass() {
  double violation = 0;
  for (const Block& block : blocks) violation = std::max(violation, update(block));
  return violation;
}

/// Anderson extrapolation: the combination of the last iterates, with coefficients that sum to one, whose
/// differences cancel best (Bertrand and Massias, 2021, algorithm 1). The state is affine in w, so it is
/// combined likewise. What is zero in all of them stays exactly zero.
void QuadraticModel::extrapolate(const Eigen::MatrixXd& iterates, const Eigen::MatrixXd& states) {
  const Index depth = iterates.cols() - 1;
  const Eigen::MatrixXd differences =
      size_.asDiagonal() * (iterates.rightCols(depth) - iterates.leftCols(depth));
  Eigen::MatrixXd square = transposed_times(differences, differences);
  square.diagonal().array() += 1e-12 * square.trace();
  const Eigen::LDLT<Eigen::MatrixXd> solver(square);
  Eigen::VectorXd c = solver.solve(Eigen::VectorXd::Ones(depth));
  c /= c.sum();
  if (!c.allFinite()) return;
  const Eigen::VectorXd trial = iterates.rightCols(depth) * c, combined = states.rightCols(depth) * c;
  if (value(trial, combined) < value(w, state)) {
    w = trial;
    state = combined;
  }
}

/// Multiplications of a pass, about.
double QuadraticModel::pass_cost() const {
  double cost = 0;
  const double m = static_cast<double>(w.size());
  for (Index k = 0; k < w.size(); ++k) {
    if (written_out()) {
      cost += w[k] != 0 ? m : 1;
    } else {
      cost +=
          static_cast<double>((w[k] != 0 ? 2 : 1) * problem->x.entries(columns[static_cast<std::size_t>(k)]));
    }
  }
  return cost;
}

Index QuadraticModel::minimize(double tolerance, double gap, Index limit) {
  per_square_ = tolerance * tolerance * static_cast<double>(blocks.size()) / std::max(gap, 1e-300);
  constexpr Index depth = 5;
  Eigen::MatrixXd iterates(w.size(), depth + 1), states(state.size(), depth + 1);
  Index kept = 0, last_gain = 0;
  double least = std::numeric_limits<double>::infinity(), budget = 0;
  for (Index count = 1; count <= limit; ++count) {
    if (kept == 0) {
      iterates.col(0) = w;
      states.col(0) = state;
      kept = 1;
    }
    const double violation = pass();
    if (violation <= tolerance) return count;
    // Where nothing is gained for long, rounding sets the limit, and more passes only add to it.
    if (violation < 0.7 * least) {
      least = violation;
      last_gain = count;
    } else if (count - last_gain >= 300) {
      return count;
    }
    iterates.col(kept) = w;
    states.col(kept) = state;
    if (++kept <= depth) continue;
    kept = 0;
    extrapolate(iterates, states);
    // Newton steps may take as long as the passes have.
    budget += static_cast<double>(depth) * pass_cost();
    const double before = value(w, state);
    budget -= newton_on_support(budget, tolerance);
    if (before - value(w, state) > gain * std::abs(before)) last_gain = count;
  }
  return limit;
}

}  // namespace taper::sparsity::exact
