#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/sparsity/exact/solver.hpp>
#include <taper/sparsity/exact/sum.hpp>
#include <taper/sparsity/smooth.hpp>

namespace taper::sparsity {
namespace {

/// What the first round leaves of the gradient, as a share of that at the start.
constexpr double first_accuracy = 1e-4;
/// Rounds that bring nothing, one after the other, until the solver gives up.
constexpr int patience = 4;
/// What an objective may be off by, as a share of it.
constexpr double rounding = 4e-15;

double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double value : values) result = std::max(result, std::abs(value));
  return result;
}

/// All coefficients, and the intercept.
struct Coefficients {
  std::vector<double> w;
  double b;
};

/// The smooth objective. Its variables are, one group after the other, u_g and v_g where the group has a
/// norm in its penalty, w_g where it has none, then what is not penalized, at last the intercept.
class Factored {
 public:
  Factored(const exact::Problem& problem, double lambda, const Coefficients& start)
      : problem_(problem), lambda_(lambda), at_(start) {
    use(problem.groups);
  }

  /// Goes on with groups that are not zero at this point, from balanced factors.
  std::vector<double> balanced(const Coefficients& point) {
    std::vector<exact::Group> kept;
    for (const exact::Group& group : problem_.groups) {
      if (norm_of(group) == 0 || length(group, point) > 0) kept.push_back(group);
    }
    at_ = point;
    use(kept);
    return factors([](double length) { return std::sqrt(length); });
  }
  /// The factors of the point it was made with, the gates all the same.
  std::vector<double> gated(double gate) {
    return factors([gate](double) { return gate; });
  }

  double evaluate(std::span<const double> x, std::span<double> gradient) {
    place(x);
    z_ = problem_.offset;
    z_.array() += problem_.intercept ? at_.b : 0;
    problem_.x.combine(columns_, values_.data(), z_.data());
    exact::Sum total;  // as line searches compare it up to the last digits
    total += problem_.derivatives(z_, residual_, curvature_);
    total += lambda_ * problem_.frozen_penalty;
    problem_.x.dots(columns_, residual_.data(), slopes_.data());

    std::size_t i = 0, c = 0;
    for (const exact::Group& group : groups_) {
      const double norm = norm_of(group), square = square_of(group);
      const std::size_t size = group.columns.size();
      const double gate = norm > 0 ? x[i + size] : 1;
      double of_gate = norm * gate;
      for (std::size_t k = 0; k < size; ++k, ++c) {
        const double w = values_[c], slope = square * w - slopes_[c];
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
    for (; c < columns_.size(); ++c) gradient[i++] = -slopes_[c];
    if (problem_.intercept) gradient[i] = -residual_.sum();
    return total.value();
  }

  /// The products of the factors; zero for groups left out.
  Coefficients point(std::span<const double> x) {
    place(x);
    Coefficients result = at_;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      result.w[static_cast<std::size_t>(columns_[c])] = values_[c];
    }
    return result;
  }

 private:
  double norm_of(const exact::Group& group) const { return lambda_ * group.weight * problem_.ratio; }
  double square_of(const exact::Group& group) const { return lambda_ * group.weight * (1 - problem_.ratio); }
  static double length(const exact::Group& group, const Coefficients& point) {
    double result = 0;
    for (const Index j : group.columns) result = std::hypot(result, point.w[static_cast<std::size_t>(j)]);
    return result;
  }

  void use(std::vector<exact::Group> groups) {
    groups_ = std::move(groups);
    columns_.clear();
    for (const exact::Group& group : groups_) {
      columns_.insert(columns_.end(), group.columns.begin(), group.columns.end());
    }
    for (const Index j : problem_.unpenalized) {
      if (j < problem_.columns()) columns_.push_back(j);
    }
    values_.resize(columns_.size());
    slopes_.resize(columns_.size());
  }

  template <class Gate> std::vector<double> factors(const Gate& gate_of) const {
    std::vector<double> x;
    for (const exact::Group& group : groups_) {
      const double gate = norm_of(group) > 0 ? gate_of(length(group, at_)) : 1;
      for (const Index j : group.columns) x.push_back(at_.w[static_cast<std::size_t>(j)] / gate);
      if (norm_of(group) > 0) x.push_back(gate);
    }
    for (const Index j : problem_.unpenalized) {
      x.push_back(j < problem_.columns() ? at_.w[static_cast<std::size_t>(j)] : at_.b);
    }
    return x;
  }

  /// Computes the coefficients from the variables.
  void place(std::span<const double> x) {
    std::size_t i = 0, c = 0;
    for (const exact::Group& group : groups_) {
      const std::size_t size = group.columns.size();
      const bool factored = norm_of(group) > 0;
      const double gate = factored ? x[i + size] : 1;
      for (std::size_t k = 0; k < size; ++k) values_[c++] = x[i++] * gate;
      if (factored) ++i;
    }
    for (; c < columns_.size(); ++c) values_[c] = x[i++];
    if (problem_.intercept) at_.b = x[i];
  }

  const exact::Problem& problem_;
  double lambda_;
  Coefficients at_;  // what is frozen or left out, and the intercept
  std::vector<exact::Group> groups_;
  std::vector<Index> columns_;
  std::vector<double> values_, slopes_;
  Eigen::VectorXd z_, residual_, curvature_;
};

/// One proximal step from a point, whose slopes are those of the solver's residual.
class Proximal {
 public:
  Proximal(const exact::Problem& problem, double lambda) : problem_(problem), lambda_(lambda) {
    for (const exact::Group& group : problem.groups) {
      double square = 0;
      for (const Index j : group.columns) square += problem.x.moments(j, problem.s.data()).square;
      curvatures_.push_back(problem.smoothness() * square);
    }
  }

  /// Groups move by `share` of a step; what is not penalized stays.
  Coefficients step(const Coefficients& from, const Eigen::VectorXd& residual, double share) const {
    Coefficients to = from;
    std::vector<double> slopes;
    for (std::size_t g = 0; g < curvatures_.size(); ++g) {
      const exact::Group& group = problem_.groups[g];
      const double price = lambda_ * group.weight;
      if (price == 0) continue;
      if (curvatures_[g] == 0) {  // the loss does not depend on it
        for (const Index j : group.columns) to.w[static_cast<std::size_t>(j)] = 0;
        continue;
      }
      const double length = share / curvatures_[g];
      slopes.resize(group.columns.size());
      problem_.x.dots(group.columns, residual.data(), slopes.data());
      double square = 0;
      for (std::size_t k = 0; k < slopes.size(); ++k) {
        double& w = to.w[static_cast<std::size_t>(group.columns[k])];
        w += length * slopes[k];
        square += w * w;
      }
      const double norm = std::sqrt(square), threshold = length * price * problem_.ratio;
      const double shrink =
          norm <= threshold ? 0 : (1 - threshold / norm) / (1 + length * price * (1 - problem_.ratio));
      for (const Index j : group.columns) {
        double& w = to.w[static_cast<std::size_t>(j)];
        w = shrink == 0 ? 0 : shrink * w;
      }
    }
    return to;
  }

 private:
  const exact::Problem& problem_;
  double lambda_;
  std::vector<double> curvatures_;
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
  const Proximal proximal(problem, lambda);

  SmoothSolution best;
  best.lambda = lambda;
  best.gap = std::numeric_limits<double>::infinity();
  Factored factored(problem, lambda, {problem.start, problem.start_intercept});
  std::vector<double> variables = factored.gated(options.start_gate), gradient(variables.size());
  const double start = factored.evaluate(variables, gradient);
  if (!std::isfinite(start)) {
    throw Error(where, "a start with the objective ", start, ": expected smaller coefficients");
  }
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
        best.history.push_back(iterate.value);
        return true;
      };
    }
    const optim::Outcome outcome = optim::minimize(objective, variables, gradient, run);
    best.iterations += outcome.iterations;
    best.evaluations += outcome.evaluations;
    ++best.rounds;

    const Coefficients smooth = factored.point(variables);
    const exact::Standing before = solver.stand(lambda, smooth.w, smooth.b, where);
    const Eigen::VectorXd residual = solver.residual();
    Coefficients sparse = smooth;
    exact::Standing standing = before;  // where no step lowers the objective, none is made
    for (double share = 1; share > 1e-6; share /= 2) {
      const Coefficients trial = proximal.step(smooth, residual, share);
      const exact::Standing there = solver.stand(lambda, trial.w, trial.b, where);
      if (there.loss + there.penalty > (before.loss + before.penalty) * (1 + rounding)) continue;
      sparse = trial;
      standing = there;
      break;
    }
    stalled = standing.gap() < 0.9 * best.gap ? 0 : stalled + 1;
    if (standing.gap() < best.gap || best.rounds == 1) {
      best.coefficients = sparse.w;
      best.intercept = sparse.b;
      best.loss = standing.loss;
      best.objective = standing.loss + standing.penalty;
      best.gap = standing.gap();
    }
    if (best.gap <= options.problem.tolerance || best.iterations >= options.problem.max_iterations) break;
    variables = factored.balanced(sparse);
  }
  best.converged = best.gap <= options.problem.tolerance;
  return best;
}

}  // namespace taper::sparsity
