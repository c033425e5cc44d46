#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_GEMM_TABLE  // once, before the targets
#define TAPER_GEMM_TABLE
namespace taper::kernels {
/// How a product is done: what is added to it and what is applied to the result.
template <class T> struct Manner {
  const T* bias;  // of the columns or rows, or null
  bool by_rows;   // whether it is of the rows
  Activation f;
  bool alone;  // without other threads
};
template <class T> struct GemmTable {
  void (*multiply)(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
                   const Manner<T>& manner);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/gemm.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/gemm-pack-inl.hpp>
#include <taper/autodiff/kernels/gemm-tile-inl.hpp>
#include <taper/autodiff/kernels/math-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

// How much of the inner dimension is taken at a time, and how many elements of A: a panel of B that long
// stays in the second-level cache while those rows of A pass by. Longer ones save passes over C, and more of
// A saves packing B again; found by trying on a core with 2 MB.
template <class T> constexpr Index most_inner = 4096 / sizeof(T);
template <class T> constexpr Index most_left = (Index{4} << 20) / sizeof(T);
// A C larger than this is fetched before it is needed; found by trying, too.
template <class T> constexpr Index far_result = (Index{4} << 20) / sizeof(T);
// So few rows of A leave little time to hide the reading of B: the panel after is fetched meanwhile.
constexpr Index few_rows = 192;
// Products smaller than this are done by the caller's thread alone: about 15 microseconds' worth.
constexpr double parallel_products = 1 << 20;

/// Cuts [0, size) into as few pieces of at most about `most` as there can be, equal and multiples of `unit`.
constexpr Index even_piece(Index size, Index most, Index unit) {
  const Index pieces = std::max<Index>(1, (size + most - 1) / most);
  const Index piece = (size + pieces - 1) / pieces;
  return std::max(unit, (piece + unit - 1) / unit * unit);
}

/// Applies the activation to a part of C that is still in cache.
template <class T> void activate(Activation f, Index rows, Index columns, T* c, Index ldc) {
  const auto map = [&](const auto& function) HWY_ATTR {
    for (Index i = 0; i < rows; ++i) {
      for_vectors<T>(columns, [&](Index j, Index count) HWY_ATTR {
        T* const at = c + i * ldc + j;
        store_upto<T>(function(load_upto<T>(at, count)), at, count);
      });
    }
  };
  const Vector<T> zero = hn::Zero(Tag<T>());
  switch (f) {
    case Activation::none:
      return;
    case Activation::relu:  // a NaN stays one
      return map([&](Vector<T> x) HWY_ATTR { return hn::IfThenElse(hn::Lt(x, zero), zero, x); });
    case Activation::tanh:
      return map([](Vector<T> x) HWY_ATTR { return tanh<T>(x); });
    case Activation::sigmoid:
      return map([](Vector<T> x) HWY_ATTR { return sigmoid<T>(x); });
  }
}

/// Whether A, m x k, is read where it is and not packed first. Packing pays for many columns of C when rows
/// of A are whole pages apart, which all fall on the same lines of the cache, or when neighbours in memory
/// are neighbours in a column, unless all of it stays in the second-level cache.
template <class T> bool reads_left(MatrixRef<T> a, Index m, Index n, Index k) {
  constexpr Index page = 4096 / sizeof(T), near_by = (Index{1} << 17) / sizeof(T);
  const bool few = n <= 2 * tile_columns<T>;
  if (a.column == 1) return few || a.row % page != 0;
  return a.row == 1 && (few || m * k <= near_by);
}

template <class T>
void product(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
             const Manner<T>& manner) {
  const T* const bias = manner.bias;
  if (k == 0) a.row = a.column = b.row = b.column = 0;  // there may be no memory to walk in
  const Index width = tile_columns<T>;
  const bool parallel =
      !manner.alone &&
      static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= parallel_products;
  const Index inner_piece = even_piece(k, most_inner<T>, 8);
  const Index row_block = even_piece(m, most_left<T> / inner_piece, tile_rows);
  const Index panels = (n + width - 1) / width;
  const bool left_in_place = reads_left(a, m, n, k);
  T* const packed = left_in_place ? nullptr : workspace<T, Use::left>(row_block * inner_piece);

  for (Index first = 0; first < m; first += row_block) {
    const Index rows = std::min(row_block, m - first);
    // Parts of the rows for threads. The last one is the longest, so that groups fall as they do without
    // parts.
    constexpr Index part_rows = 8 * tile_rows;
    const Index parts = parallel ? std::max<Index>(1, rows / part_rows) : 1;
    const auto part_size = [&](Index part) { return part + 1 < parts ? part_rows : rows - part * part_rows; };
    for (Index start = 0; start < k || start == 0; start += inner_piece) {
      const Index inner = std::min(inner_piece, k - start);
      const MatrixRef<T> left{a.data + first * a.row + start * a.column, a.row, a.column};
      const MatrixRef<T> right{b.data + start * b.row, b.row, b.column};
      const bool biased = bias != nullptr && start == 0;
      if (!left_in_place) {
        for_pieces(parts, 1, [&](Index part, Index) {
          const Index row = part * part_rows;
          pack_left<T>(part_size(part), inner, {left.data + row * left.row, left.row, left.column},
                       packed + row * inner);
        });
      }
      const auto multiply = [&](Index row, Index height, Index column, Index vectors) {
        const Index columns = std::min(vectors * lanes<T>(), n - column);
        const MatrixRef<T> source{right.data + column * right.column, right.row, right.column};
        T* const copy = workspace<T, Use::right>(width * most_inner<T>);  // never to grow
        Panel<T> panel{copy, vectors * lanes<T>(), nullptr, {nullptr, 0, 0}};
        // Full groups of rows come first, whose tiles can do something beside.
        const bool full = vectors == tile_vectors && height >= copying_rows;
        const bool fetches = full && rows <= few_rows && column + 2 * width <= n;
        if (source.column == 1 && columns == panel.step) {  // no need to rearrange
          panel.data = source.data;
          panel.step = source.row;
          if (full && source.row > width) {
            panel.copy = copy;
            if (fetches) panel.next = {source.data + width, source.row, lanes<T>()};
          }
        } else {
          pack_right<T>(inner, columns, source, copy, panel.step);
          if (fetches && source.row == 1 && source.column == inner)
            panel.next = {source.data + width * inner, lanes<T>(), inner * lanes<T>()};
        }
        const Destination<T> target{c + (first + row) * ldc + column,
                                    ldc,
                                    columns,
                                    add || start > 0,
                                    biased ? bias + (manner.by_rows ? first + row : column) : nullptr,
                                    biased && manner.by_rows,
                                    m * n > far_result<T>};
        const auto run = [&](const LeftRef<T>& from, auto order) HWY_ATTR {
          if (vectors == 1) return multiply_panel<T, 1, order()>(height, inner, from, panel, target);
          if (vectors == 2) return multiply_panel<T, 2, order()>(height, inner, from, panel, target);
          if constexpr (tile_vectors == 4) multiply_panel<T, 4, order()>(height, inner, from, panel, target);
        };
        const std::integral_constant<Left, Left::rows> by_rows;
        const std::integral_constant<Left, Left::columns> by_columns;
        if (!left_in_place) {
          run({packed + row * inner, inner, 0}, by_columns);
        } else if (a.column == 1) {
          run({left.data + row * a.row, a.row, a.row}, by_rows);
        } else {
          run({left.data + row, 1, a.column}, by_columns);
        }
        if (start + inner == k) activate<T>(manner.f, height, columns, target.data, ldc);
      };
      // Threads take panels; where there are few, parts of the rows.
      const bool by_parts = panels < 8;
      const Index pieces = panels * (by_parts ? parts : 1);
      const auto multiply_pieces = [&](Index begin, Index end) {
        for (Index piece = begin; piece < end; ++piece) {
          const Index part = by_parts ? piece % parts : 0, panel = by_parts ? piece / parts : piece;
          const Index last = std::min(n, (panel + 1) * width);
          for (Index column = panel * width; column < last;) {
            const Index left_over = (last - column + lanes<T>() - 1) / lanes<T>();
            const Index vectors = std::min<Index>(tile_vectors, left_over >= 4 ? 4 : left_over >= 2 ? 2 : 1);
            multiply(part * part_rows, by_parts ? part_size(part) : rows, column, vectors);
            column += vectors * lanes<T>();
          }
        }
      };
      for_pieces(pieces, parallel ? 1 : pieces, multiply_pieces, 0, Schedule::dynamic);
    }
  }
}

/// Where the products of rows of X and of Y go: that of rows i and j to data[i * row + j * column], plus
/// bias[i * bias_row + j * bias_column] if there is a bias.
template <class T> struct Dots {
  T* data;
  Index row, column;
  bool add;
  const T* bias;
  Index bias_row, bias_column;
};

/// Products of R rows of X with S rows of Y, all k long and contiguous.
template <class T, Index R, Index S>
HWY_INLINE void dot_tile(Index k, const T* x, Index x_row, const T* y, Index y_row, const Dots<T>& to,
                         Index i, Index j) {
  const Tag<T> d;
  Vector<T> sums[R][S];
  for (Index r = 0; r < R; ++r) {
    for (Index s = 0; s < S; ++s) sums[r][s] = hn::Zero(d);
  }
  for_vectors<T>(k, [&](Index p, Index count) HWY_ATTR {
    Vector<T> right[S];
    HWY_UNROLL(2) for (Index s = 0; s < S; ++s) right[s] = load_upto<T>(y + (j + s) * y_row + p, count);
    HWY_UNROLL(8) for (Index r = 0; r < R; ++r) {
      const Vector<T> left = load_upto<T>(x + (i + r) * x_row + p, count);
      HWY_UNROLL(2) for (Index s = 0; s < S; ++s) sums[r][s] = hn::MulAdd(left, right[s], sums[r][s]);
    }
  });
  for (Index r = 0; r < R; ++r) {
    for (Index s = 0; s < S; ++s) {
      T& target = to.data[(i + r) * to.row + (j + s) * to.column];
      const T shift = to.bias == nullptr ? T{0} : to.bias[(i + r) * to.bias_row + (j + s) * to.bias_column];
      target = hn::GetLane(hn::SumOfLanes(d, sums[r][s])) + shift + (to.add ? target : T{0});
    }
  }
}

/// Products of the rows [first, last) of X with `few` rows of Y: what a few rows of A and the transpose of
/// B's make, or a matrix and a vector, without packing anything.
template <class T>
void dots(Index first, Index last, Index few, Index k, const T* x, Index x_row, const T* y, Index y_row,
          const Dots<T>& to) {
  Index i = first;
  const auto run = [&](auto R, auto S) HWY_ATTR {
    for (; i + R() <= last; i += R()) {
      Index j = 0;
      for (; j + S() <= few; j += S()) dot_tile<T, R(), S()>(k, x, x_row, y, y_row, to, i, j);
      if (j < few) dot_tile<T, R(), 1>(k, x, x_row, y, y_row, to, i, j);
    }
  };
  const std::integral_constant<Index, 1> one;
  const std::integral_constant<Index, 2> two;
  if (few == 1) {
    run(std::integral_constant<Index, 8>(), one);
  } else {
    run(std::integral_constant<Index, 4>(), two);
  }
  run(one, two);
}

/// C' = B' A' for a C too narrow to fill tiles.
template <class T>
void narrow_product(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc,
                    const Manner<T>& manner) {
  T* const transposed = workspace<T, Use::transposed>(m * n);
  product<T>(n, m, k, {b.data, b.column, b.row}, {a.data, a.column, a.row}, transposed, m, false, manner);
  transpose<T>(m, n, transposed, m, c, ldc);
}

template <class T>
void multiply(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
              const Manner<T>& manner) {
  if (m == 0 || n == 0) return;
  const Index few = 8;
  const bool rows_meet = (a.column == 1 || k == 1) && (b.row == 1 || k == 1);
  const bool by_rows = manner.by_rows;
  const T* const bias = manner.bias;
  // Splits `count` rows into as many of `work` elements as make a piece for a thread.
  const auto split = [&](Index count, Index work, const auto& run) {
    const Index piece = std::max<Index>(8, elementwise_piece / std::max<Index>(work, 1));
    for_pieces(count, piece, run, manner.alone ? count : 2 * piece);
  };
  if (rows_meet && n == 1) {
    const Dots<T> to{c, ldc, 1, add, bias, by_rows ? 1 : 0, by_rows ? 0 : 1};
    split(m, k, [&](Index first, Index last) {
      dots<T>(first, last, 1, k, a.data, a.row, b.data, b.column, to);
      activate<T>(manner.f, last - first, 1, c + first * ldc, ldc);
    });
  } else if (rows_meet && m <= few && k >= 2 * lanes<T>()) {
    const Dots<T> to{c, 1, ldc, add, bias, by_rows ? 0 : 1, by_rows ? 1 : 0};
    split(n, m * k, [&](Index first, Index last) {
      dots<T>(first, last, m, k, b.data, b.column, a.data, a.row, to);
      activate<T>(manner.f, m, last - first, c + first, ldc);
    });
  } else if (n <= lanes<T>() && a.row == 1 && m > n && bias == nullptr && !add) {
    narrow_product<T>(m, n, k, a, b, c, ldc, manner);
  } else {
    product<T>(m, n, k, a, b, c, ldc, add, manner);
  }
}

TAPER_KERNELS(GemmTable, &multiply<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(GemmTable)

template <class T>
void gemm(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add, const T* bias,
          Activation f) {
  best<T>().multiply(m, n, k, a, b, c, ldc, add, {bias, false, f, false});
}

template <class T>
void gemm_alone(Index m, Index n, Index k, MatrixRef<T> a, MatrixRef<T> b, T* c, Index ldc, bool add,
                const T* row_bias, Activation f) {
  best<T>().multiply(m, n, k, a, b, c, ldc, add, {row_bias, row_bias != nullptr, f, true});
}

#define TAPER_INSTANTIATE(T)                                                                           \
  template void gemm(Index, Index, Index, MatrixRef<T>, MatrixRef<T>, T*, Index, bool, const T*,       \
                     Activation);                                                                      \
  template void gemm_alone(Index, Index, Index, MatrixRef<T>, MatrixRef<T>, T*, Index, bool, const T*, \
                           Activation);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
