#pragma once

#include <array>

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// What a mask does to the scores.
enum class AttentionMask {
  none,
  added,    ///< it is added to them
  allowed,  ///< a key takes part where it is not 0
  ignored   ///< a key takes part where it is 0
};

/// The sizes and settings of one attention. Queries are batches x queries x (heads width), keys are batches x
/// keys x (heads width), values batches x keys x (heads value_width), and the result is batches x queries x
/// (heads value_width). Head h reads and writes columns [h width, (h + 1) width).
template <class T> struct Attention {
  Index batches, heads, queries, keys, width, value_width;
  T scale;              ///< of the scores
  bool causal = false;  ///< query i sees the keys [0, i]
  AttentionMask kind = AttentionMask::none;
  const T* mask = nullptr;
  /// The mask of batch b and head h is that of group (b heads + h) / group and member (b heads + h) % group;
  /// `apart` is how far apart are those of groups, members, queries and keys: 0 where they are the same.
  Index group = 1;
  std::array<Index, 4> apart{};
  /// Factors of the weights, as a dropout draws them, or null: batches x heads x queries x keys.
  const T* factors = nullptr;

  Index scores() const { return batches * heads * queries * keys; }
};

/// y = softmax(scale q k' + mask) v for each batch and head (Vaswani et al., "Attention is all you need",
/// 2017, equation 1). `weights`, batches x heads x queries x keys, keeps the softmax for the gradient: that
/// of a query that sees no key is zero, and so is its y. A key whose weight is zero is left out, whatever it
/// and its value hold; the gradient asks for finite ones.
template <class T>
void attention(const Attention<T>& of, const T* q, const T* k, const T* v, T* weights, T* y);

/// The gradients of q, k and v, or with `add` added to what is there; null where none is required. Two of
/// them may be the same memory, if the second one adds. That of the scores is stored in `scores` unless it is
/// null.
template <class T> struct AttentionGradients {
  T *q, *k, *v;
  bool add_q, add_k, add_v;
  T* scores;
};
template <class T>
void attention_gradient(const Attention<T>& of, const T* q, const T* k, const T* v, const T* weights,
                        const T* gy, const AttentionGradients<T>& to);

}  // namespace taper::kernels
