#include <taper/autodiff/kernels/unary.hpp>

#ifndef TAPER_UNARY_KINDS  // once, before the targets
#define TAPER_UNARY_KINDS
namespace taper::kernels {
/// Functions, and derivatives, so short that the loop around them counts.
constexpr bool short_value(Unary f) {
  return f == Unary::neg || f == Unary::square || f == Unary::abs || f == Unary::relu ||
         f == Unary::leaky_relu || f == Unary::clamp;
}
constexpr bool short_slope(Unary f) {
  return short_value(f) || f == Unary::exp || f == Unary::tanh || f == Unary::sigmoid || f == Unary::elu;
}
}  // namespace taper::kernels
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/unary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/math-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

/// One function and its derivative; `p` and `q` are its settings.
template <class T, Unary f> struct Function {
  using V = Vector<T>;
  V p, q;

  HWY_INLINE V value(V x) const {
    const V zero = hn::Zero(Tag<T>());
    if constexpr (f == Unary::neg) return hn::Neg(x);
    if constexpr (f == Unary::exp) return exp<T>(x);
    if constexpr (f == Unary::log) return log<T>(x);
    if constexpr (f == Unary::sqrt) return hn::Sqrt(x);
    if constexpr (f == Unary::square) return hn::Mul(x, x);
    if constexpr (f == Unary::abs) return hn::Abs(x);
    if constexpr (f == Unary::power) {
      const T exponent = hn::GetLane(p);
      return per_lane<T>(x, [exponent](T t) { return std::pow(t, exponent); });
    }
    if constexpr (f == Unary::tanh) return tanh<T>(x);
    if constexpr (f == Unary::sigmoid) return sigmoid<T>(x);
    if constexpr (f == Unary::softplus) return softplus<T>(x);
    if constexpr (f == Unary::relu) return hn::IfThenElse(hn::Lt(x, zero), zero, x);  // a NaN stays one
    if constexpr (f == Unary::leaky_relu) return hn::IfThenElse(hn::Gt(x, zero), x, hn::Mul(p, x));
    if constexpr (f == Unary::elu) {
      return hn::IfThenElse(hn::Gt(x, zero), x, hn::Mul(p, expm1_negative<T>(x)));
    }
    if constexpr (f == Unary::gelu) return gelu<T>(x);
    if constexpr (f == Unary::silu) return silu<T>(x);
    if constexpr (f == Unary::clamp) return keep_nan<T>(x, hn::Min(hn::Max(x, p), q));
  }

  HWY_INLINE V slope(V x, V y) const {
    const V zero = hn::Zero(Tag<T>());
    const V one = constant<T>(1);
    if constexpr (f == Unary::neg) return constant<T>(-1);
    if constexpr (f == Unary::exp) return y;
    if constexpr (f == Unary::log) return hn::Div(one, x);
    if constexpr (f == Unary::sqrt) return hn::Div(constant<T>(0.5), y);
    if constexpr (f == Unary::square) return hn::Add(x, x);
    if constexpr (f == Unary::abs) return sign<T>(x);
    if constexpr (f == Unary::power) {
      const T exponent = hn::GetLane(p);
      return per_lane<T>(
          x, [exponent](T t) { return exponent == 0 ? T{0} : exponent * std::pow(t, exponent - 1); });
    }
    if constexpr (f == Unary::tanh) return hn::NegMulAdd(y, y, one);
    if constexpr (f == Unary::sigmoid) return hn::Mul(y, hn::Sub(one, y));
    if constexpr (f == Unary::softplus) return sigmoid<T>(x);
    if constexpr (f == Unary::relu) return hn::IfThenZeroElse(hn::Le(x, zero), one);
    if constexpr (f == Unary::leaky_relu) return hn::IfThenElse(hn::Gt(x, zero), one, p);
    if constexpr (f == Unary::elu) return hn::IfThenElse(hn::Gt(x, zero), one, hn::Add(y, p));
    if constexpr (f == Unary::gelu) return gelu_slope<T>(x);
    if constexpr (f == Unary::silu) return silu_slope<T>(x);
    if constexpr (f == Unary::clamp) return hn::IfThenElseZero(hn::And(hn::Ge(x, p), hn::Le(x, q)), one);
  }
};

/// Calls f(i) for each of the whole vectors in n numbers.
template <class T, bool brief, class F> HWY_INLINE void each_vector(Index n, const F& f) {
  if constexpr (brief) {
#pragma GCC unroll 4
    for (Index i = 0; i < n; i += lanes<T>()) f(i);
  } else {
    for (Index i = 0; i < n; i += lanes<T>()) f(i);
  }
}

/// n is a multiple of a vector's length.
template <class T, Unary f> void map(Index n, const T* x, T* y, T p, T q) {
  const Function<T, f> function{hn::Set(Tag<T>(), p), hn::Set(Tag<T>(), q)};
  each_vector<T, short_value(f)>(n,
                                 [&](Index i) HWY_ATTR { store<T>(function.value(load<T>(x + i)), y + i); });
}

template <class T, Unary f>
void map_gradient(Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  const Function<T, f> function{hn::Set(Tag<T>(), p), hn::Set(Tag<T>(), q)};
  each_vector<T, short_slope(f)>(n, [&](Index i) HWY_ATTR {
    const Vector<T> g = hn::Mul(load<T>(gy + i), function.slope(load<T>(x + i), load<T>(y + i)));
    store<T>(add ? hn::Add(load<T>(gx + i), g) : g, gx + i);
  });
}

template <class T> struct Loops {
  void (*map)(Index n, const T* x, T* y, T p, T q);
  void (*gradient)(Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q);
};

/// The loops of one function; the switch makes the compiler ask for those that are missing.
template <class T> Loops<T> loops(Unary f) {
  switch (f) {
#define TAPER_CASE(name) \
  case Unary::name:      \
    return {&map<T, Unary::name>, &map_gradient<T, Unary::name>};
    TAPER_CASE(neg)
    TAPER_CASE(exp)
    TAPER_CASE(log)
    TAPER_CASE(sqrt)
    TAPER_CASE(square)
    TAPER_CASE(abs)
    TAPER_CASE(power)
    TAPER_CASE(tanh)
    TAPER_CASE(sigmoid)
    TAPER_CASE(softplus)
    TAPER_CASE(relu)
    TAPER_CASE(leaky_relu)
    TAPER_CASE(elu)
    TAPER_CASE(gelu)
    TAPER_CASE(silu)
    TAPER_CASE(clamp)
#undef TAPER_CASE
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

void unary_f32(Unary f, Index n, const float* x, float* y, float p, float q) {
  forward(f, n, x, y, p, q);
}
void unary_f64(Unary f, Index n, const double* x, double* y, double p, double q) {
  forward(f, n, x, y, p, q);
}
void unary_gradient_f32(Unary f, Index n, const float* x, const float* y, const float* gy, float* gx,
                        bool add, float p, float q) {
  gradient(f, n, x, y, gy, gx, add, p, q);
}
void unary_gradient_f64(Unary f, Index n, const double* x, const double* y, const double* gy, double* gx,
                        bool add, double p, double q) {
  gradient(f, n, x, y, gy, gx, add, p, q);
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace taper::kernels {

HWY_EXPORT(unary_f32);
HWY_EXPORT(unary_f64);
HWY_EXPORT(unary_gradient_f32);
HWY_EXPORT(unary_gradient_f64);

template <class T> void unary(Unary f, Index n, const T* x, T* y, T p, T q) {
  for_numbers(n, short_value(f) ? cheap : costly, [&](Index begin, Index end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(unary_f32)(f, end - begin, x + begin, y + begin, p, q);
    } else {
      HWY_DYNAMIC_DISPATCH(unary_f64)(f, end - begin, x + begin, y + begin, p, q);
    }
  });
}

template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  for_numbers(n, short_slope(f) ? cheap : costly, [&](Index begin, Index end) {
    const Index size = end - begin;
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(unary_gradient_f32)
      (f, size, x + begin, y + begin, gy + begin, gx + begin, add, p, q);
    } else {
      HWY_DYNAMIC_DISPATCH(unary_gradient_f64)
      (f, size, x + begin, y + begin, gy + begin, gx + begin, add, p, q);
    }
  });
}

template void unary(Unary, Index, const float*, float*, float, float);
template void unary(Unary, Index, const double*, double*, double, double);
template void unary_gradient(Unary, Index, const float*, const float*, const float*, float*, bool, float,
                             float);
template void unary_gradient(Unary, Index, const double*, const double*, const double*, double*, bool, double,
                             double);

}  // namespace taper::kernels
#endif
