#include <taper/autodiff/kernels/hadamard.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_HADAMARD_TABLE  // once, before the targets
#define TAPER_HADAMARD_TABLE
namespace taper::kernels {
/// A piece of the matrices: rows x columns, the rows `stride` apart.
struct HadamardPiece {
  Index rows, columns, stride;
};
/// The inner kernels of one scalar on one target.
template <class T> struct HadamardTable {
  using Forward = void (*)(HadamardPiece piece, const T* u, const T* v, T* w);
  using Gradient = void (*)(HadamardPiece piece, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                            HadamardGradient<T> gv);
  using ForwardBlocks = void (*)(HadamardPiece piece, Index inner, const T* u, const T* v, T* w);
  using GradientBlocks = void (*)(HadamardPiece piece, Index inner, const T* gw, const T* u, const T* v,
                                  HadamardGradient<T> gu, HadamardGradient<T> gv);
  Forward columns, rows;
  Gradient columns_gradient, rows_gradient;
  ForwardBlocks blocks;  // of `inner` neighbouring columns for each gate
  GradientBlocks blocks_gradient;
};
/// A target further on, if there is any.
template <class T> HadamardGradient<T> ahead(HadamardGradient<T> target, Index by) {
  return target.data == nullptr ? target : HadamardGradient<T>{target.data + by, target.add};
}
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/hadamard.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The kernels of the table. One vector holds consecutive entries of a row; `count` is known where it is
/// whole.
template <class T> struct Hadamard {
  template <class F> static HWY_INLINE void for_row(Index columns, const F& f) {
    const Index step = lanes<T>();
    Index j = 0;
    for (; j + step <= columns; j += step) f(j, step);
    if (j < columns) f(j, columns - j);
  }

  static void columns(HadamardPiece p, const T* u, const T* v, T* w) {
    for (Index i = 0; i < p.rows; ++i, u += p.stride, w += p.stride) {
      for_row(p.columns, [&](Index j, Index count) HWY_ATTR {
        store_upto<T>(hn::Mul(load_upto<T>(u + j, count), load_upto<T>(v + j, count)), w + j, count);
      });
    }
  }

  static void rows(HadamardPiece p, const T* u, const T* v, T* w) {
    for (Index i = 0; i < p.rows; ++i, u += p.stride, w += p.stride) {
      const Vector<T> gate = hn::Set(Tag<T>(), v[i]);
      for_row(p.columns, [&](Index j, Index count) HWY_ATTR {
        store_upto<T>(hn::Mul(load_upto<T>(u + j, count), gate), w + j, count);
      });
    }
  }

  /// Leaves the gradients of `block` rows in one vector of columns: the more rows, the less often the sums of
  /// the columns, which are in memory, are loaded and stored.
  template <Index block>
  static HWY_INLINE void columns_vector(HadamardPiece p, const T* gw, const T* u, const T* v,
                                        HadamardGradient<T> gu, HadamardGradient<T> gv, Index count) {
    const Vector<T> gate = load_upto<T>(v, count);
    Vector<T> sum = hn::Zero(Tag<T>());
    for (Index i = 0; i < block; ++i) {
      const Index at = i * p.stride;
      const Vector<T> g = load_upto<T>(gw + at, count);
      if (gv.data != nullptr) sum = hn::MulAdd(g, load_upto<T>(u + at, count), sum);
      if (gu.data != nullptr) store_or_add<T>(hn::Mul(g, gate), gu.data + at, count, gu.add);
    }
    if (gv.data != nullptr) store_or_add<T>(sum, gv.data, count, gv.add);
  }

  template <Index block>
  static HWY_INLINE void columns_block(HadamardPiece p, const T* gw, const T* u, const T* v,
                                       HadamardGradient<T> gu, HadamardGradient<T> gv) {
    for_row(p.columns, [&](Index j, Index count) HWY_ATTR {
      columns_vector<block>(p, gw + j, u + j, v + j, ahead(gu, j), ahead(gv, j), count);
    });
  }

  /// The rows one after the other, which is how the sums of a few are taken.
  static void few_rows(HadamardPiece p, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                       HadamardGradient<T> gv) {
    if (p.rows == 0 && gv.data != nullptr && !gv.add) std::fill_n(gv.data, p.columns, T{0});
    for (Index i = 0; i < p.rows;) {
      const bool whole = i + block <= p.rows;
      const Index at = i * p.stride;
      if (whole) {
        columns_block<block>(p, gw + at, u + at, v, ahead(gu, at), gv);
      } else {
        columns_block<1>(p, gw + at, u + at, v, ahead(gu, at), gv);
      }
      gv.add = true;
      i += whole ? block : 1;
    }
  }

  static void columns_gradient(HadamardPiece p, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                               HadamardGradient<T> gv) {
    if (p.rows <= block * sum_plainly || gv.data == nullptr) return few_rows(p, gw, u, v, gu, gv);
    constexpr Index width = 256, run = 16 * block;  // columns and rows at a time
    HWY_ALIGN T part[width], totals[width], rests[width];
    for (Index j = 0; j < p.columns; j += width) {
      const Index count = std::min(width, p.columns - j);
      std::fill_n(totals, width, T{0});
      std::fill_n(rests, width, T{0});
      for (Index i = 0; i < p.rows; i += run) {
        const Index at = i * p.stride + j;
        few_rows({std::min(run, p.rows - i), count, p.stride}, gw + at, u + at, v + j, ahead(gu, at),
                 {part, false});
        for_row(count, [&](Index k, Index some) HWY_ATTR {
          Sum<T> sum{hn::Load(Tag<T>(), totals + k), hn::Load(Tag<T>(), rests + k)};
          sum.add(load_upto<T>(part + k, some));
          hn::Store(sum.total, Tag<T>(), totals + k);
          hn::Store(sum.rest, Tag<T>(), rests + k);
        });
      }
      for_row(count, [&](Index k, Index some) HWY_ATTR {
        store_or_add<T>(hn::Load(Tag<T>(), totals + k), gv.data + j + k, some, gv.add);
      });
    }
  }

  static void rows_gradient(HadamardPiece p, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                            HadamardGradient<T> gv) {
    for (Index i = 0; i < p.rows; ++i) {
      const Vector<T> gate = hn::Set(Tag<T>(), v[i]);
      const Index at = i * p.stride;
      const Vector<T> sums = sum_vectors<T>(p.columns, [&](Vector<T> sum, Index j, Index count) HWY_ATTR {
        const Vector<T> g = load_upto<T>(gw + at + j, count);
        if (gu.data != nullptr) store_or_add<T>(hn::Mul(g, gate), gu.data + at + j, count, gu.add);
        return gv.data == nullptr ? sum : hn::MulAdd(g, load_upto<T>(u + at + j, count), sum);
      });
      if (gv.data == nullptr) continue;
      const T total = hn::GetLane(hn::SumOfLanes(Tag<T>(), sums));
      gv.data[i] = gv.add ? gv.data[i] + total : total;
    }
  }

  /// Calls f(first gate, gates, first column, columns, gates of these columns) for tiles of whole gates, or
  /// of parts of one that is long, with each gate repeated for its columns: so that vectors are full, however
  /// few columns a gate has.
  template <class F> static HWY_INLINE void for_tiles(Index columns, Index inner, const T* v, const F& f) {
    HWY_ALIGN T repeated[tile];
    const Index together = std::max<Index>(1, tile / inner);
    for (Index gate = 0; gate * inner < columns; gate += together) {
      const Index gates = std::min(together, columns / inner - gate), end = (gate + gates) * inner;
      for (Index k = 0; k < gates; ++k) {
        std::fill_n(repeated + k * inner, std::min(inner, tile), v[gate + k]);
      }
      for (Index j = gate * inner; j < end; j += tile) f(gate, gates, j, std::min(tile, end - j), repeated);
    }
  }

  static void blocks(HadamardPiece p, Index inner, const T* u, const T* v, T* w) {
    for_tiles(p.columns, inner, v, [&](Index, Index, Index j, Index count, const T* repeated) HWY_ATTR {
      columns({p.rows, count, p.stride}, u + j, repeated, w + j);
    });
  }

  /// The sums of the columns first, then of the columns of each gate.
  static void blocks_gradient(HadamardPiece p, Index inner, const T* gw, const T* u, const T* v,
                              HadamardGradient<T> gu, HadamardGradient<T> gv) {
    HWY_ALIGN T sums[tile];
    double of_gate = 0;  // of one with several tiles
    const auto put = [&](Index gate, T total) { gv.data[gate] = gv.add ? gv.data[gate] + total : total; };
    for_tiles(p.columns, inner, v,
              [&](Index gate, Index gates, Index j, Index count, const T* repeated) HWY_ATTR {
                columns_gradient({p.rows, count, p.stride}, gw + j, u + j, repeated, ahead(gu, j),
                                 {gv.data == nullptr ? nullptr : sums, false});
                if (gv.data == nullptr) return;
                if (inner > tile) {
                  if (j == gate * inner) of_gate = 0;
                  of_gate += static_cast<double>(sum(sums, count));
                  if (j + count == (gate + 1) * inner) put(gate, static_cast<T>(of_gate));
                  return;
                }
                for (Index k = 0; k < gates; ++k) put(gate + k, sum_of_few(sums + k * inner, inner));
              });
  }

 private:
  static constexpr Index block = 4;    // rows whose sums stay in registers
  static constexpr Index tile = 1024;  // columns whose gates and sums stay in cache

  static HWY_INLINE T sum_of_few(const T* x, Index n) {
    if (n > 16) return sum(x, n);
    T total = x[0];
    for (Index i = 1; i < n; ++i) total += x[i];
    return total;
  }
};

TAPER_KERNELS(HadamardTable, .columns = &Hadamard<T>::columns, .rows = &Hadamard<T>::rows,
              .columns_gradient = &Hadamard<T>::columns_gradient,
              .rows_gradient = &Hadamard<T>::rows_gradient, .blocks = &Hadamard<T>::blocks,
              .blocks_gradient = &Hadamard<T>::blocks_gradient)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(HadamardTable)

namespace {

/// Calls f(first entry, first gate, piece) for pieces that cut no gate's group in two: strips of columns, or,
/// where all entries of a gate are neighbours, of rows. So every sum is made by one thread, and its order
/// does not depend on the pieces.
template <class F> void for_strips(const Gates& of, bool rows, const F& f) {
  const Index stride = rows ? of.inner : of.count * of.inner;
  const auto strip = [&](Index begin, Index end) {
    const Index count = end - begin;
    f(begin * of.inner, begin,
      rows ? HadamardPiece{count, of.inner, stride} : HadamardPiece{of.outer, count * of.inner, stride});
  };
  if (threads() == 1 || of.size() <= 2 * elementwise_piece) return strip(0, of.count);
  // Floats; threads that write to the same cache line wait for each other.
  const Index line = rows ? 1 : (16 + of.inner - 1) / of.inner;
  for_pieces(of.count, std::max(line, elementwise_piece / (of.outer * of.inner) / line * line), strip);
}

/// Gates without entries have no outer ones either.
Gates without_empty(Gates of) {
  return of.inner == 0 ? Gates{1, of.count, 0} : of;
}

}  // namespace

template <class T> void hadamard(Gates gates, const T* u, const T* v, T* w) {
  const Gates of = without_empty(gates);
  const bool rows = of.inner != 1 && of.outer == 1;
  for_strips(of, rows, [&](Index at, Index gate, HadamardPiece piece) {
    if (of.inner == 1) return best<T>().columns(piece, u + at, v + gate, w + at);
    if (rows) return best<T>().rows(piece, u + at, v + gate, w + at);
    best<T>().blocks(piece, of.inner, u + at, v + gate, w + at);
  });
}

template <class T>
void hadamard_gradient(Gates gates, const T* gw, const T* u, const T* v, HadamardGradient<T> gu,
                       HadamardGradient<T> gv) {
  const Gates of = without_empty(gates);
  const bool rows = of.inner != 1 && of.outer == 1;
  for_strips(of, rows, [&](Index at, Index gate, HadamardPiece piece) {
    const HadamardGradient<T> to_u = ahead(gu, at), to_v = ahead(gv, gate);
    if (of.inner == 1) return best<T>().columns_gradient(piece, gw + at, u + at, v + gate, to_u, to_v);
    if (rows) return best<T>().rows_gradient(piece, gw + at, u + at, v + gate, to_u, to_v);
    best<T>().blocks_gradient(piece, of.inner, gw + at, u + at, v + gate, to_u, to_v);
  });
}

#define TAPER_INSTANTIATE(T)                                                                \
  template void hadamard(Gates, const T*, const T*, T*);                                    \
  template void hadamard_gradient(Gates, const T*, const T*, const T*, HadamardGradient<T>, \
                                  HadamardGradient<T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
