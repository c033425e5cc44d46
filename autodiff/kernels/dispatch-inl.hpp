#pragma once

// How a kernel is found for the instruction set of this machine, in float and in double. Highway compiles a
// kernel file once for each instruction set. Before these targets, the file declares the functions that it
// has for one scalar on one target, as pointers:
//
//     template <class T> struct UnaryTable { void (*forward)(Unary f, Index n, ...); ... };
//
// In each target it writes them and fills the table, in the order of its members:
//
//     TAPER_KERNELS(UnaryTable, &forward<T>, &gradient<T>)
//
// Behind HWY_ONCE, TAPER_DISPATCH(UnaryTable) defines best<T>(), the table for this machine. A kernel that
// exists for one scalar alone is exported to Highway as it is.

#define TAPER_KERNELS(Table, ...)                                \
  template <class T> constexpr Table<T> Table##_of{__VA_ARGS__}; \
  const Table<float>* Table##_f32() {                            \
    return &Table##_of<float>;                                   \
  }                                                              \
  const Table<double>* Table##_f64() {                           \
    return &Table##_of<double>;                                  \
  }

#define TAPER_DISPATCH(Table)                      \
  HWY_EXPORT(Table##_f32);                         \
  HWY_EXPORT(Table##_f64);                         \
  namespace {                                      \
  template <class T> const Table<T>& best() {      \
    if constexpr (std::is_same_v<T, float>) {      \
      return *HWY_DYNAMIC_DISPATCH(Table##_f32)(); \
    } else {                                       \
      return *HWY_DYNAMIC_DISPATCH(Table##_f64)(); \
    }                                              \
  }                                                \
  }
