#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <taper/autodiff/error.hpp>
#include <taper/optim/schedule.hpp>

namespace taper::optim {
namespace {

void require_epochs(const char* where, Index epochs) {
  if (epochs < 1) throw Error(where, epochs, " epochs: expected 1 or more");
}

void require_factor(const char* where, double factor) {
  if (!(factor >= 0 && std::isfinite(factor))) {
    throw Error(where, "a factor of ", factor, ": expected a finite number, 0 or more");
  }
}

void require_share(const char* where, const char* name, double value) {
  if (!(value >= 0 && value <= 1)) throw Error(where, name, " ", value, ": expected 0 to 1");
}

void require_count(const char* where, const char* name, Index value) {
  if (value < 0) throw Error(where, name, " ", value, ": expected 0 or more");
}

/// From `begin` to `end` along half a cosine; `passed` is the share of the way, from 0 to 1.
double half_cosine(double begin, double end, double passed) {
  return end + (begin - end) * 0.5 * (1 + std::cos(std::numbers::pi * passed));
}

}  // namespace

Schedule Schedule::of_time(std::function<double(const TrainingTime&)> factor, bool per_step) {
  Schedule result;
  result.factor_ = std::move(factor);
  result.per_step_ = per_step;
  return result;
}

double Schedule::operator()(const TrainingTime& at) const {
  if (!factor_) throw Error("schedule", "an empty one: expected one that can be asked");
  return factor_(at);
}

double Schedule::operator()(Index epoch) const {
  if (per_step_)
    throw Error("schedule", "epoch ", epoch, " of one that is per step: expected a TrainingTime");
  return (*this)(TrainingTime{.epoch = epoch});
}

Schedule constant_schedule(double factor) {
  require_factor("constant_schedule", factor);
  return [=](Index) { return factor; };
}

Schedule step_schedule(Index every, double factor) {
  require_epochs("step_schedule", every);
  require_factor("step_schedule", factor);
  return [=](Index epoch) {
    const Index times = epoch / every;
    return std::pow(factor, static_cast<double>(times));
  };
}

Schedule exponential_schedule(double factor) {
  require_factor("exponential_schedule", factor);
  return [=](Index epoch) { return std::pow(factor, static_cast<double>(epoch)); };
}

Schedule cosine_schedule(Index epochs, double last) {
  require_epochs("cosine_schedule", epochs);
  require_factor("cosine_schedule", last);
  return [=](Index epoch) {
    return half_cosine(1, last, std::min(1.0, static_cast<double>(epoch) / static_cast<double>(epochs)));
  };
}

Schedule warm_up(Index epochs, Schedule then) {
  require_epochs("warm_up", epochs);
  if (!then) throw Error("warm_up", "an empty schedule to follow: expected one that can be asked");
  const bool per_step = then.is_per_step();
  const auto factor = [epochs, then = std::move(then)](const TrainingTime& at) {
    if (at.epoch < epochs) return static_cast<double>(at.epoch + 1) / static_cast<double>(epochs);
    const Index steps = at.epochs > 0 ? at.steps / at.epochs * epochs : 0;
    return then({.epoch = at.epoch - epochs,
                 .step = at.step - steps,
                 .epochs = std::max<Index>(0, at.epochs - epochs),
                 .steps = std::max<Index>(0, at.steps - steps),
                 .losses = at.losses.subspan(std::min(at.losses.size(), static_cast<std::size_t>(epochs)))});
  };
  return Schedule::of_time(factor, per_step);
}

Schedule per_step(Schedule schedule) {
  if (!schedule) throw Error("per_step", "an empty schedule: expected one that can be asked");
  const auto factor = [schedule = std::move(schedule)](const TrainingTime& at) {
    return schedule({.epoch = at.step, .step = at.step, .epochs = at.steps, .steps = at.steps});
  };
  return Schedule::of_time(factor, true);
}

Schedule one_cycle_schedule(const OneCycle& options) {
  const char* const where = "one_cycle_schedule";
  require_share(where, "rising", options.rising);
  require_factor(where, options.first);
  require_factor(where, options.last);
  require_count(where, "steps", options.steps);
  return [options](const TrainingTime& at) {
    const Index steps = options.steps > 0 ? options.steps : at.steps;
    if (steps < 1) throw Error("one_cycle_schedule", "a training of ", steps, " steps: expected 1 or more");
    const double end = static_cast<double>(steps) - 1, step = std::min(static_cast<double>(at.step), end);
    const double top = options.rising * static_cast<double>(steps) - 1;  // where the factor is 1
    if (step < top) return half_cosine(options.first, 1, step / top);
    return top < end ? half_cosine(1, options.last, (step - top) / (end - top)) : 1;
  };
}

Schedule plateau_schedule(const Plateau& options) {
  const char* const where = "plateau_schedule";
  if (!(options.factor >= 0 && options.factor < 1)) {
    throw Error(where, "factor ", options.factor, ": expected 0 <= number < 1");
  }
  require_count(where, "patience", options.patience);
  require_share(where, "threshold", options.threshold);
  require_count(where, "cooldown", options.cooldown);
  require_share(where, "minimum", options.minimum);
  const auto factor = [options](const TrainingTime& at) {
    const auto epochs = static_cast<std::size_t>(at.epoch);
    if (at.losses.size() < epochs) {
      throw Error("plateau_schedule", at.losses.size(), " losses in epoch ", at.epoch,
                  ": expected one for each epoch before it");
    }
    double result = 1, best = std::numeric_limits<double>::infinity();
    Index waited = 0, cooling = 0;  // epochs
    for (const double loss : at.losses.first(epochs)) {
      const double margin = std::isfinite(best) ? options.threshold * std::abs(best) : 0;
      if (loss < best - margin) {
        best = loss;
        waited = 0;
      } else {
        ++waited;
      }
      if (cooling > 0) {
        --cooling;
        waited = 0;
      }
      if (waited > options.patience) {
        result = std::max(result * options.factor, options.minimum);
        cooling = options.cooldown;
        waited = 0;
      }
    }
    return result;
  };
  return Schedule::of_time(factor, false);
}

}  // namespace taper::optim
