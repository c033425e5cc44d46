#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <taper/autodiff/kernels/compensated_sum.hpp>
#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity::exact {
namespace {

/// Lambda falls by this factor at most from one rough solution to the next, when there is none to start from.
constexpr double step_down = 10;
/// The relative gap of such a solution.
constexpr double rough = 1e-3;
/// A null model's loss below this share of the targets' squares is what rounding has left of 0.
constexpr double nothing_left = 1e-20;
/// A logistic null model's loss below this is that of labels that are separated: it could fall for ever.
constexpr double separated = 1e-10;
/// A bound of a score below this share of the weight is below it whatever the rounding.
constexpr double certain = 1 - 1e-9;
/// With a number for each column, of a solver.
constexpr std::size_t solver_arrays = 7;

}  // namespace

Solver::Solver(const Problem& problem)
    : problem_(problem),
      arena_(solver_arrays * sizeof(double) * static_cast<std::size_t>(problem.columns())),
      hessian_(problem),
      w_(static_cast<std::size_t>(problem.columns()), 0.0, arena_.resource()),
      slopes_(static_cast<std::size_t>(problem.columns()), 0.0, arena_.resource()),
      reference_scores_(arena_.resource()),
      scored_(arena_.resource()),
      scores_(static_cast<std::size_t>(problem.groups()), 0.0, arena_.resource()),
      alive_(arena_.resource()),
      working_flags_(static_cast<std::size_t>(problem.groups()), 0, arena_.resource()) {
  basis_.resize(problem.rows(), 0);
  use_free(problem.unpenalized);
  update_predictions();
  update_residual();
  fit_unpenalized();
  null_loss_ = loss_;
  null_objective_ = std::max(loss_, problem.kind == ConvexLoss::logistic ? separated : nothing_left);
  for (const Index j : free_) null_.push_back(j == problem.columns() ? b_ : w(j));
  per_weight_ = problem.s.unaryExpr([](double weight) { return weight > 0 ? 1 / weight : 0.0; });
  for (std::pmr::vector<Index>* groups : {&alive_, &scored_}) groups->reserve(scores_.size());
  reference_scores_.reserve(scores_.size());
  groups_are_columns_ = problem.members.size() == scores_.size() && problem.groups() == problem.columns();
  for (Index j = 0; groups_are_columns_ && j < problem.columns(); ++j) {
    groups_are_columns_ = problem.members[static_cast<std::size_t>(j)] == j;
  }
}

void Solver::go_to_null() {
  settled_ = false;
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
  all_alive_ = true;
  alive_.clear();
  working_.clear();
  std::vector<Index> free;
  std::ranges::fill(working_flags_, char{0});
  for (Index g = 0; g < problem_.groups(); ++g) {
    const auto columns = problem_.columns_of(g);
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
  if (free_columns_.cols() == 0) {
    z_.array() += b_;
  } else {
    Eigen::VectorXd coefficients(free_columns_.cols());
    for (Index k = 0; k < coefficients.size(); ++k) {
      const Index j = free_[static_cast<std::size_t>(k)];
      coefficients[k] = j == problem_.columns() ? b_ : w(j);
    }
    z_ += of_free(coefficients);
  }
  for (const Index g : working_) {
    for (const Index j : problem_.columns_of(g)) {
      if (w(j) != 0) add(j, w(j), z_);
    }
  }
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
    for (const Index j : columns.subspan(1)) add_to_norm(length, w_[static_cast<std::size_t>(j)]);
    if (length > 0) total += group_penalty(length, l1(g), l2(g));
  }
  return total.value();
}

void Solver::update_scores(std::span<const Index> groups) {
  if (groups_are_columns_) {
    problem_.x.dots(groups, theta_.data(), slopes_.data());
    for (const Index g : groups) score(g) = std::abs(slope(g));
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
    for (const Index j : problem_.columns_of(g)) add_to_norm(length, slope(j));
    score(g) = length;
  }
}

/// The scores of all groups that may be nonzero; of those that are certain to be below their weights, as most
/// are from one lambda to the next, a bound that says so. Where theta was t and the scores s(t),
///
///     s(theta) <= c s(t) + radius_bound ||theta - c t||   for any c >= 0,
///
/// and c is chosen so that the norm, that of Problem::radius(), is smallest.
///
/// With `working_known` those of the working set are there already.
void Solver::score_alive(bool working_known) {
  double share = 0, drift = infinity;
  if (reference_.size() > 0 && feasible_) {
    const auto product = [&](const auto& a, const auto& b) { return (a * b * per_weight_.array()).sum(); };
    const auto now = theta_.array(), then = reference_.array();
    const double square = product(then, then);
    share = square > 0 ? std::max(product(now, then) / square, 0.0) : 0;
    drift = std::sqrt(product(now - share * then, now - share * then));
  }
  const auto most = [&](Index g) {
    const auto at = static_cast<std::size_t>(g);
    return share * reference_scores_[at] + problem_.radius_bound[at] * drift;
  };
  const auto is_small = [&](Index g, double bound) { return bound < certain * l1(g); };
  // Where theta has moved far, as a few groups tell, bounds are not worth their time.
  std::size_t looked_at = 0, small = 0;
  for (; drift < infinity && looked_at * sample < alive_.size(); ++looked_at) {
    const Index g = alive_[looked_at * sample];
    small += static_cast<std::size_t>(is_small(g, most(g)));
  }
  if (2 * small <= looked_at) {
    scored_ = alive_;
    update_scores(scored_);
    std::erase_if(scored_, [&](Index g) { return !works(g) && is_small(g, score(g)); });
  } else {
    scored_.resize(alive_.size());
    std::size_t count = 0;
    for (const Index g : alive_) {
      const double bound = most(g);
      const bool works = this->works(g), known = works && working_known;
      score(g) = known ? score(g) : bound;
      scored_[count] = g;  // kept only where it counts, so that nothing has to be guessed
      count += static_cast<std::size_t>(!known && (works || !is_small(g, bound)));
    }
    scored_.resize(count);
    update_scores(scored_);
    if (working_known) scored_.insert(scored_.end(), working_.begin(), working_.end());
  }
  if (all_alive_ && feasible_) {
    reference_ = theta_;
    reference_scores_ = scores_;
  }
}

Solver::Bound Solver::bound(std::span<const Index> groups) {
  if (!feasible_) return {-infinity, 0};
  // With squares in the penalty, they count as further rows of the design (Ndiaye et al., 2017, section 5.3),
  // or theta may be taken as it is, as the dual then has no constraints: what is better.
  double scale = 1;
  bool squares = false;
  for (const Index g : groups) {
    double size = score(g);
    const double norm = l1(g), square = l2(g);
    squares |= problem_.l2_weight(g) > 0;
    if (square > 0) {
      size = 0;
      for (const Index j : problem_.columns_of(g)) add_to_norm(size, slope(j) - square * w(j));
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
  // Each column that is free brings rounding of its own.
  const double hidden = certain_rounding * static_cast<double>(1 + 2 * free_columns_.cols());
  return std::max(objective - bound, 0.0) + hidden * std::max(null_objective_, std::abs(objective));
}

/// From where it stands. The first time that is the caller's start, or the null model where that is better:
/// nothing is gained by a way back from far away, and much may be lost to rounding on it.
void Solver::start() {
  const bool first = !std::exchange(started_, true);
  if (first && problem_.has_start) {
    const Point point = problem_.to_units(problem_.given, problem_.given_intercept);
    w_.assign(point.w.begin(), point.w.end());
    b_ = point.b;
    settled_ = false;
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
  return {{w_.begin(), w_.end()}, b_};
}

ExactSolution Solver::solve(double lambda, double tolerance, Index max_iterations) {
  const bool cold = !started_ && !problem_.has_start && problem_.columns() > problem_.rows();
  lambda_ = lambda;
  iterations_ = 0;
  start();
  if (cold) {
    // Far below the largest lambda and with more columns than rows, steps down to it find the support in less
    // than half the time. They need not be exact.
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
  if (!settled_ || !feasible_) {
    update_predictions();
    update_residual();
    if (fit_unpenalized()) {
      update_predictions();
      update_residual();
    }
    project();
    settled_ = true;
  }
  score_alive(false);
}

ExactSolution Solver::solution(double gap, double tolerance) const {
  ExactSolution result;
  problem_.from_units(w_, b_, result.coefficients, result.intercept);
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
  w_.assign(point.w.begin(), point.w.end());
  b_ = point.b;
  started_ = true;
  settled_ = false;
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
  update_scores(alive_);  // and no bounds of them
  double largest = 0;
  for (const Index g : alive_) {
    const double norm = problem_.l1_weight(g);
    if (norm > 0) largest = std::max(largest, score(g) / norm);
  }
  return largest * problem_.unit;
}

}  // namespace taper::sparsity::exact
