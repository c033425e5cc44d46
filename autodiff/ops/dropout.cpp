#include <taper/autodiff/kernels/binary.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::Binary;

struct DropoutAttributes {
  double probability;
};

/// The scratch keeps the factors, 0 or 1 / (1 - probability), for the backward pass.
template <class T>
const Op<T> dropout_op{{
    .name = "dropout",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const auto [probability] = as<DropoutAttributes>(s.attributes);
          if (!(probability >= 0 && probability < 1)) {
            throw Error("dropout", "probability ", probability, ": expected 0 <= probability < 1");
          }
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const auto [probability] = as<DropoutAttributes>(f.attributes());
          const T kept = static_cast<T>(1 / (1 - probability));
          const Index n = f.output().size();
          Rng rng = f.random();
          for (Index i = 0; i < n; ++i) f.scratch()[i] = rng.uniform() < probability ? T{0} : kept;
          kernels::binary<T>(Binary::mul, n, f.input(0).data(), f.scratch(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::binary_gradient<T>(Binary::mul, 0, b.output().size(), b.input(0).data(), b.scratch(),
                                        b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = attribute_fields<DropoutAttributes>({{"probability", &DropoutAttributes::probability}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          ops::elementwise(s, output, out);
          out.preserve_zero(0);
          out.random = true;
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{ops::uniform(rng, {5, 7})}, DropoutAttributes{0.3}}};
        },
    .scratch = [](const Signature& s) { return s[0].size(); },
    .in_place = true,
}};

}  // namespace

template <class T> Var<T> dropout(Var<T> x, double probability) {
  return apply(dropout_op<T>, {x}, DropoutAttributes{probability});
}

#define TAPER_INSTANTIATE(T) template Var<T> dropout(Var<T>, double);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
