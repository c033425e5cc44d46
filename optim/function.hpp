#pragma once

#include <algorithm>
#include <functional>
#include <iosfwd>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/mask.hpp>

namespace taper::optim {

/// How a gradient is estimated from values: error of order h^2 with two values for an entry, or of order h
/// with one.
enum class Differences { central, forward };

/// A function of the elements of a tensor, row-major. One of the three is given.
template <class T> struct Function {
  Shape shape;
  /// The value alone.
  std::function<double(std::span<const T> x)> value = {};
  /// The value; the gradient is written.
  std::function<double(std::span<const T> x, std::span<T> gradient)> value_and_gradient = {};
  /// Recorded on the tape of x; a variable with one entry.
  std::function<Var<T>(Var<T> x)> on_tape = {};
  std::shared_ptr<Tape<T>> tape = std::make_shared<Tape<T>>();
};

/// Where the entries of x may be: bounds by position, or none.
struct Box {
  std::vector<double> lower = {}, upper = {};
  double low(std::size_t i) const { return lower.empty() ? -infinity : lower[lower.size() == 1 ? 0 : i]; }
  double high(std::size_t i) const { return upper.empty() ? infinity : upper[upper.size() == 1 ? 0 : i]; }

  static constexpr double infinity = std::numeric_limits<double>::infinity();
};

/// The value of a function at x and its gradient, of values alone by differences in the free entries and
/// within the box. Adds the calls of the function to `calls`. x is changed on the way and restored.
template <class T>
double evaluate(const Function<T>& function, std::span<T> x, std::span<T> gradient, const Mask& mask,
                Differences differences, const Box& box, Index& calls);

/// A gradient beside the one by central differences.
struct GradientCheck {
  /// The largest difference, relative to the larger of both magnitudes and 1.
  double max_error = 0;
  /// Where it is: the position by rows, what was given there, and what differences give.
  Index entry = 0;
  double given = 0, expected = 0;
};

std::ostream& operator<<(std::ostream& out, const GradientCheck& check);

template <class T> GradientCheck check_gradient(const Function<T>& function, std::span<const T> x);

/// The entries of an Eigen vector or matrix by rows, whatever its storage.
template <class X> std::vector<typename X::Scalar> by_rows(const X& x) {
  std::vector<typename X::Scalar> rows;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) rows.push_back(x(i, j));
  }
  return rows;
}
template <class X> void from_rows(std::span<const typename X::Scalar> rows, X& x) {
  std::size_t position = 0;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) x(i, j) = rows[position++];
  }
}

/// A function of an Eigen vector or matrix X, of one of the kinds
///
///     double f(const X& x);               // its gradient is estimated by differences
///     double f(const X& x, X& gradient);  // writes its gradient
///     Var<T> f(Var<T> x);                 // computes on a tape, which differentiates it
///
/// `like` gives the size. f must outlive the result.
template <class X, class F> Function<typename X::Scalar> make_function(F& f, const X& like) {
  using T = typename X::Scalar;
  Function<T> function{X::IsVectorAtCompileTime ? Shape{like.size()} : Shape{like.rows(), like.cols()}};
  if constexpr (std::is_invocable_r_v<double, F&, const X&, X&>) {
    function.value_and_gradient = [&f, x = X(like), g = X(like)](std::span<const T> at,
                                                                 std::span<T> gradient) mutable {
      from_rows(at, x);
      const double value = static_cast<double>(f(std::as_const(x), g));
      if (g.rows() != x.rows() || g.cols() != x.cols()) {
        throw Error("minimize", "a gradient ", g.rows(), "x", g.cols(), ": expected ", x.rows(), "x",
                    x.cols());
      }
      std::ranges::copy(by_rows(g), gradient.begin());
      return value;
    };
  } else if constexpr (std::is_invocable_r_v<Var<T>, F&, Var<T>>) {
    function.on_tape = [&f](Var<T> x) { return f(x); };
  } else {
    static_assert(std::is_invocable_r_v<double, F&, const X&>,
                  "expected f(x), f(x, gradient) or f(Var) on a tape");
    function.value = [&f, x = X(like)](std::span<const T> at) mutable {
      from_rows(at, x);
      return static_cast<double>(f(std::as_const(x)));
    };
  }
  return function;
}

/// Compares the gradient that f(x, gradient) writes, or that of f(Var) on a tape, with central differences at
/// x, and points at the worst entry.
template <class F, class Derived> GradientCheck check_gradient(F&& f, const Eigen::DenseBase<Derived>& x) {
  using X = typename Derived::PlainObject;
  const X at = x.derived();
  return check_gradient<typename X::Scalar>(make_function<X>(f, at), by_rows(at));
}

}  // namespace taper::optim
