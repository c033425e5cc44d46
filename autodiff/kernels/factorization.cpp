#include <taper/autodiff/kernels/factorization.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_FACTORIZATION_TABLE  // once, before the targets
#define TAPER_FACTORIZATION_TABLE
namespace taper::kernels {
/// The inner kernels of one scalar on one target, for rows of the batch and for inputs from `begin` to `end`.
template <class T> struct FactorizationTable {
  void (*pairs)(const FieldRows& x, Index begin, Index end, const T* weights, const T* factors, T* y,
                T* sums);
  void (*factors_gradient)(const FieldRows& x, Index begin, Index end, const std::uint32_t* starts,
                           const FieldUse* uses, const T* gy, const T* factors, const T* sums, T* gv,
                           bool add);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/factorization.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

template <class T> struct Factorization {
  /// Each factor times the sum of those in the fields before it: no large squares that cancel.
  static void pairs(const FieldRows& x, Index begin, Index end, const T* weights, const T* factors, T* y,
                    T* sums) {
    const Tag<T> d;
    for (Index row = begin; row < end; ++row) {
      const std::uint32_t* const at = x.at + row * x.fields;
      T total = 0;
      for (Index f = 0; f < x.fields; ++f) total += weights[at[f]];
      Vector<T> products = hn::Zero(d);
      for_vectors<T>(x.width, [&](Index j, Index count) HWY_ATTR {
        Vector<T> sum = hn::Zero(d);
        for (Index f = 0; f < x.fields; ++f) {
          const Vector<T> v = load_upto<T>(factors + at[f] * x.width + j, count);
          products = hn::MulAdd(sum, v, products);
          sum = hn::Add(sum, v);
        }
        if (x.fields != 2) store_upto<T>(sum, sums + row * x.width + j, count);
      });
      y[row] = total + hn::GetLane(hn::SumOfLanes(d, products));
    }
  }

  static void factors_gradient(const FieldRows& x, Index begin, Index end, const std::uint32_t* starts,
                               const FieldUse* uses, const T* gy, const T* factors, const T* sums, T* gv,
                               bool add) {
    const Tag<T> d;
    const T* const others = x.fields == 2 ? factors : sums;
    for (Index k = begin; k < end; ++k) {
      const FieldUse* const used = uses + starts[k];
      const T* const own = factors + k * x.width;
      T* const to = gv + k * x.width;
      sum_rows<T>(
          static_cast<Index>(starts[k + 1] - starts[k]), x.width,
          [&](Index first, Index last, Index j, Index count) HWY_ATTR {
            Vector<T> sum = hn::Zero(d);
            if (x.fields == 2) {
              for (Index i = first; i < last; ++i) {
                const Vector<T> other = load_upto<T>(others + used[i].other * x.width + j, count);
                sum = hn::MulAdd(hn::Set(d, gy[used[i].row]), other, sum);
              }
              return sum;
            }
            const Vector<T> v = load_upto<T>(own + j, count);
            for (Index i = first; i < last; ++i) {
              const Vector<T> all = load_upto<T>(others + used[i].other * x.width + j, count);
              sum = hn::MulAdd(hn::Set(d, gy[used[i].row]), hn::Sub(all, v), sum);
            }
            return sum;
          },
          [&](Vector<T> sum, Index j, Index count) HWY_ATTR { store_or_add<T>(sum, to + j, count, add); });
    }
  }
};

TAPER_KERNELS(FactorizationTable, .pairs = &Factorization<T>::pairs,
              .factors_gradient = &Factorization<T>::factors_gradient)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(FactorizationTable)

namespace {

/// How many rows or inputs, of so much work each, make a piece.
Index piece_of(Index work) {
  return std::max<Index>(1, elementwise_piece / std::max<Index>(work, 1));
}

}  // namespace

template <class T> void field_pairs(const FieldRows& x, const T* weights, const T* factors, T* y, T* sums) {
  const Index piece = piece_of(x.fields * x.width);
  for_pieces(
      x.rows, piece,
      [&](Index begin, Index end) { best<T>().pairs(x, begin, end, weights, factors, y, sums); }, 2 * piece);
}

void sort_uses(const FieldRows& x, std::uint32_t* starts, FieldUse* uses) {
  // Counted two places further on, so that what is counted up to the end of input k - 1 stands at k + 1 while
  // the uses are placed, and is where input k + 1 starts when they are.
  std::fill_n(starts, x.inputs + 2, std::uint32_t{0});
  for (Index i = 0; i < x.rows * x.fields; ++i) ++starts[x.at[i] + 2];
  for (Index k = 2; k < x.inputs + 2; ++k) starts[k] += starts[k - 1];
  for (Index row = 0; row < x.rows; ++row) {
    const std::uint32_t* const at = x.at + row * x.fields;
    const auto here = static_cast<std::uint32_t>(row);
    for (Index f = 0; f < x.fields; ++f) {
      uses[starts[at[f] + 1]++] = {here, x.fields == 2 ? at[1 - f] : here};
    }
  }
}

template <class T>
void field_weights_gradient(const FieldRows& x, const std::uint32_t* starts, const FieldUse* uses,
                            const T* gy, T* gw, bool add) {
  const Index piece = piece_of(1 + x.rows * x.fields / std::max<Index>(x.inputs, 1));
  for_pieces(
      x.inputs, piece,
      [&](Index begin, Index end) {
        for (Index k = begin; k < end; ++k) {
          double sum = 0;
          for (std::uint32_t i = starts[k]; i < starts[k + 1]; ++i)
            sum += static_cast<double>(gy[uses[i].row]);
          gw[k] = static_cast<T>(add ? static_cast<double>(gw[k]) + sum : sum);
        }
      },
      2 * piece);
}

template <class T>
void field_factors_gradient(const FieldRows& x, const std::uint32_t* starts, const FieldUse* uses,
                            const T* gy, const T* factors, const T* sums, T* gv, bool add) {
  const Index piece = piece_of(x.width * (1 + x.rows * x.fields / std::max<Index>(x.inputs, 1)));
  for_pieces(
      x.inputs, piece,
      [&](Index begin, Index end) {
        best<T>().factors_gradient(x, begin, end, starts, uses, gy, factors, sums, gv, add);
      },
      2 * piece);
}

#define TAPER_INSTANTIATE(T)                                                                              \
  template void field_pairs(const FieldRows&, const T*, const T*, T*, T*);                                \
  template void field_weights_gradient(const FieldRows&, const std::uint32_t*, const FieldUse*, const T*, \
                                       T*, bool);                                                         \
  template void field_factors_gradient(const FieldRows&, const std::uint32_t*, const FieldUse*, const T*, \
                                       const T*, const T*, T*, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
