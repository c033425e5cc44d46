#include <taper/optim/minimize.hpp>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <variant>

#include <taper/instantiate.hpp>
#include <taper/optim/methods.hpp>

namespace taper::optim {

struct Method::Choice : std::variant<LBFGS, LBFGSB, SGDOptions, AdamOptions> {
  using variant::variant;
};

Method::Method(const LBFGS& options) : choice_(std::make_shared<Choice>(options)) {}
Method::Method(const LBFGSB& options) : choice_(std::make_shared<Choice>(options)) {}
Method::Method(const SGDOptions& options) : choice_(std::make_shared<Choice>(options)) {}
Method::Method(const AdamOptions& options) : choice_(std::make_shared<Choice>(options)) {}

namespace {

/// The options, when it is this method, or null.
template <class Options> const Options* as(const Method& method) {
  return std::get_if<Options>(&method.choice());
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
  if (const auto* method = as<SGDOptions>(options.method)) require_plain(method->weight_decay);
  if (const auto* method = as<AdamOptions>(options.method)) require_plain(method->weight_decay);
  if (const auto* method = as<LBFGSB>(options.method)) require_history(method->history);
  if (const auto* method = as<LBFGS>(options.method)) {
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
  const auto* const given_bounds = as<LBFGSB>(options.method);
  if (given_bounds == nullptr) return options;
  require_bounds(*given_bounds, mask.size());
  LBFGSB bounds = *given_bounds;
  for (auto* given : {&bounds.lower, &bounds.upper}) {
    if (given->size() < 2) continue;
    std::vector<double> chosen;
    for (const Index position : mask.free_positions()) {
      chosen.push_back((*given)[static_cast<std::size_t>(position)]);
    }
    *given = chosen;  // a single one would stand for all: the same
  }
  MinimizeOptions result = options;
  result.method = bounds;
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
  if (const auto* bounds = as<LBFGSB>(options.method)) {
    const Index n = static_cast<Index>(x.size());
    require_bounds(*bounds, n);
    for (std::size_t i = 0; i < x.size(); ++i) {  // a start outside of them moves in
      if (!bounds->lower.empty()) x[i] = std::max(x[i], bounds->lower[bounds->lower.size() == 1 ? 0 : i]);
      if (!bounds->upper.empty()) x[i] = std::min(x[i], bounds->upper[bounds->upper.size() == 1 ? 0 : i]);
    }
  }
  detail::Run state(objective, x, options);
  state.start();
  std::visit([&](const auto& method) { detail::run(state, objective, method, options); },
             options.method.choice());
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
  if (const auto* bounds = as<LBFGSB>(options.method)) box = {bounds->lower, bounds->upper};
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
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::optim
