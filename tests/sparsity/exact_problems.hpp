#pragma once

#include <Eigen/Core>
#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>

#include <taper/autodiff/random.hpp>
#include <taper/sparsity/exact.hpp>

/// Coefficients and intercept.
struct Point {
  Eigen::VectorXd w;
  double b = 0;
};

/// A small random problem, with a plain solver and the optimality conditions to compare with.
struct Case {
  using VectorXd = Eigen::VectorXd;
  using Index = taper::Index;
  using ConvexLoss = taper::sparsity::ConvexLoss;

  Case(Index n, Index p, ConvexLoss kind, taper::Rng& rng) : x(n, p), y(n), loss(kind) {
    // A third of the entries, as the same problem is solved as a sparse one.
    for (double& entry : x.reshaped()) entry = rng.uniform() < 0.35 ? rng.normal() + 0.3 : 0;
    for (Index i = 0; i < n; ++i) {
      const double z = x(i, 0) - 2 * x(i, 1) + x(i, p / 2) + 0.5 * rng.normal() + 0.4;
      y[i] = kind == ConvexLoss::squared ? z : (z > 0) != (rng.uniform() < 0.1);
    }
  }

  Eigen::SparseMatrix<double> sparse() const {
    Eigen::SparseMatrix<double> result = x.sparseView();
    for (Index j = 0; j < x.cols(); ++j) {
      for (Index i = 0; i < x.rows(); ++i) {
        if (std::isnan(x(i, j))) result.coeffRef(i, j) = x(i, j);
      }
    }
    result.makeCompressed();
    return result;
  }

  VectorXd sample_weights() const {
    VectorXd s = VectorXd::Ones(x.rows());
    if (!options.sample_weights.empty())
      s = Eigen::Map<const VectorXd>(options.sample_weights.data(), s.size());
    return s / s.sum();
  }
  std::size_t group(Index j) const {
    return static_cast<std::size_t>(options.groups.empty() ? j : options.groups[static_cast<std::size_t>(j)]);
  }
  std::size_t groups() const {
    std::size_t count = 0;
    for (Index j = 0; j < x.cols(); ++j) count = std::max(count, group(j) + 1);
    return count;
  }
  double weight(std::size_t g) const { return options.weights.empty() ? 1 : options.weights[g]; }
  bool is_free(Index j) const { return !options.mask || options.mask->is_free(j); }
  /// The norms of all groups, of the free coefficients or of all.
  VectorXd norms(const VectorXd& w, bool all = true) const {
    VectorXd result = VectorXd::Zero(static_cast<Index>(groups()));
    for (Index j = 0; j < x.cols(); ++j) {
      if (all || is_free(j)) result[static_cast<Index>(group(j))] += w[j] * w[j];
    }
    return result.cwiseSqrt();
  }

  double objective(const Point& at, double lambda) const {
    const VectorXd z = (x * at.w).array() + at.b, s = sample_weights();
    double total = 0;
    for (Index i = 0; i < y.size(); ++i) {
      total += s[i] * (loss == ConvexLoss::squared ? (y[i] - z[i]) * (y[i] - z[i]) / 2
                                                   : std::log1p(std::exp(z[i])) - y[i] * z[i]);
    }
    const VectorXd norm = norms(at.w);
    for (Index g = 0; g < norm.size(); ++g) {
      total += lambda * weight(static_cast<std::size_t>(g)) *
               (options.ratio * norm[g] + (1 - options.ratio) / 2 * norm[g] * norm[g]);
    }
    return total;
  }

  /// Of the loss.
  Point gradient(const Point& at) const {
    const VectorXd z = (x * at.w).array() + at.b;
    VectorXd r = z - y;
    if (loss == ConvexLoss::logistic) r = (1 / (1 + (-z.array()).exp())).matrix() - y;
    r.array() *= sample_weights().array();
    return {x.transpose() * r, r.sum()};
  }

  /// FISTA with restarts (Beck and Teboulle, 2009; O'Donoghue and Candes, 2015).
  Point proximal_gradient(double lambda, int steps) const {
    const VectorXd s = sample_weights();
    const double trace = (s.asDiagonal() * x.cwiseAbs2()).sum() + 1;
    const double step = (loss == ConvexLoss::squared ? 1 : 4) / trace;
    Point now{VectorXd::Zero(x.cols()), options.start_intercept};
    if (!options.start.empty()) now.w = Eigen::Map<const VectorXd>(options.start.data(), x.cols());
    Point ahead = now;
    double speed = 1;
    for (int k = 0; k < steps; ++k) {
      const Point slope = gradient(ahead);
      Point next = ahead;
      if (options.intercept) next.b -= step * slope.b;
      for (Index j = 0; j < x.cols(); ++j) {
        if (is_free(j)) next.w[j] -= step * slope.w[j];
      }
      const VectorXd norm = norms(next.w, false);
      for (Index j = 0; j < x.cols(); ++j) {
        if (!is_free(j)) continue;
        const double by = step * lambda * weight(group(j)), size = norm[static_cast<Index>(group(j))];
        next.w[j] *=
            std::max(0.0, 1 - by * options.ratio / std::max(size, 1e-300)) / (1 + by * (1 - options.ratio));
      }
      const double turn = (ahead.w - next.w).dot(next.w - now.w) + (ahead.b - next.b) * (next.b - now.b);
      if (turn > 0) speed = 1;
      const double faster = (1 + std::sqrt(1 + 4 * speed * speed)) / 2, momentum = (speed - 1) / faster;
      if ((next.w - now.w).cwiseAbs().maxCoeff() < 1e-13 && std::abs(next.b - now.b) < 1e-13) return next;
      ahead = {next.w + momentum * (next.w - now.w), next.b + momentum * (next.b - now.b)};
      speed = faster;
      now = next;
    }
    return now;
  }

  /// The largest violation of the optimality conditions: of a group at zero, ||gradient|| <= lambda weight
  /// ratio; of another, gradient + lambda weight (ratio w / ||w|| + (1 - ratio) w) = 0.
  double violation(const Point& at, double lambda) const {
    const Point slope = gradient(at);
    const VectorXd norm = norms(at.w, false), steep = norms(slope.w, false);
    double worst = options.intercept ? std::abs(slope.b) : 0;
    for (Index j = 0; j < x.cols(); ++j) {
      if (!is_free(j)) continue;
      const Index g = static_cast<Index>(group(j));
      const double price = lambda * weight(group(j));
      worst = std::max(worst, norm[g] == 0
                                  ? steep[g] - price * options.ratio
                                  : std::abs(slope.w[j] + price * at.w[j] *
                                                              (options.ratio / norm[g] + 1 - options.ratio)));
    }
    return worst;
  }

  Eigen::MatrixXd x;
  VectorXd y;
  ConvexLoss loss;
  taper::sparsity::ExactOptions options;
};

/// One of 256 problems of 40 examples and 12 coefficients, by the bits of its number: logistic, groups,
/// elastic net, weights, weights of examples, a free intercept, (bit 6 is the caller's), a mask.
inline Case combination_of(int combination, double tolerance, taper::Rng& rng) {
  using taper::Mask;
  const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
  Case test(40, 12, has(0) ? Case::ConvexLoss::logistic : Case::ConvexLoss::squared, rng);
  taper::sparsity::ExactOptions& options = test.options;
  options.tolerance = tolerance;
  if (has(1)) options.groups = {0, 1, 1, 2, 0, 3, 3, 3, 4, 2, 5, 1};
  if (has(2)) options.ratio = 0.6;
  if (has(3)) {
    for (std::size_t g = 0; g < test.groups(); ++g)
      options.weights.push_back(g == 3 ? 0 : rng.uniform(0.5, 2));
  }
  if (has(4)) {
    for (int i = 0; i < 40; ++i) options.sample_weights.push_back(i == 7 ? 0 : rng.uniform(0.1, 2));
  }
  options.intercept = has(5);
  if (!options.intercept && has(1)) options.start_intercept = 0.3;
  if (has(7)) {
    // Some groups as a whole at other values than zero, and one coefficient at zero.
    options.mask = has(1) ? Mask::frozen({12}, {3, 9, 1, 10}) : Mask::frozen({12}, {3, 5, 1, 10});
    options.start.assign(12, 0.0);
    options.start[3] = 0.4;
    options.start[has(1) ? 9 : 5] = -0.7;
    options.start[0] = 0.1;
  }
  return test;
}
