#include <taper/autodiff/kernels/adaptive.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_ADAPTIVE_TABLE  // once, before the targets
#define TAPER_ADAPTIVE_TABLE
namespace taper::kernels {
template <class T> struct AdaptiveTable {
  void (*rmsprop)(Index n, T* values, const T* gradients, T* squares, T* means, T* velocity,
                  const EntryState* states, const RmspropStep& step);
  void (*adagrad)(Index n, T* values, const T* gradients, T* sums, const EntryState* states,
                  const AdagradStep& step);
  void (*lion)(Index n, T* values, const T* gradients, T* moments, const EntryState* states,
               const LionStep& step);
  void (*average)(Index n, T* averages, const T* values, const std::uint8_t* frozen, T share);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/adaptive.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/update-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Calls f(run, i, keep) for every vector: keep(p, v) stores v at p, but where entries are frozen.
template <class T, class F> void for_runs(Index n, const EntryState* states, const F& f) {
  const Index width = lanes<T>();
  for (Index i = 0; i < n; i += width) {
    const Run<T> run{std::min(width, n - i)};
    if (states == nullptr) {
      f(run, i, [&](T* p, Vector<T> v) HWY_ATTR { run.put(v, p); });
    } else {
      const auto frozen = is<T>(EntryState::frozen, run.get_states(states + i));
      f(run, i, [&](T* p, Vector<T> v) HWY_ATTR { run.put(hn::IfThenElse(frozen, run.get(p), v), p); });
    }
  }
}

/// An epsilon that T cannot hold is the least that it can, so that 0 / (0 + epsilon) stays 0.
template <class T> Vector<T> held(double epsilon) {
  return constant<T>(std::max(epsilon, static_cast<double>(std::numeric_limits<T>::min())));
}

template <class T>
void rmsprop(Index n, T* values, const T* gradients, T* squares, T* means, T* velocity,
             const EntryState* states, const RmspropStep& step) {
  using V = Vector<T>;
  const V zero = hn::Zero(Tag<T>()), one = constant<T>(1), lr = constant<T>(step.lr),
          decay = constant<T>(step.decay), alpha = constant<T>(step.alpha),
          rest = constant<T>(1 - step.alpha), epsilon = held<T>(step.epsilon),
          momentum = constant<T>(step.momentum);
  const Clip<T> clip(step.clipping);
  const SecondMoment<T> moment(step.alpha, 1 - step.alpha);
  for_runs<T>(n, states, [&](const Run<T>& run, Index i, const auto& keep) HWY_ATTR {
    const V value = run.get(values + i), g = hn::MulAdd(decay, value, clip(run.get(gradients + i)));
    V square = run.get(squares + i), root = moment.next(g, square);
    if (means != nullptr) {
      const V mean = hn::MulAdd(alpha, run.get(means + i), hn::Mul(rest, g));
      // The deviation is root sqrt(1 - (mean / root)^2), which squares nothing that is out of range.
      const V part = hn::IfThenZeroElse(hn::Eq(root, zero), hn::Div(mean, root));
      const V left = hn::NegMulAdd(part, part, one);
      root = hn::Mul(root, hn::Sqrt(hn::IfThenZeroElse(hn::Lt(left, zero), left)));
      keep(means + i, mean);
    }
    V direction = hn::Div(g, hn::Add(root, epsilon));
    if (velocity != nullptr) {
      direction = hn::MulAdd(momentum, run.get(velocity + i), direction);
      keep(velocity + i, direction);
    }
    keep(squares + i, square);
    keep(values + i, hn::NegMulAdd(lr, direction, value));
  });
}

template <class T>
void adagrad(Index n, T* values, const T* gradients, T* sums, const EntryState* states,
             const AdagradStep& step) {
  using V = Vector<T>;
  const V lr = constant<T>(step.lr), decay = constant<T>(step.decay), epsilon = held<T>(step.epsilon);
  const Clip<T> clip(step.clipping);
  const SecondMoment<T> moment(1, 1);
  for_runs<T>(n, states, [&](const Run<T>& run, Index i, const auto& keep) HWY_ATTR {
    const V value = run.get(values + i), g = hn::MulAdd(decay, value, clip(run.get(gradients + i)));
    V sum = run.get(sums + i);
    const V root = moment.next(g, sum);
    keep(sums + i, sum);
    keep(values + i, hn::NegMulAdd(lr, hn::Div(g, hn::Add(root, epsilon)), value));
  });
}

template <class T>
void lion(Index n, T* values, const T* gradients, T* moments, const EntryState* states,
          const LionStep& step) {
  using V = Vector<T>;
  const V lr = constant<T>(step.lr), shrinkage = constant<T>(step.shrinkage), beta1 = constant<T>(step.beta1),
          rest1 = constant<T>(1 - step.beta1), beta2 = constant<T>(step.beta2),
          rest2 = constant<T>(1 - step.beta2);
  const Clip<T> clip(step.clipping);
  for_runs<T>(n, states, [&](const Run<T>& run, Index i, const auto& keep) HWY_ATTR {
    const V g = clip(run.get(gradients + i)), m = run.get(moments + i);
    const V direction = sign<T>(hn::MulAdd(beta1, m, hn::Mul(rest1, g)));
    keep(moments + i, hn::MulAdd(beta2, m, hn::Mul(rest2, g)));
    keep(values + i, hn::NegMulAdd(lr, direction, hn::Mul(shrinkage, run.get(values + i))));
  });
}

template <class T> void average(Index n, T* averages, const T* values, const std::uint8_t* frozen, T share) {
  const Vector<T> by = hn::Set(Tag<T>(), share);
  const auto* const states = reinterpret_cast<const EntryState*>(frozen);
  const Index width = lanes<T>();
  for (Index i = 0; i < n; i += width) {
    const Run<T> run{std::min(width, n - i)};
    const Vector<T> value = run.get(values + i), before = run.get(averages + i);
    const Vector<T> next = hn::MulAdd(by, hn::Sub(value, before), before);
    const auto free = is<T>(EntryState::trainable, run.get_states(states + i));
    run.put(hn::IfThenElse(free, next, value), averages + i);
  }
}

TAPER_KERNELS(AdaptiveTable, &rmsprop<T>, &adagrad<T>, &lion<T>, &average<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(AdaptiveTable)

template <class T>
void rmsprop_step(Index n, T* values, const T* gradients, T* squares, T* means, T* velocity,
                  const EntryState* states, const RmspropStep& step) {
  for_numbers(n, costly, [&](Index begin, Index end) {
    best<T>().rmsprop(end - begin, values + begin, gradients + begin, squares + begin, ahead(means, begin),
                      ahead(velocity, begin), ahead(states, begin), step);
  });
}

template <class T>
void adagrad_step(Index n, T* values, const T* gradients, T* sums, const EntryState* states,
                  const AdagradStep& step) {
  for_numbers(n, costly, [&](Index begin, Index end) {
    best<T>().adagrad(end - begin, values + begin, gradients + begin, sums + begin, ahead(states, begin),
                      step);
  });
}

template <class T>
void lion_step(Index n, T* values, const T* gradients, T* moments, const EntryState* states,
               const LionStep& step) {
  for_numbers(n, cheap, [&](Index begin, Index end) {
    best<T>().lion(end - begin, values + begin, gradients + begin, moments + begin, ahead(states, begin),
                   step);
  });
}

template <class T>
void average_step(Index n, T* averages, const T* values, const std::uint8_t* frozen, double share) {
  for_numbers(n, cheap, [&](Index begin, Index end) {
    best<T>().average(end - begin, averages + begin, values + begin, frozen + begin, static_cast<T>(share));
  });
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template void rmsprop_step(Index, T*, const T*, T*, T*, T*, const EntryState*, const RmspropStep&); \
  template void adagrad_step(Index, T*, const T*, T*, const EntryState*, const AdagradStep&);         \
  template void lion_step(Index, T*, const T*, T*, const EntryState*, const LionStep&);               \
  template void average_step(Index, T*, const T*, const std::uint8_t*, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
