#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include <taper/optim/cholesky.hpp>
#include <taper/sparsity/exact/quadratic_model.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity::exact {
namespace {

/// What is added to a diagonal of ones, so that singular supports (more coefficients than examples, equal
/// columns) have a step: a long one where the penalty can still fall, which ends at the first sign change.
constexpr double ridge = 1e-11;
/// Almost zero is a block below this share of the longest one.
constexpr double almost_zero = 1e-6;
/// A block that comes this near to zero, as a share of its length, is stopped there.
constexpr double near_zero = 0.1;
/// Steps shorter than this share of Newton's are none.
constexpr double shortest = 1e-12;
constexpr double epsilon = std::numeric_limits<double>::epsilon();

/// Where the numbers of `some`, which rise, stand in `all`, which rise and hold them.
std::vector<Index> places_in(const std::vector<Index>& all, const std::vector<Index>& some) {
  std::vector<Index> places;
  for (std::size_t k = 0, at = 0; k < some.size(); ++k, ++at) {
    while (all[at] != some[k]) ++at;
    places.push_back(static_cast<Index>(at));
  }
  return places;
}

}  // namespace

/// The coefficients that are not zero, side by side.
struct QuadraticModel::Support {
  struct Part {
    const Block* block;
    Index begin;  // among the support's
  };
  std::vector<Part> parts;
  std::vector<Index> entries;  // places in w
  Eigen::VectorXd w;

  explicit Support(const QuadraticModel& model) {
    for (const Block& block : model.blocks) {
      const auto part = model.w.segment(block.begin, block.size);
      if ((part.array() == 0).all()) continue;
      parts.push_back({&block, static_cast<Index>(entries.size())});
      for (Index k = 0; k < block.size; ++k) entries.push_back(block.begin + k);
    }
    w = model.w(entries);
  }
  Index size() const { return w.size(); }
};

void QuadraticModel::take_support_hessian(const std::vector<Index>& support) {
  SquareMatrix& result = scratch_.support;
  if (written_out()) {
    result.take(h, support);
    return;
  }
  std::vector<Index> chosen;
  for (const Index k : support) chosen.push_back(columns[static_cast<std::size_t>(k)]);
  if (products->empty() || products->weights() != *weights) products->restart(*weights, *basis);
  products->require(chosen);
  products->block(chosen, result);
  if (cross.rows() > 0) {
    subtract_transposed_times(cross(Eigen::all, support), elimination(Eigen::all, support), result);
  }
}

/// One step. Single coefficients stop at zero; blocks are stopped by halving. Returns whether the support is
/// smaller than before, so that a further step on it may gain.
bool QuadraticModel::step_on_support(const Support& support) {
  const Index size = support.size();
  const SquareMatrix& hessian = scratch_.support;
  Eigen::VectorXd smooth(size), gradient(size), curvature = hessian.diagonal();
  for (Index k = 0; k < size; ++k) smooth[k] = slope(support.entries[static_cast<std::size_t>(k)], state);
  gradient = smooth;
  // The penalty's second derivative is a multiple of the identity and, for more than one column, less a
  // square.
  const auto for_corners = [&](const auto& f) {
    for (const auto& [block, begin] : support.parts) {
      const auto at = support.w.segment(begin, block->size);
      const double length = block->size == 1 ? std::abs(at[0]) : at.stableNorm(), pull = block->l1 / length;
      const bool single = block->size == 1;
      f(begin, at, pull + block->l2, block->l2 + (single ? 0 : pull), single ? 0 : pull / length / length);
    }
  };
  for_corners([&](Index begin, const auto& at, double slope, double plus, double square) {
    gradient.segment(begin, at.size()) += slope * at;
    curvature.segment(begin, at.size()).array() += plus - square * at.array().square();
  });
  const Eigen::VectorXd scale =
      curvature.unaryExpr([](double entry) { return entry > 0 ? 1 / std::sqrt(entry) : 0.0; });
  SquareMatrix& second = scratch_.factor;
  second.resize(size);
  for (Index k = 0; k < size; ++k) {
    second.col(k).head(k + 1) = scale[k] * scale.head(k + 1).cwiseProduct(hessian.col(k).head(k + 1));
  }
  for_corners([&](Index begin, const auto& at, double, double plus, double square) {
    const auto by = scale.segment(begin, at.size());
    const Eigen::VectorXd scaled = by.cwiseProduct(at);
    auto corner = second.block(begin, begin, at.size(), at.size());
    corner.diagonal() += plus * by.cwiseAbs2();
    if (square > 0) corner -= square * scaled * scaled.transpose();
  });
  second.diagonal().array() += ridge;
  const optim::Cholesky factors(second);
  if (!factors.succeeded()) return false;
  const Eigen::VectorXd right = -scale.cwiseProduct(gradient);
  Eigen::VectorXd d = factors.solve(right);
  // Once more for what rounding has left.
  Eigen::VectorXd scaled_d = scale.cwiseProduct(d), product = hessian * scaled_d;
  for_corners([&](Index begin, const auto& at, double, double plus, double square) {
    const auto by = scaled_d.segment(begin, at.size());
    product.segment(begin, at.size()) += plus * by - (square * at.dot(by)) * at;
  });
  d += factors.solve(right - scale.cwiseProduct(product) - ridge * d);
  d = scale.cwiseProduct(d);
  if (!d.allFinite()) return false;

  const auto change_by = [&](const Eigen::VectorXd& step) {
    double change = smooth.dot(step) + step.dot(hessian * step) / 2;
    for (const auto& [block, begin] : support.parts) {
      const auto at = support.w.segment(begin, block->size), by = step.segment(begin, block->size);
      const double before = at.stableNorm(), after = (at + by).stableNorm();
      change += block->l1 * (after - before) + block->l2 * (by.dot(at) + by.squaredNorm() / 2);
    }
    return change;
  };
  // How far along d each block meets zero: a single coefficient where its sign changes, a larger block where
  // it is nearest, if it comes near. It is stopped there.
  // Blocks that are almost zero, as those that have just been added, are all stopped in the same step: one
  // step for each of them would take long.
  const auto count = support.parts.size();
  std::vector<double> meets(count, 2.0), lengths(count);
  for (std::size_t g = 0; g < count; ++g) {
    const auto& [block, begin] = support.parts[g];
    const auto at = support.w.segment(begin, block->size);
    const auto by = std::as_const(d).segment(begin, block->size);
    lengths[g] = at.cwiseProduct(size_.segment(block->begin, block->size)).stableNorm();
    const double t = -at.dot(by) / by.squaredNorm();
    if (t > 0 && t <= 1 && (block->size == 1 || (at + t * by).norm() < near_zero * at.norm())) meets[g] = t;
  }
  const double small = almost_zero * std::ranges::max(lengths);
  double first = 1;
  for (std::size_t g = 0; g < count; ++g) {
    if (lengths[g] > small) first = std::min(first, meets[g]);
  }
  const auto stopped = [&](double t) {
    Eigen::VectorXd step = t * d;
    for (std::size_t g = 0; g < count; ++g) {
      const auto& [block, begin] = support.parts[g];
      if (meets[g] <= t || (meets[g] <= 1 && lengths[g] <= small)) {
        step.segment(begin, block->size) = -support.w.segment(begin, block->size);
      }
    }
    return step;
  };
  Eigen::VectorXd best = stopped(first);
  double change = change_by(best);
  const auto consider = [&](Eigen::VectorXd step) {
    const double other = change_by(step);
    if (other >= change) return;
    change = other;
    best = std::move(step);
  };
  for (double t = 1; t > first; t /= 4) consider(stopped(t));
  for (double t = first / 4; change >= 0 && t > shortest; t /= 4) consider(stopped(t));
  if (change >= 0) {
    // Nothing falls: set the almost zero blocks to zero, if there are some: the rest of the step was chosen
    // with them.
    best = stopped(0);
    if ((best.array() == 0).all()) return false;
  }
  bool smaller = false;
  for (const auto& [block, begin] : support.parts) {
    const auto at = support.w.segment(begin, block->size);
    // Whatever rounding leaves of a block that was to become zero.
    const bool zero = (at + best.segment(begin, block->size)).norm() <= 4 * epsilon * at.norm();
    smaller |= zero;
    for (Index k = 0; k < block->size; ++k) {
      double& entry = w[block->begin + k];
      const double target = zero ? 0 : at[k] + best[begin + k];
      if (target != entry) shift(block->begin + k, target - entry);
      entry = target;
    }
  }
  return smaller;
}

/// Coordinate descent on the zero blocks that violate their condition most. Only some of them, as their steps
/// do not know of each other. Returns whether there was one.
bool QuadraticModel::add_violated(double tolerance) {
  std::vector<std::pair<double, const Block*>> violated;
  Index nonzero = 0;
  for (const Block& block : blocks) {
    if (!(w.segment(block.begin, block.size).array() == 0).all()) {
      ++nonzero;
      continue;
    }
    double length = 0;
    for (Index k = block.begin; k < block.begin + block.size; ++k) add_to_norm(length, slope(k, state));
    const double violation = violation_of(block, length) - (block.l1 > 0 ? 1 : 0);
    if (violation > tolerance) violated.emplace_back(violation, &block);
  }
  const auto some = std::min(static_cast<Index>(violated.size()), std::max<Index>(1, nonzero / 8));
  std::ranges::partial_sort(violated, violated.begin() + some, std::greater(),
                            [](const auto& v) { return v.first; });
  for (Index k = 0; k < some; ++k) update(*violated[static_cast<std::size_t>(k)].second);
  return some > 0;
}

/// An active-set method: Newton steps on the support until none makes it smaller, then some more blocks, and
/// so on until no zero is violated. Returns what was spent, in multiplications; more than the budget is not,
/// and when it did not suffice, the next try waits for twice as much.
double QuadraticModel::newton_on_support(double budget, double tolerance) {
  if (budget < required_) return 0;
  double spent = 0;
  std::vector<Index> previous;
  do {
    for (bool smaller = true; smaller;) {
      const Support support(*this);
      if (support.size() == 0) break;
      const auto size = static_cast<double>(support.size());
      // A multiplication of a factorization takes a fraction of the time of one in a pass, which waits for
      // the one before.
      const double cost = size * size * size / 30 + 4 * size * size + pass_cost();
      if (spent + cost > budget) {
        required_ = 2 * (spent + cost);
        return spent;
      }
      spent += cost;
      if (!std::ranges::includes(previous, support.entries)) {
        take_support_hessian(support.entries);
      } else if (previous.size() != support.entries.size()) {
        scratch_.support.take(scratch_.support, places_in(previous, support.entries));
      }
      previous = support.entries;
      smaller = step_on_support(support);
    }
  } while (add_violated(tolerance));
  return spent;
}

}  // namespace taper::sparsity::exact
