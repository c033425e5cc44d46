#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// The functions of two elements, which binary-list.hpp describes.
enum class Binary {
#define TAPER_BINARY(name, ...) name,
#define TAPER_BINARY_SYMMETRIC(name, ...) name,
#include <taper/autodiff/kernels/binary-list.hpp>
};

/// A matrix that may stand for a larger one: entry (i, j) is data[i * row + j * column], with a stride of
/// zero where one row, one column or one number serves for all. `column` is 0 or 1.
template <class T> struct Strided {
  T* data;
  Index row;
  Index column;
};

/// c = f(a, b) for rows x columns; c is contiguous.
template <class T>
void binary(Binary f, Index rows, Index columns, const Strided<const T>& a, const Strided<const T>& b, T* c);

/// The gradient for the first (`of` = 0) or second (1) argument: g = gc df/da, summed over what the argument
/// is repeated along. With `add` it is added to g; without, it replaces g, which must not be repeated then.
template <class T>
void binary_gradient(Binary f, int of, Index rows, Index columns, const Strided<const T>& a,
                     const Strided<const T>& b, const T* gc, const Strided<T>& g, bool add);

/// One number, for which the way to a loop takes longer than the operation. The formulas are those of the
/// loops (binary-list.hpp), and arithmetic is rounded alike in registers of any width: this changes no bit,
/// unless a compiler for one machine only makes one instruction of a product and a sum.
namespace scalar {

/// The functions that are here.
constexpr bool is_arithmetic(Binary f) {
  return f == Binary::add || f == Binary::sub || f == Binary::mul || f == Binary::div;
}

/// f(a, b).
template <class T> constexpr T value(Binary f, T a, T b) {
  return f == Binary::add ? a + b : f == Binary::sub ? a - b : f == Binary::mul ? a * b : a / b;
}

/// df/da (of = 0) or df/db (1).
template <class T> constexpr T slope(Binary f, int of, T a, T b) {
  if (f == Binary::mul) return of == 0 ? b : a;
  if (f == Binary::div) return of == 0 ? 1 / b : -(a / b / b);
  return f == Binary::sub && of == 1 ? T{-1} : T{1};
}

}  // namespace scalar

/// c = f(a, b) for n elements each.
template <class T> inline void binary(Binary f, Index n, const T* a, const T* b, T* c) {
  if (n == 1 && scalar::is_arithmetic(f)) {
    *c = scalar::value(f, *a, *b);
  } else {
    binary<T>(f, 1, n, {a, 0, 1}, {b, 0, 1}, c);
  }
}

/// g = gc * df/da (of = 0) or gc * df/db (of = 1) for n elements each, or added to g. It may lie where gc
/// does.
template <class T>
inline void binary_gradient(Binary f, int of, Index n, const T* a, const T* b, const T* gc, T* g, bool add) {
  if (n == 1 && scalar::is_arithmetic(f)) {
    const T local = *gc * scalar::slope(f, of, *a, *b);
    *g = add ? *g + local : local;
  } else {
    binary_gradient<T>(f, of, 1, n, {a, 0, 1}, {b, 0, 1}, gc, {g, 0, 1}, add);
  }
}

}  // namespace taper::kernels
