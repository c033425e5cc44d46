#include <taper/autodiff/kernels/unary.hpp>
#include <taper/instantiate.hpp>

#ifndef TAPER_UNARY_TABLE  // once, before the targets
#define TAPER_UNARY_TABLE
namespace taper::kernels {
/// What one number of a function costs, and of its derivative.
constexpr Index value_costs[] = {
#define TAPER_UNARY_0(name, zero, domain, cost, ...) cost,
#define TAPER_UNARY_1(name, function, p, zero, domain, cost, ...) cost,
#define TAPER_UNARY_2(name, function, p, q, zero, domain, cost, ...) cost,
#include <taper/autodiff/kernels/unary-list.hpp>
};
constexpr Index slope_costs[] = {
#define TAPER_UNARY_0(name, zero, domain, cost, value, slope_cost, ...) slope_cost,
#define TAPER_UNARY_1(name, function, p, ...) TAPER_UNARY_0(name, __VA_ARGS__)
#define TAPER_UNARY_2(name, function, p, q, ...) TAPER_UNARY_0(name, __VA_ARGS__)
#include <taper/autodiff/kernels/unary-list.hpp>
};
constexpr Index value_cost(Unary f) {
  return value_costs[static_cast<int>(f)];
}
constexpr Index slope_cost(Unary f) {
  return slope_costs[static_cast<int>(f)];
}

template <class T> struct UnaryTable {
  void (*forward)(Unary f, Index n, const T* x, T* y, T p, T q);
  void (*gradient)(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q);
};
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/unary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/dispatch-inl.hpp>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// One function and its derivative; `p` and `q` are its settings.
template <class T, Unary f> struct Function;

#define TAPER_UNARY_0(name, zero_at_zero, domain, cost, value_of_x, slope_cost, slope_of_x) \
  template <class T> struct Function<T, Unary::name> {                                      \
    using V = Vector<T>;                                                                    \
    V p, q;                                                                                 \
    HWY_INLINE V value(V x) const {                                                         \
      [[maybe_unused]] const V zero = hn::Zero(Tag<T>()), one = constant<T>(1);             \
      return value_of_x;                                                                    \
    }                                                                                       \
    HWY_INLINE V slope([[maybe_unused]] V x, [[maybe_unused]] V y) const {                  \
      [[maybe_unused]] const V zero = hn::Zero(Tag<T>()), one = constant<T>(1);             \
      return slope_of_x;                                                                    \
    }                                                                                       \
  };
#define TAPER_UNARY_1(name, function, p, ...) TAPER_UNARY_0(name, __VA_ARGS__)
#define TAPER_UNARY_2(name, function, p, q, ...) TAPER_UNARY_0(name, __VA_ARGS__)
#include <taper/autodiff/kernels/unary-list.hpp>

/// Calls f(i) for each of the whole vectors in n elements. Around a cheap function, the loop itself counts.
template <class T, Index cost, class F> HWY_INLINE void each_vector(Index n, const F& f) {
  if constexpr (cost == cheap) {
#pragma GCC unroll 4
    for (Index i = 0; i < n; i += lanes<T>()) f(i);
  } else {
    for (Index i = 0; i < n; i += lanes<T>()) f(i);
  }
}

/// n is a multiple of a vector's length.
template <class T, Unary f> void map(Index n, const T* x, T* y, T p, T q) {
  const Function<T, f> function{hn::Set(Tag<T>(), p), hn::Set(Tag<T>(), q)};
  each_vector<T, value_cost(f)>(n,
                                [&](Index i) HWY_ATTR { store<T>(function.value(load<T>(x + i)), y + i); });
}

template <class T, Unary f>
void map_gradient(Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  const Function<T, f> function{hn::Set(Tag<T>(), p), hn::Set(Tag<T>(), q)};
  each_vector<T, slope_cost(f)>(n, [&](Index i) HWY_ATTR {
    const Vector<T> g = hn::Mul(load<T>(gy + i), function.slope(load<T>(x + i), load<T>(y + i)));
    store<T>(add ? hn::Add(load<T>(gx + i), g) : g, gx + i);
  });
}

template <class T> struct Loops {
  void (*map)(Index n, const T* x, T* y, T p, T q);
  void (*gradient)(Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q);
};

/// The loops of one function; the compiler warns of a case that is missing.
template <class T> Loops<T> loops(Unary f) {
  switch (f) {
#define TAPER_UNARY_0(name, ...) \
  case Unary::name:              \
    return {&map<T, Unary::name>, &map_gradient<T, Unary::name>};
#define TAPER_UNARY_1(name, ...) TAPER_UNARY_0(name)
#define TAPER_UNARY_2(name, ...) TAPER_UNARY_0(name)
#include <taper/autodiff/kernels/unary-list.hpp>
  }
  return {};
}

/// What does not fill a vector, in a buffer that does: so that each function is compiled once.
template <class T> struct Rest {
  HWY_ALIGN T data[hn::MaxLanes(Tag<T>())];

  Rest(const T* p, Index count) { hn::Store(load_some<T>(p, count), Tag<T>(), data); }
  void copy_to(T* p, Index count) const { store_some<T>(hn::Load(Tag<T>(), data), p, count); }
};

template <class T> void forward(Unary f, Index n, const T* x, T* y, T p, T q) {
  const Index step = lanes<T>(), whole = n - n % step, rest = n - whole;
  const auto run = loops<T>(f).map;
  if (whole > 0) run(whole, x, y, p, q);
  if (rest == 0) return;
  Rest<T> last(x + whole, rest);
  run(step, last.data, last.data, p, q);
  last.copy_to(y + whole, rest);
}

template <class T>
void gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  const Index step = lanes<T>(), whole = n - n % step, rest = n - whole;
  const auto run = loops<T>(f).gradient;
  if (whole > 0) run(whole, x, y, gy, gx, add, p, q);
  if (rest == 0) return;
  const Rest<T> last_x(x + whole, rest), last_y(y + whole, rest), last_gy(gy + whole, rest);
  Rest<T> last(gx + whole, add ? rest : 0);
  run(step, last_x.data, last_y.data, last_gy.data, last.data, add, p, q);
  last.copy_to(gx + whole, rest);
}

TAPER_KERNELS(UnaryTable, &forward<T>, &gradient<T>)

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

TAPER_DISPATCH(UnaryTable)

template <class T> void unary(Unary f, Index n, const T* x, T* y, T p, T q) {
  for_numbers(n, value_cost(f),
              [&](Index begin, Index end) { best<T>().forward(f, end - begin, x + begin, y + begin, p, q); });
}

template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  for_numbers(n, slope_cost(f), [&](Index begin, Index end) {
    best<T>().gradient(f, end - begin, x + begin, y + begin, gy + begin, gx + begin, add, p, q);
  });
}

#define TAPER_INSTANTIATE(T)                             \
  template void unary(Unary, Index, const T*, T*, T, T); \
  template void unary_gradient(Unary, Index, const T*, const T*, const T*, T*, bool, T, T);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::kernels
#endif
