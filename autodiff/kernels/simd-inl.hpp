// Included once per target by the kernels' sources, between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE:
// what they share, compiled for that target. Highway's usual guard, which lets each target in once.
#if defined(TAPER_KERNELS_SIMD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_SIMD_INL
#undef TAPER_KERNELS_SIMD_INL
#else
#define TAPER_KERNELS_SIMD_INL
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class T> using Tag = hn::ScalableTag<T>;
template <class T> using Vector = hn::Vec<Tag<T>>;

template <class T> HWY_INLINE Index lanes() {
  return static_cast<Index>(hn::Lanes(Tag<T>()));
}

template <class T> HWY_INLINE Vector<T> constant(double x) {
  return hn::Set(Tag<T>(), static_cast<T>(x));
}

template <class T> HWY_INLINE Vector<T> load(const T* p) {
  return hn::LoadU(Tag<T>(), p);
}

template <class T> HWY_INLINE void store(Vector<T> v, T* p) {
  hn::StoreU(v, Tag<T>(), p);
}

/// The first `count` lanes from memory, the others zero; touches nothing beyond them.
template <class T> HWY_INLINE Vector<T> load_some(const T* p, Index count) {
  const Tag<T> d;
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count)), d, p);
#else
  HWY_ALIGN T buffer[hn::MaxLanes(d)] = {};
  std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(T));
  return hn::Load(d, buffer);
#endif
}

/// The first `count` lanes to memory.
template <class T> HWY_INLINE void store_some(Vector<T> v, T* p, Index count) {
  const Tag<T> d;
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(count)), d, p);
#else
  HWY_ALIGN T buffer[hn::MaxLanes(d)];
  hn::Store(v, d, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(count) * sizeof(T));
#endif
}

/// Applies a scalar function to each lane, for functions that have no vector form here.
template <class T, class F> HWY_INLINE Vector<T> per_lane(Vector<T> x, const F& f) {
  const Tag<T> d;
  HWY_ALIGN T buffer[hn::MaxLanes(d)];
  hn::Store(x, d, buffer);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) buffer[i] = f(buffer[i]);
  return hn::Load(d, buffer);
}

template <class T> HWY_INLINE Vector<T> keep_nan(Vector<T> x, Vector<T> y) {
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

/// Calls f(i, count) for runs of at most one vector.
template <class T, class F> HWY_INLINE void for_vectors(Index n, const F& f) {
  const Index step = lanes<T>();
  for (Index i = 0; i < n; i += step) f(i, std::min(step, n - i));
}

/// A vector of `count` numbers, where most often that is all of them.
template <class T> HWY_INLINE Vector<T> load_upto(const T* p, Index count) {
  return count == lanes<T>() ? load<T>(p) : load_some<T>(p, count);
}

template <class T> HWY_INLINE void store_upto(Vector<T> v, T* p, Index count) {
  if (count == lanes<T>()) {
    store<T>(v, p);
  } else {
    store_some<T>(v, p, count);
  }
}

/// Stores v, or adds it to what is there.
template <class T> HWY_INLINE void leave(Vector<T> v, T* p, Index count, bool add) {
  store_upto<T>(add ? hn::Add(load_upto<T>(p, count), v) : v, p, count);
}

/// The first `count` lanes, the others zero.
template <class T> HWY_INLINE Vector<T> only(Vector<T> v, Index count) {
  return hn::IfThenElseZero(hn::FirstN(Tag<T>(), static_cast<std::size_t>(count)), v);
}

/// The larger of each lane; a NaN wins.
template <class T> HWY_INLINE Vector<T> larger(Vector<T> a, Vector<T> b) {
  return keep_nan<T>(a, keep_nan<T>(b, hn::Max(a, b)));
}

// Highway's polynomials are accurate inside their stated ranges and undefined outside; these add what the
// standard library does at the ends: infinities, zero and NaN.

template <class T> HWY_INLINE Vector<T> exp(Vector<T> x) {
  const Tag<T> d;
  const Vector<T> most = constant<T>(std::is_same_v<T, float> ? 88.72283935546875 : 709.782712893384);
  const Vector<T> least = constant<T>(std::is_same_v<T, float> ? -104.0 : -746.0);
  const Vector<T> inner =
      hn::Exp(d, hn::Min(hn::Max(x, least), constant<T>(std::is_same_v<T, float> ? 88.72 : 705.0)));
  // Between the polynomial's end and overflow, exp(x) = exp(x / 2)^2 stays within a few ulp.
  const Vector<T> half = hn::Exp(d, hn::Mul(hn::Min(x, most), constant<T>(0.5)));
  const Vector<T> high = hn::IfThenElse(hn::Gt(x, most), constant<T>(std::numeric_limits<double>::infinity()),
                                        hn::Mul(half, half));
  const auto beyond = hn::Gt(x, constant<T>(std::is_same_v<T, float> ? 88.72 : 705.0));
  return keep_nan<T>(x, hn::IfThenElse(beyond, high, inner));
}

template <class T> HWY_INLINE Vector<T> log(Vector<T> x) {
  const Tag<T> d;
  const Vector<T> zero = hn::Zero(d);
  const Vector<T> infinity = constant<T>(std::numeric_limits<double>::infinity());
  Vector<T> y = hn::Log(d, hn::IfThenElse(hn::And(hn::Gt(x, zero), hn::Lt(x, infinity)), x, constant<T>(1)));
  y = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), y);
  y = hn::IfThenElse(hn::Eq(x, infinity), infinity, y);
  y = hn::IfThenElse(hn::Lt(x, zero), constant<T>(std::numeric_limits<double>::quiet_NaN()), y);
  return keep_nan<T>(x, y);
}

/// log(1 + x) for x in [0, 1].
template <class T> HWY_INLINE Vector<T> log1p_unit(Vector<T> x) {
  return hn::Log1p(Tag<T>(), x);
}

/// exp(x) - 1 for x <= 0.
template <class T> HWY_INLINE Vector<T> expm1_negative(Vector<T> x) {
  return hn::Expm1(Tag<T>(), hn::Max(x, constant<T>(-50)));
}

template <class T> HWY_INLINE Vector<T> tanh(Vector<T> x) {
  // Beyond 20 the result is 1 in double too.
  const Vector<T> inner = hn::Min(hn::Max(x, constant<T>(-20)), constant<T>(20));
  return keep_nan<T>(x, hn::Tanh(Tag<T>(), inner));
}

template <class T> HWY_INLINE Vector<T> sigmoid(Vector<T> x) {
  // exp of -|x| only, so that nothing overflows and small results keep their digits.
  const Vector<T> one = constant<T>(1);
  const Vector<T> e = exp<T>(hn::Neg(hn::Abs(x)));
  const Vector<T> numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(Tag<T>())), e, one);
  return hn::Div(numerator, hn::Add(one, e));
}

/// log(1 + exp(x)).
template <class T> HWY_INLINE Vector<T> softplus(Vector<T> x) {
  const Vector<T> e = exp<T>(hn::Neg(hn::Abs(x)));
  return keep_nan<T>(x, hn::Add(hn::Max(x, hn::Zero(Tag<T>())), log1p_unit<T>(e)));
}

/// The sum of [x, x + n), always in the same order.
template <class T> T sum(const T* x, Index n) {
  const Tag<T> d;
  const Index step = lanes<T>();
  Vector<T> first = hn::Zero(d), second = hn::Zero(d);
  Index i = 0;
  for (; i + 2 * step <= n; i += 2 * step) {
    first = hn::Add(first, load<T>(x + i));
    second = hn::Add(second, load<T>(x + i + step));
  }
  for (; i + step <= n; i += step) first = hn::Add(first, load<T>(x + i));
  if (i < n) second = hn::Add(second, load_some<T>(x + i, n - i));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(first, second)));
}

/// The largest of [x, x + n); a NaN wins. n is at least 1.
template <class T> T max(const T* x, Index n) {
  const Tag<T> d;
  Vector<T> best = hn::Set(d, x[0]);
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    Vector<T> v = load_upto<T>(x + i, count);
    if (count < lanes<T>()) v = hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(count)), v, best);
    best = larger<T>(best, v);
  });
  HWY_ALIGN T last[hn::MaxLanes(d)];
  hn::Store(best, d, last);
  T result = last[0];
  for (Index i = 1; i < lanes<T>(); ++i) {
    if (last[i] > result || last[i] != last[i]) result = last[i];
    if (result != result) break;
  }
  return result;
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target
