#include <taper/autodiff/kernels/unary.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/samples.hpp>

namespace taper {
namespace {

using kernels::Unary;

/// What differs between the functions, besides the kernel: a name, and where its derivative may be checked.
struct Description {
  Unary function;
  const char* name;
  bool positive_only = false;
};

constexpr Description descriptions[] = {
    {Unary::neg, "neg"},           {Unary::exp, "exp"},       {Unary::log, "log", true},
    {Unary::sqrt, "sqrt", true},   {Unary::square, "square"}, {Unary::abs, "abs"},
    {Unary::power, "pow", true},   {Unary::tanh, "tanh"},     {Unary::sigmoid, "sigmoid"},
    {Unary::softplus, "softplus"}, {Unary::relu, "relu"},     {Unary::leaky_relu, "leaky_relu"},
    {Unary::elu, "elu"},           {Unary::gelu, "gelu"},     {Unary::silu, "silu"},
    {Unary::clamp, "clamp"},
};

constexpr const Description& describe(Unary function) {
  for (const Description& entry : descriptions) {
    if (entry.function == function) return entry;
  }
  throw "every function has a description";
}

template <Unary function> std::vector<Sample> samples(Rng& rng) {
  const auto draw = [&](const Shape& shape) {
    return describe(function).positive_only ? ops::uniform(rng, shape, 0.3, 2)
                                            : ops::away_from_kinks(rng, shape);
  };
  // Settings that all functions can live with: an exponent or slope of 0.7, and -1 to 1 for clamp.
  const Attributes settings{.reals = {function == Unary::clamp ? -1.0 : 0.7, 1.0}};
  return {{{draw({})}, settings}, {{draw({3, 7})}, settings}, {{draw({2, 3, 2, 5})}, settings}};
}

template <class T, Unary function>
const Op<T> unary{{
    .name = describe(function).name,
    .arity = 1,
    .shape = [](const Signature& s) { return s[0]; },
    .forward =
        [](const Forward<T>& f) {
          const auto& [p, q] = f.attributes().reals;
          kernels::unary(function, f.output().size(), f.input(0).data(), f.output().data(), static_cast<T>(p),
                         static_cast<T>(q));
        },
    .backward =
        [](const Backward<T>& b) {
          const auto& [p, q] = b.attributes().reals;
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::unary_gradient(function, b.output().size(), b.input(0).data(), b.output().data(),
                                    b.output_gradient().data(), g.data, g.add, static_cast<T>(p),
                                    static_cast<T>(q));
          }
        },
    .channels = Channels::elementwise,
    .samples = samples<function>,
    .in_place = true,
}};

template <Unary function, class T> Var<T> record(Var<T> x, double p = 0, double q = 0) {
  return apply(unary<T, function>, {x}, {.reals = {p, q}});
}

}  // namespace

template <class T> Var<T> neg(Var<T> x) {
  return record<Unary::neg>(x);
}
template <class T> Var<T> exp(Var<T> x) {
  return record<Unary::exp>(x);
}
template <class T> Var<T> log(Var<T> x) {
  return record<Unary::log>(x);
}
template <class T> Var<T> sqrt(Var<T> x) {
  return record<Unary::sqrt>(x);
}
template <class T> Var<T> square(Var<T> x) {
  return record<Unary::square>(x);
}
template <class T> Var<T> abs(Var<T> x) {
  return record<Unary::abs>(x);
}
template <class T> Var<T> pow(Var<T> x, std::type_identity_t<T> exponent) {
  return record<Unary::power>(x, exponent);
}
template <class T> Var<T> tanh(Var<T> x) {
  return record<Unary::tanh>(x);
}
template <class T> Var<T> sigmoid(Var<T> x) {
  return record<Unary::sigmoid>(x);
}
template <class T> Var<T> softplus(Var<T> x) {
  return record<Unary::softplus>(x);
}
template <class T> Var<T> relu(Var<T> x) {
  return record<Unary::relu>(x);
}
template <class T> Var<T> leaky_relu(Var<T> x, std::type_identity_t<T> slope) {
  return record<Unary::leaky_relu>(x, slope);
}
template <class T> Var<T> elu(Var<T> x, std::type_identity_t<T> alpha) {
  return record<Unary::elu>(x, alpha);
}
template <class T> Var<T> gelu(Var<T> x) {
  return record<Unary::gelu>(x);
}
template <class T> Var<T> silu(Var<T> x) {
  return record<Unary::silu>(x);
}
template <class T> Var<T> clamp(Var<T> x, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  if (!(low <= high)) throw Error("clamp", "bounds ", low, " and ", high, ": expected low <= high");
  return record<Unary::clamp>(x, low, high);
}

#define TAPER_INSTANTIATE(T)                                   \
  template Var<T> neg(Var<T>);                                 \
  template Var<T> exp(Var<T>);                                 \
  template Var<T> log(Var<T>);                                 \
  template Var<T> sqrt(Var<T>);                                \
  template Var<T> square(Var<T>);                              \
  template Var<T> abs(Var<T>);                                 \
  template Var<T> pow(Var<T>, std::type_identity_t<T>);        \
  template Var<T> tanh(Var<T>);                                \
  template Var<T> sigmoid(Var<T>);                             \
  template Var<T> softplus(Var<T>);                            \
  template Var<T> relu(Var<T>);                                \
  template Var<T> leaky_relu(Var<T>, std::type_identity_t<T>); \
  template Var<T> elu(Var<T>, std::type_identity_t<T>);        \
  template Var<T> gelu(Var<T>);                                \
  template Var<T> silu(Var<T>);                                \
  template Var<T> clamp(Var<T>, std::type_identity_t<T>, std::type_identity_t<T>);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper
