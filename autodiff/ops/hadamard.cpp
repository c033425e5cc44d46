#include <taper/autodiff/kernels/hadamard.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::Gates;

/// The axis of the factor that has a gate for each index; -1 when each entry has a gate.
Index gated_axis(const Shape& u, const Shape& v) {
  if (u == v) return -1;
  // The dimensions of gates are compared from the last one, and are 1 behind the axis.
  const Index axis = u.rank() - v.rank();
  if (v.rank() > 0 && axis >= 0 && v[0] == u[axis] && v.with(0, 1).size() == 1) return axis;
  std::string expected = u.str();
  for (Index k = u.rank() - 1; k >= 0 && u.rank() > 1; --k) {
    const Index gates[Shape::max_rank] = {u[k], 1, 1, 1};
    expected += (k == 0 ? " or " : ", ") + Shape(gates, u.rank() - k).str();
  }
  throw Error("hadamard", "gates ", v, " for a factor ", u, ": expected ", expected);
}

Gates layout(const Shape& u, const Shape& v) {
  const Index axis = gated_axis(u, v);
  if (axis < 0) return {1, u.size(), 1};
  Gates gates{1, u[axis], 1};
  for (Index k = 0; k < axis; ++k) gates.outer *= u[k];
  for (Index k = axis + 1; k < u.rank(); ++k) gates.inner *= u[k];
  return gates;
}

template <class T>
const Op<T> hadamard_op{{
    .name = "hadamard",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          gated_axis(s[0], s[1]);
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const View<const T> u = f.input(0), v = f.input(1);
          kernels::hadamard<T>(layout(u.shape(), v.shape()), u.data(), v.data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const View<const T> u = b.input(0), v = b.input(1);
          // In this order: where u and v are one variable, the second gradient adds to the first.
          const Gradient<T> gu = b.gradient(0), gv = b.gradient(1);
          kernels::hadamard_gradient<T>(layout(u.shape(), v.shape()), b.output_gradient().data(), u.data(),
                                        v.data(), {gu ? gu.data : nullptr, gu.add},
                                        {gv ? gv.data : nullptr, gv.add});
        },
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          out.elementwise = true;
          ops::same_axes(s, out, 0);
          if (const Index axis = gated_axis(s[0], s[1]); axis < 0) {
            ops::same_axes(s, out, 1);
          } else {
            out.same(1, 0, axis, s[0][axis]);
          }
          out.preserve_zero(0);
          out.preserve_zero(1);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          std::vector<GradcheckCase> result;
          const std::pair<Shape, Shape> shapes[] = {{{3, 5}, {3, 5}},
                                                    {{9, 5}, {5}},
                                                    {{3, 20}, {3, 1}},
                                                    {{7}, {7}},
                                                    {{1, 1}, {1, 1}},
                                                    {{2, 2, 3}, {2, 2, 3}},
                                                    {{2, 4, 3}, {4, 1}},
                                                    {{3, 2, 5}, {3, 1, 1}},
                                                    {{2, 3, 4}, {4}},
                                                    {{3, 4, 2, 3}, {4, 1, 1}},
                                                    {{2, 3, 4, 2}, {4, 1}},
                                                    {{2, 2, 2, 3}, {3}},
                                                    {{4, 2, 3, 2}, {4, 1, 1, 1}}};
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
