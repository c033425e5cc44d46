#include <taper/autodiff/kernels/hadamard.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::Gates;

/// A factor as a matrix whose columns or rows have a gate each.
struct Layout {
  Gates gates;
  Index rows, columns;
};

Layout layout(const Shape& u, const Shape& v) {
  if (u == v) return {Gates::columns, 1, u.size()};
  if (u.rank() == 2 && v == Shape{u[1]}) return {Gates::columns, u[0], u[1]};
  if (u.rank() == 2 && v == Shape{u[0], 1}) return {Gates::rows, u[0], u[1]};
  if (u.rank() != 2) throw Error("hadamard", "gates ", v, " for a factor ", u, ": expected ", u);
  throw Error("hadamard", "gates ", v, " for a factor ", u, ": expected ", u, ", ", Shape{u[1]}, " or ",
              Shape{u[0], 1});
}

template <class T>
const Op<T> hadamard_op{{
    .name = "hadamard",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          layout(s[0], s[1]);
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const View<const T> u = f.input(0), v = f.input(1);
          const Layout of = layout(u.shape(), v.shape());
          kernels::hadamard<T>(of.gates, of.rows, of.columns, u.data(), v.data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const View<const T> u = b.input(0), v = b.input(1);
          const Layout of = layout(u.shape(), v.shape());
          // In this order: where u and v are one variable, the second gradient adds to the first.
          const Gradient<T> gu = b.gradient(0), gv = b.gradient(1);
          kernels::hadamard_gradient<T>(of.gates, of.rows, of.columns, b.output_gradient().data(), u.data(),
                                        v.data(), {gu ? gu.data : nullptr, gu.add},
                                        {gv ? gv.data : nullptr, gv.add});
        },
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          out.elementwise = true;
          ops::same_axes(s, out, 0);
          if (s[0] == s[1]) {
            ops::same_axes(s, out, 1);
          } else {
            const Index gated = layout(s[0], s[1]).gates == Gates::rows ? 0 : 1;
            out.same(1, 0, gated, s[0][gated]);
          }
          out.preserve_zero(0);
          out.preserve_zero(1);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          std::vector<GradcheckCase> result;
          const std::pair<Shape, Shape> shapes[] = {{{3, 5}, {3, 5}},  {{9, 5}, {5}},
                                                    {{3, 20}, {3, 1}}, {{7}, {7}},
                                                    {{1, 1}, {1, 1}},  {{2, 2, 3}, {2, 2, 3}}};
          for (const auto& [u, v] : shapes) {
            result.push_back({{ops::uniform(rng, u), ops::uniform(rng, v)}});
          }
          return result;
        },
    .in_place = true,
    .backward_needs_output = false,
}};

}  // namespace

template <class T> Var<T> hadamard(Var<T> u, Var<T> v) {
  return apply(hadamard_op<T>, {u, v});
}
#define TAPER_INSTANTIATE(T) template Var<T> hadamard(Var<T>, Var<T>);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
