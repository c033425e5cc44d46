#include <taper/autodiff/kernels/sparse.hpp>

#include <algorithm>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/sparse.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// From so many entries on, loading one by one is faster than gathering.
constexpr Index many = 16;

/// Most columns are short and of all lengths: a vector that is filled in part costs less than a loop whose
/// end cannot be guessed. Long ones have four sums, as each addition waits for the one before.
void sparse_dots(const SparseRef& x, std::span<const Index> columns, const double* v, double* out) {
  const Tag<double> d;
  const hn::Rebind<std::int32_t, Tag<double>> narrow;
  const hn::Rebind<std::int64_t, Tag<double>> wide;
  const auto width = static_cast<Index>(hn::Lanes(d));
  for (const Index j : columns) {
    Index k = x.begin[j];
    const Index end = x.count != nullptr ? k + x.count[j] : x.begin[j + 1];
    if (width < 4 || end - k >= many) {
      double sums[4] = {};
      for (; k + 4 <= end; k += 4) {
        for (Index lane = 0; lane < 4; ++lane) sums[lane] += x.values[k + lane] * v[x.rows[k + lane]];
      }
      for (; k < end; ++k) sums[0] += x.values[k] * v[x.rows[k]];
      out[j] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      continue;
    }
    auto sum = hn::Zero(d);
    for (; k < end; k += width) {
      const auto count = static_cast<std::size_t>(std::min(width, end - k));
      const auto some = hn::FirstN(d, count);
      const auto rows = hn::MaskedLoad(hn::FirstN(narrow, count), narrow, x.rows + k);
      const auto gathered = hn::GatherIndex(d, v, hn::PromoteTo(wide, rows));
      const auto product = hn::Mul(hn::MaskedLoad(some, d, x.values + k), gathered);
      sum = hn::Add(sum, hn::IfThenElseZero(some, product));
    }
    out[j] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(sparse_dots);

void sparse_dots(const SparseRef& x, std::span<const Index> columns, const double* v, double* out) {
  HWY_DYNAMIC_DISPATCH(sparse_dots)(x, columns, v, out);
}

}  // namespace taper::kernels
#endif
