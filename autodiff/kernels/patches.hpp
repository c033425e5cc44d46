#pragma once

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/window.hpp>

namespace taper::kernels {

/// Some rows of an image's windows: those of the output rows [first, first + count), in `channels` channels.
/// Their patches are a matrix with a row for each channel and tap, and a column for each window: entry
/// ((c kh + i) kw + j, (o - first) ow + p) is what window (o, p) has at tap (i, j) of channel c, or zero in
/// the padding.
struct Band {
  Index channels;
  Window rows, columns;
  Index first, count;

  Index taps() const { return channels * rows.kernel * columns.kernel; }
  Index windows() const { return count * columns.output(); }
};

/// How many elements to have for patches: some more than the matrix has are written, behind it.
template <class T> Index patches_room(const Band& band);

/// Writes the patches of an image, which is channels x rows x columns.
template <class T> void patches(const Band& band, const T* image, T* matrix);
/// Adds each entry of a matrix as `patches` writes it to the element of the image that it was read from: the
/// transpose of that.
template <class T> void add_patches(const Band& band, const T* matrix, T* image);

/// The gradient before an activation, from that behind it: g[i, j] = gy[i, j] f'(..), which follows from
/// y = f(..). Rows of y and gy are `stride` apart, those of g are not. `sums` is null, or gets the sum of
/// each row of g, added to what is there with `add`. Without activation, g may be null.
template <class T>
void activation_gradient(Activation f, Index rows, Index columns, Index stride, const T* y, const T* gy, T* g,
                         T* sums, bool add);

}  // namespace taper::kernels
