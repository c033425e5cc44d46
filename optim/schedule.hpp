#pragma once

#include <concepts>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>

#include <taper/autodiff/shape.hpp>

namespace taper::optim {

/// Where a training is when it asks a schedule.
struct TrainingTime {
  Index epoch = 0;   ///< From 0.
  Index step = 0;    ///< From 0, over all epochs.
  Index epochs = 0;  ///< Of the whole training, as planned; 0 when that is not known.
  Index steps = 0;   ///< Likewise; each epoch has as many.
  /// One for each epoch that is over: the validation loss or, without a validation set, the training loss.
  std::span<const double> losses = {};
};

/// The factor of all learning rates, a finite number, 0 or more, as a function of the time: of the epoch,
/// which is asked once for each epoch, or of the whole TrainingTime, which is asked before each step.
///
///     optim::Schedule halves = [](Index epoch) { return std::pow(0.5, epoch); };
///     optim::Schedule falls = [](const optim::TrainingTime& at) { return 1 / (1 + 1e-3 * at.step); };
///
/// A schedule keeps no state. Where it is asked again with the same time and losses it gives the same factor,
/// so that a training can go on from anywhere.
class Schedule {
 public:
  /// No schedule.
  Schedule() = default;
  template <class F>
  requires(!std::same_as<F, Schedule> && (std::is_invocable_r_v<double, F&, Index> ||
                                          std::is_invocable_r_v<double, F&, const TrainingTime&>))
      Schedule(F f) {
    if constexpr (std::is_invocable_r_v<double, F&, Index>) {
      std::function<double(Index)> of_epoch = std::move(f);
      if (!of_epoch) return;
      factor_ = [of_epoch = std::move(of_epoch)](const TrainingTime& at) { return of_epoch(at.epoch); };
    } else {
      factor_ = std::move(f);
      per_step_ = true;
    }
  }

  /// One that is asked with the whole time, before each step or once for each epoch.
  static Schedule of_time(std::function<double(const TrainingTime&)> factor, bool per_step);

  explicit operator bool() const { return static_cast<bool>(factor_); }
  /// Whether it changes from step to step, and not only from epoch to epoch.
  bool is_per_step() const { return per_step_; }
  /// Throws Error when there is no schedule.
  double operator()(const TrainingTime& at) const;
  /// The factor in an epoch. Throws Error for a schedule that is per step or reads losses.
  double operator()(Index epoch) const;

 private:
  std::function<double(const TrainingTime&)> factor_;
  bool per_step_ = false;
};

// The usual ones. They throw Error for fewer epochs than 1 and for factors that are negative or not finite.

Schedule constant_schedule(double factor = 1);
/// factor^(epoch / every), rounded down: a drop each `every` epochs.
Schedule step_schedule(Index every, double factor = 0.1);
/// factor^epoch.
Schedule exponential_schedule(double factor);
/// From 1 to `last` along half a cosine over `epochs` epochs (Loshchilov and Hutter, "SGDR", 2017, equation
/// 5).
Schedule cosine_schedule(Index epochs, double last = 0);
/// Rises linearly to 1 over the first `epochs` epochs, then follows another schedule, which starts there.
Schedule warm_up(Index epochs, Schedule then = constant_schedule());
/// The same schedule with steps in place of epochs: per_step(warm_up(500, cosine_schedule(9500))) is one of
/// 10000 steps. For schedules that do not read losses.
Schedule per_step(Schedule schedule);

struct OneCycle {
  /// The share of the steps in which the factor rises, from 0 to 1.
  double rising = 0.3;
  /// The factors at the two ends; between them it reaches 1, so that the optimizer's learning rate is the
  /// largest.
  double first = 1.0 / 25;
  double last = 4e-6;
  /// How many steps it takes; 0: as many as the training. After them the last factor stays.
  Index steps = 0;
};

/// One rise and one fall, each along half a cosine, per step (Smith and Topin, "Super-convergence: very fast
/// training of neural networks using large learning rates", 2018, in the form that PyTorch's OneCycleLR
/// computes). The momentum stays as it is. Throws Error for settings out of range, and when asked without a
/// number of steps.
Schedule one_cycle_schedule(const OneCycle& options = {});

struct Plateau {
  /// Each reduction multiplies by this, at least 0 and below 1.
  double factor = 0.1;
  /// How many epochs in a row without improvement are tolerated.
  Index patience = 10;
  /// A loss is an improvement when it is below the best one by more than this share of it, from 0 to 1.
  double threshold = 1e-4;
  /// For how many epochs after a reduction none is counted as without improvement.
  Index cooldown = 0;
  /// The factor does not fall below this.
  double minimum = 0;
};

/// Reduces the factor when the loss no longer falls, as PyTorch's ReduceLROnPlateau does: in epoch e, the
/// factor that the losses of the epochs before have led to. Throws Error for settings out of range, and when
/// asked without all these losses.
Schedule plateau_schedule(const Plateau& options = {});

}  // namespace taper::optim
