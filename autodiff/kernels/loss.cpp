#include <taper/autodiff/kernels/loss.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_LOSS_TABLE  // once, before the targets
#define TAPER_LOSS_TABLE
namespace taper::kernels {
template <class T> struct LossTable {
  T (*forward)(Loss kind, Index n, const T* p, const T* t, T delta);
  void (*gradient)(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, T* g, bool add);
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
}

template <class T, Loss kind, int of> HWY_INLINE Vector<T> slope(Vector<T> p, Vector<T> t, Vector<T> delta) {
  const Vector<T> difference = of == 0 ? hn::Sub(p, t) : hn::Sub(t, p);
  if constexpr (kind == Loss::square) return hn::Add(difference, difference);
  if constexpr (kind == Loss::absolute) return sign<T>(difference);
  if constexpr (kind == Loss::huber)
    return keep_nan<T>(difference, hn::Min(hn::Max(difference, hn::Neg(delta)), delta));
  if constexpr (kind == Loss::bce_with_logits) return of == 0 ? hn::Sub(sigmoid<T>(p), t) : hn::Neg(p);
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

template <class T, Loss kind, int of>
void map_gradient(Index n, const T* p, const T* t, T delta, T s, T* g, bool add) {
  const Tag<T> d;
  const Index step = lanes<T>();
  const Vector<T> bound = hn::Set(d, delta), factor = hn::Set(d, s);
  for (Index i = 0; i < n; i += step) {
    if (const Index rest = n - i; rest >= step) {
      const Vector<T> local = hn::Mul(factor, slope<T, kind, of>(load<T>(p + i), load<T>(t + i), bound));
      store<T>(add ? hn::Add(load<T>(g + i), local) : local, g + i);
    } else {
      const Vector<T> local =
          hn::Mul(factor, slope<T, kind, of>(load_some<T>(p + i, rest), load_some<T>(t + i, rest), bound));
      store_some<T>(add ? hn::Add(load_some<T>(g + i, rest), local) : local, g + i, rest);
    }
  }
}

template <class T> T forward(Loss kind, Index n, const T* p, const T* t, T delta) {
  switch (kind) {
    case Loss::square:
      return total<T, Loss::square>(n, p, t, delta);
    case Loss::absolute:
      return total<T, Loss::absolute>(n, p, t, delta);
    case Loss::huber:
      return total<T, Loss::huber>(n, p, t, delta);
    case Loss::bce_with_logits:
      return total<T, Loss::bce_with_logits>(n, p, t, delta);
  }
  return 0;
}

template <class T, int of>
void gradient(Loss kind, Index n, const T* p, const T* t, T delta, T s, T* g, bool add) {
  switch (kind) {
    case Loss::square:
      return map_gradient<T, Loss::square, of>(n, p, t, delta, s, g, add);
    case Loss::absolute:
      return map_gradient<T, Loss::absolute, of>(n, p, t, delta, s, g, add);
    case Loss::huber:
      return map_gradient<T, Loss::huber, of>(n, p, t, delta, s, g, add);
    case Loss::bce_with_logits:
      return map_gradient<T, Loss::bce_with_logits, of>(n, p, t, delta, s, g, add);
  }
}

template <class T>
void gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, T* g, bool add) {
  of == 0 ? gradient<T, 0>(kind, n, p, t, delta, s, g, add) : gradient<T, 1>(kind, n, p, t, delta, s, g, add);
}

TAPER_KERNELS(LossTable, &forward<T>, &gradient<T>)

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

template <class T>
void loss_gradient(Loss kind, int of, Index n, const T* p, const T* t, T delta, T s, T* g, bool add) {
  for_numbers(n, kind == Loss::bce_with_logits ? costly : cheap, [&](Index begin, Index end) {
    best<T>().gradient(kind, of, end - begin, p + begin, t + begin, delta, s, g + begin, add);
  });
}

#define TAPER_LOSS(T)                                       \
  template double loss(Loss, Index, const T*, const T*, T); \
  template void loss_gradient(Loss, int, Index, const T*, const T*, T, T, T*, bool);
TAPER_FOR_SCALARS(TAPER_LOSS)

}  // namespace taper::kernels
#endif
