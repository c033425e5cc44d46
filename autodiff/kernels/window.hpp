#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// One direction of a convolution or a pooling: windows of `kernel` taps, which are `dilation` elements
/// apart, start every `stride` elements of an input that is continued by `padding` elements at both ends.
struct Window {
  Index input, kernel, stride, padding, dilation;

  /// From the first tap to the last.
  Index reach() const { return (kernel - 1) * dilation; }
  /// How many windows there are.
  Index output() const { return (input + 2 * padding - reach() - 1) / stride + 1; }
  /// Where window `o` has its tap `k`; outside of the input in the padding.
  Index position(Index o, Index k) const { return o * stride - padding + k * dilation; }
};

}  // namespace taper::kernels
