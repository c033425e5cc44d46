// The functions of one number. Whatever knows all of them is made from this list: the enumeration, the loops
// and the operations. A new function is a line here, and one in autodiff/ops.hpp.
//
//   TAPER_UNARY_0(name, zero, domain, cost, value, slope cost, slope)
//   TAPER_UNARY_1(name, function, p, ...)      with one setting
//   TAPER_UNARY_2(name, function, p, q, ...)   with two
//
//   name      of the enumerator, and of the operation in print-outs
//   function  of autodiff/ops.hpp; without settings it is the name
//   p, q      names of the settings
//   zero      when f(0) = 0
//   domain    where the gradient check takes its inputs: anywhere (but for kinks) or positive
//   value     y = f(x), and what it costs: cheap, or costly with an exponential, a logarithm or a root
//   slope     f'(x), from x and y, and what that costs; where f is not smooth, the one in brackets
//
// `zero` and `one` are vectors of these. In braces, how far a result may lie from the exact one, in units of
// its last place (ulp), on every instruction set: bounds on what was found against long double, in dense
// sweeps and with random bits over the whole range. After a bar, the same of the derivative, given the
// rounded value, relative to the scale that is named where the derivative itself may be a small difference.
// The others are exact or rounded once. At infinities a value is the limit, and of NaN it is NaN.

// clang-format off
TAPER_UNARY_0(neg, true, anywhere,
              cheap, hn::Neg(x),
              cheap, hn::Neg(one))
// {1.1 | 1.1}
TAPER_UNARY_0(exp, false, anywhere,
              costly, exp<T>(x),
              cheap, y)
// {1 | 0.5}
TAPER_UNARY_0(log, false, positive,
              costly, log<T>(x),
              costly, hn::Div(one, x))
// log(1 + x) {2 | 1.5}
TAPER_UNARY_0(log1p, true, positive,
              costly, log1p<T>(x),
              costly, hn::Div(one, hn::Add(one, x)))
// exp(x) - 1 {2.5 | 1.1}
TAPER_UNARY_0(expm1, true, anywhere,
              costly, expm1<T>(x),
              costly, exp<T>(x))
// {2 | 2}
TAPER_UNARY_0(sin, true, anywhere,
              costly, sin<T>(x),
              costly, cos<T>(x))
// {2 | 2}
TAPER_UNARY_0(cos, false, anywhere,
              costly, cos<T>(x),
              costly, hn::Neg(sin<T>(x)))
// {2.5 | 2.5}
TAPER_UNARY_0(erf, true, anywhere,
              costly, erf<T>(x),
              costly, erf_slope<T>(x))
// {0.5 | 1.5}
TAPER_UNARY_0(sqrt, true, positive,
              costly, hn::Sqrt(x),
              costly, hn::Div(constant<T>(0.5), y))
TAPER_UNARY_0(square, true, anywhere,
              cheap, hn::Mul(x, x),
              cheap, hn::Add(x, x))
// [0 at 0]
TAPER_UNARY_0(abs, true, anywhere,
              cheap, hn::Abs(x),
              cheap, sign<T>(x))
// x^p {1 | 2}
TAPER_UNARY_1(power, pow, exponent, p > 0, positive,
              costly, per_lane<T>(x, [p = hn::GetLane(p)](T t) { return std::pow(t, p); }),
              costly, per_lane<T>(x, [p = hn::GetLane(p)](T t) { return p == 0 ? T{0} : p * std::pow(t, p - 1); }))
// {3 | 3 of 1}; in float {7 | 7 of 1}
TAPER_UNARY_0(tanh, true, anywhere,
              costly, tanh<T>(x),
              cheap, hn::NegMulAdd(y, y, one))
// 1 / (1 + exp(-x)) {2.5 | 3.5 of the value}
TAPER_UNARY_0(sigmoid, false, anywhere,
              costly, sigmoid<T>(x),
              cheap, hn::Mul(y, hn::Sub(one, y)))
// -log(1 + exp(-x)) {2 | 2.5}
TAPER_UNARY_0(log_sigmoid, false, anywhere,
              costly, hn::Neg(softplus<T>(hn::Neg(x))),
              costly, sigmoid<T>(hn::Neg(x)))
// log(1 + exp(x)) {2 | 2.5}
TAPER_UNARY_0(softplus, false, anywhere,
              costly, softplus<T>(x),
              costly, sigmoid<T>(x))
// max(x, 0); a NaN stays one [0 at 0]
TAPER_UNARY_0(relu, true, anywhere,
              cheap, hn::IfThenElse(hn::Lt(x, zero), zero, x),
              cheap, hn::IfThenZeroElse(hn::Le(x, zero), one))
// x, or p x when x <= 0 [p at 0]
TAPER_UNARY_1(leaky_relu, leaky_relu, slope, true, anywhere,
              cheap, hn::IfThenElse(hn::Gt(x, zero), x, hn::Mul(p, x)),
              cheap, hn::IfThenElse(hn::Gt(x, zero), one, p))
// x, or p (exp(x) - 1) when x <= 0 [p at 0] {2 | 2 of p}
TAPER_UNARY_1(elu, elu, alpha, true, anywhere,
              costly, hn::IfThenElse(hn::Gt(x, zero), x, hn::Mul(p, expm1_negative<T>(x))),
              cheap, hn::IfThenElse(hn::Gt(x, zero), one, hn::Add(y, p)))
// x Phi(x), with the normal distribution function {6 | 4 of Phi(x) + |x| phi(x)}
TAPER_UNARY_0(gelu, true, anywhere,
              costly, gelu<T>(x),
              costly, gelu_slope<T>(x))
// x s with s = sigmoid(x) {3.5 | 5 of s (1 + |x| (1 - s))}
TAPER_UNARY_0(silu, true, anywhere,
              costly, silu<T>(x),
              costly, silu_slope<T>(x))
// min(max(x, p), q) [1 at both ends]
TAPER_UNARY_2(clamp, clamp, low, high, p <= 0 && q >= 0, anywhere,
              cheap, keep_nan<T>(x, hn::Min(hn::Max(x, p), q)),
              cheap, hn::IfThenElseZero(hn::And(hn::Ge(x, p), hn::Le(x, q)), one))
// clang-format on

#undef TAPER_UNARY_0
#undef TAPER_UNARY_1
#undef TAPER_UNARY_2
