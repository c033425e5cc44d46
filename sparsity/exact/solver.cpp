#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
/// What an objective may be off by, as a share of it.
constexpr double rounding = 4e-15;
/// A step with an old Hessian that leaves more than this of the gap is reason for a new one.
constexpr double slow = 0.2;
/// Groups that a working set gets at first.
constexpr std::size_t first_working = 10;
/// What may be left of the slope of what is not penalized, as a share of its terms. The gap suffers by its
/// square only, as project() takes it out of the dual point.
constexpr double balanced = 1e-9;
/// A logistic loss that counts as none.
constexpr double nothing = 1e-20;
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

Eigen::MatrixXd Solver::free_hessian() const {
  if (free_columns_.cols() == 1) {
    return Eigen::MatrixXd::Constant(1, 1, free_columns_.col(0).cwiseAbs2().dot(curvature_));
  }
  return transposed_times(free_columns_, curvature_.asDiagonal() * free_columns_);
}

/// Fits what is not penalized, the rest standing still: Newton's method, halved until the loss falls. Where
/// the logistic loss has saturated, its curvature says nothing about the way back, and a majorant does.
void Solver::balance() {
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
        measure();
        if (loss_ <= loss - 1e-4 * t * slope + rounding * std::abs(loss)) break;
      }
      if (t >= least) break;
      t = 0;
      z_ = before;
      measure();
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

/// Moves to the minimum of the quadratic model over the working set, or part of the way. Returns whether the
/// objective fell, up to rounding.
bool Solver::newton_step(double gap, double tolerance, Index limit) {
  std::vector<Index> columns;
  Model model;
  double norms = 0, length = 0;
  for (const Active* active : working_) {
    const auto& members = active->group->columns;
    model.blocks.push_back({static_cast<Index>(columns.size()),
                            static_cast<Index>(members.size()),
                            active->norm,
                            active->square,
                            0,
                            {}});
    columns.insert(columns.end(), members.begin(), members.end());
    for (const Index j : members) length += static_cast<double>(problem_.x.entries(j));
  }
  const Index m = static_cast<Index>(columns.size());
  // A pass reads a column twice when H is not written out, and a sparse one at random.
  if (static_cast<double>(m) * static_cast<double>(m) <= 8 * length) {
    if (hessian_.empty()) {
      hessian_.restart(curvature_);
      stale_ = false;
    }
    hessian_.require(columns);
    hessian_.require(free_);
    model.h = hessian_.block(columns, columns);
    if (!free_.empty()) {
      model.cross = hessian_.block(free_, columns);
      model.elimination = solve_semidefinite(hessian_.block(free_, free_), model.cross);
      model.h -= transposed_times(model.cross, model.elimination);
    }
  } else if (!free_.empty()) {
    model.cross.resize(free_columns_.cols(), m);
    for (Index k = 0; k < free_columns_.cols(); ++k) {
      const Eigen::VectorXd weighted = curvature_.cwiseProduct(free_columns_.col(k));
      for (Index i = 0; i < m; ++i) model.cross(k, i) = dot(columns[static_cast<std::size_t>(i)], weighted);
    }
    model.elimination = solve_semidefinite(free_hessian(), model.cross);
  }
  model.design = &problem_.x;
  model.weights = &curvature_;
  model.columns = columns;
  model.w0.resize(m);
  model.gradient0.resize(m);
  for (Index k = 0; k < m; ++k) {
    model.w0[k] = w(columns[static_cast<std::size_t>(k)]);
    model.gradient0[k] = -slopes_[columns[static_cast<std::size_t>(k)]];
  }
  model.prepare();
  for (const Model::Block& block : model.blocks) {
    norms += block.norm * model.w0.segment(block.begin, block.size).norm();
  }
  // A small violation, as a share v of the penalty, costs about v sum(norms) of the gap.
  const double target = 0.1 * std::max(tolerance, 0.01 * gap);
  const double violation = std::min(0.01, target / std::max(norms, 0.01 * primal()));
  iterations_ += model.minimize(violation, std::max<Index>(limit, 1));

  const Eigen::VectorXd d = model.w - model.w0;
  Eigen::VectorXd direction = Eigen::VectorXd::Zero(problem_.rows()), free_step;
  for (Index k = 0; k < m; ++k) {
    if (d[k] != 0) add(columns[static_cast<std::size_t>(k)], d[k], direction);
  }
  if (!free_.empty()) {
    free_step = -(model.elimination * d);
    direction.noalias() += free_columns_ * free_step;
  }

  const Eigen::VectorXd before = z_;
  const double start = loss_, start_penalty = model.penalty(model.w0);
  const double decrease = model.gradient0.dot(d) + model.penalty(model.w) - start_penalty;
  double t = 1;
  for (;; t /= 2) {
    if (t < 1e-9) {
      z_ = before;
      measure();
      return false;
    }
    z_ = before + t * direction;
    measure();
    if (problem_.kind == ConvexLoss::squared) break;  // the model is exact
    const double fresh = loss_ + (t == 1 ? model.penalty(model.w) : model.penalty(model.w0 + t * d));
    const double old = start + start_penalty;
    if (fresh <= old + 1e-4 * t * decrease + rounding * std::abs(old)) break;
  }
  for (Index k = 0; k < m; ++k) {
    w(columns[static_cast<std::size_t>(k)]) = t == 1 ? model.w[k] : model.w0[k] + t * d[k];
  }
  for (std::size_t k = 0; k < free_.size(); ++k) {
    (free_[k] == problem_.columns() ? b_ : w(free_[k])) += t * free_step[static_cast<Index>(k)];
  }
  stale_ = problem_.kind != ConvexLoss::squared;
  return true;
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
