#include <taper/optim/line_search.hpp>

#include <algorithm>
#include <cmath>

namespace taper::optim {
namespace {

/// Where the cubic through both points and slopes has its minimum, as a fraction of the way from `a` to `b`.
/// Without a minimum the result is not in (0, 1], and may be anything.
double cubic_fraction(const LinePoint& a, const LinePoint& b) {
  const double theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope;
  const double scale = std::max({std::abs(theta), std::abs(a.slope), std::abs(b.slope)});
  const double square = (theta / scale) * (theta / scale) - (a.slope / scale) * (b.slope / scale);
  const double root = std::copysign(scale * std::sqrt(std::max(0.0, square)), b.step - a.step);
  return (root - a.slope + theta) / (2 * root - a.slope + b.slope);
}

double cubic_step(const LinePoint& a, const LinePoint& b) {
  return a.step + cubic_fraction(a, b) * (b.step - a.step);
}

/// The minimum of the parabola through both values and a's slope.
double quadratic_step(const LinePoint& a, const LinePoint& b) {
  const double chord = (b.value - a.value) / (b.step - a.step);
  return a.step + a.slope / (a.slope - chord) / 2 * (b.step - a.step);
}

/// Where the line through both slopes is zero.
double secant_step(const LinePoint& a, const LinePoint& b) {
  return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step);
}

/// The interval of section 2 of the paper: `best` has the lowest value so far, and its slope points to
/// `other`.
struct Interval {
  LinePoint best, other;
  bool bracketed = false;

  /// Takes in a new point and returns the next step to try, between `low` and `high` (section 4).
  double update(const LinePoint& trial, double low, double high) {
    const bool turned = trial.slope * best.slope < 0;
    double next;
    if (trial.value > best.value) {  // case 1: too far
      const double cubic = cubic_step(best, trial), quadratic = quadratic_step(best, trial);
      const bool cubic_is_closer = std::abs(cubic - best.step) < std::abs(quadratic - best.step);
      next = cubic_is_closer ? cubic : cubic + (quadratic - cubic) / 2;
      bracketed = true;
    } else if (turned) {  // case 2: lower, and beyond a minimum
      const double cubic = cubic_step(trial, best), secant = secant_step(best, trial);
      next = std::abs(cubic - trial.step) > std::abs(secant - trial.step) ? cubic : secant;
      bracketed = true;
    } else if (std::abs(trial.slope) < std::abs(best.slope)) {  // case 3: lower, and flatter
      next = flatter(trial, low, high);
    } else if (bracketed) {  // case 4: lower, and not flatter
      next = cubic_step(trial, other);
    } else {
      next = trial.step > best.step ? high : low;
    }
    if (trial.value > best.value) {
      other = trial;
    } else {
      if (turned) other = best;
      best = trial;
    }
    return next;
  }

 private:
  double flatter(const LinePoint& trial, double low, double high) const {
    const double fraction = cubic_fraction(trial, best);
    const double end = trial.step > best.step ? high : low;
    // The cubic counts only if its minimum lies ahead.
    const double cubic = fraction < 0 ? trial.step + fraction * (best.step - trial.step) : end;
    const double secant = secant_step(best, trial);
    const bool cubic_is_closer = std::abs(cubic - trial.step) < std::abs(secant - trial.step);
    if (!bracketed) return std::clamp(cubic_is_closer ? secant : cubic, low, high);
    const double next = cubic_is_closer ? cubic : secant,
                 most = trial.step + 0.66 * (other.step - trial.step);
    return trial.step > best.step ? std::min(most, next) : std::max(most, next);
  }
};

/// The function minus the line of sufficient decrease (the paper's psi).
LinePoint below_line(const LinePoint& point, double line) {
  return {point.step, point.value - point.step * line, point.slope - line};
}

}  // namespace

LineSearch strong_wolfe(const std::function<LinePoint(double)>& along, const LinePoint& start,
                        double first_step, const WolfeOptions& options) {
  const double line = options.decrease * start.slope;
  const double noise = options.noise * std::abs(start.value);
  const auto acceptable = [&](const LinePoint& p) {
    const bool flat = std::abs(p.slope) <= options.curvature * -start.slope;
    const bool decreased = p.value <= start.value + p.step * line;
    const bool within_noise =
        p.value <= start.value + noise && p.slope <= (2 * options.decrease - 1) * start.slope;
    return flat && (decreased || (noise > 0 && within_noise));
  };

  LineSearch search;
  Interval interval{start, start};
  double limit = options.max_step;  // beyond it the function may not be finite
  double step = std::min(first_step, limit);
  double low = 0, high = 5 * step;
  double width = limit, width_before = 2 * limit;
  bool below = false;  // whether a point below the line with a rising slope has been seen
  for (Index evaluations = 0; evaluations < options.max_evaluations; ++evaluations) {
    const LinePoint trial = search.point = along(step);
    if (!std::isfinite(trial.value) || !std::isfinite(trial.slope)) {
      ++search.backed_off;
      limit = step = interval.best.step + (step - interval.best.step) / 2;
      high = std::min(high, limit);
      continue;
    }
    if (acceptable(trial)) {
      search.found = true;
      return search;
    }
    const bool decreased = trial.value <= start.value + step * line;
    if (step >= options.max_step && decreased && trial.slope <= line) {
      search.found = true;  // as far as allowed, and still falling
      return search;
    }
    below |= decreased && trial.slope >= 0;
    if (!below && !decreased && trial.value <= interval.best.value) {
      Interval shifted{below_line(interval.best, line), below_line(interval.other, line), interval.bracketed};
      step = shifted.update(below_line(trial, line), low, high);
      const auto back = [&](LinePoint p) {
        return LinePoint{p.step, p.value + p.step * line, p.slope + line};
      };
      interval = {back(shifted.best), back(shifted.other), shifted.bracketed};
    } else {
      step = interval.update(trial, low, high);
    }
    const double best = interval.best.step, other = interval.other.step;
    if (interval.bracketed) {
      if (std::abs(other - best) >= 0.66 * width_before) step = best + (other - best) / 2;
      width_before = width;
      width = std::abs(other - best);
      low = std::min(best, other);
      high = std::max(best, other);
    } else {
      low = step + 1.1 * (step - best);
      high = step + 4 * (step - best);
    }
    step = std::min(step, limit);
    const bool exhausted = interval.bracketed && (step <= low || step >= high || high - low <= 1e-16 * high);
    // Rounding: no point between can be told from the ends. Or all that is left lies beyond the limit.
    if (!std::isfinite(step) || exhausted || step == trial.step) break;
  }
  // Without a point that is flat enough, one with a sufficient decrease is better than none.
  const LinePoint best = interval.best;
  if (best.value < start.value && best.value <= start.value + best.step * line) {
    if (search.point.step != best.step) search.point = along(best.step);
    search.found = true;
  }
  return search;
}

}  // namespace taper::optim
