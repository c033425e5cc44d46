#include <taper/autodiff/kernels/where.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/broadcast.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

/// Operations that choose entries and repeat them: nothing is computed, so nothing is rounded.
namespace taper {
namespace {

using kernels::Binary;
using kernels::Strided;

/// Adds up, for each entry of an operand, the gradients of all places that it is repeated to. Of many, what
/// rounding loses is added again; `scratch` has what Walk::scratch says.
template <class T>
void collect_repeated(const T* from, const Shape& out, const Shape& shape, const Gradient<T>& g, T* scratch) {
  const ops::Walk<1> walk(out, {&shape});
  const T one = 1;
  walk.collect(0, shape.size() != out.size(), shape.size(), g, scratch,
               [&](const auto&, Index at, const Strided<T>& to, bool add) {
                 kernels::binary_gradient<T>(Binary::mul, 0, walk.size[2], walk.size[3], {&one, 0, 0},
                                             {&one, 0, 0}, from + at, to, add);
               });
}

// where: the inputs are condition, a and b.

Shape where_shape(const Signature& s) {
  return ops::broadcast(s[0], ops::broadcast(s[1], s[2], "where"), "where");
}

template <class T> void where_gradient(const Backward<T>& b, Index input, const Shape& out) {
  const Gradient<T> g = b.gradient(input);
  if (!g) return;
  const View<const T> condition = b.input(0);
  const Shape& shape = b.input(input).shape();
  const T zero = 0;
  const bool whole = shape.size() == out.size() && !g.add;
  T* const chosen = whole ? g.data : b.scratch();
  const ops::Walk<2> walk(out, {&condition.shape(), &out});
  walk.for_matrices([&](const auto& offsets, Index at) {
    const Strided<const T> gradient = walk.operand(1, b.output_gradient().data() + offsets[1]);
    const Strided<const T> none{&zero, 0, 0};
    kernels::where<T>(walk.size[2], walk.size[3], walk.operand(0, condition.data() + offsets[0]),
                      input == 1 ? gradient : none, input == 1 ? none : gradient, chosen + at);
  });
  if (!whole) collect_repeated<T>(chosen, out, shape, g, b.scratch() + out.size());
}

template <class T>
const Op<T> where_op{{
    .name = "where",
    .arity = 3,
    .shape = where_shape,
    .forward =
        [](const Forward<T>& f) {
          const View<const T> c = f.input(0), a = f.input(1), b = f.input(2);
          const ops::Walk<3> walk(f.output().shape(), {&c.shape(), &a.shape(), &b.shape()});
          walk.for_matrices([&](const auto& offsets, Index out) {
            kernels::where<T>(walk.size[2], walk.size[3], walk.operand(0, c.data() + offsets[0]),
                              walk.operand(1, a.data() + offsets[1]), walk.operand(2, b.data() + offsets[2]),
                              f.output().data() + out);
          });
        },
    .backward =
        [](const Backward<T>& b) {
          const Shape out = b.output().shape();
          where_gradient<T>(b, 1, out);
          where_gradient<T>(b, 2, out);
        },
    .structure = ops::elementwise,
    .gradcheck_cases =
        [](Rng& rng) {
          const std::array<Shape, 3> uses[] = {{Shape{3, 5}, {3, 5}, {3, 5}},
                                               {Shape{3, 1}, {3, 5}, {5}},
                                               {Shape{5}, {}, {3, 5}},
                                               {Shape{2, 3, 1, 2}, {2, 1, 4, 1}, {3, 1, 1}}};
          std::vector<GradcheckCase> result;
          for (const auto& [condition, a, b] : uses) {
            result.push_back({{ops::whole(rng, condition, 2), ops::uniform(rng, a), ops::uniform(rng, b)}});
          }
          return result;
        },
    .scratch =
        [](const Signature& s) {
          const Shape out = where_shape(s);
          Index most = 0;
          for (Index i : {1, 2}) most = std::max(most, ops::Walk<1>(out, {&s[i]}).scratch(0, s[i]));
          return out.size() + most;
        },
    .constants = 0b1,
    .backward_needs_output = false,
}};

struct ExpandAttributes {
  IndexList dimensions;
};

Shape expanded(const Signature& s) {
  const IndexList dimensions = as<ExpandAttributes>(s.attributes).dimensions;
  std::array<Index, Shape::max_rank> result{};
  const Index missing = dimensions.size() - s[0].rank();
  for (Index k = 0; k < dimensions.size(); ++k) {
    const bool there = k >= missing;
    const Index given = dimensions[k], own = there ? s[0][k - missing] : 1;
    if (missing < 0 || given < -1 || (given == -1 && !there) || (given != -1 && own != 1 && own != given)) {
      throw Error("expand", "a tensor ", s[0], " to dimension ", given, " of axis ", k, ": expected ",
                  there ? own : Index{0}, there ? (own == 1 ? " repeated, or -1" : " or -1") : " or more");
    }
    result[static_cast<std::size_t>(k)] = given == -1 ? own : given;
  }
  if (missing < 0) {
    throw Error("expand", "a tensor ", s[0], " to ", dimensions.size(), " dimensions: expected ", s[0].rank(),
                " or more");
  }
  return Shape(result.data(), dimensions.size());
}

template <class T>
const Op<T> expand_op{{
    .name = "expand",
    .arity = 1,
    .shape = expanded,
    .forward =
        [](const Forward<T>& f) {
          const View<const T> x = f.input(0);
          const ops::Walk<1> walk(f.output().shape(), {&x.shape()});
          const T one = 1;
          walk.for_matrices([&](const auto& offsets, Index out) {
            kernels::binary<T>(Binary::mul, walk.size[2], walk.size[3],
                               walk.operand(0, x.data() + offsets[0]), {&one, 0, 0}, f.output().data() + out);
          });
        },
    .backward =
        [](const Backward<T>& b) {
          if (const Gradient<T> g = b.gradient(0)) {
            collect_repeated<T>(b.output_gradient().data(), b.output().shape(), b.input(0).shape(), g,
                                b.scratch());
          }
        },
    .attributes = attribute_fields<ExpandAttributes>({{"dimensions", &ExpandAttributes::dimensions}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          const IndexList dimensions = as<ExpandAttributes>(s.attributes).dimensions;
          const Index missing = output.rank() - s[0].rank();
          for (Index axis = 0; axis < output.rank(); ++axis) {
            if (dimensions[axis] != -1) out.literal_axes.push_back(axis);
            const Index from = axis - missing;
            if (from >= 0 && s[0][from] == output[axis]) out.same(0, from, axis, output[axis]);
          }
          out.preserve_zero(0);
        },
    .cut_attributes = [](const Signature& s, const Shape& y, const Kept& kept) -> Attributes {
      IndexList dimensions = as<ExpandAttributes>(s.attributes).dimensions;
      for (Index k = 0; k < y.rank(); ++k) {
        if (dimensions[k] != -1) {
          dimensions[k] = static_cast<Index>(kept.output[static_cast<std::size_t>(k)].size());
        }
      }
      return ExpandAttributes{dimensions};
    },
    .gradcheck_cases =
        [](Rng& rng) {
          const std::pair<Shape, IndexList> uses[] = {{{3, 1}, {-1, 5}}, {{5}, {3, 5}},
                                                      {{}, {2, 3}},      {{2, 1, 3, 1}, {-1, 4, -1, 2}},
                                                      {{2, 3}, {-1, 3}}, {{2}, {20, 3, 2}}};
          std::vector<GradcheckCase> result;
          for (const auto& [shape, dimensions] : uses) {
            result.push_back({{ops::uniform(rng, shape)}, ExpandAttributes{dimensions}});
          }
          return result;
        },
    .scratch = [](const Signature& s) { return ops::Walk<1>(expanded(s), {&s[0]}).scratch(0, s[0]); },
    .backward_needs_output = false,
}};

}  // namespace

template <class T> Var<T> where(Var<T> condition, Var<T> a, Var<T> b) {
  return apply(where_op<T>, {condition, a, b});
}

template <class T> Var<T> expand(Var<T> x, std::initializer_list<Index> dimensions) {
  return apply(expand_op<T>, {x}, ExpandAttributes{IndexList(dimensions)});
}

#define TAPER_INSTANTIATE(T)                     \
  template Var<T> where(Var<T>, Var<T>, Var<T>); \
  template Var<T> expand(Var<T>, std::initializer_list<Index>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
