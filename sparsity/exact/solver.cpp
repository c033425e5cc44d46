#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// A step with an old Hessian that leaves more than this of the gap is reason for a new one.
constexpr double slow = 0.2;
/// Groups that a working set gets at first.
constexpr std::size_t first_working = 10;
/// A gap that rounding may be the reason of, as a share of the objective.
constexpr double noise = 1e-10;
/// Rounds that bring nothing, one after the other, until the solver gives up.
constexpr int patience = 5;

}  // namespace

Solver::Solver(const Problem& problem)
    : problem_(problem),
      hessian_(problem),
      w_(problem.start),
      b_(problem.intercept ? problem.start_intercept : 0),
      slopes_(Eigen::VectorXd::Zero(problem.columns())) {}

double Solver::dot(Index j, const Eigen::VectorXd& v) const {
  return j == problem_.columns() ? v.sum() : problem_.x.dot(j, v.data());
}

void Solver::add(Index j, double s, Eigen::VectorXd& v) const {
  if (j == problem_.columns()) {
    v.array() += s;
  } else {
    problem_.x.add(j, s, v.data());
  }
}

/// Sorts the free coefficients into those with and without a penalty.
void Solver::split(double lambda) {
  lambda_ = lambda;
  groups_.clear();
  std::vector<Index> free = problem_.unpenalized;
  for (const Group& group : problem_.groups) {
    const double weight = lambda * group.weight;
    if (weight == 0) {
      free.insert(free.begin(), group.columns.begin(), group.columns.end());
    } else {
      const double squares = problem_.ratio == 1 ? 0 : weight * (1 - problem_.ratio);
      groups_.push_back({&group, weight * problem_.ratio, squares, 0, false});
    }
  }
  alive_.clear();
  working_.clear();
  for (Active& active : groups_) {
    alive_.push_back(&active);
    active.working = std::ranges::any_of(active.group->columns, [&](Index j) { return w(j) != 0; });
    if (active.working) working_.push_back(&active);
  }
  if (free == free_) return;
  free_ = std::move(free);
  free_columns_.resize(problem_.rows(), static_cast<Index>(free_.size()));
  free_columns_.setZero();
  for (Index k = 0; k < free_columns_.cols(); ++k) {
    Eigen::VectorXd column = Eigen::VectorXd::Zero(problem_.rows());
    add(free_[static_cast<std::size_t>(k)], 1, column);
    free_columns_.col(k) = column;
  }
}

void Solver::predict() {
  z_ = problem_.offset;
  z_.array() += b_;
  for (const Group& group : problem_.groups) {
    for (const Index j : group.columns) {
      if (w(j) != 0) add(j, w(j), z_);
    }
  }
  for (const Index j : problem_.unpenalized) {
    if (j < problem_.columns() && w(j) != 0) add(j, w(j), z_);
  }
}

void Solver::correlate(std::vector<Active*>& groups) {
  std::vector<Index> columns;
  for (const Active* active : groups) {
    columns.insert(columns.end(), active->group->columns.begin(), active->group->columns.end());
  }
  std::ranges::sort(columns);
  std::vector<double> dots(columns.size());
  problem_.x.dots(columns, theta_.data(), dots.data());
  for (std::size_t k = 0; k < columns.size(); ++k) slopes_[columns[k]] = dots[k];
  for (Active* active : groups) {
    double square = 0;
    for (const Index j : active->group->columns) square += slopes_[j] * slopes_[j];
    active->slope = std::sqrt(square);
  }
}

Solver::Bound Solver::bound(const std::vector<Active*>& groups) const {
  if (!feasible_) return {-infinity, 0};
  // With squares in the penalty, they count as further rows of the design (Ndiaye et al., 2017, section 5.3),
  // or theta may be taken as it is, as the dual then has no constraints: what is better.
  double scale = 1;
  for (const Active* active : groups) {
    double size = active->slope;
    if (active->square > 0) {
      double square = 0;
      for (const Index j : active->group->columns) {
        const double part = slopes_[j] - active->square * w_[static_cast<std::size_t>(j)];
        square += part * part;
      }
      size = std::sqrt(square);
    }
    if (size > active->norm) scale = std::min(scale, active->norm / size);
  }
  const auto value = [&](double s) {
    double total = problem_.dual(theta_, s, problem_.intercept ? b_ : 0) + lambda_ * problem_.frozen_penalty;
    for (const Active* active : groups) {
      if (active->square == 0) continue;
      const double excess = std::max(0.0, s * active->slope - active->norm);
      total -= excess * excess / (2 * active->square);
    }
    return total;
  };
  Bound best{value(scale), scale};
  if (problem_.ratio < 1 && scale < 1) {
    const double whole = value(1);
    if (whole > best.value) best = {whole, 1};
  }
  return best;
}

void Solver::screen(const Bound& bound, double gap) {
  const double radius = problem_.radius(std::max(gap, 0.0) + rounding * std::abs(bound.value));
  std::erase_if(alive_, [&](const Active* active) {
    return !active->working && bound.scale * active->slope + active->group->reach * radius < active->norm;
  });
}

/// Newton steps until the gap of the problem restricted to the working set is at most the tolerance. Returns
/// whether it is.
bool Solver::fit_working(double tolerance, Index limit) {
  double gap = primal() - bound(working_).value;
  if (working_.empty()) return gap <= tolerance;  // balance() has done what there is to do
  bool careful = false;
  int idle = 0;
  for (int step = 0; step < 100 && iterations_ < limit; ++step) {
    if (gap <= tolerance) return true;
    const bool was_stale = stale_;
    if (careful) problem_.majorant(z_, curvature_);
    const bool moved = newton_step(gap, tolerance, limit - iterations_);
    balance();
    project();
    correlate(working_);
    const double now = primal() - bound(working_).value;
    if (!moved && !was_stale) {
      if (problem_.kind == ConvexLoss::squared || careful) return false;
      // From where the loss has saturated: once more with a Hessian that cannot overshoot.
      careful = true;
      hessian_.forget();
      continue;
    }
    careful = false;
    if (!moved || now > slow * gap) {
      if (stale_) {
        hessian_.restart(curvature_);
        stale_ = false;
      } else if (now > 0.9 * gap && problem_.kind == ConvexLoss::squared) {
        return now <= tolerance;
      }
    }
    idle = now > 0.9 * gap ? idle + 1 : 0;
    if (idle > 2 && now < noise * primal()) break;
    gap = now;
  }
  return gap <= tolerance;
}

/// From where it stands, or from zeros where that is better: logistic losses that have saturated would take
/// long to come back.
void Solver::start(double lambda) {
  split(lambda);
  predict();
  measure();
  if (!std::isfinite(primal())) {
    throw Error("solve_exact", "a start with the objective ", primal(), ": expected smaller coefficients");
  }
  if (problem_.kind == ConvexLoss::squared) return;
  balance();
  const double here = primal(), intercept = b_;
  const std::vector<double> coefficients = w_;
  for (const Group& group : problem_.groups) {
    for (const Index j : group.columns) w(j) = 0;
  }
  for (const Index j : free_) (j == problem_.columns() ? b_ : w(j)) = 0;
  predict();
  measure();
  if (primal() < here) {
    split(lambda);
  } else {
    w_ = coefficients;
    b_ = intercept;
  }
}

ExactSolution Solver::solve(double lambda, double tolerance, Index max_iterations) {
  tolerance_ = tolerance;
  start(lambda);
  iterations_ = 0;
  // Neither loss can be negative.
  double best_bound = lambda * problem_.frozen_penalty, best_gap = infinity, gap = infinity;
  for (int stalled = 0; stalled < (gap < noise * primal() ? 2 : patience);) {
    predict();  // so that what is certified is that of the coefficients, whatever steps have rounded
    measure();
    balance();
    project();
    correlate(alive_);
    const Bound now = bound(alive_);
    best_bound = std::max(best_bound, now.value);
    gap = primal() - best_bound;
    if (gap <= tolerance || iterations_ >= max_iterations) break;
    screen(now, primal() - now.value);

    std::vector<Active*> violated;
    for (Active* active : alive_) {
      if (!active->working && active->slope > active->norm) violated.push_back(active);
    }
    const std::size_t room = std::min(violated.size(), std::max(first_working, 2 * working_.size()));
    std::ranges::partial_sort(violated, violated.begin() + static_cast<std::ptrdiff_t>(room), {},
                              [](const Active* active) { return active->norm / active->slope; });
    violated.resize(room);
    for (Active* active : violated) {
      active->working = true;
      working_.push_back(active);
    }
    stalled = violated.empty() && !(gap < 0.9 * best_gap) ? stalled + 1 : 0;
    best_gap = std::min(best_gap, gap);
    fit_working(std::max(0.1 * gap, 0.3 * tolerance), max_iterations);
  }

  ExactSolution solution;
  solution.coefficients = w_;
  solution.intercept = problem_.intercept ? b_ : problem_.start_intercept;
  solution.lambda = lambda;
  solution.loss = loss_;
  solution.objective = primal();
  solution.gap = std::max(gap, 0.0);
  solution.iterations = iterations_;
  solution.converged = gap <= tolerance;
  return solution;
}

Standing Solver::stand(double lambda, const std::vector<double>& coefficients, double intercept,
                       const char* where) {
  w_ = coefficients;
  b_ = problem_.intercept ? intercept : 0;
  split(lambda);
  predict();
  measure();
  if (!std::isfinite(primal())) {
    throw Error(where, "a point with the objective ", primal(), ": expected smaller coefficients");
  }
  project();
  correlate(alive_);
  return {loss_, primal() - loss_, bound(alive_).value};
}

double Solver::largest_slope() {
  for (const Group& group : problem_.groups) {
    for (const Index j : group.columns) w(j) = 0;
  }
  split(1);
  predict();
  measure();
  if (!std::isfinite(loss_)) {
    throw Error("lambda_max", "a start with the loss ", loss_, ": expected smaller coefficients");
  }
  balance();
  project();
  correlate(alive_);
  double largest = 0;
  for (const Active* active : alive_) largest = std::max(largest, active->slope / active->group->weight);
  return largest;
}

}  // namespace taper::sparsity::exact
