#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_SOFTMAX_TABLE  // once, before the targets
#define TAPER_SOFTMAX_TABLE
namespace taper::kernels {
/// The inner kernels of one scalar on one target: `row` ones take a run of consecutive elements, `columns`
/// ones reduce n rows of `inner` elements, and the gradients take either.
template <class T> struct SoftmaxTable {
  void (*logsumexp_row)(Index n, const T* x, T* y, T* shift, T* logarithm);
  void (*logsumexp_columns)(Index n, Index inner, const T* x, T* y, T* shift, T* logarithm);
  void (*logsumexp_gradient)(Index n, Index inner, const T* x, const T* shift, const T* logarithm,
                             const T* gy, T* gx, bool add);
  void (*softmax_row)(Index n, const T* x, T* y, bool log);
  void (*softmax_columns)(Index n, Index inner, const T* x, T* y, bool log);
  void (*softmax_gradient)(Index n, Index inner, const T* y, const T* gy, T* gx, bool log, bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/softmax.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The kernels of the table. One vector holds consecutive entries of a row, or neighbouring columns.
template <class T> struct Softmax {
  /// The maximum, or 0 where that is infinite: what to subtract before an exponential.
  static HWY_INLINE Vector<T> shift(Vector<T> maximum) {
    const auto infinite = hn::Eq(hn::Abs(maximum), constant<T>(std::numeric_limits<double>::infinity()));
    return hn::IfThenZeroElse(infinite, maximum);
  }

  /// The shift of a row and the sum of its exponentials, which are left in `e` when it is given.
  static HWY_INLINE Vector<T> shift_row(Index n, const T* x, T* e, T* total) {
    const Tag<T> d;
    const Vector<T> by = shift(hn::Set(d, max<T>(x, n)));
    const Vector<T> sums = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
      const Vector<T> v = exp<T>(hn::Sub(load_upto<T>(x + i, count), by));
      if (e != nullptr) store_upto<T>(v, e + i, count);
      return hn::Add(sum, only<T>(v, count));
    });
    *total = hn::GetLane(hn::SumOfLanes(d, sums));
    return by;
  }

  /// The shifts of a vector of columns.
  static HWY_INLINE Vector<T> shift_columns(Index n, Index inner, const T* x, Index count) {
    Vector<T> best = load_upto<T>(x, count);
    for (Index k = 1; k < n; ++k) best = larger<T>(best, load_upto<T>(x + k * inner, count));
    return shift(best);
  }

  static void logsumexp_row(Index n, const T* x, T* y, T* shift, T* logarithm) {
    T total;
    const Vector<T> by = shift_row(n, x, nullptr, &total), log_total = log<T>(hn::Set(Tag<T>(), total));
    *y = hn::GetLane(hn::Add(by, log_total));
    if (shift != nullptr) *shift = hn::GetLane(by), *logarithm = hn::GetLane(log_total);
  }

  static void logsumexp_columns(Index n, Index inner, const T* x, T* y, T* shift, T* logarithm) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> by = shift_columns(n, inner, x + i, count);
      const Vector<T> total = sum_steps<T>(n, [&](Vector<T> sum, Index k) HWY_ATTR {
        return hn::Add(sum, exp<T>(hn::Sub(load_upto<T>(x + k * inner + i, count), by)));
      });
      const Vector<T> log_total = log<T>(total);
      store_upto<T>(hn::Add(by, log_total), y + i, count);
      if (shift == nullptr) return;
      store_upto<T>(by, shift + i, count);
      store_upto<T>(log_total, logarithm + i, count);
    });
  }

  static void logsumexp_gradient(Index n, Index inner, const T* x, const T* shift, const T* logarithm,
                                 const T* gy, T* gx, bool add) {
    const auto slope = [](Vector<T> at, Vector<T> by, Vector<T> log_total)
                           HWY_ATTR { return exp<T>(hn::Sub(hn::Sub(at, by), log_total)); };
    if (inner == 1) {
      const Tag<T> d;
      const Vector<T> by = hn::Set(d, *shift), log_total = hn::Set(d, *logarithm), g = hn::Set(d, *gy);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        store_or_add<T>(hn::Mul(g, slope(load_upto<T>(x + i, count), by, log_total)), gx + i, count, add);
      });
      return;
    }
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> by = load_upto<T>(shift + i, count), log_total = load_upto<T>(logarithm + i, count),
                      g = load_upto<T>(gy + i, count);
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        store_or_add<T>(hn::Mul(g, slope(load_upto<T>(x + at, count), by, log_total)), gx + at, count, add);
      }
    });
  }

  static void softmax_row(Index n, const T* x, T* y, bool log) {
    const Tag<T> d;
    T total;
    const Vector<T> by = shift_row(n, x, log ? nullptr : y, &total);
    if (log) {
      // The shift goes first: it is exact next to large numbers, where the whole logarithm is not.
      const Vector<T> log_total = taper::kernels::HWY_NAMESPACE::log<T>(hn::Set(d, total));
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        store_upto<T>(hn::Sub(hn::Sub(load_upto<T>(x + i, count), by), log_total), y + i, count);
      });
    } else {
      const Vector<T> factor = hn::Set(d, T{1} / total);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        store_upto<T>(hn::Mul(factor, load_upto<T>(y + i, count)), y + i, count);
      });
    }
  }

  static void softmax_columns(Index n, Index inner, const T* x, T* y, bool log) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> by = shift_columns(n, inner, x + i, count);
      const Vector<T> total = sum_steps<T>(n, [&](Vector<T> sum, Index k) HWY_ATTR {
        const Vector<T> e = exp<T>(hn::Sub(load_upto<T>(x + k * inner + i, count), by));
        if (!log) store_upto<T>(e, y + k * inner + i, count);
        return hn::Add(sum, e);
      });
      const Vector<T> log_total = taper::kernels::HWY_NAMESPACE::log<T>(total);
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        const Vector<T> v = log ? hn::Sub(hn::Sub(load_upto<T>(x + at, count), by), log_total)
                                : hn::Div(load_upto<T>(y + at, count), total);
        store_upto<T>(v, y + at, count);
      }
    });
  }

  /// One entry of the gradient of softmax or log-softmax, given the sum that its row has in common.
  static HWY_INLINE Vector<T> softmax_slope(Vector<T> y, Vector<T> gy, Vector<T> common, bool log) {
    return log ? hn::Sub(gy, hn::Mul(exp<T>(y), common)) : hn::Mul(y, hn::Sub(gy, common));
  }

  static void softmax_gradient(Index n, Index inner, const T* y, const T* gy, T* gx, bool log, bool add) {
    const Tag<T> d;
    if (inner == 1) {
      const Vector<T> total = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
        const Vector<T> g = load_upto<T>(gy + i, count);
        return hn::Add(sum, only<T>(log ? g : hn::Mul(g, load_upto<T>(y + i, count)), count));
      });
      const Vector<T> common = hn::SumOfLanes(d, total);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        store_or_add<T>(softmax_slope(load_upto<T>(y + i, count), load_upto<T>(gy + i, count), common, log),
                        gx + i, count, add);
      });
      return;
    }
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> common = sum_steps<T>(n, [&](Vector<T> sum, Index k) HWY_ATTR {
        const Vector<T> g = load_upto<T>(gy + k * inner + i, count);
        return hn::Add(sum, log ? g : hn::Mul(g, load_upto<T>(y + k * inner + i, count)));
      });
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        store_or_add<T>(softmax_slope(load_upto<T>(y + at, count), load_upto<T>(gy + at, count), common, log),
                        gx + at, count, add);
      }
    });
  }
};

TAPER_KERNELS(SoftmaxTable, .logsumexp_row = &Softmax<T>::logsumexp_row,
              .logsumexp_columns = &Softmax<T>::logsumexp_columns,
              .logsumexp_gradient = &Softmax<T>::logsumexp_gradient, .softmax_row = &Softmax<T>::softmax_row,
              .softmax_columns = &Softmax<T>::softmax_columns,
              .softmax_gradient = &Softmax<T>::softmax_gradient)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(SoftmaxTable)

template <class T> void logsumexp_axis(Index outer, Index n, Index inner, const T* x, T* y, T* parts) {
  for_slices(outer, costly * n * inner, [&](Index o) {
    T* const shift = parts == nullptr ? nullptr : parts + o * inner;
    T* const logarithm = parts == nullptr ? nullptr : parts + (outer + o) * inner;
    if (inner == 1) {
      best<T>().logsumexp_row(n, x + o * n, y + o, shift, logarithm);
    } else {
      best<T>().logsumexp_columns(n, inner, x + o * n * inner, y + o * inner, shift, logarithm);
    }
  });
}

template <class T>
void logsumexp_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* parts, const T* gy,
                             T* gx, bool add) {
  for_slices(outer, costly * n * inner, [&](Index o) {
    const Index at = o * n * inner, reduced = o * inner;
    best<T>().logsumexp_gradient(n, inner, x + at, parts + reduced, parts + outer * inner + reduced,
                                 gy + reduced, gx + at, add);
  });
}

template <class T> void softmax_axis(Index outer, Index n, Index inner, const T* x, T* y, bool log) {
  if (n == 0) return;
  for_slices(outer, costly * n * inner, [&](Index o) {
    const Index at = o * n * inner;
    if (inner == 1) {
      best<T>().softmax_row(n, x + at, y + at, log);
    } else {
      best<T>().softmax_columns(n, inner, x + at, y + at, log);
    }
  });
}

template <class T>
void softmax_axis_gradient(Index outer, Index n, Index inner, const T* y, const T* gy, T* gx, bool log,
                           bool add) {
  for_slices(outer, (log ? costly : cheap) * n * inner, [&](Index o) {
    const Index at = o * n * inner;
    best<T>().softmax_gradient(n, inner, y + at, gy + at, gx + at, log, add);
  });
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template void logsumexp_axis(Index, Index, Index, const T*, T*, T*);                                \
  template void logsumexp_axis_gradient(Index, Index, Index, const T*, const T*, const T*, T*, bool); \
  template void softmax_axis(Index, Index, Index, const T*, T*, bool);                                \
  template void softmax_axis_gradient(Index, Index, Index, const T*, const T*, T*, bool, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
