#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/sparsity/exact/problem.hpp>
#include <taper/sparsity/exact/sum.hpp>

namespace taper::sparsity::exact {
namespace {

void require_length(const char* where, const char* what, std::size_t given, Index expected) {
  if (static_cast<Index>(given) == expected) return;
  throw Error(where, given, " ", what, ": expected ", expected);
}

void require_finite(const char* where, const char* what, const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(where, what, " ", values[i], " at position ", i, ": expected finite numbers");
    }
  }
}

void require_weights(const char* where, const char* what, const std::vector<double>& values) {
  require_finite(where, what, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) {
      throw Error(where, what, " ", values[i], " at position ", i, ": expected 0 or more");
    }
  }
}

/// The columns of each group.
std::vector<std::vector<Index>> members(const std::vector<Index>& numbers, Index columns, const char* where) {
  std::vector<std::vector<Index>> result;
  if (numbers.empty()) {
    for (Index j = 0; j < columns; ++j) result.push_back({j});
    return result;
  }
  require_length(where, "group numbers", numbers.size(), columns);
  for (std::size_t j = 0; j < numbers.size(); ++j) {
    if (numbers[j] < 0 || numbers[j] >= columns) {
      throw Error(where, "group ", numbers[j], " of coefficient ", j, ": expected 0 to ", columns - 1);
    }
  }
  result.resize(static_cast<std::size_t>(*std::ranges::max_element(numbers)) + 1);
  for (std::size_t j = 0; j < numbers.size(); ++j) {
    result[static_cast<std::size_t>(numbers[j])].push_back(static_cast<Index>(j));
  }
  for (std::size_t g = 0; g < result.size(); ++g) {
    if (result[g].empty()) {
      throw Error(where, "group ", g, " of ", result.size(), " is empty: expected numbers without gaps");
    }
  }
  return result;
}

}  // namespace

void require_lambda(double lambda, const char* where) {
  if (lambda >= 0 && std::isfinite(lambda)) return;
  throw Error(where, "lambda ", lambda, ": expected a finite number, 0 or more");
}

Problem::Problem(const Design& design, const Eigen::Ref<const Eigen::VectorXd>& targets, ConvexLoss loss_kind,
                 const ExactOptions& options, const char* where)
    : x(design),
      kind(loss_kind),
      y(targets),
      start(options.start),
      start_intercept(options.start_intercept),
      intercept(options.intercept),
      ratio(options.ratio) {
  const Index n = rows(), p = columns();
  if (n == 0) throw Error(where, "a design matrix ", n, "x", p, ": expected at least one row");
  require_length(where, "targets", static_cast<std::size_t>(y.size()), n);
  if (!(ratio >= 0 && ratio <= 1)) throw Error(where, "ratio ", ratio, ": expected a number from 0 to 1");
  if (!(options.tolerance >= 0)) throw Error(where, "tolerance ", options.tolerance, ": expected 0 or more");
  if (options.max_iterations < 0) {
    throw Error(where, options.max_iterations, " iterations: expected 0 or more");
  }

  if (options.sample_weights.empty()) {
    s.setConstant(n, 1 / static_cast<double>(n));
  } else {
    require_length(where, "sample weights", options.sample_weights.size(), n);
    require_weights(where, "sample weight", options.sample_weights);
    s = Eigen::Map<const Eigen::VectorXd>(options.sample_weights.data(), n);
    // Divided by the largest first, so that the sum cannot overflow.
    if (s.maxCoeff() == 0) throw Error(where, "sample weights that are all 0: expected one above");
    s /= s.maxCoeff();
    s /= s.sum();
  }

  bool seen[2] = {};
  for (Index i = 0; i < n; ++i) {
    if (!std::isfinite(y[i])) throw Error(where, "target ", y[i], " in row ", i, ": expected finite numbers");
    if (kind == ConvexLoss::squared) continue;
    if (y[i] != 0 && y[i] != 1) throw Error(where, "label ", y[i], " in row ", i, ": expected 0 or 1");
    if (s[i] > 0) seen[static_cast<int>(y[i])] = true;
  }
  if (kind == ConvexLoss::logistic && intercept && seen[0] != seen[1]) {
    throw Error(where, "labels that are all ", seen[1] ? 1 : 0,
                ": expected both classes, as the intercept is free");
  }

  if (!std::isfinite(s.dot(y.cwiseAbs2()))) {
    throw Error(where, "targets too large to be squared: expected smaller units");
  }

  if (start.empty()) start.assign(static_cast<std::size_t>(p), 0.0);
  require_length(where, "coefficients to start from", start.size(), p);
  require_finite(where, "start", start);
  if (!std::isfinite(start_intercept)) {
    throw Error(where, "intercept ", start_intercept, " to start from: expected a finite number");
  }
  if (options.mask) options.mask->require(Shape{p}, where);
  const auto is_free = [&](Index j) { return !options.mask || options.mask->is_free(j); };
  const auto at = [&](Index j) { return start[static_cast<std::size_t>(j)]; };

  offset.setConstant(n, intercept ? 0 : start_intercept);
  std::vector<double> spread(static_cast<std::size_t>(p));
  // What the rounding of a sum of n terms may come to, as what is screened must be certain.
  const double margin = 4 * static_cast<double>(n + 10) * std::numeric_limits<double>::epsilon();
  for (Index j = 0; j < p; ++j) {
    // A sparse column is read with care before it is read for good; a dense one is looked at again only when
    // its sums say so.
    Index bad = x.is_sparse() ? x.first_bad(j) : -1;
    Design::Moments moments{0, 0};
    if (bad < 0) {
      moments = x.moments(j, s.data());
      if (!std::isfinite(moments.square)) {
        bad = x.first_bad(j);
        if (bad < 0) throw Error(where, "column ", j, " too large to be squared: expected smaller units");
      }
    }
    if (bad >= 0) {
      throw Error(where, "a design matrix with an entry that is not finite in row ", bad, ", column ", j,
                  ": expected finite numbers");
    }
    const auto [sum, square] = moments;
    spread[static_cast<std::size_t>(j)] =
        intercept ? std::max(0.0, square - sum * sum) + margin * square : square;
    if (!is_free(j)) x.add(j, at(j), offset.data());
  }

  const auto all = members(options.groups, p, where);
  if (!options.weights.empty()) {
    require_length(where, "weights of groups", options.weights.size(), static_cast<Index>(all.size()));
    require_weights(where, "weight", options.weights);
  }
  for (std::size_t g = 0; g < all.size(); ++g) {
    const double weight = options.weights.empty() ? 1 : options.weights[g];
    std::vector<Index> free;
    double frozen = 0, reach = 0;
    for (const Index j : all[g]) {
      if (is_free(j)) {
        free.push_back(j);
        reach += spread[static_cast<std::size_t>(j)];
      } else {
        frozen = std::hypot(frozen, at(j));
      }
    }
    if (weight == 0) {
      unpenalized.insert(unpenalized.end(), free.begin(), free.end());
    } else if (free.empty()) {
      frozen_penalty += weight * (ratio * frozen + (1 - ratio) / 2 * frozen * frozen);
    } else if (frozen != 0) {
      throw Error(where, "group ", g,
                  " is frozen in a part that is not zero: expected groups frozen as a whole", " or at zero");
    } else {
      groups.push_back({std::move(free), weight, std::sqrt(reach)});
    }
  }
  if (intercept) unpenalized.push_back(p);
}

double Problem::loss(const Eigen::VectorXd& z) const {
  Sum total;
  for (Index i = 0; i < rows(); ++i) {
    if (kind == ConvexLoss::squared) {
      total += s[i] * (y[i] - z[i]) * (y[i] - z[i]) / 2;
    } else {
      const double against = y[i] != 0 ? -z[i] : z[i];  // how far on the wrong side
      total += s[i] * (std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against))));
    }
  }
  return total.value();
}

double Problem::derivatives(const Eigen::VectorXd& z, Eigen::VectorXd& gradient,
                            Eigen::VectorXd& curvature) const {
  if (kind == ConvexLoss::squared) {
    gradient = s.cwiseProduct(y - z);
    curvature = s;
    return loss(z);
  }
  gradient.resize(rows());
  curvature.resize(rows());
  Sum total;
  for (Index i = 0; i < rows(); ++i) {
    const double against = y[i] != 0 ? -z[i] : z[i];
    const double e = std::exp(-std::abs(against)), small = e / (1 + e);
    const double wrong = against >= 0 ? 1 / (1 + e) : small;  // probability of the other class
    gradient[i] = y[i] != 0 ? s[i] * wrong : -s[i] * wrong;
    curvature[i] = s[i] * small / (1 + e);
    total += s[i] * (std::max(against, 0.0) + std::log1p(e));
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
  Sum total;
  for (Index i = 0; i < rows(); ++i) {
    if (s[i] == 0) continue;
    const double u = scale * theta[i] / s[i];
    const double base = offset[i] + level;
    double part = 0;
    if (kind == ConvexLoss::squared) {
      part = u * (y[i] - base - u / 2);
    } else {
      part = -u * base;
      const double t = y[i] != 0 ? u : -u;
      if (!(t >= 0 && t <= 1)) return -std::numeric_limits<double>::infinity();
      if (t > 0 && t < 1) part -= t * std::log(t) + (1 - t) * std::log1p(-t);
    }
    total += s[i] * part;
  }
  return total.value();
}

double Problem::radius(double gap) const {
  return std::sqrt(2 * smoothness() * gap);
}

double Problem::penalty(const std::vector<double>& w) const {
  double total = frozen_penalty;
  for (const Group& group : groups) {
    double square = 0;
    for (const Index j : group.columns)
      square += w[static_cast<std::size_t>(j)] * w[static_cast<std::size_t>(j)];
    total += group.weight * (ratio * std::sqrt(square) + (1 - ratio) / 2 * square);
  }
  return total;
}

}  // namespace taper::sparsity::exact
