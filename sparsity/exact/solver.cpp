#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <taper/autodiff/kernels/compensated_sum.hpp>
#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// A step with an old Hessian that leaves more than this of the gap is reason for a new one.
constexpr double slow = 0.2;
/// Groups that a working set may have, whatever its support.
constexpr std::size_t small_working = 100;
/// A gap that rounding may be the reason of, as a share of the null model's objective.
constexpr double noise = 1e-11;
/// Rounds that bring nothing, one after the other, until the solver gives up.
constexpr int patience = 20;
/// Lambda falls by this factor at most from one rough solution to the next, when there is none to start from.
constexpr double step_down = 10;
/// The relative gap of such a solution.
constexpr double rough = 1e-3;
/// A null model's loss below this share of the targets' squares is what rounding has left of 0.
constexpr double nothing_left = 1e-20;
/// A logistic null model's loss below this is that of labels that are separated: it could fall for ever.
constexpr double separated = 1e-10;

}  // namespace

Solver::Solver(const Problem& problem)
    : problem_(problem),
      hessian_(problem),
      w_(static_cast<std::size_t>(problem.columns()), 0.0),
      slopes_(Eigen::VectorXd::Zero(problem.columns())),
      scores_(static_cast<std::size_t>(problem.groups()), 0.0),
      working_flags_(static_cast<std::size_t>(problem.groups()), 0) {
  use_free(problem.unpenalized);
  update_predictions();
  update_residual();
  fit_unpenalized();
  null_loss_ = loss_;
  null_objective_ = std::max(loss_, problem.kind == ConvexLoss::logistic ? separated : nothing_left);
  for (const Index j : free_) null_.push_back(j == problem.columns() ? b_ : w(j));
  alive_.reserve(scores_.size());
  groups_are_columns_ = problem.members.size() == scores_.size() && problem.groups() == problem.columns();
  for (Index j = 0; groups_are_columns_ && j < problem.columns(); ++j) {
    groups_are_columns_ = problem.members[static_cast<std::size_t>(j)] == j;
  }
}

void Solver::go_to_null() {
  std::ranges::fill(w_, 0.0);
  for (std::size_t k = 0; k < null_.size(); ++k) {
    const Index j = problem_.unpenalized[k];
    (j == problem_.columns() ? b_ : w(j)) = null_[k];
  }
}

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
void Solver::partition(double lambda) {
  lambda_ = lambda;
  alive_.clear();
  working_.clear();
  std::vector<Index> free;
  for (Index g = 0; g < problem_.groups(); ++g) {
    const auto columns = problem_.columns_of(g);
    working_flags_[static_cast<std::size_t>(g)] = 0;
    if (l1(g) == 0 && l2(g) == 0) {
      free.insert(free.end(), columns.begin(), columns.end());
      continue;
    }
    alive_.push_back(g);
    if (std::ranges::any_of(columns, [&](Index j) { return w(j) != 0; })) {
      working_.push_back(g);
      working_flags_[static_cast<std::size_t>(g)] = 1;
    }
  }
  free.insert(free.end(), problem_.unpenalized.begin(), problem_.unpenalized.end());
  use_free(std::move(free));
}

void Solver::update_predictions() {
  if (problem_.offset.size() > 0) {
    z_ = problem_.offset;
  } else {
    z_.setZero(problem_.rows());
  }
  z_.array() += b_;
  const auto add_all = [&](std::span<const Index> columns) {
    for (const Index j : columns) {
      if (j < problem_.columns() && w(j) != 0) add(j, w(j), z_);
    }
  };
  for (const Index g : working_) add_all(problem_.columns_of(g));
  add_all(free_);
}

Eigen::VectorXd Solver::predictions() const {
  if (problem_.kind == ConvexLoss::logistic) return z_;
  Eigen::VectorXd result = problem_.unit * z_;
  result.array() += problem_.shift;
  if (problem_.baseline.size() > 0) result += problem_.baseline;
  return result;
}

double Solver::penalty() const {
  kernels::CompensatedSum total;
  total += lambda_ * problem_.frozen_penalty;
  for (const Index g : working_) {
    const auto columns = problem_.columns_of(g);
    double length = std::abs(w_[static_cast<std::size_t>(columns[0])]);
    for (const Index j : columns.subspan(1)) length = std::hypot(length, w_[static_cast<std::size_t>(j)]);
    if (length > 0) total += l1(g) * length + l2(g) / 2 * length * length;
  }
  return total.value();
}

void Solver::update_scores(const std::vector<Index>& groups) {
  if (groups_are_columns_) {
    problem_.x.dots(groups, theta_.data(), slopes_.data());
    for (const Index g : groups) score(g) = std::abs(slopes_[g]);
    return;
  }
  std::vector<Index> columns;
  for (const Index g : groups) {
    const auto some = problem_.columns_of(g);
    columns.insert(columns.end(), some.begin(), some.end());
  }
  std::ranges::sort(columns);
  problem_.x.dots(columns, theta_.data(), slopes_.data());
  for (const Index g : groups) {
    double length = 0;
    for (const Index j : problem_.columns_of(g)) length = std::hypot(length, slopes_[j]);
    score(g) = length;
  }
}

Solver::Bound Solver::bound(const std::vector<Index>& groups) {
  if (!feasible_) return {-infinity, 0};
  // With squares in the penalty, they count as further rows of the design (Ndiaye et al., 2017, section 5.3),
  // or theta may be taken as it is, as the dual then has no constraints: what is better.
  double scale = 1;
  bool squares = false;
  for (const Index g : groups) {
    double size = score(g);
    const double norm = l1(g), square = l2(g);
    squares |= problem_.l2[static_cast<std::size_t>(g)] > 0;
    if (square > 0) {
      size = 0;
      for (const Index j : problem_.columns_of(g)) size = std::hypot(size, slopes_[j] - square * w(j));
    }
    if (size > norm) scale = std::min(scale, norm / size);
  }
  const auto value = [&](double s) {
    kernels::CompensatedSum total;
    total += problem_.dual(theta_, s, problem_.intercept ? b_ : 0);
    total += lambda_ * problem_.frozen_penalty;
    if (squares) {
      for (const Index g : groups) {
        const double excess = s * score(g) - l1(g);
        if (excess > 0) total += -excess / (2 * l2(g)) * excess;  // -infinity where nothing bends it back
      }
    }
    const double result = total.value();
    return std::isnan(result) ? -infinity : result;
  };
  Bound best{value(scale), scale};
  if (squares && scale < 1) {
    const double whole = value(1);
    if (whole > best.value) best = {whole, 1};
  }
  return best;
}

double Solver::gap_of(double objective, double bound) const {
  return std::max(objective - bound, 0.0) + certain_rounding * std::max(null_objective_, std::abs(objective));
}

void Solver::screen(const Bound& bound, double gap) {
  if (!std::isfinite(bound.value)) return;
  const double radius = problem_.radius(gap);
  std::erase_if(alive_, [&](Index g) {
    return !works(g) &&
           bound.scale * score(g) + problem_.radius_bound[static_cast<std::size_t>(g)] * radius < l1(g);
  });
}

/// Adds the groups that violate their optimality condition most, up to as many as are nonzero, or a few. With
/// `prune`, those that are zero and not violated leave. Returns how many came.
Index Solver::change_working_set(bool prune) {
  const auto is_zero = [&](Index g) {
    return std::ranges::all_of(problem_.columns_of(g), [&](Index j) { return w(j) == 0; });
  };
  const auto support =
      static_cast<std::size_t>(std::ranges::count_if(working_, [&](Index g) { return !is_zero(g); }));
  if (prune) {
    std::erase_if(working_, [&](Index g) {
      const bool leaves = score(g) <= l1(g) && is_zero(g);
      if (leaves) working_flags_[static_cast<std::size_t>(g)] = 0;
      return leaves;
    });
  }
  std::vector<Index> violated;
  for (const Index g : alive_) {
    if (!works(g) && score(g) > l1(g)) violated.push_back(g);
  }
  const std::size_t wanted = std::max(small_working, 2 * support);
  const std::size_t room =
      std::min(violated.size(),
               std::max(wanted, working_.size() + std::max<std::size_t>(10, support / 4)) - working_.size());
  std::ranges::partial_sort(violated, violated.begin() + static_cast<std::ptrdiff_t>(room), {},
                            [&](Index g) { return l1(g) / score(g); });
  violated.resize(room);
  for (const Index g : violated) {
    working_flags_[static_cast<std::size_t>(g)] = 1;
    working_.push_back(g);
  }
  return static_cast<Index>(room);
}

/// Newton steps until the gap of the problem restricted to the working set is at most the tolerance. Returns
/// whether it is.
bool Solver::fit_working(double tolerance, Index limit) {
  if (working_.empty()) return true;  // fit_unpenalized() has done what there is to do
  double gap = primal() - bound(working_).value;
  bool careful = false;
  int idle = 0;
  for (int step = 0; step < 100 && iterations_ < limit; ++step) {
    if (gap <= tolerance) return true;
    const bool was_stale = stale_;
    if (careful) problem_.majorant(z_, curvature_);
    const bool moved = newton_step(gap, tolerance, limit - iterations_);
    fit_unpenalized();
    project();
    update_scores(working_);
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
    if (idle > 2 && now < noise * null_objective_) break;
    gap = now;
  }
  return gap <= tolerance;
}

/// From where it stands. The first time that is the caller's start, or the null model where that is better:
/// nothing is gained by a way back from far away, and much may be lost to rounding on it.
void Solver::start() {
  const bool first = !std::exchange(started_, true);
  if (first && problem_.has_start) {
    const Point point = problem_.to_units(problem_.given, problem_.given_intercept);
    w_ = point.w;
    b_ = point.b;
  }
  partition(lambda_);
  if (!first || !problem_.has_start) return;
  update_predictions();
  update_residual();
  fit_unpenalized();
  if (primal() < null_loss_ + lambda_ * problem_.frozen_penalty) return;
  go_to_null();
  partition(lambda_);
}

Point Solver::start_of(double lambda) {
  lambda_ = lambda;
  start();
  return {w_, b_};
}

ExactSolution Solver::solve(double lambda, double tolerance, Index max_iterations) {
  const bool cold = !started_ && !problem_.has_start;
  lambda_ = lambda;
  iterations_ = 0;
  start();
  if (cold) {
    // Far below the largest lambda, steps down to it find the support in less than half the time. They need
    // not be exact.
    look();
    double above = 0;
    for (const Index g : alive_) {
      if (l1(g) > 0) above = std::max(above, score(g) / l1(g));
    }
    if (std::isfinite(above) && above > 2 * step_down) {
      for (above /= step_down; above > 2; above /= step_down) {
        lambda_ = above * lambda;
        start();
        look();
        approach(std::max(tolerance, rough), max_iterations);
      }
      lambda_ = lambda;
      start();
      look();
    }
  } else {
    look();
  }
  const double gap = approach(tolerance, max_iterations);
  return solution(gap, tolerance * null_objective_);
}

/// Evaluates everything at the coefficients, whatever steps have rounded.
void Solver::look() {
  update_predictions();
  update_residual();
  fit_unpenalized();
  project();
  update_scores(alive_);
}

/// Goes on until the gap is the tolerance, or nothing is gained. Ends at the best point there was; returns
/// its gap.
double Solver::approach(double tolerance, Index max_iterations) {
  tolerance_ = tolerance * null_objective_;
  // Neither loss can be negative.
  double best_bound = lambda_ * problem_.frozen_penalty, best_gap = infinity, least = infinity;
  Point best;
  const auto end = [&](double objective) {
    if (objective > least + rounding * std::abs(least) || std::isnan(objective)) {
      w_ = best.w;
      b_ = best.b;
      partition(lambda_);
      update_predictions();
      update_residual();
    }
    return gap_of(primal(), best_bound);
  };
  for (int stalled = 0;;) {
    const Bound now = bound(alive_);
    best_bound = std::max(best_bound, now.value);
    const double objective = primal(), gap = gap_of(objective, best_bound);
    if (gap <= tolerance_ || iterations_ >= max_iterations || std::isnan(objective)) return end(objective);
    if (objective < least) {
      least = objective;
      best = {w_, b_};
    }
    screen(now, gap_of(objective, now.value));
    const bool gained = gap < 0.9 * best_gap;
    const Index added = change_working_set(gained);
    stalled = added == 0 && !gained ? stalled + 1 : 0;
    if (stalled >= (gap < noise * null_objective_ ? 2 : patience)) return end(objective);
    best_gap = std::min(best_gap, gap);
    fit_working(std::max(0.1 * (objective - best_bound), 0.3 * tolerance_), max_iterations);
    look();
  }
}

ExactSolution Solver::solution(double gap, double tolerance) const {
  ExactSolution result;
  problem_.from_units({w_, b_}, result.coefficients, result.intercept);
  gap += problem_.rounding_of(result.intercept);
  result.lambda = lambda_;
  result.loss = problem_.in_given_units(loss_);
  result.objective = problem_.in_given_units(primal());
  result.gap = problem_.in_given_units(gap);
  result.relative_gap = gap / null_objective_;
  result.null_objective = problem_.in_given_units(null_objective_);
  result.iterations = iterations_;
  result.converged = gap <= tolerance;
  return result;
}

DualityGap Solver::evaluate(double lambda, const Point& point, const char* where) {
  lambda_ = lambda;
  w_ = point.w;
  b_ = point.b;
  started_ = true;
  partition(lambda);
  update_predictions();
  update_residual();
  const double objective = primal();
  if (!std::isfinite(objective)) {
    throw Error(where, "a point with the objective ", objective, ": expected smaller coefficients");
  }
  project();
  update_scores(alive_);
  // Neither loss can be negative.
  const double least = lambda_ * problem_.frozen_penalty;
  return {loss_, objective - loss_, std::max(bound(alive_).value, least)};
}

double Solver::lambda_max() {
  go_to_null();
  partition(1);
  look();
  double largest = 0;
  for (const Index g : alive_) {
    const double norm = problem_.l1[static_cast<std::size_t>(g)];
    if (norm > 0) largest = std::max(largest, score(g) / norm);
  }
  return largest * problem_.unit;
}

}  // namespace taper::sparsity::exact
