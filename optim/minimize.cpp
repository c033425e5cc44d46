#include <taper/optim/minimize.hpp>

#include <algorithm>
#include <cmath>
#include <ostream>

#include <taper/optim/lbfgs.hpp>
#include <taper/optim/line_search.hpp>

namespace taper::optim {
namespace {

using Vector = Eigen::VectorXd;

std::span<double> span(Vector& v) {
  return {v.data(), static_cast<std::size_t>(v.size())};
}

double largest(const Vector& v) {
  return v.size() == 0 ? 0 : v.cwiseAbs().maxCoeff();
}

constexpr const char* limit_reached = "the limit of evaluations was reached";
constexpr const char* no_decrease =
    "the line search found no lower point: the gradient is wrong, or rounding hides a decrease";

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
};

void run(Run& run, const Objective& objective, const LBFGS& method, const MinimizeOptions& options) {
  LBFGSHistory history(run.x.size(), method.history);
  Vector direction, trial = run.x, slopes = run.gradient, step_made, change;
  while (run.goes_on(largest(run.gradient))) {
    direction = -run.gradient;
    history.multiply(span(direction));
    double slope = direction.dot(run.gradient);
    if (!(slope < 0) || !std::isfinite(slope)) {
      history.clear();
      // Of unit length where the square of the gradient would overflow.
      const double size = run.gradient.stableNorm();
      direction = -run.gradient / (size > 1e150 ? size : 1);
      slope = direction.dot(run.gradient);
    }
    const double length = direction.stableNorm();
    // Without a history the scale of the gradient says nothing about that of x.
    const double first_step = history.empty() ? std::min(1.0, 1 / length) : 1;
    const LineSearch search = strong_wolfe(
        [&](double step) {
          trial = run.x + step * direction;
          const double value = run.evaluate(trial, slopes);
          return LinePoint{step, value, slopes.dot(direction)};
        },
        {0, run.outcome.value, slope}, first_step,
        {.decrease = method.decrease,
         .curvature = method.curvature,
         .max_step = options.max_step / length,
         .noise = 8 * objective.precision,
         .max_evaluations = run.budget(40)});
    run.backed_off(search.backed_off);
    if (!search.found) {
      if (history.empty() || run.evaluations_left() <= 0) {
        run.end(false, run.evaluations_left() <= 0 ? limit_reached : no_decrease);
        return;
      }
      history.clear();  // once more, along the gradient
      continue;
    }
    step_made = trial - run.x;
    change = slopes - run.gradient;
    history.push(span(step_made), span(change));
    const double before = run.outcome.value;
    std::swap(run.x, trial);
    std::swap(run.gradient, slopes);
    run.outcome.value = search.point.value;
    if (!run.made(trial, before)) return;
  }
}

void run(Run& run, const Objective& objective, const LBFGSB& method, const MinimizeOptions& options) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Index n = run.x.size();
  const auto bound = [&](const std::vector<double>& given, double none) -> Vector {
    if (given.empty()) return Vector::Constant(n, none);
    if (given.size() == 1) return Vector::Constant(n, given[0]);
    return Eigen::Map<const Vector>(given.data(), n);
  };
  const Vector lower = bound(method.lower, -infinity), upper = bound(method.upper, infinity);
  const auto project = [&](const Vector& v) -> Vector { return v.cwiseMax(lower).cwiseMin(upper); };
  const auto projected = [&](const Vector& x, const Vector& g) { return largest(x - project(x - g)); };

  LBFGSHistory history(n, method.history);
  Vector direction, trial = run.x, slopes = run.gradient, step_made, change, free(n);
  for (double norm; norm = projected(run.x, run.gradient), run.goes_on(norm);) {
    // Entries at, or nearly at, a bound that the gradient pushes against move along the gradient only.
    const double margin = std::min(1e-6, norm);
    for (Index i = 0; i < n; ++i) {
      const double g = run.gradient(i);
      const bool pushed =
          (run.x(i) <= lower(i) + margin && g > 0) || (run.x(i) >= upper(i) - margin && g < 0);
      free(i) = pushed ? 0 : 1;
    }
    direction = -run.gradient.cwiseProduct(free);
    history.multiply(span(direction), span(free));
    if (!(direction.dot(run.gradient) <= 0) || !direction.allFinite()) {
      history.clear();
      direction = -run.gradient.cwiseProduct(free);
    }
    direction -= run.gradient.cwiseProduct(Vector::Ones(n) - free);
    const double length = direction.norm();
    double step = history.empty() ? std::min(1.0, 1 / length) : 1;
    step = std::min(step, options.max_step / length);
    // Backtracking along the projected path (Bertsekas, equation 36).
    double value = 0;
    bool found = false;
    for (int halvings = 0; halvings < 60 && !found && run.evaluations_left() > 0; ++halvings, step /= 2) {
      trial = project(run.x + step * direction);
      value = run.evaluate(trial, slopes);
      if (!std::isfinite(value) || !slopes.allFinite()) {
        run.backed_off(1);
        continue;
      }
      const double before = run.outcome.value, predicted = run.gradient.dot(run.x - trial);
      found = value < before && value <= before - 1e-4 * predicted;
      // Where rounding hides a decrease, the gradient decides.
      const double noise = 8 * objective.precision * std::abs(before);
      found |= value <= before + noise && projected(trial, slopes) < norm;
    }
    if (!found) {
      if (history.empty() || run.evaluations_left() <= 0) {
        run.end(false, run.evaluations_left() <= 0 ? limit_reached : no_decrease);
        return;
      }
      history.clear();
      continue;
    }
    step_made = trial - run.x;
    change = slopes - run.gradient;
    history.push(span(step_made), span(change));
    const double before = run.outcome.value;
    std::swap(run.x, trial);
    std::swap(run.gradient, slopes);
    run.outcome.value = value;
    if (!run.made(trial, before)) return;
  }
}

/// The methods of networks, on one parameter that holds x.
template <class Step> void run_steps(Run& run, nn::Parameter<double>& parameter, const Step& step) {
  Vector before;
  while (run.goes_on(largest(run.gradient))) {
    before = run.x;
    const double value = run.outcome.value;
    const auto place = static_cast<std::size_t>(parameter.offset());
    std::copy(run.gradient.begin(), run.gradient.end(), parameter.block()->gradients.data() + place);
    step();
    run.x = parameter.value().vector();
    run.outcome.value = run.evaluate(run.x, run.gradient);
    if (!std::isfinite(run.outcome.value) || !run.gradient.allFinite()) {
      run.x = before;
      run.outcome.value = run.evaluate(run.x, run.gradient);
      run.end(false, "the next value or its gradient is not finite: a lower rate may help");
      return;
    }
    if (!run.made(before, value)) return;
  }
}

template <template <class> class Optimizer, class Options>
void run_optimizer(Run& run, const Options& options) {
  nn::Parameter<double> parameter(Shape{run.x.size()});
  parameter.value().vector() = run.x;
  Optimizer<double> optimizer(nn::Parameters<double>({{"x", &parameter}}), options);
  run_steps(run, parameter, [&] { optimizer.step(); });
}

void run(Run& run, const Objective&, const SGDOptions& method, const MinimizeOptions&) {
  run_optimizer<SGD>(run, method);
}
void run(Run& run, const Objective&, const AdamOptions& method, const MinimizeOptions&) {
  run_optimizer<Adam>(run, method);
}

void require(const MinimizeOptions& options) {
  const auto at_least_zero = [](const char* name, double value) { require_setting("minimize", name, value); };
  at_least_zero("gradient_tolerance", options.gradient_tolerance.value_or(0));
  at_least_zero("value_tolerance", options.value_tolerance);
  at_least_zero("step_tolerance", options.step_tolerance);
  at_least_zero("max_iterations", static_cast<double>(options.max_iterations));
  if (options.max_evaluations < 1) {
    throw Error("minimize", "max_evaluations ", options.max_evaluations, ": expected 1 or more");
  }
  if (!(options.max_step > 0))
    throw Error("minimize", "max_step ", options.max_step, ": expected more than 0");
  const auto require_history = [](Index history) {
    if (history < 1) throw Error("minimize", "history ", history, ": expected 1 or more");
  };
  const auto require_plain = [&](double weight_decay) {
    if (weight_decay != 0) {
      throw Error("minimize", "weight_decay ", weight_decay,
                  ": expected none, add the penalty to the function");
    }
    if (std::isfinite(options.max_step)) {
      throw Error("minimize", "max_step ", options.max_step, ": expected a method with a line search");
    }
  };
  if (const auto* method = std::get_if<SGDOptions>(&options.method)) require_plain(method->weight_decay);
  if (const auto* method = std::get_if<AdamOptions>(&options.method)) require_plain(method->weight_decay);
  if (const auto* method = std::get_if<LBFGSB>(&options.method)) require_history(method->history);
  if (const auto* method = std::get_if<LBFGS>(&options.method)) {
    require_history(method->history);
    if (!(0 < method->decrease && method->decrease < method->curvature && method->curvature < 1)) {
      throw Error("minimize", "decrease ", method->decrease, " and curvature ", method->curvature,
                  ": expected 0 < decrease < curvature < 1");
    }
  }
}

void require_bounds(const LBFGSB& method, Index n) {
  const auto at = [](const std::vector<double>& bounds, Index i, double none) {
    return bounds.empty() ? none : bounds.size() == 1 ? bounds[0] : bounds[static_cast<std::size_t>(i)];
  };
  for (const auto* bounds : {&method.lower, &method.upper}) {
    if (bounds->size() > 1 && static_cast<Index>(bounds->size()) != n) {
      throw Error("minimize", bounds->size(), " bounds for ", n,
                  " entries: expected one for each, or one for all");
    }
  }
  for (Index i = 0; i < n; ++i) {
    const double low = at(method.lower, i, -HUGE_VAL), high = at(method.upper, i, HUGE_VAL);
    if (!(low <= high)) {
      throw Error("minimize", "lower bound ", low, " and upper bound ", high, " of entry ", i,
                  ": expected lower <= upper");
    }
  }
}

/// The options with bounds for the free entries alone.
MinimizeOptions of_free_entries(const MinimizeOptions& options, const Mask& mask) {
  MinimizeOptions result = options;
  auto* const bounds = std::get_if<LBFGSB>(&result.method);
  if (bounds == nullptr) return result;
  require_bounds(*bounds, mask.size());
  for (auto* given : {&bounds->lower, &bounds->upper}) {
    if (given->size() < 2) continue;
    std::vector<double> chosen;
    for (const Index position : mask.free_positions()) {
      chosen.push_back((*given)[static_cast<std::size_t>(position)]);
    }
    *given = chosen;  // a single one would stand for all: the same
  }
  return result;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << (outcome.converged ? "converged: " : "not converged: ") << outcome.reason << " (value "
             << outcome.value << ", " << outcome.iterations << " iterations, " << outcome.evaluations
             << " evaluations)";
}

Outcome minimize(Objective& objective, std::span<double> x, std::span<double> gradient,
                 const MinimizeOptions& options) {
  require(options);
  if (const auto* bounds = std::get_if<LBFGSB>(&options.method)) {
    const Index n = static_cast<Index>(x.size());
    require_bounds(*bounds, n);
    for (std::size_t i = 0; i < x.size(); ++i) {  // a start outside of them moves in
      if (!bounds->lower.empty()) x[i] = std::max(x[i], bounds->lower[bounds->lower.size() == 1 ? 0 : i]);
      if (!bounds->upper.empty()) x[i] = std::min(x[i], bounds->upper[bounds->upper.size() == 1 ? 0 : i]);
    }
  }
  Run state(objective, x, options);
  state.start();
  std::visit([&](const auto& method) { run(state, objective, method, options); }, options.method);
  return state.finish(x, gradient);
}

template <class T>
Outcome minimize(const nn::Parameters<T>& parameters, const std::function<double()>& loss,
                 const MinimizeOptions& options) {
  if (options.mask) {
    throw Error("minimize", "a mask ", options.mask->shape(),
                " for a model: expected none, its parameters have their own (freeze, thaw)");
  }
  Block<T>& block = *parameters.block();
  const auto require_current = [&] {
    if (block.version != parameters.version()) {
      throw Error("minimize",
                  "the model's parameters were laid out anew since these were taken: take them again");
    }
  };
  require_current();
  std::vector<std::size_t> free;
  for (const auto& entry : parameters.entries()) {
    for (Index i = entry.offset; i < entry.offset + entry.shape.size(); ++i) {
      if (block.frozen.data()[i] == 0) free.push_back(static_cast<std::size_t>(i));
    }
  }
  std::vector<double> x(free.size()), gradient(free.size());
  for (std::size_t i = 0; i < free.size(); ++i) x[i] = static_cast<double>(block.values.data()[free[i]]);
  const auto place = [&](std::span<double> at) {
    for (std::size_t i = 0; i < free.size(); ++i) {
      T& entry = block.values.data()[free[i]];
      entry = static_cast<T>(at[i]);
      at[i] = static_cast<double>(entry);
    }
  };
  Objective objective;
  objective.precision = static_cast<double>(std::numeric_limits<T>::epsilon());
  objective.evaluate = [&](std::span<double> at, std::span<double> slopes) {
    place(at);
    ++objective.evaluations;
    const double value = loss();
    require_current();
    for (std::size_t i = 0; i < free.size(); ++i) {
      slopes[i] = static_cast<double>(block.gradients.data()[free[i]]);
    }
    return value;
  };
  const Outcome outcome = minimize(objective, x, gradient, options);
  place(x);  // the last evaluation may have been elsewhere
  return outcome;
}

template <class T>
Outcome minimize(const Function<T>& function, std::span<T> x, std::span<T> gradient,
                 const MinimizeOptions& options) {
  const Mask mask = options.mask.value_or(Mask::all_free(function.shape));
  mask.require(function.shape, "minimize");
  const MinimizeOptions reduced = of_free_entries(options, mask);
  std::vector<std::size_t> free;
  for (const Index position : mask.free_positions()) free.push_back(static_cast<std::size_t>(position));

  Box box;
  if (const auto* bounds = std::get_if<LBFGSB>(&options.method)) box = {bounds->lower, bounds->upper};
  std::vector<T> at(x.begin(), x.end()), slopes(at.size());
  Objective objective;
  objective.precision = static_cast<double>(std::numeric_limits<T>::epsilon());
  objective.evaluate = [&](std::span<double> point, std::span<double> slope) {
    for (std::size_t i = 0; i < free.size(); ++i)
      point[i] = static_cast<double>(at[free[i]] = static_cast<T>(point[i]));
    const double value =
        evaluate<T>(function, at, slopes, mask, options.differences, box, objective.evaluations);
    for (std::size_t i = 0; i < free.size(); ++i) slope[i] = static_cast<double>(slopes[free[i]]);
    return value;
  };
  std::vector<double> point, slope(free.size());
  for (const std::size_t position : free) point.push_back(static_cast<double>(x[position]));
  const Outcome outcome = minimize(objective, point, slope, reduced);
  std::ranges::fill(gradient, T{0});
  for (std::size_t i = 0; i < free.size(); ++i) {
    x[free[i]] = static_cast<T>(point[i]);
    gradient[free[i]] = static_cast<T>(slope[i]);
  }
  return outcome;
}

#define TAPER_INSTANTIATE(T)                                                          \
  template Outcome minimize(const nn::Parameters<T>&, const std::function<double()>&, \
                            const MinimizeOptions&);                                  \
  template Outcome minimize(const Function<T>&, std::span<T>, std::span<T>, const MinimizeOptions&);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim
