#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>

#include <Eigen/Core>

#include <taper/optim/lbfgs.hpp>
#include <taper/optim/minimize.hpp>

/// Inside of minimize: the methods, on a function of the free elements.
namespace taper::optim::detail {

inline constexpr const char* limit_reached = "the limit of evaluations was reached";
inline constexpr const char* no_decrease =
    "the line search found no lower point: the gradient is wrong, or rounding hides a decrease";

inline constexpr const char* no_gain =
    "the last 20 iterations made the value no lower and the gradient no smaller, as far as rounding shows";

using Vector = Eigen::VectorXd;

inline std::span<double> span(Vector& v) {
  return {v.data(), static_cast<std::size_t>(v.size())};
}

inline double largest(const Vector& v) {
  return v.size() == 0 ? 0 : v.cwiseAbs().maxCoeff();
}

/// The state that all methods share: where the run is, and whether it is over.
class Run {
 public:
  Run(Objective& objective, std::span<double> start, const MinimizeOptions& options)
      : x(Eigen::Map<const Vector>(start.data(), static_cast<Index>(start.size()))),
        gradient(Vector::Zero(x.size())),
        objective_(objective),
        options_(options) {}

  double evaluate(Vector& at, Vector& slopes) { return objective_.evaluate(span(at), span(slopes)); }

  /// Evaluates at x; throws Error where that is not finite.
  void start() {
    outcome.value = evaluate(x, gradient);
    calls_ = std::max<Index>(1, objective_.evaluations);
    if (x.size() == 0) return;
    if (!std::isfinite(outcome.value)) {
      throw Error("minimize", "the function is ", outcome.value, " at x0: expected a finite value");
    }
    for (Index i = 0; i < gradient.size(); ++i) {
      if (std::isfinite(gradient(i)) && std::isfinite(x(i))) continue;
      throw Error("minimize", "x0 is ", x(i), " and the gradient ", gradient(i), " in free entry ", i,
                  ": expected finite numbers");
    }
  }

  /// Whether to go on from x, where the gradient that counts is this large.
  bool goes_on(double gradient_norm) {
    if (x.size() == 0) return end(true, "no entry is free");
    if (gradient_norm <= options_.gradient_tolerance.value_or(std::sqrt(objective_.precision)))
      return end(true, "the gradient is within its tolerance");
    if (outcome.iterations >= options_.max_iterations)
      return end(false, "the limit of iterations was reached");
    if (evaluations_left() <= 0) return end(false, limit_reached);
    return true;
  }

  /// Whether many iterations have gained nothing but what rounding may have made: no lower value, no gradient
  /// that is much smaller. Ends the run.
  bool stalls(double gradient_norm) {
    const double noise = 8 * objective_.precision * std::abs(lowest_);
    if (outcome.value < lowest_ - noise || gradient_norm < smallest_ / 2) {
      lowest_ = std::min(lowest_, outcome.value);
      smallest_ = std::min(smallest_, gradient_norm);
      without_gain_ = 0;
      return false;
    }
    if (++without_gain_ < 20) return false;
    end(false, no_gain);
    return true;
  }

  /// After an iteration that went from `before` to x; whether to go on.
  bool made(const Vector& before, double value_before) {
    ++outcome.iterations;
    const double decrease = value_before - outcome.value, moved = largest(x - before);
    if (options_.callback && !options_.callback({outcome.iterations, objective_.evaluations, outcome.value,
                                                 largest(gradient), span(x)})) {
      return end(false, "the callback asked for it");
    }
    const double scale = std::max({1.0, std::abs(value_before), std::abs(outcome.value)});
    if (options_.value_tolerance > 0 && decrease <= options_.value_tolerance * scale) {
      return end(true, "the decrease is within its tolerance");
    }
    if (options_.step_tolerance > 0 && moved <= options_.step_tolerance) {
      return end(true, "the step is within its tolerance");
    }
    return true;
  }

  /// Goes to `to`, where `value` and `slopes` are those of the function, and stores the step; whether to
  /// go on.
  bool move(Vector& to, Vector& slopes, double value, LBFGSHistory& history) {
    Vector step = to - x, change = slopes - gradient;
    history.push(span(step), span(change));
    const double before = outcome.value;
    std::swap(x, to);
    std::swap(gradient, slopes);
    outcome.value = value;
    return made(to, before);
  }

  bool end(bool converged, std::string reason) {
    outcome.converged = converged;
    outcome.reason = std::move(reason);
    return false;
  }

  Index evaluations_left() const { return options_.max_evaluations - objective_.evaluations; }

  /// How often the objective may still be evaluated, at least once.
  Index budget(Index most) const {
    return std::clamp<Index>((evaluations_left() + calls_ - 1) / calls_, 1, most);
  }

  void backed_off(Index times) { backed_off_ += times; }

  Outcome finish(std::span<double> end_x, std::span<double> end_gradient) {
    std::copy(x.begin(), x.end(), end_x.begin());
    std::copy(gradient.begin(), gradient.end(), end_gradient.begin());
    outcome.evaluations = objective_.evaluations;
    if (backed_off_ > 0) {
      outcome.reason += "; the search backed off " + std::to_string(backed_off_) +
                        " times from values that were not finite";
    }
    return outcome;
  }

  Vector x, gradient;
  Outcome outcome;

 private:
  Objective& objective_;
  const MinimizeOptions& options_;
  Index calls_ = 1;  // of the function for one evaluation: many, with differences
  Index backed_off_ = 0;
  double lowest_ = std::numeric_limits<double>::infinity(), smallest_ = lowest_;
  Index without_gain_ = 0;  // iterations
};

/// One for each method: from where the run has started until it is over.
void run(Run& run, const Objective& objective, const LBFGS& method, const MinimizeOptions& options);
void run(Run& run, const Objective& objective, const LBFGSB& method, const MinimizeOptions& options);
void run(Run& run, const Objective& objective, const SGDOptions& method, const MinimizeOptions& options);
void run(Run& run, const Objective& objective, const AdamOptions& method, const MinimizeOptions& options);

}  // namespace taper::optim::detail
