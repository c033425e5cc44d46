#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>

#include <taper/autodiff/kernels/binary.hpp>
#include <taper/autodiff/kernels/reduce.hpp>
#include <taper/autodiff/op.hpp>

/// Operations whose inputs are repeated to a common shape: dimensions are compared from the last one; one
/// that is missing or 1 is repeated.
namespace taper::ops {

/// The common shape of two.
inline Shape broadcast(const Shape& a, const Shape& b, const char* where) {
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

/// A walk over some operands and their common shape as a few matrices. Dimensions of size 1 are left out, and
/// neighbours that all operands run through in the same way are merged; what remains is at most four
/// dimensions, the last two of which are the matrix that the kernels take.
template <std::size_t operands> struct Walk {
  std::array<Index, 4> size{1, 1, 1, 1};
  std::array<std::array<Index, 4>, operands> stride{};

  Walk(const Shape& out, const std::array<const Shape*, operands>& shapes) {
    Index used = 0;  // dimensions filled, from the last
    std::array<Index, operands> run;
    run.fill(1);
    for (Index k = 1; k <= out.rank(); ++k) {
      const Index n = out[out.rank() - k];
      if (n == 1) continue;
      std::array<Index, operands> step{};
      for (std::size_t side = 0; side < operands; ++side) {
        const Shape& shape = *shapes[side];
        const bool repeated = k > shape.rank() || shape[shape.rank() - k] == 1;
        step[side] = repeated ? 0 : run[side];
        if (!repeated) run[side] *= n;
      }
      if (used > 0 && merges(used, step)) {
        size[at(used)] *= n;
      } else {
        ++used;
        size[at(used)] = n;
        for (std::size_t side = 0; side < operands; ++side) stride[side][at(used)] = step[side];
      }
    }
  }

  /// Calls f with the offsets of the operands and of the result, for each matrix.
  template <class F> void for_matrices(const F& f) const {
    const Index matrix = size[2] * size[3];
    for (Index i = 0; i < size[0]; ++i) {
      for (Index j = 0; j < size[1]; ++j) {
        std::array<Index, operands> offsets{};
        for (std::size_t side = 0; side < operands; ++side) {
          offsets[side] = i * stride[side][0] + j * stride[side][1];
        }
        f(offsets, (i * size[1] + j) * matrix);
      }
    }
  }

  template <class T> kernels::Strided<T> operand(std::size_t side, T* data) const {
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

  /// What `collect` needs for an operand of this shape.
  Index scratch(std::size_t side, const Shape& shape) const {
    return from_many(side) ? shape.size() + reach(side) : 0;
  }

  /// Collects the gradient of an operand: part(offsets, out, to, add) computes that of one matrix, for an
  /// operand that begins at `to`. One that is repeated collects from several places, which all add.
  template <class T, class Part>
  void collect(std::size_t side, bool repeated, Index entries, const Gradient<T>& g, T* scratch,
               const Part& part) const {
    const bool many = from_many(side);
    if (repeated && !g.add) std::fill_n(g.data, entries, T{0});
    T* const rest = scratch;  // of the sums of many, and behind it one matrix's part
    T* const own = rest + (many ? entries : 0);
    if (many) std::fill_n(rest, entries, T{0});
    for_matrices([&](const std::array<Index, operands>& offsets, Index out) {
      const Index to = offsets[side];
      if (many) std::fill_n(own, reach(side), T{0});
      part(offsets, out, operand(side, many ? own : g.data + to), g.add || repeated);
      if (many) kernels::add_carefully<T>(reach(side), own, g.data + to, rest + to);
    });
  }

 private:
  static std::size_t at(Index used) { return static_cast<std::size_t>(4 - used); }
  bool merges(Index used, const std::array<Index, operands>& step) const {
    for (std::size_t side = 0; side < operands; ++side) {
      if (step[side] != stride[side][at(used)] * size[at(used)]) return false;
    }
    return true;
  }
};

}  // namespace taper::ops
