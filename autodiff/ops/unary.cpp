#include <taper/autodiff/kernels/unary.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>

namespace taper {
namespace {

using kernels::Unary;

/// The settings of all these functions, each of which has its own names for none, one or both.
struct UnaryAttributes {
  double p = 0, q = 0;
};

/// Whether f(0) = 0.
bool always(const UnaryAttributes&) {
  return true;
}
bool never(const UnaryAttributes&) {
  return false;
}

/// What differs between the functions, besides the kernel.
struct Description {
  Unary function;
  const char* name;
  bool (*zero_at_zero)(const UnaryAttributes&);
  bool positive_only = false;  // where its derivative may be checked
  const char* p = nullptr;     // the names of its settings
  const char* q = nullptr;
};

constexpr Description descriptions[] = {
    {Unary::neg, "neg", always},
    {Unary::exp, "exp", never},
    {Unary::log, "log", never, true},
    {Unary::sqrt, "sqrt", always, true},
    {Unary::square, "square", always},
    {Unary::abs, "abs", always},
    {Unary::power, "power", [](const UnaryAttributes& a) { return a.p > 0; }, true, "exponent"},
    {Unary::tanh, "tanh", always},
    {Unary::sigmoid, "sigmoid", never},
    {Unary::softplus, "softplus", never},
    {Unary::relu, "relu", always},
    {Unary::leaky_relu, "leaky_relu", always, false, "slope"},
    {Unary::elu, "elu", always, false, "alpha"},
    {Unary::gelu, "gelu", always},
    {Unary::silu, "silu", always},
    {Unary::clamp, "clamp", [](const UnaryAttributes& a) { return a.p <= 0 && a.q >= 0; }, false, "low",
     "high"},
};

constexpr const Description& describe(Unary function) {
  for (const Description& entry : descriptions) {
    if (entry.function == function) return entry;
  }
  throw "every function has a description";
}

template <Unary function> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  const auto draw = [&](const Shape& shape) {
    return describe(function).positive_only ? ops::uniform(rng, shape, 0.3, 2)
                                            : ops::away_from_kinks(rng, shape);
  };
  // Settings that all functions can live with: an exponent or slope of 0.7, and -1 to 1 for clamp.
  const UnaryAttributes settings{function == Unary::clamp ? -1.0 : 0.7, 1.0};
  return {{{draw({})}, settings}, {{draw({3, 7})}, settings}, {{draw({2, 3, 2, 5})}, settings}};
}

AttributeFields fields(const Description& description) {
  AttributeFields result = attribute_fields<UnaryAttributes>({});
  if (description.p != nullptr) result.list.emplace_back(description.p, &UnaryAttributes::p);
  if (description.q != nullptr) result.list.emplace_back(description.q, &UnaryAttributes::q);
  return result;
}

template <class T, Unary function>
const Op<T> unary{{
    .name = describe(function).name,
    .arity = 1,
    .shape =
        [](const Signature& s) {
          if constexpr (function == Unary::clamp) {
            const auto [low, high] = as<UnaryAttributes>(s.attributes);
            if (!(low <= high)) {
              throw Error("clamp", "bounds ", low, " and ", high, ": expected low <= high");
            }
          }
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const auto [p, q] = as<UnaryAttributes>(f.attributes());
          kernels::unary(function, f.output().size(), f.input(0).data(), f.output().data(), static_cast<T>(p),
                         static_cast<T>(q));
        },
    .backward =
        [](const Backward<T>& b) {
          const auto [p, q] = as<UnaryAttributes>(b.attributes());
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::unary_gradient(function, b.output().size(), b.input(0).data(), b.output().data(),
                                    b.output_gradient().data(), g.data, g.add, static_cast<T>(p),
                                    static_cast<T>(q));
          }
        },
    .attributes = fields(describe(function)),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          ops::elementwise(s, output, out);
          if (describe(function).zero_at_zero(as<UnaryAttributes>(s.attributes))) out.preserve_zero(0);
        },
    .gradcheck_cases = gradcheck_cases<function>,
    .in_place = true,
}};

template <Unary function, class T> Var<T> record(Var<T> x, double p = 0, double q = 0) {
  return apply(unary<T, function>, {x}, UnaryAttributes{p, q});
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
