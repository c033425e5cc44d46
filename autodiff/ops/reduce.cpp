#include <algorithm>
#include <vector>

#include <taper/autodiff/kernels/reduce.hpp>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

/// Neighbouring axes, counted from the front, in rising order; none stands for all.
struct ReduceAttributes {
  IndexList axes;
  bool keepdim = false;
};

/// The settings of var, which has one more.
struct VarAttributes {
  IndexList axes;
  bool keepdim = false;
  bool unbiased = true;
};

template <class A> AttributeFields fields() {
  return attribute_fields<A>({{"axes", &A::axes}, {"keepdim", &A::keepdim}});
}

bool goes(const IndexList& axes, Index axis) {
  return axes.size() == 0 || std::ranges::find(axes, axis) != axes.end();
}

/// A shape seen along the reduced axes.
struct Axis {
  Index outer = 1, n = 1, inner = 1;

  Axis(const Shape& shape, const IndexList& axes) {
    bool behind = false;
    for (Index k = 0; k < shape.rank(); ++k) {
      const bool here = goes(axes, k);
      behind |= here;
      (here ? n : behind ? inner : outer) *= shape[k];
    }
  }
};

template <class A> Axis axis_of(const auto& pass) {
  return Axis(pass.input(0).shape(), as<A>(pass.attributes()).axes);
}

template <class A> Shape reduced(const Signature& s, const char* name) {
  const A over = as<A>(s.attributes);
  for (Index k = 0; k < over.axes.size(); ++k) {
    ops::require_axis(name, over.axes[k], s[0]);
    if (k > 0 && over.axes[k] != over.axes[k - 1] + 1) {
      throw Error(name, "axes ", over.axes[k - 1], " and ", over.axes[k], ": expected neighbours");
    }
  }
  Shape result = s[0];
  for (Index axis = s[0].rank() - 1; axis >= 0; --axis) {
    if (goes(over.axes, axis)) result = over.keepdim ? result.with(axis, 1) : result.without(axis);
  }
  return result;
}

/// For those that mean nothing without entries: the largest of none, the mean of none.
template <class A> Shape reduced_nonempty(const Signature& s, const char* name) {
  const Shape result = reduced<A>(s, name);
  if (Axis(s[0], as<A>(s.attributes).axes).n == 0) {
    throw Error(name, "a tensor ", s[0], ": expected entries");
  }
  return result;
}

template <class A, Reduce by, bool zero_preserving>
void reduce_structure(const Signature& s, const Shape&, Structure& out) {
  const A over = as<A>(s.attributes);
  Index to = 0;
  for (Index axis = 0; axis < s[0].rank(); ++axis) {
    if (goes(over.axes, axis)) {
      out.reduce(0, axis, by);
      to += over.keepdim;
    } else {
      out.same(0, axis, to++, s[0][axis]);
    }
  }
  if (zero_preserving) out.preserve_zero(0);
}

template <Tensor<double> draw(Rng&, const Shape&), class A = ReduceAttributes>
std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  return {{{draw(rng, {3, 4})}, A{}},
          {{draw(rng, {2, 19})}, A{{1}}},
          {{draw(rng, {5, 3})}, A{{0}}},
          {{draw(rng, {2, 3, 2, 2})}, A{{1}}},
          {{draw(rng, {2, 3, 2, 2})}, A{{1, 2}, true}},
          {{draw(rng, {2, 3, 2})}, A{{1, 2}}},
          {{draw(rng, {2, 3})}, A{{}, true}}};
}

Tensor<double> any(Rng& rng, const Shape& shape) {
  return ops::uniform(rng, shape);
}

template <class T>
const Op<T> sum_op{{
    .name = "sum",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced<ReduceAttributes>(s, "sum"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<ReduceAttributes>(f);
          kernels::sum_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<ReduceAttributes>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::spread_axis<T>(axis.outer, axis.n, axis.inner, 1, b.output_gradient().data(), g.data,
                                    g.add);
          }
        },
    .attributes = fields<ReduceAttributes>(),
    .structure = reduce_structure<ReduceAttributes, Reduce::sum, true>,
    .gradcheck_cases = gradcheck_cases<any>,
}};

template <class T>
const Op<T> mean_op{{
    .name = "mean",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty<ReduceAttributes>(s, "mean"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<ReduceAttributes>(f);
          const View<T> y = f.output();
          kernels::sum_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), y.data());
          kernels::scale<T>(y.size(), T{1} / static_cast<T>(axis.n), y.data(), y.data(), false);
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<ReduceAttributes>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::spread_axis<T>(axis.outer, axis.n, axis.inner, T{1} / static_cast<T>(axis.n),
                                    b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = fields<ReduceAttributes>(),
    .structure = reduce_structure<ReduceAttributes, Reduce::other, true>,
    .gradcheck_cases = gradcheck_cases<any>,
}};

template <class T, bool least>
const Op<T> extreme_op{{
    .name = least ? "min" : "max",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty<ReduceAttributes>(s, least ? "min" : "max"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<ReduceAttributes>(f);
          (least ? kernels::min_axis<T> : kernels::max_axis<T>)(axis.outer, axis.n, axis.inner,
                                                                f.input(0).data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<ReduceAttributes>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::extreme_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.input(0).data(),
                                              b.output().data(), b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = fields<ReduceAttributes>(),
    .structure = reduce_structure<ReduceAttributes, Reduce::other, true>,
    .gradcheck_cases = gradcheck_cases<ops::distinct>,
}};

// var: the scratch keeps the means, in two parts.

AttributeFields var_fields() {
  AttributeFields result = fields<VarAttributes>();
  result.list.emplace_back("unbiased", &VarAttributes::unbiased);
  return result;
}

template <class T>
const Op<T> var_op{{
    .name = "var",
    .arity = 1,
    .shape =
        [](const Signature& s) {
          const Shape result = reduced_nonempty<VarAttributes>(s, "var");
          const VarAttributes over = as<VarAttributes>(s.attributes);
          if (over.unbiased && Axis(s[0], over.axes).n == 1) {
            throw Error("var", "one entry of a tensor ", s[0], ": expected two or more, or not unbiased");
          }
          return result;
        },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<VarAttributes>(f);
          const Index divisor = axis.n - as<VarAttributes>(f.attributes()).unbiased;
          kernels::var_axis<T>(axis.outer, axis.n, axis.inner, divisor, f.input(0).data(), f.scratch(),
                               f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<VarAttributes>(b);
          const Index divisor = axis.n - as<VarAttributes>(b.attributes()).unbiased;
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::var_axis_gradient<T>(axis.outer, axis.n, axis.inner, divisor, b.input(0).data(),
                                          b.scratch(), b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = var_fields(),
    .structure = reduce_structure<VarAttributes, Reduce::other, true>,
    .gradcheck_cases = gradcheck_cases<any, VarAttributes>,
    .scratch = [](const Signature& s) { return 2 * reduced<VarAttributes>(s, "var").size(); },
    .backward_needs_output = false,
}};

template <class T>
const Op<T> logsumexp_op{{
    .name = "logsumexp",
    .arity = 1,
    .shape = [](const Signature& s) { return reduced_nonempty<ReduceAttributes>(s, "logsumexp"); },
    .forward =
        [](const Forward<T>& f) {
          const Axis axis = axis_of<ReduceAttributes>(f);
          kernels::logsumexp_axis<T>(axis.outer, axis.n, axis.inner, f.input(0).data(), f.output().data(),
                                     f.scratch());
        },
    .backward =
        [](const Backward<T>& b) {
          const Axis axis = axis_of<ReduceAttributes>(b);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::logsumexp_axis_gradient<T>(axis.outer, axis.n, axis.inner, b.input(0).data(),
                                                b.scratch(), b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = fields<ReduceAttributes>(),
    .structure = reduce_structure<ReduceAttributes, Reduce::other, false>,
    .gradcheck_cases = gradcheck_cases<any>,
    // Shift and logarithm, of which the output is the rounded sum.
    .scratch = [](const Signature& s) { return 2 * reduced<ReduceAttributes>(s, "logsumexp").size(); },
}};

// softmax and its logarithm have an axis, too.

struct SoftmaxAttributes {
  Index axis;
};

Axis softmax_axis_of(const auto& pass) {
  return Axis(pass.input(0).shape(), {as<SoftmaxAttributes>(pass.attributes()).axis});
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

/// Runs of neighbours among the axes to reduce, the last run first, from the front counted. None at all means
/// all axes.
std::vector<IndexList> runs_of(const Shape& x, const Axes& axes, std::string_view name) {
  std::array<bool, Shape::max_rank> reduce{};
  for (const Index given : axes.list()) {
    bool& here = reduce[static_cast<std::size_t>(x.axis(given, std::string(name).c_str()))];
    if (here) throw Error(name, "axis ", given, " of a tensor ", x, " is named twice: expected each once");
    here = true;
  }
  std::vector<IndexList> result;
  for (Index end = x.rank(); end > 0;) {
    Index begin = end;
    while (begin > 0 && reduce[static_cast<std::size_t>(begin - 1)]) --begin;
    if (begin < end) {
      std::array<Index, Shape::max_rank> run{};
      for (Index k = begin; k < end; ++k) run[static_cast<std::size_t>(k - begin)] = k;
      result.emplace_back(std::span<const Index>(run.data(), static_cast<std::size_t>(end - begin)));
    }
    end = std::max<Index>(begin - 1, 0);
  }
  if (result.empty()) result.emplace_back();
  return result;
}

/// One operation for each run: the last ones first, so that the axes before them stay where they are.
template <class T> Var<T> reduce(const Op<T>& op, Var<T> x, const Axes& axes, bool keepdim) {
  for (const IndexList& run : runs_of(x.shape(), axes, op.name))
    x = apply(op, {x}, ReduceAttributes{run, keepdim});
  return x;
}

}  // namespace

#define TAPER_REDUCTION(name, op)                                            \
  template <class T> Var<T> name(Var<T> x, const Axes& axes, bool keepdim) { \
    return reduce<T>(op, x, axes, keepdim);                                  \
  }                                                                          \
  template Var<float> name(Var<float>, const Axes&, bool);                   \
  template Var<double> name(Var<double>, const Axes&, bool);
TAPER_REDUCTION(sum, sum_op<T>)
TAPER_REDUCTION(mean, mean_op<T>)
TAPER_REDUCTION(max, (extreme_op<T, false>))
TAPER_REDUCTION(min, (extreme_op<T, true>))
TAPER_REDUCTION(logsumexp, logsumexp_op<T>)
#undef TAPER_REDUCTION

template <class T> Var<T> var(Var<T> x, const Axes& axes, bool unbiased, bool keepdim) {
  std::vector<IndexList> runs = runs_of(x.shape(), axes, "var");
  // The deviations are those from one mean, so the axes must be neighbours: the runs are moved together, past
  // the axes between them.
  std::vector<std::pair<Index, Index>> moved;
  while (runs.size() > 1) {
    const IndexList last = runs[0], before = runs[1];
    std::vector<Index> joined(before.begin(), before.end());
    for (Index k = 0; k < last.size(); ++k) {
      const Index target = joined.back() + 1;
      for (Index at = last[k]; at > target; --at) {
        x = transpose(x, at - 1, at);
        moved.emplace_back(at - 1, at);
      }
      joined.push_back(target);
    }
    runs.erase(runs.begin());
    runs[0] = IndexList(std::span<const Index>(joined));
  }
  x = apply(var_op<T>, {x}, VarAttributes{runs[0], keepdim, unbiased});
  if (!keepdim) return x;
  for (auto swap = moved.rbegin(); swap != moved.rend(); ++swap) x = transpose(x, swap->first, swap->second);
  return x;
}
#define TAPER_INSTANTIATE(T) template Var<T> var(Var<T>, const Axes&, bool, bool);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

template <class T> Var<T> softmax(Var<T> x, Index axis) {
  return apply(softmax_op<T, false>, {x}, SoftmaxAttributes{front_axis(softmax_op<T, false>, x, axis)});
}
template <class T> Var<T> log_softmax(Var<T> x, Index axis) {
  return apply(softmax_op<T, true>, {x}, SoftmaxAttributes{front_axis(softmax_op<T, true>, x, axis)});
}

#define TAPER_INSTANTIATE(T)              \
  template Var<T> softmax(Var<T>, Index); \
  template Var<T> log_softmax(Var<T>, Index);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
