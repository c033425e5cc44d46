// Included once per target by kernels of windows: an image laid out so that windows read whole vectors of it.
#if defined(TAPER_KERNELS_PLANE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_PLANE_INL
#undef TAPER_KERNELS_PLANE_INL
#else
#define TAPER_KERNELS_PLANE_INL
#endif

#include <taper/autodiff/kernels/patches.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>
#include <taper/autodiff/kernels/workspace.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// The part of an image that a band of windows sees, with its padding. Columns that are a stride apart, which
/// neighbouring windows have at the same tap, are neighbours: a row is as many *phases*, one behind the
/// other, as the stride has columns that a tap can fall on. So the elements of all windows in a row of them
/// at one tap are contiguous, and behind them is room for the rest of a vector.
template <class T> struct Plane {
  Band band;
  Index stride;  // of the columns
  Index height, phases, pitch;
  Index row_step;  // from one row of windows to the next

  explicit Plane(const Band& of) : band(of), stride(of.columns.stride) {
    const Window &r = band.rows, &c = band.columns;
    height = (band.count - 1) * r.stride + r.reach() + 1;
    phases = std::min(stride, c.reach() + 1);
    pitch = c.reach() / stride + (c.output() + lanes<T>() - 1) / lanes<T>() * lanes<T>();
    row_step = r.stride * phases * pitch;
  }

  Index size() const { return band.channels * height * phases * pitch; }
  /// Where the first window has tap (i, j) of channel c.
  Index at(Index c, Index i, Index j) const {
    const Index row = (c * height + i * band.rows.dilation) * phases, column = j * band.columns.dilation;
    if (stride == 1) return row * pitch + column;  // divisions take long
    return (row + column % stride) * pitch + column / stride;
  }

  /// This thread's memory for it, full of zeros.
  T* zeros() const {
    T* const data = workspace<T, Use::plane>(size());
    std::fill_n(data, size(), T{0});
    return data;
  }

  /// The same with the elements of an image.
  const T* read(const T* image) const {
    T* const data = workspace<T, Use::plane>(size());
    for_rows(image, data, [&](const T* from, T* to) HWY_ATTR {
      for (Index phase = 0; phase < phases; ++phase, to += pitch) {
        const auto [begin, end] = inside(phase);
        std::fill_n(to, begin, T{0});
        if (from == nullptr) {
          std::fill(to + begin, to + end, T{0});
        } else if (stride == 1) {
          copy(from + begin - band.columns.padding, to + begin, end - begin);
        } else {
          const T* const first = from + phase - band.columns.padding;
          for (Index p = begin; p < end; ++p) to[p] = first[p * stride];
        }
        std::fill(to + end, to + pitch, T{0});
      }
    });
    return data;
  }

  /// Adds the plane to the elements of an image that it has.
  void add_to(T* image) const {
    for_rows(image, workspace<T, Use::plane>(size()), [&](T* to, const T* from) HWY_ATTR {
      if (to == nullptr) return;
      for (Index phase = 0; phase < phases; ++phase, from += pitch) {
        const auto [begin, end] = inside(phase);
        if (stride == 1) {
          T* const first = to + begin - band.columns.padding;
          const T* const terms = from + begin;
          for_vectors<T>(end - begin, [&](Index p, Index count) HWY_ATTR {
            store_or_add<T>(load_upto<T>(terms + p, count), first + p, count, true);
          });
        } else {
          T* const first = to + phase - band.columns.padding;
          for (Index p = begin; p < end; ++p) first[p * stride] += from[p];
        }
      }
    });
  }

 private:
  struct Range {
    Index begin, end;
  };

  /// Which positions of a phase are elements of the image: those p with 0 <= p stride + phase - padding <
  /// input.
  Range inside(Index phase) const {
    const Window& c = band.columns;
    const auto from = [&](Index x) {  // the first p that is at x or behind it
      return std::clamp<Index>((x + c.padding - phase + stride - 1) / stride, 0, pitch);
    };
    const Index begin = c.padding <= phase ? 0 : from(0), end = from(c.input);
    return {begin, std::max(begin, end)};
  }

  /// Calls f with each row of the image, or null in the padding, and that of the plane.
  template <class Image, class Data, class F> void for_rows(Image* image, Data* data, const F& f) const {
    for (Index c = 0; c < band.channels; ++c) {
      Image* const channel = image + c * band.rows.input * band.columns.input;
      for (Index i = 0; i < height; ++i, data += phases * pitch) {
        const Index row = band.rows.position(band.first, 0) + i;
        f(row < 0 || row >= band.rows.input ? nullptr : channel + row * band.columns.input, data);
      }
    }
  }

  static void copy(const T* from, T* to, Index count) {
    for_vectors<T>(count, [&](Index p, Index some)
                              HWY_ATTR { store_upto<T>(load_upto<T>(from + p, some), to + p, some); });
  }
};

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target
