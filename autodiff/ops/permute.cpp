#include <algorithm>
#include <array>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/runs.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

/// Operations that put axes in another order.
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

struct PermuteAttributes {
  IndexList order;
};

/// A tensor with its axes in another order, as four dimensions: those of the result, and how far apart their
/// indices are in x.
struct Order {
  std::array<Index, Shape::max_rank> size{1, 1, 1, 1}, apart{};

  Order(const Shape& x, const Attributes& attributes) {
    const IndexList order = as<PermuteAttributes>(attributes).order;
    for (Index k = 0; k < x.rank(); ++k) {
      const auto to = static_cast<std::size_t>(Shape::max_rank - x.rank() + k);
      size[to] = x[order[k]];
      apart[to] = product(x, order[k] + 1, x.rank());
    }
  }

  /// f(place in x, place in the result, how many, how far apart they are in x) for each row of the result.
  template <class F> void for_rows(const F& f) const {
    Index to = 0;
    for (Index i = 0; i < size[0]; ++i) {
      for (Index j = 0; j < size[1]; ++j) {
        for (Index k = 0; k < size[2]; ++k, to += size[3])
          f(i * apart[0] + j * apart[1] + k * apart[2], to, size[3], apart[3]);
      }
    }
  }
};

template <class T>
const Op<T> permute_op{{
    .name = "permute",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const IndexList order = as<PermuteAttributes>(s.attributes).order;
          unsigned named = 0;
          std::array<Index, Shape::max_rank> dimensions{};
          for (Index k = 0; k < order.size(); ++k) {
            ops::require_axis("permute", order[k], s[0]);
            if ((named >> order[k] & 1u) != 0) {
              throw Error("permute", "axis ", order[k], " twice, of a tensor ", s[0], ": expected each once");
            }
            named |= 1u << order[k];
            dimensions[static_cast<std::size_t>(k)] = s[0][order[k]];
          }
          if (order.size() != s[0].rank()) {
            throw Error("permute", order.size(), " axes of a tensor ", s[0], ": expected ", s[0].rank());
          }
          return Shape(dimensions.data(), order.size());
        },
    .forward =
        [](const Forward<T>& f) {
          const T* const x = f.input(0).data();
          T* const y = f.output().data();
          Order(f.input(0).shape(), f.attributes()).for_rows([&](Index from, Index to, Index n, Index apart) {
            for (Index l = 0; l < n; ++l) y[to + l] = x[from + l * apart];
          });
        },
    .backward =
        [](const Backward<T>& b) {
          const Gradient<T> g = b.gradient(0);
          if (!g) return;
          const T* const gy = b.output_gradient().data();
          Order(b.input(0).shape(), b.attributes()).for_rows([&](Index from, Index to, Index n, Index apart) {
            for (Index l = 0; l < n; ++l) {
              T& target = g.data[from + l * apart];
              target = g.add ? target + gy[to + l] : gy[to + l];
            }
          });
        },
    .attributes = attribute_fields<PermuteAttributes>({{"order", &PermuteAttributes::order}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          const IndexList order = as<PermuteAttributes>(s.attributes).order;
          for (Index k = 0; k < output.rank(); ++k) out.same(0, order[k], k, output[k]);
          out.preserve_zero(0);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{
              {{ops::uniform(rng, {3, 4})}, PermuteAttributes{{1, 0}}},
              {{ops::uniform(rng, {2, 3, 2})}, PermuteAttributes{{2, 0, 1}}},
              {{ops::uniform(rng, {2, 3, 2, 4})}, PermuteAttributes{{3, 1, 0, 2}}},
              {{ops::uniform(rng, {2, 3, 2, 2})}, PermuteAttributes{{0, 2, 1, 3}}},
              {{ops::uniform(rng, {})}, PermuteAttributes{}}};
        },
}};

}  // namespace

template <class T> Var<T> transpose(Var<T> x, Index first, Index second) {
  const auto [low, high] =
      std::minmax({x.shape().axis(first, "transpose"), x.shape().axis(second, "transpose")});
  if (low == high) return x;
  return apply(transpose_op<T>, {x}, TransposeAttributes{low, high});
}

template <class T> Var<T> permute(Var<T> x, std::initializer_list<Index> order) {
  if (order.size() > static_cast<std::size_t>(Shape::max_rank)) {
    throw Error("permute", order.size(), " axes: expected at most ", Shape::max_rank);
  }
  IndexList axes(order);
  for (Index k = 0; k < axes.size(); ++k) axes[k] = x.shape().axis(axes[k], "permute");
  return apply(permute_op<T>, {x}, PermuteAttributes{axes});
}

#define TAPER_INSTANTIATE(T)                       \
  template Var<T> transpose(Var<T>, Index, Index); \
  template Var<T> permute(Var<T>, std::initializer_list<Index>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
