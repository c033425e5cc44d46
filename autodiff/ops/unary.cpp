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

enum class UnaryDomain { anywhere, positive };

/// What differs between the functions, besides the kernel.
struct UnaryDescription {
  const char* name;
  bool (*zero_at_zero)(double p, double q);
  UnaryDomain domain;
  const char* p = nullptr;  // the names of its settings
  const char* q = nullptr;
};

constexpr UnaryDescription unary_descriptions[] = {
#define TAPER_DESCRIPTION(name, zero, domain, ...)                                                        \
  {#name, []([[maybe_unused]] double p, [[maybe_unused]] double q) { return zero; }, UnaryDomain::domain, \
   __VA_ARGS__},
#define TAPER_UNARY_0(name, zero, domain, ...) TAPER_DESCRIPTION(name, zero, domain, nullptr)
#define TAPER_UNARY_1(name, function, p, zero, domain, ...) TAPER_DESCRIPTION(name, zero, domain, #p)
#define TAPER_UNARY_2(name, function, p, q, zero, domain, ...) TAPER_DESCRIPTION(name, zero, domain, #p, #q)
#include <taper/autodiff/kernels/unary-list.hpp>
#undef TAPER_DESCRIPTION
};

constexpr const UnaryDescription& describe(Unary function) {
  return unary_descriptions[static_cast<int>(function)];
}

template <Unary function> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  const auto draw = [&](const Shape& shape) {
    return describe(function).domain == UnaryDomain::positive ? ops::uniform(rng, shape, 0.3, 2)
                                                              : ops::away_from_kinks(rng, shape);
  };
  // An exponent or slope of 0.7, or bounds of -1 and 1.
  const UnaryAttributes settings{describe(function).q == nullptr ? 0.7 : -1.0, 1.0};
  return {{{draw({})}, settings}, {{draw({3, 7})}, settings}, {{draw({2, 3, 2, 5})}, settings}};
}

AttributeFields fields(const UnaryDescription& description) {
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
          const auto [p, q] = as<UnaryAttributes>(s.attributes);
          if (describe(function).zero_at_zero(p, q)) out.preserve_zero(0);
        },
    .gradcheck_cases = gradcheck_cases<function>,
    .in_place = true,
}};

template <Unary function, class T> Var<T> record(Var<T> x, double p = 0, double q = 0) {
  return apply(unary<T, function>, {x}, UnaryAttributes{p, q});
}

}  // namespace

#define TAPER_UNARY_0(name, ...)             \
  template <class T> Var<T> name(Var<T> x) { \
    return record<Unary::name>(x);           \
  }                                          \
  template Var<float> name(Var<float>);      \
  template Var<double> name(Var<double>);
#define TAPER_UNARY_1(name, function, p, ...)                               \
  template <class T> Var<T> function(Var<T> x, std::type_identity_t<T> p) { \
    return record<Unary::name>(x, p);                                       \
  }                                                                         \
  template Var<float> function(Var<float>, float);                          \
  template Var<double> function(Var<double>, double);
#define TAPER_UNARY_2(name, function, p, q, ...)                                                       \
  template <class T> Var<T> function(Var<T> x, std::type_identity_t<T> p, std::type_identity_t<T> q) { \
    return record<Unary::name>(x, p, q);                                                               \
  }                                                                                                    \
  template Var<float> function(Var<float>, float, float);                                              \
  template Var<double> function(Var<double>, double, double);
#include <taper/autodiff/kernels/unary-list.hpp>

}  // namespace taper
