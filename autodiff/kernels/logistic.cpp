#include <taper/autodiff/kernels/logistic.hpp>

#include <algorithm>
#include <limits>

#include <taper/autodiff/kernels/compensated_sum.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/logistic.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

using V = Vector<double>;

double logistic_run(Index n, const double* z, const double* y, const double* s, double* negative_slope,
                    double* curvature) {
  const Tag<double> d;
  const V one = constant<double>(1), zero = hn::Zero(d);
  V total = zero;
  for_vectors<double>(n, [&](Index i, Index count) HWY_ATTR {
    const V at = load_upto<double>(z + i, count), weight = load_upto<double>(s + i, count);
    const auto positive = hn::Ne(load_upto<double>(y + i, count), zero);
    const V against = hn::IfThenElse(positive, hn::Neg(at), at);  // how far on the wrong side
    const V e = exp_of_negative<double>(at).value();
    const V inverse = hn::Div(one, hn::Add(one, e)), small = hn::Mul(e, inverse);
    const V wrong = hn::Mul(weight, hn::IfThenElse(hn::Ge(against, zero), inverse, small));
    store_upto<double>(hn::IfThenElse(positive, wrong, hn::Neg(wrong)), negative_slope + i, count);
    store_upto<double>(hn::Mul(weight, hn::Mul(small, inverse)), curvature + i, count);
    const V loss = hn::Add(hn::Max(against, zero), log1p_unit<double>(e));
    total = hn::MulAdd(weight, only<double>(keep_nan<double>(at, loss), count), total);
  });
  return hn::GetLane(hn::SumOfLanes(d, total));
}

double logistic_dual_run(Index n, const double* theta, double scale, const double* y, const double* s,
                         const double* offset, double level) {
  const Tag<double> d;
  const V one = constant<double>(1), zero = hn::Zero(d);
  V total = zero, outside = zero;
  for_vectors<double>(n, [&](Index i, Index count) HWY_ATTR {
    const V weight = load_upto<double>(s + i, count);
    const auto counts = hn::Gt(weight, zero);
    const V slope = hn::Mul(hn::Set(d, scale), load_upto<double>(theta + i, count));
    const V u = hn::IfThenElseZero(counts, hn::Div(slope, hn::IfThenElse(counts, weight, one)));
    const V t = hn::IfThenElse(hn::Ne(load_upto<double>(y + i, count), zero), u, hn::Neg(u));
    const V rest = hn::Sub(one, t);
    outside = hn::IfThenElse(hn::And(hn::Ge(t, zero), hn::Ge(rest, zero)), outside, one);
    V base = hn::Set(d, level);
    if (offset != nullptr) base = hn::Add(base, load_upto<double>(offset + i, count));
    V value = hn::Neg(hn::Mul(u, base));
    value = hn::Sub(value, hn::IfThenElseZero(hn::Gt(t, zero), hn::Mul(t, log<double>(t))));
    value = hn::Sub(value, hn::IfThenElseZero(hn::Gt(rest, zero), hn::Mul(rest, log<double>(rest))));
    total = hn::MulAdd(weight, value, total);
  });
  if (hn::GetLane(hn::SumOfLanes(d, outside)) > 0) return -std::numeric_limits<double>::infinity();
  return hn::GetLane(hn::SumOfLanes(d, total));
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(logistic_run);
HWY_EXPORT(logistic_dual_run);

namespace {

constexpr Index run = 512;  // rows whose sum is taken by vectors

}  // namespace

double logistic(Index n, const double* z, const double* y, const double* s, double* negative_slope,
                double* curvature) {
  CompensatedSum total;
  for (Index i = 0; i < n; i += run) {
    total += HWY_DYNAMIC_DISPATCH(logistic_run)(std::min(run, n - i), z + i, y + i, s + i, negative_slope + i,
                                                curvature + i);
  }
  return total.value();
}

double logistic_dual(Index n, const double* theta, double scale, const double* y, const double* s,
                     const double* offset, double level) {
  CompensatedSum total;
  for (Index i = 0; i < n; i += run) {
    const double part =
        HWY_DYNAMIC_DISPATCH(logistic_dual_run)(std::min(run, n - i), theta + i, scale, y + i, s + i,
                                                offset == nullptr ? nullptr : offset + i, level);
    if (part == -std::numeric_limits<double>::infinity()) return part;
    total += part;
  }
  return total.value();
}

}  // namespace taper::kernels
#endif
