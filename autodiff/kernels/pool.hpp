#pragma once

#include <taper/autodiff/kernels/window.hpp>

namespace taper::kernels {

/// y = the largest element of each window, for planes of rows x columns; a NaN wins. The padding does not
/// count: a window of nothing else gives minus infinity.
template <class T> void max_pool(Index planes, const Window& rows, const Window& columns, const T* x, T* y);
/// gx = the sum of gy over the windows of which an element is the largest, the first of equals; or added to
/// gx.
template <class T>
void max_pool_gradient(Index planes, const Window& rows, const Window& columns, const T* x, const T* gy,
                       T* gx, bool add);

/// What averages are over, along one axis: windows, or `output` cells that share the elements out.
struct Cells {
  Index input, output;
  Index kernel = 0, stride = 0, padding = 0;  // no kernel: cells
  bool count_padding = true;

  /// Elements [begin, end) are in window `o`.
  Index begin(Index o) const {
    return kernel > 0 ? std::max<Index>(0, o * stride - padding) : o * input / output;
  }
  Index end(Index o) const {
    return kernel > 0 ? std::min(input, o * stride - padding + kernel)
                      : ((o + 1) * input + output - 1) / output;
  }
  /// How many elements a window counts.
  Index size(Index o) const { return kernel > 0 && count_padding ? kernel : end(o) - begin(o); }
};

/// y = the averages. Sums are made in double, row by row.
template <class T> void average_pool(Index planes, const Cells& rows, const Cells& columns, const T* x, T* y);
template <class T>
void average_pool_gradient(Index planes, const Cells& rows, const Cells& columns, const T* gy, T* gx,
                           bool add);

}  // namespace taper::kernels
