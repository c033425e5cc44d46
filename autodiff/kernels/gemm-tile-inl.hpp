// Included once per target by gemm.cpp: the innermost loops of a product, on registers.
#if defined(TAPER_KERNELS_GEMM_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_GEMM_TILE_INL
#undef TAPER_KERNELS_GEMM_TILE_INL
#else
#define TAPER_KERNELS_GEMM_TILE_INL
#endif

#include <hwy/cache_control.h>

#include <taper/autodiff/kernels/simd-inl.hpp>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

// A tile of C is what the registers hold: 24 accumulators of 32 registers, or 12 of 16. Where they allow it,
// it is four vectors wide and 6 rows high, for which the fewest elements are loaded for each product;
// narrower ones are higher. Rows come in groups of `tile_rows`, and those left over in smaller groups.
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3) || HWY_ARCH_ARM_A64
constexpr Index tile_rows = 12;
constexpr Index tile_vectors = 4;
#else
constexpr Index tile_rows = 6;
constexpr Index tile_vectors = 2;
#endif
constexpr Index fewer_rows = tile_rows / 3 * 2;
template <class T> constexpr Index tile_columns = tile_vectors* static_cast<Index>(hn::MaxLanes(Tag<T>()));

/// How the rows of a tile find their elements in A.
enum class Left {
  rows,    ///< (i, p) at data[i * step + p]: where they are, row by row
  columns  ///< (i, p) at data[i + p * step]: a transpose where it is, or packed
};

/// Rows of A: those from row i on start at data + i * row. With step 0 they are packed for the groups
/// that cover them, and their step is the number of rows of each.
template <class T> struct LeftRef {
  const T* data;
  Index row, step;
};

/// What is read after a panel: k x V vectors, vector (p, j) at data + p * row + j * column. A hint: where
/// there are few tiles, or k is odd, not all of it is fetched.
template <class T> struct Ahead {
  const T* data;
  Index row, column;
};

/// A panel of B: for each p, as many vectors as a tile is wide, `step` apart. What is read goes to `copy`
/// too, unless that is null, packed. `next` is fetched into the cache meanwhile, unless it has no data.
template <class T> struct Panel {
  const T* data;
  Index step;
  T* copy;
  Ahead<T> next;
};

/// Where a tile goes.
template <class T> struct Destination {
  T* data;
  Index ldc;
  Index columns;  // how many of the tile's there are
  bool add;
  const T* bias;  // of the columns or rows, or null
  bool by_rows;   // whether it is of the rows
  bool far;       // probably in no near cache
};

/// What a tile does beside its products, which hide it.
enum class Aside {
  nothing,
  copy,  ///< copies what it reads of B
  fetch  ///< fetches k / 2 vectors of what is read next: those from `fetched` on, a row apart
};

/// A tile of C: R rows of V vectors, over k inner steps.
template <class T, Index R, Index V, Left order, Aside aside>
HWY_INLINE void tile(Index k, const T* a, Index a_step, const Panel<T>& b, const T* fetched,
                     const Destination<T>& c) {
  const Tag<T> d;
  const Index step = lanes<T>();
  const bool whole = c.columns == V * step;
  const Index last = c.columns - (V - 1) * step;  // columns of the last vector
  Vector<T> shift[V], sums[R][V];
  HWY_UNROLL(4) for (Index j = 0; j < V; ++j) shift[j] = hn::Zero(d);
  if (c.bias != nullptr && !c.by_rows) {
    HWY_UNROLL(4) for (Index j = 0; j < V - 1; ++j) shift[j] = load<T>(c.bias + j * step);
    shift[V - 1] = load_upto<T>(c.bias + (V - 1) * step, last);
  }
  // Every third row: an address can add a register, or twice it, for the two after.
  const T* rows[(R + 2) / 3];
  if constexpr (order == Left::rows) {
    HWY_UNROLL(4) for (Index i = 0; i < R; i += 3) rows[i / 3] = a + i * a_step;
  }
  HWY_UNROLL(16) for (Index i = 0; i < R; ++i) {
    HWY_UNROLL(4) for (Index j = 0; j < V; ++j) sums[i][j] = shift[j];
  }
  if (c.by_rows) {
    HWY_UNROLL(16) for (Index i = 0; i < R; ++i) {
      HWY_UNROLL(4) for (Index j = 0; j < V; ++j) sums[i][j] = hn::Set(d, c.bias[i]);
    }
  }
  if (c.far) {  // it is needed only at the end
    HWY_UNROLL(16) for (Index i = 0; i < R; ++i) {
      HWY_UNROLL(4) for (Index j = 0; j < V; ++j) hwy::Prefetch(c.data + i * c.ldc + j * step);
    }
  }
  const T* right_data = b.data;
  T* copy = b.copy;
  const auto multiply = [&]() HWY_ATTR {
    Vector<T> right[V];
    HWY_UNROLL(4) for (Index j = 0; j < V; ++j) right[j] = load<T>(right_data + j * step);
    right_data += b.step;
    if constexpr (aside == Aside::copy) {
      HWY_UNROLL(4) for (Index j = 0; j < V; ++j) store<T>(right[j], copy + j * step);
      copy += V * step;
    }
    HWY_UNROLL(16) for (Index i = 0; i < R; ++i) {
      const Vector<T> left = hn::Set(d, order == Left::rows ? rows[i / 3][i % 3 * a_step] : a[i]);
      HWY_UNROLL(4) for (Index j = 0; j < V; ++j) sums[i][j] = hn::MulAdd(left, right[j], sums[i][j]);
    }
    if constexpr (order == Left::rows) {
      HWY_UNROLL(4) for (const T*& row : rows) row += 1;
    } else {
      a += a_step;
    }
  };
  Index p = 0;
  if constexpr (R > 2) {
    for (; p + 2 <= k; p += 2) {  // no more: long loops cost more in fetching instructions than they save
      multiply();
      multiply();
      if constexpr (aside == Aside::fetch) {
        hwy::Prefetch(fetched);
        fetched += b.next.row;
      }
    }
  }
  for (; p < k; ++p) multiply();

  const auto store_tile = [&](auto add, auto all) HWY_ATTR {
    HWY_UNROLL(16) for (Index i = 0; i < R; ++i) {
      HWY_UNROLL(4) for (Index j = 0; j < V; ++j) {
        T* const to = c.data + i * c.ldc + j * step;
        if (all() || j < V - 1) {
          store<T>(add() ? hn::Add(load<T>(to), sums[i][j]) : sums[i][j], to);
        } else {
          store_some<T>(add() ? hn::Add(load_some<T>(to, last), sums[i][j]) : sums[i][j], to, last);
        }
      }
    }
  };
  constexpr std::true_type yes;
  constexpr std::false_type no;
  if (whole) {
    c.add ? store_tile(yes, yes) : store_tile(no, yes);
  } else {
    c.add ? store_tile(yes, no) : store_tile(no, no);
  }
}

/// Calls f(first row, how many, as a constant) for the groups that cover `rows` rows.
template <class F> HWY_INLINE void for_groups(Index rows, const F& f) {
  Index i = 0, full = rows / tile_rows;
  // Two smaller groups keep the multipliers busy where one more would be nearly empty.
  if (full > 0 && rows % tile_rows + tile_rows == 2 * fewer_rows) --full;
  const auto run = [&](auto size, Index count) HWY_ATTR {
    for (; count > 0; --count, i += size) f(i, size);
  };
  run(std::integral_constant<Index, tile_rows>(), full);
  run(std::integral_constant<Index, fewer_rows>(), (rows - i) / fewer_rows);
  if constexpr (fewer_rows > 4) run(std::integral_constant<Index, 4>(), (rows - i) / 4);
  run(std::integral_constant<Index, 2>(), (rows - i) / 2);
  run(std::integral_constant<Index, 1>(), rows - i);
}

/// Rows that are at least so many start with a full group, whose first tile copies what it is told to.
constexpr Index copying_rows = 2 * tile_rows;

/// `rows` rows of A times one panel of B, V vectors wide.
template <class T, Index V, Left order>
void multiply_panel(Index rows, Index k, const LeftRef<T>& a, Panel<T> b, const Destination<T>& c) {
  Index fetching = b.next.data != nullptr ? 2 * V : 0;  // so many tiles fetch half a column each
  for_groups(rows, [&](Index first, auto size) HWY_ATTR {
    constexpr Index R = V > 2 && size() > 4 ? size() / 2 : size();
    const Index step = a.step > 0 ? a.step : size();
    for (Index i = 0; i < size(); i += R) {
      const T* const from = a.data + first * a.row + (a.step > 0 ? i * a.row : i);
      const T* const bias = c.by_rows ? c.bias + first + i : c.bias;
      const Destination<T> to{c.data + (first + i) * c.ldc, c.ldc, c.columns, c.add, bias, c.by_rows, c.far};
      if constexpr (V == tile_vectors && size() == tile_rows) {
        if (b.copy != nullptr) {
          tile<T, R, V, order, Aside::copy>(k, from, step, b, nullptr, to);
          b = {b.copy, V * lanes<T>(), nullptr, b.next};
          continue;
        }
        if (fetching > 0) {
          --fetching;
          const Index half = fetching / V * (k / 2);
          const T* const fetched = b.next.data + half * b.next.row + fetching % V * b.next.column;
          tile<T, R, V, order, Aside::fetch>(k, from, step, b, fetched, to);
          continue;
        }
      }
      tile<T, R, V, order, Aside::nothing>(k, from, step, b, nullptr, to);
    }
  });
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target
