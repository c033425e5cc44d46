#include <taper/autodiff/kernels/patches.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_PATCHES_TABLE  // once, before the targets
#define TAPER_PATCHES_TABLE
namespace taper::kernels {
template <class T> struct PatchesTable {
  Index (*room)(const Band& band);
  void (*read)(const Band& band, const T* image, T* matrix);
  void (*add)(const Band& band, const T* matrix, T* image);
  void (*activation)(Activation f, Index rows, Index columns, Index stride, const T* y, const T* gy, T* g,
                     T* sums, bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/patches.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/plane-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

template <class T> Index room(const Band& band) {
  return band.taps() * band.windows() + lanes<T>();
}

/// Calls f with the shortest vectors that take `width` elements at once, as few as a quarter of the longest.
template <class T, class F> HWY_INLINE void with_vectors([[maybe_unused]] Index width, const F& f) {
  const Tag<T> whole;
#if HWY_TARGET <= HWY_AVX2
  if (4 * width <= lanes<T>()) return f(hn::Half<hn::Half<Tag<T>>>());
  if (2 * width <= lanes<T>()) return f(hn::Half<Tag<T>>());
#endif
  f(whole);
}

/// Copies `height` rows of `width` elements, which are row_step apart, one behind the other. Whole vectors:
/// what is too much of one is overwritten by the next. On its own, so that all of it stays in registers.
template <class T, class D>
HWY_NOINLINE void copy_rows(D d, Index height, Index width, const T* from, Index row_step, T* to) {
  const Index step = static_cast<Index>(hn::Lanes(d));
  if (width <= step) {
    for (Index o = 0; o < height; ++o, from += row_step, to += width) hn::StoreU(hn::LoadU(d, from), d, to);
    return;
  }
  for (Index o = 0; o < height; ++o, from += row_step, to += width) {
    for (Index p = 0; p < width; p += step) hn::StoreU(hn::LoadU(d, from + p), d, to + p);
  }
}

/// Adds such rows to where they came from.
template <class T, class D>
HWY_NOINLINE void add_rows(D d, Index height, Index width, const T* from, T* to, Index row_step) {
  const Index step = static_cast<Index>(hn::Lanes(d)), whole = width / step * step;
  const auto rest = hn::FirstN(d, static_cast<std::size_t>(width - whole));
  for (Index o = 0; o < height; ++o, from += width, to += row_step) {
    for (Index p = 0; p < whole; p += step)
      hn::StoreU(hn::Add(hn::LoadU(d, to + p), hn::LoadU(d, from + p)), d, to + p);
    if (whole == width) continue;
    hn::StoreU(hn::Add(hn::LoadU(d, to + whole), hn::MaskedLoad(rest, d, from + whole)), d, to + whole);
  }
}

template <class T> void read(const Band& band, const T* image, T* matrix) {
  const Plane<T> plane(band);
  const T* const data = plane.read(image);
  const Index width = band.columns.output();
  with_vectors<T>(width, [&](auto d) HWY_ATTR {
    T* to = matrix;
    for (Index c = 0; c < band.channels; ++c) {
      for (Index i = 0; i < band.rows.kernel; ++i) {
        for (Index j = 0; j < band.columns.kernel; ++j, to += band.windows())
          copy_rows<T>(d, band.count, width, data + plane.at(c, i, j), plane.row_step, to);
      }
    }
  });
}

template <class T> void add(const Band& band, const T* matrix, T* image) {
  const Plane<T> plane(band);
  T* const data = plane.zeros();
  const Index width = band.columns.output(), taps = band.rows.kernel * band.columns.kernel;
  with_vectors<T>(width, [&](auto d) HWY_ATTR {
    // One tap after the other, in all channels: the next one adds to the same elements, which have left the
    // processor by then.
    for (Index i = 0; i < band.rows.kernel; ++i) {
      for (Index j = 0; j < band.columns.kernel; ++j) {
        for (Index c = 0; c < band.channels; ++c) {
          const T* const from = matrix + (c * taps + i * band.columns.kernel + j) * band.windows();
          add_rows<T>(d, band.count, width, from, data + plane.at(c, i, j), plane.row_step);
        }
      }
    }
  });
  plane.add_to(image);
}

template <class T>
void activation(Activation f, Index rows, Index columns, Index stride, const T* y, const T* gy, T* g, T* sums,
                bool add) {
  const auto run = [&](const auto& gradient) HWY_ATTR {
    for (Index i = 0; i < rows; ++i) {
      const Vector<T> total = sum_vectors<T>(columns, [&](Vector<T> sum, Index j, Index count) HWY_ATTR {
        const Index at = i * stride + j;
        const Vector<T> here = gradient(load_upto<T>(y + at, count), load_upto<T>(gy + at, count));
        if (g != nullptr) store_upto<T>(here, g + i * columns + j, count);
        return hn::Add(sum, here);
      });
      if (sums == nullptr) continue;
      const T sum = hn::GetLane(hn::SumOfLanes(Tag<T>(), total));
      sums[i] = add ? sums[i] + sum : sum;
    }
  };
  const Vector<T> zero = hn::Zero(Tag<T>()), one = constant<T>(1);
  switch (f) {
    case Activation::none:
      return run([](Vector<T>, Vector<T> b) HWY_ATTR { return b; });
    case Activation::relu:  // 1 at a NaN
      return run([&](Vector<T> a, Vector<T> b) HWY_ATTR { return hn::IfThenZeroElse(hn::Le(a, zero), b); });
    case Activation::tanh:
      return run([&](Vector<T> a, Vector<T> b) HWY_ATTR { return hn::Mul(b, hn::NegMulAdd(a, a, one)); });
    case Activation::sigmoid:
      return run([&](Vector<T> a, Vector<T> b) HWY_ATTR { return hn::Mul(b, hn::NegMulAdd(a, a, a)); });
  }
}

TAPER_KERNELS(PatchesTable, &room<T>, &read<T>, &add<T>, &activation<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(PatchesTable)

template <class T> Index patches_room(const Band& band) {
  return best<T>().room(band);
}

template <class T> void patches(const Band& band, const T* image, T* matrix) {
  best<T>().read(band, image, matrix);
}

template <class T> void add_patches(const Band& band, const T* matrix, T* image) {
  best<T>().add(band, matrix, image);
}

template <class T>
void activation_gradient(Activation f, Index rows, Index columns, Index stride, const T* y, const T* gy, T* g,
                         T* sums, bool add) {
  best<T>().activation(f, rows, columns, stride, y, gy, g, sums, add);
}

#define TAPER_INSTANTIATE(T)                            \
  template Index patches_room<T>(const Band&);          \
  template void patches(const Band&, const T*, T*);     \
  template void add_patches(const Band&, const T*, T*); \
  template void activation_gradient(Activation, Index, Index, Index, const T*, const T*, T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
