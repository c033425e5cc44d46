#include <taper/autodiff/kernels/update.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_UPDATE_TABLE  // once, before the targets
#define TAPER_UPDATE_TABLE
namespace taper::kernels {
template <class T> struct UpdateTable {
  void (*sgd)(Index n, T* values, const T* gradients, T* velocity, const EntryState* states,
              const SgdStep& step);
  void (*adam)(Index n, T* values, const T* gradients, T* first, T* second, const EntryState* states,
               const AdamStep& step, const AdamCohorts<T>& cohorts, T* largest);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/update.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/update-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The constants of a step in every lane.
template <class T> struct Sgd {
  using V = Vector<T>;
  V lr, decay, momentum, keep;
  Clip<T> clip;
  bool nesterov, first;

  Sgd(const SgdStep& s, bool with_momentum)
      : lr(constant<T>(s.lr)),
        decay(constant<T>(s.decay)),
        momentum(constant<T>(s.momentum)),
        keep(constant<T>(1 - s.dampening)),
        clip(s.clipping),
        nesterov(s.nesterov && with_momentum),
        first(s.first) {}

  HWY_INLINE V slope(V value, V gradient) const { return hn::MulAdd(decay, value, clip(gradient)); }
  HWY_INLINE V next_velocity(V g, V velocity) const {
    return first ? g : hn::MulAdd(momentum, velocity, hn::Mul(keep, g));
  }
  HWY_INLINE V moved(V value, V g, V velocity) const {
    return hn::NegMulAdd(lr, nesterov ? hn::MulAdd(momentum, velocity, g) : velocity, value);
  }
};

template <class T>
void sgd(Index n, T* values, const T* gradients, T* velocity, const EntryState* states,
         const SgdStep& constants) {
  const Sgd<T> step(constants, velocity != nullptr);
  const Index width = lanes<T>();
  for (Index i = 0; i < n; i += width) {
    const Run<T> run{std::min(width, n - i)};
    const Vector<T> value = run.get(values + i), g = step.slope(value, run.get(gradients + i));
    const Vector<T> before = velocity == nullptr ? g : run.get(velocity + i);
    Vector<T> speed = velocity == nullptr ? g : step.next_velocity(g, before);
    if (states == nullptr) {
      run.put(step.moved(value, g, speed), values + i);
    } else {
      const Lanes<T> marks = run.get_states(states + i);
      speed = hn::IfThenElse(is<T>(EntryState::restarted, marks), g, speed);
      run.put(hn::IfThenElse(is<T>(EntryState::frozen, marks), value, step.moved(value, g, speed)),
              values + i);
      speed = hn::IfThenElse(is<T>(EntryState::frozen, marks), before, speed);
    }
    if (velocity != nullptr) run.put(speed, velocity + i);
  }
}

template <class T> struct Adam {
  using V = Vector<T>;
  V lr, decay, shrinkage, beta1, rest1, root_correction, epsilon;
  Clip<T> clip;
  SecondMoment<T> moment;

  explicit Adam(const AdamStep& s)
      : lr(constant<T>(s.lr)),
        decay(constant<T>(s.coupled_decay)),
        shrinkage(constant<T>(s.shrinkage)),
        beta1(constant<T>(s.beta1)),
        rest1(constant<T>(1 - s.beta1)),
        root_correction(constant<T>(s.root_correction)),
        // One that T cannot hold is the least that it can, so that 0 / (0 + epsilon) stays 0.
        epsilon(constant<T>(std::max(s.epsilon, static_cast<double>(std::numeric_limits<T>::min())))),
        clip(s.clipping),
        moment(s.beta2, 1 - s.beta2) {}

  /// `largest` is null, or the largest second moment so far, which takes the place of the present one.
  HWY_INLINE V next(V value, V gradient, V& first, V& second, V* largest) const {
    const V g = hn::MulAdd(decay, value, clip(gradient));
    first = hn::MulAdd(beta1, first, hn::Mul(rest1, g));
    V root = moment.next(g, second);
    if (largest != nullptr) {
      const V before = SecondMoment<T>::root(*largest);
      const auto older = hn::Ge(before, root);
      root = hn::IfThenElse(older, before, root);
      *largest = hn::IfThenElse(older, *largest, second);
    }
    root = hn::MulAdd(root, root_correction, epsilon);
    return hn::Sub(hn::Mul(shrinkage, value), hn::Div(hn::Mul(lr, first), root));
  }
};

/// The rows of one kind, so that nothing is asked for in the loop: with the largest second moments or
/// without.
template <bool keeps_largest, class T>
HWY_INLINE void adam_of_kind(Index n, T* values, const T* gradients, T* first, T* second,
                             const EntryState* states, const AdamStep& constants,
                             const AdamCohorts<T>& cohorts, T* largest) {
  Adam<T> step(constants);
  const Tag<T> d;
  const Index width = lanes<T>();
  for (Index i = 0; i < n; i += width) {
    const Run<T> run{std::min(width, n - i)};
    if (cohorts.cohort != nullptr) {
      const auto cohort = run.get_ordinals(cohorts.cohort + i);
      step.lr = hn::GatherIndex(d, cohorts.lr, cohort);
      step.root_correction = hn::GatherIndex(d, cohorts.root_correction, cohort);
    }
    const Vector<T> value = run.get(values + i), m = run.get(first + i), v = run.get(second + i);
    const Vector<T> most = keeps_largest ? run.get(largest + i) : v;
    Vector<T> next_m = m, next_v = v, next_most = most;
    Vector<T> next =
        step.next(value, run.get(gradients + i), next_m, next_v, keeps_largest ? &next_most : nullptr);
    if (states != nullptr) {
      const auto frozen = is<T>(EntryState::frozen, run.get_states(states + i));
      next = hn::IfThenElse(frozen, value, next);
      next_m = hn::IfThenElse(frozen, m, next_m);
      next_v = hn::IfThenElse(frozen, v, next_v);
      next_most = hn::IfThenElse(frozen, most, next_most);
    }
    run.put(next, values + i);
    run.put(next_m, first + i);
    run.put(next_v, second + i);
    if (keeps_largest) run.put(next_most, largest + i);
  }
}

template <class T>
void adam(Index n, T* values, const T* gradients, T* first, T* second, const EntryState* states,
          const AdamStep& constants, const AdamCohorts<T>& cohorts, T* largest) {
  largest == nullptr
      ? adam_of_kind<false>(n, values, gradients, first, second, states, constants, cohorts, largest)
      : adam_of_kind<true>(n, values, gradients, first, second, states, constants, cohorts, largest);
}

TAPER_KERNELS(UpdateTable, &sgd<T>, &adam<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(UpdateTable)

template <class T>
void sgd_step(Index n, T* values, const T* gradients, T* velocity, const EntryState* states,
              const SgdStep& step) {
  for_numbers(n, cheap, [&](Index begin, Index end) {
    best<T>().sgd(end - begin, values + begin, gradients + begin, ahead(velocity, begin),
                  ahead(states, begin), step);
  });
}

template <class T>
void adam_step(Index n, T* values, const T* gradients, T* first, T* second, const EntryState* states,
               const AdamStep& step, const AdamCohorts<T>& cohorts, T* largest) {
  for_numbers(n, costly, [&](Index begin, Index end) {
    AdamCohorts<T> here = cohorts;
    here.cohort = ahead(cohorts.cohort, begin);
    best<T>().adam(end - begin, values + begin, gradients + begin, first + begin, second + begin,
                   ahead(states, begin), step, here, ahead(largest, begin));
  });
}

#define TAPER_INSTANTIATE(T)                                                               \
  template void sgd_step(Index, T*, const T*, T*, const EntryState*, const SgdStep&);      \
  template void adam_step(Index, T*, const T*, T*, T*, const EntryState*, const AdamStep&, \
                          const AdamCohorts<T>&, T*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
