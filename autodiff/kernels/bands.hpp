#pragma once

#include <taper/autodiff/kernels/conv.hpp>
#include <taper/autodiff/kernels/patches.hpp>
#include <taper/autodiff/kernels/workspace.hpp>

namespace taper::kernels {

/// Patches that stay in the second-level cache, beside the weight.
template <class T> constexpr Index most_patches = (Index{1} << 19) / sizeof(T);
/// Patches that stay in the first-level cache.
template <class T> constexpr Index near_patches = (Index{1} << 15) / sizeof(T);

/// Whether each group reads one channel, whose few taps are no work for a product.
inline bool is_depthwise(const Conv& of) {
  return of.groups > 1 && of.groups == of.channels;
}

/// A convolution as products of matrices: how its patches are cut into bands.
template <class T> class Bands {
 public:
  explicit Bands(const Conv& of) : conv_(of) {
    const Window &r = of.rows, &c = of.columns;
    pointwise_ = r.kernel * c.kernel == 1 && r.stride * c.stride == 1 && r.padding + c.padding == 0;
    const Index row = std::max<Index>(1, of.taps() * c.output());
    height_ = is_depthwise(of) ? r.output() : std::clamp<Index>(most_patches<T> / row, 1, r.output());
  }

  Index count() const { return (conv_.rows.output() + height_ - 1) / height_; }
  Index first(Index band) const { return band * height_; }
  Band operator[](Index band) const {
    return {conv_.channels / conv_.groups, conv_.rows, conv_.columns, first(band),
            std::min(height_, conv_.rows.output() - first(band))};
  }

  /// The patches of one group of an image's channels, taps x windows. The matrix is the image itself where
  /// windows are single elements.
  MatrixRef<T> read(const Band& band, const T* channels) const {
    if (pointwise_) return {channels + band.first * conv_.columns.output(), conv_.pixels(), 1};
    T* const matrix = workspace<T, Use::patches>(patches_room<T>(band));
    patches<T>(band, channels, matrix);
    return {matrix, band.windows(), 1};
  }

  /// Adds the gradient of those patches, weight' g, to that of the channels: of so many at a time that their
  /// patches stay in the first-level cache.
  void add(const Band& band, const T* weight, Index outputs, MatrixRef<T> g, T* channels) const {
    const Index taps = band.taps(), windows = band.windows();
    if (pointwise_) {
      T* const to = channels + band.first * conv_.columns.output();
      return gemm_alone<T>(taps, windows, outputs, {weight, 1, taps}, g, to, conv_.pixels(), true);
    }
    Band part = band;
    part.channels = std::clamp<Index>(near_patches<T> * band.channels / std::max<Index>(taps * windows, 1), 1,
                                      std::max<Index>(band.channels, 1));
    T* const matrix = workspace<T, Use::patches>(patches_room<T>(part));
    for (Index c = 0; c < band.channels; c += part.channels) {
      part.channels = std::min(part.channels, band.channels - c);
      const T* const seen = weight + c * taps / band.channels;
      gemm_alone<T>(part.taps(), windows, outputs, {seen, 1, taps}, g, matrix, windows, false);
      add_patches<T>(part, matrix, channels + c * conv_.pixels());
    }
  }

 private:
  Conv conv_;
  bool pointwise_;
  Index height_;
};

}  // namespace taper::kernels
