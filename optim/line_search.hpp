#pragma once

#include <functional>

#include <taper/autodiff/shape.hpp>

namespace taper::optim {

/// A function along a line: its value and its derivative at one step length.
struct LinePoint {
  double step = 0, value = 0, slope = 0;
};

struct WolfeOptions {
  double decrease = 1e-4;  ///< value <= start + decrease * step * start's slope
  double curvature = 0.9;  ///< |slope| <= curvature * |start's slope|
  double max_step = 1e20;
  /// How far values can be wrong, relative to the start's: where rounding hides a decrease, the slopes alone
  /// decide (Hager and Zhang, 2005, equation 23).
  double noise = 0;
  Index max_evaluations = 40;
};

struct LineSearch {
  LinePoint point;       ///< the last one evaluated
  bool found = false;    ///< whether it meets the conditions, or at least that of sufficient decrease
  Index backed_off = 0;  ///< how often the function was not finite and the step was cut
};

/// Looks for a step that meets the strong Wolfe conditions, by safeguarded cubic and quadratic interpolation
/// in an interval that is known to hold one (Moré and Thuente, "Line search algorithms with guaranteed
/// sufficient decrease", 1994). `start` is at step 0 and has a negative slope, `along` evaluates at a step.
/// Where the function is not finite, the step is halved and does not grow again.
LineSearch strong_wolfe(const std::function<LinePoint(double step)>& along, const LinePoint& start,
                        double first_step, const WolfeOptions& options = {});

}  // namespace taper::optim
