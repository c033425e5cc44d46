#include <taper/autodiff/kernels/update.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_UPDATE_TABLE  // once, before the targets
#define TAPER_UPDATE_TABLE
namespace taper::kernels {
template <class T> struct UpdateTable {
  void (*sgd)(Index n, T* values, const T* gradients, T* velocity, const EntryState* states,
              const SgdStep& step);
  void (*adam)(Index n, T* values, const T* gradients, T* first, T* second, const EntryState* states,
               const AdamStep& step, const AdamCohorts<T>& cohorts);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/update.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Up to one vector of elements at p, where `count` are left.
template <class T> struct Run {
  Index count;
  bool whole = count == lanes<T>();

  HWY_INLINE Vector<T> get(const T* p) const { return whole ? load<T>(p) : load_some<T>(p, count); }
  HWY_INLINE void put(Vector<T> v, T* p) const { whole ? store<T>(v, p) : store_some<T>(v, p, count); }
  /// Whole numbers as wide as T, one for each lane.
  HWY_INLINE auto get_ordinals(const Ordinal<T>* p) const {
    const hn::RebindToSigned<Tag<T>> d;
    HWY_ALIGN Ordinal<T> buffer[hn::MaxLanes(d)] = {};
    if (whole) return hn::LoadU(d, p);
    std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(*p));
    return hn::Load(d, buffer);
  }
  /// The bytes of a mask, widened to lanes.
  HWY_INLINE auto get_states(const EntryState* p) const {
    const hn::RebindToSigned<Tag<T>> d;
    if constexpr (sizeof(T) == 4) {
      const hn::Rebind<std::uint8_t, decltype(d)> bytes;
      if (whole) return hn::PromoteTo(d, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(p)));
    }
    HWY_ALIGN Ordinal<T> buffer[hn::MaxLanes(d)] = {};
    for (Index i = 0; i < count; ++i) buffer[i] = static_cast<Ordinal<T>>(p[i]);
    return hn::Load(d, buffer);
  }
};

template <class T> using Lanes = decltype(hn::Zero(hn::RebindToSigned<Tag<T>>()));

template <class T> HWY_INLINE auto is(EntryState what, Lanes<T> states) {
  return hn::RebindMask(Tag<T>(),
                        hn::Eq(states, hn::Set(hn::RebindToSigned<Tag<T>>(), static_cast<Ordinal<T>>(what))));
}

/// Clipping in every lane.
template <class T> struct Clip {
  Vector<T> scale, more, limit;
  bool only_scale;

  explicit HWY_INLINE Clip(const Clipping& c)
      : scale(constant<T>(c.scale)),
        more(constant<T>(c.more)),
        limit(constant<T>(c.limit)),
        only_scale(c.more == 1 && c.limit == std::numeric_limits<double>::infinity()) {}

  HWY_INLINE Vector<T> operator()(Vector<T> g) const {
    if (only_scale) return hn::Mul(scale, g);
    return hn::Mul(more, hn::Mul(scale, hn::Min(hn::Max(g, hn::Neg(limit)), limit)));
  }
};

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
  V lr, decay, shrinkage, beta1, beta2, rest1, rest2, root_correction, epsilon;
  Clip<T> clip;
  // The range in which second moments are kept as they are, and have all their digits.
  static constexpr T least = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
  static constexpr T most = std::numeric_limits<T>::max() / 4;

  explicit Adam(const AdamStep& s)
      : lr(constant<T>(s.lr)),
        decay(constant<T>(s.coupled_decay)),
        shrinkage(constant<T>(s.shrinkage)),
        beta1(constant<T>(s.beta1)),
        beta2(constant<T>(s.beta2)),
        rest1(constant<T>(1 - s.beta1)),
        rest2(constant<T>(1 - s.beta2)),
        root_correction(constant<T>(s.root_correction)),
        // One that T cannot hold is the least that it can, so that 0 / (0 + epsilon) stays 0.
        epsilon(constant<T>(std::max(s.epsilon, static_cast<double>(std::numeric_limits<T>::min())))),
        clip(s.clipping) {}

  HWY_INLINE V next(V value, V gradient, V& first, V& second) const {
    const Tag<T> d;
    const V g = hn::MulAdd(decay, value, clip(gradient));
    first = hn::MulAdd(beta1, first, hn::Mul(rest1, g));
    V square = hn::MulAdd(beta2, second, hn::Mul(rest2, hn::Mul(g, g))), root = hn::Sqrt(square);
    if (HWY_UNLIKELY(!in_range(square, second))) {
      const auto no_underflow = hn::Or(hn::Eq(g, hn::Zero(d)), hn::Ge(square, hn::Set(d, least)));
      const auto no_overflow = hn::And(hn::Ge(second, hn::Zero(d)), hn::Le(square, hn::Set(d, most)));
      const auto plain = hn::And(no_underflow, no_overflow);
      if (!hn::AllTrue(d, plain)) {
        const V far = far_root(g, second);
        root = hn::IfThenElse(plain, root, far);
        square = hn::IfThenElse(plain, square, encoded(far));
      }
    }
    second = square;
    root = hn::MulAdd(root, root_correction, epsilon);
    return hn::Sub(hn::Mul(shrinkage, value), hn::Div(hn::Mul(lr, first), root));
  }

 private:
  /// Whether all squares are in [least, most) and no last moment was negative, by one comparison of bits:
  /// those of positive numbers are in their order, and a sign is beyond all of them.
  static HWY_INLINE bool in_range(V square, V second) {
    const hn::RebindToUnsigned<Tag<T>> d;
    const auto low = hn::BitCast(d, hn::Set(Tag<T>(), least)), high = hn::BitCast(d, hn::Set(Tag<T>(), most));
    const auto bits = hn::BitCast(d, hn::Or(square, hn::And(second, hn::SignBit(Tag<T>()))));
    return hn::AllTrue(d, hn::Lt(hn::Sub(bits, low), hn::Sub(high, low)));
  }
  /// The root of the next second moment, by parts of the larger of the last root and the gradient.
  HWY_INLINE V far_root(V g, V second) const {
    const V zero = hn::Zero(Tag<T>()), size = hn::Abs(g);
    const V before = hn::IfThenElse(hn::Lt(second, zero), hn::Neg(second), hn::Sqrt(second));
    const V larger = hn::Max(before, size), a = hn::Div(before, larger), b = hn::Div(size, larger);
    const V root = hn::Sqrt(hn::MulAdd(beta2, hn::Mul(a, a), hn::Mul(rest2, hn::Mul(b, b))));
    return hn::IfThenZeroElse(hn::Eq(larger, zero), hn::Mul(larger, root));
  }
  /// How a second moment is kept, given its root.
  static HWY_INLINE V encoded(V root) {
    const Tag<T> d;
    const V square = hn::Mul(root, root);
    const auto fits = hn::And(hn::Ge(square, hn::Set(d, least)), hn::Le(square, hn::Set(d, most)));
    return hn::IfThenElse(fits, square, hn::Neg(root));
  }
};

template <class T>
void adam(Index n, T* values, const T* gradients, T* first, T* second, const EntryState* states,
          const AdamStep& constants, const AdamCohorts<T>& cohorts) {
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
    Vector<T> next_m = m, next_v = v;
    Vector<T> next = step.next(value, run.get(gradients + i), next_m, next_v);
    if (states != nullptr) {
      const auto frozen = is<T>(EntryState::frozen, run.get_states(states + i));
      next = hn::IfThenElse(frozen, value, next);
      next_m = hn::IfThenElse(frozen, m, next_m);
      next_v = hn::IfThenElse(frozen, v, next_v);
    }
    run.put(next, values + i);
    run.put(next_m, first + i);
    run.put(next_v, second + i);
  }
}

TAPER_KERNELS(UpdateTable, &sgd<T>, &adam<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(UpdateTable)

namespace {

/// A pointer to what lies `by` further on, if there is anything.
template <class P> P* ahead(P* p, Index by) {
  return p == nullptr ? nullptr : p + by;
}

}  // namespace

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
               const AdamStep& step, const AdamCohorts<T>& cohorts) {
  for_numbers(n, costly, [&](Index begin, Index end) {
    AdamCohorts<T> here = cohorts;
    here.cohort = ahead(cohorts.cohort, begin);
    best<T>().adam(end - begin, values + begin, gradients + begin, first + begin, second + begin,
                   ahead(states, begin), step, here);
  });
}

#define TAPER_UPDATE(T)                                                                    \
  template void sgd_step(Index, T*, const T*, T*, const EntryState*, const SgdStep&);      \
  template void adam_step(Index, T*, const T*, T*, T*, const EntryState*, const AdamStep&, \
                          const AdamCohorts<T>&);
TAPER_FOR_SCALARS(TAPER_UPDATE)

}  // namespace taper::kernels
#endif
