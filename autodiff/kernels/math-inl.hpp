// Included once per target, like simd-inl.hpp: the functions that an instruction set lacks. Measured bounds
// on their errors stand in unary.hpp.
#if defined(TAPER_KERNELS_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPER_KERNELS_MATH_INL
#undef TAPER_KERNELS_MATH_INL
#else
#define TAPER_KERNELS_MATH_INL
#endif

#include <taper/autodiff/kernels/polynomials-inl.hpp>
#include <taper/autodiff/kernels/simd-inl.hpp>

HWY_BEFORE_NAMESPACE();
namespace taper::kernels::HWY_NAMESPACE {

template <class T> constexpr bool is_float = sizeof(T) == 4;
template <class T> using Bits = hn::Vec<hn::RebindToUnsigned<Tag<T>>>;
template <class T> using Word = hn::TFromV<Bits<T>>;

/// The constants that IEEE 754 and log(2) prescribe.
template <class T> struct Format {
  static constexpr int fraction = is_float<T> ? 23 : 52;  // bits of a number after the leading one
  static constexpr int bias = is_float<T> ? 127 : 1023;
  /// Added to a small whole number, it puts it into the lowest bits.
  static constexpr double shifter = is_float<T> ? 12582912.0 : 6755399441055744.0;
  /// log(2) in two parts, the first so short that its product with an exponent is exact.
  static constexpr double log2_high = is_float<T> ? 0x1.62e4p-1 : 0x1.62e42fefa3p-1;
  static constexpr double log2_low = is_float<T> ? 1.4286068203094172e-6 : 2.8235290563031577e-13;
};

template <class T> HWY_INLINE Bits<T> bits(Vector<T> x) {
  return hn::BitCast(hn::RebindToUnsigned<Tag<T>>(), x);
}
template <class T> HWY_INLINE Bits<T> word(Word<T> x) {
  return hn::Set(hn::RebindToUnsigned<Tag<T>>(), x);
}
template <class T> HWY_INLINE Vector<T> number(Bits<T> x) {
  return hn::BitCast(Tag<T>(), x);
}

template <class T> HWY_INLINE Vector<T> infinity() {
  return constant<T>(std::numeric_limits<double>::infinity());
}

/// c[0] + c[1] x + ... by Horner's rule.
template <class T, std::size_t n> HWY_INLINE Vector<T> polynomial(Vector<T> x, const T (&c)[n]) {
  const Tag<T> d;
  Vector<T> y = hn::Set(d, c[n - 1]);
#pragma GCC unroll 32
  for (std::size_t i = 1; i < n; ++i) y = hn::MulAdd(y, x, hn::Set(d, c[n - 1 - i]));
  return y;
}

/// 2^k for a whole number k whose power is a normal number.
template <class T> HWY_INLINE Vector<T> power_of_two(Vector<T> k) {
  const Vector<T> placed = hn::Add(k, constant<T>(Format<T>::shifter + Format<T>::bias));
  return number<T>(hn::ShiftLeft<Format<T>::fraction>(bits<T>(placed)));
}

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86  // AVX-512 has instructions for these two
HWY_INLINE Vector<float> times_power_of_two(Vector<float> y, Vector<float> k) {
  return Vector<float>{_mm512_scalef_ps(y.raw, k.raw)};
}
HWY_INLINE Vector<double> times_power_of_two(Vector<double> y, Vector<double> k) {
  return Vector<double>{_mm512_scalef_pd(y.raw, k.raw)};
}
HWY_INLINE Vector<float> rough_inverse(Vector<float> x) {
  return Vector<float>{_mm512_rcp14_ps(x.raw)};
}
HWY_INLINE Vector<double> rough_inverse(Vector<double> x) {
  return Vector<double>{_mm512_rcp14_pd(x.raw)};
}

/// a / b for b from 1 to 1000, within 0.51 ulp: a long division takes twice as long as Newton's steps for 1 /
/// b, each of which doubles the digits, and one for the remainder.
template <class T> HWY_INLINE Vector<T> quotient(Vector<T> a, Vector<T> b) {
  const Vector<T> one = constant<T>(1);
  Vector<T> inverse = rough_inverse(b);
  for (int i = 0; i < (is_float<T> ? 1 : 2); ++i) {
    inverse = hn::MulAdd(inverse, hn::NegMulAdd(b, inverse, one), inverse);
  }
  const Vector<T> y = hn::Mul(a, inverse);
  return hn::MulAdd(inverse, hn::NegMulAdd(b, y, a), y);
}
#else
/// y 2^k for a whole number k between twice the exponents of the smallest and of the largest number: in two
/// steps, since 2^k may be too large, or too small to be normal, where the result is not.
template <class V> HWY_INLINE V times_power_of_two(V y, V k) {
  using T = hn::TFromV<V>;
  const V shifter = constant<T>(Format<T>::shifter);
  const V half = hn::Sub(hn::MulAdd(k, constant<T>(0.5), shifter), shifter);
  return hn::Mul(hn::Mul(y, power_of_two<T>(half)), power_of_two<T>(hn::Sub(k, half)));
}

template <class T> HWY_INLINE Vector<T> quotient(Vector<T> a, Vector<T> b) {
  return hn::Div(a, b);
}
#endif

/// exp(x + low) = (1 + rest) 2^k with a whole number k, where |rest| < 1/2 is exp(r) - 1 for the rest r of x
/// beside k log(2), and low is a correction that is too small for x to hold.
template <class T> struct Exponential {
  Vector<T> k, rest;

  explicit HWY_INLINE Exponential(Vector<T> x, Vector<T> low = hn::Zero(Tag<T>())) {
    const Vector<T> shifter = constant<T>(Format<T>::shifter);
    k = hn::Sub(hn::MulAdd(x, constant<T>(1.4426950408889634), shifter), shifter);
    Vector<T> r = hn::NegMulAdd(k, constant<T>(Format<T>::log2_high), x);
    r = hn::Add(hn::NegMulAdd(k, constant<T>(Format<T>::log2_low), r), low);
    Vector<T> q;
    if constexpr (is_float<T>) {
      q = polynomial<T>(r, polynomials::exp_float);
    } else {
      q = polynomial<T>(r, polynomials::exp_double);
    }
    rest = hn::MulAdd(hn::Mul(r, r), q, r);
  }

  HWY_INLINE Vector<T> mantissa() const { return hn::Add(constant<T>(1), rest); }
  HWY_INLINE Vector<T> value() const { return times_power_of_two(mantissa(), k); }
  /// The exponential times a factor, which may be large where the exponential is too small to have its
  /// digits.
  HWY_INLINE Vector<T> times(Vector<T> factor) const {
    return times_power_of_two(hn::Mul(mantissa(), factor), k);
  }
};

template <class T> HWY_INLINE Vector<T> exp(Vector<T> x) {
  const Vector<T> least = constant<T>(is_float<T> ? -104 : -746);  // these and all beyond give 0 and infinity
  const Vector<T> most = constant<T>(is_float<T> ? 89 : 710);
  return keep_nan<T>(x, Exponential<T>(hn::Min(hn::Max(x, least), most)).value());
}

/// exp(-|x|); a NaN gives a number. It ends where a thousand times the result is zero.
template <class T> HWY_INLINE Exponential<T> exp_of_negative(Vector<T> x) {
  return Exponential<T>(hn::Neg(hn::Min(hn::Abs(x), constant<T>(is_float<T> ? 120 : 760))));
}

/// exp(x) - 1 for x <= 40.
template <class T> HWY_INLINE Vector<T> expm1_negative(Vector<T> x) {
  const Exponential<T> e(hn::Max(x, constant<T>(-50)));
  const Vector<T> scale = power_of_two<T>(e.k);
  return keep_nan<T>(x, hn::MulAdd(scale, e.rest, hn::Sub(scale, constant<T>(1))));
}

/// exp(x) - 1.
template <class T> HWY_INLINE Vector<T> expm1(Vector<T> x) {
  const Vector<T> most = constant<T>(40), zero = hn::Zero(Tag<T>());  // beyond, 1 is less than the last digit
  const Vector<T> y = expm1_negative<T>(hn::Min(x, most));
  const Vector<T> usual = hn::IfThenElse(hn::Eq(x, zero), x, y);
  return keep_nan<T>(x, hn::IfThenElse(hn::Gt(x, most), exp<T>(x), usual));
}

/// k log(2) + log(1 + f) for 1 + f between the square roots of 1/2 and 2.
template <class T> HWY_INLINE Vector<T> log_near_one(Vector<T> k, Vector<T> f) {
  const Vector<T> high = constant<T>(Format<T>::log2_high), low = constant<T>(Format<T>::log2_low);
  const Vector<T> square = hn::Mul(f, f), half = constant<T>(0.5);
  if constexpr (is_float<T>) {
    Vector<T> y = hn::Mul(hn::Mul(square, f), polynomial<T>(f, polynomials::log_float));
    y = hn::NegMulAdd(half, square, hn::MulAdd(k, low, y));
    return hn::MulAdd(k, high, hn::Add(f, y));
  } else {
    // With s = f / (2 + f) and log(1 + f) = 2 s + s R, this is f - (f^2 / 2 - s (f^2 / 2 + R)).
    const Vector<T> s = quotient<T>(f, hn::Add(constant<T>(2), f)), z = hn::Mul(s, s);
    const Vector<T> r = hn::Mul(z, polynomial<T>(z, polynomials::log_double));
    const Vector<T> h = hn::Mul(half, square);
    const Vector<T> y = hn::MulAdd(s, hn::Add(h, r), hn::Mul(k, low));
    return hn::MulAdd(k, high, hn::Sub(f, hn::Sub(h, y)));
  }
}

template <class T> HWY_INLINE Vector<T> log(Vector<T> x) {
  constexpr int fraction = Format<T>::fraction;
  constexpr double scale = is_float<T> ? 0x1p23 : 0x1p52;
  const Tag<T> d;
  const Vector<T> zero = hn::Zero(d);
  // Numbers too small to be normal are scaled up first.
  const auto small = hn::Lt(x, hn::Set(d, std::numeric_limits<T>::min()));
  const Vector<T> normal = hn::IfThenElse(small, hn::Mul(x, constant<T>(scale)), x);
  // x = 2^k m with m from the square root of 1/2 to that of 2: taking the bits of the former away leaves k in
  // the place of the exponent, here raised by twice the bias so that it is positive.
  constexpr Word<T> root_half = static_cast<Word<T>>(is_float<T> ? 0x3f3504f3 : 0x3fe6a09e667f3bcd);
  constexpr Word<T> raise = Word<T>{2 * Format<T>::bias} << fraction;
  constexpr Word<T> below = (Word<T>{1} << fraction) - 1;
  const Bits<T> moved = hn::Add(bits<T>(normal), word<T>(raise - root_half));
  const Vector<T> m = number<T>(hn::Add(hn::And(moved, word<T>(below)), word<T>(root_half)));
  // In the lowest bits of 2^fraction, a whole number adds itself.
  const Vector<T> placed = number<T>(hn::Or(hn::ShiftRight<fraction>(moved), bits<T>(constant<T>(scale))));
  const Vector<T> lift = hn::IfThenElse(small, constant<T>(scale + 2 * Format<T>::bias + fraction),
                                        constant<T>(scale + 2 * Format<T>::bias));
  const Vector<T> y = log_near_one<T>(hn::Sub(placed, lift), hn::Sub(m, constant<T>(1)));
  // Zero gives -infinity, a negative number NaN; infinity and NaN give themselves.
  const Vector<T> nan = constant<T>(std::numeric_limits<double>::quiet_NaN());
  const Vector<T> odd = hn::IfThenElse(hn::Lt(x, zero), nan, x);
  const Vector<T> special = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity<T>()), odd);
  return hn::IfThenElse(hn::And(hn::Gt(x, zero), hn::Lt(x, infinity<T>())), y, special);
}

/// log(1 + x) for x from 0 to 1, or NaN.
template <class T> HWY_INLINE Vector<T> log1p_unit(Vector<T> x) {
  // Above the square root of 2, the half of 1 + x is nearer to 1; (x - 1) / 2 is exact.
  const Vector<T> one = constant<T>(1);
  const auto large = hn::Gt(x, constant<T>(0.41421356));
  const Vector<T> f = hn::IfThenElse(large, hn::Mul(constant<T>(0.5), hn::Sub(x, one)), x);
  return log_near_one<T>(hn::IfThenElseZero(large, one), f);
}

/// log(1 + x).
template <class T> HWY_INLINE Vector<T> log1p(Vector<T> x) {
  const Vector<T> zero = hn::Zero(Tag<T>()), one = constant<T>(1), sum = hn::Add(one, x);
  // What the sum has rounded away is small next to it, so its part of the logarithm is this quotient.
  const Vector<T> of_small = hn::Sub(x, hn::Sub(sum, one)), of_large = hn::Sub(one, hn::Sub(sum, x));
  const Vector<T> lost = hn::Div(hn::IfThenElse(hn::Lt(x, one), of_small, of_large), sum);
  const auto inside = hn::And(hn::Gt(sum, zero), hn::Lt(sum, infinity<T>()));
  const Vector<T> y = hn::Add(log<T>(sum), hn::IfThenElseZero(inside, lost));
  return hn::IfThenElse(hn::Eq(x, zero), x, y);
}

/// x = r + low + k pi / 2 with a whole number k, of which `quadrant` has the last two bits, and |r| up to
/// pi / 4. The parts of pi / 2 are so short that their products with k are exact (Cody and Waite, 1980).
template <class T> struct Quadrant {
  static constexpr double limit = is_float<T> ? 6400 : 1.6e6;  // where k has as many bits as that allows
  Vector<T> r, low;
  Bits<T> quadrant;

  explicit HWY_INLINE Quadrant(Vector<T> x) {
    constexpr double first = is_float<T> ? 0x1.92p+0 : 0x1.921fb544p+0;
    constexpr double second = is_float<T> ? 0x1.fb4p-12 : 0x1.0b4611a6p-34;
    constexpr double third = is_float<T> ? 0x1.444p-24 : 0x1.3198a2e037073p-69;
    constexpr double fourth = is_float<T> ? 0x1.68c234c4c6629p-39 : 0;
    const Vector<T> shifter = constant<T>(Format<T>::shifter);
    const Vector<T> placed = hn::MulAdd(x, constant<T>(0.6366197723675814), shifter);
    const Vector<T> k = hn::Sub(placed, shifter);
    quadrant = bits<T>(placed);
    r = hn::NegMulAdd(k, constant<T>(first), x);
    low = hn::Zero(Tag<T>());
    subtract(hn::Mul(k, constant<T>(second)));
    subtract(hn::Mul(k, constant<T>(third)));
    if constexpr (is_float<T>) low = hn::NegMulAdd(k, constant<T>(fourth), low);
  }

  /// sin(x + turns pi / 2).
  HWY_INLINE Vector<T> sine(Word<T> turns) const {
    const Vector<T> one = constant<T>(1), z = hn::Mul(r, r), half = hn::Mul(constant<T>(0.5), z);
    Vector<T> p, q;
    if constexpr (is_float<T>) {
      p = polynomial<T>(z, polynomials::sin_float), q = polynomial<T>(z, polynomials::cos_float);
    } else {
      p = polynomial<T>(z, polynomials::sin_double), q = polynomial<T>(z, polynomials::cos_double);
    }
    const Vector<T> sine = hn::Add(r, hn::MulAdd(hn::Mul(r, z), p, hn::NegMulAdd(half, low, low)));
    const Vector<T> near = hn::Sub(one, half), missing = hn::Sub(hn::Sub(one, near), half);
    const Vector<T> cosine =
        hn::Add(near, hn::Add(missing, hn::MulAdd(hn::Mul(z, z), q, hn::Neg(hn::Mul(r, low)))));
    const Bits<T> turned = hn::Add(quadrant, word<T>(turns));
    constexpr int top = sizeof(T) * 8 - 1;
    const Bits<T> sign = hn::ShiftLeft<top>(hn::ShiftRight<1>(turned));
    const auto odd = hn::Ne(hn::And(turned, word<T>(1)), word<T>(0));
    const Vector<T> y = hn::IfThenElse(hn::RebindMask(Tag<T>(), odd), cosine, sine);
    return hn::Xor(y, number<T>(sign));
  }

 private:
  /// Takes a part from r + low, with what the difference loses (Knuth's two-sum).
  HWY_INLINE void subtract(Vector<T> part) {
    const Vector<T> next = hn::Sub(r, part), moved = hn::Sub(next, r);
    const Vector<T> lost = hn::Sub(hn::Sub(r, hn::Sub(next, moved)), hn::Add(part, moved));
    const Vector<T> rest = hn::Add(low, lost), sum = hn::Add(next, rest), by = hn::Sub(sum, next);
    low = hn::Add(hn::Sub(next, hn::Sub(sum, by)), hn::Sub(rest, by));
    r = sum;
  }
};

template <class T, class F> HWY_INLINE Vector<T> sine_of(Vector<T> x, Word<T> turns, const F& exact) {
  const auto inside = hn::Le(hn::Abs(x), constant<T>(Quadrant<T>::limit));
  const Vector<T> y = Quadrant<T>(hn::IfThenElseZero(inside, x)).sine(turns);
  if (HWY_LIKELY(hn::AllTrue(Tag<T>(), inside))) return y;
  return hn::IfThenElse(inside, y, per_lane<T>(x, exact));
}

template <class T> HWY_INLINE Vector<T> sin(Vector<T> x) {
  const Vector<T> y = sine_of<T>(x, 0, [](T t) { return std::sin(t); });
  return hn::IfThenElse(hn::Eq(x, hn::Zero(Tag<T>())), x, y);
}
template <class T> HWY_INLINE Vector<T> cos(Vector<T> x) {
  return sine_of<T>(x, 1, [](T t) { return std::cos(t); });
}

template <class T> HWY_INLINE Vector<T> tanh(Vector<T> x) {
  if constexpr (is_float<T>) {
    const Vector<T> a = hn::Min(hn::Abs(x), constant<T>(9.02)), z = hn::Mul(a, a);
    const Vector<T> above = hn::Mul(a, polynomial<T>(z, polynomials::tanh_above));
    const Vector<T> y = quotient<T>(above, polynomial<T>(z, polynomials::tanh_below));
    return keep_nan<T>(x, hn::CopySign(hn::Min(y, constant<T>(1)), x));
  } else {
    // With m = exp(-2 |x|) - 1, this is -m / (2 + m): no cancellation anywhere.
    const Vector<T> m = expm1_negative<T>(hn::Mul(constant<T>(-2), hn::Abs(x)));
    return hn::CopySign(quotient<T>(m, hn::Add(constant<T>(2), m)), x);
  }
}

template <class T> HWY_INLINE Vector<T> sigmoid(Vector<T> x) {
  // exp of -|x| only, so that nothing overflows and small results keep their digits.
  const Vector<T> one = constant<T>(1), e = exp_of_negative<T>(x).value();
  const Vector<T> numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(Tag<T>())), e, one);
  return keep_nan<T>(x, quotient<T>(numerator, hn::Add(one, e)));
}

/// s = sigmoid(x) times a factor that may depend on it: the factor is given 1 - s. However small s is, the
/// product has all its digits; infinities count as a thousand, where s is 0 or 1.
template <class T, class F> HWY_INLINE Vector<T> sigmoid_times(Vector<T> x, const F& factor) {
  const Exponential<T> small = exp_of_negative<T>(x);
  const Vector<T> one = constant<T>(1), zero = hn::Zero(Tag<T>()), e = small.value();
  const auto negative = hn::Lt(x, zero);
  const Vector<T> larger = quotient<T>(one, hn::Add(one, e));
  const Vector<T> y = hn::Mul(larger, factor(hn::IfThenElse(negative, larger, hn::Mul(e, larger))));
  return keep_nan<T>(x, hn::IfThenElse(negative, small.times(y), y));
}

/// x sigmoid(x).
template <class T> HWY_INLINE Vector<T> silu(Vector<T> x) {
  return sigmoid_times<T>(x, [&](Vector<T>) HWY_ATTR { return hn::Max(x, constant<T>(-1000)); });
}

/// The derivative of silu, s (1 + x (1 - s)) with s = sigmoid(x).
template <class T> HWY_INLINE Vector<T> silu_slope(Vector<T> x) {
  const Vector<T> bounded = hn::Min(hn::Max(x, constant<T>(-1000)), constant<T>(1000));
  return sigmoid_times<T>(
      x, [&](Vector<T> complement) HWY_ATTR { return hn::MulAdd(bounded, complement, constant<T>(1)); });
}

/// log(1 + exp(x)).
template <class T> HWY_INLINE Vector<T> softplus(Vector<T> x) {
  const Vector<T> e = exp_of_negative<T>(x).value();
  return keep_nan<T>(x, hn::Add(hn::Max(x, hn::Zero(Tag<T>())), log1p_unit<T>(e)));
}

/// What is left of x^2 when it is rounded to `square`.
template <class T> HWY_INLINE Vector<T> lost_of_square(Vector<T> x, Vector<T> square) {
#if HWY_TARGET == HWY_SCALAR || \
    HWY_TARGET == HWY_EMU128  // no fused product and sum: in halves whose products are exact
  constexpr Word<T> upper = static_cast<Word<T>>(~Word<T>{0}) << (is_float<T> ? 12 : 27);
  const Vector<T> high = number<T>(hn::And(bits<T>(x), word<T>(upper))), low = hn::Sub(x, high);
  const Vector<T> twice = hn::Mul(constant<T>(2), hn::Mul(high, low));
  return hn::Add(hn::Add(hn::Sub(hn::Mul(high, high), square), twice), hn::Mul(low, low));
#else
  return hn::MulSub(x, x, square);
#endif
}

/// The lower tail of the normal distribution at -a, for a = |x|: the distribution function Phi(-a) = e m with
/// e = exp(-a^2 / 2), both with all their digits however small they are.
template <class T> struct NormalTail {
  Vector<T> a, m;
  Exponential<T> e;

  explicit HWY_INLINE NormalTail(Vector<T> x)
      : a(hn::Min(hn::Abs(x), constant<T>(is_float<T> ? 15 : 39))), e(exponential(a)) {  // beyond, e is zero
    const Vector<T> four = constant<T>(4), one = constant<T>(1);
    const Vector<T> inverse = quotient<T>(one, hn::Add(a, four));
    // t = (a - 4) / (a + 4), and once more what is missing of it: the sums have lost the last digits of a.
    const Vector<T> near = hn::Mul(hn::Sub(a, four), inverse);
    const Vector<T> missing = hn::NegMulAdd(four, hn::Add(one, near), hn::Mul(a, hn::Sub(one, near)));
    const Vector<T> t = hn::MulAdd(missing, inverse, near);
    if constexpr (is_float<T>) {
      m = hn::Mul(inverse, polynomial<T>(t, polynomials::tail_float));
    } else {
      m = hn::Mul(inverse, polynomial<T>(t, polynomials::tail_double));
    }
  }

  static HWY_INLINE Exponential<T> exponential(Vector<T> a) {
    const Vector<T> square = hn::Mul(a, a), half = constant<T>(-0.5);
    return Exponential<T>(hn::Mul(half, square), hn::Mul(half, lost_of_square<T>(a, square)));
  }
};

/// x Phi(x), with the normal distribution function Phi.
template <class T> HWY_INLINE Vector<T> gelu(Vector<T> x) {
  const NormalTail<T> tail(x);
  const Vector<T> lower = tail.e.times(hn::Mul(tail.a, tail.m));
  // Below zero -a Phi(-a), above x - a Phi(-a); -infinity counts as the end of the tail.
  return keep_nan<T>(x, hn::Sub(hn::Max(x, hn::Zero(Tag<T>())), lower));
}

/// The derivative of gelu, Phi(x) + x phi(x) with the normal density phi.
template <class T> HWY_INLINE Vector<T> gelu_slope(Vector<T> x) {
  const NormalTail<T> tail(x);
  const Vector<T> lower = tail.e.times(hn::NegMulAdd(tail.a, constant<T>(0.3989422804014327), tail.m));
  const Vector<T> y = hn::IfThenElse(hn::Lt(x, hn::Zero(Tag<T>())), lower, hn::Sub(constant<T>(1), lower));
  return keep_nan<T>(x, y);
}

/// The error function: a polynomial around 0, and 1 - 2 Phi(-sqrt(2) |x|) beyond.
template <class T> HWY_INLINE Vector<T> erf(Vector<T> x) {
  const Vector<T> a = hn::Abs(x), z = hn::Mul(x, x);
  Vector<T> near;
  if constexpr (is_float<T>) {
    near = hn::Mul(x, polynomial<T>(z, polynomials::erf_float));
  } else {
    near = hn::Mul(x, polynomial<T>(z, polynomials::erf_double));
  }
  const NormalTail<T> tail(hn::Mul(a, constant<T>(1.4142135623730951)));
  const Vector<T> far = hn::Sub(constant<T>(1), tail.e.times(hn::Add(tail.m, tail.m)));
  const Vector<T> y = hn::IfThenElse(hn::Le(a, constant<T>(0.5)), near, hn::CopySign(far, x));
  return keep_nan<T>(x, y);
}

/// The derivative of erf, 2 / sqrt(pi) exp(-x^2).
template <class T> HWY_INLINE Vector<T> erf_slope(Vector<T> x) {
  const Vector<T> a = hn::Min(hn::Abs(x), constant<T>(is_float<T> ? 10.3 : 27.4));  // beyond, it is zero
  const Vector<T> square = hn::Mul(a, a);
  const Exponential<T> e(hn::Neg(square), hn::Neg(lost_of_square<T>(a, square)));
  return keep_nan<T>(x, e.times(constant<T>(1.1283791670955126)));
}

}  // namespace taper::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the guard per target
