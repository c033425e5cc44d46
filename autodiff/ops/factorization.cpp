#include <taper/autodiff/kernels/factorization.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

// field_pairs: inputs are the weights (n x 1), the factors (n x k), and the positions (rows x fields).

using kernels::FieldRows;
using kernels::FieldUse;

/// What is kept from the forward pass: sums of factors for other than two fields, positions; and the room to
/// sort their uses. All have a place of whole elements of T.
template <class T> struct PairScratch {
  Index sums, at, uses, starts;  // how many elements

  explicit PairScratch(const Shape& factors, const Shape& positions) {
    const auto elements = [](Index count, std::size_t size) {
      return (count * static_cast<Index>(size) + static_cast<Index>(sizeof(T)) - 1) /
             static_cast<Index>(sizeof(T));
    };
    sums = positions[1] == 2 ? 0 : positions[0] * factors[1];
    at = elements(positions.size(), sizeof(std::uint32_t));
    uses = elements(positions.size(), sizeof(FieldUse));
    starts = elements(factors[0] + 2, sizeof(std::uint32_t));
  }
  Index size() const { return sums + at + uses + starts; }
  std::uint32_t* at_in(T* scratch) const { return reinterpret_cast<std::uint32_t*>(scratch + sums); }
  FieldUse* uses_in(T* scratch) const { return reinterpret_cast<FieldUse*>(scratch + sums + at); }
  std::uint32_t* starts_in(T* scratch) const {
    return reinterpret_cast<std::uint32_t*>(scratch + sums + at + uses);
  }
};

FieldRows field_rows(const Shape& factors, const Shape& positions, const std::uint32_t* at) {
  return {positions[0], positions[1], factors[0], factors[1], at};
}

template <class T> void field_pairs_forward(const Forward<T>& f) {
  const View<const T> factors = f.input(1), positions = f.input(2);
  const PairScratch<T> room(factors.shape(), positions.shape());
  std::uint32_t* const at = room.at_in(f.scratch());
  const auto inputs = static_cast<T>(factors.shape()[0]);
  for (Index i = 0; i < positions.size(); ++i) {
    const T number = positions[i];
    const bool inside = number >= 0 && number < inputs;  // false for NaN
    if (inside) at[i] = static_cast<std::uint32_t>(number);
    if (inside && static_cast<T>(at[i]) == number) continue;
    throw Error("field_pairs", "position ", number, ": expected a whole number from 0 to ",
                factors.shape()[0] - 1);
  }
  kernels::field_pairs<T>(field_rows(factors.shape(), positions.shape(), at), f.input(0).data(),
                          factors.data(), f.output().data(), f.scratch());
}

template <class T> void field_pairs_backward(const Backward<T>& b) {
  const View<const T> factors = b.input(1);
  const Shape& positions = b.input(2).shape();
  const PairScratch<T> room(factors.shape(), positions);
  const FieldRows x = field_rows(factors.shape(), positions, room.at_in(b.scratch()));
  std::uint32_t* const starts = room.starts_in(b.scratch());
  FieldUse* const uses = room.uses_in(b.scratch());
  kernels::sort_uses(x, starts, uses);
  const T* const gy = b.output_gradient().data();
  if (const Gradient<T> g = b.gradient(0)) {
    kernels::field_weights_gradient<T>(x, starts, uses, gy, g.data, g.add);
  }
  if (const Gradient<T> g = b.gradient(1)) {
    kernels::field_factors_gradient<T>(x, starts, uses, gy, factors.data(), b.scratch(), g.data, g.add);
  }
}

template <class T>
const Op<T> field_pairs_op{{
    .name = "field_pairs",
    .arity = 3,
    .shape =
        [](const Signature& s) {
          if (s[1].rank() != 2 || s[0] != Shape{s[1][0], 1}) {
            throw Error("field_pairs", "weights ", s[0], " and factors ", s[1],
                        ": expected a weight and a row of factors for each input");
          }
          if (s[2].rank() != 2) {
            throw Error("field_pairs", "positions ", s[2], ": expected rows x fields");
          }
          // Uses are counted in 32 bits.
          constexpr Index most = (Index{1} << 32) - 3;
          if (s[1][0] > most || s[2].size() > most) {
            throw Error("field_pairs", "factors ", s[1], " and positions ", s[2], ": expected at most ", most,
                        " inputs and positions");
          }
          return Shape{s[2][0], 1};
        },
    .forward = field_pairs_forward<T>,
    .backward = field_pairs_backward<T>,
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          out.reduce(1, 1, Reduce::sum);
          out.same(2, 0, 0, s[2][0]);
          out.reduce(2, 1, Reduce::other);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          const auto one = [&](Index inputs, Index width, Index rows, Index fields) {
            return GradcheckCase{{ops::uniform(rng, {inputs, 1}), ops::uniform(rng, {inputs, width}),
                                  ops::whole(rng, {rows, fields}, inputs)}};
          };
          return std::vector<GradcheckCase>{one(5, 3, 4, 2),   one(6, 9, 5, 3),   one(4, 2, 3, 1),
                                            one(2, 5, 300, 2), one(2, 5, 200, 3), one(3, 2, 2, 4)};
        },
    .scratch = [](const Signature& s) { return PairScratch<T>(s[1], s[2]).size(); },
    .multiply_adds = [](const Signature& s) { return s[2].size() * s[1][1]; },
    .constants = 0b100,
    .backward_needs_output = false,
}};

}  // namespace

template <class T> Var<T> field_pairs(Var<T> weights, Var<T> factors, Var<T> positions) {
  return apply(field_pairs_op<T>, {weights, factors, positions});
}

#define TAPER_INSTANTIATE(T) template Var<T> field_pairs(Var<T>, Var<T>, Var<T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
