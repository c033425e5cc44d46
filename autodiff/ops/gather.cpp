#include <algorithm>
#include <cmath>

#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

// gather_rows: inputs are the table and the positions.

template <class T> Index position(T number, Index rows) {
  const T whole = std::floor(number);
  if (!(whole == number) || number < 0 || number >= static_cast<T>(rows)) {
    throw Error("gather_rows", "position ", number, ": expected a whole number from 0 to ", rows - 1);
  }
  return static_cast<Index>(whole);
}

/// A place of the output, and the row of the table that stands there.
struct Use {
  Index row, place;
  friend auto operator<=>(const Use&, const Use&) = default;
};

/// Scratch elements for one use of each position.
template <class T> Index use_scratch(const Shape& positions) {
  return positions.size() * static_cast<Index>(sizeof(Use) / sizeof(T));
}

/// Adds the gradients of all uses of one row to its own, in the order of their places. Of many, what rounding
/// loses is added again.
template <class T> void add_uses(const Use* first, const Use* last, Index width, const T* gy, T* to) {
  if (last - first <= kernels::sum_plainly) {
    for (; first != last; ++first) kernels::scale<T>(width, T{1}, gy + first->place * width, to, true);
    return;
  }
  constexpr Index block = 256;
  T rest[block];
  for (Index begin = 0; begin < width; begin += block) {
    const Index count = std::min(block, width - begin);
    std::fill_n(rest, count, T{0});
    for (const Use* use = first; use != last; ++use) {
      kernels::add_carefully<T>(count, gy + use->place * width + begin, to + begin, rest);
    }
  }
}

template <class T> void gather_rows_backward(const Backward<T>& b) {
  const Gradient<T> g = b.gradient(0);
  if (!g) return;
  const View<const T> table = b.input(0), positions = b.input(1);
  const Index width = table.shape()[1], count = positions.size();
  if (!g.add) std::fill_n(g.data, table.size(), T{0});
  // Sorted by rows, each row that is used has its uses together, and one thread.
  Use* const uses = reinterpret_cast<Use*>(b.scratch());
  for (Index i = 0; i < count; ++i) uses[i] = {position(positions[i], table.shape()[0]), i};
  std::sort(uses, uses + count);
  const Index piece = std::max<Index>(1, kernels::elementwise_piece / std::max<Index>(width, 1));
  kernels::for_pieces(count, piece, [&](Index begin, Index end) {
    while (begin < end && begin > 0 && uses[begin].row == uses[begin - 1].row) ++begin;  // of a piece before
    while (begin < end) {
      Index last = begin + 1;
      while (last < count && uses[last].row == uses[begin].row) ++last;
      add_uses<T>(uses + begin, uses + last, width, b.output_gradient().data(),
                  g.data + uses[begin].row * width);
      begin = last;
    }
  });
}

template <class T>
const Op<T> gather_rows_op{{
    .name = "gather_rows",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          if (s[0].rank() != 2) throw Error("gather_rows", "a table ", s[0], ": expected a matrix");
          if (s[1].rank() == Shape::max_rank) {
            throw Error("gather_rows", "positions ", s[1], ": expected at most ", Shape::max_rank - 1,
                        " dimensions");
          }
          std::array<Index, Shape::max_rank> dimensions{};
          for (Index k = 0; k < s[1].rank(); ++k) dimensions[static_cast<std::size_t>(k)] = s[1][k];
          dimensions[static_cast<std::size_t>(s[1].rank())] = s[0][1];
          return Shape(dimensions.data(), s[1].rank() + 1);
        },
    .forward =
        [](const Forward<T>& f) {
          const View<const T> table = f.input(0), positions = f.input(1);
          const Index width = table.shape()[1];
          kernels::for_slices(positions.size(), width, [&](Index i) {
            const Index row = position(positions[i], table.shape()[0]);
            std::copy_n(table.data() + row * width, width, f.output().data() + i * width);
          });
        },
    .backward = gather_rows_backward<T>,
    .structure =
        [](const Signature& s, const Shape& y, Structure& out) {
          out.same(0, 1, y.rank() - 1, s[0][1]);
          ops::same_axes(s, out, 1);
          out.preserve_zero(0);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {4, 3}), ops::whole(rng, {6}, 4)}},
                                            {{ops::uniform(rng, {3, 2}), ops::whole(rng, {2, 3}, 3)}},
                                            {{ops::uniform(rng, {2, 3}), ops::whole(rng, {300}, 2)}}};
        },
    .scratch = [](const Signature& s) { return use_scratch<T>(s[1]); },
    .constants = 0b10,
    .backward_needs_output = false,
}};

// field_positions: inputs are the positions within fields, one field for each column, and the sizes of these.

template <class T>
const Op<T> field_positions_op{{
    .name = "field_positions",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          if (s[0].rank() != 2 || s[1] != Shape{s[0][1]}) {
            throw Error("field_positions", "positions ", s[0], " in fields of sizes ", s[1],
                        ": expected rows x fields, and a size for each field");
          }
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const View<const T> x = f.input(0), sizes = f.input(1);
          const Index rows = x.shape()[0], fields = x.shape()[1];
          T offset = 0;
          for (Index k = 0; k < fields; ++k) {
            for (Index i = 0; i < rows; ++i) {
              const T here = x[i * fields + k];
              const bool inside = here >= 0 && here < sizes[k];
              // From 2^53 on, all numbers are whole, and some have no Index.
              if (!inside || (here < T(0x1p53) && static_cast<T>(static_cast<Index>(here)) != here)) {
                throw Error("field_positions", "position ", here, " in field ", k,
                            ": expected a whole number from 0 to ", sizes[k] - 1);
              }
              f.output()[i * fields + k] = offset + here;
            }
            offset += sizes[k];
          }
        },
    .no_derivative = true,
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          out.same(0, 0, 0, s[0][0]);
          out.reduce(0, 1, Reduce::other);
          out.reduce(1, 0, Reduce::other);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          Tensor<double> sizes(Shape{3});
          sizes[0] = 4, sizes[1] = 3, sizes[2] = 5;
          return std::vector<GradcheckCase>{{{ops::whole(rng, {5, 3}, 3), sizes}}};
        },
    .constants = 0b11,
}};

}  // namespace

template <class T> Var<T> field_positions(Var<T> x, Var<T> sizes) {
  return apply(field_positions_op<T>, {x, sizes});
}

template <class T> Var<T> gather_rows(Var<T> table, Var<T> positions) {
  return apply(gather_rows_op<T>, {table, positions});
}

#define TAPER_INSTANTIATE(T)                       \
  template Var<T> field_positions(Var<T>, Var<T>); \
  template Var<T> gather_rows(Var<T>, Var<T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
