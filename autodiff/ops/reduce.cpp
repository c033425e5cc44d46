#include <taper/autodiff/kernels/reduce.hpp>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/samples.hpp>

namespace taper {
namespace {

/// integers[0] is the axis, or this for a reduction of everything.
constexpr Index everything = -1;

/// A shape seen along the reduced axis.
struct Axis {
  Index outer = 1, n = 1, inner = 1;

  Axis(const Shape& shape, Index axis) {
    if (axis == everything) {
      n = shape.size();
      return;
    }
    for (Index k = 0; k < shape.rank(); ++k) (k < axis ? outer : k == axis ? n : inner) *= shape[k];
  }
};

template <class T, class Pass> Axis axis_of(const Pass& pass) {
  return Axis(pass.input(0).shape(), pass.attributes().integers[0]);
}

Shape reduced(const Signature& s) {
  const Index axis = s.attributes.integers[0];
  return axis == everything ? Shape{} : s[0].without(axis);
}

/// For those that mean nothing without entries: the largest of none, the mean of none.
Shape reduced_nonempty(const Signature& s, const char* name) {
  if (Axis(s[0], s.attributes.integers[0]).n == 0) throw Error(name, "a tensor ", s[0], ": expected entries");
  return reduced(s);
}

template <Tensor<double> draw(Rng&, const Shape&)> std::vector<Sample> samples(Rng& rng) {
  return {{{draw(rng, {3, 4})}, {.integers = {everything}}},
          {{draw(rng, {2, 19})}, {.integers = {1}}},
          {{draw(rng, {5, 3})}, {.integers = {0}}},
          {{draw(rng, {2, 3, 2, 2})}, {.integers = {1}}}};
}

Tensor<double> any(Rng& rng, const Shape& shape) {
  return ops::uniform(rng, shape);
}

template <class T>
const Op<T> sum_op{{
    .name = "sum",
    .arity = 1,
    .shape = reduced,
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<T>(f);
          kernels::sum_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<T>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::spread_axis<T>(axis.outer, axis.n, axis.inner, 1, b.output_gradient().data(), g.data,
                                    g.add);
          }
        },
    .samples = samples<any>,
}};

template <class T>
const Op<T> mean_op{{
    .name = "mean",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty(s, "mean"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<T>(f);
          const View<T> y = f.output();
          kernels::sum_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), y.data());
          kernels::scale<T>(y.size(), T{1} / static_cast<T>(axis.n), y.data(), y.data(), false);
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<T>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::spread_axis<T>(axis.outer, axis.n, axis.inner, T{1} / static_cast<T>(axis.n),
                                    b.output_gradient().data(), g.data, g.add);
          }
        },
    .samples = samples<any>,
}};

template <class T>
const Op<T> max_op{{
    .name = "max",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty(s, "max"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<T>(f);
          kernels::max_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<T>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::max_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.input(0).data(),
                                          b.output().data(), b.output_gradient().data(), g.data, g.add);
          }
        },
    .samples = samples<ops::distinct>,
}};

template <class T>
const Op<T> logsumexp_op{{
    .name = "logsumexp",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty(s, "logsumexp"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<T>(f);
          kernels::logsumexp_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data(),
                                     f.scratch());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<T>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::logsumexp_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.input(0).data(),
                                                b.scratch(), b.output_gradient().data(), g.data, g.add);
          }
        },
    .samples = samples<any>,
    // Shift and logarithm, of which the output is the rounded sum.
    .scratch = [](const Signature& s) { return 2 * reduced(s).size(); },
}};

// softmax and its logarithm: integers[0] is the axis.

template <class T, bool log>
const Op<T> softmax_op{{
    .name = log ? "log_softmax" : "softmax",
    .arity = 1,
    .shape = [](const Signature& s) { return s[0]; },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<T>(f);
          kernels::softmax_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data(), log);
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<T>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::softmax_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.output().data(),
                                              b.output_gradient().data(), g.data, log, g.add);
          }
        },
    .samples =
        [](Rng& rng) {
          std::vector<Sample> all = samples<any>(rng);
          all.erase(all.begin());  // a softmax has an axis
          return all;
        },
}};

template <class T> Var<T> along(const Op<T>& op, Var<T> x, Index axis) {
  return apply(op, {x}, {.integers = {x.shape().axis(axis, std::string(op.name).c_str())}});
}

}  // namespace

#define TAPER_REDUCTION(name)                                    \
  template <class T> Var<T> name(Var<T> x) {                     \
    return apply(name##_op<T>, {x}, {.integers = {everything}}); \
  }                                                              \
  template <class T> Var<T> name(Var<T> x, Index axis) {         \
    return along(name##_op<T>, x, axis);                         \
  }                                                              \
  template Var<float> name(Var<float>);                          \
  template Var<double> name(Var<double>);                        \
  template Var<float> name(Var<float>, Index);                   \
  template Var<double> name(Var<double>, Index);
TAPER_REDUCTION(sum)
TAPER_REDUCTION(mean)
TAPER_REDUCTION(max)
TAPER_REDUCTION(logsumexp)
#undef TAPER_REDUCTION

template <class T> Var<T> softmax(Var<T> x, Index axis) {
  return along(softmax_op<T, false>, x, axis);
}
template <class T> Var<T> log_softmax(Var<T> x, Index axis) {
  return along(softmax_op<T, true>, x, axis);
}

template Var<float> softmax(Var<float>, Index);
template Var<double> softmax(Var<double>, Index);
template Var<float> log_softmax(Var<float>, Index);
template Var<double> log_softmax(Var<double>, Index);

}  // namespace taper
