#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <taper/autodiff/kernels/compensated_sum.hpp>
#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/group_norms.hpp>
#include <taper/sparsity/smooth.hpp>

namespace taper::sparsity {
namespace {

/// What the first round leaves of the gradient, as a share of that at the start.
constexpr double first_accuracy = 1e-4;
/// Rounds that bring nothing, one after the other, until the solver gives up.
constexpr int patience = 4;
double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double value : values) result = std::max(result, std::abs(value));
  return result;
}

/// The smooth objective, in the units of the problem. Its variables are, one group after the other, u_g and
/// v_g where the group has a norm in its penalty, w_g where it has none, then what is not penalized, at last
/// the intercept: that of centred columns, as columns far from zero would make it and the coefficients all
/// but depend on each other.
class Factored {
 public:
  Factored(const exact::Problem& problem, double lambda, const exact::Point& start)
      : problem_(problem), lambda_(lambda), at_(start), slopes_(problem.columns()) {
    std::vector<Index> all(static_cast<std::size_t>(problem.groups()));
    std::iota(all.begin(), all.end(), Index{0});
    use(std::move(all));
  }

  /// Goes on with groups that are not zero at this point, from balanced factors.
  std::vector<double> balanced(const exact::Point& point) {
    std::vector<Index> kept;
    for (Index g = 0; g < problem_.groups(); ++g) {
      if (l1(g) == 0 || length(g, point) > 0) kept.push_back(g);
    }
    at_ = point;
    use(std::move(kept));
    return factors([](double length) { return std::sqrt(length); });
  }
  /// The factors of the point it was made with, the gates all the same.
  std::vector<double> gated(double gate) {
    return factors([gate](double) { return gate; });
  }

  double evaluate(std::span<const double> x, std::span<double> gradient) {
    place(x);
    if (problem_.offset.size() > 0) {
      z_ = problem_.offset;
    } else {
      z_.setZero(problem_.rows());
    }
    z_.array() += at_.b;
    problem_.x.combine(columns_, values_.data(), z_.data());
    kernels::CompensatedSum total;  // as line searches compare it up to the last digits
    total += problem_.derivatives(z_, residual_, curvature_);
    total += lambda_ * problem_.frozen_penalty;
    problem_.x.dots(columns_, residual_.data(), slopes_.data());
    const double of_intercept = problem_.intercept ? residual_.sum() : 0;
    const auto slope_of = [&](std::size_t c) {
      return mean(columns_[c]) * of_intercept - slopes_[columns_[c]];
    };

    std::size_t i = 0, c = 0;
    for (const Index g : groups_) {
      const double norm = l1(g), square = l2(g);
      const std::size_t size = problem_.columns_of(g).size();
      const double gate = norm > 0 ? x[i + size] : 1;
      double of_gate = norm * gate;
      for (std::size_t k = 0; k < size; ++k, ++c) {
        const double w = values_[c], slope = square * w + slope_of(c);
        gradient[i + k] = gate * slope + norm * x[i + k];
        of_gate += x[i + k] * slope;
        total += norm / 2 * x[i + k] * x[i + k] + square / 2 * w * w;
      }
      i += size;
      if (norm > 0) {
        total += norm / 2 * gate * gate;
        gradient[i++] = of_gate;
      }
    }
    for (; c < columns_.size(); ++c) gradient[i++] = slope_of(c);
    if (problem_.intercept) gradient[i] = -of_intercept;
    return total.value();
  }

  /// The products of the factors; zero for groups left out.
  exact::Point point(std::span<const double> x) {
    place(x);
    exact::Point result{std::vector<double>(at_.w.size(), 0.0), at_.b};
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      result.w[static_cast<std::size_t>(columns_[c])] = values_[c];
    }
    return result;
  }

 private:
  double l1(Index g) const { return problem_.l1_of(g, lambda_); }
  double l2(Index g) const { return problem_.l2_of(g, lambda_); }
  double mean(Index j) const { return problem_.intercept ? problem_.design.mean(j) : 0; }
  double length(Index g, const exact::Point& point) const {
    double result = 0;
    for (const Index j : problem_.columns_of(g)) {
      add_to_norm(result, point.w[static_cast<std::size_t>(j)]);
    }
    return result;
  }

  void use(std::vector<Index> groups) {
    groups_ = std::move(groups);
    columns_.clear();
    for (const Index g : groups_) {
      const auto some = problem_.columns_of(g);
      columns_.insert(columns_.end(), some.begin(), some.end());
    }
    for (const Index j : problem_.unpenalized) {
      if (j < problem_.columns()) columns_.push_back(j);
    }
    values_.resize(columns_.size());
  }

  template <class Gate> std::vector<double> factors(const Gate& gate_of) const {
    std::vector<double> x;
    for (const Index g : groups_) {
      const double gate = l1(g) > 0 ? gate_of(length(g, at_)) : 1;
      for (const Index j : problem_.columns_of(g)) x.push_back(at_.w[static_cast<std::size_t>(j)] / gate);
      if (l1(g) > 0) x.push_back(gate);
    }
    double centred = at_.b;
    for (const Index j : columns_) centred += mean(j) * at_.w[static_cast<std::size_t>(j)];
    for (const Index j : problem_.unpenalized) {
      x.push_back(j < problem_.columns() ? at_.w[static_cast<std::size_t>(j)] : centred);
    }
    return x;
  }

  /// Computes the coefficients from the variables.
  void place(std::span<const double> x) {
    std::size_t i = 0, c = 0;
    for (const Index g : groups_) {
      const std::size_t size = problem_.columns_of(g).size();
      const bool factored = l1(g) > 0;
      const double gate = factored ? x[i + size] : 1;
      for (std::size_t k = 0; k < size; ++k) values_[c++] = x[i++] * gate;
      if (factored) ++i;
    }
    for (; c < columns_.size(); ++c) values_[c] = x[i++];
    if (!problem_.intercept) return;
    at_.b = x[i];
    for (std::size_t k = 0; k < columns_.size(); ++k) at_.b -= mean(columns_[k]) * values_[k];
  }

  const exact::Problem& problem_;
  double lambda_;
  exact::Point at_;  // the intercept, and where factors start
  std::vector<Index> groups_, columns_;
  std::vector<double> values_;
  Eigen::VectorXd z_, residual_, curvature_, slopes_;
};

/// One proximal step from a point, whose slopes are those of the solver's residual.
class Proximal {
 public:
  Proximal(const exact::Problem& problem, double lambda)
      : problem_(problem), lambda_(lambda), slopes_(problem.columns()) {
    for (Index g = 0; g < problem.groups(); ++g) {
      double square = 0;
      for (const Index j : problem.columns_of(g)) {
        const double mean = problem.intercept ? problem.design.mean(j) : 0;
        square += problem.design.variance(j) + mean * mean;
      }
      curvatures_.push_back(problem.smoothness() * square);
    }
    problem.for_free([&](Index j) { free_.push_back(j); });
  }

  /// Groups move by `share` of a step; what is not penalized stays.
  exact::Point step(const exact::Point& from, const Eigen::VectorXd& residual, double share) {
    exact::Point to = from;
    problem_.x.dots(free_, residual.data(), slopes_.data());
    std::vector<double> some;
    for (Index g = 0; g < problem_.groups(); ++g) {
      const double norm = problem_.l1_of(g, lambda_), square = problem_.l2_of(g, lambda_);
      const double curvature = curvatures_[static_cast<std::size_t>(g)];
      if (norm == 0 && square == 0) continue;
      const auto columns = problem_.columns_of(g);
      some.clear();
      const double length = curvature > 0 ? share / curvature : 0;
      for (const Index j : columns) {
        some.push_back(to.w[static_cast<std::size_t>(j)] + length * slopes_[j]);
      }
      if (curvature == 0) {  // the loss does not depend on it
        std::ranges::fill(some, 0.0);
      } else {
        shrink_group(some, length * norm, length * square);
      }
      for (std::size_t k = 0; k < some.size(); ++k) to.w[static_cast<std::size_t>(columns[k])] = some[k];
    }
    return to;
  }

 private:
  const exact::Problem& problem_;
  double lambda_;
  std::vector<double> curvatures_;
  std::vector<Index> free_;
  Eigen::VectorXd slopes_;
};

}  // namespace

SmoothSolution solve_smooth(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                            double lambda, const SmoothOptions& options) {
  constexpr const char* where = "solve_smooth";
  exact::require_lambda(lambda, where);
  if (!(options.start_gate != 0 && std::isfinite(options.start_gate))) {
    throw Error(where, "a gate ", options.start_gate,
                " to start from: expected a finite number other than 0");
  }
  const exact::Problem problem(x, y, loss, options.problem, where);
  exact::Solver solver(problem);
  Proximal proximal(problem, lambda);
  const double tolerance = options.problem.tolerance * solver.null_objective();

  SmoothSolution best;
  exact::Point best_point;
  double best_gap = std::numeric_limits<double>::infinity(), best_objective = 0, best_loss = 0;
  // From the caller's start, or from the null model where that is better, as solve_exact does.
  Factored factored(problem, lambda, solver.start_of(lambda));
  std::vector<double> variables = factored.gated(options.start_gate), gradient(variables.size());
  factored.evaluate(variables, gradient);
  best.evaluations = 1;
  double accuracy = first_accuracy * largest(gradient);
  for (int stalled = 0; stalled < patience; accuracy /= 10) {
    gradient.resize(variables.size());
    optim::Objective objective;
    objective.evaluate = [&](std::span<double> at, std::span<double> slopes) {
      ++objective.evaluations;
      return factored.evaluate(at, slopes);
    };
    optim::MinimizeOptions run{.method = options.method,
                               .gradient_tolerance = accuracy,
                               .max_iterations = options.problem.max_iterations - best.iterations};
    if (options.record) {
      run.callback = [&](const optim::Iterate& iterate) {
        best.history.push_back(problem.in_given_units(iterate.value));
        return true;
      };
    }
    const optim::Outcome outcome = optim::minimize(objective, variables, gradient, run);
    best.iterations += outcome.iterations;
    best.evaluations += outcome.evaluations;
    ++best.rounds;

    const exact::Point smooth = factored.point(variables);
    const exact::DualityGap before = solver.evaluate(lambda, smooth, where);
    const Eigen::VectorXd residual = solver.residual();
    exact::Point sparse = smooth;
    exact::DualityGap now = before;  // where no step lowers the objective, none is made
    for (double share = 1; share > 1e-6; share /= 2) {
      const exact::Point trial = proximal.step(smooth, residual, share);
      const exact::DualityGap there = solver.evaluate(lambda, trial, where);
      if (there.objective() > before.objective() * (1 + exact::rounding)) continue;
      sparse = trial;
      now = there;
      break;
    }
    const double gap = solver.gap_of(now.objective(), now.bound);
    stalled = gap < 0.9 * best_gap ? 0 : stalled + 1;
    if (gap < best_gap || best.rounds == 1) {
      best_point = sparse;
      best_gap = gap;
      best_objective = now.objective();
      best_loss = now.loss;
    }
    if (best_gap <= tolerance || best.iterations >= options.problem.max_iterations) break;
    variables = factored.balanced(sparse);
  }
  problem.from_units(best_point.w, best_point.b, best.coefficients, best.intercept);
  best_gap += problem.rounding_of(best.intercept);
  best.lambda = lambda;
  best.loss = problem.in_given_units(best_loss);
  best.objective = problem.in_given_units(best_objective);
  best.gap = problem.in_given_units(best_gap);
  best.relative_gap = best_gap / solver.null_objective();
  best.null_objective = problem.in_given_units(solver.null_objective());
  best.converged = best_gap <= tolerance;
  return best;
}

}  // namespace taper::sparsity
