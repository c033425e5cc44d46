#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <iosfwd>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/mask.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>

namespace taper::optim {

/// Limited-memory BFGS: the two-loop recursion over the last steps, and a line search for the strong Wolfe
/// conditions (Nocedal, "Updating quasi-Newton matrices with limited storage", 1980; Liu and Nocedal, 1989).
struct LBFGS {
  /// How many steps are remembered.
  Index history = 10;
  double decrease = 1e-4;
  double curvature = 0.9;
};

/// L-BFGS within bounds, by projection: entries that a step would push out of their bounds stay there and
/// move by their own gradient, the others by the two-loop recursion restricted to them (Bertsekas, "Projected
/// Newton methods for optimization problems with simple constraints", 1982, equations 31 to 36).
struct LBFGSB {
  /// One bound for each entry of x0 (by rows), or a single one for all; none means unbounded.
  std::vector<double> lower = {};
  std::vector<double> upper = {};
  Index history = 10;
};

/// Gradient descent takes the options of SGD, and Adam its own.
using Method = std::variant<LBFGS, LBFGSB, SGDOptions, AdamOptions>;

/// How a gradient is estimated from values: error of order h^2 with two values for an entry, or of order h
/// with one.
enum class Differences { central, forward };

/// What a callback is shown after an iteration.
struct Iterate {
  Index iteration;    // from 1
  Index evaluations;  // of the function, so far
  double value;
  double gradient_norm;       // the largest magnitude among the free entries
  std::span<const double> x;  // the free entries
};

struct MinimizeOptions {
  Method method = LBFGS{};
  /// Which entries of x0 may move; all, when there is none. The others are constants of the problem: their
  /// gradient is never looked at, and they keep their bits.
  std::optional<Mask> mask = {};
  /// Converged when no free entry of the gradient is larger (of the projected gradient, within bounds).
  /// By default the square root of the precision: 1.5e-8 in double, 3.5e-4 in float.
  std::optional<double> gradient_tolerance = {};
  /// Converged when an iteration lowers the value by at most this, relative to its magnitude (at least 1).
  double value_tolerance = 0;
  /// Converged when no entry moves by more than this.
  double step_tolerance = 0;
  Index max_iterations = 1000;
  Index max_evaluations = 100000;
  /// The longest step of an iteration, as a Euclidean norm. For the line-search methods.
  double max_step = std::numeric_limits<double>::infinity();
  Differences differences = Differences::central;
  /// Called after each iteration; one that returns false ends the run.
  std::function<bool(const Iterate&)> callback = {};
};

/// How a run went.
struct Outcome {
  double value = 0;
  Index iterations = 0;
  /// Calls of the function, those for differences included.
  Index evaluations = 0;
  bool converged = false;
  /// Why it ended, in words.
  std::string reason;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

/// A minimum over Eigen vectors or matrices of type X.
template <class X> struct Minimum : Outcome {
  X x;
  /// At x; zero where the mask is frozen.
  X gradient;
};

/// A function of the free entries only, as the methods see it: it returns the value at x and writes the
/// gradient. It may round x to what it has evaluated, and counts its evaluations.
struct Objective {
  std::function<double(std::span<double> x, std::span<double> gradient)> evaluate;
  Index evaluations = 0;
  /// The relative precision of a value.
  double precision = std::numeric_limits<double>::epsilon();
};

/// Minimizes over x, in place, and leaves the last gradient. The mask of the options is not looked at, and
/// bounds belong to the entries of x. Throws Error for options that make no sense, and for a value or
/// gradient at the start that is not finite.
Outcome minimize(Objective& objective, std::span<double> x, std::span<double> gradient,
                 const MinimizeOptions& options);

/// Minimizes over the free entries of a model's parameters. `loss` computes the loss and leaves its gradient,
/// typically by replaying a tape over the whole data set and its backward pass. Throws Error like the others,
/// and when the options have a mask: parameters carry their own.
template <class T>
Outcome minimize(const nn::Parameters<T>& parameters, const std::function<double()>& loss,
                 const MinimizeOptions& options = {});

/// The gradient of a function by differences, for the free entries only; zero elsewhere.
/// `value` is called with x changed in one entry at a time; x is left as it was.
template <class T>
void difference_gradient(const std::function<double()>& value, std::span<T> x, const Mask& mask,
                         Differences differences, std::span<T> gradient);

/// A gradient beside the one by central differences.
struct GradientCheck {
  /// The largest difference, relative to the larger of both magnitudes and 1.
  double max_error = 0;
  /// Where it is: the position by rows, what was given there, and what differences give.
  Index entry = 0;
  double given = 0, expected = 0;
};

std::ostream& operator<<(std::ostream& out, const GradientCheck& check);

namespace detail {

template <class F, class X>
concept ValueAndGradient = std::is_invocable_r_v<double, F, const X&, X&>;
template <class F, class X>
concept ValueOnly = std::is_invocable_r_v<double, F, const X&>;
template <class F, class T>
concept OnTape = std::is_invocable_r_v<Var<T>, F, Var<T>>;

template <class X> Shape shape_of(const X& x) {
  return X::IsVectorAtCompileTime ? Shape{x.size()} : Shape{x.rows(), x.cols()};
}

/// The entry at a position by rows.
template <class X> auto& entry(X& x, Index position) {
  return x(position / x.cols(), position % x.cols());
}

/// A user's function of any of the three kinds, evaluated at `x`.
template <class F, class X> class Function {
  using T = typename X::Scalar;

 public:
  Function(F& f, const X& x0, const Mask& mask, Differences differences)
      : x(x0), gradient(X::Zero(x0.rows(), x0.cols())), f_(f), mask_(mask), differences_(differences) {}

  /// The value at x, and in `gradient` its gradient; each call of f is counted.
  double evaluate(Index& calls) {
    if constexpr (ValueAndGradient<F, X>) {
      ++calls;
      return static_cast<double>(f_(std::as_const(x), gradient));
    } else if constexpr (OnTape<F, T>) {
      ++calls;
      return on_tape();
    } else {
      static_assert(ValueOnly<F, X>, "minimize: expected f(x), f(x, gradient), or f(Var) on a tape");
      return by_differences(calls);
    }
  }

  X x, gradient;

 private:
  double on_tape() {
    tape_.clear();
    const Var<T> at = tape_.variable(Tensor<T>(x), "x");
    const Var<T> y = f_(at);
    if (y.shape().size() != 1)
      throw Error("minimize", "a function with value ", y.shape(), ": expected one entry");
    tape_.backward(y);
    const View<const T> slopes = at.gradient();
    for (Index i = 0; i < slopes.size(); ++i) entry(gradient, i) = slopes[i];
    return static_cast<double>(y.item());
  }

  double by_differences(Index& calls) {
    // Entries by rows, whatever the storage of X: the positions of the mask.
    std::vector<T> rows(static_cast<std::size_t>(x.size())), slopes(rows.size());
    for (Index i = 0; i < x.size(); ++i) rows[static_cast<std::size_t>(i)] = entry(x, i);
    const X start = x;
    const auto value = [&] {
      for (Index i = 0; i < x.size(); ++i) entry(x, i) = rows[static_cast<std::size_t>(i)];
      ++calls;
      return static_cast<double>(f_(std::as_const(x)));
    };
    const double here = value();
    if (std::isfinite(here)) difference_gradient<T>(value, rows, mask_, differences_, slopes);
    x = start;
    for (Index i = 0; i < x.size(); ++i) entry(gradient, i) = slopes[static_cast<std::size_t>(i)];
    return here;
  }

  F& f_;
  const Mask& mask_;
  Differences differences_;
  Tape<T> tape_;
};

/// The options with bounds for the free entries alone. Throws Error for bounds that do not fit.
MinimizeOptions reduced(const MinimizeOptions& options, const Mask& mask);

}  // namespace detail

/// Minimizes a plain function from x0, any Eigen vector or matrix X of float or double. The function is one
/// of
///
///     double f(const X& x)                  // its gradient is estimated by differences, for free entries
///     only double f(const X& x, X& gradient)     // writes its gradient Var<T> f(Var<T> x) // computes on a
///     tape, which differentiates it
///
///     auto result = optim::minimize(f, x0, {.mask = Mask::free({true, false, true, false})});
///
/// The methods work in double in the space of the free entries; x is what was evaluated, in the scalar of X.
/// Throws Error for a mask of another shape than x0 (a vector of n has shape n, a matrix rows x columns),
/// bounds that do not fit or cross, and a value or gradient at x0 that is not finite in a free entry.
template <class F, class Derived>
auto minimize(F&& f, const Eigen::DenseBase<Derived>& x0, const MinimizeOptions& options = {}) {
  using X = typename Derived::PlainObject;
  using T = typename X::Scalar;
  const X start = x0.derived();
  const Mask mask = options.mask.value_or(Mask::all_free(detail::shape_of(start)));
  mask.require(detail::shape_of(start), "minimize");
  const std::vector<Index> free = mask.free_positions();

  detail::Function<std::remove_reference_t<F>, X> function(f, start, mask, options.differences);
  Objective objective;
  objective.precision = static_cast<double>(std::numeric_limits<T>::epsilon());
  objective.evaluate = [&](std::span<double> x, std::span<double> gradient) {
    for (std::size_t i = 0; i < free.size(); ++i) {
      T& entry = detail::entry(function.x, free[i]);
      entry = static_cast<T>(x[i]);
      x[i] = static_cast<double>(entry);
    }
    const double value = function.evaluate(objective.evaluations);
    for (std::size_t i = 0; i < free.size(); ++i) {
      gradient[i] = static_cast<double>(detail::entry(function.gradient, free[i]));
    }
    return value;
  };
  std::vector<double> x, gradient(free.size());
  for (const Index position : free) x.push_back(static_cast<double>(detail::entry(start, position)));

  const Outcome outcome = minimize(objective, x, gradient, detail::reduced(options, mask));
  Minimum<X> result{outcome, start, X::Zero(start.rows(), start.cols())};
  for (std::size_t i = 0; i < free.size(); ++i) {
    detail::entry(result.x, free[i]) = static_cast<T>(x[i]);
    detail::entry(result.gradient, free[i]) = static_cast<T>(gradient[i]);
  }
  return result;
}

/// Compares the gradient that f(x, gradient) writes, or that of f(Var) on a tape, with central differences at
/// x, and points at the worst entry.
template <class F, class Derived> GradientCheck check_gradient(F&& f, const Eigen::DenseBase<Derived>& x0) {
  using X = typename Derived::PlainObject;
  using T = typename X::Scalar;
  const X start = x0.derived();
  const Mask all = Mask::all_free(detail::shape_of(start));
  detail::Function<std::remove_reference_t<F>, X> function(f, start, all, Differences::central);
  Index calls = 0;
  function.evaluate(calls);
  const X given = function.gradient;
  std::vector<T> rows, expected(static_cast<std::size_t>(start.size()));
  for (Index i = 0; i < start.size(); ++i) rows.push_back(detail::entry(start, i));
  const auto value = [&] {
    for (Index i = 0; i < start.size(); ++i) detail::entry(function.x, i) = rows[static_cast<std::size_t>(i)];
    return function.evaluate(calls);
  };
  difference_gradient<T>(value, rows, all, Differences::central, expected);
  GradientCheck check;
  for (Index i = 0; i < start.size(); ++i) {
    const double a = static_cast<double>(detail::entry(given, i)),
                 b = static_cast<double>(expected[static_cast<std::size_t>(i)]);
    const double error = std::abs(a - b) / std::max({1.0, std::abs(a), std::abs(b)});
    if (!(error <= check.max_error)) check = {error, i, a, b};
  }
  return check;
}

extern template Outcome minimize(const nn::Parameters<float>&, const std::function<double()>&,
                                 const MinimizeOptions&);
extern template Outcome minimize(const nn::Parameters<double>&, const std::function<double()>&,
                                 const MinimizeOptions&);
extern template void difference_gradient(const std::function<double()>&, std::span<float>, const Mask&,
                                         Differences, std::span<float>);
extern template void difference_gradient(const std::function<double()>&, std::span<double>, const Mask&,
                                         Differences, std::span<double>);

}  // namespace taper::optim
