#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/runs.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

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

struct ChunkAttributes {
  Index axis, part, parts;
};

/// A tensor as outer x (parts run), of which one part is taken.
struct Chunk {
  Index outer, run, part, parts;

  Chunk(const Shape& x, const Attributes& attributes) {
    const auto set = as<ChunkAttributes>(attributes);
    outer = product(x, 0, set.axis);
    run = x[set.axis] / set.parts * product(x, set.axis + 1, x.rank());
    part = set.part;
    parts = set.parts;
  }
  Index place(Index o) const { return (o * parts + part) * run; }
};

template <class T>
const Op<T> chunk_op{{
    .name = "chunk",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const auto [axis, part, parts] = as<ChunkAttributes>(s.attributes);
          ops::require_axis("chunk", axis, s[0]);
          if (parts < 1 || part < 0 || part >= parts || s[0][axis] % parts != 0) {
            throw Error("chunk", "part ", part, " of ", parts, " of axis ", axis, " of a tensor ", s[0],
                        ": expected one of equal parts, counted from 0");
          }
          return s[0].with(axis, s[0][axis] / parts);
        },
    .forward =
        [](const Forward<T>& f) {
          const Chunk chunk(f.input(0).shape(), f.attributes());
          for (Index o = 0; o < chunk.outer; ++o) {
            std::copy_n(f.input(0).data() + chunk.place(o), chunk.run, f.output().data() + o * chunk.run);
          }
        },
    .backward =
        [](const Backward<T>& b) {
          const Gradient<T> g = b.gradient(0);
          if (!g) return;
          const Chunk chunk(b.input(0).shape(), b.attributes());
          if (!g.add) std::fill_n(g.data, b.input(0).size(), T{0});
          for (Index o = 0; o < chunk.outer; ++o) {
            store_or_add_run(b.output_gradient().data() + o * chunk.run, chunk.run, g.data + chunk.place(o),
                             g.add);
          }
        },
    .attributes = attribute_fields<ChunkAttributes>({{"axis", &ChunkAttributes::axis},
                                                     {"part", &ChunkAttributes::part},
                                                     {"parts", &ChunkAttributes::parts}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          // What is cut goes from all parts, so that they stay equal.
          const Index axis = as<ChunkAttributes>(s.attributes).axis, n = output[axis];
          ops::same_axes(s, out, 0, axis);
          out.links.push_back({0, {axis, 0, s[0][axis]}, {axis, 0, n}, n});
          out.preserve_zero(0);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {6, 3})}, ChunkAttributes{0, 1, 3}},
                                            {{ops::uniform(rng, {2, 6, 2})}, ChunkAttributes{1, 0, 2}},
                                            {{ops::uniform(rng, {4, 6})}, ChunkAttributes{1, 2, 3}}};
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

template <class T> Var<T> slice(Var<T> x, Index axis, Index begin, Index end) {
  return apply(slice_op<T>, {x}, SliceAttributes{x.shape().axis(axis, "slice"), begin, end});
}

template <class T> Var<T> chunk(Var<T> x, Index part, Index parts, Index axis) {
  return apply(chunk_op<T>, {x}, ChunkAttributes{x.shape().axis(axis, "chunk"), part, parts});
}

template <class T> Var<T> concat(std::span<const Var<T>> parts, Index axis) {
  if (parts.empty()) throw Error("concat", "no tensors: expected one or more");
  return parts[0].tape().record(concat_op<T>, parts, ConcatAttributes{parts[0].shape().axis(axis, "concat")});
}

#define TAPER_INSTANTIATE(T)                             \
  template Var<T> stack(std::span<const Var<T>>, Index); \
  template Var<T> slice(Var<T>, Index, Index, Index);    \
  template Var<T> chunk(Var<T>, Index, Index, Index);    \
  template Var<T> concat(std::span<const Var<T>>, Index);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
