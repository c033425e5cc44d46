// Included once per target by the kernels' sources, between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE:
// what they share, compiled for that target. Highway's usual guard, which lets each target in once.
#if defined(TAPER_KERNELS_SIMD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_SIMD_INL
#undef TAPER_KERNELS_SIMD_INL
#else
#define TAPER_KERNELS_SIMD_INL
#endif

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
