#include <taper/autodiff/kernels/binary.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/binary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
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

/// f(a, b). The formulas here and below are those of one number, too (binary.hpp).
template <class T, Binary f> HWY_INLINE Vector<T> value(Vector<T> a, Vector<T> b) {
  if constexpr (f == Binary::add) return hn::Add(a, b);
  if constexpr (f == Binary::sub) return hn::Sub(a, b);
  if constexpr (f == Binary::mul) return hn::Mul(a, b);
  if constexpr (f == Binary::div) return hn::Div(a, b);
  if constexpr (f == Binary::pow) return per_lane<T>(a, b, [](T x, T y) { return std::pow(x, y); });
  // A NaN on either side is the result.
  if constexpr (f == Binary::max) return larger<T>(a, b);
  if constexpr (f == Binary::min) return keep_nan<T>(a, keep_nan<T>(b, hn::Min(a, b)));
}

/// df/da (of = 0) or df/db (1), of which only those that differ are asked for.
template <class T, Binary f, int of> HWY_INLINE Vector<T> slope(Vector<T> a, Vector<T> b) {
  const Vector<T> one = constant<T>(1);
  if constexpr (f == Binary::add) return one;
  if constexpr (f == Binary::sub) return constant<T>(of == 0 ? 1 : -1);
  if constexpr (f == Binary::mul) return b;
  if constexpr (f == Binary::div) return of == 0 ? hn::Div(one, b) : hn::Neg(hn::Div(hn::Div(a, b), b));
  if constexpr (f == Binary::pow) {
    if constexpr (of == 0) {
      return per_lane<T>(a, b, [](T x, T y) { return y == 0 ? T{0} : y * std::pow(x, y - 1); });
    } else {
      return per_lane<T>(a, b,
                         [](T x, T y) { return x == 0 && y >= 0 ? T{0} : std::pow(x, y) * std::log(x); });
    }
  }
  if constexpr (f == Binary::max || f == Binary::min) {
    const Vector<T> chosen = hn::IfThenElse(hn::Eq(a, b), constant<T>(0.5), one);  // where one is a NaN, too
    return hn::IfThenZeroElse(f == Binary::max ? hn::Lt(a, b) : hn::Gt(a, b), chosen);
  }
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
  leave<T>(local, g + whole, rest, add);
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
      [&](Vector<T> total, Index j, Index count) HWY_ATTR { leave<T>(total, g.data + j, count, add); });
}

template <class T>
void forward(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
             T* c) {
  switch (f) {
    case Binary::add:
      return map<T, Binary::add>(rows, columns, a, b, c);
    case Binary::sub:
      return map<T, Binary::sub>(rows, columns, a, b, c);
    case Binary::mul:
      return map<T, Binary::mul>(rows, columns, a, b, c);
    case Binary::div:
      return map<T, Binary::div>(rows, columns, a, b, c);
    case Binary::pow:
      return map<T, Binary::pow>(rows, columns, a, b, c);
    case Binary::max:
      return map<T, Binary::max>(rows, columns, a, b, c);
    case Binary::min:
      return map<T, Binary::min>(rows, columns, a, b, c);
  }
}

template <class T>
void gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
              const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add) {
  // What treats both arguments alike has one derivative, and a difference that of a sum by the first.
  const Strided<const T>& own = of == 0 ? a : b;
  const Strided<const T>& other = of == 0 ? b : a;
  switch (f) {
    case Binary::add:
      return map_gradient<T, Binary::add, 0>(rows, columns, own, other, gc, g, add);
    case Binary::sub:
      return of == 0 ? map_gradient<T, Binary::add, 0>(rows, columns, a, b, gc, g, add)
                     : map_gradient<T, Binary::sub, 1>(rows, columns, a, b, gc, g, add);
    case Binary::mul:
      return map_gradient<T, Binary::mul, 0>(rows, columns, own, other, gc, g, add);
    case Binary::div:
      return of == 0 ? map_gradient<T, Binary::div, 0>(rows, columns, a, b, gc, g, add)
                     : map_gradient<T, Binary::div, 1>(rows, columns, a, b, gc, g, add);
    case Binary::pow:
      return of == 0 ? map_gradient<T, Binary::pow, 0>(rows, columns, a, b, gc, g, add)
                     : map_gradient<T, Binary::pow, 1>(rows, columns, a, b, gc, g, add);
    case Binary::max:
      return map_gradient<T, Binary::max, 0>(rows, columns, own, other, gc, g, add);
    case Binary::min:
      return map_gradient<T, Binary::min, 0>(rows, columns, own, other, gc, g, add);
  }
}

void binary_f32(Binary f, Index rows, Index columns, const Strided<const float>& a,
                const Strided<const float>& b, float* c) {
  forward(f, rows, columns, a, b, c);
}
void binary_f64(Binary f, Index rows, Index columns, const Strided<const double>& a,
                const Strided<const double>& b, double* c) {
  forward(f, rows, columns, a, b, c);
}
void binary_gradient_f32(Binary f, int of, Index rows, Index columns, const Strided<const float>& a,
                         const Strided<const float>& b, const float* gc, const Strided<float>& g, bool add) {
  gradient(f, of, rows, columns, a, b, gc, g, add);
}
void binary_gradient_f64(Binary f, int of, Index rows, Index columns, const Strided<const double>& a,
                         const Strided<const double>& b, const double* gc, const Strided<double>& g,
                         bool add) {
  gradient(f, of, rows, columns, a, b, gc, g, add);
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(binary_f32);
HWY_EXPORT(binary_f64);
HWY_EXPORT(binary_gradient_f32);
HWY_EXPORT(binary_gradient_f64);

namespace {

template <class T>
void map_rows(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b,
              T* c) {
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(binary_f32)(f, rows, columns, a, b, c);
  } else {
    HWY_DYNAMIC_DISPATCH(binary_f64)(f, rows, columns, a, b, c);
  }
}

template <class T>
void map_rows_gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
                       const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add) {
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(binary_gradient_f32)(f, of, rows, columns, a, b, gc, g, add);
  } else {
    HWY_DYNAMIC_DISPATCH(binary_gradient_f64)(f, of, rows, columns, a, b, gc, g, add);
  }
}

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
  if (rows * columns <= 2 * elementwise_piece) return map_rows(f, rows, columns, a, b, c);
  if (rows == 1) {
    const Index whole = columns / elementwise_piece, done = whole * elementwise_piece;
    binary(f, whole, elementwise_piece, cut(a), cut(b), c);
    binary(f, 1, columns - done, ahead(a, 0, done), ahead(b, 0, done), c + done);
    return;
  }
  for_pieces(rows, std::max<Index>(1, elementwise_piece / columns), [&](Index begin, Index end) {
    map_rows(f, end - begin, columns, ahead(a, begin, 0), ahead(b, begin, 0), c + begin * columns);
  });
}

template <class T>
void binary_gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
                     const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add) {
  if (rows == 0 || columns == 0) return;
  if (rows * columns <= 2 * elementwise_piece)
    return map_rows_gradient(f, of, rows, columns, a, b, gc, g, add);
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
    map_rows_gradient(f, of, end - begin, columns, ahead(a, begin, 0), ahead(b, begin, 0),
                      gc + begin * columns, ahead(g, begin, 0), add);
  });
}

template void binary(Binary, Index, Index, const Strided<const float>&, const Strided<const float>&, float*);
template void binary(Binary, Index, Index, const Strided<const double>&, const Strided<const double>&,
                     double*);
template void binary_gradient(Binary, int, Index, Index, const Strided<const float>&,
                              const Strided<const float>&, const float*, const Strided<float>&, bool);
template void binary_gradient(Binary, int, Index, Index, const Strided<const double>&,
                              const Strided<const double>&, const double*, const Strided<double>&, bool);

}  // namespace taper::kernels
#endif
