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

#include <taper/autodiff/kernels/threads.hpp>

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

/// -1, 0 or 1; a NaN stays one.
template <class T> HWY_INLINE Vector<T> sign(Vector<T> x) {
  const Vector<T> one = hn::Set(Tag<T>(), T{1});
  return hn::IfThenZeroElse(hn::Eq(x, hn::Zero(Tag<T>())), keep_nan<T>(x, hn::CopySign(one, x)));
}

/// Calls f(i, count) for runs of at most one vector.
template <class T, class F> HWY_INLINE void for_vectors(Index n, const F& f) {
  const Index step = lanes<T>();
  for (Index i = 0; i < n; i += step) f(i, std::min(step, n - i));
}

/// A vector of `count` elements, where most often that is all of them.
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
template <class T> HWY_INLINE void store_or_add(Vector<T> v, T* p, Index count, bool add) {
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

/// A sum of vectors and, beside it, what its last addition has rounded away, which the next one adds again
/// (Kahan, 1965, with the error of an addition by Knuth's two-sum). So its error does not grow with the
/// number of terms.
template <class T> struct Sum {
  Vector<T> total, rest;

  HWY_INLINE Sum() : Sum(hn::Zero(Tag<T>()), hn::Zero(Tag<T>())) {}
  HWY_INLINE Sum(Vector<T> total_, Vector<T> rest_) : total(total_), rest(rest_) {}

  HWY_INLINE void add(Vector<T> x) {
    const Vector<T> term = hn::Add(x, rest), next = hn::Add(total, term), part = hn::Sub(next, total);
    const Vector<T> lost = hn::Add(hn::Sub(total, hn::Sub(next, part)), hn::Sub(term, part));
    rest = hn::IfThenZeroElse(hn::IsNaN(lost), lost);  // next to an infinite total
    total = next;
  }
};

/// How many of n terms are added up one after the other before they go into a Sum: all, when they are few.
inline Index sum_run(Index n) {
  return n <= sum_plainly ? n : 16;
}

/// The sum of n vectors; next(sum, k) adds the one at k.
template <class T, class F> HWY_INLINE Vector<T> sum_steps(Index n, const F& next) {
  const Index run = sum_run(n);
  Sum<T> total;
  for (Index k = 0; k < n;) {
    Vector<T> part = hn::Zero(Tag<T>());
    for (const Index end = std::min(n, k + run); k < end; ++k) part = next(part, k);
    total.add(part);
  }
  return total.total;
}

/// The sum of the vectors that n elements fill; next(sum, i, count) adds the one at i, of which the lanes
/// from `count` on are not to count.
template <class T, class F> HWY_INLINE Vector<T> sum_vectors(Index n, const F& next) {
  const Index step = lanes<T>();
  return sum_steps<T>((n + step - 1) / step, [&](Vector<T> sum, Index k) HWY_ATTR {
    return next(sum, k * step, std::min(step, n - k * step));
  });
}

/// The sums of n rows, vector by vector: plain(begin, end, j, count) is the sum of rows [begin, end) in the
/// columns from j on, and done(sum, j, count) takes what comes out for these.
template <class T, class F, class Done>
HWY_INLINE void sum_rows(Index n, Index columns, const F& plain, const Done& done) {
  if (n <= sum_plainly) {
    for_vectors<T>(columns, [&](Index j, Index count) HWY_ATTR { done(plain(0, n, j, count), j, count); });
    return;
  }
  constexpr Index width = 256;  // columns at a time, whose sums stay in cache
  const Index run = sum_run(n);
  HWY_ALIGN T totals[width];
  HWY_ALIGN T rests[width];
  for (Index first = 0; first < columns; first += width) {
    const Index here = std::min(width, columns - first);
    std::fill_n(totals, width, T{0});
    std::fill_n(rests, width, T{0});
    for (Index begin = 0; begin < n; begin += run) {
      for_vectors<T>(here, [&](Index j, Index count) HWY_ATTR {
        Sum<T> sum{hn::Load(Tag<T>(), totals + j), hn::Load(Tag<T>(), rests + j)};
        sum.add(plain(begin, std::min(n, begin + run), first + j, count));
        hn::Store(sum.total, Tag<T>(), totals + j);
        hn::Store(sum.rest, Tag<T>(), rests + j);
      });
    }
    for_vectors<T>(
        here, [&](Index j, Index count) HWY_ATTR { done(hn::Load(Tag<T>(), totals + j), first + j, count); });
  }
}

/// The sum of [x, x + n), always in the same order.
template <class T> T sum(const T* x, Index n) {
  const Tag<T> d;
  const Index step = lanes<T>(), pairs = n / (2 * step), whole = pairs * 2 * step,
              run = sum_run(pairs) * 2 * step;
  Sum<T> total;
  Index i = 0;
  do {
    Vector<T> first = hn::Zero(d), second = hn::Zero(d);
    for (const Index end = std::min(whole, i + run); i < end; i += 2 * step) {
      first = hn::Add(first, load<T>(x + i));
      second = hn::Add(second, load<T>(x + i + step));
    }
    if (i == whole) {
      if (i + step <= n) first = hn::Add(first, load<T>(x + i)), i += step;
      if (i < n) second = hn::Add(second, load_some<T>(x + i, n - i)), i = n;
    }
    total.add(hn::Add(first, second));
  } while (i < n);
  return hn::GetLane(hn::SumOfLanes(d, total.total));
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
