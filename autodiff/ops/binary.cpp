#include <taper/autodiff/kernels/binary.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/ops/broadcast.hpp>
#include <taper/autodiff/ops/gradcheck_cases.hpp>
#include <taper/autodiff/ops/structures.hpp>

namespace taper {
namespace {

using kernels::Binary;
using kernels::Strided;

enum class Zero { neither, first, both };
enum class BinaryDomain { anywhere, positive, distinct };

/// What differs between the functions, besides the kernel.
struct BinaryDescription {
  const char* name;
  Zero zero;
  BinaryDomain domain;
  bool comparison = false;  // without derivative
};

constexpr BinaryDescription binary_descriptions[] = {
#define TAPER_BINARY(name, operation, zero, domain, ...) {operation, Zero::zero, BinaryDomain::domain},
#define TAPER_BINARY_SYMMETRIC(name, operation, zero, domain, ...) \
  {operation, Zero::zero, BinaryDomain::domain},
#define TAPER_COMPARISON(name, ...) {#name, Zero::neither, BinaryDomain::distinct, true},
#include <taper/autodiff/kernels/binary-list.hpp>
};

constexpr const BinaryDescription& describe(Binary function) {
  return binary_descriptions[static_cast<int>(function)];
}

using Walk = ops::Walk<2>;

/// The result where an operand is repeated.
template <class T, Binary function> void repeat(const Forward<T>& f) {
  const View<const T> a = f.input(0), b = f.input(1);
  const Walk walk(f.output().shape(), {&a.shape(), &b.shape()});
  walk.for_matrices([&](const auto& offsets, Index out) {
    kernels::binary<T>(function, walk.size[2], walk.size[3], walk.operand(0, a.data() + offsets[0]),
                       walk.operand(1, b.data() + offsets[1]), f.output().data() + out);
  });
}

template <class T, Binary function, int of> void gradient(const Backward<T>& b, const Walk& walk) {
  const Gradient<T> g = b.gradient(of);
  if (!g) return;
  const Index entries = b.input(of).size();
  walk.collect(of, entries != b.output().size(), entries, g, b.scratch(),
               [&](const auto& offsets, Index out, const Strided<T>& to, bool add) {
                 kernels::binary_gradient<T>(function, of, walk.size[2], walk.size[3],
                                             walk.operand(0, b.input(0).data() + offsets[0]),
                                             walk.operand(1, b.input(1).data() + offsets[1]),
                                             b.output_gradient().data() + out, to, add);
               });
}

/// What `gradient` needs beside the gradients.
Index gradient_scratch(const Signature& s, const char* name) {
  const Walk walk(ops::broadcast(s[0], s[1], name), {&s[0], &s[1]});
  return std::max(walk.scratch(0, s[0]), walk.scratch(1, s[1]));
}

template <class T, Binary function> void repeat_gradients(const Backward<T>& b) {
  const View<const T> left = b.input(0), right = b.input(1);
  const Walk walk(b.output().shape(), {&left.shape(), &right.shape()});
  gradient<T, function, 0>(b, walk);
  gradient<T, function, 1>(b, walk);
}

/// Whether nothing is repeated: the most frequent case, and the shortest way.
bool same_size(const auto& pass) {
  const Index n = pass.output().size();
  return pass.input(0).size() == n && pass.input(1).size() == n;
}

template <class T, Binary function, int of> void run_gradient(const Backward<T>& b) {
  const Gradient<T> g = b.gradient(of);
  if (!g) return;
  kernels::binary_gradient<T>(function, of, b.output().size(), b.input(0).data(), b.input(1).data(),
                              b.output_gradient().data(), g.data, g.add);
}

template <Binary function> std::vector<GradcheckCase> gradcheck_cases(Rng& rng) {
  // Broadcasts of every kind: none, scalar, row, column, both at once, inner and outer dimensions.
  const std::pair<Shape, Shape> shapes[] = {{{3, 5}, {3, 5}},
                                            {{3, 5}, {}},
                                            {{}, {3, 5}},
                                            {{3, 5}, {5}},
                                            {{3, 1}, {3, 5}},
                                            {{3, 1}, {1, 5}},
                                            {{2, 1, 3, 1}, {4, 1, 5}},
                                            {{2, 3, 1, 2}, {2, 1, 4, 1}}};
  std::vector<GradcheckCase> result;
  for (const auto& [a, b] : shapes) {
    GradcheckCase example;
    if constexpr (describe(function).domain == BinaryDomain::distinct) {
      // All entries of both sides distinct, so that no pair is near a tie.
      const Tensor<double> all = ops::distinct(rng, {a.size() + b.size()});
      example.inputs = {Tensor<double>(a), Tensor<double>(b)};
      std::copy_n(all.begin(), a.size(), example.inputs[0].begin());
      std::copy_n(all.begin() + a.size(), b.size(), example.inputs[1].begin());
    } else if constexpr (describe(function).domain == BinaryDomain::positive) {
      example.inputs = {ops::uniform(rng, a, 0.3, 2), ops::uniform(rng, b, 0.3, 2)};
    } else {
      example.inputs = {ops::uniform(rng, a), ops::uniform(rng, b)};
    }
    result.push_back(std::move(example));
  }
  return result;
}

template <class T, Binary function> void binary_backward(const Backward<T>& b) {
  if (!same_size(b)) return repeat_gradients<T, function>(b);
  run_gradient<T, function, 0>(b);
  run_gradient<T, function, 1>(b);
}

template <class T, Binary function>
const Op<T> binary{{
    .name = describe(function).name,
    .arity = 2,
    .shape = [](const Signature& s) { return ops::broadcast(s[0], s[1], describe(function).name); },
    .forward =
        [](const Forward<T>& f) {
          if (!same_size(f)) return repeat<T, function>(f);
          kernels::binary(function, f.output().size(), f.input(0).data(), f.input(1).data(),
                          f.output().data());
        },
    .backward = describe(function).comparison ? nullptr : +binary_backward<T, function>,
    .no_derivative = describe(function).comparison,
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          ops::elementwise(s, output, out);
          if (describe(function).zero != Zero::neither) out.preserve_zero(0);
          if (describe(function).zero == Zero::both) out.preserve_zero(1);
        },
    .gradcheck_cases = gradcheck_cases<function>,
    .scratch = [](const Signature& s) -> Index {
      return describe(function).comparison ? 0 : gradient_scratch(s, describe(function).name);
    },
}};

}  // namespace

#define TAPER_BINARY(name, ...)                        \
  template <class T> Var<T> name(Var<T> a, Var<T> b) { \
    return apply(binary<T, Binary::name>, {a, b});     \
  }                                                    \
  template Var<float> name(Var<float>, Var<float>);    \
  template Var<double> name(Var<double>, Var<double>);
#define TAPER_BINARY_SYMMETRIC(name, ...) TAPER_BINARY(name)
#include <taper/autodiff/kernels/binary-list.hpp>

}  // namespace taper
