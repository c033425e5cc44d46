#include <algorithm>

#include <taper/autodiff/kernels/conv.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/windows.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

// The inputs are x, weight, and perhaps a bias. A convolution of one dimension is one of images with one row.

constexpr std::string_view activation_words[] = {"none", "relu", "tanh", "sigmoid"};

struct Conv1dAttributes {
  Index stride = 1, padding = 0, dilation = 1, groups = 1;
  Activation activation = Activation::none;

  static constexpr const char *name = "conv1d", *input = "batch x channels x length",
                              *weight = "outputs x channels / groups x taps";
  static constexpr Index rank = 3;

  static AttributeFields fields() {
    using A = Conv1dAttributes;
    return attribute_fields<A>({{"stride", &A::stride},
                                {"padding", &A::padding},
                                {"dilation", &A::dilation},
                                {"groups", &A::groups},
                                {"activation", &A::activation, activation_words}});
  }
  kernels::Window rows(const Shape&, const Shape&) const { return ops::no_window; }
  kernels::Window columns(const Shape& x, const Shape& w) const {
    return ops::window(name, x[2], w[2], stride, padding, dilation);
  }
};

struct Conv2dAttributes {
  Index stride_rows = 1, stride_columns = 1, padding_rows = 0, padding_columns = 0, dilation_rows = 1,
        dilation_columns = 1, groups = 1;
  Activation activation = Activation::none;

  static constexpr const char *name = "conv2d", *input = "batch x channels x rows x columns",
                              *weight = "outputs x channels / groups x taps x taps";
  static constexpr Index rank = 4;

  static AttributeFields fields() {
    using A = Conv2dAttributes;
    return attribute_fields<A>({{"stride_rows", &A::stride_rows},
                                {"stride_columns", &A::stride_columns},
                                {"padding_rows", &A::padding_rows},
                                {"padding_columns", &A::padding_columns},
                                {"dilation_rows", &A::dilation_rows},
                                {"dilation_columns", &A::dilation_columns},
                                {"groups", &A::groups},
                                {"activation", &A::activation, activation_words}});
  }
  kernels::Window rows(const Shape& x, const Shape& w) const {
    return ops::window(name, x[2], w[2], stride_rows, padding_rows, dilation_rows);
  }
  kernels::Window columns(const Shape& x, const Shape& w) const {
    return ops::window(name, x[3], w[3], stride_columns, padding_columns, dilation_columns);
  }
};

/// As given, or as many as the channels of the weight say.
template <class A> Index groups_of(const A& a, const Shape& x, const Shape& weight) {
  if (a.groups != 0) return a.groups;
  return weight[1] > 0 ? std::max<Index>(x[1] / weight[1], 1) : 1;
}

/// What the kernels are told.
template <class A> kernels::Conv geometry(const A& a, const Shape& x, const Shape& weight) {
  return {x[0], x[1], weight[0], groups_of(a, x, weight), a.rows(x, weight), a.columns(x, weight)};
}

template <class A> Shape conv_shape(const Signature& s) {
  const A a = as<A>(s.attributes);
  const Shape &x = s[0], &weight = s[1];
  if (x.rank() != A::rank) throw Error(A::name, "input ", x, ": expected ", A::input);
  if (weight.rank() != A::rank) throw Error(A::name, "weight ", weight, ": expected ", A::weight);
  if (a.groups < 0) throw Error(A::name, a.groups, " groups: expected 1 or more, or 0 for as many as fit");
  const Index groups = groups_of(a, x, weight);
  if (x[1] % groups != 0 || weight[0] % groups != 0) {
    throw Error(A::name, groups, " groups of ", x[1], " channels and ", weight[0],
                " outputs: expected numbers that they divide");
  }
  const bool none = a.groups == 0 && x[1] == 0 && weight[0] == 0;  // all groups were cut
  if (weight[1] != x[1] / groups && !none) {
    throw Error(A::name, "input ", x, " does not fit weight ", weight, ": expected ", weight[1] * groups,
                " channels");
  }
  if (s.inputs() == 3 && s[2] != Shape{weight[0]}) {
    throw Error(A::name, "bias ", s[2], " does not fit weight ", weight, ": expected ", weight[0],
                " entries");
  }
  const kernels::Conv conv = geometry(a, x, weight);
  return A::rank == 3 ? Shape{x[0], weight[0], conv.columns.output()}
                      : Shape{x[0], weight[0], conv.rows.output(), conv.columns.output()};
}

/// Rows stay rows. Of one group, the channels are summed; of several, each is cut as a whole. Windows
/// overlap, so that places stay whole.
template <class A> void conv_structure(const Signature& s, const Shape& y, Structure& out) {
  const A a = as<A>(s.attributes);
  const kernels::Conv conv = geometry(a, s[0], s[1]);
  const Index groups = conv.groups;
  out.same(0, 0, 0, y[0]);
  if (groups == 1) {
    out.same(1, 0, 1, y[1]);
    if (s.inputs() == 3) out.same(2, 0, 1, y[1]);
    out.contract(0, 1, 1, 1, conv.rows.padding > 0 || conv.columns.padding > 0);
  } else {
    const LinkedAxis channels{1, 0, s[0][1], s[0][1] / groups}, outputs{0, 0, y[1], y[1] / groups},
        to{1, 0, y[1], y[1] / groups};
    out.links.push_back({0, channels, to, groups});
    out.links.push_back({1, outputs, to, groups});
    if (s.inputs() == 3) out.links.push_back({2, outputs, to, groups});
    if (a.groups != 0) out.literal_axes = {1};
  }
  out.add_bias(2, 1);
  if (a.activation != Activation::sigmoid) {
    out.preserve_zero(0);
    out.preserve_zero(1);
  }
}

template <class A> Attributes cut_groups(const Signature& s, const Shape& y, const Kept& kept) {
  A a = as<A>(s.attributes);
  if (a.groups > 1) a.groups = static_cast<Index>(kept.output[1].size()) / (y[1] / a.groups);
  return a;
}

/// Settings and shapes; relu is kept away from its kink, as inputs and weights have one sign each.
template <class A> struct ConvUse {
  Shape x, weight;
  A attributes;
};

std::vector<ConvUse<Conv1dAttributes>> uses(Conv1dAttributes) {
  return {{{2, 3, 7}, {4, 3, 3}, {}},
          {{2, 4, 9}, {2, 2, 3}, {.stride = 2, .padding = 2, .dilation = 2, .groups = 2}},
          {{1, 3, 5}, {6, 1, 2}, {.padding = 1, .groups = 3}},
          {{3, 2, 4}, {2, 2, 1}, {.activation = Activation::tanh}},
          {{1, 4, 5}, {6, 2, 2}, {.groups = 0}},
          {{2, 2, 3}, {2, 2, 3}, {.activation = Activation::sigmoid}}};
}

std::vector<ConvUse<Conv2dAttributes>> uses(Conv2dAttributes) {
  return {{{2, 3, 4, 5}, {2, 3, 2, 3}, {}},
          {{1, 2, 5, 4}, {3, 2, 3, 2}, {2, 1, 1, 2, 1, 2, 1, Activation::relu}},
          {{2, 4, 4, 4}, {4, 2, 3, 3}, {1, 2, 1, 1, 1, 1, 2, Activation::none}},
          {{2, 3, 4, 4}, {3, 1, 3, 3}, {1, 1, 1, 1, 1, 1, 3, Activation::tanh}},
          {{1, 2, 5, 5}, {4, 1, 2, 2}, {2, 2, 0, 1, 2, 1, 2, Activation::sigmoid}},
          {{2, 3, 3, 3}, {4, 3, 1, 1}, {}},
          {{1, 3, 4, 4}, {6, 1, 3, 3}, {1, 1, 1, 1, 1, 1, 0, Activation::none}},
          {{1, 2, 3, 3}, {2, 2, 3, 3}, {.activation = Activation::relu}}};
}

template <class A> std::vector<GradcheckCase> conv_cases(Rng& rng) {
  std::vector<GradcheckCase> result;
  for (const auto& [x, weight, attributes] : uses(A())) {
    const Tensor<double> image = ops::uniform(rng, x, 0.1, 1), filter = ops::uniform(rng, weight, 0.1, 1);
    Tensor<double> bias = ops::uniform(rng, {weight[0]}, 0.1, 0.5);
    bias[0] = -40;  // on the other side of the kink
    result.push_back({{image, filter, bias}, attributes});
    result.push_back({{image, filter}, attributes});
  }
  return result;
}

template <class T, class A>
const Op<T> conv_op{{
    .name = A::name,
    .arity = {2, 3},
    .shape = conv_shape<A>,
    .forward =
        [](const Forward<T>& f) {
          const A a = as<A>(f.attributes());
          const View<const T> x = f.input(0), weight = f.input(1);
          kernels::conv<T>(geometry(a, x.shape(), weight.shape()), x.data(), weight.data(),
                           f.inputs() == 3 ? f.input(2).data() : nullptr, f.output().data(), a.activation);
        },
    .backward =
        [](const Backward<T>& b) {
          const A a = as<A>(b.attributes());
          const View<const T> x = b.input(0), weight = b.input(1);
          const kernels::Conv conv = geometry(a, x.shape(), weight.shape());
          const bool sums = b.requires_grad(1) || (b.inputs() == 3 && b.requires_grad(2));
          const Gradient<T> gx = b.gradient(0);
          kernels::conv_gradient<T>(conv, x.data(), weight.data(), b.output().data(),
                                    b.output_gradient().data(), a.activation,
                                    {gx ? gx.data : nullptr, gx.add, sums ? b.scratch() : nullptr});
          if (const Gradient<T> g = b.gradient(1))
            kernels::conv_weight_gradient<T>(conv, b.scratch(), g.data, g.add);
          if (b.inputs() < 3) return;
          if (const Gradient<T> g = b.gradient(2))
            kernels::conv_bias_gradient<T>(conv, b.scratch(), g.data, g.add);
        },
    .attributes = A::fields(),
    .structure = conv_structure<A>,
    .cut_attributes = cut_groups<A>,
    .gradcheck_cases = conv_cases<A>,
    .scratch =
        [](const Signature& s) { return kernels::conv_sums<T>(geometry(as<A>(s.attributes), s[0], s[1])); },
    .multiply_adds =
        [](const Signature& s) {
          const kernels::Conv conv = geometry(as<A>(s.attributes), s[0], s[1]);
          return conv.images * conv.weights() * conv.windows();
        },
    .reads_before_write = 0b10,
}};

Conv1dAttributes attributes_of(const Conv1dOptions& o) {
  return {o.stride, o.padding, o.dilation, o.groups, o.activation};
}

Conv2dAttributes attributes_of(const Conv2dOptions& o) {
  return {o.stride.rows,   o.stride.columns,   o.padding.rows, o.padding.columns,
          o.dilation.rows, o.dilation.columns, o.groups,       o.activation};
}

}  // namespace

template <class T> Var<T> conv1d(Var<T> x, Var<T> weight, Var<T> bias, const Conv1dOptions& options) {
  return apply(conv_op<T, Conv1dAttributes>, {x, weight, bias}, attributes_of(options));
}

template <class T> Var<T> conv1d(Var<T> x, Var<T> weight, const Conv1dOptions& options) {
  return apply(conv_op<T, Conv1dAttributes>, {x, weight}, attributes_of(options));
}

template <class T> Var<T> conv2d(Var<T> x, Var<T> weight, Var<T> bias, const Conv2dOptions& options) {
  return apply(conv_op<T, Conv2dAttributes>, {x, weight, bias}, attributes_of(options));
}

template <class T> Var<T> conv2d(Var<T> x, Var<T> weight, const Conv2dOptions& options) {
  return apply(conv_op<T, Conv2dAttributes>, {x, weight}, attributes_of(options));
}

#define TAPER_INSTANTIATE(T)                                            \
  template Var<T> conv1d(Var<T>, Var<T>, Var<T>, const Conv1dOptions&); \
  template Var<T> conv1d(Var<T>, Var<T>, const Conv1dOptions&);         \
  template Var<T> conv2d(Var<T>, Var<T>, Var<T>, const Conv2dOptions&); \
  template Var<T> conv2d(Var<T>, Var<T>, const Conv2dOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
