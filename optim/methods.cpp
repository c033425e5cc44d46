#include <taper/optim/methods.hpp>

#include <limits>

#include <taper/optim/adam.hpp>
#include <taper/optim/line_search.hpp>
#include <taper/optim/sgd.hpp>

namespace taper::optim::detail {

void run(Run& run, const Objective& objective, const LBFGS& method, const MinimizeOptions& options) {
  LBFGSHistory history(run.x.size(), method.history);
  Vector direction, trial = run.x, slopes = run.gradient;
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
    if (!run.move(trial, slopes, search.point.value, history)) return;
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
  Vector direction, trial = run.x, slopes = run.gradient, free(n);
  for (double norm; norm = projected(run.x, run.gradient), run.goes_on(norm) && !run.stalls(norm);) {
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
    const double length = direction.stableNorm();
    double step = history.empty() ? std::min(1.0, 1 / length) : 1;
    step = std::min(step, options.max_step / length);
    // Backtracking along the projected path (Bertsekas, equation 36), to where the parabola through what is
    // known has its minimum.
    const double before = run.outcome.value, noise = 8 * objective.precision * std::abs(before);
    double value = 0;
    bool found = false;
    int hidden = 0;  // trials whose decrease rounding would hide
    for (int trials = 0; trials < 60 && hidden < 4 && !found && run.evaluations_left() > 0; ++trials) {
      trial = project(run.x + step * direction);
      value = run.evaluate(trial, slopes);
      if (!std::isfinite(value) || !slopes.allFinite()) {
        run.backed_off(1);
        step /= 2;
        continue;
      }
      const double predicted = run.gradient.dot(run.x - trial);
      found = value < before - noise && value <= before - 1e-4 * predicted;
      // Where rounding hides a decrease, the gradient decides, which must become smaller in every step then.
      found |= value <= before + noise && projected(trial, slopes) < norm;
      hidden += predicted <= noise;
      const double fraction = predicted / (2 * (value - before + predicted));
      step *= std::clamp(std::isfinite(fraction) ? fraction : 0.5, 0.1, 0.5);
    }
    if (!found) {
      if (history.empty() || run.evaluations_left() <= 0) {
        run.end(false, run.evaluations_left() <= 0 ? limit_reached : no_decrease);
        return;
      }
      history.clear();
      continue;
    }
    if (!run.move(trial, slopes, value, history)) return;
  }
}

namespace {

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
      run.end(false, "the next value or its gradient is not finite: a lower learning rate may help");
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

}  // namespace

void run(Run& run, const Objective&, const SGDOptions& method, const MinimizeOptions&) {
  run_optimizer<SGD>(run, method);
}
void run(Run& run, const Objective&, const AdamOptions& method, const MinimizeOptions&) {
  run_optimizer<Adam>(run, method);
}

}  // namespace taper::optim::detail
