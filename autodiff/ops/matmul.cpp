#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/kernels/unary.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::MatrixRef;

/// The matrix of a view for reading, transposed or not.
template <class T> MatrixRef<T> read(View<const T> x, bool transposed = false) {
  const Index columns = x.shape().columns();
  return transposed ? MatrixRef<T>{x.data(), 1, columns} : MatrixRef<T>{x.data(), columns, 1};
}

template <class T> MatrixRef<T> swapped(MatrixRef<T> x) {
  return {x.data, x.column, x.row};
}

/// g = left right, or added to g.
template <class T>
void store_or_add(Gradient<T> g, Index rows, Index columns, Index inner, MatrixRef<T> left,
                  MatrixRef<T> right) {
  if (g) kernels::gemm<T>(rows, columns, inner, left, right, g.data, columns, g.add);
}

struct MatmulAttributes {
  bool transpose_a, transpose_b;
};

struct Product {
  Index rows, columns, inner;
};

Product product(const Signature& s) {
  const auto [ta, tb] = as<MatmulAttributes>(s.attributes);
  if (s[0].rank() != 2 || s[1].rank() != 2) {
    throw Error("matmul", "shapes ", s[0], " and ", s[1], ": expected two matrices");
  }
  const Product p{s[0][ta ? 1 : 0], s[1][tb ? 0 : 1], s[0][ta ? 0 : 1]};
  if (s[1][tb ? 1 : 0] != p.inner) {
    throw Error("matmul", s[0], ta ? " (transposed)" : "", " times ", s[1], tb ? " (transposed)" : "",
                ": expected a right side with ", p.inner, tb ? " columns" : " rows");
  }
  return p;
}

std::vector<GradcheckCase> matmul_samples(Rng& rng) {
  std::vector<GradcheckCase> result;
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Shape a = ta ? Shape{4, 3} : Shape{3, 4}, b = tb ? Shape{5, 4} : Shape{4, 5};
      result.push_back({{ops::uniform(rng, a), ops::uniform(rng, b)}, MatmulAttributes{ta, tb}});
    }
  }
  return result;
}

template <class T>
const Op<T> matmul_op{{
    .name = "matmul",
    .arity = 2,
    .shape =
        [](const Signature& s) {
          const Product p = product(s);
          return Shape{p.rows, p.columns};
        },
    .forward =
        [](const Forward<T>& f) {
          const auto [ta, tb] = as<MatmulAttributes>(f.attributes());
          const Shape& out = f.output().shape();
          const Index inner = f.input(0).shape()[ta ? 0 : 1];
          kernels::gemm<T>(out[0], out[1], inner, read<T>(f.input(0), ta), read<T>(f.input(1), tb),
                           f.output().data(), out[1], false);
        },
    .backward =
        [](const Backward<T>& b) {
          // With C = A B: dA = dC B' and dB = A' dC; an operand that is read transposed gets the transpose.
          const auto [ta, tb] = as<MatmulAttributes>(b.attributes());
          const Index rows = b.output().shape()[0], columns = b.output().shape()[1];
          const Index inner = b.input(0).shape()[ta ? 0 : 1];
          const MatrixRef<T> left = read<T>(b.input(0), ta), right = read<T>(b.input(1), tb);
          const MatrixRef<T> g = read<T>(b.output_gradient());
          const Gradient<T> ga = b.gradient(0);
          ta ? store_or_add(ga, inner, rows, columns, right, swapped(g))
             : store_or_add(ga, rows, inner, columns, g, swapped(right));
          const Gradient<T> gb = b.gradient(1);
          tb ? store_or_add(gb, columns, inner, rows, swapped(g), left)
             : store_or_add(gb, inner, columns, rows, swapped(left), g);
        },
    .attributes = attribute_fields<MatmulAttributes>(
        {{"transpose_a", &MatmulAttributes::transpose_a}, {"transpose_b", &MatmulAttributes::transpose_b}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          const auto [ta, tb] = as<MatmulAttributes>(s.attributes);
          out.same(0, ta ? 1 : 0, 0, output[0]);
          out.same(1, tb ? 0 : 1, 1, output[1]);
          out.contract(0, ta ? 0 : 1, 1, tb ? 1 : 0);
          out.preserve_zero(0);
          out.preserve_zero(1);
        },
    .gradcheck_cases = matmul_samples,
    .multiply_adds =
        [](const Signature& s) {
          const Product p = product(s);
          return p.rows * p.columns * p.inner;
        },
    .reads_before_write = 0b10,
}};

// affine: the inputs are x, weight, and perhaps a bias.

struct AffineAttributes {
  Activation activation;
};

constexpr std::string_view activation_names[] = {"none", "relu", "tanh", "sigmoid"};

constexpr kernels::Unary kernel(Activation activation) {
  switch (activation) {
    case Activation::relu:
      return kernels::Unary::relu;
    case Activation::tanh:
      return kernels::Unary::tanh;
    default:
      return kernels::Unary::sigmoid;
  }
}

Activation activation(const Attributes& attributes) {
  return as<AffineAttributes>(attributes).activation;
}

Shape affine_shape(const Signature& s) {
  const Shape &x = s[0], &weight = s[1];
  if (weight.rank() != 2) throw Error("affine", "weight ", weight, ": expected a matrix, outputs x inputs");
  if (x.rank() == 0 || x.columns() != weight[1]) {
    throw Error("affine", "input ", x, " does not fit weight ", weight, ": expected ", weight[1], " columns");
  }
  if (s.inputs() == 3 && s[2] != Shape{weight[0]}) {
    throw Error("affine", "bias ", s[2], " does not fit weight ", weight, ": expected ", weight[0],
                " entries");
  }
  return x.with(x.rank() - 1, weight[0]);
}

std::vector<GradcheckCase> affine_samples(Rng& rng) {
  std::vector<GradcheckCase> result;
  for (const Activation f : {Activation::none, Activation::relu, Activation::tanh, Activation::sigmoid}) {
    const AffineAttributes attributes{f};
    // Inputs of one sign and a bias far enough out keep relu away from its kink, on both sides of it. Beside
    // it, sums are small enough for slopes of tanh and sigmoid that are not.
    Tensor<double> bias = ops::uniform(rng, {4}, 0.1, 0.5);
    bias[0] = -40;
    result.push_back({{ops::uniform(rng, {6, 3}, 0, 1), ops::uniform(rng, {4, 3}, 0, 1), bias}, attributes});
    result.push_back({{ops::uniform(rng, {2, 2, 3}, 0.1, 1), ops::uniform(rng, {4, 3}, 0.1, 1)}, attributes});
    result.push_back(
        {{ops::uniform(rng, {9, 20}, 0.1, 1), ops::uniform(rng, {1, 20}, 0.05, 0.2)}, attributes});
  }
  return result;
}

template <class T>
const Op<T> affine_op{{
    .name = "affine",
    .arity = {2, 3},
    .shape = affine_shape,
    .forward =
        [](const Forward<T>& f) {
          const View<const T> x = f.input(0), weight = f.input(1);
          const View<T> y = f.output();
          const Index outputs = weight.shape()[0];
          kernels::gemm<T>(x.shape().rows(), outputs, weight.shape()[1], read<T>(x), read<T>(weight, true),
                           y.data(), outputs, false, f.inputs() == 3 ? f.input(2).data() : nullptr,
                           activation(f.attributes()));
        },
    .backward =
        [](const Backward<T>& b) {
          const View<const T> x = b.input(0), weight = b.input(1), y = b.output();
          const Index rows = x.shape().rows(), inputs = weight.shape()[1], outputs = weight.shape()[0];
          View<const T> gy = b.output_gradient();
          if (const Activation function = activation(b.attributes()); function != Activation::none) {
            // The slopes of these functions follow from y; nothing reads the argument.
            kernels::unary_gradient<T>(kernel(function), y.size(), y.data(), y.data(), gy.data(), b.scratch(),
                                       false);
            gy = {b.scratch(), gy.shape()};
          }
          const MatrixRef<T> g = read<T>(gy);
          store_or_add(b.gradient(0), rows, inputs, outputs, g, read<T>(weight));
          store_or_add(b.gradient(1), outputs, inputs, rows, swapped(g), read<T>(x));
          if (b.inputs() < 3) return;
          if (const Gradient<T> bias = b.gradient(2)) {
            T* const sums = bias.add ? b.scratch() + y.size() : bias.data;
            kernels::sum_axis<T>(1, rows, outputs, gy.data(), sums);
            if (bias.add) kernels::scale<T>(outputs, T{1}, sums, bias.data, true);
          }
        },
    .attributes =
        attribute_fields<AffineAttributes>({{"activation", &AffineAttributes::activation, activation_names}}),
    .structure =
        [](const Signature& s, const Shape&, Structure& out) {
          const Index last = s[0].rank() - 1, outputs = s[1][0];
          ops::same_axes(s, out, 0, last);
          out.same(1, 0, last, outputs);
          if (s.inputs() == 3) out.same(2, 0, last, outputs);
          out.contract(0, last, 1, 1);
          out.add_bias(2, last);
          if (s.inputs() == 2 && activation(s.attributes) != Activation::sigmoid) {
            out.preserve_zero(0);
            out.preserve_zero(1);
          }
        },
    .gradcheck_cases = affine_samples,
    .scratch = [](const Signature& s) { return (s[0].rows() + 1) * s[1][0]; },
    .multiply_adds = [](const Signature& s) { return s[0].rows() * s[1].size(); },
    .reads_before_write = 0b10,
}};

}  // namespace

template <class T> Var<T> matmul(Var<T> a, Var<T> b, Transpose transpose_a, Transpose transpose_b) {
  return apply(matmul_op<T>, {a, b},
               MatmulAttributes{transpose_a == Transpose::yes, transpose_b == Transpose::yes});
}

template <class T> Var<T> affine(Var<T> x, Var<T> weight, Var<T> bias, Activation activation) {
  return apply(affine_op<T>, {x, weight, bias}, AffineAttributes{activation});
}

template <class T> Var<T> affine(Var<T> x, Var<T> weight, Activation activation) {
  return apply(affine_op<T>, {x, weight}, AffineAttributes{activation});
}

#define TAPER_INSTANTIATE(T)                                    \
  template Var<T> matmul(Var<T>, Var<T>, Transpose, Transpose); \
  template Var<T> affine(Var<T>, Var<T>, Var<T>, Activation);   \
  template Var<T> affine(Var<T>, Var<T>, Activation);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
