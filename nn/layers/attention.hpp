#pragma once

#include <optional>

#include <taper/autodiff/ops.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/module.hpp>

namespace taper::nn {

struct MultiheadAttentionOptions {
  /// Whether all four projections have a bias.
  bool bias = true;
  /// The probability with which a weight of the attention is set to zero in training.
  double dropout = 0;
  /// Whether query i sees only the keys [0, i].
  bool causal = false;
  /// Columns of keys and of values, where they are not those of the queries.
  std::optional<Index> kdim = {}, vdim = {};
};

/// What a query may see.
template <class T> struct AttentionMasks {
  /// rows x keys, or keys without rows: a key takes no part where this is not 0, as it is padding.
  std::optional<Var<T>> key_padding = {};
  /// Of the shape rows x heads x queries x keys, or repeated to it: queries x keys is the same for all.
  std::optional<Var<T>> mask = {};
  AttentionMask mask_kind = AttentionMask::added;
};

/// Attention of several heads side by side (Vaswani et al., "Attention is all you need", 2017, section
/// 3.2.2), with the names and numbers of PyTorch's layer:
///
///     y = concat over heads h of softmax(q_h k_h' / sqrt(width of a head)) v_h, times out_proj.weight', plus
///         out_proj.bias,
///
/// for q, k and v that are affine in queries, keys and values: `in_proj_weight`, 3 embed x embed, has their
/// weights below each other, and `in_proj_bias` their biases. With a kdim or vdim of their own there are
/// `q_proj_weight`, `k_proj_weight` and `v_proj_weight` in its place. Queries are rows x length x embed
/// (PyTorch's batch_first), or length x embed. As a Layer, all three are the input: self-attention. Recorded
/// as a module, it takes one input, or queries and what they look at (keys and values), or queries, keys and
/// values, and then perhaps a key_padding mask.
///
/// A query that sees no key gives the bias of out_proj, where PyTorch gives NaN.
///
/// Whole heads can be cut, when nobody reads them or their values are zero: their rows go from `in_proj_*`,
/// their columns from `out_proj.weight`. The width of a head stays.
template <class T = float> class MultiheadAttention : public Layer<T> {
 public:
  /// Throws Error unless both are 1 or more, and embed a multiple of heads; for a kdim or vdim below 0, and a
  /// dropout outside of [0, 1).
  MultiheadAttention(Index embed, Index heads, const MultiheadAttentionOptions& options = {});
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit MultiheadAttention(const MultiheadAttention<U>& other)
      : out_proj(other.out_proj), head_width_(other.head_width()), options_(other.options()) {
    if (other.in_proj_weight) in_proj_weight.emplace(*other.in_proj_weight);
    if (other.q_proj_weight) q_proj_weight.emplace(*other.q_proj_weight);
    if (other.k_proj_weight) k_proj_weight.emplace(*other.k_proj_weight);
    if (other.v_proj_weight) v_proj_weight.emplace(*other.v_proj_weight);
    if (other.in_proj_bias) in_proj_bias.emplace(*other.in_proj_bias);
  }

  /// How many heads there are; fewer where some were cut.
  Index heads() const;
  Index head_width() const { return head_width_; }
  Index embed() const { return out_proj.outputs(); }
  const MultiheadAttentionOptions& options() const { return options_; }

  using Layer<T>::operator();
  /// Throws Error for shapes that do not fit.
  Var<T> operator()(Var<T> query, Var<T> key, Var<T> value, const AttentionMasks<T>& masks = {}) const;
  /// Self-attention.
  Var<T> operator()(Var<T> x, const AttentionMasks<T>& masks) const { return (*this)(x, x, x, masks); }
  Var<T> forward(Var<T> x) const override { return attend(x, x, x, {}); }
  std::vector<Var<T>> record(std::span<const Var<T>> inputs) const override;
  void visit(Visitor<T>& v) const override;
  std::string describe() const override;

  std::optional<Parameter<T>> in_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias;
  Linear<T> out_proj;

 private:
  Var<T> attend(Var<T> query, Var<T> key, Var<T> value, const AttentionMasks<T>& masks) const;
  Var<T> project(Var<T> x, Index part) const;

  Index head_width_;
  MultiheadAttentionOptions options_;
};

}  // namespace taper::nn
