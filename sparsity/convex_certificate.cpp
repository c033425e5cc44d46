#include <algorithm>
#include <cmath>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <taper/sparsity/convex_certificate.hpp>
#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/group_norms.hpp>

namespace taper::sparsity {
namespace {

/// The free coefficients of a group, penalized or not, and its penalty in the units of the problem.
struct Judged {
  Index number;
  std::vector<Index> columns;
  double l1 = 0, l2 = 0;
  double scale;  // of the columns
};

std::vector<Judged> judged_groups(const exact::Problem& problem, const std::vector<Index>& numbers,
                                  double lambda, bool standardized) {
  const auto number = [&](Index j) { return numbers.empty() ? j : numbers[static_cast<std::size_t>(j)]; };
  std::vector<Judged> result;
  for (Index g = 0; g < problem.groups(); ++g) {
    const auto columns = problem.columns_of(g);
    result.push_back({number(columns[0]),
                      {columns.begin(), columns.end()},
                      problem.l1_of(g, lambda),
                      problem.l2_of(g, lambda),
                      standardized ? 1 : problem.design.scale(columns[0])});
  }
  const std::size_t penalized = result.size();
  for (const Index j : problem.unpenalized) {  // those of a group stand together
    if (j == problem.columns()) continue;
    if (result.size() > penalized && result.back().number == number(j)) {
      result.back().columns.push_back(j);
    } else {
      result.push_back({number(j), {j}, 0, 0, problem.design.scale(j)});
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
  for (std::size_t j = 0; j < coefficients.size(); ++j) {
    if (std::isfinite(coefficients[j])) continue;
    throw Error(where, "coefficient ", coefficients[j], " at position ", j, ": expected finite numbers");
  }
  if (!std::isfinite(intercept)) throw Error(where, "intercept ", intercept, ": expected a finite number");
  ExactOptions at = options;
  at.start.assign(coefficients.begin(), coefficients.end());
  at.start_intercept = intercept;
  const exact::Problem problem(x, y, loss, at, where);
  exact::Solver solver(problem);
  const exact::Point point = problem.to_units(coefficients, intercept);
  const exact::DualityGap gap = solver.evaluate(lambda, point, where);

  ConvexCertificate result;
  result.lambda = lambda;
  result.loss = problem.in_given_units(gap.loss);
  result.penalty = problem.in_given_units(gap.penalty);
  result.objective = problem.in_given_units(gap.objective());
  result.bound = problem.in_given_units(gap.bound);
  result.gap = problem.in_given_units(solver.gap_of(gap.objective(), gap.bound));
  result.null_objective = problem.in_given_units(solver.null_objective());
  result.relative_gap = solver.gap_of(gap.objective(), gap.bound) / solver.null_objective();
  result.tolerance = options.tolerance;
  const auto counts = [&](double violation, double curvature) {
    return violation > std::sqrt(2 * curvature * options.tolerance * solver.null_objective());
  };
  if (options.intercept) {
    const double violation = std::abs(solver.residual().sum());
    result.intercept_violation = violation * problem.unit;
    result.intercept_violated = counts(violation, problem.smoothness());
  }
  Eigen::VectorXd slopes(x.columns());
  for (const Judged& group :
       judged_groups(problem, options.groups, lambda, options.standardize && !options.groups.empty())) {
    const auto size = static_cast<Index>(group.columns.size());
    Eigen::VectorXd slope(size), w(size);
    problem.x.dots(group.columns, solver.residual().data(), slopes.data());
    double curvature = group.l2;
    for (Index k = 0; k < size; ++k) {
      const Index j = group.columns[static_cast<std::size_t>(k)];
      const double mean = problem.intercept ? problem.design.mean(j) : 0;
      slope[k] = slopes[j];
      w[k] = point.w[static_cast<std::size_t>(j)];
      curvature += problem.smoothness() * (problem.design.variance(j) + mean * mean);
    }
    const double length = group_norm(w);
    const double violation = length == 0 ? std::max(0.0, group_norm(slope) - group.l1)
                                         : group_norm(slope - group.l1 * (w / length) - group.l2 * w);
    ++(length == 0 ? result.zeros : result.nonzeros);
    if (counts(violation, curvature)) ++(length == 0 ? result.violated_zeros : result.violated_nonzeros);
    if (const double given = violation * problem.unit * group.scale; given > result.worst) {
      result.worst = given;
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
  row("gap", c.gap, c.relative_gap <= c.tolerance ? "  within " : "  beyond ", c.tolerance,
      " of the null model's objective");
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
