#include <taper/autodiff/kernels/reduce.hpp>

#ifndef TAPER_REDUCE_TABLE  // once, before the targets
#define TAPER_REDUCE_TABLE
namespace taper::kernels {
/// The inner kernels of one scalar on one target, so that one dispatch finds them all. `Row` ones take a run
/// of consecutive numbers, `columns` ones reduce n rows of `inner` numbers, and the gradients take either.
template <class T> struct ReduceTable {
  T (*sum)(const T* x, Index n);
  T (*sum_squares)(Index n, const T* x);
  void (*scale)(Index n, T s, const T* x, T* y, bool add);
  void (*sum_columns)(Index n, Index inner, const T* x, T* y);
  T (*max_row)(Index n, const T* x);
  void (*max_columns)(Index n, Index inner, const T* x, T* y);
  T (*logsumexp_row)(Index n, const T* x, T* exponentials, T* total);
  void (*logsumexp_columns)(Index n, Index inner, const T* x, T* y);
  void (*logsumexp_gradient)(Index n, Index inner, const T* x, const T* y, const T* gy, T* gx, bool add);
  void (*softmax_row)(Index n, const T* x, T* y, bool log);
  void (*softmax_columns)(Index n, Index inner, const T* x, T* y, bool log);
  void (*softmax_gradient)(Index n, Index inner, const T* y, const T* gy, T* gx, bool log, bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/reduce.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Calls f(i, count) for runs of at most one vector.
template <class T, class F> HWY_INLINE void for_vectors(Index n, const F& f) {
  const Index step = lanes<T>();
  for (Index i = 0; i < n; i += step) f(i, std::min(step, n - i));
}

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

template <class T> HWY_INLINE Vector<T> only(Vector<T> v, Index count) {
  return hn::IfThenElseZero(hn::FirstN(Tag<T>(), static_cast<std::size_t>(count)), v);
}

template <class T> HWY_INLINE Vector<T> larger(Vector<T> a, Vector<T> b) {
  return keep_nan<T>(a, keep_nan<T>(b, hn::Max(a, b)));
}

/// The kernels of the table. One vector holds consecutive entries of a row, or neighbouring columns.
template <class T> struct Reduce {
  static T sum_squares(Index n, const T* x) {
    const Tag<T> d;
    Vector<T> total = hn::Zero(d);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> v = load_upto<T>(x + i, count);
      total = hn::MulAdd(v, v, total);
    });
    return hn::GetLane(hn::SumOfLanes(d, total));
  }

  static void scale(Index n, T s, const T* x, T* y, bool add) {
    const Vector<T> factor = hn::Set(Tag<T>(), s);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      leave<T>(hn::Mul(factor, load_upto<T>(x + i, count)), y + i, count, add);
    });
  }

  static void sum_columns(Index n, Index inner, const T* x, T* y) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> total = hn::Zero(Tag<T>());
      for (Index k = 0; k < n; ++k) total = hn::Add(total, load_upto<T>(x + k * inner + i, count));
      store_upto<T>(total, y + i, count);
    });
  }

  static T max_row(Index n, const T* x) {
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

  static void max_columns(Index n, Index inner, const T* x, T* y) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> best = load_upto<T>(x + i, count);
      for (Index k = 1; k < n; ++k) best = larger<T>(best, load_upto<T>(x + k * inner + i, count));
      store_upto<T>(best, y + i, count);
    });
  }

  /// The maximum, or 0 where that is infinite: what to subtract before an exponential.
  static HWY_INLINE Vector<T> shift(Vector<T> maximum) {
    const auto infinite = hn::Eq(hn::Abs(maximum), constant<T>(std::numeric_limits<double>::infinity()));
    return hn::IfThenZeroElse(infinite, maximum);
  }

  /// y = log sum exp over rows; the exponentials are left in `e` when it is given.
  static T logsumexp_row(Index n, const T* x, T* e, T* total) {
    const Tag<T> d;
    const Vector<T> by = shift(hn::Set(d, max_row(n, x)));
    Vector<T> sums = hn::Zero(d);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> v = exp<T>(hn::Sub(load_upto<T>(x + i, count), by));
      if (e != nullptr) store_upto<T>(v, e + i, count);
      sums = hn::Add(sums, only<T>(v, count));
    });
    *total = hn::GetLane(hn::SumOfLanes(d, sums));
    return hn::GetLane(hn::Add(by, log<T>(hn::Set(d, *total))));
  }

  static void logsumexp_columns(Index n, Index inner, const T* x, T* y) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> best = load_upto<T>(x + i, count);
      for (Index k = 1; k < n; ++k) best = larger<T>(best, load_upto<T>(x + k * inner + i, count));
      const Vector<T> by = shift(best);
      Vector<T> total = hn::Zero(Tag<T>());
      for (Index k = 0; k < n; ++k) {
        total = hn::Add(total, exp<T>(hn::Sub(load_upto<T>(x + k * inner + i, count), by)));
      }
      store_upto<T>(hn::Add(by, log<T>(total)), y + i, count);
    });
  }

  static void logsumexp_gradient(Index n, Index inner, const T* x, const T* y, const T* gy, T* gx, bool add) {
    if (inner == 1) {
      const Vector<T> by = hn::Set(Tag<T>(), *y), g = hn::Set(Tag<T>(), *gy);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        leave<T>(hn::Mul(g, exp<T>(hn::Sub(load_upto<T>(x + i, count), by))), gx + i, count, add);
      });
      return;
    }
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> by = load_upto<T>(y + i, count), g = load_upto<T>(gy + i, count);
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        leave<T>(hn::Mul(g, exp<T>(hn::Sub(load_upto<T>(x + at, count), by))), gx + at, count, add);
      }
    });
  }

  static void softmax_row(Index n, const T* x, T* y, bool log) {
    const Tag<T> d;
    T total;
    const T all = logsumexp_row(n, x, log ? nullptr : y, &total);
    if (log) {
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        store_upto<T>(hn::Sub(load_upto<T>(x + i, count), hn::Set(d, all)), y + i, count);
      });
    } else {
      scale(n, T{1} / total, y, y, false);
    }
  }

  static void softmax_columns(Index n, Index inner, const T* x, T* y, bool log) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> best = load_upto<T>(x + i, count);
      for (Index k = 1; k < n; ++k) best = larger<T>(best, load_upto<T>(x + k * inner + i, count));
      const Vector<T> by = shift(best);
      Vector<T> total = hn::Zero(Tag<T>());
      for (Index k = 0; k < n; ++k) {
        const Vector<T> e = exp<T>(hn::Sub(load_upto<T>(x + k * inner + i, count), by));
        if (!log) store_upto<T>(e, y + k * inner + i, count);
        total = hn::Add(total, e);
      }
      const Vector<T> all = hn::Add(by, taper::kernels::HWY_NAMESPACE::log<T>(total));
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        const Vector<T> v =
            log ? hn::Sub(load_upto<T>(x + at, count), all) : hn::Div(load_upto<T>(y + at, count), total);
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
      Vector<T> total = hn::Zero(d);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        const Vector<T> g = load_upto<T>(gy + i, count);
        total = hn::Add(total, only<T>(log ? g : hn::Mul(g, load_upto<T>(y + i, count)), count));
      });
      const Vector<T> common = hn::SumOfLanes(d, total);
      for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
        leave<T>(softmax_slope(load_upto<T>(y + i, count), load_upto<T>(gy + i, count), common, log), gx + i,
                 count, add);
      });
      return;
    }
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> common = hn::Zero(d);
      for (Index k = 0; k < n; ++k) {
        const Vector<T> g = load_upto<T>(gy + k * inner + i, count);
        common = hn::Add(common, log ? g : hn::Mul(g, load_upto<T>(y + k * inner + i, count)));
      }
      for (Index k = 0; k < n; ++k) {
        const Index at = k * inner + i;
        leave<T>(softmax_slope(load_upto<T>(y + at, count), load_upto<T>(gy + at, count), common, log),
                 gx + at, count, add);
      }
    });
  }
};

template <class T>
constexpr ReduceTable<T> table{.sum = &sum<T>,
                               .sum_squares = &Reduce<T>::sum_squares,
                               .scale = &Reduce<T>::scale,
                               .sum_columns = &Reduce<T>::sum_columns,
                               .max_row = &Reduce<T>::max_row,
                               .max_columns = &Reduce<T>::max_columns,
                               .logsumexp_row = &Reduce<T>::logsumexp_row,
                               .logsumexp_columns = &Reduce<T>::logsumexp_columns,
                               .logsumexp_gradient = &Reduce<T>::logsumexp_gradient,
                               .softmax_row = &Reduce<T>::softmax_row,
                               .softmax_columns = &Reduce<T>::softmax_columns,
                               .softmax_gradient = &Reduce<T>::softmax_gradient};

const ReduceTable<float>* reduce_table_f32() {
  return &table<float>;
}
const ReduceTable<double>* reduce_table_f64() {
  return &table<double>;
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(reduce_table_f32);
HWY_EXPORT(reduce_table_f64);

namespace {

template <class T> const ReduceTable<T>& best() {
  if constexpr (std::is_same_v<T, float>) {
    return *HWY_DYNAMIC_DISPATCH(reduce_table_f32)();
  } else {
    return *HWY_DYNAMIC_DISPATCH(reduce_table_f64)();
  }
}

/// Splits the outer dimension among threads. f(o) handles one of `outer` slices of `work` numbers each.
template <class F> void for_slices(Index outer, Index work, const F& f) {
  for_pieces(outer, std::max<Index>(1, elementwise_piece / std::max<Index>(work, 1)),
             [&](Index begin, Index end) {
               for (Index o = begin; o < end; ++o) f(o);
             });
}

/// Sums the results of fixed pieces in double.
template <class T, class F> double in_pieces(Index n, const F& f) {
  double total = 0;
  for (Index begin = 0; begin < n; begin += elementwise_piece) {
    total += static_cast<double>(f(std::min(elementwise_piece, n - begin), begin));
  }
  return total;
}

}  // namespace

template <class T> double sum(Index n, const T* x) {
  return in_pieces<T>(n, [&](Index count, Index begin) { return best<T>().sum(x + begin, count); });
}

template <class T> double sum_squares(Index n, const T* x) {
  return in_pieces<T>(n, [&](Index count, Index begin) { return best<T>().sum_squares(count, x + begin); });
}

template <class T> void scale(Index n, T s, const T* x, T* y, bool add) {
  for_pieces(n, elementwise_piece,
             [&](Index begin, Index end) { best<T>().scale(end - begin, s, x + begin, y + begin, add); });
}

template <class T> void sum_axis(Index outer, Index n, Index inner, const T* x, T* y) {
  for_slices(outer, n * inner, [&](Index o) {
    if (inner == 1) {
      y[o] = static_cast<T>(sum(n, x + o * n));
    } else {
      best<T>().sum_columns(n, inner, x + o * n * inner, y + o * inner);
    }
  });
}

template <class T> void spread_axis(Index outer, Index n, Index inner, T s, const T* gy, T* gx, bool add) {
  for_slices(outer, n * inner, [&](Index o) {
    T* to = gx + o * n * inner;
    if (inner == 1) {
      const T g = s * gy[o];
      for (Index k = 0; k < n; ++k) to[k] = add ? to[k] + g : g;
    } else {
      for (Index k = 0; k < n; ++k) best<T>().scale(inner, s, gy + o * inner, to + k * inner, add);
    }
  });
}

template <class T> void max_axis(Index outer, Index n, Index inner, const T* x, T* y) {
  for_slices(outer, n * inner, [&](Index o) {
    if (inner == 1) {
      y[o] = best<T>().max_row(n, x + o * n);
    } else {
      best<T>().max_columns(n, inner, x + o * n * inner, y + o * inner);
    }
  });
}

template <class T>
void max_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* y, const T* gy, T* gx,
                       bool add) {
  for_slices(outer, n * inner, [&](Index o) {
    for (Index i = 0; i < inner; ++i) {
      bool found = false;
      for (Index k = 0; k < n; ++k) {
        const Index at = (o * n + k) * inner + i;
        const bool first = !found && x[at] == y[o * inner + i];
        found |= first;
        const T g = first ? gy[o * inner + i] : T{0};
        gx[at] = add ? gx[at] + g : g;
      }
    }
  });
}

template <class T> void logsumexp_axis(Index outer, Index n, Index inner, const T* x, T* y) {
  for_slices(outer, n * inner, [&](Index o) {
    T total;
    if (inner == 1) {
      y[o] = best<T>().logsumexp_row(n, x + o * n, nullptr, &total);
    } else {
      best<T>().logsumexp_columns(n, inner, x + o * n * inner, y + o * inner);
    }
  });
}

template <class T>
void logsumexp_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* y, const T* gy, T* gx,
                             bool add) {
  for_slices(outer, n * inner, [&](Index o) {
    const Index at = o * n * inner;
    best<T>().logsumexp_gradient(n, inner, x + at, y + o * inner, gy + o * inner, gx + at, add);
  });
}

template <class T> void softmax_axis(Index outer, Index n, Index inner, const T* x, T* y, bool log) {
  if (n == 0) return;
  for_slices(outer, n * inner, [&](Index o) {
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
  for_slices(outer, n * inner, [&](Index o) {
    const Index at = o * n * inner;
    best<T>().softmax_gradient(n, inner, y + at, gy + at, gx + at, log, add);
  });
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template double sum(Index, const T*);                                                               \
  template double sum_squares(Index, const T*);                                                       \
  template void scale(Index, T, const T*, T*, bool);                                                  \
  template void sum_axis(Index, Index, Index, const T*, T*);                                          \
  template void spread_axis(Index, Index, Index, T, const T*, T*, bool);                              \
  template void max_axis(Index, Index, Index, const T*, T*);                                          \
  template void max_axis_gradient(Index, Index, Index, const T*, const T*, const T*, T*, bool);       \
  template void logsumexp_axis(Index, Index, Index, const T*, T*);                                    \
  template void logsumexp_axis_gradient(Index, Index, Index, const T*, const T*, const T*, T*, bool); \
  template void softmax_axis(Index, Index, Index, const T*, T*, bool);                                \
  template void softmax_axis_gradient(Index, Index, Index, const T*, const T*, T*, bool, bool);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
