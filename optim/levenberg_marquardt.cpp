#include <taper/optim/levenberg_marquardt.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/cholesky.hpp>
#include <taper/optim/damped_matrix.hpp>
#include <taper/optim/entry_sets.hpp>
#include <taper/optim/gauss_newton.hpp>
#include <taper/optim/lbfgs.hpp>

namespace taper::optim {
namespace {

constexpr const char* lm_name = "levenberg_marquardt";
using Vector = DampedMatrix::Vector;

void require_options(const LevenbergMarquardtOptions& options, Index rows) {
  const auto at_least_zero = [](const char* name, double value) { require_setting(lm_name, name, value); };
  at_least_zero("weight_decay", options.weight_decay);
  at_least_zero("max_iterations", static_cast<double>(options.max_iterations));
  at_least_zero("gradient_tolerance", options.gradient_tolerance.value_or(0));
  at_least_zero("value_tolerance", options.value_tolerance);
  at_least_zero("step_tolerance", options.step_tolerance);
  at_least_zero("rows", static_cast<double>(options.rows));
  if (!(options.max_seconds >= 0)) {
    throw Error(lm_name, "max_seconds ", options.max_seconds, ": expected 0 or more");
  }
  if (options.steps_by_matrix < 1) {
    throw Error(lm_name, options.steps_by_matrix, " steps_by_matrix: expected 1 or more");
  }
  if (!(options.damping > 0 && std::isfinite(options.damping))) {
    throw Error(lm_name, "damping ", options.damping, ": expected a positive number");
  }
  if (options.rows > rows) {
    throw Error(lm_name, "the matrix of ", options.rows, " rows of ", rows, ": expected fewer, or 0 for all");
  }
}

/// The decay of each element of the block that an optimizer with these groups would have.
template <class T>
std::vector<double> decay_by_position(const nn::Parameters<T>& parameters,
                                      const LevenbergMarquardtOptions& options) {
  for (const Group& group : options.groups) {
    if (group.lr) throw Error(lm_name, "an lr for '", group.match, "': expected a weight_decay alone");
  }
  std::vector<double> result(parameters.block()->values.size(), options.weight_decay);
  const std::vector<const Group*> groups = match_groups(options.groups, parameters, lm_name);
  for (std::size_t k = 0; k < groups.size(); ++k) {
    if (groups[k] == nullptr) continue;
    const auto& entry = parameters.entries()[k];
    std::fill_n(result.begin() + entry.offset, entry.shape.size(),
                groups[k]->weight_decay.value_or(options.weight_decay));
  }
  return result;
}

/// So many of these rows, in order.
std::vector<Index> drawn_rows(Index count, std::span<const Index> of, std::uint64_t seed, Index iteration) {
  std::vector<Index> rows(of.begin(), of.end());
  const auto all = static_cast<Index>(rows.size());
  if (count == all) return rows;
  Rng rng(seed, static_cast<std::uint64_t>(iteration));
  for (Index i = 0; i < count; ++i) {
    std::swap(rows[static_cast<std::size_t>(i)], rows[static_cast<std::size_t>(i + rng.below(all - i))]);
  }
  rows.resize(static_cast<std::size_t>(count));
  std::ranges::sort(rows);
  return rows;
}

std::span<double> span_of(Vector& v) {
  return {v.data(), static_cast<std::size_t>(v.size())};
}

}  // namespace

template <class T> struct LevenbergMarquardt<T>::Run {
  /// A point with all that a step is computed from.
  struct Place {
    Vector x, gradient;
    double loss = 0, value = 0;
  };

  Run(nn::Module<T>& model, const std::vector<View<const T>>& columns, const RowLoss<T>& loss,
      const LevenbergMarquardtOptions& given)
      : options(given),
        problem(model, columns, loss, options.sample_weights, lm_name),
        decay_of(decay_by_position(problem.parameters(), options)),
        tolerance(options.gradient_tolerance.value_or(
            std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon())))) {
    require_options(options, problem.rows());
  }

  /// Takes up the model as it is now.
  void start() {
    begin = std::chrono::steady_clock::now();
    problem.sync();
    const Index n = problem.size(), rank = std::max<Index>(problem.loss().rank(), 1);
    const auto all = static_cast<double>(problem.rows());
    const auto counting = static_cast<Index>(problem.counting().size());
    rows = options.rows > 0 ? options.rows : std::max(least_rows, rows_by_parameter * n / rank);
    rows = std::min(rows, counting);
    // Backward passes with a gradient take six operations for a row and parameter, the matrix n for each.
    matrix_cost = static_cast<double>(rows * rank * n) / (6 * all);
    decay.resize(n);
    for (Index i = 0; i < n; ++i) {
      decay[i] = decay_of[static_cast<std::size_t>(problem.positions()[static_cast<std::size_t>(i)])];
    }
    const std::vector<double> x = problem.point();
    now.x = Eigen::Map<const Vector>(x.data(), n);
    next.x = step = now.x;
    now.gradient.resize(n), next.gradient.resize(n);
    damped.emplace(sets_of_one_unit(problem.parameters(), problem.positions()));
    damping = options.damping, growth = 2;
    outcome = {}, matrices = 0;
    if (!evaluate(now)) {
      throw Error(lm_name, "a loss of ", now.loss,
                  " or a gradient at the start that is not finite: expected finite numbers");
    }
  }

  /// Whether value and gradient are finite there.
  bool evaluate(Place& at) {
    ++outcome.evaluations;
    at.loss = problem.evaluate(span_of(at.x), span_of(at.gradient));
    at.value = at.loss + 0.5 * at.x.dot(decay.cwiseProduct(at.x));
    at.gradient += decay.cwiseProduct(at.x);
    return std::isfinite(at.value) && at.gradient.allFinite();
  }

  /// Evaluates a step, as it is when the result is rounded to what the model can hold. False where that is
  /// not finite.
  bool try_step(const Vector& wanted) {
    next.x = now.x + wanted;
    problem.round(span_of(next.x));
    step = next.x - now.x;
    return step.allFinite() && evaluate(next);
  }

  /// The matrix at the present point, and its scales.
  void linearize() {
    auto& matrix = damped->matrix();
    problem.curvature(span_of(now.x), drawn_rows(rows, problem.counting(), options.seed, matrices),
                      matrix.data());
    ++matrices;
    matrix.diagonal() += decay;
    damped->update_scales();
    steepness = rounding = 0;
    flat = false;
    for (Index i = 0; i < now.x.size(); ++i) {
      constexpr double epsilon = std::numeric_limits<T>::epsilon();
      const double rounded = epsilon * now.x[i] * std::sqrt(std::max(matrix(i, i), 0.0));
      rounding += rounded * rounded;
      // What none of the rows depends on has the scale of its group.
      const double curvature = matrix(i, i) > 0 ? matrix(i, i) : damped->scales()[i];
      flat |= !(curvature > 0) && now.gradient[i] != 0;
      if (!(curvature > 0)) continue;
      steepness =
          std::max(steepness, std::abs(now.gradient[i]) / std::sqrt(2 * now.value) / std::sqrt(curvature));
    }
  }

  /// Whether what is left of the value is what rounding the entries makes of it: an exact fit.
  bool fits_exactly() const {
    constexpr double margin = 16;
    return now.value <= margin * rounding;
  }

  /// The damped step of some entries alone.
  Vector step_of(const std::vector<Index>& entries) {
    constexpr double little = 1e-6;
    const auto n = static_cast<Index>(entries.size());
    const auto& matrix = damped->matrix();
    Vector roots = damped->scales()(entries).cwiseSqrt();
    roots = (roots.array() > 0).select(roots.cwiseInverse(), 0);
    Eigen::MatrixXd block(n, n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j <= i; ++j) {
        const auto [low, high] =
            std::minmax(entries[static_cast<std::size_t>(i)], entries[static_cast<std::size_t>(j)]);
        block(j, i) = roots[i] * matrix(high, low) * roots[j];
      }
      block(i, i) += little;
    }
    const Cholesky factor(block);
    Vector result = Vector::Zero(now.x.size());
    if (!factor.succeeded()) return result;
    const Vector of_block = factor.solve(roots.cwiseProduct(now.gradient(entries)));
    for (Index i = 0; i < n; ++i) result[entries[static_cast<std::size_t>(i)]] = -roots[i] * of_block[i];
    return result;
  }

  /// A module on which the value depends as a square, as squares do on the last layer of a network, may be of
  /// other units than the targets: then no damping fits both it and what is in front of it. It is fitted by
  /// itself first, until its steps no longer halve the value. False at the end of the run.
  bool fit_units() {
    constexpr double other_units = 32, precision = 1e-6;
    const auto modules = sets_by_module(problem.parameters(), problem.positions());
    const Index before = outcome.iterations;
    for (auto module = modules.rbegin(); module != modules.rend(); ++module) {
      const Vector scales = damped->scales()(*module);
      for (bool first = true; goes_on(); first = false) {
        const Vector wanted = step_of(*module), x = now.x(*module), moved = x + wanted(*module);
        const double from = scales.dot(x.cwiseAbs2()), to = scales.dot(moved.cwiseAbs2());
        const bool differs = to > other_units * other_units * from || from > other_units * other_units * to;
        if ((first && !differs) || !try_step(wanted)) break;
        if (!(next.value < (first ? 1 : 0.5) * now.value)) break;
        const double mean_slope = 0.5 * step.dot(now.gradient + next.gradient);
        if (std::abs(next.value - now.value - mean_slope) > precision * now.value) break;
        if (!take_step()) return false;
      }
      if (outcome.iterations > before) break;
    }
    if (outcome.iterations == before) return true;
    // The scales of before are of other units.
    damped.emplace(sets_of_one_unit(problem.parameters(), problem.positions()));
    linearize();
    return true;
  }

  bool end(bool converged, const char* reason) {
    outcome.converged = converged;
    outcome.reason = reason;
    return false;
  }
  bool end_of_steps() {
    if (fits_exactly()) return end(true, "an exact fit: what is left is rounding");
    return end(false, "no step lowers the value");
  }
  /// Whether there is something left to do, and time for it.
  bool goes_on() {
    if (now.x.size() == 0) return end(true, "no entry is free");
    if (now.value <= 0) return end(true, "the value is 0");
    if (outcome.iterations >= options.max_iterations) return end(false, "max_iterations reached");
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    return passed.count() <= options.max_seconds || end(false, "max_seconds reached");
  }

  /// A step with a new matrix, and more and more damping until it lowers the value, then others with the same
  /// matrix. False at the end of the run.
  bool iterate() {
    if (!goes_on()) return false;
    linearize();
    if (matrices == 1 && !fit_units()) return false;
    if (now.value < std::numeric_limits<double>::min()) return end(true, "an exact fit");
    if (steepness <= tolerance && !flat) return end(true, "gradient_tolerance reached");
    const Index evaluations = outcome.evaluations;
    for (;; damping *= growth, growth *= 2) {
      if (!(damping < most_damping)) return end_of_steps();
      if (!goes_on()) return false;
      if (!damped->factorize(damping)) continue;
      const Vector wanted = -damped->from_coordinates(damped->gradient_by_coordinates(now.gradient));
      next.x = now.x + wanted;
      problem.round(span_of(next.x));
      const double predicted = damped->predicted_gain(next.x - now.x, now.gradient);
      if (!std::isfinite(predicted)) continue;
      if (predicted <= std::numeric_limits<double>::epsilon() * now.value) {
        if (flat) return end(false, "an entry with a gradient has no curvature in this precision");
        // A long step, not one that much damping has made short.
        if (damping <= 1) return end(true, "no step gains more than rounding takes");
        return end_of_steps();
      }
      if (!try_step(wanted)) continue;
      const double gain = now.value - next.value;
      if (!(gain > 0)) continue;
      const double excess = 2 * gain / predicted - 1;
      const double factor = std::max(1.0 / 3, 1 - excess * excess * excess);
      LBFGSHistory history(now.x.size(), most_pairs);
      remember(history);
      if (!take_step()) return false;
      if (!correct(history, gain, matrix_cost + static_cast<double>(outcome.evaluations - evaluations))) {
        return false;
      }
      damping = std::max(damping * factor, least_damping);
      growth = 2;
      return true;
    }
  }

  /// Steps of L-BFGS in the coordinates of the damped matrix, as long as they gain more for each evaluation
  /// than all has gained since that matrix. False at the end of the run.
  bool correct(LBFGSHistory& history, double gained, double cost) {
    for (Index k = 1; k < options.steps_by_matrix; ++k) {
      if (!goes_on()) return false;
      Vector direction = -damped->gradient_by_coordinates(now.gradient);
      history.multiply(span_of(direction));
      direction = damped->from_coordinates(direction);
      const double slope = direction.dot(now.gradient);
      const Index evaluations = outcome.evaluations;
      double length = 1;
      bool found = false;
      for (int tries = 0; slope < 0 && tries < 3 && !found; ++tries, length *= 0.3) {
        found = try_step(length * direction) && next.value < now.value + 1e-4 * length * slope;
      }
      if (!found) return true;
      const double gain = now.value - next.value;
      const auto spent = static_cast<double>(outcome.evaluations - evaluations);
      remember(history);
      if (!take_step()) return false;
      const bool pays = gain * cost > gained * spent;
      gained += gain, cost += spent;
      if (!pays) return true;
    }
    return true;
  }

  /// Stores the step to the next point, which is evaluated, in the coordinates of the damped matrix.
  void remember(LBFGSHistory& history) {
    Vector moved = damped->to_coordinates(step);
    Vector changed = damped->gradient_by_coordinates(next.gradient - now.gradient);
    history.push(span_of(moved), span_of(changed));
  }

  /// Goes to the next point. False at the end of the run.
  bool take_step() {
    const double gain = now.value - next.value;
    std::swap(now, next);
    problem.store(span_of(now.x));
    ++outcome.iterations;
    if (options.callback &&
        !options.callback({outcome.iterations, now.loss, now.value, steepness, damping})) {
      return end(false, "the callback ended it");
    }
    if (gain <= options.value_tolerance * (now.value + gain)) return end(true, "value_tolerance reached");
    const auto length = [&](const Vector& v) { return v.cwiseProduct(damped->scales().cwiseSqrt()).norm(); };
    if (length(step) <= options.step_tolerance * length(now.x)) return end(true, "step_tolerance reached");
    return true;
  }

  Outcome minimize() {
    start();
    while (iterate()) {
    }
    outcome.value = now.value;
    return outcome;
  }

  static constexpr double most_damping = 1e30, least_damping = 1e-15;
  static constexpr Index least_rows = 2048, rows_by_parameter = 5, most_pairs = 20;

  LevenbergMarquardtOptions options;
  GaussNewton<T> problem;
  std::vector<double> decay_of;  // by position in the block
  double tolerance;
  std::chrono::steady_clock::time_point begin;
  Index rows = 0;          // that a matrix is taken from
  double matrix_cost = 0;  // in evaluations
  Vector decay, step;
  std::optional<DampedMatrix> damped;
  Place now, next;
  double damping = 0, growth = 2;
  double steepness = 0;  // what gradient_tolerance bounds
  double rounding = 0;   // what a relative change of each entry by epsilon adds to the value, about
  bool flat = false;     // whether there is a gradient without curvature
  Index matrices = 0;
  Outcome outcome;
};

template <class T>
LevenbergMarquardt<T>::LevenbergMarquardt(nn::Module<T>& model, const data::Dataset<T>& data,
                                          const std::type_identity_t<nn::Loss<T>>& loss,
                                          const LevenbergMarquardtOptions& options)
    : run_((data::check(data, lm_name), std::make_unique<Run>(
                                            model, std::vector<View<const T>>{data.inputs(), data.targets()},
                                            [&model, loss](Tape<T>&, std::span<const Var<T>> in) {
                                              return loss(nn::record_one(model, in[0], lm_name), in[1]);
                                            },
                                            options))) {}

template <class T>
LevenbergMarquardt<T>::LevenbergMarquardt(
    nn::Module<T>& model, const std::vector<View<const std::type_identity_t<T>>>& columns,
    const std::type_identity_t<std::function<Var<T>(Tape<T>&, std::span<const Var<T>>)>>& step,
    const LevenbergMarquardtOptions& options)
    : run_(std::make_unique<Run>(model, columns, step, options)) {}

template <class T> LevenbergMarquardt<T>::LevenbergMarquardt(LevenbergMarquardt&&) noexcept = default;
template <class T>
LevenbergMarquardt<T>& LevenbergMarquardt<T>::operator=(LevenbergMarquardt&&) noexcept = default;
template <class T> LevenbergMarquardt<T>::~LevenbergMarquardt() = default;

template <class T> Outcome LevenbergMarquardt<T>::minimize() {
  return run_->minimize();
}

TAPER_INSTANTIATE_CLASS(LevenbergMarquardt)

}  // namespace taper::optim
