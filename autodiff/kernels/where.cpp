#include <taper/autodiff/kernels/where.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_WHERE_TABLE  // once, before the targets
#define TAPER_WHERE_TABLE
namespace taper::kernels {
template <class T> struct WhereTable {
  void (*row)(Index n, const Strided<const T>& condition, const Strided<const T>& a,
              const Strided<const T>& b, T* y);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/where.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

template <class T>
void where_row(Index n, const Strided<const T>& condition, const Strided<const T>& a,
               const Strided<const T>& b, T* y) {
  const auto at = [](const Strided<const T>& x, Index i, Index count) HWY_ATTR {
    return x.column == 0 ? hn::Set(Tag<T>(), *x.data) : load_upto<T>(x.data + i, count);
  };
  for_vectors<T>(n, [&](Index i, Index count) HWY_ATTR {
    const auto not_chosen = hn::Eq(at(condition, i, count), hn::Zero(Tag<T>()));
    store_upto<T>(hn::IfThenElse(not_chosen, at(b, i, count), at(a, i, count)), y + i, count);
  });
}

TAPER_KERNELS(WhereTable, &where_row<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(WhereTable)

template <class T>
void where(Index rows, Index columns, const Strided<const T>& condition, const Strided<const T>& a,
           const Strided<const T>& b, T* y) {
  const auto from = [](const Strided<const T>& x, Index i, Index j) {
    return Strided<const T>{x.data + i * x.row + j * x.column, x.row, x.column};
  };
  if (rows == 1) {
    return for_numbers(columns, cheap, [&](Index begin, Index end) {
      best<T>().row(end - begin, from(condition, 0, begin), from(a, 0, begin), from(b, 0, begin), y + begin);
    });
  }
  for_slices(rows, columns, [&](Index i) {
    best<T>().row(columns, from(condition, i, 0), from(a, i, 0), from(b, i, 0), y + i * columns);
  });
}

#define TAPER_INSTANTIATE(T)                                                          \
  template void where(Index, Index, const Strided<const T>&, const Strided<const T>&, \
                      const Strided<const T>&, T*);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
