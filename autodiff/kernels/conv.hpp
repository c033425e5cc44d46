#pragma once

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/window.hpp>

namespace taper::kernels {

/// A convolution of images (images x channels x rows x columns) with a weight, which is outputs x (channels /
/// groups) x taps: group g of the outputs reads group g of the channels.
struct Conv {
  Index images, channels, outputs, groups;
  Window rows, columns;

  Index windows() const { return rows.output() * columns.output(); }
  Index pixels() const { return rows.input * columns.input; }
  /// What an output is a sum over, but for the bias.
  Index taps() const { return channels / groups * rows.kernel * columns.kernel; }
  Index weights() const { return outputs * taps(); }
};

/// y = f(convolution of x with w + bias), where y is images x outputs x windows. `bias` is null, or has an
/// entry for each output.
///
/// An image's outputs are the product of the weight with the image's patches (Chellapilla et al., "High
/// performance convolutional neural networks for document processing", 2006), which are made for as many of
/// its rows as stay in cache. Where each group has one channel, windows slide over it without a product.
template <class T> void conv(const Conv& of, const T* x, const T* w, const T* bias, T* y, Activation f);

/// Where the gradients of a convolution go.
template <class T> struct ConvGradient {
  T* x = nullptr;     ///< null: not required
  bool add = false;   ///< to x
  T* sums = nullptr;  ///< for those of w and bias: conv_sums elements, or null: not required
};

/// How much memory the sums over the images need, of which threads may make several at a time.
template <class T> Index conv_sums(const Conv& of);

/// The gradient of x, and the sums that those of w and bias are made of, from that of y. Images go one by one
/// in pieces, whose sums are added up in a fixed order.
template <class T>
void conv_gradient(const Conv& of, const T* x, const T* w, const T* y, const T* gy, Activation f,
                   const ConvGradient<T>& to);
/// The gradients of w and bias from the sums: stored, or added to what is there.
template <class T> void conv_weight_gradient(const Conv& of, const T* sums, T* gw, bool add);
template <class T> void conv_bias_gradient(const Conv& of, const T* sums, T* gbias, bool add);

}  // namespace taper::kernels
