#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// What a mask says of each number, one byte for each.
enum Held : std::uint8_t {
  held_free = 0,    ///< it moves
  held_frozen = 1,  ///< it stays bit for bit, and so does its state, whatever its gradient is
  held_fresh = 2,   ///< it moves, for the first time
};

/// What clipping makes of a gradient: it is limited to [-limit, limit] and multiplied by scale, and by more,
/// which is where a scale too small for T is given as two factors.
struct Clipping {
  double scale = 1, more = 1;
  double limit = std::numeric_limits<double>::infinity();
};

/// The constants of one stochastic gradient step.
struct SgdStep {
  double rate;
  Clipping clipping;
  double decay;  // coupled: gradient += decay * value
  double momentum;
  double dampening;
  bool nesterov;
  bool first;  // the velocity starts as the gradient itself
};

/// One step of stochastic gradient descent on n parameters. `velocity` may be null without momentum, `held`
/// when all numbers move.
template <class T>
void sgd_step(Index n, T* values, const T* gradients, T* velocity, const Held* held, const SgdStep& step);

/// The constants of one Adam step.
struct AdamStep {
  double rate;  // divided by the first moment's bias correction
  Clipping clipping;
  double coupled_decay;  // gradient += decay * value
  double shrinkage;      // decoupled: value *= 1 - rate * decay, given as that factor; 1 without
  double beta1;
  double beta2;
  double root_correction;  // 1 / square root of the second moment's bias correction
  double epsilon;
};

/// A whole number as wide as T.
template <class T> using Ordinal = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// Numbers that started at different times have different bias corrections: that of number i stands at place
/// cohort[i] of both tables, which take the place of `rate` and `root_correction`.
template <class T> struct AdamCohorts {
  const Ordinal<T>* cohort = nullptr;  // null: all started together
  const T* rate = nullptr;
  const T* root_correction = nullptr;
};

/// One step of Adam on n parameters, with their moments: one pass over four arrays. `held` may be null when
/// all numbers move. A second moment that is outside the range of T, as the square of a gradient may be, is
/// kept as minus its root.
template <class T>
void adam_step(Index n, T* values, const T* gradients, T* first_moments, T* second_moments, const Held* held,
               const AdamStep& step, const AdamCohorts<T>& cohorts = {});

}  // namespace taper::kernels
