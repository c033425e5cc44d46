#include <taper/autodiff/kernels/depthwise.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_DEPTHWISE_TABLE  // once, before the targets
#define TAPER_DEPTHWISE_TABLE
namespace taper::kernels {
template <class T> struct DepthwiseTable {
  void (*forward)(const Band& band, Index outputs, const T* channel, const T* w, const T* bias, T* y);
  void (*gradient)(const Band& band, Index outputs, const T* channel, const T* w, const T* gy, T* gx, T* gw,
                   bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/depthwise.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/plane-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// Calls f(i, j, tap) for each tap.
template <class F> HWY_INLINE void for_taps(const Band& band, const F& f) {
  const Index height = band.rows.kernel, width = band.columns.kernel;
  for (Index i = 0; i < height; ++i) {
    for (Index j = 0; j < width; ++j) f(i, j, i * width + j);
  }
}

template <class T>
void forward(const Band& band, Index outputs, const T* channel, const T* w, const T* bias, T* y) {
  const Plane<T> plane(band);
  const T* const data = plane.read(channel);
  const Index width = band.columns.output(), height = band.count, row_step = plane.row_step;
  for (Index output = 0; output < outputs; ++output, w += band.taps()) {
    const Vector<T> shift = hn::Set(Tag<T>(), bias == nullptr ? T{0} : bias[output]);
    for (Index o = 0; o < height; ++o, y += width) {
      for_vectors<T>(width, [&](Index p, Index count) HWY_ATTR {
        const T* const from = data + o * row_step + p;
        Vector<T> sum = shift;
        for_taps(band, [&](Index i, Index j, Index tap) HWY_ATTR {
          sum = hn::MulAdd(hn::Set(Tag<T>(), w[tap]), load<T>(from + plane.at(0, i, j)), sum);
        });
        store_upto<T>(sum, y + p, count);
      });
    }
  }
}

template <class T>
void gradient(const Band& band, Index outputs, const T* channel, const T* w, const T* gy, T* gx, T* gw,
              bool add) {
  const Plane<T> plane(band);
  const Index width = band.columns.output(), height = band.count, row_step = plane.row_step;
  const Index windows = width * height;
  if (gw != nullptr) {
    const T* const data = plane.read(channel);
    for (Index output = 0; output < outputs; ++output) {
      for_taps(band, [&](Index i, Index j, Index tap) HWY_ATTR {
        const T *from = data + plane.at(0, i, j), *g = gy + output * windows;
        Sum<T> total;
        for (Index o = 0; o < height; ++o, from += row_step, g += width) {
          Vector<T> row = hn::Zero(Tag<T>());
          for_vectors<T>(width, [&](Index p, Index count) HWY_ATTR {
            // What is behind the row may be anything.
            const Vector<T> seen = count < lanes<T>() ? only<T>(load<T>(from + p), count) : load<T>(from + p);
            row = hn::MulAdd(load_upto<T>(g + p, count), seen, row);
          });
          total.add(row);
        }
        T& to = gw[output * band.taps() + tap];
        const T sum = hn::GetLane(hn::SumOfLanes(Tag<T>(), total.total));
        to = add ? to + sum : sum;
      });
    }
  }
  if (gx == nullptr) return;
  T* const data = plane.zeros();
  for (Index output = 0; output < outputs; ++output) {
    for_taps(band, [&](Index i, Index j, Index tap) HWY_ATTR {
      const T* g = gy + output * windows;
      T* to = data + plane.at(0, i, j);
      const Vector<T> factor = hn::Set(Tag<T>(), w[output * band.taps() + tap]);
      for (Index o = 0; o < height; ++o, g += width, to += row_step) {
        for_vectors<T>(width, [&](Index p, Index count) HWY_ATTR {
          const Vector<T> term = hn::Mul(factor, load_upto<T>(g + p, count));
          const Vector<T> here = count < lanes<T>() ? only<T>(term, count) : term;  // an infinite factor
          store<T>(hn::Add(load<T>(to + p), here), to + p);
        });
      }
    });
  }
  plane.add_to(gx);
}

TAPER_KERNELS(DepthwiseTable, &forward<T>, &gradient<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(DepthwiseTable)

template <class T>
void depthwise(const Band& band, Index outputs, const T* channel, const T* w, const T* bias, T* y) {
  best<T>().forward(band, outputs, channel, w, bias, y);
}

template <class T>
void depthwise_gradient(const Band& band, Index outputs, const T* channel, const T* w, const T* gy, T* gx,
                        T* gw, bool add) {
  best<T>().gradient(band, outputs, channel, w, gy, gx, gw, add);
}

#define TAPER_INSTANTIATE(T)                                                     \
  template void depthwise(const Band&, Index, const T*, const T*, const T*, T*); \
  template void depthwise_gradient(const Band&, Index, const T*, const T*, const T*, T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
