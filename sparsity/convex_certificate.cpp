#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <taper/sparsity/convex_certificate.hpp>
#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity {
namespace {

/// The free coefficients of a group, penalized or not.
struct Judged {
  Index number;
  std::vector<Index> columns;
  double weight;
};

std::vector<Judged> judged_groups(const exact::Problem& problem, const std::vector<Index>& numbers) {
  const auto number = [&](Index j) { return numbers.empty() ? j : numbers[static_cast<std::size_t>(j)]; };
  std::vector<Judged> result;
  for (const exact::Group& group : problem.groups) {
    result.push_back({number(group.columns[0]), group.columns, group.weight});
  }
  for (const Index j : problem.unpenalized) {  // those of a group stand together
    if (j == problem.columns()) continue;
    if (!result.empty() && result.back().weight == 0 && result.back().number == number(j)) {
      result.back().columns.push_back(j);
    } else {
      result.push_back({number(j), {j}, 0});
    }
  }
  return result;
}

}  // namespace

ConvexCertificate certify(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                          double lambda, std::span<const double> coefficients, double intercept,
                          const ExactOptions& options) {
  constexpr const char* where = "certify";
  exact::require_lambda(lambda, where);
  if (static_cast<Index>(coefficients.size()) != x.columns()) {
    throw Error(where, coefficients.size(), " coefficients: expected ", x.columns());
  }
  ExactOptions at = options;
  at.start.assign(coefficients.begin(), coefficients.end());
  at.start_intercept = intercept;
  const exact::Problem problem(x, y, loss, at, where);
  exact::Solver solver(problem);
  const exact::Standing standing = solver.stand(lambda, at.start, intercept, where);

  ConvexCertificate result;
  result.lambda = lambda;
  result.loss = standing.loss;
  result.penalty = standing.penalty;
  result.objective = standing.loss + standing.penalty;
  result.bound = standing.bound;
  result.gap = standing.gap();
  result.tolerance = options.tolerance;
  const auto counts = [&](double violation, double curvature) {
    return violation > std::sqrt(2 * curvature * options.tolerance);
  };
  if (options.intercept) {
    result.intercept_violation = std::abs(solver.residual().sum());
    result.intercept_violated = counts(result.intercept_violation, problem.smoothness());
  }
  for (const Judged& group : judged_groups(problem, options.groups)) {
    const auto size = static_cast<Index>(group.columns.size());
    Eigen::VectorXd slope(size), w(size);
    x.dots(group.columns, solver.residual().data(), slope.data());
    double curvature = 0;
    for (Index k = 0; k < size; ++k) {
      const Index j = group.columns[static_cast<std::size_t>(k)];
      w[k] = at.start[static_cast<std::size_t>(j)];
      curvature += problem.smoothness() * x.moments(j, problem.s.data()).square;
    }
    const double norm = lambda * group.weight * options.ratio;
    const double square = lambda * group.weight * (1 - options.ratio), length = w.stableNorm();
    const double violation = length == 0 ? std::max(0.0, slope.stableNorm() - norm)
                                         : (slope - norm / length * w - square * w).stableNorm();
    ++(length == 0 ? result.zeros : result.nonzeros);
    if (counts(violation, curvature + square)) {
      ++(length == 0 ? result.violated_zeros : result.violated_nonzeros);
    }
    if (violation > result.worst) {
      result.worst = violation;
      result.worst_group = group.number;
    }
  }
  return result;
}

std::ostream& operator<<(std::ostream& out, const ConvexCertificate& certificate) {
  const auto row = [&](const char* name, double value, const auto&... rest) {
    std::ostringstream line;
    line << std::left << std::setw(12) << name << std::right << std::setw(20) << std::setprecision(12);
    ((line << value) << ... << rest) << '\n';
    out << line.str();
  };
  const auto& c = certificate;
  row("loss", c.loss);
  row("penalty", c.penalty, "  (lambda ", c.lambda, ")");
  row("objective", c.objective);
  row("dual bound", c.bound);
  row("gap", c.gap, c.gap <= c.tolerance ? "  within " : "  beyond ", c.tolerance);
  row("zero", static_cast<double>(c.zeros), "  groups, ", c.violated_zeros, " violated");
  row("nonzero", static_cast<double>(c.nonzeros), "  groups, ", c.violated_nonzeros, " violated");
  if (c.worst_group >= 0) {
    row("worst", c.worst, "  in group ", c.worst_group);
  } else {
    row("worst", c.worst);
  }
  row("intercept", c.intercept_violation, c.intercept_violated ? "  violated" : "");
  return out;
}

}  // namespace taper::sparsity
