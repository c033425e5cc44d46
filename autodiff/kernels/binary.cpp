#include <taper/autodiff/kernels/binary.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_BINARY_TABLE  // once, before the targets
#define TAPER_BINARY_TABLE
namespace taper::kernels {
template <class T> struct BinaryTable {
  void (*forward)(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
                  T* c);
  void (*gradient)(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
                   const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/binary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Applies a scalar function of two arguments to each lane.
template <class T, class F> HWY_NOINLINE Vector<T> per_lane(Vector<T> x, Vector<T> y, const F& f) {
  const Tag<T> d;
  HWY_ALIGN T left[hn::MaxLanes(d)];
  HWY_ALIGN T right[hn::MaxLanes(d)];
  hn::Store(x, d, left);
  hn::Store(y, d, right);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) left[i] = f(left[i], right[i]);
  return hn::Load(d, left);
}

/// 1/2 where both are equal, 1 elsewhere, also where one is a NaN.
template <class T> HWY_INLINE Vector<T> half_if_equal(Vector<T> a, Vector<T> b) {
  return hn::IfThenElse(hn::Eq(a, b), constant<T>(0.5), constant<T>(1));
}

/// One function and its derivatives. Symmetric functions have one, as df/db(a, b) = df/da(b, a).
template <class T, Binary f> struct Function;

#define TAPER_BINARY(name, operation, zero, domain, value_of_ab, slope_a, slope_b) \
  TAPER_FUNCTION(name, value_of_ab, slope_a, slope_b, false)
#define TAPER_BINARY_SYMMETRIC(name, operation, zero, domain, value_of_ab, slope_a) \
  TAPER_FUNCTION(name, value_of_ab, slope_a, slope_a, true)
#define TAPER_FUNCTION(name, value_of_ab, slope_a, slope_b, is_symmetric)                     \
  template <class T> struct Function<T, Binary::name> {                                       \
    using V = Vector<T>;                                                                      \
    static constexpr bool symmetric = is_symmetric;                                           \
    static HWY_INLINE V value(V a, V b) { return value_of_ab; }                               \
    template <int of> static HWY_INLINE V slope([[maybe_unused]] V a, [[maybe_unused]] V b) { \
      [[maybe_unused]] const V one = constant<T>(1);                                          \
      if constexpr (of == 0) {                                                                \
        return slope_a;                                                                       \
      } else {                                                                                \
        return slope_b;                                                                       \
      }                                                                                       \
    }                                                                                         \
  };
#include <taper/autodiff/kernels/binary-list.hpp>
#undef TAPER_FUNCTION

template <class T, Binary f> HWY_INLINE Vector<T> value(Vector<T> a, Vector<T> b) {
  return Function<T, f>::value(a, b);
}

/// df/da (of = 0) or df/db (1).
template <class T, Binary f, int of> HWY_INLINE Vector<T> slope(Vector<T> a, Vector<T> b) {
  return Function<T, f>::template slope<of>(a, b);
}

/// A row of an argument that is read vector by vector. One number that stands for a whole row fills a vector,
/// which is then read again and again: so one loop serves for all.
template <class T> struct Row {
  HWY_ALIGN T filled[hn::MaxLanes(Tag<T>())];
  const T* data;
  Index step;

  HWY_INLINE Row(const Strided<const T>& a, Index i) : data(a.data + i * a.row), step(lanes<T>()) {
    if (a.column != 0) return;
    hn::Store(hn::Set(Tag<T>(), *data), Tag<T>(), filled);
    data = filled, step = 0;
  }
};

template <class T, Binary f>
void map(Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b, T* c) {
  const Index step = lanes<T>(), whole = columns - columns % step, rest = columns - whole;
  for (Index i = 0; i < rows; ++i, c += columns) {
    const Row<T> left(a, i), right(b, i);
    const T* p = left.data;
    const T* q = right.data;
#pragma GCC unroll 4
    for (Index j = 0; j < whole; j += step, p += left.step, q += right.step) {
      store<T>(value<T, f>(load<T>(p), load<T>(q)), c + j);
    }
    if (rest > 0) store_some<T>(value<T, f>(load_some<T>(p, rest), load_some<T>(q, rest)), c + whole, rest);
  }
}

/// g = gc df/da or df/db for one row, or added to g.
template <class T, Binary f, int of>
HWY_NOINLINE void row_gradient(Index columns, const Row<T>& left, const Row<T>& right, const T* gc, T* g,
                               bool add) {
  const Index step = lanes<T>(), whole = columns - columns % step, rest = columns - whole;
  const T* p = left.data;
  const T* q = right.data;
#pragma GCC unroll 2
  for (Index j = 0; j < whole; j += step, p += left.step, q += right.step) {
    const Vector<T> local = hn::Mul(load<T>(gc + j), slope<T, f, of>(load<T>(p), load<T>(q)));
    store<T>(add ? hn::Add(load<T>(g + j), local) : local, g + j);
  }
  if (rest == 0) return;
  // Idle lanes may hold 0 * infinity, from a division by the zeros that fill them.
  const Vector<T> local = only<T>(
      hn::Mul(load_some<T>(gc + whole, rest), slope<T, f, of>(load_some<T>(p, rest), load_some<T>(q, rest))),
      rest);
  store_or_add<T>(local, g + whole, rest, add);
}

/// The sum over one row of gc df/da or df/db.
template <class T, Binary f, int of>
HWY_NOINLINE T row_total(Index columns, const Row<T>& left, const Row<T>& right, const T* gc) {
  const T* p = left.data;
  const T* q = right.data;
  const Vector<T> total = sum_vectors<T>(columns, [&](Vector<T> sum, Index j, Index count) HWY_ATTR {
    const T* const x = left.step == 0 ? p : p + j;
    const T* const y = right.step == 0 ? q : q + j;
    if (count == lanes<T>()) return hn::MulAdd(load<T>(gc + j), slope<T, f, of>(load<T>(x), load<T>(y)), sum);
    const Vector<T> last = slope<T, f, of>(load_some<T>(x, count), load_some<T>(y, count));
    return hn::Add(sum, only<T>(hn::Mul(load_some<T>(gc + j, count), last), count));
  });
  return hn::GetLane(hn::SumOfLanes(Tag<T>(), total));
}

/// One vector of an argument, or its first `count` lanes.
template <class T>
HWY_INLINE Vector<T> load_strided(const Strided<const T>& a, Index i, Index j, Index count) {
  const T* const p = a.data + i * a.row + j * a.column;
  return a.column == 0 ? hn::Set(Tag<T>(), *p) : load_upto<T>(p, count);
}

template <class T, Binary f, int of>
void map_gradient(Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
                  const T* gc, const Strided<T>& g, bool add) {
  if (g.column == 0 && g.row == 0) {
    double total = 0;
    for (Index i = 0; i < rows; ++i) {
      total +=
          static_cast<double>(row_total<T, f, of>(columns, Row<T>(a, i), Row<T>(b, i), gc + i * columns));
    }
    *g.data = add ? static_cast<T>(static_cast<double>(*g.data) + total) : static_cast<T>(total);
    return;
  }
  if (g.column == 0) {
    for (Index i = 0; i < rows; ++i) {
      T& target = g.data[i * g.row];
      const T total = row_total<T, f, of>(columns, Row<T>(a, i), Row<T>(b, i), gc + i * columns);
      target = add ? target + total : total;
    }
    return;
  }
  if (g.row != 0 || rows == 1) {
    for (Index i = 0; i < rows; ++i) {
      row_gradient<T, f, of>(columns, Row<T>(a, i), Row<T>(b, i), gc + i * columns, g.data + i * g.row, add);
    }
    return;
  }
  sum_rows<T>(
      rows, columns,
      [&](Index begin, Index end, Index j, Index count) HWY_ATTR {
        Vector<T> total = hn::Zero(Tag<T>());
        for (Index i = begin; i < end; ++i) {
          const Vector<T> local = slope<T, f, of>(load_strided(a, i, j, count), load_strided(b, i, j, count));
          total = hn::MulAdd(load_upto<T>(gc + i * columns + j, count), local, total);
        }
        return total;
      },
      [&](Vector<T> total, Index j, Index count)
          HWY_ATTR { store_or_add<T>(total, g.data + j, count, add); });
}

template <class T>
void forward(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
             T* c) {
  switch (f) {
#define TAPER_BINARY(name, ...) \
  case Binary::name:            \
    return map<T, Binary::name>(rows, columns, a, b, c);
#define TAPER_BINARY_SYMMETRIC(name, ...) TAPER_BINARY(name)
#include <taper/autodiff/kernels/binary-list.hpp>
  }
}

template <class T, Binary f>
void gradient_of(int of, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
                 const T* gc, const Strided<T>& g, bool add) {
  if (of == 0) {
    map_gradient<T, f, 0>(rows, columns, a, b, gc, g, add);
  } else if constexpr (Function<T, f>::symmetric) {
    map_gradient<T, f, 0>(rows, columns, b, a, gc, g, add);
  } else {
    map_gradient<T, f, 1>(rows, columns, a, b, gc, g, add);
  }
}

template <class T>
void gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
              const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add) {
  switch (f) {
#define TAPER_BINARY(name, ...) \
  case Binary::name:            \
    return gradient_of<T, Binary::name>(of, rows, columns, a, b, gc, g, add);
#define TAPER_BINARY_SYMMETRIC(name, ...) TAPER_BINARY(name)
#include <taper/autodiff/kernels/binary-list.hpp>
  }
}

TAPER_KERNELS(BinaryTable, &forward<T>, &gradient<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(BinaryTable)

namespace {

template <class T> Strided<T> ahead(const Strided<T>& x, Index rows, Index columns) {
  return {x.data + rows * x.row + columns * x.column, x.row, x.column};
}

/// One long row as rows of one piece each.
template <class T> Strided<T> cut(const Strided<T>& x) {
  return {x.data, elementwise_piece * x.column, x.column};
}

}  // namespace

template <class T>
void binary(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b, T* c) {
  if (rows == 0 || columns == 0) return;
  if (rows * columns <= 2 * elementwise_piece) return best<T>().forward(f, rows, columns, a, b, c);
  if (rows == 1) {
    const Index whole = columns / elementwise_piece, done = whole * elementwise_piece;
    binary(f, whole, elementwise_piece, cut(a), cut(b), c);
    binary(f, 1, columns - done, ahead(a, 0, done), ahead(b, 0, done), c + done);
    return;
  }
  for_pieces(rows, std::max<Index>(1, elementwise_piece / columns), [&](Index begin, Index end) {
    best<T>().forward(f, end - begin, columns, ahead(a, begin, 0), ahead(b, begin, 0), c + begin * columns);
  });
}

template <class T>
void binary_gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
                     const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add) {
  if (rows == 0 || columns == 0) return;
  if (rows * columns <= 2 * elementwise_piece)
    return best<T>().gradient(f, of, rows, columns, a, b, gc, g, add);
  if (rows == 1) {
    const Index whole = columns / elementwise_piece, done = whole * elementwise_piece;
    binary_gradient(f, of, whole, elementwise_piece, cut(a), cut(b), gc, cut(g), add);
    binary_gradient(f, of, 1, columns - done, ahead(a, 0, done), ahead(b, 0, done), gc + done,
                    ahead(g, 0, done), add || g.column == 0);
    return;
  }
  // Rows that share a target are summed one after the other; only rows with their own can be split up.
  const Index piece = g.row == 0 ? rows : std::max<Index>(1, elementwise_piece / columns);
  for_pieces(rows, piece, [&](Index begin, Index end) {
    best<T>().gradient(f, of, end - begin, columns, ahead(a, begin, 0), ahead(b, begin, 0),
                       gc + begin * columns, ahead(g, begin, 0), add);
  });
}

#define TAPER_INSTANTIATE(T)                                                                                 \
  template void binary(Binary, Index, Index, const Strided<const T>&, const Strided<const T>&, T*);          \
  template void binary_gradient(Binary, int, Index, Index, const Strided<const T>&, const Strided<const T>&, \
                                const T*, const Strided<T>&, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
