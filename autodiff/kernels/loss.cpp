#include <type_traits>

#include <taper/autodiff/kernels/loss.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_LOSS_TABLE  // once, before the targets
#define TAPER_LOSS_TABLE
namespace taper::kernels {
template <class T> struct LossTable {
  T (*forward)(Loss kind, Index n, const T* p, const T* t, T delta);
  /// The derivatives are multiplied by those of gy, or by s where that is null.
  void (*gradient)(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, const T* gy, T* g,
                   bool add);
  void (*each)(Loss kind, Index n, const T* p, const T* t, T delta, T* y);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/loss.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

template <class T, Loss kind> HWY_INLINE Vector<T> value(Vector<T> p, Vector<T> t, Vector<T> delta) {
  const Vector<T> difference = hn::Sub(p, t);
  if constexpr (kind == Loss::square) return hn::Mul(difference, difference);
  if constexpr (kind == Loss::absolute) return hn::Abs(difference);
  if constexpr (kind == Loss::huber) {
    const Vector<T> size = hn::Abs(difference), half = constant<T>(0.5);
    const Vector<T> inner = hn::Mul(half, hn::Mul(size, size));
    return hn::IfThenElse(hn::Le(size, delta), inner, hn::Mul(delta, hn::Sub(size, hn::Mul(half, delta))));
  }
  if constexpr (kind == Loss::bce_with_logits) {
    // softplus(p) - t p with its two large parts together, so that what is left of a good fit keeps its
    // digits, and an infinite p that fits t loses nothing: (1 - t) p or -t p.
    const Vector<T> zero = hn::Zero(Tag<T>());
    const Vector<T> miss = hn::Sub(hn::IfThenElseZero(hn::Gt(p, zero), constant<T>(1)), t);
    const Vector<T> large = keep_nan<T>(p, hn::IfThenZeroElse(hn::Eq(miss, zero), hn::Mul(miss, p)));
    return hn::Add(large, log1p_unit<T>(exp_of_negative<T>(p).value()));
  }
  const Vector<T> zero = hn::Zero(Tag<T>()), one = constant<T>(1);
  if constexpr (kind == Loss::hinge) {
    const Vector<T> v = hn::NegMulAdd(t, p, one);
    return hn::IfThenElse(hn::Lt(v, zero), zero, v);
  }
  if constexpr (kind == Loss::poisson_log) return hn::NegMulAdd(t, p, exp<T>(p));
  if constexpr (kind == Loss::poisson) return hn::NegMulAdd(t, log<T>(hn::Add(p, delta)), p);
}

template <class T, Loss kind, int of> HWY_INLINE Vector<T> slope(Vector<T> p, Vector<T> t, Vector<T> delta) {
  const Vector<T> difference = of == 0 ? hn::Sub(p, t) : hn::Sub(t, p);
  if constexpr (kind == Loss::square) return hn::Add(difference, difference);
  if constexpr (kind == Loss::absolute) return sign<T>(difference);
  if constexpr (kind == Loss::huber)
    return keep_nan<T>(difference, hn::Min(hn::Max(difference, hn::Neg(delta)), delta));
  if constexpr (kind == Loss::bce_with_logits) return of == 0 ? hn::Sub(sigmoid<T>(p), t) : hn::Neg(p);
  const Vector<T> one = constant<T>(1);
  if constexpr (kind == Loss::hinge)
    return hn::IfThenZeroElse(hn::Ge(hn::Mul(t, p), one), hn::Neg(of == 0 ? t : p));
  if constexpr (kind == Loss::poisson_log) return of == 0 ? hn::Sub(exp<T>(p), t) : hn::Neg(p);
  if constexpr (kind == Loss::poisson) {
    const Vector<T> rate = hn::Add(p, delta);
    return of == 0 ? hn::Sub(one, hn::Div(t, rate)) : hn::Neg(log<T>(rate));
  }
}

template <class T, Loss kind> T total(Index n, const T* p, const T* t, T delta) {
  const Tag<T> d;
  const Vector<T> bound = hn::Set(d, delta);
  const Vector<T> sums = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
    const Vector<T> v = value<T, kind>(load_upto<T>(p + i, count), load_upto<T>(t + i, count), bound);
    return hn::Add(sum, count == lanes<T>() ? v : only<T>(v, count));
  });
  return hn::GetLane(hn::SumOfLanes(d, sums));
}

template <class T, Loss kind> void map(Index n, const T* p, const T* t, T delta, T* y) {
  const Vector<T> bound = hn::Set(Tag<T>(), delta);
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    store_upto<T>(value<T, kind>(load_upto<T>(p + i, count), load_upto<T>(t + i, count), bound), y + i,
                  count);
  });
}

template <class T, Loss kind, int of>
void map_gradient(Index n, const T* p, const T* t, T delta, T s, const T* gy, T* g, bool add) {
  const Tag<T> d;
  const Vector<T> bound = hn::Set(d, delta), factor = hn::Set(d, s);
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    const Vector<T> by = gy == nullptr ? factor : load_upto<T>(gy + i, count);
    const Vector<T> local = slope<T, kind, of>(load_upto<T>(p + i, count), load_upto<T>(t + i, count), bound);
    store_or_add<T>(hn::Mul(by, local), g + i, count, add);
  });
}

/// Calls f(kind) with the kind as a constant, where the compiler warns of a case that is missing.
template <class F> auto with_kind(Loss kind, const F& f) {
  using K = Loss;
  switch (kind) {
    case K::square:
      return f(std::integral_constant<K, K::square>());
    case K::absolute:
      return f(std::integral_constant<K, K::absolute>());
    case K::huber:
      return f(std::integral_constant<K, K::huber>());
    case K::bce_with_logits:
      return f(std::integral_constant<K, K::bce_with_logits>());
    case K::hinge:
      return f(std::integral_constant<K, K::hinge>());
    case K::poisson_log:
      return f(std::integral_constant<K, K::poisson_log>());
    case K::poisson:
      break;
  }
  return f(std::integral_constant<K, K::poisson>());
}

template <class T> T forward(Loss kind, Index n, const T* p, const T* t, T delta) {
  return with_kind(kind, [&](auto k) { return total<T, k()>(n, p, t, delta); });
}

template <class T> void each(Loss kind, Index n, const T* p, const T* t, T delta, T* y) {
  with_kind(kind, [&](auto k) { map<T, k()>(n, p, t, delta, y); });
}

template <class T>
void gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, const T* gy, T* g, bool add) {
  with_kind(kind, [&](auto k) {
    of == 0 ? map_gradient<T, k(), 0>(n, p, t, delta, s, gy, g, add)
            : map_gradient<T, k(), 1>(n, p, t, delta, s, gy, g, add);
  });
}

TAPER_KERNELS(LossTable, &forward<T>, &gradient<T>, &each<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(LossTable)

template <class T> double loss(Loss kind, Index n, const T* p, const T* t, T delta) {
  double result = 0;
  for (Index begin = 0; begin < n; begin += sum_piece) {
    const Index count = std::min(sum_piece, n - begin);
    result += static_cast<double>(best<T>().forward(kind, count, p + begin, t + begin, delta));
  }
  return result;
}

namespace {

Index cost(Loss kind) {
  return kind >= Loss::bce_with_logits && kind != Loss::hinge ? costly : cheap;
}

}  // namespace

template <class T>
void loss_gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, T* g, bool add) {
  for_numbers(n, cost(kind), [&](Index begin, Index end) {
    best<T>().gradient(kind, of, end - begin, p + begin, t + begin, delta, s, nullptr, g + begin, add);
  });
}

template <class T> void loss_each(Loss kind, Index n, const T* p, const T* t, T delta, T* y) {
  for_numbers(n, cost(kind), [&](Index begin, Index end) {
    best<T>().each(kind, end - begin, p + begin, t + begin, delta, y + begin);
  });
}

template <class T>
void loss_each_gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, const T* gy, T* g,
                        bool add) {
  for_numbers(n, cost(kind), [&](Index begin, Index end) {
    best<T>().gradient(kind, of, end - begin, p + begin, t + begin, delta, T{1}, gy + begin, g + begin, add);
  });
}

#define TAPER_INSTANTIATE(T)                                                         \
  template double loss(Loss, Index, const T*, const T*, T);                          \
  template void loss_gradient(Loss, int, Index, const T*, const T*, T, T, T*, bool); \
  template void loss_each(Loss, Index, const T*, const T*, T, T*);                   \
  template void loss_each_gradient(Loss, int, Index, const T*, const T*, T, const T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
