#include <taper/autodiff/kernels/reduce.hpp>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>

namespace taper {
namespace {

struct ReduceAttributes {
  Index axis = 0;
  bool everything = false;  // whatever the axis
};

constexpr ReduceAttributes everything{0, true};

AttributeFields fields() {
  return attribute_fields<ReduceAttributes>(
      {{"axis", &ReduceAttributes::axis}, {"everything", &ReduceAttributes::everything}});
}

/// A shape seen along the reduced axis.
struct Axis {
  Index outer = 1, n = 1, inner = 1;

  Axis(const Shape& shape, const ReduceAttributes& over) {
    if (over.everything) {
      n = shape.size();
      return;
    }
    const Index axis = over.axis;
    for (Index k = 0; k < shape.rank(); ++k) (k < axis ? outer : k == axis ? n : inner) *= shape[k];
  }
};

template <class T, class Pass> Axis axis_of(const Pass& pass) {
  return Axis(pass.input(0).shape(), as<ReduceAttributes>(pass.attributes()));
}

Shape reduced(const Signature& s, const char* name) {
  const auto over = as<ReduceAttributes>(s.attributes);
  if (over.everything) return {};
  ops::require_axis(name, over.axis, s[0]);
  return s[0].without(over.axis);
}

/// For those that mean nothing without entries: the largest of none, the mean of none.
Shape reduced_nonempty(const Signature& s, const char* name) {
  const Shape result = reduced(s, name);
  if (Axis(s[0], as<ReduceAttributes>(s.attributes)).n == 0) {
    throw Error(name, "a tensor ", s[0], ": expected entries");
  }
  return result;
}

template <Reduce by, bool zero_preserving>
void reduce_structure(const Signature& s, const Shape&, Structure& out) {
  const auto over = as<ReduceAttributes>(s.attributes);
  for (Index axis = 0; axis < s[0].rank(); ++axis) {
    if (over.everything || axis == over.axis) {
      out.reduce(0, axis, by);
    } else {
      out.same(0, axis, axis < over.axis ? axis : axis - 1, s[0][axis]);
    }
  }
  if (zero_preserving) out.preserve_zero(0);
}

template <Tensor<double> draw(Rng&, const Shape&)> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  return {{{draw(rng, {3, 4})}, everything},
          {{draw(rng, {2, 19})}, ReduceAttributes{1}},
          {{draw(rng, {5, 3})}, ReduceAttributes{0}},
          {{draw(rng, {2, 3, 2, 2})}, ReduceAttributes{1}}};
}

Tensor<double> any(Rng& rng, const Shape& shape) {
  return ops::uniform(rng, shape);
}

template <class T>
const Op<T> sum_op{{
    .name = "sum",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced(s, "sum"); },
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
    .attributes = fields(),
    .structure = reduce_structure<Reduce::sum, true>,
    .gradcheck_cases = gradcheck_cases<any>,
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
    .attributes = fields(),
    .structure = reduce_structure<Reduce::other, true>,
    .gradcheck_cases = gradcheck_cases<any>,
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
    .attributes = fields(),
    .structure = reduce_structure<Reduce::other, true>,
    .gradcheck_cases = gradcheck_cases<ops::distinct>,
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
    .attributes = fields(),
    .structure = reduce_structure<Reduce::other, false>,
    .gradcheck_cases = gradcheck_cases<any>,
    // Shift and logarithm, of which the output is the rounded sum.
    .scratch = [](const Signature& s) { return 2 * reduced(s, "logsumexp").size(); },
}};

// softmax and its logarithm have an axis, too.

struct SoftmaxAttributes {
  Index axis;
};

Axis softmax_axis_of(const auto& pass) {
  return Axis(pass.input(0).shape(), {as<SoftmaxAttributes>(pass.attributes()).axis, false});
}

template <class T, bool log>
const Op<T> softmax_op{{
    .name = log ? "log_softmax" : "softmax",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          ops::require_axis(log ? "log_softmax" : "softmax", as<SoftmaxAttributes>(s.attributes).axis, s[0]);
          return s[0];
        },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = softmax_axis_of(f);
          kernels::softmax_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data(), log);
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = softmax_axis_of(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::softmax_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.output().data(),
                                              b.output_gradient().data(), g.data, log, g.add);
          }
        },
    .attributes = attribute_fields<SoftmaxAttributes>({{"axis", &SoftmaxAttributes::axis}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const auto [axis] = as<SoftmaxAttributes>(s.attributes);
          ops::same_axes(s, out, 0, axis);
          out.reduce(0, axis, Reduce::other);
        },
    .gradcheck_cases =
        [](Rng& rng) {
          return std::vector<GradcheckCase>{{{any(rng, {2, 19})}, SoftmaxAttributes{1}},
                                            {{any(rng, {5, 3})}, SoftmaxAttributes{0}},
                                            {{any(rng, {2, 3, 2, 2})}, SoftmaxAttributes{1}}};
        },
}};

/// The axis counted from the front.
template <class T> Index front_axis(const Op<T>& op, Var<T> x, Index axis) {
  return x.shape().axis(axis, std::string(op.name).c_str());
}

}  // namespace

#define TAPER_REDUCTION(name)                                                             \
  template <class T> Var<T> name(Var<T> x) {                                              \
    return apply(name##_op<T>, {x}, everything);                                          \
  }                                                                                       \
  template <class T> Var<T> name(Var<T> x, Index axis) {                                  \
    return apply(name##_op<T>, {x}, ReduceAttributes{front_axis(name##_op<T>, x, axis)}); \
  }                                                                                       \
  template Var<float> name(Var<float>);                                                   \
  template Var<double> name(Var<double>);                                                 \
  template Var<float> name(Var<float>, Index);                                            \
  template Var<double> name(Var<double>, Index);
TAPER_REDUCTION(sum)
TAPER_REDUCTION(mean)
TAPER_REDUCTION(max)
TAPER_REDUCTION(logsumexp)
#undef TAPER_REDUCTION

template <class T> Var<T> softmax(Var<T> x, Index axis) {
  return apply(softmax_op<T, false>, {x}, SoftmaxAttributes{front_axis(softmax_op<T, false>, x, axis)});
}
template <class T> Var<T> log_softmax(Var<T> x, Index axis) {
  return apply(softmax_op<T, true>, {x}, SoftmaxAttributes{front_axis(softmax_op<T, true>, x, axis)});
}

template Var<float> softmax(Var<float>, Index);
template Var<double> softmax(Var<double>, Index);
template Var<float> log_softmax(Var<float>, Index);
template Var<double> log_softmax(Var<double>, Index);

}  // namespace taper
