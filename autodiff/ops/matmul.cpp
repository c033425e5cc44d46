#include <algorithm>
#include <array>

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

/// The products of a matmul: `count` of them along up to two leading axes of the result, along which the
/// matrices of an operand are so many entries apart, 0 where one is repeated.
struct Products {
  Index rows, columns, inner;
  std::array<Index, 2> count{1, 1}, apart_a{}, apart_b{};

  Index total() const { return count[0] * count[1]; }
  double work() const {
    return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(inner);
  }
};

Products products(const Shape& a, const Shape& b, const Attributes& attributes) {
  const auto [ta, tb] = as<MatmulAttributes>(attributes);
  if (a.rank() < 2 || b.rank() < 2) {
    throw Error("matmul", "shapes ", a, " and ", b, ": expected two matrices, or batches of them");
  }
  const Index a_rows = a[a.rank() - 2], b_rows = b[b.rank() - 2];
  Products p{ta ? a.columns() : a_rows, tb ? b_rows : b.columns(), ta ? a_rows : a.columns()};
  if ((tb ? b.columns() : b_rows) != p.inner) {
    throw Error("matmul", a, ta ? " (transposed)" : "", " times ", b, tb ? " (transposed)" : "",
                ": expected a right side with ", p.inner, tb ? " columns" : " rows");
  }
  Index apart_a = a_rows * a.columns(), apart_b = b_rows * b.columns();
  for (Index back = 3; back <= std::max(a.rank(), b.rank()); ++back) {
    const Index of_a = back <= a.rank() ? a[a.rank() - back] : 1,
                of_b = back <= b.rank() ? b[b.rank() - back] : 1;
    if (of_a != of_b && of_a != 1 && of_b != 1) {
      throw Error("matmul", "shapes ", a, " and ", b, ": expected leading dimensions that are equal or 1");
    }
    const auto axis = static_cast<std::size_t>(4 - back);
    p.count[axis] = of_a == 1 ? of_b : of_a;
    p.apart_a[axis] = of_a == 1 ? 0 : apart_a;
    p.apart_b[axis] = of_b == 1 ? 0 : apart_b;
    apart_a *= of_a;
    apart_b *= of_b;
  }
  const bool one_right = p.apart_b == std::array<Index, 2>{};
  const bool repeats_left = (p.count[0] != 1 && p.apart_a[0] == 0) || (p.count[1] != 1 && p.apart_a[1] == 0);
  if (one_right && !repeats_left && !ta) {  // the rows of all are those of one matrix
    p.rows *= p.total();
    p.count = {1, 1};
    p.apart_a = {};
  }
  return p;
}

Shape matmul_shape(const Signature& s) {
  const Shape &a = s[0], &b = s[1];
  products(a, b, s.attributes);
  const auto [ta, tb] = as<MatmulAttributes>(s.attributes);
  const Index rank = std::max(a.rank(), b.rank());
  std::array<Index, Shape::max_rank> dimensions{};
  for (Index axis = 0; axis < rank - 2; ++axis) {
    const Index in_a = axis - (rank - a.rank()), in_b = axis - (rank - b.rank());
    const Index of_a = in_a < 0 ? 1 : a[in_a];
    dimensions[static_cast<std::size_t>(axis)] = of_a == 1 && in_b >= 0 ? b[in_b] : of_a;
  }
  dimensions[static_cast<std::size_t>(rank - 2)] = ta ? a.columns() : a[a.rank() - 2];
  dimensions[static_cast<std::size_t>(rank - 1)] = tb ? b[b.rank() - 2] : b.columns();
  return Shape(dimensions.data(), rank);
}

/// Calls f(i, alone) for so many products of this size: large ones are split among threads themselves, and of
/// small ones each thread takes some, alone.
template <class F> void for_products(Index count, double work, const F& f) {
  constexpr double large = 1 << 20;  // that gemm splits
  if (count == 1 || work >= large) {
    for (Index i = 0; i < count; ++i) f(i, false);
    return;
  }
  const Index piece = std::max<Index>(1, static_cast<Index>(large / std::max(work, large / 4096)));
  kernels::for_pieces(count, piece, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) f(i, true);
  });
}

template <class T>
void multiply(bool alone, Index rows, Index columns, Index inner, MatrixRef<T> left, MatrixRef<T> right,
              T* to, bool add) {
  const auto gemm = alone ? &kernels::gemm_alone<T> : &kernels::gemm<T>;
  gemm(rows, columns, inner, left, right, to, columns, add, nullptr, kernels::Activation::none);
}

/// Where the matrices of an operand begin that this product takes.
Index place(const std::array<Index, 2>& apart, Index first, Index second) {
  return first * apart[0] + second * apart[1];
}

/// The gradient of one operand: of each of its matrices, the sum over all products that it is in.
/// part(first, second, to, alone, add) computes one term.
template <class T, class Part>
void collect_products(const Products& p, const std::array<Index, 2>& apart, Index entries, Gradient<T> g,
                      const Part& part) {
  if (!g) return;
  std::array<Index, 2> own{}, repeats{};
  for (std::size_t k = 0; k < 2; ++k) {
    own[k] = apart[k] == 0 ? 1 : p.count[k];
    repeats[k] = apart[k] == 0 ? p.count[k] : 1;
  }
  const Index terms = repeats[0] * repeats[1];
  if (terms == 0 && !g.add) std::fill_n(g.data, entries, T{0});
  for_products(own[0] * own[1], p.work() * static_cast<double>(terms), [&](Index i, bool alone) {
    const Index first = i / own[1], second = i % own[1];
    T* const to = g.data + place(apart, first, second);
    for (Index term = 0; term < terms; ++term) {
      part(first + term / repeats[1], second + term % repeats[1], to, alone, g.add || term > 0);
    }
  });
}

template <class T> MatrixRef<T> moved(MatrixRef<T> x, Index by) {
  return {x.data + by, x.row, x.column};
}

std::vector<GradcheckCase> matmul_samples(Rng& rng) {
  std::vector<GradcheckCase> result;
  // In front of the matrices.
  const std::pair<std::vector<Index>, std::vector<Index>> leading[] = {
      {{}, {}}, {{2}, {2}}, {{2, 3}, {2, 3}}, {{2}, {}}, {{}, {2, 2}}, {{2, 1}, {3}}, {{1, 2}, {2, 1}}};
  for (const auto& [of_a, of_b] : leading) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const auto shape = [](std::vector<Index> dimensions, Index rows, Index columns) {
          dimensions.insert(dimensions.end(), {rows, columns});
          return Shape(dimensions.data(), static_cast<Index>(dimensions.size()));
        };
        const Shape a = ta ? shape(of_a, 4, 3) : shape(of_a, 3, 4),
                    b = tb ? shape(of_b, 5, 4) : shape(of_b, 4, 5);
        result.push_back({{ops::uniform(rng, a), ops::uniform(rng, b)}, MatmulAttributes{ta, tb}});
      }
    }
  }
  return result;
}

template <class T>
const Op<T> matmul_op{{
    .name = "matmul",
    .arity = 2,
    .shape = matmul_shape,
    .forward =
        [](const Forward<T>& f) {
          const auto [ta, tb] = as<MatmulAttributes>(f.attributes());
          const Products p = products(f.input(0).shape(), f.input(1).shape(), f.attributes());
          const MatrixRef<T> a = read<T>(f.input(0), ta), b = read<T>(f.input(1), tb);
          for_products(p.total(), p.work(), [&](Index i, bool alone) {
            const Index first = i / p.count[1], second = i % p.count[1];
            multiply<T>(alone, p.rows, p.columns, p.inner, moved(a, place(p.apart_a, first, second)),
                        moved(b, place(p.apart_b, first, second)), f.output().data() + i * p.rows * p.columns,
                        false);
          });
        },
    .backward =
        [](const Backward<T>& b) {
          // With C = A B: dA = dC B' and dB = A' dC; an operand that is read transposed gets the transpose.
          const auto [ta, tb] = as<MatmulAttributes>(b.attributes());
          const Products p = products(b.input(0).shape(), b.input(1).shape(), b.attributes());
          const MatrixRef<T> a = read<T>(b.input(0), ta), right = read<T>(b.input(1), tb);
          const MatrixRef<T> gradient{b.output_gradient().data(), p.columns, 1};
          const auto at = [&](Index first, Index second) {
            return moved(gradient, (first * p.count[1] + second) * p.rows * p.columns);
          };
          collect_products<T>(p, p.apart_a, b.input(0).size(), b.gradient(0),
                              [&, ta = ta](Index first, Index second, T* to, bool alone, bool add) {
                                const MatrixRef<T> g = at(first, second),
                                                   r = moved(right, place(p.apart_b, first, second));
                                ta ? multiply<T>(alone, p.inner, p.rows, p.columns, r, swapped(g), to, add)
                                   : multiply<T>(alone, p.rows, p.inner, p.columns, g, swapped(r), to, add);
                              });
          collect_products<T>(p, p.apart_b, b.input(1).size(), b.gradient(1),
                              [&, tb = tb](Index first, Index second, T* to, bool alone, bool add) {
                                const MatrixRef<T> g = at(first, second),
                                                   l = moved(a, place(p.apart_a, first, second));
                                tb ? multiply<T>(alone, p.columns, p.inner, p.rows, swapped(g), l, to, add)
                                   : multiply<T>(alone, p.inner, p.columns, p.rows, swapped(l), g, to, add);
                              });
        },
    .attributes = attribute_fields<MatmulAttributes>(
        {{"transpose_a", &MatmulAttributes::transpose_a}, {"transpose_b", &MatmulAttributes::transpose_b}}),
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          const auto [ta, tb] = as<MatmulAttributes>(s.attributes);
          const Index rank = output.rank(), a = s[0].rank(), b = s[1].rank();
          for (Index input : {0, 1}) {
            const Index missing = rank - s[input].rank();
            for (Index axis = 0; axis < s[input].rank() - 2; ++axis) {
              if (s[input][axis] == output[axis + missing])
                out.same(input, axis, axis + missing, s[input][axis]);
            }
          }
          out.same(0, ta ? a - 1 : a - 2, rank - 2, output[rank - 2]);
          out.same(1, tb ? b - 2 : b - 1, rank - 1, output[rank - 1]);
          out.contract(0, ta ? a - 2 : a - 1, 1, tb ? b - 1 : b - 2);
          out.preserve_zero(0);
          out.preserve_zero(1);
        },
    .gradcheck_cases = matmul_samples,
    .multiply_adds =
        [](const Signature& s) {
          const Products p = products(s[0], s[1], s.attributes);
          return p.total() * p.rows * p.columns * p.inner;
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
