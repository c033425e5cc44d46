#include <taper/optim/function.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include <taper/instantiate.hpp>

namespace taper::optim {
namespace {

/// The gradient from values, in the free entries; zero elsewhere. x is restored.
template <class T, class F>
void by_differences(const F& value, double here, std::span<T> x, std::span<T> gradient, const Mask& mask,
                    Differences differences, const Box& box) {
  // The steps that balance truncation against rounding (Nocedal and Wright, "Numerical optimization", 2006,
  // section 8.1).
  const double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
  const bool central = differences == Differences::central;
  const double scale = central ? std::cbrt(epsilon) : std::sqrt(epsilon);
  for (std::size_t i = 0; i < x.size(); ++i) {
    gradient[i] = 0;
    if (mask.is_frozen(static_cast<Index>(i))) continue;
    const T before = x[i];
    const double middle = static_cast<double>(before), h = scale * std::max(1.0, std::abs(middle));
    const auto at = [&](double where) {
      x[i] = static_cast<T>(std::clamp(where, box.low(i), box.high(i)));
      return std::pair(value(), static_cast<double>(x[i]));
    };
    const bool ahead = middle + h <= box.high(i);  // a single difference may have to look back
    const auto [high, above] = central || ahead ? at(middle + h) : std::pair(here, middle);
    const auto [low, below] = central || !ahead ? at(middle - h) : std::pair(here, middle);
    x[i] = before;
    // In a box of one point nothing can change.
    gradient[i] = above == below ? T{0} : static_cast<T>((high - low) / (above - below));
  }
}

template <class T>
double evaluate_on_tape(const Function<T>& function, std::span<const T> x, std::span<T> gradient) {
  Tape<T>& tape = *function.tape;
  tape.clear();
  const Var<T> at = tape.variable(View<const T>(x.data(), function.shape), "x");
  const Var<T> y = function.on_tape(at);
  if (y.shape().size() != 1) {
    throw Error("minimize", "a function with value ", y.shape(), ": expected one entry");
  }
  tape.backward(y);
  std::ranges::copy(at.gradient(), gradient.begin());
  return static_cast<double>(y.item());
}

}  // namespace

template <class T>
double evaluate(const Function<T>& function, std::span<T> x, std::span<T> gradient, const Mask& mask,
                Differences differences, const Box& box, Index& calls) {
  ++calls;
  if (function.value_and_gradient) return function.value_and_gradient(x, gradient);
  if (function.on_tape) return evaluate_on_tape<T>(function, x, gradient);
  const double here = function.value(x);
  if (!std::isfinite(here)) return here;
  const auto value = [&] {
    ++calls;
    return function.value(x);
  };
  by_differences(value, here, x, gradient, mask, differences, box);
  return here;
}

template <class T> GradientCheck check_gradient(const Function<T>& function, std::span<const T> x) {
  const Mask all = Mask::all_free(function.shape);
  std::vector<T> at(x.begin(), x.end()), given(at.size()), expected(at.size()), unused(at.size());
  Index calls = 0;
  const double here = evaluate<T>(function, at, given, all, Differences::central, {}, calls);
  const auto value = [&] { return evaluate<T>(function, at, unused, all, Differences::central, {}, calls); };
  by_differences<T>(value, here, at, expected, all, Differences::central, {});
  GradientCheck check;
  for (std::size_t i = 0; i < at.size(); ++i) {
    const double a = static_cast<double>(given[i]), b = static_cast<double>(expected[i]);
    const double error = std::abs(a - b) / std::max({1.0, std::abs(a), std::abs(b)});
    if (error > check.max_error || (std::isnan(error) && !std::isnan(check.max_error))) {
      check = {error, static_cast<Index>(i), a, b};
    }
  }
  return check;
}

std::ostream& operator<<(std::ostream& out, const GradientCheck& check) {
  return out << "largest error " << check.max_error << " at entry " << check.entry << ": given "
             << check.given << ", by differences " << check.expected;
}

#define TAPER_INSTANTIATE(T)                                                                         \
  template double evaluate(const Function<T>&, std::span<T>, std::span<T>, const Mask&, Differences, \
                           const Box&, Index&);                                                      \
  template GradientCheck check_gradient(const Function<T>&, std::span<const T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim
