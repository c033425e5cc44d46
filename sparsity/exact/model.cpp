#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/sparsity/exact/model.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr Index panel = 64;  // columns of the Hessian at a time, so that their scaled copies stay in cache

}  // namespace

void Hessian::restart(const Eigen::VectorXd& weights) {
  weights_ = weights;
  columns_.clear();
  slots_.assign(static_cast<std::size_t>(problem_.columns()) + 1, -1);
}

void Hessian::copy(Index column, double* to) const {
  if (column == problem_.columns()) {
    std::fill_n(to, problem_.rows(), 1.0);
  } else {
    problem_.x.copy(column, to);
  }
}

void Hessian::grow(Index count) {
  if (count <= entries_.rows()) return;
  const Index room = std::max(count, 2 * entries_.rows());
  entries_.conservativeResize(room, room);
}

void Hessian::require(std::span<const Index> columns) {
  std::vector<Index> fresh;
  for (const Index j : columns) {
    Index& slot = slots_[static_cast<std::size_t>(j)];
    if (slot >= 0) continue;
    slot = static_cast<Index>(columns_.size() + fresh.size());
    fresh.push_back(j);
  }
  grow(static_cast<Index>(columns_.size() + fresh.size()));
  for (std::size_t begin = 0; begin < fresh.size(); begin += panel) {
    const auto some = std::span(fresh).subspan(begin, std::min<std::size_t>(panel, fresh.size() - begin));
    if (problem_.x.is_sparse()) {
      add_sparse(some);
    } else {
      add_dense(some);
    }
  }
}

void Hessian::add_dense(std::span<const Index> fresh) {
  const Index n = problem_.rows(), old = static_cast<Index>(columns_.size());
  const Index count = static_cast<Index>(fresh.size()), all = old + count;
  if (static_cast<Index>(gathered_.size()) < n * all) {
    gathered_.resize(static_cast<std::size_t>(n * std::min(2 * all, problem_.columns() + 1)));
  }
  Eigen::MatrixXd scaled(n, count);
  for (Index k = 0; k < count; ++k) {
    double* const to = gathered_.data() + (old + k) * n;
    copy(fresh[static_cast<std::size_t>(k)], to);
    scaled.col(k) = weights_.cwiseProduct(Eigen::Map<const Eigen::VectorXd>(to, n));
  }
  Matrix<double> products(all, count);
  kernels::gemm<double>(all, count, n, {gathered_.data(), n, 1}, {scaled.data(), 1, n}, products.data(),
                        count, false);
  entries_.block(0, old, all, count) = products;
  entries_.block(old, 0, count, old) = products.topRows(old).transpose();
  columns_.insert(columns_.end(), fresh.begin(), fresh.end());
}

void Hessian::add_sparse(std::span<const Index> fresh) {
  const Index n = problem_.rows(), p = problem_.columns();
  Eigen::VectorXd scaled(n);
  for (const Index j : fresh) {
    columns_.push_back(j);
    copy(j, scaled.data());
    scaled.array() *= weights_.array();
    const Index last = static_cast<Index>(columns_.size()) - 1;
    for (Index k = 0; k <= last; ++k) {
      const Index other = columns_[static_cast<std::size_t>(k)];
      const double product = other == p ? scaled.sum() : problem_.x.dot(other, scaled.data());
      entries_(k, last) = entries_(last, k) = product;
    }
  }
}

Eigen::MatrixXd Hessian::block(std::span<const Index> rows, std::span<const Index> columns) const {
  Eigen::MatrixXd result(static_cast<Index>(rows.size()), static_cast<Index>(columns.size()));
  for (Index k = 0; k < result.cols(); ++k) {
    const double* const from =
        entries_.col(slots_[static_cast<std::size_t>(columns[static_cast<std::size_t>(k)])]).data();
    for (Index i = 0; i < result.rows(); ++i) {
      result(i, k) = from[slots_[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])]];
    }
  }
  return result;
}

double Model::slope(Index k, const Eigen::VectorXd& of) const {
  if (written_out()) return of[k];
  double result = gradient0[k] + design->dot(columns[static_cast<std::size_t>(k)], of.data());
  if (cross.rows() > 0) result -= cross.col(k).dot(of.tail(cross.rows()));
  return result;
}

void Model::shift(Index k, double by) {
  if (written_out()) {
    kernels::scale(state.size(), by, h.col(k).data(), state.data(), true);
    return;
  }
  design->add_weighted(columns[static_cast<std::size_t>(k)], by, weights->data(), state.data());
  if (cross.rows() > 0) state.tail(cross.rows()) += by * elimination.col(k);
}

void Model::prepare() {
  w = w0;
  if (written_out()) {
    state = gradient0;
  } else {
    state.setZero(design->rows() + cross.rows());
  }
  Eigen::VectorXd scaled(written_out() ? 0 : design->rows());
  for (Block& block : blocks) {
    block.hessian.resize(block.size, block.size);
    for (Index k = 0; k < block.size; ++k) {
      if (written_out()) {
        block.hessian.col(k) = h.col(block.begin + k).segment(block.begin, block.size);
        continue;
      }
      const auto column = [&](Index i) { return columns[static_cast<std::size_t>(block.begin + i)]; };
      if (block.size == 1) {
        block.hessian(0, 0) = design->moments(column(0), weights->data()).square;
      } else {
        scaled.setZero();
        design->add_weighted(column(k), 1, weights->data(), scaled.data());
        for (Index i = 0; i < block.size; ++i) block.hessian(i, k) = design->dot(column(i), scaled.data());
      }
      for (Index i = 0; i < block.size && cross.rows() > 0; ++i) {
        block.hessian(i, k) -= cross.col(block.begin + i).dot(elimination.col(block.begin + k));
      }
    }
    const Eigen::MatrixXd& part = block.hessian;
    if (block.size == 1) {
      block.slope = std::max(part(0, 0), 0.0);
    } else if (block.size <= 64) {
      const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(part, Eigen::EigenvaluesOnly);
      block.slope = std::max(solver.eigenvalues().maxCoeff(), 0.0) * (1 + 1e-12);
    } else {
      block.slope = std::min(part.norm(), part.cwiseAbs().rowwise().sum().maxCoeff());
    }
  }
}

double Model::penalty(const Eigen::VectorXd& at) const {
  double total = 0;
  for (const Block& block : blocks) {
    const double norm =
        block.size == 1 ? std::abs(at[block.begin]) : at.segment(block.begin, block.size).norm();
    total += block.norm * norm + block.square / 2 * norm * norm;
  }
  return total;
}

/// Beyond what does not depend on w.
double Model::value(const Eigen::VectorXd& at, const Eigen::VectorXd& of) const {
  double total = 0;
  for (Index k = 0; k < at.size(); ++k) {
    if (at[k] != w0[k]) total += (at[k] - w0[k]) * (gradient0[k] + slope(k, of)) / 2;
  }
  return total + penalty(at);
}

double Model::update(const Block& block) {
  const double steep = block.slope + block.square;
  const auto share = [&](double violation) { return block.norm > 0 ? violation / block.norm : violation; };
  if (block.size == 1) {
    const Index j = block.begin;
    const double old = w[j], target = block.slope * old - slope(j, state);
    double fresh = 0;
    if (std::abs(target) > block.norm && steep > 0) {
      fresh = std::copysign(std::abs(target) - block.norm, target) / steep;
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
    const Eigen::VectorXd target = block.slope * now - slopes;
    const double norm = target.norm();
    Eigen::VectorXd fresh = Eigen::VectorXd::Zero(block.size);
    if (norm > block.norm && steep > 0) fresh = target * ((1 - block.norm / norm) / steep);
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

double Model::pass() {
  double violation = 0;
  for (const Block& block : blocks) violation = std::max(violation, update(block));
  return violation;
}

Index Model::minimize(double tolerance, Index limit) {
  // Anderson extrapolation: the combination of the last iterates, with coefficients that sum to one, whose
  // differences cancel best (Bertrand and Massias, 2021, algorithm 1). The state is affine in w, so it is
  // combined likewise. What is zero in all of them stays exactly zero.
  constexpr Index depth = 5;
  const Index m = w.size();
  Eigen::MatrixXd iterates(m, depth + 1), states(state.size(), depth + 1);
  Index kept = 0, last_gain = 0;
  double least = std::numeric_limits<double>::infinity();
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
    const Eigen::MatrixXd differences = iterates.rightCols(depth) - iterates.leftCols(depth);
    Eigen::MatrixXd square = transposed_times(differences, differences);
    square.diagonal().array() += 1e-12 * square.trace();
    const Eigen::LDLT<Eigen::MatrixXd> solver(square);
    Eigen::VectorXd c = solver.solve(Eigen::VectorXd::Ones(depth));
    c /= c.sum();
    if (!c.allFinite()) continue;
    const Eigen::VectorXd trial = iterates.rightCols(depth) * c, combined = states.rightCols(depth) * c;
    if (value(trial, combined) < value(w, state)) {
      w = trial;
      state = combined;
    }
  }
  return limit;
}

Eigen::MatrixXd transposed_times(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  Eigen::MatrixXd result(a.cols(), b.cols());  // which the kernel sees as its transpose, row by row
  kernels::gemm<double>(b.cols(), a.cols(), a.rows(), {b.data(), b.rows(), 1}, {a.data(), 1, a.rows()},
                        result.data(), a.cols(), false);
  return result;
}

Eigen::MatrixXd solve_semidefinite(const Eigen::MatrixXd& a, const Eigen::MatrixXd& b) {
  if (a.rows() == 0) return b;
  // With a diagonal of ones, so that what counts as singular does not depend on units.
  const Eigen::VectorXd scale =
      a.diagonal().unaryExpr([](double entry) { return entry > 0 ? 1 / std::sqrt(entry) : 0.0; });
  const Eigen::MatrixXd unit = scale.asDiagonal() * a * scale.asDiagonal();
  const Eigen::LLT<Eigen::MatrixXd> factors(unit);
  if (factors.info() == Eigen::Success && factors.rcond() > 1e-12) {
    return scale.asDiagonal() * factors.solve(scale.asDiagonal() * b);
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(unit);
  const double cutoff = 1e-12 * solver.eigenvalues().maxCoeff();
  const Eigen::VectorXd inverse =
      solver.eigenvalues().unaryExpr([=](double entry) { return entry > cutoff ? 1 / entry : 0.0; });
  const auto& vectors = solver.eigenvectors();
  const Eigen::MatrixXd inside = inverse.asDiagonal() * transposed_times(vectors, scale.asDiagonal() * b);
  return scale.asDiagonal() * transposed_times(vectors.transpose(), inside);
}

}  // namespace taper::sparsity::exact
