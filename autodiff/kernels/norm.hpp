#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

// Batch normalization. A tensor is seen as outer x channels x inner, and each channel is taken by itself.
// Sums over a channel go in pieces of a fixed length, which are added in double, so their bits do not depend
// on the number of threads.

/// How a channel is cut into pieces, and the scratch for their sums.
class ChannelPieces {
 public:
  ChannelPieces(Index outer, Index channels, Index inner);

  Index outer, channels, inner;
  /// How many of `outer` go into one piece, and how many pieces there are.
  Index run, count;
  /// Elements of scratch for so many sums of each channel and piece.
  Index scratch(Index sums) const { return count * sums * channels; }
};

/// The mean of each channel, its variance (divided by n = outer * inner) and its unbiased variance (divided
/// by n - 1). Deviations are taken from a mean of each piece, so the variance has its digits next to any mean
/// (Chan, Golub and LeVeque, 1983, equation 2.1). `parts` is scratch for 3 sums.
template <class T>
void channel_moments(const ChannelPieces& pieces, const T* x, T* mean, T* variance, T* unbiased, T* parts);
/// gx = a + b (x - mean) with an a and a b for each channel; or added to gx.
template <class T>
void channel_moments_gradient(const ChannelPieces& pieces, const T* x, const T* mean, const T* a, const T* b,
                              T* gx, bool add);

/// y = (x - mean) scale + bias for each channel; bias may be null.
template <class T>
void channel_normalize(const ChannelPieces& pieces, const T* x, const T* mean, const T* scale, const T* bias,
                       T* y);
/// For each channel the sums of gy and of gy (x - mean), and in the same pass gx = gy scale, or added to gx.
/// gx may be null, or lie where gy does. `parts` is scratch for 2 sums.
template <class T>
void channel_normalize_gradient(const ChannelPieces& pieces, const T* x, const T* mean, const T* scale,
                                const T* gy, T* gx, bool add, T* sum, T* sum_x, T* parts);

// Layer normalization: each row of rows x n by itself.

/// y = (x - mean) weight / sqrt(variance + epsilon) + bias with the moments of each row, or with `centered`
/// false y = x weight / sqrt(mean of squares + epsilon) + bias. weight and bias have n entries or are null.
/// `moments` gets the mean (or zero) of each row, and behind them, from `rows` on, what it is multiplied
/// with.
template <class T>
void row_normalize(Index rows, Index n, bool centered, double epsilon, const T* x, const T* weight,
                   const T* bias, T* y, T* moments);
/// The gradient of x, or added to gx.
template <class T>
void row_normalize_gradient(Index rows, Index n, bool centered, const T* x, const T* weight, const T* moments,
                            const T* gy, T* gx, bool add);
/// The gradients of weight and bias, n entries each: sums over the rows of gy times the normalized x, and of
/// gy. Both are stored; either may be null. `parts` is scratch of row_scratch(rows, n) elements.
template <class T>
void row_normalize_weight_gradient(Index rows, Index n, const T* x, const T* moments, const T* gy, T* gweight,
                                   T* gbias, T* parts);
Index row_scratch(Index rows, Index n);

}  // namespace taper::kernels
