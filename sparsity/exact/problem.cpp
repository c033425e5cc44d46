#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/autodiff/kernels/compensated_sum.hpp>
#include <taper/autodiff/kernels/logistic.hpp>
#include <taper/sparsity/exact/problem.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity::exact {
namespace {

/// With a number for each column, of a problem: two of Standardized, two of the groups. There can be more.
constexpr std::size_t problem_arrays = 4;

void require_length(const char* where, const char* what, std::size_t given, Index expected) {
  if (static_cast<Index>(given) == expected) return;
  throw Error(where, given, " ", what, ": expected ", expected);
}

void require_finite(const char* where, const char* what, std::span<const double> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(where, what, " ", values[i], " at position ", i, ": expected finite numbers");
    }
  }
}

void require_weights(const char* where, const char* what, std::span<const double> values) {
  require_finite(where, what, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) {
      throw Error(where, what, " ", values[i], " at position ", i, ": expected 0 or more");
    }
  }
}

/// The columns of each group, one group after the other; without numbers each column is a group.
class Members {
 public:
  Members(const std::vector<Index>& numbers, Index columns, const char* where) : groups_(columns) {
    if (numbers.empty()) return;
    require_length(where, "group numbers", numbers.size(), columns);
    Index groups = 0;
    for (std::size_t j = 0; j < numbers.size(); ++j) {
      if (numbers[j] < 0 || numbers[j] >= columns) {
        throw Error(where, "group ", numbers[j], " of coefficient ", j, ": expected 0 to ", columns - 1);
      }
      groups = std::max(groups, numbers[j] + 1);
    }
    groups_ = groups;
    const auto group_of = [&](Index j) {
      return static_cast<std::size_t>(numbers[static_cast<std::size_t>(j)]);
    };
    first_.assign(static_cast<std::size_t>(groups) + 1, 0);
    for (Index j = 0; j < columns; ++j) ++first_[group_of(j) + 1];
    for (std::size_t g = 0; g < static_cast<std::size_t>(groups); ++g) {
      if (first_[g + 1] == 0) {
        throw Error(where, "group ", g, " of ", groups, " is empty: expected numbers without gaps");
      }
      first_[g + 1] += first_[g];
    }
    columns_.resize(static_cast<std::size_t>(columns));
    std::vector<Index> next(first_.begin(), first_.end() - 1);
    for (Index j = 0; j < columns; ++j) columns_[static_cast<std::size_t>(next[group_of(j)]++)] = j;
  }

  Index groups() const { return groups_; }
  /// Points to g itself where each column is a group.
  std::span<const Index> of(const Index& g) const {
    if (first_.empty()) return {&g, 1};
    const auto at = static_cast<std::size_t>(g);
    return {columns_.data() + first_[at], static_cast<std::size_t>(first_[at + 1] - first_[at])};
  }

 private:
  Index groups_;
  std::vector<Index> columns_, first_;
};

/// The weights of the rows, divided by their sum; and what is checked before anything is computed.
Eigen::VectorXd row_weights(const ExactOptions& options, const Design& x,
                            const Eigen::Ref<const Eigen::VectorXd>& y, const char* where) {
  const Index n = x.rows();
  if (n == 0) throw Error(where, "a design matrix ", n, "x", x.columns(), ": expected at least one row");
  require_length(where, "targets", static_cast<std::size_t>(y.size()), n);
  if (!(options.ratio >= 0 && options.ratio <= 1)) {
    throw Error(where, "ratio ", options.ratio, ": expected a number from 0 to 1");
  }
  if (!(options.tolerance >= 0)) throw Error(where, "tolerance ", options.tolerance, ": expected 0 or more");
  if (options.max_iterations < 0) {
    throw Error(where, options.max_iterations, " iterations: expected 0 or more");
  }
  if (!options.groups.empty()) Members(options.groups, x.columns(), where);
  if (options.sample_weights.empty()) return Eigen::VectorXd::Constant(n, 1 / static_cast<double>(n));
  require_length(where, "sample weights", options.sample_weights.size(), n);
  require_weights(where, "sample weight", options.sample_weights);
  Eigen::VectorXd s = Eigen::Map<const Eigen::VectorXd>(options.sample_weights.data(), n);
  // Divided by the largest first, so that the sum cannot overflow.
  if (s.maxCoeff() == 0) throw Error(where, "sample weights that are all 0: expected one above");
  s /= s.maxCoeff();
  return s / s.sum();
}

void require_targets(const Problem& problem, const char* where) {
  bool seen[2] = {};
  for (Index i = 0; i < problem.rows(); ++i) {
    const double y = problem.y[i];
    if (!std::isfinite(y)) throw Error(where, "target ", y, " in row ", i, ": expected finite numbers");
    if (problem.kind == ConvexLoss::squared) continue;
    if (y != 0 && y != 1) throw Error(where, "label ", y, " in row ", i, ": expected 0 or 1");
    if (problem.s[i] > 0) seen[static_cast<int>(y)] = true;
  }
  if (problem.kind == ConvexLoss::logistic && problem.intercept && seen[0] != seen[1]) {
    throw Error(where, "labels that are all ", seen[1] ? 1 : 0,
                ": expected both classes, as the intercept is free");
  }
}

}  // namespace

void require_lambda(double lambda, const char* where) {
  if (lambda >= 0 && std::isfinite(lambda)) return;
  throw Error(where, "lambda ", lambda, ": expected a finite number, 0 or more");
}

Problem::Problem(const Design& given_design, const Eigen::Ref<const Eigen::VectorXd>& targets,
                 ConvexLoss loss_kind, const ExactOptions& options, const char* caller)
    : arena(problem_arrays * sizeof(double) * static_cast<std::size_t>(given_design.columns())),
      s(row_weights(options, given_design, targets, caller)),
      design(given_design, s, options.intercept, options.groups,
             options.standardize && !options.groups.empty(), arena, caller),
      x(design.x()),
      kind(loss_kind),
      y(targets),
      where(caller),
      given(options.start.begin(), options.start.end(), arena.resource()),
      given_intercept(options.start_intercept),
      intercept(options.intercept),
      members(arena.resource()),
      first(arena.resource()),
      l1(arena.resource()),
      l2(arena.resource()),
      radius_bound(arena.resource()) {
  const Index p = columns();
  require_targets(*this, where);
  if (!given.empty()) require_length(where, "coefficients to start from", given.size(), p);
  require_finite(where, "start", given);
  if (!std::isfinite(given_intercept)) {
    throw Error(where, "intercept ", given_intercept, " to start from: expected a finite number");
  }
  if (options.mask) options.mask->require(Shape{p}, where);
  choose_units(options);
  collect_groups(options);
  has_start = intercept && given_intercept != 0;
  if (!given.empty()) for_free([&](Index j) { has_start |= given_at(j) != 0; });
}

/// Takes out of the targets what is fixed, and chooses their unit.
void Problem::choose_units(const ExactOptions& options) {
  const Index n = rows(), p = columns();
  const bool squared = kind == ConvexLoss::squared;
  // Divided by the largest number there is, so that nothing overflows on the way.
  double largest = squared ? s.cwiseSign().cwiseProduct(y.cwiseAbs()).maxCoeff() : 1;
  if (!intercept) largest = std::max(largest, std::abs(given_intercept));
  const int size = largest > 0 ? std::ilogb(largest) : 0;
  const auto smaller = [&](double value) { return squared ? std::scalbn(value, -size) : value; };
  offset.setConstant(n, intercept ? 0 : smaller(given_intercept));
  bool any_frozen = false;
  for (Index j = 0; options.mask && j < p; ++j) {
    const double w = given_at(j);
    if (options.mask->is_free(j) || w == 0) continue;
    x.add(j, smaller(w) * design.scale(j), offset.data());
    any_frozen = true;
  }
  if (any_frozen && !offset.allFinite()) {
    throw Error(where, "frozen coefficients whose predictions overflow: expected smaller ones");
  }
  if (!squared) {
    if (intercept) {
      shift = any_frozen ? -s.dot(offset) : 0;
      offset.array() += shift;
    }
    return;
  }
  const auto counted = std::ranges::find_if(s, [](double weight) { return weight > 0; }) - s.begin();
  const double from = smaller(y[counted]) - offset[counted];
  for (Index i = 0; i < n; ++i) y[i] = s[i] > 0 ? smaller(y[i]) - offset[i] : from;
  if (any_frozen) {
    baseline = offset;
    for (double& value : baseline) value = std::scalbn(value, size);
  }
  offset.resize(0);
  if (intercept) {
    shift = from + s.dot((y.array() - from).matrix());
    y.array() -= shift;
    shift = std::scalbn(shift, size);
  }
  const double square = s.dot(y.cwiseAbs2());
  const int exponent = square > 0 ? std::ilogb(std::sqrt(square)) : 0;
  for (double& value : y) value = std::scalbn(value, -exponent);
  unit = square > 0 ? std::scalbn(1.0, exponent + size) : 1;
  per_unit = 1 / unit;
  if (!std::isfinite(unit * unit * 4)) {
    throw Error(where, "targets too large to be squared: expected smaller units");
  }
}

void Problem::collect_groups(const ExactOptions& options) {
  const Index p = columns();
  const double ratio = options.ratio;
  const auto is_free = [&](Index j) { return !options.mask || options.mask->is_free(j); };
  const Members all(options.groups, p, where);
  if (!options.weights.empty()) {
    require_length(where, "weights of groups", options.weights.size(), all.groups());
    require_weights(where, "weight", options.weights);
  }
  // What the rounding of a sum of n terms may come to, as what is screened must be certain.
  const double margin = 4 * static_cast<double>(rows() + 10) * std::numeric_limits<double>::epsilon();
  const auto most_groups = static_cast<std::size_t>(all.groups());
  members.reserve(static_cast<std::size_t>(p));
  radius_bound.reserve(most_groups);
  alike = options.weights.empty() && !options.standardize && !design.is_scaled();
  for (Array<double>* values : {&l1, &l2}) values->reserve(alike ? 1 : most_groups);
  if (!options.groups.empty()) {
    first.reserve(most_groups + 1);
    first.push_back(0);
  }
  for (Index g = 0; g < all.groups(); ++g) {
    const double weight = options.weights.empty() ? 1 : options.weights[static_cast<std::size_t>(g)];
    double frozen = 0, spread = 0;
    double seen = 1;  // the length that the penalty sees, for each unit of ||w_g|| (and of `unit`)
    const auto begin = static_cast<std::ptrdiff_t>(members.size());
    for (const Index j : all.of(g)) {
      const double mean = design.mean(j);
      const double deviation = options.standardize ? std::sqrt(design.variance(j)) : 0;
      const double of_column = !options.standardize     ? 1 / design.scale(j)
                               : options.groups.empty() ? deviation
                               : deviation > 0          ? 1
                                                        : 0;
      if (!is_free(j)) {
        add_to_norm(frozen, given_at(j) / unit * design.scale(j) * of_column);
      } else if (options.standardize && deviation == 0) {
        if (!given.empty()) given[static_cast<std::size_t>(j)] = 0;
      } else {
        seen = of_column;
        members.push_back(j);
        spread += design.variance(j) + margin * (design.variance(j) + (intercept ? mean * mean : 0));
      }
    }
    if (weight == 0) {
      unpenalized.insert(unpenalized.end(), members.begin() + begin, members.end());
      members.resize(static_cast<std::size_t>(begin));
    } else if (static_cast<std::ptrdiff_t>(members.size()) == begin) {
      frozen_penalty += group_penalty(frozen, weight * ratio / unit, weight * (1 - ratio));
    } else if (frozen != 0) {
      throw Error(where, "group ", g,
                  " is frozen in a part that is not zero: expected groups frozen as a whole", " or at zero");
    } else {
      // Beyond the range of numbers, whatever is penalized like this is 0.
      constexpr double most = 1e305;
      if (!options.groups.empty()) first.push_back(static_cast<Index>(members.size()));
      if (!alike || l1.empty()) {
        l1.push_back(std::min(weight * ratio * seen, most));
        l2.push_back(std::min(weight * (1 - ratio) * seen * seen, most));
      }
      radius_bound.push_back(std::sqrt(spread));
    }
  }
  if (intercept) unpenalized.push_back(p);
}

Point Problem::to_units(std::span<const double> coefficients, double b) const {
  Point point{std::vector<double>(static_cast<std::size_t>(columns()), 0.0), 0};
  if (!coefficients.empty()) {
    for_free([&](Index j) {
      const auto at = static_cast<std::size_t>(j);
      point.w[at] = coefficients[at] / unit * design.scale(j);
    });
  }
  if (!intercept) return point;
  kernels::CompensatedSum moved;
  moved += b;
  moved += -shift;
  for (std::size_t j = 0; j < coefficients.size(); ++j) {
    moved.add_product(coefficients[j], design.shift(static_cast<Index>(j)));
  }
  point.b = moved.value() / unit;
  return point;
}

void Problem::from_units(std::span<const double> own, double own_b, std::vector<double>& coefficients,
                         double& b) const {
  if (given.empty()) {
    coefficients.assign(static_cast<std::size_t>(columns()), 0.0);
  } else {
    coefficients.assign(given.begin(), given.end());
  }
  for_free([&](Index j) {
    double& w = coefficients[static_cast<std::size_t>(j)];
    w = own[static_cast<std::size_t>(j)];
    if (w == 0) return;
    w *= unit / design.scale(j);
    if (!std::isfinite(w)) {
      throw Error(where, "a coefficient beyond the largest number, of column ", j,
                  ": expected larger entries in that column");
    }
  });
  b = given_intercept;
  if (!intercept) return;
  kernels::CompensatedSum moved;
  moved += shift;
  moved.add_product(own_b, unit);
  for (std::size_t j = 0; j < coefficients.size(); ++j) {
    if (coefficients[j] != 0) moved.add_product(-coefficients[j], design.shift(static_cast<Index>(j)));
  }
  b = moved.value();
  if (!std::isfinite(b)) {
    throw Error(where, "an intercept beyond the largest number: expected columns nearer to zero");
  }
}

double Problem::derivatives(const Eigen::VectorXd& z, Eigen::VectorXd& gradient,
                            Eigen::VectorXd& curvature) const {
  gradient.resize(rows());
  if (kind == ConvexLoss::logistic) {
    curvature.resize(rows());
    return kernels::logistic(rows(), z.data(), y.data(), s.data(), gradient.data(), curvature.data());
  }
  curvature = s;
  kernels::CompensatedSum total;
  for (Index i = 0; i < rows(); ++i) {
    const double rest = y[i] - z[i];
    gradient[i] = s[i] * rest;
    total += gradient[i] * rest / 2;
  }
  return total.value();
}

void Problem::majorant(const Eigen::VectorXd& z, Eigen::VectorXd& curvature) const {
  curvature = s;
  if (kind == ConvexLoss::squared) return;
  for (Index i = 0; i < rows(); ++i) {
    curvature[i] *= std::abs(z[i]) < 1e-4 ? 0.25 : std::tanh(z[i] / 2) / (2 * z[i]);
  }
}

double Problem::dual(const Eigen::VectorXd& theta, double scale, double level) const {
  if (kind == ConvexLoss::logistic) {
    return kernels::logistic_dual(rows(), theta.data(), scale, y.data(), s.data(), offset.data(), level);
  }
  kernels::CompensatedSum total;
  for (Index i = 0; i < rows(); ++i) {
    if (s[i] == 0) continue;
    const double u = scale * theta[i];
    total += u * (y[i] - level - u / s[i] / 2);
  }
  return total.value();
}

double Problem::radius(double gap) const {
  return std::sqrt(2 * smoothness() * gap);
}

}  // namespace taper::sparsity::exact
