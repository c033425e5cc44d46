#include <taper/autodiff/kernels/update.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/update.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The constants of a step in every lane.
template <class T> struct Sgd {
  using V = Vector<T>;
  V rate, scale, decay, momentum, keep;
  bool nesterov, first;

  explicit Sgd(const SgdStep& s)
      : rate(constant<T>(s.rate)),
        scale(constant<T>(s.gradient_scale)),
        decay(constant<T>(s.decay)),
        momentum(constant<T>(s.momentum)),
        keep(constant<T>(1 - s.dampening)),
        nesterov(s.nesterov),
        first(s.first) {}

  HWY_INLINE V plain(V value, V gradient) const {
    return hn::NegMulAdd(rate, hn::MulAdd(decay, value, hn::Mul(scale, gradient)), value);
  }
  HWY_INLINE V with_momentum(V value, V gradient, V& velocity) const {
    const V g = hn::MulAdd(decay, value, hn::Mul(scale, gradient));
    velocity = first ? g : hn::MulAdd(momentum, velocity, hn::Mul(keep, g));
    return hn::NegMulAdd(rate, nesterov ? hn::MulAdd(momentum, velocity, g) : velocity, value);
  }
};

template <class T> void sgd(Index n, T* values, const T* gradients, T* velocity, const SgdStep& constants) {
  const Sgd<T> step(constants);
  const Index width = lanes<T>();
  for (Index i = 0; i < n; i += width) {
    const Index count = std::min(width, n - i);
    const bool whole = count == width;
    Vector<T> value = whole ? load<T>(values + i) : load_some<T>(values + i, count);
    const Vector<T> gradient = whole ? load<T>(gradients + i) : load_some<T>(gradients + i, count);
    if (velocity == nullptr) {
      value = step.plain(value, gradient);
    } else {
      Vector<T> v = whole ? load<T>(velocity + i) : load_some<T>(velocity + i, count);
      value = step.with_momentum(value, gradient, v);
      whole ? store<T>(v, velocity + i) : store_some<T>(v, velocity + i, count);
    }
    whole ? store<T>(value, values + i) : store_some<T>(value, values + i, count);
  }
}

template <class T> struct Adam {
  using V = Vector<T>;
  V rate, scale, decay, shrinkage, beta1, beta2, rest1, rest2, root_correction, epsilon;

  explicit Adam(const AdamStep& s)
      : rate(constant<T>(s.rate)),
        scale(constant<T>(s.gradient_scale)),
        decay(constant<T>(s.coupled_decay)),
        shrinkage(constant<T>(s.shrinkage)),
        beta1(constant<T>(s.beta1)),
        beta2(constant<T>(s.beta2)),
        rest1(constant<T>(1 - s.beta1)),
        rest2(constant<T>(1 - s.beta2)),
        root_correction(constant<T>(1 / s.root_correction)),
        epsilon(constant<T>(s.epsilon)) {}

  HWY_INLINE V next(V value, V gradient, V& first, V& second) const {
    const V g = hn::MulAdd(decay, value, hn::Mul(scale, gradient));
    first = hn::MulAdd(beta1, first, hn::Mul(rest1, g));
    second = hn::MulAdd(beta2, second, hn::Mul(rest2, hn::Mul(g, g)));
    const V root = hn::MulAdd(hn::Sqrt(second), root_correction, epsilon);
    return hn::Sub(hn::Mul(shrinkage, value), hn::Div(hn::Mul(rate, first), root));
  }
};

template <class T>
void adam(Index n, T* values, const T* gradients, T* first, T* second, const AdamStep& constants) {
  const Adam<T> step(constants);
  const Index width = lanes<T>();
  Index i = 0;
  for (; i + width <= n; i += width) {
    Vector<T> m = load<T>(first + i), v = load<T>(second + i);
    store<T>(step.next(load<T>(values + i), load<T>(gradients + i), m, v), values + i);
    store<T>(m, first + i);
    store<T>(v, second + i);
  }
  if (i < n) {
    const Index count = n - i;
    Vector<T> m = load_some<T>(first + i, count), v = load_some<T>(second + i, count);
    store_some<T>(step.next(load_some<T>(values + i, count), load_some<T>(gradients + i, count), m, v),
                  values + i, count);
    store_some<T>(m, first + i, count);
    store_some<T>(v, second + i, count);
  }
}

void sgd_f32(Index n, float* x, const float* g, float* v, const SgdStep& step) {
  sgd(n, x, g, v, step);
}
void sgd_f64(Index n, double* x, const double* g, double* v, const SgdStep& step) {
  sgd(n, x, g, v, step);
}
void adam_f32(Index n, float* x, const float* g, float* m, float* v, const AdamStep& step) {
  adam(n, x, g, m, v, step);
}
void adam_f64(Index n, double* x, const double* g, double* m, double* v, const AdamStep& step) {
  adam(n, x, g, m, v, step);
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(sgd_f32);
HWY_EXPORT(sgd_f64);
HWY_EXPORT(adam_f32);
HWY_EXPORT(adam_f64);

template <class T> void sgd_step(Index n, T* values, const T* gradients, T* velocity, const SgdStep& step) {
  for_pieces(n, elementwise_piece, [&](Index begin, Index end) {
    T* const speed = velocity == nullptr ? nullptr : velocity + begin;
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(sgd_f32)(end - begin, values + begin, gradients + begin, speed, step);
    } else {
      HWY_DYNAMIC_DISPATCH(sgd_f64)(end - begin, values + begin, gradients + begin, speed, step);
    }
  });
}

template <class T>
void adam_step(Index n, T* values, const T* gradients, T* first, T* second, const AdamStep& step) {
  for_pieces(n, elementwise_piece, [&](Index begin, Index end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(adam_f32)
      (end - begin, values + begin, gradients + begin, first + begin, second + begin, step);
    } else {
      HWY_DYNAMIC_DISPATCH(adam_f64)
      (end - begin, values + begin, gradients + begin, first + begin, second + begin, step);
    }
  });
}

template void sgd_step(Index, float*, const float*, float*, const SgdStep&);
template void sgd_step(Index, double*, const double*, double*, const SgdStep&);
template void adam_step(Index, float*, const float*, float*, float*, const AdamStep&);
template void adam_step(Index, double*, const double*, double*, double*, const AdamStep&);

}  // namespace taper::kernels
#endif
