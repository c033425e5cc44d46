#include <taper/optim/levenberg_marquardt.hpp>

#include <fnmatch.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/gauss_newton.hpp>

namespace taper::optim {
namespace {

constexpr const char* lm_name = "levenberg_marquardt";
using Vector = Eigen::VectorXd;
using Square = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

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
  std::vector<double> result(parameters.block()->values.size(), options.weight_decay);
  std::vector<bool> used(options.groups.size());
  for (const Group& group : options.groups) {
    if (group.lr) throw Error(lm_name, "an lr for '", group.match, "': expected a weight_decay alone");
    if (group.weight_decay) require_setting(lm_name, "weight_decay", *group.weight_decay);
  }
  for (const auto& entry : parameters.entries()) {
    bool grouped = false;
    for (std::size_t g = 0; g < used.size(); ++g) {
      if (fnmatch(options.groups[g].match.c_str(), entry.name.c_str(), 0) != 0) continue;
      used[g] = true;
      if (std::exchange(grouped, true)) continue;
      std::fill_n(result.begin() + entry.offset, entry.shape.size(),
                  options.groups[g].weight_decay.value_or(options.weight_decay));
    }
  }
  for (std::size_t g = 0; g < used.size(); ++g) {
    if (used[g]) continue;
    throw Error(lm_name, "a group for '", options.groups[g].match,
                "': expected a pattern that some parameter matches");
  }
  return result;
}

/// So many rows of all, in order.
std::vector<Index> drawn_rows(Index count, Index all, std::uint64_t seed, Index iteration) {
  std::vector<Index> rows(static_cast<std::size_t>(all));
  std::iota(rows.begin(), rows.end(), Index{0});
  if (count == 0 || count == all) return rows;
  Rng rng(seed, static_cast<std::uint64_t>(iteration));
  for (Index i = 0; i < count; ++i) {
    std::swap(rows[static_cast<std::size_t>(i)], rows[static_cast<std::size_t>(i + rng.below(all - i))]);
  }
  rows.resize(static_cast<std::size_t>(count));
  std::ranges::sort(rows);
  return rows;
}

/// A point with all that a step is computed from.
struct Place {
  Vector x, gradient;
  double loss = 0, value = 0;
};

}  // namespace

template <class T> struct LevenbergMarquardt<T>::Run {
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
    const auto n = static_cast<Eigen::Index>(problem.size());
    decay.resize(n);
    for (Eigen::Index i = 0; i < n; ++i) {
      decay[i] = decay_of[static_cast<std::size_t>(problem.positions()[static_cast<std::size_t>(i)])];
    }
    const std::vector<double> x = problem.point();
    now.x = Eigen::Map<const Vector>(x.data(), n);
    next.x = now.x;
    now.gradient.resize(n), next.gradient.resize(n);
    matrix.resize(n, n);
    scales = Vector::Zero(n);
    damping = options.damping, growth = 2;
    outcome = {};
    if (!evaluate(now)) {
      throw Error(lm_name, "a loss of ", now.loss, " or its gradient at the start",
                  ": expected finite numbers");
    }
  }

  /// Whether value and gradient are finite there.
  bool evaluate(Place& at) {
    ++outcome.evaluations;
    at.loss = problem.evaluate({at.x.data(), static_cast<std::size_t>(at.x.size())},
                               {at.gradient.data(), static_cast<std::size_t>(at.x.size())});
    at.value = at.loss + 0.5 * at.x.dot(decay.cwiseProduct(at.x));
    at.gradient += decay.cwiseProduct(at.x);
    return std::isfinite(at.value) && at.gradient.allFinite();
  }

  /// The matrix at the present point, and the scales.
  void linearize() {
    const std::vector<Index> rows =
        drawn_rows(options.rows, problem.rows(), options.seed, outcome.iterations);
    problem.curvature({now.x.data(), static_cast<std::size_t>(now.x.size())}, rows, matrix.data());
    matrix.diagonal() += decay;
    scales = scales.cwiseMax(matrix.diagonal());
    steepness = 0;
    for (Eigen::Index i = 0; i < scales.size(); ++i) {
      // An entry without curvature has no gradient either, but that of rows that were not drawn.
      if (scales[i] > 0) {
        steepness =
            std::max(steepness, std::abs(now.gradient[i]) / std::sqrt(2 * now.value) / std::sqrt(scales[i]));
      }
    }
  }

  /// Solves for the step in units of the scales, in which the damping is that of the identity. False when the
  /// matrix is not positive definite in this precision.
  bool solve() {
    const Vector unit = scales.unaryExpr([](double s) { return s > 0 ? 1 / std::sqrt(s) : 0.0; });
    damped = matrix;
    damped.template triangularView<Eigen::Lower>() = unit.asDiagonal() * matrix * unit.asDiagonal();
    damped.diagonal().array() += damping;
    const Eigen::LLT<Eigen::Ref<Square>> factors(damped);
    if (factors.info() != Eigen::Success) return false;
    step = -unit.cwiseProduct(now.gradient);
    factors.solveInPlace(step);
    step = unit.cwiseProduct(step);
    return step.allFinite();
  }

  bool out_of_time() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() >
           options.max_seconds;
  }
  bool end(bool converged, const char* reason) {
    outcome.converged = converged;
    outcome.reason = reason;
    return false;
  }

  /// One iteration: steps with more and more damping until one is taken. False at the end of the run.
  bool iterate() {
    if (now.x.size() == 0) return end(true, "no entry is free");
    if (now.value <= 0) return end(true, "the value is 0");
    if (outcome.iterations >= options.max_iterations) return end(false, "max_iterations reached");
    if (out_of_time()) return end(false, "max_seconds reached");
    linearize();
    if (steepness <= tolerance) return end(true, "gradient_tolerance reached");
    for (;; damping *= growth, growth *= 2) {
      if (!(damping < most_damping)) return end(false, "no step lowers the value");
      if (out_of_time()) return end(false, "max_seconds reached");
      if (!solve()) continue;
      next.x = now.x + step;
      problem.round({next.x.data(), static_cast<std::size_t>(next.x.size())});
      step = next.x - now.x;
      if (!step.allFinite()) continue;
      // What the quadratic model of the value gains along the step as it is rounded.
      const Vector product = matrix.template selfadjointView<Eigen::Lower>() * step;
      const double predicted = -step.dot(now.gradient + 0.5 * product);
      if (predicted <= std::numeric_limits<double>::epsilon() * now.value) {
        // A long step, not one that much damping has made short.
        if (damping <= 1) return end(true, "no step gains more than rounding takes");
        return end(false, "no step lowers the value");
      }
      if (!evaluate(next)) continue;
      const double gain = now.value - next.value;
      if (!(gain > 0)) continue;
      accept(gain, predicted);
      return go_on(gain);
    }
  }

  void accept(double gain, double predicted) {
    const double excess = 2 * gain / predicted - 1;
    damping *= std::max(1.0 / 3, 1 - excess * excess * excess);
    damping = std::max(damping, least_damping);
    growth = 2;
    std::swap(now, next);
    problem.store({now.x.data(), static_cast<std::size_t>(now.x.size())});
    ++outcome.iterations;
  }

  bool go_on(double gain) {
    if (options.callback &&
        !options.callback({outcome.iterations, now.loss, now.value, steepness, damping})) {
      return end(false, "the callback ended it");
    }
    if (gain <= options.value_tolerance * (now.value + gain)) return end(true, "value_tolerance reached");
    const auto length = [&](const Vector& v) { return v.cwiseProduct(scales.cwiseSqrt()).norm(); };
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

  LevenbergMarquardtOptions options;
  GaussNewton<T> problem;
  std::vector<double> decay_of;  // by position in the block
  double tolerance;
  std::chrono::steady_clock::time_point begin;
  Vector decay, scales, step;
  Square matrix, damped;  // their lower triangles
  Place now, next;
  double damping = 0, growth = 2;
  double steepness = 0;  // what gradient_tolerance bounds
  Outcome outcome;
};

template <class T>
LevenbergMarquardt<T>::LevenbergMarquardt(nn::Module<T>& model, const data::Dataset<T>& data,
                                          const std::type_identity_t<nn::Loss<T>>& loss,
                                          const LevenbergMarquardtOptions& options)
    : run_((data::check(data, lm_name), std::make_unique<Run>(
                                            model, std::vector<View<const T>>{data.inputs(), data.targets()},
                                            [&](Tape<T>&, std::span<const Var<T>> in) {
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
