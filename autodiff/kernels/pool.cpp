#include <limits>

#include <taper/autodiff/kernels/pool.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_POOL_TABLE  // once, before the targets
#define TAPER_POOL_TABLE
namespace taper::kernels {
/// Planes of windows of 2 x 2 that touch and do not overlap. Columns and rows left over belong to none.
template <class T> struct PoolTable {
  void (*max)(Index rows, Index columns, Index stride, const T* x, T* y);
  void (*max_gradient)(Index rows, Index columns, Index stride, const T* x, const T* gy, T* gx, bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/pool.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The larger of each lane; a NaN wins.
template <class V> HWY_INLINE V larger_of(V a, V b) {
  return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::Or(hn::IsNaN(b), hn::Gt(b, a)), b, a));
}

/// Calls f(d, p) for runs of windows from p on, as long as vectors of d, the longest ones first.
template <class T, class F> HWY_INLINE void for_runs(Index columns, const F& f) {
  Index p = 0;
  const auto run = [&](auto d) HWY_ATTR {
    const Index step = static_cast<Index>(hn::Lanes(d));
    for (; p + step <= columns; p += step) f(d, p);
  };
  run(Tag<T>());
#if HWY_TARGET <= HWY_AVX2
  run(hn::Half<Tag<T>>());
  if constexpr (hn::MaxLanes(Tag<T>()) > 4) run(hn::Half<hn::Half<Tag<T>>>());
#endif
  run(hn::CappedTag<T, 1>());
}

template <class T> void max(Index rows, Index columns, Index stride, const T* x, T* y) {
  for (Index i = 0; i < rows; ++i, x += 2 * stride, y += columns) {
    for_runs<T>(columns, [&](auto d, Index p) HWY_ATTR {
      hn::Vec<decltype(d)> a0, a1, b0, b1;
      hn::LoadInterleaved2(d, x + 2 * p, a0, a1);
      hn::LoadInterleaved2(d, x + stride + 2 * p, b0, b1);
      hn::StoreU(larger_of(larger_of(a0, a1), larger_of(b0, b1)), d, y + p);
    });
  }
}

template <class T>
void max_gradient(Index rows, Index columns, Index stride, const T* x, const T* gy, T* gx, bool add) {
  for (Index i = 0; i < rows; ++i, x += 2 * stride, gy += columns, gx += 2 * stride) {
    for_runs<T>(columns, [&](auto d, Index p) HWY_ATTR {
      using V = hn::Vec<decltype(d)>;
      V a0, a1, b0, b1;
      hn::LoadInterleaved2(d, x + 2 * p, a0, a1);
      hn::LoadInterleaved2(d, x + stride + 2 * p, b0, b1);
      const V most = larger_of(larger_of(a0, a1), larger_of(b0, b1));
      const auto lost = hn::IsNaN(most);
      V left = hn::LoadU(d, gy + p);  // zero once it has gone to an element
      const auto take = [&](V element) HWY_ATTR {
        const auto first = hn::Or(hn::Eq(element, most), hn::And(lost, hn::IsNaN(element)));
        const V taken = hn::IfThenElseZero(first, left);
        left = hn::IfThenZeroElse(first, left);
        return taken;
      };
      V g0 = take(a0), g1 = take(a1), h0 = take(b0), h1 = take(b1);
      if (add) {
        V other0, other1;
        hn::LoadInterleaved2(d, gx + 2 * p, other0, other1);
        g0 = hn::Add(g0, other0), g1 = hn::Add(g1, other1);
        hn::LoadInterleaved2(d, gx + stride + 2 * p, other0, other1);
        h0 = hn::Add(h0, other0), h1 = hn::Add(h1, other1);
      }
      hn::StoreInterleaved2(g0, g1, d, gx + 2 * p);
      hn::StoreInterleaved2(h0, h1, d, gx + stride + 2 * p);
    });
  }
}

TAPER_KERNELS(PoolTable, &max<T>, &max_gradient<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(PoolTable)

namespace {

bool two_by_two(const Window& rows, const Window& columns) {
  const auto two = [](const Window& w) {
    return w.kernel == 2 && w.stride == 2 && w.padding == 0 && w.dilation == 1;
  };
  return two(rows) && two(columns);
}

/// The taps [begin, end) of window `o` that are not in the padding.
struct Taps {
  Index begin, end;

  Taps(const Window& w, Index o) {
    const Index first = w.position(o, 0);
    begin = first < 0 ? steps(w, -first) : 0;
    end = std::min(w.kernel, steps(w, w.input - first));
  }

 private:
  /// How many taps are less than so far from the first; divisions take long.
  static Index steps(const Window& w, Index distance) {
    return w.dilation == 1 ? distance : (distance + w.dilation - 1) / w.dilation;
  }
};

/// Calls f(window, position of its largest element in the plane, or -1) for all windows of a plane.
template <class T, class F>
void for_largest(const Window& rows, const Window& columns, const T* x, const F& f) {
  const Index height = rows.output(), width = columns.output();
  for (Index o = 0; o < height; ++o) {
    const Taps i(rows, o);
    for (Index p = 0; p < width; ++p) {
      const Taps j(columns, p);
      const Index first = rows.position(o, 0) * columns.input + columns.position(p, 0);
      const auto place = [&](Index row, Index column) {
        return first + row * rows.dilation * columns.input + column * columns.dilation;
      };
      const bool any = i.begin < i.end && j.begin < j.end;
      Index found = any ? place(i.begin, j.begin) : -1;
      for (Index row = i.begin; row < i.end; ++row) {
        for (Index column = j.begin; column < j.end; ++column) {
          // Positions are chosen without branches, which random numbers would mislead. A NaN is not at most
          // anything, and stays.
          const Index at = place(row, column);
          const T most = x[found];
          found = !(x[at] <= most) & (most == most) ? at : found;
        }
      }
      f(o * width + p, found);
    }
  }
}

}  // namespace

template <class T> void max_pool(Index planes, const Window& rows, const Window& columns, const T* x, T* y) {
  const Index height = rows.output(), width = columns.output(), size = rows.input * columns.input;
  for_slices(planes, height * width * rows.kernel * columns.kernel, [&](Index plane) {
    const T* const from = x + plane * size;
    T* const to = y + plane * height * width;
    if (two_by_two(rows, columns)) return best<T>().max(height, width, columns.input, from, to);
    for_largest(rows, columns, from, [&](Index window, Index at) {
      to[window] = at < 0 ? -std::numeric_limits<T>::infinity() : from[at];
    });
  });
}

template <class T>
void max_pool_gradient(Index planes, const Window& rows, const Window& columns, const T* x, const T* gy,
                       T* gx, bool add) {
  const Index height = rows.output(), width = columns.output(), size = rows.input * columns.input;
  for_slices(planes, height * width * rows.kernel * columns.kernel, [&](Index plane) {
    const T *const from = x + plane * size, *const g = gy + plane * height * width;
    T* const to = gx + plane * size;
    const bool fast = two_by_two(rows, columns), covered = rows.input % 2 == 0 && columns.input % 2 == 0;
    if (!add && !(fast && covered)) std::fill_n(to, size, T{0});
    if (fast) return best<T>().max_gradient(height, width, columns.input, from, g, to, add);
    for_largest(rows, columns, from, [&](Index window, Index at) {
      if (at >= 0) to[at] += g[window];
    });
  });
}

template <class T>
void average_pool(Index planes, const Cells& rows, const Cells& columns, const T* x, T* y) {
  const Index size = rows.input * columns.input, windows = rows.output * columns.output;
  for_slices(planes, std::max(size, windows), [&](Index plane) {
    const T* const from = x + plane * size;
    T* to = y + plane * windows;
    for (Index o = 0; o < rows.output; ++o) {
      for (Index p = 0; p < columns.output; ++p) {
        const Index begin = columns.begin(p), count = columns.end(p) - begin;
        double total = 0;
        for (Index row = rows.begin(o); row < rows.end(o); ++row) {
          const T* const run = from + row * columns.input + begin;
          if (count <= 16) {
            for (Index j = 0; j < count; ++j) total += static_cast<double>(run[j]);
            continue;
          }
          constexpr Index piece = 64;  // short enough for the digits of T in vectors of any length
          for (Index j = 0; j < count; j += piece) total += sum(std::min(piece, count - j), run + j);
        }
        *to++ = static_cast<T>(total / static_cast<double>(rows.size(o) * columns.size(p)));
      }
    }
  });
}

template <class T>
void average_pool_gradient(Index planes, const Cells& rows, const Cells& columns, const T* gy, T* gx,
                           bool add) {
  const Index size = rows.input * columns.input, windows = rows.output * columns.output;
  for_slices(planes, std::max(size, windows), [&](Index plane) {
    T* const to = gx + plane * size;
    const T* from = gy + plane * windows;
    if (!add) std::fill_n(to, size, T{0});
    for (Index o = 0; o < rows.output; ++o) {
      for (Index p = 0; p < columns.output; ++p) {
        const T share = *from++ / static_cast<T>(rows.size(o) * columns.size(p));
        for (Index row = rows.begin(o); row < rows.end(o); ++row) {
          T* const run = to + row * columns.input;
          for (Index j = columns.begin(p); j < columns.end(p); ++j) run[j] += share;
        }
      }
    }
  });
}

#define TAPER_INSTANTIATE(T)                                                                          \
  template void max_pool(Index, const Window&, const Window&, const T*, T*);                          \
  template void max_pool_gradient(Index, const Window&, const Window&, const T*, const T*, T*, bool); \
  template void average_pool(Index, const Cells&, const Cells&, const T*, T*);                        \
  template void average_pool_gradient(Index, const Cells&, const Cells&, const T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
