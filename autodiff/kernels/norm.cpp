#include <cmath>
#include <utility>

#include <taper/autodiff/kernels/norm.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_NORM_TABLE  // once, before the targets
#define TAPER_NORM_TABLE
namespace taper::kernels {
/// The inner kernels of one scalar on one target. `rows` ones take `rows` runs of `inner` consecutive
/// elements of one channel, `stride` apart; `columns` ones take rows whose neighbouring elements are the
/// channels.
template <class T> struct NormTable {
  void (*moments_rows)(Index rows, Index stride, Index inner, const T* x, T* shift, T* sum, T* squares);
  void (*moments_columns)(Index rows, Index channels, const T* x, T* shift, T* sum, T* squares);
  void (*mapped_row)(Index n, const T* x, T mean, T scale, T bias, T* y, bool add);
  void (*mapped_columns)(Index n, const T* x, const T* mean, const T* scale, const T* bias, T* y, bool add);
  void (*gradient_rows)(Index rows, Index stride, Index inner, const T* x, T mean, T scale, const T* gy,
                        T* gx, bool add, T* sum, T* sum_x);
  void (*gradient_columns)(Index rows, Index channels, const T* x, const T* mean, const T* scale, const T* gy,
                           T* gx, bool add, T* sum, T* sum_x);
  T (*squares)(Index n, const T* x);
  void (*weighted_row)(Index n, const T* x, T mean, T factor, const T* weight, const T* bias, T* y);
  void (*row_gradient)(Index n, bool centered, const T* x, T mean, T factor, const T* weight, const T* gy,
                       T* gx, bool add);
  void (*add_row)(Index n, const T* x, T mean, T factor, const T* gy, T* gweight, T* gbias);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/norm.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Two sums over runs of elements, in several accumulators each, so that an addition does not wait for the
/// last one. What they hold goes into compensated sums after some 64 additions.
template <class T> class TwoSums {
 public:
  HWY_INLINE TwoSums() { clear(); }

  /// terms(i, count, a, b) adds the terms at i of a run of n elements to a and b.
  template <class F> HWY_INLINE void add_run(Index n, const F& terms) {
    const Index step = lanes<T>();
    Index i = 0;
    while (i + 4 * step <= n) {
      const Index end = std::min(n, i + 4 * step * (limit - used_));
      for (; i + 4 * step <= end; i += 4 * step, ++used_) {
        terms(i, step, a0_, b0_);
        terms(i + step, step, a1_, b1_);
        terms(i + 2 * step, step, a2_, b2_);
        terms(i + 3 * step, step, a3_, b3_);
      }
      if (used_ >= limit) flush();
    }
    for (; i < n; i += step, ++used_) terms(i, std::min(step, n - i), a0_, b0_);
    if (used_ >= limit) flush();
  }
  HWY_INLINE void totals(T* a, T* b) {
    flush();
    *a = hn::GetLane(hn::SumOfLanes(Tag<T>(), a_.total));
    *b = hn::GetLane(hn::SumOfLanes(Tag<T>(), b_.total));
  }

 private:
  static constexpr Index limit = 64;

  HWY_INLINE void clear() {
    a0_ = a1_ = a2_ = a3_ = b0_ = b1_ = b2_ = b3_ = hn::Zero(Tag<T>());
    used_ = 0;
  }
  HWY_INLINE void flush() {
    a_.add(hn::Add(hn::Add(a0_, a1_), hn::Add(a2_, a3_)));
    b_.add(hn::Add(hn::Add(b0_, b1_), hn::Add(b2_, b3_)));
    clear();
  }

  Vector<T> a0_, a1_, a2_, a3_, b0_, b1_, b2_, b3_;
  Index used_;
  Sum<T> a_, b_;
};

template <class T> struct Norm {
  using V = Vector<T>;

  static void moments_rows(Index rows, Index stride, Index inner, const T* x, T* shift, T* sum, T* squares) {
    TwoSums<T> plain;
    for (Index r = 0; r < rows; ++r) {
      const T* const row = x + r * stride;
      plain.add_run(inner, [&](Index i, Index count, V& a, V&)
                               HWY_ATTR { a = hn::Add(a, load_upto<T>(row + i, count)); });
    }
    T total, none;
    plain.totals(&total, &none);
    *shift = total / static_cast<T>(rows * inner);
    const V by = hn::Set(Tag<T>(), *shift);
    TwoSums<T> sums;
    for (Index r = 0; r < rows; ++r) {
      const T* const row = x + r * stride;
      sums.add_run(inner, [&](Index i, Index count, V& a, V& b) HWY_ATTR {
        V d = hn::Sub(load_upto<T>(row + i, count), by);
        if (count < lanes<T>()) d = only<T>(d, count);
        a = hn::Add(a, d);
        b = hn::MulAdd(d, d, b);
      });
    }
    sums.totals(sum, squares);
  }

  /// At most sum_plainly rows.
  static void moments_columns(Index rows, Index channels, const T* x, T* shift, T* sum, T* squares) {
    const V share = constant<T>(1 / static_cast<double>(rows));
    for_vectors<T>(channels, [&](Index c, Index count) HWY_ATTR {
      V even = hn::Zero(Tag<T>()), odd = even;
      Index r = 0;
      for (; r + 2 <= rows; r += 2) {
        even = hn::Add(even, load_upto<T>(x + r * channels + c, count));
        odd = hn::Add(odd, load_upto<T>(x + (r + 1) * channels + c, count));
      }
      if (r < rows) even = hn::Add(even, load_upto<T>(x + r * channels + c, count));
      const V by = hn::Mul(hn::Add(even, odd), share);
      V s = hn::Zero(Tag<T>()), q = s, s_odd = s, q_odd = s;
      for (r = 0; r + 2 <= rows; r += 2) {
        const V d = hn::Sub(load_upto<T>(x + r * channels + c, count), by);
        const V e = hn::Sub(load_upto<T>(x + (r + 1) * channels + c, count), by);
        s = hn::Add(s, d), q = hn::MulAdd(d, d, q);
        s_odd = hn::Add(s_odd, e), q_odd = hn::MulAdd(e, e, q_odd);
      }
      if (r < rows) {
        const V d = hn::Sub(load_upto<T>(x + r * channels + c, count), by);
        s = hn::Add(s, d), q = hn::MulAdd(d, d, q);
      }
      store_upto<T>(by, shift + c, count);
      store_upto<T>(hn::Add(s, s_odd), sum + c, count);
      store_upto<T>(hn::Add(q, q_odd), squares + c, count);
    });
  }

  /// y = (x - mean) scale + bias, with numbers for a run of elements.
  static void mapped_row(Index n, const T* x, T mean, T scale, T bias, T* y, bool add) {
    const Tag<T> d;
    const V m = hn::Set(d, mean), s = hn::Set(d, scale), b = hn::Set(d, bias);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      store_or_add<T>(hn::MulAdd(hn::Sub(load_upto<T>(x + i, count), m), s, b), y + i, count, add);
    });
  }
  /// The same with a number for each of the elements; bias may be null.
  static void mapped_columns(Index n, const T* x, const T* mean, const T* scale, const T* bias, T* y,
                             bool add) {
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const V d = hn::Sub(load_upto<T>(x + i, count), load_upto<T>(mean + i, count));
      const V s = load_upto<T>(scale + i, count);
      const V v = bias == nullptr ? hn::Mul(d, s) : hn::MulAdd(d, s, load_upto<T>(bias + i, count));
      store_or_add<T>(v, y + i, count, add);
    });
  }

  static void gradient_rows(Index rows, Index stride, Index inner, const T* x, T mean, T scale, const T* gy,
                            T* gx, bool add, T* sum, T* sum_x) {
    const V m = hn::Set(Tag<T>(), mean), s = hn::Set(Tag<T>(), scale);
    TwoSums<T> sums;
    for (Index r = 0; r < rows; ++r) {
      const T *const row = x + r * stride, *const from = gy + r * stride;
      T* const to = gx == nullptr ? nullptr : gx + r * stride;
      sums.add_run(inner, [&](Index i, Index count, V& a, V& b) HWY_ATTR {
        const V g = load_upto<T>(from + i, count);
        a = hn::Add(a, g);  // zero beyond count, in the product too
        V d = hn::Sub(load_upto<T>(row + i, count), m);
        if (count < lanes<T>()) d = only<T>(d, count);
        b = hn::MulAdd(g, d, b);
        if (to != nullptr) store_or_add<T>(hn::Mul(g, s), to + i, count, add);
      });
    }
    sums.totals(sum, sum_x);
  }

  /// At most sum_plainly rows.
  static void gradient_columns(Index rows, Index channels, const T* x, const T* mean, const T* scale,
                               const T* gy, T* gx, bool add, T* sum, T* sum_x) {
    for_vectors<T>(channels, [&](Index c, Index count) HWY_ATTR {
      const V m = load_upto<T>(mean + c, count), s = load_upto<T>(scale + c, count);
      V a = hn::Zero(Tag<T>()), b = a;
      for (Index r = 0; r < rows; ++r) {
        const Index at = r * channels + c;
        const V g = load_upto<T>(gy + at, count);
        a = hn::Add(a, g);
        b = hn::MulAdd(g, hn::Sub(load_upto<T>(x + at, count), m), b);
        if (gx != nullptr) store_or_add<T>(hn::Mul(g, s), gx + at, count, add);
      }
      store_upto<T>(a, sum + c, count);
      store_upto<T>(b, sum_x + c, count);
    });
  }

  static T squares(Index n, const T* x) {
    TwoSums<T> sums;
    sums.add_run(n, [&](Index i, Index count, V& a, V&) HWY_ATTR {
      const V v = load_upto<T>(x + i, count);
      a = hn::MulAdd(v, v, a);
    });
    T total, none;
    sums.totals(&total, &none);
    return total;
  }

  static HWY_INLINE V weight_at(const T* weight, Index i, Index count) {
    return weight == nullptr ? constant<T>(1) : load_upto<T>(weight + i, count);
  }

  static void weighted_row(Index n, const T* x, T mean, T factor, const T* weight, const T* bias, T* y) {
    const V m = hn::Set(Tag<T>(), mean), f = hn::Set(Tag<T>(), factor);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const V normalized = hn::Mul(hn::Sub(load_upto<T>(x + i, count), m), f);
      const V v = hn::Mul(normalized, weight_at(weight, i, count));
      store_upto<T>(bias == nullptr ? v : hn::Add(v, load_upto<T>(bias + i, count)), y + i, count);
    });
  }

  /// With g = gy weight and the normalized x, h: gx = factor (g - mean(g) - h mean(g h)).
  static void row_gradient(Index n, bool centered, const T* x, T mean, T factor, const T* weight, const T* gy,
                           T* gx, bool add) {
    const Tag<T> d;
    const V m = hn::Set(d, mean), f = hn::Set(d, factor);
    TwoSums<T> sums;
    sums.add_run(n, [&](Index i, Index count, V& a, V& b) HWY_ATTR {
      V g = hn::Mul(load_upto<T>(gy + i, count), weight_at(weight, i, count));
      V h = hn::Mul(hn::Sub(load_upto<T>(x + i, count), m), f);
      if (count < lanes<T>()) g = only<T>(g, count), h = only<T>(h, count);
      a = hn::Add(a, g);
      b = hn::MulAdd(g, h, b);
    });
    T total, product;
    sums.totals(&total, &product);
    const V common = hn::Set(d, centered ? total / static_cast<T>(n) : T{0});
    const V along = hn::Set(d, product / static_cast<T>(n));
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const V g = hn::Mul(load_upto<T>(gy + i, count), weight_at(weight, i, count));
      const V h = hn::Mul(hn::Sub(load_upto<T>(x + i, count), m), f);
      store_or_add<T>(hn::Mul(f, hn::NegMulAdd(h, along, hn::Sub(g, common))), gx + i, count, add);
    });
  }

  static void add_row(Index n, const T* x, T mean, T factor, const T* gy, T* gweight, T* gbias) {
    const V m = hn::Set(Tag<T>(), mean), f = hn::Set(Tag<T>(), factor);
    for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
      const V g = load_upto<T>(gy + i, count), h = hn::Mul(hn::Sub(load_upto<T>(x + i, count), m), f);
      store_upto<T>(hn::MulAdd(g, h, load_upto<T>(gweight + i, count)), gweight + i, count);
      store_upto<T>(hn::Add(g, load_upto<T>(gbias + i, count)), gbias + i, count);
    });
  }
};

TAPER_KERNELS(NormTable, .moments_rows = &Norm<T>::moments_rows, .moments_columns = &Norm<T>::moments_columns,
              .mapped_row = &Norm<T>::mapped_row, .mapped_columns = &Norm<T>::mapped_columns,
              .gradient_rows = &Norm<T>::gradient_rows, .gradient_columns = &Norm<T>::gradient_columns,
              .squares = &Norm<T>::squares, .weighted_row = &Norm<T>::weighted_row,
              .row_gradient = &Norm<T>::row_gradient, .add_row = &Norm<T>::add_row)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(NormTable)

namespace {

/// A piece of a channel that fits into the first cache.
constexpr Index channel_piece = 4096;
/// Rows whose gradients of weights are added up plainly.
constexpr Index row_run = sum_plainly;

/// Calls f(piece, channel, first element, runs) for every piece of every channel, and for a piece of all
/// channels together, with channel 0, where they are neighbours.
template <class F> void for_channel_pieces(const ChannelPieces& p, const F& f) {
  const Index per_piece = p.inner == 1 ? 1 : p.channels;
  for_slices(p.count * per_piece, p.run * p.inner * (p.inner == 1 ? p.channels : 1), [&](Index unit) {
    const Index piece = unit / per_piece, channel = unit % per_piece, begin = piece * p.run;
    f(piece, channel, (begin * p.channels + channel) * p.inner, std::min(p.run, p.outer - begin));
  });
}

/// y = (x - mean) scale + bias, or added to y.
template <class T>
void map_channels(const ChannelPieces& p, const T* x, const T* mean, const T* scale, const T* bias, T* y,
                  bool add) {
  if (p.inner == 1) {
    return for_slices(p.outer, p.channels, [&](Index o) {
      const Index at = o * p.channels;
      best<T>().mapped_columns(p.channels, x + at, mean, scale, bias, y + at, add);
    });
  }
  for_slices(p.outer * p.channels, p.inner, [&](Index slice) {
    const Index c = slice % p.channels, at = slice * p.inner;
    best<T>().mapped_row(p.inner, x + at, mean[c], scale[c], bias == nullptr ? T{0} : bias[c], y + at, add);
  });
}

}  // namespace

ChannelPieces::ChannelPieces(Index outer_, Index channels_, Index inner_)
    : outer(outer_),
      channels(channels_),
      inner(inner_),
      run(inner == 1 ? sum_plainly : std::max<Index>(1, channel_piece / std::max<Index>(inner, 1))),
      count((outer + run - 1) / run) {}

template <class T>
void channel_moments(const ChannelPieces& p, const T* x, T* mean, T* variance, T* unbiased, T* parts) {
  const Index channels = p.channels;
  for_channel_pieces(p, [&](Index piece, Index c, Index at, Index runs) {
    T* const part = parts + piece * 3 * channels + c;
    if (p.inner == 1) {
      best<T>().moments_columns(runs, channels, x + at, part, part + channels, part + 2 * channels);
    } else {
      best<T>().moments_rows(runs, channels * p.inner, p.inner, x + at, part, part + channels,
                             part + 2 * channels);
    }
  });
  const double n = static_cast<double>(p.outer * p.inner);
  for (Index c = 0; c < channels; ++c) {
    const auto part = [&](Index piece, Index which) {
      return static_cast<double>(parts[(piece * 3 + which) * channels + c]);
    };
    const auto length = [&](Index piece) {
      return static_cast<double>(std::min(p.run, p.outer - piece * p.run) * p.inner);
    };
    // Around the mean of the first piece, so that a large common part of all means costs no digits.
    const double origin = part(0, 0);
    double offset = 0, squares = 0;
    for (Index k = 0; k < p.count; ++k) offset += (part(k, 0) - origin) * length(k) + part(k, 1);
    offset /= n;
    for (Index k = 0; k < p.count; ++k) {
      const double own = part(k, 1) / length(k), apart = part(k, 0) - origin + own - offset;
      squares += std::max(0.0, part(k, 2) - own * part(k, 1)) + length(k) * apart * apart;
    }
    mean[c] = static_cast<T>(origin + offset);
    variance[c] = static_cast<T>(squares / n);
    unbiased[c] = static_cast<T>(squares / (n - 1));
  }
}

template <class T>
void channel_moments_gradient(const ChannelPieces& p, const T* x, const T* mean, const T* a, const T* b,
                              T* gx, bool add) {
  map_channels(p, x, mean, b, a, gx, add);
}

template <class T>
void channel_normalize(const ChannelPieces& p, const T* x, const T* mean, const T* scale, const T* bias,
                       T* y) {
  map_channels(p, x, mean, scale, bias, y, false);
}

template <class T>
void channel_normalize_gradient(const ChannelPieces& p, const T* x, const T* mean, const T* scale,
                                const T* gy, T* gx, bool add, T* sum, T* sum_x, T* parts) {
  const Index channels = p.channels;
  for_channel_pieces(p, [&](Index piece, Index c, Index at, Index runs) {
    T* const part = parts + piece * 2 * channels + c;
    T* const to = gx == nullptr ? nullptr : gx + at;
    if (p.inner == 1) {
      best<T>().gradient_columns(runs, channels, x + at, mean, scale, gy + at, to, add, part,
                                 part + channels);
    } else {
      best<T>().gradient_rows(runs, channels * p.inner, p.inner, x + at, mean[c], scale[c], gy + at, to, add,
                              part, part + channels);
    }
  });
  for (const auto& [to, which] : {std::pair(sum, Index{0}), std::pair(sum_x, Index{1})}) {
    for (Index c = 0; c < channels; ++c) {
      double total = 0;
      for (Index k = 0; k < p.count; ++k) total += static_cast<double>(parts[(k * 2 + which) * channels + c]);
      to[c] = static_cast<T>(total);
    }
  }
}

template <class T>
void row_normalize(Index rows, Index n, bool centered, double epsilon, const T* x, const T* weight,
                   const T* bias, T* y, T* moments) {
  for_slices(rows, 3 * n, [&](Index r) {
    const T* const row = x + r * n;
    double mean = 0, square = 0;
    if (centered) {
      T shift, sum, squares;
      best<T>().moments_rows(1, 0, n, row, &shift, &sum, &squares);
      const double beside = static_cast<double>(sum) / static_cast<double>(n);
      mean = static_cast<double>(shift) + beside;
      square = static_cast<double>(squares) / static_cast<double>(n) - beside * beside;
      if (square < 0) square = 0;
    } else {
      square = static_cast<double>(best<T>().squares(n, row)) / static_cast<double>(n);
    }
    moments[r] = static_cast<T>(mean);
    moments[rows + r] = static_cast<T>(1 / std::sqrt(square + epsilon));
    best<T>().weighted_row(n, row, moments[r], moments[rows + r], weight, bias, y + r * n);
  });
}

template <class T>
void row_normalize_gradient(Index rows, Index n, bool centered, const T* x, const T* weight, const T* moments,
                            const T* gy, T* gx, bool add) {
  for_slices(rows, 3 * n, [&](Index r) {
    best<T>().row_gradient(n, centered, x + r * n, moments[r], moments[rows + r], weight, gy + r * n,
                           gx + r * n, add);
  });
}

Index row_scratch(Index rows, Index n) {
  return 2 * n * ((rows + row_run - 1) / row_run);
}

template <class T>
void row_normalize_weight_gradient(Index rows, Index n, const T* x, const T* moments, const T* gy, T* gweight,
                                   T* gbias, T* parts) {
  const Index count = (rows + row_run - 1) / row_run;
  for_slices(count, row_run * n, [&](Index k) {
    T* const part = parts + k * 2 * n;
    std::fill_n(part, 2 * n, T{0});
    for (Index r = k * row_run; r < std::min(rows, (k + 1) * row_run); ++r) {
      best<T>().add_row(n, x + r * n, moments[r], moments[rows + r], gy + r * n, part, part + n);
    }
  });
  for (const auto& [to, which] : {std::pair(gweight, Index{0}), std::pair(gbias, Index{1})}) {
    if (to == nullptr) continue;
    for (Index i = 0; i < n; ++i) {
      double total = 0;
      for (Index k = 0; k < count; ++k) total += static_cast<double>(parts[(k * 2 + which) * n + i]);
      to[i] = static_cast<T>(total);
    }
  }
}

#define TAPER_INSTANTIATE(T)                                                                                 \
  template void channel_moments(const ChannelPieces&, const T*, T*, T*, T*, T*);                             \
  template void channel_moments_gradient(const ChannelPieces&, const T*, const T*, const T*, const T*, T*,   \
                                         bool);                                                              \
  template void channel_normalize(const ChannelPieces&, const T*, const T*, const T*, const T*, T*);         \
  template void channel_normalize_gradient(const ChannelPieces&, const T*, const T*, const T*, const T*, T*, \
                                           bool, T*, T*, T*);                                                \
  template void row_normalize(Index, Index, bool, double, const T*, const T*, const T*, T*, T*);             \
  template void row_normalize_gradient(Index, Index, bool, const T*, const T*, const T*, const T*, T*,       \
                                       bool);                                                                \
  template void row_normalize_weight_gradient(Index, Index, const T*, const T*, const T*, T*, T*, T*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
