#include <cmath>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/runs.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

// reshape: one dimension may be -1.

struct ReshapeAttributes {
  IndexList dimensions;
};

Shape reshaped(const Signature& s) {
  IndexList dimensions = as<ReshapeAttributes>(s.attributes).dimensions;
  Index open = -1;
  for (Index k = 0; k < dimensions.size(); ++k) {
    if (dimensions[k] != -1) continue;
    if (open >= 0) throw Error("reshape", "two dimensions are -1: expected at most one");
    open = k;
  }
  if (open >= 0) {
    dimensions[open] = 1;
    const Index known = Shape(dimensions.begin(), dimensions.size()).size();
    dimensions[open] = known == 0 ? 0 : s[0].size() / known;
  }
  const Shape result(dimensions.begin(), dimensions.size());
  if (result.size() != s[0].size()) {
    throw Error("reshape", "a tensor ", s[0], " to ", result, ": expected ", s[0].size(), " entries");
  }
  return result;
}

/// Adjacent axes [begin, end) of a shape.
struct AxisRange {
  Index begin, end;
};

/// Links several axes of one side with the one of the other that they are laid out in: neighbours of one of
/// them are as far apart as the product of those behind it. An axis of one index has nothing to tell apart.
void link_laid_out(const Shape& several, AxisRange axes, Index one, bool flatten, Structure& out) {
  const Index n = product(several, axes.begin, axes.end);
  for (Index axis = axes.begin; axis < axes.end; ++axis) {
    const Index classes = several[axis];
    if (classes == 1 && n != 1) continue;
    const LinkedAxis alone{axis, 0, classes}, among{one, 0, n, product(several, axis + 1, axes.end)};
    out.links.push_back({0, flatten ? alone : among, flatten ? among : alone, classes});
  }
}

/// Both shapes fall into groups of adjacent axes with the same number of entries. What a group is laid out
/// in on the other side is known where one side has a single axis longer than 1.
void reshape_structure(const Signature& s, const Shape& y, Structure& out) {
  const Shape& x = s[0];
  const IndexList literal = as<ReshapeAttributes>(s.attributes).dimensions;
  for (Index k = 0; k < y.rank(); ++k) {
    if (literal[k] != -1) out.literal_axes.push_back(k);
  }
  out.preserve_zero(0);
  if (x.size() == 0) {  // any dimensions have as many entries: those in front are the same
    for (Index k = 0; k < std::min(x.rank(), y.rank()) && x[k] == y[k]; ++k) out.same(0, k, k, x[k]);
    return;
  }
  AxisRange from{0, 0}, to{0, 0};
  while (from.begin < x.rank() && to.begin < y.rank()) {
    from.end = from.begin + 1;
    to.end = to.begin + 1;
    for (Index a = x[from.begin], b = y[to.begin]; a != b;) a < b ? a *= x[from.end++] : b *= y[to.end++];
    const auto single = [](const Shape& shape, AxisRange axes) {  // its only axis longer than 1, or -1
      Index found = axes.end - axes.begin == 1 ? axes.begin : -1, longer = 0;
      for (Index k = axes.begin; k < axes.end; ++k) {
        if (shape[k] != 1) found = k, ++longer;
      }
      return longer > 1 ? -1 : found;
    };
    if (const Index one = single(y, to); one >= 0) {
      link_laid_out(x, from, one, true, out);
    } else if (const Index of = single(x, from); of >= 0) {
      link_laid_out(y, to, of, false, out);
    }
    from.begin = from.end;
    to.begin = to.end;
  }
}

template <class T>
const Op<T> reshape_op{{
    .name = "reshape",
    .arity = 1,
    .shape = reshaped,
    .forward =
        [](const Forward<T>& f) { std::copy_n(f.input(0).data(), f.output().size(), f.output().data()); },
    .backward =
        [](const Backward<T>& b) {
          if (const Gradient<T> g = b.gradient(0))
            store_or_add_run(b.output_gradient().data(), b.output().size(), g.data, g.add);
        },
    .attributes = attribute_fields<ReshapeAttributes>({{"dimensions", &ReshapeAttributes::dimensions}}),
    .structure = reshape_structure,
    .cut_attributes = [](const Signature& s, const Shape& y, const Kept& kept) -> Attributes {
      IndexList dimensions = as<ReshapeAttributes>(s.attributes).dimensions;
      bool empty = false;
      for (Index k = 0; k < y.rank(); ++k) empty |= kept.output[static_cast<std::size_t>(k)].empty();
      for (Index k = 0; k < y.rank(); ++k) {
        // Without entries, nothing else says how long the open dimension is.
        if (dimensions[k] != -1 || empty)
          dimensions[k] = static_cast<Index>(kept.output[static_cast<std::size_t>(k)].size());
      }
      return ReshapeAttributes{dimensions};
    },
    .gradcheck_cases =
        [](Rng& rng) {
          const std::pair<Shape, IndexList> uses[] = {
              {{3, 4}, {2, -1, 2}}, {{1, 1}, {}},           {{2, 3, 2, 2}, {2, -1}}, {{2, 12}, {-1, 3, 2, 2}},
              {{2, 3, 4}, {-1, 4}}, {{4, 6}, {2, 2, 3, 2}}, {{3, 1, 4}, {3, 4}},     {{3, 4}, {1, 3, 1, 4}},
              {{1, 6}, {-1, 2, 3}}, {{2, 2, 3, 2}, {-1, 6}}};
          std::vector<GradcheckCase> result;
          for (const auto& [shape, dimensions] : uses) {
            result.push_back({{ops::uniform(rng, shape)}, ReshapeAttributes{dimensions}});
          }
          return result;
        },
}};

/// A reshape to the dimensions of x without, or with one more. The first dimension of x, which is most often
/// the number of rows, is left open, so that the recording does not depend on it.
template <class T> Var<T> with_axes(Var<T> x, std::vector<Index> dimensions, Index first) {
  if (x.shape().size() > 0 && first >= 0) dimensions[static_cast<std::size_t>(first)] = -1;
  return apply(reshape_op<T>, {x}, ReshapeAttributes{IndexList(std::span<const Index>(dimensions))});
}

template <class T> std::vector<Index> dimensions_of(Var<T> x) {
  std::vector<Index> result;
  for (Index k = 0; k < x.shape().rank(); ++k) result.push_back(x.shape()[k]);
  return result;
}

}  // namespace

template <class T> Var<T> reshape(Var<T> x, std::initializer_list<Index> dimensions) {
  if (dimensions.size() > static_cast<std::size_t>(Shape::max_rank)) {
    throw Error("reshape", dimensions.size(), " dimensions: expected at most ", Shape::max_rank);
  }
  return apply(reshape_op<T>, {x}, ReshapeAttributes{dimensions});
}
template <class T> Var<T> unsqueeze(Var<T> x, Index axis) {
  const Index rank = x.shape().rank(), before = axis < 0 ? axis + rank + 1 : axis;
  if (before < 0 || before > rank) {
    throw Error("unsqueeze", "axis ", axis, " of a tensor ", x.shape(), ": expected ", -rank - 1, " to ",
                rank);
  }
  if (rank == Shape::max_rank) {
    throw Error("unsqueeze", "a tensor ", x.shape(), ": expected at most ", Shape::max_rank - 1,
                " dimensions");
  }
  std::vector<Index> dimensions = dimensions_of(x);
  dimensions.insert(dimensions.begin() + before, 1);
  return with_axes(x, dimensions, rank == 0 ? -1 : before == 0 ? 1 : 0);
}

template <class T> Var<T> squeeze(Var<T> x, Index axis) {
  const Index gone = x.shape().axis(axis, "squeeze");
  if (x.shape()[gone] != 1) {
    throw Error("squeeze", "axis ", gone, " of a tensor ", x.shape(), ": expected one of length 1");
  }
  std::vector<Index> dimensions = dimensions_of(x);
  dimensions.erase(dimensions.begin() + gone);
  return with_axes(x, dimensions, gone == 0 ? -1 : 0);
}

#define TAPER_INSTANTIATE(T)                                     \
  template Var<T> reshape(Var<T>, std::initializer_list<Index>); \
  template Var<T> unsqueeze(Var<T>, Index);                      \
  template Var<T> squeeze(Var<T>, Index);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
