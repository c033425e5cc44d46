#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_REDUCE_TABLE  // once, before the targets
#define TAPER_REDUCE_TABLE
namespace taper::kernels {
/// The inner kernels of one scalar on one target. `Row` ones take a run of consecutive elements, `columns`
/// ones reduce n rows of `inner` elements, and the gradients take either.
template <class T> struct ReduceTable {
  T (*sum)(const T* x, Index n);
  T (*sum_squares)(Index n, const T* x);
  bool (*all_finite)(Index n, const T* x);
  void (*scale)(Index n, T s, const T* x, T* y, bool add);
  void (*sum_columns)(Index n, Index inner, const T* x, T* y);
  T (*max_row)(const T* x, Index n);
  void (*max_columns)(Index n, Index inner, const T* x, T* y);
  T (*min_row)(const T* x, Index n);
  void (*min_columns)(Index n, Index inner, const T* x, T* y);
  T (*deviations_row)(Index n, const T* x, T mean, T* rest);
  void (*deviations_columns)(Index n, Index inner, const T* x, const T* mean, T* rest, T* y);
  void (*deviate)(Index n, const T* x, T mean, T rest, T factor, T* y, bool add);
  void (*deviate_columns)(Index n, const T* x, const T* mean, const T* rest, const T* g, T factor, T* y,
                          bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/reduce.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The kernels of the table. One vector holds consecutive entries of a row, or neighbouring columns.
template <class T> struct Reduce {
  static T sum_squares(Index n, const T* x) {
    const Vector<T> total = sum_vectors<T>(n, [&](Vector<T> sum, Index i, Index count) HWY_ATTR {
      const Vector<T> v = load_upto<T>(x + i, count);
      return hn::MulAdd(v, v, sum);
    });
    return hn::GetLane(hn::SumOfLanes(Tag<T>(), total));
  }

  static bool all_finite(Index n, const T* x) {
    const Tag<T> d;
    const Index step = lanes<T>();
    const auto at = [&](Index i) HWY_ATTR { return hn::IsFinite(load<T>(x + i)); };
    Index i = 0;
    for (; i + 4 * step <= n; i += 4 * step) {
      const auto left = hn::And(at(i), at(i + step)), right = hn::And(at(i + 2 * step), at(i + 3 * step));
      if (!hn::AllTrue(d, hn::And(left, right))) return false;
    }
    for (; i < n; i += step) {
      if (!hn::AllTrue(d, hn::IsFinite(load_upto<T>(x + i, std::min(step, n - i))))) return false;
    }
    return true;
  }

  static void scale(Index n, T s, const T* x, T* y, bool add) {
    const Vector<T> factor = hn::Set(Tag<T>(), s);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      store_or_add<T>(hn::Mul(factor, load_upto<T>(x + i, count)), y + i, count, add);
    });
  }

  static void sum_columns(Index n, Index inner, const T* x, T* y) {
    sum_rows<T>(
        n, inner,
        [&](Index begin, Index end, Index i, Index count) HWY_ATTR {
          Vector<T> total = hn::Zero(Tag<T>());
          for (Index k = begin; k < end; ++k) total = hn::Add(total, load_upto<T>(x + k * inner + i, count));
          return total;
        },
        [&](Vector<T> total, Index i, Index count) HWY_ATTR { store_upto<T>(total, y + i, count); });
  }

  template <class Better>
  static HWY_INLINE void columns(Index n, Index inner, const T* x, T* y, const Better& better) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      Vector<T> best = load_upto<T>(x + i, count);
      for (Index k = 1; k < n; ++k) best = better(best, load_upto<T>(x + k * inner + i, count));
      store_upto<T>(best, y + i, count);
    });
  }

  static void max_columns(Index n, Index inner, const T* x, T* y) {
    columns(n, inner, x, y, [](Vector<T> a, Vector<T> b) HWY_ATTR { return larger<T>(a, b); });
  }
  static void min_columns(Index n, Index inner, const T* x, T* y) {
    columns(n, inner, x, y,
            [](Vector<T> a, Vector<T> b) HWY_ATTR { return hn::Neg(larger<T>(hn::Neg(a), hn::Neg(b))); });
  }
  static T min_row(const T* x, Index n) {
    const Vector<T> first = hn::Set(Tag<T>(), x[0]);
    Vector<T> best = hn::Neg(first);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      Vector<T> v = load_upto<T>(x + i, count);
      if (count < lanes<T>())
        v = hn::IfThenElse(hn::FirstN(Tag<T>(), static_cast<std::size_t>(count)), v, first);
      best = larger<T>(best, hn::Neg(v));
    });
    HWY_ALIGN T last[hn::MaxLanes(Tag<T>())];
    hn::Store(best, Tag<T>(), last);
    return -max<T>(last, lanes<T>());
  }

  /// The sum of the squares of n deviations, given that of those from nearly the mean, and their sum, which
  /// says how far that is from where rounding has put it: `rest`.
  static HWY_INLINE Vector<T> around_mean(Index n, Vector<T> squares, Vector<T> sum, Vector<T>& rest) {
    const Vector<T> share = hn::Div(sum, constant<T>(static_cast<double>(n)));
    rest = hn::IfThenElseZero(hn::IsFinite(share), share);  // an infinite mean is all there is
    const Vector<T> y = hn::NegMulAdd(sum, share, squares);
    return hn::IfThenZeroElse(hn::Lt(y, hn::Zero(Tag<T>())), y);
  }
  static T deviations_row(Index n, const T* x, T mean, T* rest) {
    const Tag<T> d;
    const Vector<T> by = hn::Set(d, mean);
    const auto deviation = [&](Index i, Index count) HWY_ATTR {
      const Vector<T> apart = hn::Sub(load_upto<T>(x + i, count), by);
      return count == lanes<T>() ? apart : only<T>(apart, count);
    };
    const Vector<T> total = sum_vectors<T>(
        n, [&](Vector<T> s, Index i, Index count) HWY_ATTR { return hn::Add(s, deviation(i, count)); });
    const Vector<T> squares = sum_vectors<T>(n, [&](Vector<T> s, Index i, Index count) HWY_ATTR {
      const Vector<T> apart = deviation(i, count);
      return hn::MulAdd(apart, apart, s);
    });
    Vector<T> beside;
    const T y = hn::GetLane(around_mean(n, hn::SumOfLanes(d, squares), hn::SumOfLanes(d, total), beside));
    *rest = hn::GetLane(beside);
    return y;
  }
  static void deviations_columns(Index n, Index inner, const T* x, const T* mean, T* rest, T* y) {
    for_vectors<T>(inner, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> by = load_upto<T>(mean + i, count);
      const auto deviation = [&](Index k)
                                 HWY_ATTR { return hn::Sub(load_upto<T>(x + k * inner + i, count), by); };
      const Vector<T> total =
          sum_steps<T>(n, [&](Vector<T> s, Index k) HWY_ATTR { return hn::Add(s, deviation(k)); });
      const Vector<T> squares = sum_steps<T>(n, [&](Vector<T> s, Index k) HWY_ATTR {
        const Vector<T> apart = deviation(k);
        return hn::MulAdd(apart, apart, s);
      });
      Vector<T> beside;
      store_upto<T>(around_mean(n, squares, total, beside), y + i, count);
      store_upto<T>(beside, rest + i, count);
    });
  }
  /// y = factor (x - mean - rest), or added to y.
  static void deviate(Index n, const T* x, T mean, T rest, T factor, T* y, bool add) {
    const Tag<T> tag;
    const Vector<T> by = hn::Set(tag, mean), beside = hn::Set(tag, rest), times = hn::Set(tag, factor);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> d = hn::Sub(hn::Sub(load_upto<T>(x + i, count), by), beside);
      store_or_add<T>(hn::Mul(times, d), y + i, count, add);
    });
  }
  /// y = factor g (x - mean - rest), or added to y.
  static void deviate_columns(Index n, const T* x, const T* mean, const T* rest, const T* g, T factor, T* y,
                              bool add) {
    const Vector<T> times = hn::Set(Tag<T>(), factor);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const Vector<T> near = hn::Sub(load_upto<T>(x + i, count), load_upto<T>(mean + i, count));
      const Vector<T> d = hn::Sub(near, load_upto<T>(rest + i, count));
      store_or_add<T>(hn::Mul(hn::Mul(times, load_upto<T>(g + i, count)), d), y + i, count, add);
    });
  }
};

TAPER_KERNELS(ReduceTable, .sum = &sum<T>, .sum_squares = &Reduce<T>::sum_squares,
              .all_finite = &Reduce<T>::all_finite, .scale = &Reduce<T>::scale,
              .sum_columns = &Reduce<T>::sum_columns, .max_row = &max<T>,
              .max_columns = &Reduce<T>::max_columns, .min_row = &Reduce<T>::min_row,
              .min_columns = &Reduce<T>::min_columns, .deviations_row = &Reduce<T>::deviations_row,
              .deviations_columns = &Reduce<T>::deviations_columns, .deviate = &Reduce<T>::deviate,
              .deviate_columns = &Reduce<T>::deviate_columns)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(ReduceTable)

namespace {

/// Sums the results of fixed pieces in double.
template <class T, class F> double in_pieces(Index n, const F& f) {
  double total = 0;
  for (Index begin = 0; begin < n; begin += sum_piece) {
    total += static_cast<double>(f(std::min(sum_piece, n - begin), begin));
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

template <class T> bool all_finite(Index n, const T* x) {
  return best<T>().all_finite(n, x);
}

template <class T> void add_carefully(Index n, const T* x, T* sum, T* rest) {
  for (Index i = 0; i < n; ++i) {  // as in simd-inl.hpp
    const T before = sum[i], term = x[i] + rest[i], next = before + term, part = next - before;
    const T lost = (before - (next - part)) + (term - part);
    rest[i] = lost == lost ? lost : T{0};
    sum[i] = next;
  }
}

template <class T> void scale(Index n, T s, const T* x, T* y, bool add) {
  for_numbers(n, cheap,
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
      y[o] = best<T>().max_row(x + o * n, n);
    } else {
      best<T>().max_columns(n, inner, x + o * n * inner, y + o * inner);
    }
  });
}

template <class T> void min_axis(Index outer, Index n, Index inner, const T* x, T* y) {
  for_slices(outer, n * inner, [&](Index o) {
    if (inner == 1) {
      y[o] = best<T>().min_row(x + o * n, n);
    } else {
      best<T>().min_columns(n, inner, x + o * n * inner, y + o * inner);
    }
  });
}

template <class T>
void var_axis(Index outer, Index n, Index inner, Index divisor, const T* x, T* mean, T* y) {
  T* const rest = mean + outer * inner;
  sum_axis(outer, n, inner, x, mean);
  const T count = static_cast<T>(n);
  for (Index i = 0; i < outer * inner; ++i) mean[i] /= count;
  for_slices(outer, n * inner, [&](Index o) {
    T* const to = y + o * inner;
    if (inner == 1) {
      *to = best<T>().deviations_row(n, x + o * n, mean[o], rest + o);
    } else {
      best<T>().deviations_columns(n, inner, x + o * n * inner, mean + o * inner, rest + o * inner, to);
    }
    for (Index i = 0; i < inner; ++i) to[i] /= static_cast<T>(divisor);
  });
}

template <class T>
void var_axis_gradient(Index outer, Index n, Index inner, Index divisor, const T* x, const T* mean,
                       const T* gy, T* gx, bool add) {
  const T factor = T{2} / static_cast<T>(divisor);
  const T* const rest = mean + outer * inner;
  for_slices(outer, n * inner, [&](Index o) {
    const Index at = o * n * inner;
    if (inner == 1) return best<T>().deviate(n, x + at, mean[o], rest[o], factor * gy[o], gx + at, add);
    for (Index k = 0; k < n; ++k) {
      best<T>().deviate_columns(inner, x + at + k * inner, mean + o * inner, rest + o * inner, gy + o * inner,
                                factor, gx + at + k * inner, add);
    }
  });
}

template <class T>
void extreme_axis_gradient(Index outer, Index n, Index inner, const T* x, const T* y, const T* gy, T* gx,
                           bool add) {
  for_slices(outer, n * inner, [&](Index o) {
    for (Index i = 0; i < inner; ++i) {
      bool found = false;
      for (Index k = 0; k < n; ++k) {
        const Index at = (o * n + k) * inner + i;
        const T most = y[o * inner + i];
        const bool first = !found && (most == most ? x[at] == most : x[at] != x[at]);
        found |= first;
        const T g = first ? gy[o * inner + i] : T{0};
        gx[at] = add ? gx[at] + g : g;
      }
    }
  });
}

#define TAPER_INSTANTIATE(T)                                                                           \
  template double sum(Index, const T*);                                                                \
  template double sum_squares(Index, const T*);                                                        \
  template bool all_finite(Index, const T*);                                                           \
  template void add_carefully(Index, const T*, T*, T*);                                                \
  template void scale(Index, T, const T*, T*, bool);                                                   \
  template void sum_axis(Index, Index, Index, const T*, T*);                                           \
  template void spread_axis(Index, Index, Index, T, const T*, T*, bool);                               \
  template void max_axis(Index, Index, Index, const T*, T*);                                           \
  template void min_axis(Index, Index, Index, const T*, T*);                                           \
  template void var_axis(Index, Index, Index, Index, const T*, T*, T*);                                \
  template void var_axis_gradient(Index, Index, Index, Index, const T*, const T*, const T*, T*, bool); \
  template void extreme_axis_gradient(Index, Index, Index, const T*, const T*, const T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
