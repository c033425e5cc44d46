#pragma once

#include <functional>
#include <iosfwd>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <taper/optim/adam.hpp>
#include <taper/optim/function.hpp>
#include <taper/optim/sgd.hpp>

namespace taper::optim {

/// Limited-memory BFGS: the two-loop recursion over the last steps, and a line search for the strong Wolfe
/// conditions (Nocedal, "Updating quasi-Newton matrices with limited storage", 1980; Liu and Nocedal, 1989).
struct LBFGS {
  /// How many steps are kept.
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

/// One of the methods. Gradient descent takes the options of SGD, and Adam its own, without weight decay,
/// which would change the function.
class Method {
 public:
  Method(const LBFGS& options = {});
  Method(const LBFGSB& options);
  Method(const SGDOptions& options);
  Method(const AdamOptions& options);

  /// Which one it is: a variant that the sources know, so that users do not compile it.
  struct Choice;
  const Choice& choice() const { return *choice_; }

 private:
  std::shared_ptr<const Choice> choice_;
};

/// What a callback is shown after an iteration.
struct Iterate {
  Index iteration;    // from 1
  Index evaluations;  // of the function, so far
  double value;
  double gradient_norm;       // the largest magnitude among the free entries
  std::span<const double> x;  // the free entries
};

struct MinimizeOptions {
  Method method = {};
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
  /// Calls of the function; may be exceeded by what one gradient by differences takes.
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

/// Minimizes over x, in place, and stores the last gradient. The mask of the options is not looked at, and
/// bounds belong to the entries of x. Throws Error for options that make no sense, and for a value or
/// gradient at the start that is not finite.
Outcome minimize(Objective& objective, std::span<double> x, std::span<double> gradient,
                 const MinimizeOptions& options);

/// Minimizes over the free entries of a model's parameters. `loss` computes the loss and stores its gradient,
/// typically by replaying a tape over the whole data set and its backward pass. Throws Error like the others,
/// and when the options have a mask: parameters carry their own.
template <class T>
Outcome minimize(const nn::Parameters<T>& parameters, const std::function<double()>& loss,
                 const MinimizeOptions& options = {});

/// Minimizes a function of plain elements from x, in place, over the entries that the mask has free, and
/// stores the gradient there, zero elsewhere.
template <class T>
Outcome minimize(const Function<T>& function, std::span<T> x, std::span<T> gradient,
                 const MinimizeOptions& options);

/// Minimizes a plain function from x0, any Eigen vector or matrix X of float or double. The function is one
/// of the kinds that make_function knows: f(x), f(x, gradient), or f(Var) on a tape.
///
///     auto result = optim::minimize(f, x0, {.mask = Mask::free({true, false, true, false})});
///
/// The methods work in double in the space of the free entries; x is what was evaluated, in the scalar of X.
/// Throws Error for a mask of another shape than x0 (a vector of n has shape n, a matrix rows x columns),
/// bounds that do not fit or cross, and a value or gradient at x0 that is not finite in a free entry.
template <class F, class Derived>
auto minimize(F&& f, const Eigen::DenseBase<Derived>& x0, const MinimizeOptions& options = {}) {
  using X = typename Derived::PlainObject;
  const X& start = x0.derived();  // a copy, where X is not what was given
  auto x = by_rows(start), gradient = x;
  const Outcome outcome = minimize<typename X::Scalar>(make_function<X>(f, start), x, gradient, options);
  Minimum<X> result{outcome, start, start};
  from_rows<X>(x, result.x);
  from_rows<X>(gradient, result.gradient);
  return result;
}

}  // namespace taper::optim
