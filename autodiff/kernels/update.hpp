#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// What a step does with an entry, one byte for each.
enum class EntryState : std::uint8_t {
  trainable = 0,  ///< it is updated
  frozen = 1,     ///< it stays bit for bit, and so does its state, whatever its gradient is
  restarted = 2,  ///< it is updated for the first time, with a new state
};

/// What clipping makes of a gradient: it is limited to [-limit, limit] and multiplied by scale, and by more,
/// which is where a scale too small for T is given as two factors.
struct Clipping {
  double scale = 1, more = 1;
  double limit = std::numeric_limits<double>::infinity();
};

/// The constants of one stochastic gradient step.
struct SgdStep {
  double lr;
  Clipping clipping;
  double decay;  // coupled: gradient += decay * value
  double momentum;
  double dampening;
  bool nesterov;
  bool first;  // the velocity starts as the gradient itself
};

/// One step of stochastic gradient descent on n parameters. `velocity` may be null without momentum, `states`
/// when all entries are trainable.
template <class T>
void sgd_step(Index n, T* values, const T* gradients, T* velocity, const EntryState* states,
              const SgdStep& step);

/// The constants of one Adam step.
struct AdamStep {
  double lr;  // divided by the first moment's bias correction
  Clipping clipping;
  double coupled_decay;  // gradient += decay * value
  double shrinkage;      // decoupled: value *= 1 - lr * decay, given as that factor; 1 without
  double beta1;
  double beta2;
  double root_correction;  // 1 / square root of the second moment's bias correction
  double epsilon;
};

/// A whole number as wide as T.
template <class T> using Ordinal = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// Entries that started at different times have different bias corrections: that of entry i stands at place
/// cohort[i] of both tables, which take the place of `lr` and `root_correction`.
template <class T> struct AdamCohorts {
  const Ordinal<T>* cohort = nullptr;  // null: all started together
  const T* lr = nullptr;
  const T* root_correction = nullptr;
};

/// One step of Adam on n parameters, with their moments: one pass over four arrays. `states` may be null when
/// all entries are trainable. Where `largest_moments` is not null, it has the largest second moment of each
/// so far, which is divided by in place of the present one. A second moment that is outside the range of T,
/// as the square of a gradient may be, is kept as minus its root.
template <class T>
void adam_step(Index n, T* values, const T* gradients, T* first_moments, T* second_moments,
               const EntryState* states, const AdamStep& step, const AdamCohorts<T>& cohorts = {},
               T* largest_moments = nullptr);

/// A pointer to what lies `by` further on, if there is anything.
template <class P> P* ahead(P* p, Index by) {
  return p == nullptr ? nullptr : p + by;
}

}  // namespace taper::kernels
