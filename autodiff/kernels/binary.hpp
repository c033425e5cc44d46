#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// Functions of two numbers. Where one is not smooth, the derivative used is the one in brackets.
enum class Binary {
  add,
  sub,
  mul,
  div,
  pow,
  max,  ///< [one half to each side when they are equal]
  min,  ///< [likewise]
};

/// c = f(a, b) for n numbers each.
template <class T> void binary(Binary f, Index n, const T* a, const T* b, T* c);

/// g = gc * df/da (of = 0) or gc * df/db (of = 1) for n numbers each, or added to g. It may lie where gc
/// does.
template <class T>
void binary_gradient(Binary f, int of, Index n, const T* a, const T* b, const T* gc, T* g, bool add);

/// A matrix that may stand for a larger one: entry (i, j) is data[i * row + j * column], with a stride of
/// zero where one row, one column or one number serves for all. `column` is 0 or 1.
template <class T> struct Strided {
  T* data;
  Index row;
  Index column;
};

/// c = f(a, b) for rows x columns; c is contiguous.
template <class T>
void binary(Binary f, Index rows, Index columns, Strided<const T> a, Strided<const T> b, T* c);

/// The gradient for the first (`of` = 0) or second (1) argument: g = gc df/da, summed over what the argument
/// is repeated along. With `add` it is added to g; without, it replaces g, which must not be repeated then.
template <class T>
void binary_gradient(Binary f, int of, Index rows, Index columns, Strided<const T> a, Strided<const T> b,
                     const T* gc, Strided<T> g, bool add);

}  // namespace taper::kernels
