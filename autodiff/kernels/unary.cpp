#include <taper/autodiff/kernels/unary.hpp>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "taper/autodiff/kernels/unary.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
// after it, as Highway asks
#include <hwy/highway.h>
#include <taper/autodiff/kernels/simd-inl.hpp>

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
      return hn::IfThenElse(hn::Gt(x, zero), x,
                            keep_nan<T>(x, hn::Mul(p, expm1_negative<T>(hn::Min(x, zero)))));
    }
    if constexpr (f == Unary::gelu) return hn::Mul(x, normal(x));
    if constexpr (f == Unary::silu) return hn::Mul(x, sigmoid<T>(x));
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
    if constexpr (f == Unary::abs) return hn::IfThenElseZero(hn::Ne(x, zero), hn::CopySign(one, x));
    if constexpr (f == Unary::power) {
      const T exponent = hn::GetLane(p);
      return per_lane<T>(
          x, [exponent](T t) { return exponent == 0 ? T{0} : exponent * std::pow(t, exponent - 1); });
    }
    if constexpr (f == Unary::tanh) return hn::NegMulAdd(y, y, one);
    if constexpr (f == Unary::sigmoid) return hn::Mul(y, hn::Sub(one, y));
    if constexpr (f == Unary::softplus) return sigmoid<T>(x);
    if constexpr (f == Unary::relu) return hn::IfThenElseZero(hn::Gt(x, zero), one);
    if constexpr (f == Unary::leaky_relu) return hn::IfThenElse(hn::Gt(x, zero), one, p);
    if constexpr (f == Unary::elu) return hn::IfThenElse(hn::Gt(x, zero), one, hn::Add(y, p));
    if constexpr (f == Unary::gelu) {
      const V density =
          hn::Mul(constant<T>(0.3989422804014327), exp<T>(hn::Mul(constant<T>(-0.5), hn::Mul(x, x))));
      return hn::MulAdd(x, density, normal(x));
    }
    if constexpr (f == Unary::silu) {
      const V s = sigmoid<T>(x);
      return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
    }
    if constexpr (f == Unary::clamp) return hn::IfThenElseZero(hn::And(hn::Ge(x, p), hn::Le(x, q)), one);
  }

  /// The normal distribution function. The complement keeps the digits of small results.
  static HWY_INLINE V normal(V x) {
    constexpr T root_half = static_cast<T>(0.7071067811865476);
    return per_lane<T>(x, [](T t) { return T{0.5} * std::erfc(-root_half * t); });
  }
};

template <class T, Unary f> void map(Index n, const T* x, T* y, T p, T q) {
  const Tag<T> d;
  const Function<T, f> function{hn::Set(d, p), hn::Set(d, q)};
  const Index step = lanes<T>();
  Index i = 0;
  for (; i + step <= n; i += step) store<T>(function.value(load<T>(x + i)), y + i);
  if (i < n) store_some<T>(function.value(load_some<T>(x + i, n - i)), y + i, n - i);
}

template <class T, Unary f, bool add>
void map_gradient(Index n, const T* x, const T* y, const T* gy, T* gx, T p, T q) {
  const Tag<T> d;
  const Function<T, f> function{hn::Set(d, p), hn::Set(d, q)};
  const Index step = lanes<T>();
  Index i = 0;
  for (; i + step <= n; i += step) {
    const Vector<T> g = hn::Mul(load<T>(gy + i), function.slope(load<T>(x + i), load<T>(y + i)));
    store<T>(add ? hn::Add(load<T>(gx + i), g) : g, gx + i);
  }
  if (i == n) return;
  const Index rest = n - i;
  const Vector<T> slope = function.slope(load_some<T>(x + i, rest), load_some<T>(y + i, rest));
  const Vector<T> g = hn::Mul(load_some<T>(gy + i, rest), slope);
  store_some<T>(add ? hn::Add(load_some<T>(gx + i, rest), g) : g, gx + i, rest);
}

/// Calls `use` with the function as a compile-time constant.
template <class Use> HWY_INLINE void choose(Unary f, const Use& use) {
  switch (f) {
#define TAPER_CASE(name) \
  case Unary::name:      \
    return use(std::integral_constant<Unary, Unary::name>());
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
}

template <class T> void forward(Unary f, Index n, const T* x, T* y, T p, T q) {
  choose(f, [&](auto name) { map<T, name()>(n, x, y, p, q); });
}

template <class T>
void gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  choose(f, [&](auto name) {
    if (add) {
      map_gradient<T, name(), true>(n, x, y, gy, gx, p, q);
    } else {
      map_gradient<T, name(), false>(n, x, y, gy, gx, p, q);
    }
  });
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
  for_pieces(n, elementwise_piece, [&](Index begin, Index end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(unary_f32)(f, end - begin, x + begin, y + begin, p, q);
    } else {
      HWY_DYNAMIC_DISPATCH(unary_f64)(f, end - begin, x + begin, y + begin, p, q);
    }
  });
}

template <class T>
void unary_gradient(Unary f, Index n, const T* x, const T* y, const T* gy, T* gx, bool add, T p, T q) {
  for_pieces(n, elementwise_piece, [&](Index begin, Index end) {
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
