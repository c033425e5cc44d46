#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include <taper/autodiff/kernels/attention.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/broadcast.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/runs.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

constexpr const char* attention_name = "scaled_dot_product_attention";

/// The inputs are queries, keys, values, and perhaps a mask.
struct AttentionAttributes {
  double scale = 1;
  /// Columns of the queries and keys that each head has; 0 for one head that has all.
  Index head_width = 0;
  bool causal = false;
  double dropout = 0;
  /// Of the operation whose mask is a condition: whether what is not 0 is left out, or what is.
  bool ignored = false;
  /// Whether the scale was not given, and follows from the width. It is not in the list of settings: where
  /// these are data, the scale is a number as any other.
  bool scale_of_width = false;
};

struct AttentionSizes {
  Index heads, width, value_width;
  /// Of the scores: leading axes, then the heads if there is a head_width, queries, keys.
  Shape scores;
};

AttentionSizes attention_sizes(const Signature& s) {
  const auto set = as<AttentionAttributes>(s.attributes);
  const Shape &q = s[0], &k = s[1], &v = s[2];
  const auto refuse = [](const auto&... parts) { throw Error(attention_name, parts...); };
  const bool by_heads = set.head_width > 0;
  const Index rank = q.rank(), most = Shape::max_rank - (by_heads ? 1 : 0);
  if (rank < 2 || rank > most) {
    refuse("queries ", q, ": expected (leading dimensions) x queries x width, ", most, " dimensions at most");
  }
  for (const auto& [name, shape] : {std::pair("keys ", &k), std::pair("values ", &v)}) {
    bool fits = shape->rank() == rank;
    for (Index axis = 0; fits && axis < rank - 2; ++axis) fits = (*shape)[axis] == q[axis];
    if (!fits) refuse(name, *shape, " for queries ", q, ": expected the same leading dimensions");
  }
  if (k.columns() != q.columns()) {
    refuse("keys ", k, " for queries ", q, ": expected a width of ", q.columns());
  }
  if (v[rank - 2] != k[rank - 2]) {
    refuse("values ", v, " for keys ", k, ": expected ", k[rank - 2], " of them, one for each key");
  }
  if (set.head_width < 0 || (by_heads && q.columns() % set.head_width != 0)) {
    refuse("queries ", q, " with heads ", set.head_width,
           " wide: expected a multiple of that as their width");
  }
  AttentionSizes sizes{1, q.columns(), v.columns(), {}};
  if (by_heads) {
    sizes.heads = q.columns() / set.head_width;
    sizes.width = set.head_width;
    if (sizes.heads == 0 ? v.columns() != 0 : v.columns() % sizes.heads != 0) {
      refuse("values ", v, " for ", sizes.heads, " heads: expected a multiple of that as their width");
    }
    sizes.value_width = sizes.heads == 0 ? 0 : v.columns() / sizes.heads;
  }
  if (!(set.dropout >= 0 && set.dropout < 1)) {
    refuse("dropout ", set.dropout, ": expected 0 <= dropout < 1");
  }
  if (!std::isfinite(set.scale)) refuse("scale ", set.scale, ": expected a finite number");
  std::array<Index, Shape::max_rank> scores{};
  std::size_t axes = 0;
  for (Index axis = 0; axis < rank - 2; ++axis) scores[axes++] = q[axis];
  if (by_heads) scores[axes++] = sizes.heads;
  scores[axes++] = q[rank - 2];
  scores[axes++] = k[rank - 2];
  sizes.scores = Shape(scores.data(), static_cast<Index>(axes));
  if (s.inputs() > 3) {
    bool fits = s[3].rank() <= sizes.scores.rank();
    for (Index back = 1; fits && back <= s[3].rank(); ++back) {
      const Index n = s[3][s[3].rank() - back];
      fits = n == 1 || n == sizes.scores[sizes.scores.rank() - back];
    }
    if (!fits) {
      refuse("mask ", s[3], " for scores ", sizes.scores,
             ": expected dimensions that are equal, 1 or missing");
    }
  }
  return sizes;
}

Shape attention_shape(const Signature& s) {
  attention_sizes(s);
  return s[0].with(s[0].rank() - 1, s[2].columns());
}

/// The scratch keeps the weights, behind them the factors of a dropout, and behind these room for the
/// gradient of the scores and what collecting it takes.
Index attention_scratch(const Signature& s, bool added) {
  const AttentionSizes sizes = attention_sizes(s);
  const Index scores = sizes.scores.size();
  Index result = scores;
  if (as<AttentionAttributes>(s.attributes).dropout > 0) result += scores;
  if (added && s.inputs() > 3) result += scores + ops::Walk<1>(sizes.scores, {&s[3]}).scratch(0, s[3]);
  return result;
}

/// What one pass reads.
template <class T> struct AttentionPass {
  AttentionSizes sizes;
  kernels::Attention<T> of{};
  T *weights, *factors = nullptr, *rest;

  AttentionPass(const auto& pass, bool condition) : weights(pass.scratch()) {
    std::array<Shape, 4> shapes;
    std::array<const Shape*, 4> places{};
    const auto inputs = static_cast<std::size_t>(pass.inputs());
    for (std::size_t i = 0; i < inputs; ++i) {
      shapes[i] = pass.input(static_cast<Index>(i)).shape();
      places[i] = &shapes[i];
    }
    sizes = attention_sizes({std::span<const Shape* const>(places.data(), inputs), pass.attributes()});
    const auto set = as<AttentionAttributes>(pass.attributes());
    const Shape& scores = sizes.scores;
    const Index rank = scores.rank(), leading = product(scores, 0, rank - 2);
    of.batches = sizes.heads == 0 ? 0 : leading / sizes.heads;
    of.heads = sizes.heads;
    of.queries = scores[rank - 2];
    of.keys = scores[rank - 1];
    of.width = sizes.width;
    of.value_width = sizes.value_width;
    of.scale = static_cast<T>(set.scale);
    of.causal = set.causal;
    of.group = rank > 2 ? std::max<Index>(1, scores[rank - 3]) : 1;
    rest = weights + scores.size();
    if (set.dropout > 0) {
      of.factors = factors = rest;
      rest += scores.size();
    }
    if (inputs < 4) return;
    using Kind = kernels::AttentionMask;
    of.kind = !condition ? Kind::added : set.ignored ? Kind::ignored : Kind::allowed;
    of.mask = pass.input(3).data();
    Index apart = 1;
    for (Index back = 1; back <= shapes[3].rank(); ++back) {
      const Index n = shapes[3][shapes[3].rank() - back];
      of.apart[static_cast<std::size_t>(4 - back)] = n == 1 ? 0 : apart;
      apart *= n;
    }
  }
};

template <class T, bool condition> void attention_forward(const Forward<T>& f) {
  const AttentionPass<T> pass(f, condition);
  if (pass.factors != nullptr) {
    const double probability = as<AttentionAttributes>(f.attributes()).dropout;
    const T kept = static_cast<T>(1 / (1 - probability));
    Rng rng = f.random();
    for (Index i = 0; i < pass.sizes.scores.size(); ++i)
      pass.factors[i] = rng.uniform() < probability ? T{0} : kept;
  }
  kernels::attention<T>(pass.of, f.input(0).data(), f.input(1).data(), f.input(2).data(), pass.weights,
                        f.output().data());
}

template <class T, bool condition> void attention_backward(const Backward<T>& b) {
  const AttentionPass<T> pass(b, condition);
  const bool of_mask = !condition && b.inputs() > 3 && b.requires_grad(3);
  // What one variable gets as two inputs is added up: each head writes the gradients of its queries first,
  // and adds to the same places afterwards.
  const Gradient<T> q = b.gradient(0), k = b.gradient(1), v = b.gradient(2);
  if (!q && !k && !v && !of_mask) return;
  const auto data = [](const Gradient<T>& g) { return g ? g.data : nullptr; };
  kernels::attention_gradient<T>(
      pass.of, b.input(0).data(), b.input(1).data(), b.input(2).data(), pass.weights,
      b.output_gradient().data(),
      {data(q), data(k), data(v), q.add, k.add, v.add, of_mask ? pass.rest : nullptr});
  if (!of_mask) return;
  const Shape& scores = pass.sizes.scores;
  const Shape mask = b.input(3).shape();
  const ops::Walk<1> walk(scores, {&mask});
  const T one = 1;
  walk.template collect<T>(0, mask.size() != scores.size(), mask.size(), b.gradient(3),
                           pass.rest + scores.size(),
                           [&](const auto&, Index at, const kernels::Strided<T>& to, bool add) {
                             kernels::binary_gradient<T>(kernels::Binary::mul, 0, walk.size[2], walk.size[3],
                                                         {&one, 0, 0}, {&one, 0, 0}, pass.rest + at, to, add);
                           });
}

/// Heads stay heads and leading axes leading ones. Of one head, the axis of queries and keys is summed over
/// for the scores, and the columns of the values are those of the result.
void attention_structure(const Signature& s, const Shape& output, Structure& out) {
  const auto set = as<AttentionAttributes>(s.attributes);
  const AttentionSizes sizes = attention_sizes(s);
  const Index last = output.rank() - 1, heads = sizes.heads;
  const LinkedAxis result{last, 0, output[last], std::max<Index>(1, sizes.value_width)};
  for (Index input : {0, 1, 2}) {
    ops::same_axes(Signature{s.shapes.first(3), s.attributes}, out, input, -1);
    // The last two of them follow below.
    out.links.pop_back();
    out.links.pop_back();
  }
  if (!set.causal) out.same(0, last - 1, last - 1, output[last - 1]);
  out.reduce(1, last - 1, Reduce::other);
  out.reduce(2, last - 1, Reduce::other);
  if (set.head_width == 0) {
    out.contract(0, last, 1, last);
    out.contractions.back().counted = set.scale_of_width;
    out.same(2, last, last, output[last]);
  } else if (sizes.value_width > 0) {
    const LinkedAxis columns{last, 0, s[0][last], sizes.width};
    out.links.push_back({0, columns, result, heads});
    out.links.push_back({1, columns, result, heads});
    out.links.push_back({2, result, result, heads});
  }
  out.preserve_zero(2);
  out.random = set.dropout > 0;
  if (s.inputs() < 4) return;
  const Index missing = sizes.scores.rank() - s[3].rank(), scores_rank = sizes.scores.rank();
  for (Index axis = 0; axis < s[3].rank(); ++axis) {
    const Index at = axis + missing, n = s[3][axis];
    if (at == scores_rank - 1) {
      out.reduce(3, axis, Reduce::other);
    } else if (n != sizes.scores[at]) {
      continue;  // repeated
    } else if (at == scores_rank - 2) {
      if (!set.causal) out.same(3, axis, last - 1, n);
    } else if (set.head_width > 0 && at == scores_rank - 3) {
      if (sizes.value_width > 0) out.links.push_back({3, {axis, 0, n}, result, heads});
    } else {
      out.same(3, axis, at, n);
    }
  }
}

Index attention_multiply_adds(const Signature& s) {
  const AttentionSizes sizes = attention_sizes(s);
  return sizes.scores.size() * (sizes.width + sizes.value_width);
}

std::vector<GradcheckCase> attention_samples(Rng& rng, bool condition) {
  struct Use {
    Shape q, k, v, mask;  // a scalar for none
    AttentionAttributes set{};
  };
  const Use uses[] = {
      {{3, 2}, {4, 2}, {4, 3}, {3, 4}, {}},
      {{2, 3, 2}, {2, 4, 2}, {2, 4, 3}, {2, 1, 4}, {}},
      {{2, 3, 2, 2}, {2, 3, 3, 2}, {2, 3, 3, 1}, {3, 1, 3}, {}},
      {{2, 3, 4}, {2, 2, 4}, {2, 2, 6}, {2, 2, 3, 2}, {.scale = 0.7, .head_width = 2}},
      {{2, 3, 6}, {2, 4, 6}, {2, 4, 3}, {2, 1, 1, 4}, {.scale = 0.3, .head_width = 2}},
      {{3, 4}, {3, 4}, {3, 4}, {3, 3}, {.scale = 0.5, .head_width = 2, .causal = true}},
      {{2, 4, 4}, {2, 3, 4}, {2, 3, 4}, {1, 4, 3}, {.head_width = 4, .causal = true}},
      {{2, 2, 4}, {2, 3, 4}, {2, 3, 4}, {3}, {.head_width = 2}},
  };
  std::vector<GradcheckCase> result;
  for (const Use& use : uses) {
    GradcheckCase example{{ops::uniform(rng, use.q), ops::uniform(rng, use.k), ops::uniform(rng, use.v)},
                          use.set};
    if (!condition) result.push_back(example);
    for (const bool ignored : {false, true}) {
      if (!condition && ignored) continue;
      AttentionAttributes set = use.set;
      set.ignored = ignored;
      GradcheckCase masked = example;
      masked.attributes = set;
      masked.inputs.push_back(condition ? ops::whole(rng, use.mask, 2) : ops::uniform(rng, use.mask));
      result.push_back(masked);
    }
  }
  return result;
}

#define TAPER_ATTENTION_FIELDS                                                             \
  attribute_fields<AttentionAttributes>({{"scale", &AttentionAttributes::scale},           \
                                         {"head_width", &AttentionAttributes::head_width}, \
                                         {"causal", &AttentionAttributes::causal},         \
                                         {"dropout", &AttentionAttributes::dropout},       \
                                         {"ignored", &AttentionAttributes::ignored}})

/// The mask is added to the scores, and has a gradient.
template <class T>
const Op<T> attention_op{{
    .name = "scaled_dot_product_attention",
    .arity = {3, 4},
    .shape = attention_shape,
    .forward = attention_forward<T, false>,
    .backward = attention_backward<T, false>,
    .attributes = TAPER_ATTENTION_FIELDS,
    .structure = attention_structure,
    .gradcheck_cases = [](Rng& rng) { return attention_samples(rng, false); },
    .scratch = [](const Signature& s) { return attention_scratch(s, true); },
    .multiply_adds = attention_multiply_adds,
    .backward_needs_output = false,
}};

/// The mask is a condition.
template <class T>
const Op<T> masked_attention_op{{
    .name = "masked_attention",
    .arity = 4,
    .shape = attention_shape,
    .forward = attention_forward<T, true>,
    .backward = attention_backward<T, true>,
    .attributes = TAPER_ATTENTION_FIELDS,
    .structure = attention_structure,
    .gradcheck_cases = [](Rng& rng) { return attention_samples(rng, true); },
    .scratch = [](const Signature& s) { return attention_scratch(s, false); },
    .multiply_adds = attention_multiply_adds,
    .constants = 0b1000,
    .backward_needs_output = false,
}};
#undef TAPER_ATTENTION_FIELDS

}  // namespace

template <class T>
Var<T> scaled_dot_product_attention(Var<T> query, Var<T> key, Var<T> value,
                                    const AttentionOptions<std::type_identity_t<T>>& options) {
  AttentionAttributes set{
      .head_width = options.head_width, .causal = options.causal, .dropout = options.dropout};
  const Index width = options.head_width > 0 ? options.head_width : query.shape().columns();
  set.scale_of_width = !options.scale;
  set.scale = options.scale.value_or(width > 0 ? 1 / std::sqrt(static_cast<double>(width)) : 1);
  if (!options.mask) return apply(attention_op<T>, {query, key, value}, set);
  set.ignored = options.mask_kind == AttentionMask::ignored;
  if (options.mask_kind == AttentionMask::added) {
    return apply(attention_op<T>, {query, key, value, *options.mask}, set);
  }
  if (options.mask_kind == AttentionMask::none) {
    throw Error(attention_name, "a mask ", options.mask->shape(),
                " of the kind none: expected added, allowed or ignored");
  }
  return apply(masked_attention_op<T>, {query, key, value, *options.mask}, set);
}

#define TAPER_INSTANTIATE(T) \
  template Var<T> scaled_dot_product_attention(Var<T>, Var<T>, Var<T>, const AttentionOptions<T>&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
