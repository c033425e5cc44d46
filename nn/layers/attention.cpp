#include <taper/nn/layers/attention.hpp>

#include <limits>
#include <utility>

#include <taper/instantiate.hpp>

namespace taper::nn {
namespace {

constexpr const char* attention_layer = "MultiheadAttention";

/// The width of a head of a layer that can be made.
Index width_of_head(Index embed, Index heads, const MultiheadAttentionOptions& options) {
  if (embed < 1 || heads < 1 || embed % heads != 0) {
    throw Error(attention_layer, embed, " columns with ", heads,
                " heads: expected 1 or more of both, and as many columns for each head");
  }
  for (const auto& [name, width] : {std::pair("kdim ", options.kdim), std::pair("vdim ", options.vdim)}) {
    if (width.value_or(0) < 0) throw Error(attention_layer, name, *width, ": expected 0 or more");
  }
  if (!(options.dropout >= 0 && options.dropout < 1)) {
    throw Error(attention_layer, "dropout ", options.dropout, ": expected 0 <= dropout < 1");
  }
  return embed / heads;
}

/// Throws Error for a mask that cannot be repeated to rows x heads x queries x keys, or these without rows.
void require_mask(const Shape& mask, const Shape& scores) {
  bool fits = mask.rank() <= scores.rank();
  for (Index back = 1; fits && back <= mask.rank(); ++back) {
    const Index n = mask[mask.rank() - back];
    fits = n == 1 || n == scores[scores.rank() - back];
  }
  if (fits) return;
  throw Error(attention_layer, "a mask ", mask, " for scores ", scores,
              ": expected dimensions that are equal, 1 or missing");
}

/// The scores' mask of a key_padding mask: rows x 1 x 1 x keys, or 1 x 1 x keys.
template <class T> Var<T> padding_of_scores(Var<T> padding, Var<T> key) {
  const Shape expected = key.shape().without(key.shape().rank() - 1);
  if (padding.shape() != expected) {
    throw Error(attention_layer, "a key_padding mask ", padding.shape(), " for keys ", key.shape(),
                ": expected ", expected);
  }
  const Index keys = expected.rank() - 1;
  return unsqueeze(unsqueeze(padding, keys), keys);
}

}  // namespace

template <class T>
MultiheadAttention<T>::MultiheadAttention(Index embed, Index heads, const MultiheadAttentionOptions& options)
    : out_proj(heads * width_of_head(embed, heads, options), embed, options.bias),
      head_width_(embed / heads),
      options_(options) {
  const auto add = [](std::optional<Parameter<T>>& weight, Index outputs, Index inputs) {
    weight.emplace(Shape{outputs, inputs});
    if (weight->shape().size() > 0) init::xavier_uniform(weight->value());
  };
  const Index of_keys = options.kdim.value_or(embed), of_values = options.vdim.value_or(embed);
  if (of_keys == embed && of_values == embed) {
    add(in_proj_weight, 3 * embed, embed);
  } else {
    add(q_proj_weight, embed, embed);
    add(k_proj_weight, embed, of_keys);
    add(v_proj_weight, embed, of_values);
  }
  if (!options.bias) return;
  in_proj_bias.emplace(Shape{3 * embed});
  init::constant(in_proj_bias->value(), 0);
  init::constant(out_proj.bias->value(), 0);
}

template <class T> Index MultiheadAttention<T>::heads() const {
  return (in_proj_weight ? in_proj_weight->shape()[0] / 3 : q_proj_weight->shape()[0]) / head_width_;
}

/// Queries, keys or values (part 0, 1 or 2), as the heads take them.
template <class T> Var<T> MultiheadAttention<T>::project(Var<T> x, Index part) const {
  constexpr const char* names[] = {"queries ", "keys ", "values "};
  Tape<T>& tape = x.tape();
  const std::optional<Parameter<T>>& own = part == 0   ? q_proj_weight
                                           : part == 1 ? k_proj_weight
                                                       : v_proj_weight;
  const Var<T> weight = in_proj_weight ? chunk(in_proj_weight->bind(tape), part, 3) : own->bind(tape);
  const Index width = weight.shape()[1];
  if (x.shape().rank() < 2 || x.shape().rank() > 3 || x.shape().columns() != width) {
    throw Error(attention_layer, names[part], x.shape(), ": expected rows x length x ", width,
                ", or length x ", width);
  }
  return in_proj_bias ? affine(x, weight, chunk(in_proj_bias->bind(tape), part, 3)) : affine(x, weight);
}

template <class T>
Var<T> MultiheadAttention<T>::attend(Var<T> query, Var<T> key, Var<T> value,
                                     const AttentionMasks<T>& masks) const {
  const Var<T> q = project(query, 0), k = project(key, 1), v = project(value, 2);
  const Shape &of_q = query.shape(), &of_k = key.shape(), &of_v = value.shape();
  const Index rank = of_q.rank();
  const auto refuse = [](const auto&... parts) { throw Error(attention_layer, parts...); };
  if (of_k.rank() != rank || (rank == 3 && of_k[0] != of_q[0])) {
    refuse("keys ", of_k, " for queries ", of_q, ": expected ", rank == 3 ? "as many rows" : "no rows");
  }
  if (of_v.rank() != rank || of_v.with(rank - 1, 0) != of_k.with(rank - 1, 0)) {
    refuse("values ", of_v, " for keys ", of_k, ": expected one for each key");
  }
  if (masks.mask) {
    const Index queries = of_q[rank - 2], keys = of_k[rank - 2];
    require_mask(masks.mask->shape(),
                 rank == 3 ? Shape{of_q[0], heads(), queries, keys} : Shape{heads(), queries, keys});
  }
  AttentionOptions<T> options{.causal = options_.causal, .head_width = head_width_};
  // Asked for only where it counts: a tape without a mode does for the rest.
  if (options_.dropout > 0 && query.tape().training()) options.dropout = options_.dropout;
  options.mask = masks.mask;
  options.mask_kind = masks.mask_kind;
  if (masks.key_padding) {
    const Var<T> padding = padding_of_scores(*masks.key_padding, key);
    if (!masks.mask) {
      options.mask = padding;
      options.mask_kind = AttentionMask::ignored;
    } else {
      // Padding wins over what the other mask says of a key.
      const T excluded = masks.mask_kind == AttentionMask::added     ? -std::numeric_limits<T>::infinity()
                         : masks.mask_kind == AttentionMask::ignored ? T{1}
                                                                     : T{0};
      options.mask = where(padding, query.tape().constant(excluded), *masks.mask);
    }
  }
  return out_proj(scaled_dot_product_attention(q, k, v, options));
}

template <class T>
Var<T> MultiheadAttention<T>::operator()(Var<T> query, Var<T> key, Var<T> value,
                                         const AttentionMasks<T>& masks) const {
  const ModuleScope<T> scope(query.tape(), *this);
  return attend(query, key, value, masks);
}

template <class T> std::vector<Var<T>> MultiheadAttention<T>::record(std::span<const Var<T>> inputs) const {
  switch (inputs.size()) {
    case 1:
      return {Layer<T>::operator()(inputs[0])};
    case 2:
      return {(*this)(inputs[0], inputs[1], inputs[1])};
    case 3:
      return {(*this)(inputs[0], inputs[1], inputs[2])};
    case 4:
      return {(*this)(inputs[0], inputs[1], inputs[2], AttentionMasks<T>{.key_padding = inputs[3]})};
    default:
      throw Error(
          attention_layer, inputs.size(),
          " inputs: expected queries, keys, values and a key_padding mask, the first of them at least");
  }
}

template <class T> void MultiheadAttention<T>::visit(Visitor<T>& v) const {
  if (in_proj_weight) v("in_proj_weight", *in_proj_weight);
  if (q_proj_weight) v("q_proj_weight", *q_proj_weight);
  if (k_proj_weight) v("k_proj_weight", *k_proj_weight);
  if (v_proj_weight) v("v_proj_weight", *v_proj_weight);
  if (in_proj_bias) v("in_proj_bias", *in_proj_bias);
  v("out_proj", out_proj);
}

template <class T> std::string MultiheadAttention<T>::describe() const {
  return "MultiheadAttention(" + std::to_string(embed()) + ", " + std::to_string(heads()) + " heads" +
         (options_.causal ? ", causal)" : ")");
}

TAPER_INSTANTIATE_CLASS(MultiheadAttention)

}  // namespace taper::nn
