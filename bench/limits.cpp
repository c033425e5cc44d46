#include "limits.hpp"

#include <omp.h>

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "limits.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace taper::bench::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Twelve chains hide a latency of up to six on two units, and leave registers for the factors among 16. They
/// start from different numbers: compilers make one of those that are the same.
template <class T> double multiply_add_in() {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int rounds = 2000;
  const V a = hn::Set(d, static_cast<T>(0.999)), b = hn::Set(d, static_cast<T>(0.001));
  const auto start = [&](int chain) { return hn::Set(d, static_cast<T>(chain)); };
  V s0 = start(0), s1 = start(1), s2 = start(2), s3 = start(3), s4 = start(4), s5 = start(5);
  V s6 = start(6), s7 = start(7), s8 = start(8), s9 = start(9), s10 = start(10), s11 = start(11);
  for (int i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(s0, a, b), s1 = hn::MulAdd(s1, a, b), s2 = hn::MulAdd(s2, a, b);
    s3 = hn::MulAdd(s3, a, b), s4 = hn::MulAdd(s4, a, b), s5 = hn::MulAdd(s5, a, b);
    s6 = hn::MulAdd(s6, a, b), s7 = hn::MulAdd(s7, a, b), s8 = hn::MulAdd(s8, a, b);
    s9 = hn::MulAdd(s9, a, b), s10 = hn::MulAdd(s10, a, b), s11 = hn::MulAdd(s11, a, b);
  }
  for (const V s : {s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11}) s0 = hn::Add(s0, s);
  volatile T kept = hn::GetLane(hn::SumOfLanes(d, s0));
  static_cast<void>(kept);
  return 2.0 * 12 * rounds * static_cast<double>(hn::Lanes(d));
}

template <class T> void read_in(std::size_t n, const T* from) {
  const hn::ScalableTag<T> d;
  const std::size_t step = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  std::size_t i = 0;
  for (; i + 8 * step <= n; i += 8 * step) {
    const T* const p = from + i;
    s0 = hn::Add(s0, hn::LoadU(d, p)), s1 = hn::Add(s1, hn::LoadU(d, p + step));
    s2 = hn::Add(s2, hn::LoadU(d, p + 2 * step)), s3 = hn::Add(s3, hn::LoadU(d, p + 3 * step));
    s4 = hn::Add(s4, hn::LoadU(d, p + 4 * step)), s5 = hn::Add(s5, hn::LoadU(d, p + 5 * step));
    s6 = hn::Add(s6, hn::LoadU(d, p + 6 * step)), s7 = hn::Add(s7, hn::LoadU(d, p + 7 * step));
  }
  for (const auto s : {s1, s2, s3, s4, s5, s6, s7}) s0 = hn::Add(s0, s);
  T rest = hn::GetLane(hn::SumOfLanes(d, s0));
  for (; i < n; ++i) rest += from[i];
  volatile T kept = rest;
  static_cast<void>(kept);
}

template <class T> void copy_in(std::size_t n, const T* from, T* to) {
  const hn::ScalableTag<T> d;
  const std::size_t step = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step)
    for (std::size_t j = 0; j < 4; ++j) hn::StoreU(hn::LoadU(d, from + i + j * step), d, to + i + j * step);
  for (; i < n; ++i) to[i] = from[i];
}

template <class T> void triad_in(std::size_t n, const T* a, const T* b, T s, T* c) {
  const hn::ScalableTag<T> d;
  const std::size_t step = hn::Lanes(d);
  const auto factor = hn::Set(d, s);
  std::size_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step)
    for (std::size_t j = i; j < i + 4 * step; j += step)
      hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, b + j), hn::LoadU(d, a + j)), d, c + j);
  for (; i < n; ++i) c[i] = a[i] + s * b[i];
}

double multiply_add_f32() {
  return multiply_add_in<float>();
}
double multiply_add_f64() {
  return multiply_add_in<double>();
}
void read_f32(std::size_t n, const float* from) {
  read_in(n, from);
}
void read_f64(std::size_t n, const double* from) {
  read_in(n, from);
}
void copy_f32(std::size_t n, const float* from, float* to) {
  copy_in(n, from, to);
}
void copy_f64(std::size_t n, const double* from, double* to) {
  copy_in(n, from, to);
}
void triad_f32(std::size_t n, const float* a, const float* b, float s, float* c) {
  triad_in(n, a, b, s, c);
}
void triad_f64(std::size_t n, const double* a, const double* b, double s, double* c) {
  triad_in(n, a, b, s, c);
}

}  // namespace taper::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::bench {

HWY_EXPORT(multiply_add_f32);
HWY_EXPORT(multiply_add_f64);
HWY_EXPORT(read_f32);
HWY_EXPORT(read_f64);
HWY_EXPORT(copy_f32);
HWY_EXPORT(copy_f64);
HWY_EXPORT(triad_f32);
HWY_EXPORT(triad_f64);

namespace {
template <class F> double on_each(int threads, const F& multiply_add_of) {
  double operations = 0;
#pragma omp parallel num_threads(threads) reduction(+ : operations) if (threads > 1)
  operations += multiply_add_of();
  return operations;
}
}  // namespace

template <> double multiply_add<float>(int threads) {
  return on_each(threads, HWY_DYNAMIC_DISPATCH(multiply_add_f32));
}
template <> double multiply_add<double>(int threads) {
  return on_each(threads, HWY_DYNAMIC_DISPATCH(multiply_add_f64));
}

template <> void read(std::size_t n, const float* from) {
  HWY_DYNAMIC_DISPATCH(read_f32)(n, from);
}
template <> void read(std::size_t n, const double* from) {
  HWY_DYNAMIC_DISPATCH(read_f64)(n, from);
}
template <> void copy(std::size_t n, const float* from, float* to) {
  HWY_DYNAMIC_DISPATCH(copy_f32)(n, from, to);
}
template <> void copy(std::size_t n, const double* from, double* to) {
  HWY_DYNAMIC_DISPATCH(copy_f64)(n, from, to);
}

namespace {
template <class T, class F>
void in_shares(std::size_t n, const T* a, const T* b, T s, T* c, int threads, const F& triad_of) {
  if (threads == 1) return triad_of(n, a, b, s, c);
#pragma omp parallel num_threads(threads)
  {
    const auto count = static_cast<std::size_t>(omp_get_num_threads());
    const auto share = (n + count - 1) / count,
               first = std::min(n, share * static_cast<std::size_t>(omp_get_thread_num()));
    triad_of(std::min(share, n - first), a + first, b + first, s, c + first);
  }
}
}  // namespace

template <> void triad(std::size_t n, const float* a, const float* b, float s, float* c, int threads) {
  in_shares(n, a, b, s, c, threads, HWY_DYNAMIC_DISPATCH(triad_f32));
}
template <> void triad(std::size_t n, const double* a, const double* b, double s, double* c, int threads) {
  in_shares(n, a, b, s, c, threads, HWY_DYNAMIC_DISPATCH(triad_f64));
}

}  // namespace taper::bench
#endif
