// The functions of two numbers. Whatever knows all of them is made from this list: the enumeration, the loops
// and the operations. A new function is a line here, and one in autodiff/ops.hpp.
//
//   TAPER_BINARY(name, operation, zero, domain, value, slope in a, slope in b)
//   TAPER_BINARY_SYMMETRIC(name, operation, zero, domain, value, slope in a)   when f(a, b) = f(b, a)
//   TAPER_COMPARISON(name, value)   of 0 and 1, without a slope; where it is not defined apart, it is a
//                                   TAPER_BINARY
//
//   name       of the enumerator and of the function of autodiff/ops.hpp
//   operation  as in print-outs
//   zero       for which argument f = 0 where it is 0: neither, first or both
//   domain     where the gradient check takes its inputs: anywhere, positive or distinct
//   value      f(a, b)
//   slope      df/da or df/db; where f is not smooth, the one in brackets
//
// `one` is a vector of ones.

#ifndef TAPER_COMPARISON
#define TAPER_COMPARISON(name, value) \
  TAPER_BINARY(name, #name, neither, distinct, value, hn::Zero(Tag<T>()), hn::Zero(Tag<T>()))
#endif

// clang-format off
TAPER_BINARY_SYMMETRIC(add, "add", neither, anywhere,
                       hn::Add(a, b),
                       one)
TAPER_BINARY(sub, "sub", neither, anywhere,
             hn::Sub(a, b),
             one,
             hn::Neg(one))
TAPER_BINARY_SYMMETRIC(mul, "mul", both, anywhere,
                       hn::Mul(a, b),
                       b)
TAPER_BINARY(div, "div", first, positive,
             hn::Div(a, b),
             hn::Div(one, b),
             hn::Neg(hn::Div(hn::Div(a, b), b)))
TAPER_BINARY(pow, "pow", neither, positive,
             per_lane<T>(a, b, [](T x, T y) { return std::pow(x, y); }),
             per_lane<T>(a, b, [](T x, T y) { return y == 0 ? T{0} : y * std::pow(x, y - 1); }),
             per_lane<T>(a, b, [](T x, T y) { return x == 0 && y >= 0 ? T{0} : std::pow(x, y) * std::log(x); }))
// A NaN on either side is the result [one half to each side when they are equal].
TAPER_BINARY_SYMMETRIC(max, "maximum", neither, distinct,
                       larger<T>(a, b),
                       hn::IfThenZeroElse(hn::Lt(a, b), half_if_equal<T>(a, b)))
TAPER_BINARY_SYMMETRIC(min, "minimum", neither, distinct,
                       keep_nan<T>(a, keep_nan<T>(b, hn::Min(a, b))),
                       hn::IfThenZeroElse(hn::Gt(a, b), half_if_equal<T>(a, b)))
// x, or slope x where x <= 0
TAPER_BINARY(prelu, "prelu", first, anywhere,
             hn::IfThenElse(hn::Gt(a, hn::Zero(Tag<T>())), a, hn::Mul(a, b)),
             hn::IfThenElse(hn::Gt(a, hn::Zero(Tag<T>())), one, b),
             hn::IfThenZeroElse(hn::Gt(a, hn::Zero(Tag<T>())), a))
TAPER_COMPARISON(greater, hn::IfThenElseZero(hn::Gt(a, b), constant<T>(1)))
TAPER_COMPARISON(greater_equal, hn::IfThenElseZero(hn::Ge(a, b), constant<T>(1)))
TAPER_COMPARISON(less, hn::IfThenElseZero(hn::Lt(a, b), constant<T>(1)))
TAPER_COMPARISON(less_equal, hn::IfThenElseZero(hn::Le(a, b), constant<T>(1)))
TAPER_COMPARISON(equal, hn::IfThenElseZero(hn::Eq(a, b), constant<T>(1)))
TAPER_COMPARISON(not_equal, hn::IfThenZeroElse(hn::Eq(a, b), constant<T>(1)))
// clang-format on

#undef TAPER_COMPARISON
#undef TAPER_BINARY
#undef TAPER_BINARY_SYMMETRIC
