#include <taper/autodiff/kernels/binary.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/binary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Two-argument power, lane by lane.
template <class T, class F> HWY_INLINE Vector<T> per_lane(Vector<T> x, Vector<T> y, const F& f) {
  const Tag<T> d;
  HWY_ALIGN T left[hn::MaxLanes(d)];
  HWY_ALIGN T right[hn::MaxLanes(d)];
  hn::Store(x, d, left);
  hn::Store(y, d, right);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) left[i] = f(left[i], right[i]);
  return hn::Load(d, left);
}

template <class T, Binary f> HWY_INLINE Vector<T> value(Vector<T> a, Vector<T> b) {
  if constexpr (f == Binary::add) return hn::Add(a, b);
  if constexpr (f == Binary::sub) return hn::Sub(a, b);
  if constexpr (f == Binary::mul) return hn::Mul(a, b);
  if constexpr (f == Binary::div) return hn::Div(a, b);
  if constexpr (f == Binary::pow) return per_lane<T>(a, b, [](T x, T y) { return std::pow(x, y); });
  // A NaN on either side is the result.
  if constexpr (f == Binary::max) return keep_nan<T>(a, keep_nan<T>(b, hn::Max(a, b)));
  if constexpr (f == Binary::min) return keep_nan<T>(a, keep_nan<T>(b, hn::Min(a, b)));
}

/// df/da (of = 0) or df/db (1).
template <class T, Binary f, int of> HWY_INLINE Vector<T> slope(Vector<T> a, Vector<T> b) {
  const Vector<T> one = constant<T>(1);
  if constexpr (f == Binary::add) return one;
  if constexpr (f == Binary::sub) return constant<T>(of == 0 ? 1 : -1);
  if constexpr (f == Binary::mul) return of == 0 ? b : a;
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
    constexpr bool first = (f == Binary::max) == (of == 0);  // whether this side wins by being larger
    const Vector<T> equal = hn::IfThenElseZero(hn::Eq(a, b), constant<T>(0.5));
    return hn::IfThenElse(first ? hn::Gt(a, b) : hn::Lt(a, b), one, equal);
  }
}

/// A row of an argument: a run of numbers, or one number standing for a run.
template <class T> struct Row {
  const T* data;
  bool repeated;

  HWY_INLINE Vector<T> at(Index i) const { return repeated ? hn::Set(Tag<T>(), *data) : load<T>(data + i); }
  HWY_INLINE Vector<T> some(Index i, Index count) const {
    return repeated ? hn::Set(Tag<T>(), *data) : load_some<T>(data + i, count);
  }
};

template <class T> HWY_INLINE Row<T> row(Strided<const T> a, Index i) {
  return {a.data + i * a.row, a.column == 0};
}

template <class T, Binary f>
void map(Index rows, Index columns, Strided<const T> a, Strided<const T> b, T* c) {
  const Index step = lanes<T>();
  for (Index i = 0; i < rows; ++i, c += columns) {
    const Row<T> left = row(a, i), right = row(b, i);
    Index j = 0;
    for (; j + step <= columns; j += step) store<T>(value<T, f>(left.at(j), right.at(j)), c + j);
    if (j == columns) continue;
    const Index rest = columns - j;
    store_some<T>(value<T, f>(left.some(j, rest), right.some(j, rest)), c + j, rest);
  }
}

template <class T, Binary f, int of>
void map_gradient(Index rows, Index columns, Strided<const T> a, Strided<const T> b, const T* gc,
                  Strided<T> g, bool add) {
  const Tag<T> d;
  const Index step = lanes<T>();
  for (Index i = 0; i < rows; ++i, gc += columns) {
    const Row<T> left = row(a, i), right = row(b, i);
    T* const target = g.data + i * g.row;
    Vector<T> total = hn::Zero(d);
    for (Index j = 0; j < columns; j += step) {
      const Index rest = columns - j;
      Vector<T> local;
      if (rest >= step) {
        local = hn::Mul(load<T>(gc + j), slope<T, f, of>(left.at(j), right.at(j)));
      } else {
        local = hn::Mul(load_some<T>(gc + j, rest), slope<T, f, of>(left.some(j, rest), right.some(j, rest)));
        // Idle lanes may hold 0 * infinity, from a division by the zeros that fill them.
        local = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(rest)), local);
      }
      if (g.column == 0) {
        total = hn::Add(total, local);
      } else if (rest >= step) {
        store<T>(add ? hn::Add(load<T>(target + j), local) : local, target + j);
      } else {
        store_some<T>(add ? hn::Add(load_some<T>(target + j, rest), local) : local, target + j, rest);
      }
    }
    if (g.column == 0) {
      const T sum = hn::GetLane(hn::SumOfLanes(d, total));
      *target = add ? *target + sum : sum;
    }
  }
}

/// Calls `use` with the function as a compile-time constant.
template <class Use> HWY_INLINE void choose(Binary f, const Use& use) {
  switch (f) {
#define TAPER_CASE(name) \
  case Binary::name:     \
    return use(std::integral_constant<Binary, Binary::name>());
    TAPER_CASE(add)
    TAPER_CASE(sub)
    TAPER_CASE(mul)
    TAPER_CASE(div)
    TAPER_CASE(pow)
    TAPER_CASE(max)
    TAPER_CASE(min)
#undef TAPER_CASE
  }
}

template <class T>
void forward(Binary f, Index rows, Index columns, Strided<const T> a, Strided<const T> b, T* c) {
  choose(f, [&](auto name) { map<T, name()>(rows, columns, a, b, c); });
}

template <class T>
void gradient(Binary f, int of, Index rows, Index columns, Strided<const T> a, Strided<const T> b,
              const T* gc, Strided<T> g, bool add) {
  choose(f, [&](auto name) {
    if (of == 0) {
      map_gradient<T, name(), 0>(rows, columns, a, b, gc, g, add);
    } else {
      map_gradient<T, name(), 1>(rows, columns, a, b, gc, g, add);
    }
  });
}

void binary_f32(Binary f, Index rows, Index columns, Strided<const float> a, Strided<const float> b,
                float* c) {
  forward(f, rows, columns, a, b, c);
}
void binary_f64(Binary f, Index rows, Index columns, Strided<const double> a, Strided<const double> b,
                double* c) {
  forward(f, rows, columns, a, b, c);
}
void binary_gradient_f32(Binary f, int of, Index rows, Index columns, Strided<const float> a,
                         Strided<const float> b, const float* gc, Strided<float> g, bool add) {
  gradient(f, of, rows, columns, a, b, gc, g, add);
}
void binary_gradient_f64(Binary f, int of, Index rows, Index columns, Strided<const double> a,
                         Strided<const double> b, const double* gc, Strided<double> g, bool add) {
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

template <class T>
void binary(Binary f, Index rows, Index columns, Strided<const T> a, Strided<const T> b, T* c) {
  if (rows == 0 || columns == 0) return;
  if (rows == 1 && columns > elementwise_piece) {  // one long run: cut it into rows
    const Index whole = columns / elementwise_piece, done = whole * elementwise_piece;
    const auto rest = [&](auto x) { return decltype(x){x.data + done * x.column, 0, x.column}; };
    const auto cut = [&](auto x) { return decltype(x){x.data, elementwise_piece * x.column, x.column}; };
    binary(f, whole, elementwise_piece, cut(a), cut(b), c);
    binary(f, 1, columns - done, rest(a), rest(b), c + done);
    return;
  }
  const Index piece = std::max<Index>(1, elementwise_piece / columns);
  for_pieces(rows, piece, [&](Index begin, Index end) {
    const Strided<const T> left{a.data + begin * a.row, a.row, a.column};
    const Strided<const T> right{b.data + begin * b.row, b.row, b.column};
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(binary_f32)(f, end - begin, columns, left, right, c + begin * columns);
    } else {
      HWY_DYNAMIC_DISPATCH(binary_f64)(f, end - begin, columns, left, right, c + begin * columns);
    }
  });
}

template <class T>
void binary_gradient(Binary f, int of, Index rows, Index columns, Strided<const T> a, Strided<const T> b,
                     const T* gc, Strided<T> g, bool add) {
  if (rows == 0 || columns == 0) return;
  if (rows == 1 && columns > elementwise_piece) {  // one long run: cut it into rows
    const Index whole = columns / elementwise_piece, done = whole * elementwise_piece;
    const auto rest = [&](auto x) { return decltype(x){x.data + done * x.column, 0, x.column}; };
    const auto cut = [&](auto x) { return decltype(x){x.data, elementwise_piece * x.column, x.column}; };
    binary_gradient(f, of, whole, elementwise_piece, cut(a), cut(b), gc, cut(g), add);
    binary_gradient(f, of, 1, columns - done, rest(a), rest(b), gc + done, rest(g), add || g.column == 0);
    return;
  }
  // Rows that share a target are summed one after the other; only rows with their own can be split up.
  const Index piece = g.row == 0 ? rows : std::max<Index>(1, elementwise_piece / columns);
  for_pieces(rows, piece, [&](Index begin, Index end) {
    const Strided<const T> left{a.data + begin * a.row, a.row, a.column};
    const Strided<const T> right{b.data + begin * b.row, b.row, b.column};
    const Strided<T> target{g.data + begin * g.row, g.row, g.column};
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(binary_gradient_f32)
      (f, of, end - begin, columns, left, right, gc + begin * columns, target, add);
    } else {
      HWY_DYNAMIC_DISPATCH(binary_gradient_f64)
      (f, of, end - begin, columns, left, right, gc + begin * columns, target, add);
    }
  });
}

template void binary(Binary, Index, Index, Strided<const float>, Strided<const float>, float*);
template void binary(Binary, Index, Index, Strided<const double>, Strided<const double>, double*);
template void binary_gradient(Binary, int, Index, Index, Strided<const float>, Strided<const float>,
                              const float*, Strided<float>, bool);
template void binary_gradient(Binary, int, Index, Index, Strided<const double>, Strided<const double>,
                              const double*, Strided<double>, bool);

}  // namespace taper::kernels
#endif
