#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity::exact {
namespace {

/// A step with an old Hessian that leaves more than this of the gap is reason for a new one.
constexpr double slow = 0.2;
/// Groups that a working set may have, whatever its support.
constexpr std::size_t small_working = 100;
/// A gap that rounding may be the reason of, as a share of the null model's objective.
constexpr double noise = 1e-11;
/// Rounds that bring nothing, one after the other, until the solver gives up.
constexpr int patience = 20;

}  // namespace

void Solver::screen(const Bound& bound, double gap) {
  if (!std::isfinite(bound.value)) return;
  const double radius = problem_.radius(gap);
  const auto is_zero = [&](Index g) {
    return !works(g) &&
           bound.scale * score(g) + problem_.radius_bound[static_cast<std::size_t>(g)] * radius < l1(g);
  };
  // Where a few tell that the radius is too large, the others need not be asked.
  bool some = alive_.size() < sample;
  for (std::size_t k = 0; k < alive_.size() && !some; k += sample) some = is_zero(alive_[k]);
  if (some && std::erase_if(alive_, is_zero) > 0) all_alive_ = false;
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
  std::vector<std::pair<double, Index>> violated;
  for (const Index g : scored_) {
    if (!works(g) && score(g) > l1(g)) violated.emplace_back(l1(g) / score(g), g);
  }
  const std::size_t wanted = std::max(small_working, 2 * support);
  const std::size_t room =
      std::min(violated.size(),
               std::max(wanted, working_.size() + std::max<std::size_t>(10, support / 4)) - working_.size());
  std::ranges::partial_sort(violated, violated.begin() + static_cast<std::ptrdiff_t>(room));
  violated.resize(room);
  for (const auto& [share, g] : violated) {
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
        hessian_.restart(curvature_, basis_);
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

/// Goes on until the gap is the tolerance, or nothing is gained. Ends at the best point there was; returns
/// its gap.
double Solver::approach(double tolerance, Index max_iterations) {
  tolerance_ = tolerance * null_objective_;
  // Neither loss can be negative.
  double best_bound = lambda_ * problem_.frozen_penalty, best_gap = infinity, least = infinity;
  std::vector<std::pair<Index, double>> best;  // what is not zero there
  double best_b = 0;
  const auto keep = [&](Index j) {
    if (j < problem_.columns() && w(j) != 0) best.emplace_back(j, w(j));
  };
  const auto end = [&](double objective) {
    if (objective > least + rounding * std::abs(least) || std::isnan(objective)) {
      std::ranges::fill(w_, 0.0);
      for (const auto& [j, value] : best) w(j) = value;
      b_ = best_b;
      settled_ = false;
      partition(lambda_);
      update_predictions();
      update_residual();
    }
    return gap_of(primal(), best_bound);
  };
  for (int stalled = 0;;) {
    const Bound now = bound(scored_);
    best_bound = std::max(best_bound, now.value);
    const double objective = primal(), gap = gap_of(objective, best_bound);
    if (gap <= tolerance_ || iterations_ >= max_iterations || std::isnan(objective)) {
      if (settled_) return end(objective);
      look();
      continue;
    }
    if (settled_ && objective < least) {
      least = objective;
      best.clear();
      best_b = b_;
      for (const Index g : working_) std::ranges::for_each(problem_.columns_of(g), keep);
      std::ranges::for_each(free_, keep);
    }
    if (settled_) screen(now, gap_of(objective, now.value));
    const bool gained = gap < 0.9 * best_gap;
    const Index added = change_working_set(gained);
    stalled = added == 0 && !gained ? stalled + 1 : 0;
    if (stalled >= (gap < noise * null_objective_ ? 2 : patience)) {
      if (settled_) return end(objective);
      look();
      continue;
    }
    best_gap = std::min(best_gap, gap);
    // What steps have rounded is evaluated afresh before anything is claimed, but not after every fit.
    const double enough = 0.3 * tolerance_, aim = std::max(0.1 * (objective - best_bound), enough);
    const bool fitted = fit_working(aim, max_iterations);
    if (!feasible_ || (fitted && aim <= enough)) {
      look();
    } else {
      score_alive(true);
    }
  }
}

}  // namespace taper::sparsity::exact
