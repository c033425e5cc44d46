#include <taper/autodiff/kernels/pool.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>
#include <taper/autodiff/ops/windows.hpp>
#include <taper/instantiate.hpp>

namespace taper {
namespace {

using kernels::Cells;
using kernels::Window;

// Poolings over one direction are those of images with one row. Rows and channels stay what they are, and
// places stay whole.

Shape pooled(const Shape& x, Index directions, Index rows, Index columns) {
  if (directions == 1) return Shape{x[0], x[1], columns};
  return Shape{x[0], x[1], rows, columns};
}

/// Throws Error unless x is batch x channels x length, or batch x channels x rows x columns.
void require_rank(const char* where, const Shape& x, Index directions) {
  if (x.rank() == directions + 2) return;
  throw Error(where, "input ", x, ": expected batch x channels x ",
              directions == 1 ? "length" : "rows x columns");
}

void pool_structure(const Signature&, const Shape& y, Structure& out) {
  out.same(0, 0, 0, y[0]);
  out.same(0, 1, 1, y[1]);
  out.preserve_zero(0);
}

/// Windows as poolings have them: at most half of one is padding, so that none is all of it.
Window pool_window(const char* where, Index input, Index kernel, Index stride, Index padding,
                   Index dilation) {
  const Window result = ops::window(where, input, kernel, stride, padding, dilation);
  if (2 * padding <= kernel) return result;
  throw Error(where, "padding ", padding, " with a kernel of ", kernel, ": expected at most half of it");
}

// Maxima.

struct MaxPool1dAttributes {
  Index kernel = 1, stride = 1, padding = 0, dilation = 1;

  static constexpr const char* name = "max_pool1d";
  static constexpr Index directions = 1;
  static AttributeFields fields() {
    using A = MaxPool1dAttributes;
    return attribute_fields<A>({{"kernel", &A::kernel},
                                {"stride", &A::stride},
                                {"padding", &A::padding},
                                {"dilation", &A::dilation}});
  }
  Window rows(const Shape&) const { return ops::no_window; }
  Window columns(const Shape& x) const { return pool_window(name, x[2], kernel, stride, padding, dilation); }
};

struct MaxPool2dAttributes {
  Index kernel_rows = 1, kernel_columns = 1, stride_rows = 1, stride_columns = 1, padding_rows = 0,
        padding_columns = 0, dilation_rows = 1, dilation_columns = 1;

  static constexpr const char* name = "max_pool2d";
  static constexpr Index directions = 2;
  static AttributeFields fields() {
    using A = MaxPool2dAttributes;
    return attribute_fields<A>({{"kernel_rows", &A::kernel_rows},
                                {"kernel_columns", &A::kernel_columns},
                                {"stride_rows", &A::stride_rows},
                                {"stride_columns", &A::stride_columns},
                                {"padding_rows", &A::padding_rows},
                                {"padding_columns", &A::padding_columns},
                                {"dilation_rows", &A::dilation_rows},
                                {"dilation_columns", &A::dilation_columns}});
  }
  Window rows(const Shape& x) const {
    return pool_window(name, x[2], kernel_rows, stride_rows, padding_rows, dilation_rows);
  }
  Window columns(const Shape& x) const {
    return pool_window(name, x[3], kernel_columns, stride_columns, padding_columns, dilation_columns);
  }
};

std::vector<GradcheckCase> cases(Rng& rng, MaxPool1dAttributes) {
  return {{{ops::distinct(rng, {2, 3, 6})}, MaxPool1dAttributes{2, 2, 0, 1}},
          {{ops::distinct(rng, {1, 2, 7})}, MaxPool1dAttributes{3, 2, 1, 2}}};
}

std::vector<GradcheckCase> cases(Rng& rng, MaxPool2dAttributes) {
  return {{{ops::distinct(rng, {2, 3, 4, 4})}, MaxPool2dAttributes{2, 2, 2, 2, 0, 0, 1, 1}},
          {{ops::distinct(rng, {1, 2, 5, 7})}, MaxPool2dAttributes{2, 2, 2, 2, 0, 0, 1, 1}},
          {{ops::distinct(rng, {2, 2, 5, 4})}, MaxPool2dAttributes{3, 2, 1, 2, 1, 1, 1, 1}},
          {{ops::distinct(rng, {1, 2, 6, 5})}, MaxPool2dAttributes{2, 3, 3, 1, 1, 0, 2, 1}}};
}

template <class T, class A>
const Op<T> max_pool_op{{
    .name = A::name,
    .arity = 1,
    .shape =
        [](const Signature& s) {
          require_rank(A::name, s[0], A::directions);
          const A a = as<A>(s.attributes);
          return pooled(s[0], A::directions, a.rows(s[0]).output(), a.columns(s[0]).output());
        },
    .forward =
        [](const Forward<T>& f) {
          const A a = as<A>(f.attributes());
          const View<const T> x = f.input(0);
          kernels::max_pool<T>(x.shape()[0] * x.shape()[1], a.rows(x.shape()), a.columns(x.shape()), x.data(),
                               f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const A a = as<A>(b.attributes());
          const View<const T> x = b.input(0);
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::max_pool_gradient<T>(x.shape()[0] * x.shape()[1], a.rows(x.shape()),
                                          a.columns(x.shape()), x.data(), b.output_gradient().data(), g.data,
                                          g.add);
          }
        },
    .attributes = A::fields(),
    .structure = pool_structure,
    .gradcheck_cases = [](Rng& rng) { return cases(rng, A()); },
    .backward_needs_output = false,
}};

// Averages.

struct AvgPool1dAttributes {
  Index kernel = 1, stride = 1, padding = 0;
  bool count_padding = true;

  static constexpr const char* name = "avg_pool1d";
  static constexpr Index directions = 1;
  static AttributeFields fields() {
    using A = AvgPool1dAttributes;
    return attribute_fields<A>({{"kernel", &A::kernel},
                                {"stride", &A::stride},
                                {"padding", &A::padding},
                                {"count_padding", &A::count_padding}});
  }
  Cells rows(const Shape&) const { return {1, 1}; }
  Cells columns(const Shape& x) const {
    const Window w = pool_window(name, x[2], kernel, stride, padding, 1);
    return {x[2], w.output(), kernel, stride, padding, count_padding};
  }
};

struct AvgPool2dAttributes {
  Index kernel_rows = 1, kernel_columns = 1, stride_rows = 1, stride_columns = 1, padding_rows = 0,
        padding_columns = 0;
  bool count_padding = true;

  static constexpr const char* name = "avg_pool2d";
  static constexpr Index directions = 2;
  static AttributeFields fields() {
    using A = AvgPool2dAttributes;
    return attribute_fields<A>({{"kernel_rows", &A::kernel_rows},
                                {"kernel_columns", &A::kernel_columns},
                                {"stride_rows", &A::stride_rows},
                                {"stride_columns", &A::stride_columns},
                                {"padding_rows", &A::padding_rows},
                                {"padding_columns", &A::padding_columns},
                                {"count_padding", &A::count_padding}});
  }
  Cells rows(const Shape& x) const {
    const Window w = pool_window(name, x[2], kernel_rows, stride_rows, padding_rows, 1);
    return {x[2], w.output(), kernel_rows, stride_rows, padding_rows, count_padding};
  }
  Cells columns(const Shape& x) const {
    const Window w = pool_window(name, x[3], kernel_columns, stride_columns, padding_columns, 1);
    return {x[3], w.output(), kernel_columns, stride_columns, padding_columns, count_padding};
  }
};

/// `output` cells that share out the elements of an axis.
Cells shared_out(const char* where, const Shape& x, Index axis, Index output) {
  if (output < 1) throw Error(where, "an output of ", output, ": expected 1 or more");
  if (x[axis] == 0) throw Error(where, "input ", x, ": expected elements to average");
  return {x[axis], output};
}

struct AdaptivePool1dAttributes {
  Index output = 1;

  static constexpr const char* name = "adaptive_avg_pool1d";
  static constexpr Index directions = 1;
  static AttributeFields fields() {
    return attribute_fields<AdaptivePool1dAttributes>({{"output", &AdaptivePool1dAttributes::output}});
  }
  Cells rows(const Shape&) const { return {1, 1}; }
  Cells columns(const Shape& x) const { return shared_out(name, x, 2, output); }
};

struct AdaptivePool2dAttributes {
  Index output_rows = 1, output_columns = 1;

  static constexpr const char* name = "adaptive_avg_pool2d";
  static constexpr Index directions = 2;
  static AttributeFields fields() {
    using A = AdaptivePool2dAttributes;
    return attribute_fields<A>({{"output_rows", &A::output_rows}, {"output_columns", &A::output_columns}});
  }
  Cells rows(const Shape& x) const { return shared_out(name, x, 2, output_rows); }
  Cells columns(const Shape& x) const { return shared_out(name, x, 3, output_columns); }
};

std::vector<GradcheckCase> cases(Rng& rng, AvgPool1dAttributes) {
  return {{{ops::uniform(rng, {2, 3, 6})}, AvgPool1dAttributes{2, 2, 0, true}},
          {{ops::uniform(rng, {1, 2, 7})}, AvgPool1dAttributes{3, 1, 1, false}}};
}

std::vector<GradcheckCase> cases(Rng& rng, AvgPool2dAttributes) {
  return {{{ops::uniform(rng, {2, 3, 4, 4})}, AvgPool2dAttributes{2, 2, 2, 2, 0, 0, true}},
          {{ops::uniform(rng, {2, 2, 5, 4})}, AvgPool2dAttributes{3, 2, 1, 2, 1, 1, true}},
          {{ops::uniform(rng, {2, 2, 5, 4})}, AvgPool2dAttributes{2, 3, 2, 1, 1, 1, false}}};
}

std::vector<GradcheckCase> cases(Rng& rng, AdaptivePool1dAttributes) {
  return {{{ops::uniform(rng, {2, 3, 7})}, AdaptivePool1dAttributes{3}},
          {{ops::uniform(rng, {2, 3, 2})}, AdaptivePool1dAttributes{4}}};
}

std::vector<GradcheckCase> cases(Rng& rng, AdaptivePool2dAttributes) {
  return {{{ops::uniform(rng, {2, 3, 4, 5})}, AdaptivePool2dAttributes{1, 1}},
          {{ops::uniform(rng, {1, 2, 5, 3})}, AdaptivePool2dAttributes{2, 4}}};
}

template <class T, class A>
const Op<T> average_op{{
    .name = A::name,
    .arity = 1,
    .shape =
        [](const Signature& s) {
          require_rank(A::name, s[0], A::directions);
          const A a = as<A>(s.attributes);
          return pooled(s[0], A::directions, a.rows(s[0]).output, a.columns(s[0]).output);
        },
    .forward =
        [](const Forward<T>& f) {
          const A a = as<A>(f.attributes());
          const View<const T> x = f.input(0);
          kernels::average_pool<T>(x.shape()[0] * x.shape()[1], a.rows(x.shape()), a.columns(x.shape()),
                                   x.data(), f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          const A a = as<A>(b.attributes());
          const Shape& x = b.input(0).shape();
          if (const Gradient<T> g = b.gradient(0)) {
            kernels::average_pool_gradient<T>(x[0] * x[1], a.rows(x), a.columns(x),
                                              b.output_gradient().data(), g.data, g.add);
          }
        },
    .attributes = A::fields(),
    .structure = pool_structure,
    .gradcheck_cases = [](Rng& rng) { return cases(rng, A()); },
    .backward_needs_output = false,
    .reads_before_write = 0b1,
}};

/// A stride of 0 stands for the kernel.
Index step(Index stride, Index kernel) {
  return stride == 0 ? kernel : stride;
}

}  // namespace

template <class T> Var<T> max_pool1d(Var<T> x, Index kernel, const MaxPool1dOptions& o) {
  return apply(max_pool_op<T, MaxPool1dAttributes>, {x},
               MaxPool1dAttributes{kernel, step(o.stride, kernel), o.padding, o.dilation});
}

template <class T> Var<T> max_pool2d(Var<T> x, Both kernel, const MaxPool2dOptions& o) {
  return apply(max_pool_op<T, MaxPool2dAttributes>, {x},
               MaxPool2dAttributes{kernel.rows, kernel.columns, step(o.stride.rows, kernel.rows),
                                   step(o.stride.columns, kernel.columns), o.padding.rows, o.padding.columns,
                                   o.dilation.rows, o.dilation.columns});
}

template <class T> Var<T> avg_pool1d(Var<T> x, Index kernel, const AvgPool1dOptions& o) {
  return apply(average_op<T, AvgPool1dAttributes>, {x},
               AvgPool1dAttributes{kernel, step(o.stride, kernel), o.padding, o.count_padding});
}

template <class T> Var<T> avg_pool2d(Var<T> x, Both kernel, const AvgPool2dOptions& o) {
  return apply(average_op<T, AvgPool2dAttributes>, {x},
               AvgPool2dAttributes{kernel.rows, kernel.columns, step(o.stride.rows, kernel.rows),
                                   step(o.stride.columns, kernel.columns), o.padding.rows, o.padding.columns,
                                   o.count_padding});
}

template <class T> Var<T> adaptive_avg_pool1d(Var<T> x, Index output) {
  return apply(average_op<T, AdaptivePool1dAttributes>, {x}, AdaptivePool1dAttributes{output});
}

template <class T> Var<T> adaptive_avg_pool2d(Var<T> x, Both output) {
  return apply(average_op<T, AdaptivePool2dAttributes>, {x},
               AdaptivePool2dAttributes{output.rows, output.columns});
}

#define TAPER_INSTANTIATE(T)                                          \
  template Var<T> max_pool1d(Var<T>, Index, const MaxPool1dOptions&); \
  template Var<T> max_pool2d(Var<T>, Both, const MaxPool2dOptions&);  \
  template Var<T> avg_pool1d(Var<T>, Index, const AvgPool1dOptions&); \
  template Var<T> avg_pool2d(Var<T>, Both, const AvgPool2dOptions&);  \
  template Var<T> adaptive_avg_pool1d(Var<T>, Index);                 \
  template Var<T> adaptive_avg_pool2d(Var<T>, Both);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
