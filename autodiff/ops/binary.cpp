#include <taper/autodiff/kernels/binary.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/ops.hpp>
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
};

constexpr BinaryDescription binary_descriptions[] = {
#define TAPER_BINARY(name, operation, zero, domain, ...) {operation, Zero::zero, BinaryDomain::domain},
#define TAPER_BINARY_SYMMETRIC(name, operation, zero, domain, ...) \
  {operation, Zero::zero, BinaryDomain::domain},
#include <taper/autodiff/kernels/binary-list.hpp>
};

constexpr const BinaryDescription& describe(Binary function) {
  return binary_descriptions[static_cast<int>(function)];
}

/// The common shape of two that are compared from the last dimension; one that is missing or 1 is repeated.
Shape broadcast(const Shape& a, const Shape& b, const char* where) {
  if (a == b) return a;
  std::array<Index, Shape::max_rank> dimensions{};
  const Index rank = std::max(a.rank(), b.rank());
  for (Index k = 1; k <= rank; ++k) {
    const Index left = k <= a.rank() ? a[a.rank() - k] : 1;
    const Index right = k <= b.rank() ? b[b.rank() - k] : 1;
    if (left != right && left != 1 && right != 1) {
      throw Error(where, "shapes ", a, " and ", b, " do not fit: expected dimensions that are equal or 1");
    }
    dimensions[static_cast<std::size_t>(rank - k)] = left == 1 ? right : left;
  }
  return Shape(dimensions.data(), rank);
}

/// A walk over a broadcast pair as a few matrices. Dimensions of size 1 are left out, and neighbours that
/// both operands run through in the same way are merged; what remains is at most four dimensions, the last
/// two of which are the matrix that the kernels take.
struct Walk {
  std::array<Index, 4> size{1, 1, 1, 1};
  std::array<std::array<Index, 4>, 2> stride{};  // of each operand

  Walk(const Shape& out, const Shape& a, const Shape& b) {
    Index used = 0;  // dimensions filled, from the last
    std::array<Index, 2> run{1, 1};
    for (Index k = 1; k <= out.rank(); ++k) {
      const Index n = out[out.rank() - k];
      if (n == 1) continue;
      std::array<Index, 2> step{};
      for (std::size_t side = 0; side < 2; ++side) {
        const Shape& shape = side == 0 ? a : b;
        const bool repeated = k > shape.rank() || shape[shape.rank() - k] == 1;
        step[side] = repeated ? 0 : run[side];
        if (!repeated) run[side] *= n;
      }
      if (used > 0 && merges(used, step)) {
        size[at(used)] *= n;
      } else {
        ++used;
        size[at(used)] = n;
        for (std::size_t side = 0; side < 2; ++side) stride[side][at(used)] = step[side];
      }
    }
  }

  /// Calls f with the offsets of both operands and of the result, for each matrix.
  template <class F> void for_matrices(const F& f) const {
    const Index matrix = size[2] * size[3];
    for (Index i = 0; i < size[0]; ++i) {
      for (Index j = 0; j < size[1]; ++j) {
        f(i * stride[0][0] + j * stride[0][1], i * stride[1][0] + j * stride[1][1],
          (i * size[1] + j) * matrix);
      }
    }
  }

  template <class T> Strided<T> operand(std::size_t side, T* data) const {
    return {data, stride[side][2], stride[side][3]};
  }

  /// How many entries of an operand a matrix reaches.
  Index reach(std::size_t side) const {
    return stride[side][2] * (size[2] - 1) + stride[side][3] * (size[3] - 1) + 1;
  }

  /// Whether an operand collects its gradient from so many matrices that their sum needs care.
  bool from_many(std::size_t side) const {
    return (stride[side][0] == 0 ? size[0] : 1) * (stride[side][1] == 0 ? size[1] : 1) > 16;
  }

 private:
  static std::size_t at(Index used) { return static_cast<std::size_t>(4 - used); }
  bool merges(Index used, const std::array<Index, 2>& step) const {
    for (std::size_t side = 0; side < 2; ++side) {
      const Index inner = stride[side][at(used)];
      if (step[side] != inner * size[at(used)]) return false;
    }
    return true;
  }
};

/// The result where an operand is repeated.
template <class T, Binary function> void repeat(const Forward<T>& f) {
  const View<const T> a = f.input(0), b = f.input(1);
  const Walk walk(f.output().shape(), a.shape(), b.shape());
  walk.for_matrices([&](Index left, Index right, Index out) {
    kernels::binary<T>(function, walk.size[2], walk.size[3], walk.operand(0, a.data() + left),
                       walk.operand(1, b.data() + right), f.output().data() + out);
  });
}

template <class T, Binary function, int of> void gradient(const Backward<T>& b, const Walk& walk) {
  const Gradient<T> g = b.gradient(of);
  if (!g) return;
  const View<const T> input = b.input(of);
  // An operand that is repeated collects from several places, which all add.
  const bool repeated = input.size() != b.output().size(), many = walk.from_many(of);
  if (repeated && !g.add) std::fill_n(g.data, input.size(), T{0});
  T* const rest = b.scratch();  // of the sums of many, and behind it one matrix's part
  T* const part = rest + (many ? input.size() : 0);
  if (many) std::fill_n(rest, input.size(), T{0});
  walk.for_matrices([&](Index left, Index right, Index out) {
    const Index at = of == 0 ? left : right;
    if (many) std::fill_n(part, walk.reach(of), T{0});
    kernels::binary_gradient<T>(function, of, walk.size[2], walk.size[3],
                                walk.operand(0, b.input(0).data() + left),
                                walk.operand(1, b.input(1).data() + right), b.output_gradient().data() + out,
                                walk.operand(of, many ? part : g.data + at), g.add || repeated);
    if (many) kernels::add_carefully<T>(walk.reach(of), part, g.data + at, rest + at);
  });
}

/// What `gradient` needs beside the gradients.
Index gradient_scratch(const Signature& s, const char* name) {
  const Walk walk(broadcast(s[0], s[1], name), s[0], s[1]);
  Index result = 0;
  for (const Index side : {0, 1}) {
    const auto of = static_cast<std::size_t>(side);
    if (walk.from_many(of)) result = std::max(result, s[side].size() + walk.reach(of));
  }
  return result;
}

template <class T, Binary function> void repeat_gradients(const Backward<T>& b) {
  const Walk walk(b.output().shape(), b.input(0).shape(), b.input(1).shape());
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

template <class T, Binary function>
const Op<T> binary{{
    .name = describe(function).name,
    .arity = 2,
    .shape = [](const Signature& s) { return broadcast(s[0], s[1], describe(function).name); },
    .forward =
        [](const Forward<T>& f) {
          if (!same_size(f)) return repeat<T, function>(f);
          kernels::binary(function, f.output().size(), f.input(0).data(), f.input(1).data(),
                          f.output().data());
        },
    .backward =
        [](const Backward<T>& b) {
          if (!same_size(b)) return repeat_gradients<T, function>(b);
          run_gradient<T, function, 0>(b);
          run_gradient<T, function, 1>(b);
        },
    .structure =
        [](const Signature& s, const Shape& output, Structure& out) {
          ops::elementwise(s, output, out);
          if (describe(function).zero != Zero::neither) out.preserve_zero(0);
          if (describe(function).zero == Zero::both) out.preserve_zero(1);
        },
    .gradcheck_cases = gradcheck_cases<function>,
    .scratch = [](const Signature& s) { return gradient_scratch(s, describe(function).name); },
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
