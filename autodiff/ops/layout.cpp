#include <cmath>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/runs.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

struct TransposeAttributes {
  Index first, second;  // first < second
};

/// Seen from the two axes, a tensor is outer x p x middle x q x inner.
struct Exchange {
  Index outer, p, middle, q, inner;

  Exchange(const Shape& x, const Attributes& attributes) {
    const auto [first, second] = as<TransposeAttributes>(attributes);
    outer = product(x, 0, first);
    p = x[first];
    middle = product(x, first + 1, second);
    q = x[second];
    inner = product(x, second + 1, x.rank());
  }

  /// to[o, j, m, i, :] = from[o, i, m, j, :] for i in p and j in q, or the other way round.
  template <class T> void run(const T* from, T* to, bool back, bool add) const {
    for (Index o = 0; o < outer; ++o) {
      for (Index i = 0; i < p; ++i) {
        for (Index m = 0; m < middle; ++m) {
          for (Index j = 0; j < q; ++j) {
            const Index here = (((o * p + i) * middle + m) * q + j) * inner;
            const Index there = (((o * q + j) * middle + m) * p + i) * inner;
            const T* source = from + (back ? there : here);
            T* target = to + (back ? here : there);
            for (Index k = 0; k < inner; ++k) target[k] = add ? target[k] + source[k] : source[k];
          }
        }
      }
    }
  }
};

template <class T>
const Op<T> transpose_op{{
    .name = "transpose",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const auto [first, second] = as<TransposeAttributes>(s.attributes);
          ops::require_axis("transpose", first, s[0]);
          ops::require_axis("transpose", second, s[0]);
          if (first >= second) {
            throw Error("transpose", "axes ", first, " and ", second, ": expected the smaller one first");
          }
          return s[0].with(first, s[0][second]).with(second, s[0][first]);
        },
    .forward =
        [](const Forward<T>& f) {
          Exchange(f.input(0).shape(), f.attributes())
              .run(f.input(0).data(), f.output().data(), false, false);
        },
    .backward =
        [](const Backward<T>& b) {
          if (const Gradient<T> g = b.gradient(0)) {
            Exchange(b.input(0).shape(), b.attributes()).run(b.output_gradient().data(), g.data, true, g.add);
          }
        },
    .attributes = attribute_fields<TransposeAttributes>(
        {{"first", &TransposeAttributes::first}, {"second", &TransposeAttributes::second}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const auto [first, second] = as<TransposeAttributes>(s.attributes);
          for (Index axis = 0; axis < s[0].rank(); ++axis) {
            out.same(0, axis, axis == first ? second : axis == second ? first : axis, s[0][axis]);
          }
          out.preserve_zero(0);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {3, 4})}, TransposeAttributes{0, 1}},
                                            {{ops::uniform(rng, {2, 3, 2, 4})}, TransposeAttributes{0, 2}},
                                            {{ops::uniform(rng, {2, 3, 2})}, TransposeAttributes{0, 1}}};
        },
}};

struct SliceAttributes {
  Index axis, begin, end;
};

template <class T>
const Op<T> slice_op{{
    .name = "slice",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const auto [axis, begin, end] = as<SliceAttributes>(s.attributes);
          ops::require_axis("slice", axis, s[0]);
          if (begin < 0 || begin > end || end > s[0][axis]) {
            throw Error("slice", "[", begin, ", ", end, ") of axis ", axis, " of a tensor ", s[0],
                        ": expected a range inside [0, ", s[0][axis], ")");
          }
          return s[0].with(axis, end - begin);
        },
    .forward =
        [](const Forward<T>& f) {
          const auto [axis, begin, end] = as<SliceAttributes>(f.attributes());
          const Shape& x = f.input(0).shape();
          const Index outer = product(x, 0, axis), inner = product(x, axis + 1, x.rank()),
                      run = (end - begin) * inner;
          for (Index o = 0; o < outer; ++o) {
            std::copy_n(f.input(0).data() + (o * x[axis] + begin) * inner, run, f.output().data() + o * run);
          }
        },
    .backward =
        [](const Backward<T>& b) {
          const Gradient<T> g = b.gradient(0);
          if (!g) return;
          const auto [axis, begin, end] = as<SliceAttributes>(b.attributes());
          const Shape& x = b.input(0).shape();
          const Index outer = product(x, 0, axis), inner = product(x, axis + 1, x.rank()),
                      run = (end - begin) * inner;
          if (!g.add) std::fill_n(g.data, x.size(), T{0});
          for (Index o = 0; o < outer; ++o) {
            store_or_add_run(b.output_gradient().data() + o * run, run,
                             g.data + (o * x[axis] + begin) * inner, g.add);
          }
        },
    .attributes = attribute_fields<SliceAttributes>({{"axis", &SliceAttributes::axis},
                                                     {"begin", &SliceAttributes::begin},
                                                     {"end", &SliceAttributes::end}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const auto [axis, begin, end] = as<SliceAttributes>(s.attributes);
          ops::same_axes(s, out, 0, axis);
          out.links.push_back({0, {axis, begin, end}, {axis, 0, end - begin}, end - begin});
          out.literal_axes = {axis};
          out.preserve_zero(0);
        },
    .cut_attributes = [](const Signature& s, const Shape&, const Kept& kept) -> Attributes {
      const auto [axis, begin, end] = as<SliceAttributes>(s.attributes);
      const std::vector<Index>& all = kept.inputs[0][static_cast<std::size_t>(axis)];
      const auto before = [&](Index position) {  // how many stay before it
        return static_cast<Index>(std::ranges::lower_bound(all, position) - all.begin());
      };
      return SliceAttributes{axis, before(begin), before(end)};
    },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {5, 3})}, SliceAttributes{0, 1, 4}},
                                            {{ops::uniform(rng, {2, 6, 3})}, SliceAttributes{1, 2, 3}},
                                            {{ops::uniform(rng, {4, 5})}, SliceAttributes{1, 0, 2}}};
        },
}};

struct ConcatAttributes {
  Index axis;
};

template <class T>
const Op<T> concat_op{{
    .name = "concat",
    .arity = {1, Arity::any},
    .shape =
        [](const Signature& s) {
          const auto [axis] = as<ConcatAttributes>(s.attributes);
          ops::require_axis("concat", axis, s[0]);
          Index total = 0;
          for (Index i = 0; i < s.inputs(); ++i) {
            if (s[i].rank() != s[0].rank() || s[i].with(axis, 0) != s[0].with(axis, 0)) {
              throw Error("concat", s[i], " next to ", s[0], ": expected equal dimensions except axis ",
                          axis);
            }
            total += s[i][axis];
          }
          return s[0].with(axis, total);
        },
    .forward =
        [](const Forward<T>& f) {
          const auto [axis] = as<ConcatAttributes>(f.attributes());
          const Shape& y = f.output().shape();
          const Index outer = product(y, 0, axis), inner = product(y, axis + 1, y.rank());
          Index offset = 0;
          for (Index i = 0; i < f.inputs(); ++i) {
            const View<const T> x = f.input(i);
            const Index run = x.shape()[axis] * inner;
            for (Index o = 0; o < outer; ++o) {
              std::copy_n(x.data() + o * run, run, f.output().data() + o * y[axis] * inner + offset);
            }
            offset += run;
          }
        },
    .backward =
        [](const Backward<T>& b) {
          const auto [axis] = as<ConcatAttributes>(b.attributes());
          const Shape& y = b.output().shape();
          const Index outer = product(y, 0, axis), inner = product(y, axis + 1, y.rank());
          Index offset = 0;
          for (Index i = 0; i < b.inputs(); ++i) {
            const Index run = b.input(i).shape()[axis] * inner;
            if (const Gradient<T> g = b.gradient(i)) {
              for (Index o = 0; o < outer; ++o) {
                store_or_add_run(b.output_gradient().data() + o * y[axis] * inner + offset, run,
                                 g.data + o * run, g.add);
              }
            }
            offset += run;
          }
        },
    .attributes = attribute_fields<ConcatAttributes>({{"axis", &ConcatAttributes::axis}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const auto [axis] = as<ConcatAttributes>(s.attributes);
          Index offset = 0;
          for (Index i = 0; i < s.inputs(); ++i) {
            const Index n = s[i][axis];
            ops::same_axes(s, out, i, axis);
            out.links.push_back({i, {axis, 0, n}, {axis, offset, offset + n}, n});
            offset += n;
          }
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{
              {{ops::uniform(rng, {2, 3}), ops::uniform(rng, {4, 3})}, ConcatAttributes{0}},
              {{ops::uniform(rng, {2, 3, 2}), ops::uniform(rng, {2, 1, 2}), ops::uniform(rng, {2, 2, 2})},
               ConcatAttributes{1}}};
        },
}};

}  // namespace

template <class T> Var<T> stack(std::span<const Var<T>> parts, Index axis) {
  if (parts.empty()) throw Error("stack", "no tensors: expected one or more");
  std::vector<Var<T>> several;
  for (const Var<T>& part : parts) {
    if (part.shape() != parts[0].shape()) {
      throw Error("stack", part.shape(), " next to ", parts[0].shape(), ": expected equal shapes");
    }
    several.push_back(unsqueeze(part, axis));
  }
  return concat(std::span<const Var<T>>(several), axis);
}

template <class T> Var<T> transpose(Var<T> x, Index first, Index second) {
  const auto [low, high] =
      std::minmax({x.shape().axis(first, "transpose"), x.shape().axis(second, "transpose")});
  if (low == high) return x;
  return apply(transpose_op<T>, {x}, TransposeAttributes{low, high});
}

template <class T> Var<T> slice(Var<T> x, Index axis, Index begin, Index end) {
  return apply(slice_op<T>, {x}, SliceAttributes{x.shape().axis(axis, "slice"), begin, end});
}

template <class T> Var<T> concat(std::span<const Var<T>> parts, Index axis) {
  if (parts.empty()) throw Error("concat", "no tensors: expected one or more");
  return parts[0].tape().record(concat_op<T>, parts, ConcatAttributes{parts[0].shape().axis(axis, "concat")});
}

#define TAPER_INSTANTIATE(T)                             \
  template Var<T> transpose(Var<T>, Index, Index);       \
  template Var<T> stack(std::span<const Var<T>>, Index); \
  template Var<T> slice(Var<T>, Index, Index, Index);    \
  template Var<T> concat(std::span<const Var<T>>, Index);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
