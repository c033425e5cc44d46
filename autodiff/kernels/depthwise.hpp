#pragma once

#include <taper/autodiff/kernels/patches.hpp>

namespace taper::kernels {

// A convolution that reads one channel: sums over its few taps are too short for products of matrices, so
// that all windows are taken at one tap after the other. The band is of one channel, w is outputs x taps, and
// y and gy are outputs x windows.

/// y = convolution of the channel with w + bias, which may be null.
template <class T>
void depthwise(const Band& band, Index outputs, const T* channel, const T* w, const T* bias, T* y);

/// Adds the gradient of the channel to gx, and stores that of w in gw or adds it there; either may be null.
template <class T>
void depthwise_gradient(const Band& band, Index outputs, const T* channel, const T* w, const T* gy, T* gx,
                        T* gw, bool add);

}  // namespace taper::kernels
