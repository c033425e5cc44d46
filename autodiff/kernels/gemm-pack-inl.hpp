// Included once per target by gemm.cpp: copies of the operands of a product in the order in which it reads
// them.
#if defined(TAPER_KERNELS_GEMM_PACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_GEMM_PACK_INL
#undef TAPER_KERNELS_GEMM_PACK_INL
#else
#define TAPER_KERNELS_GEMM_PACK_INL
#endif

#include <taper/autodiff/kernels/gemm-tile-inl.hpp>
#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/workspace.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR

/// A vector of 128-bit blocks, `apart` elements apart in memory.
template <class D, class T> HWY_INLINE hn::Vec<D> load_blocks(D d, const T* from, Index apart) {
  if constexpr (hn::MaxLanes(D()) * sizeof(T) == 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    const Index blocks = static_cast<Index>(hn::MaxLanes(half) * sizeof(T)) / 16;
    return hn::Combine(d, load_blocks(half, from + blocks * apart, apart), load_blocks(half, from, apart));
  }
}

/// Transposes 4 x 4 floats, or 2 x 2 doubles, in each 128-bit block of that many rows.
template <class T, class V> HWY_INLINE void transpose_blocks(V* rows) {
  const hn::DFromV<V> d;
  if constexpr (sizeof(T) == 4) {
    const V a02 = hn::InterleaveLower(d, rows[0], rows[2]), b02 = hn::InterleaveUpper(d, rows[0], rows[2]);
    const V a13 = hn::InterleaveLower(d, rows[1], rows[3]), b13 = hn::InterleaveUpper(d, rows[1], rows[3]);
    rows[0] = hn::InterleaveLower(d, a02, a13);
    rows[1] = hn::InterleaveUpper(d, a02, a13);
    rows[2] = hn::InterleaveLower(d, b02, b13);
    rows[3] = hn::InterleaveUpper(d, b02, b13);
  } else {
    const V lower = hn::InterleaveLower(d, rows[0], rows[1]);
    rows[1] = hn::InterleaveUpper(d, rows[0], rows[1]);
    rows[0] = lower;
  }
}

/// The columns of a transpose that start at j, as many as D has lanes: to[p * width + j] and its neighbours.
template <class T, class D>
HWY_INLINE void transpose_columns(D d, Index j, Index k, const T* from, Index stride, T* to, Index width) {
  constexpr Index side = 16 / sizeof(T);
  const Index columns = static_cast<Index>(hn::Lanes(d));
  Index p = 0;
  for (; p + side <= k; p += side) {
    hn::Vec<D> rows[side];
    HWY_UNROLL(4) for (Index s = 0; s < side; ++s) {
      rows[s] = load_blocks(d, from + p + (j + s) * stride, side * stride);
    }
    transpose_blocks<T>(rows);
    HWY_UNROLL(4) for (Index s = 0; s < side; ++s) hn::StoreU(rows[s], d, to + (p + s) * width + j);
  }
  for (; p < k; ++p) {
    for (Index q = j; q < j + columns; ++q) to[p * width + q] = from[p + q * stride];
  }
}

#endif

/// to[p * width + j] = from[p + j * stride] for p < k and j < columns.
template <class T> void transpose(Index k, Index columns, const T* from, Index stride, T* to, Index width) {
  Index j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<T, 16 / sizeof(T)> block;
  const auto run = [&](auto d) HWY_ATTR {
    const Index step = static_cast<Index>(hn::Lanes(d));
    for (; j + step <= columns; j += step) transpose_columns<T>(d, j, k, from, stride, to, width);
  };
  run(Tag<T>());
  run(block);
  const Index side = static_cast<Index>(hn::Lanes(block));
  if (j < columns && columns >= side) {  // once more over some that are done
    transpose_columns<T>(block, columns - side, k, from, stride, to, width);
    return;
  }
#endif
  for (; j < columns; ++j) {
    for (Index p = 0; p < k; ++p) to[p * width + j] = from[p + j * stride];
  }
}

/// Packs rows of A for the groups that cover them: entry (i, p) of the group of R rows that starts at
/// row `first` goes to to[first * k + p * R + i].
template <class T> void pack_left(Index rows, Index k, MatrixRef<T> a, T* to) {
  // A transpose is taken a few of its columns at a time, which makes few enough streams to be fetched ahead.
  const Index block = a.row == 1 ? 8 : k;
  for (Index start = 0; start < k; start += block) {
    const Index end = std::min(k, start + block);
    for_groups(rows, [&](Index first, auto size) HWY_ATTR {
      const T* from = a.data + first * a.row + start * a.column;
      T* target = to + first * k + start * size;
      if (a.column == 1) {
        transpose<T>(end - start, size, from, a.row, target, size);
      } else if (a.row == 1) {
        // Whole vectors, as long as what follows overwrites the lanes after the group's.
        for (Index p = start; p < end; ++p, from += a.column, target += size) {
          for (Index i = 0; i < size; i += lanes<T>()) {
            const Index count = std::min<Index>(lanes<T>(), size - i);
            const bool whole = (end - p) * size - i >= lanes<T>();
            store_upto<T>(load_upto<T>(from + i, count), target + i, whole ? lanes<T>() : count);
          }
        }
      } else {
        for (Index p = start; p < end; ++p, from += a.column, target += size) {
          for (Index i = 0; i < size; ++i) target[i] = from[i * a.row];
        }
      }
    });
  }
}

/// Packs columns of B into a panel with rows `width` apart, zero where B has ended.
template <class T> void pack_right(Index k, Index columns, MatrixRef<T> b, T* to, Index width) {
  const Index step = lanes<T>();
  if (b.column == 1) {
    for (Index j = 0; j < width; j += step) {
      const Index count = std::clamp<Index>(columns - j, 0, step);
      const T* from = b.data + j;
      for (Index p = 0; p < k; ++p, from += b.row) store<T>(load_upto<T>(from, count), to + p * width + j);
    }
    return;
  }
  if (columns < width) std::fill_n(to, k * width, T{0});
  if (b.row == 1) {
    transpose<T>(k, columns, b.data, b.column, to, width);
    return;
  }
  for (Index p = 0; p < k; ++p) {
    for (Index j = 0; j < columns; ++j) to[p * width + j] = b.data[p * b.row + j * b.column];
  }
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target
