#pragma once

#include <array>
#include <iosfwd>
#include <numeric>
#include <utility>
#include <vector>

#include <taper/autodiff/shape.hpp>
#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/tensor.hpp>

/// What a check of a structure rule is made of: tensors that are changed and cut along an axis, and the axes
/// that links tie together.
namespace taper::structurecheck {

using Indices = std::vector<Index>;

inline std::size_t at(Index i) {
  return static_cast<std::size_t>(i);
}

/// 0 to count - 1.
inline Indices all_of(Index count) {
  Indices indices(at(count));
  std::iota(indices.begin(), indices.end(), Index{0});
  return indices;
}

/// Those of 0 to count - 1 for which `gone` does not hold.
template <class Gone> Indices those_without(Index count, const Gone& gone) {
  Indices indices = all_of(count);
  std::erase_if(indices, gone);
  return indices;
}

/// The positions of an entry along each axis.
std::array<Index, Shape::max_rank> positions(const Shape& shape, Index entry);

/// The tensor with these indices of an axis, in this order.
Tensor<double> take(const Tensor<double>& x, Index axis, const Indices& indices);

/// Calls f on the entries of a tensor at an index of an axis for which `where` holds.
template <class Where, class F>
void for_slice(Tensor<double>& x, Index axis, const Where& where, const F& f) {
  for (Index i = 0; i < x.size(); ++i) {
    if (where(positions(x.shape(), i)[at(axis)])) f(x[i]);
  }
}

/// How far two results agree.
enum class Up { to_the_bit, to_zeros, to_rounding };
bool agree(const Tensor<double>& a, const Tensor<double>& b, Up how);

/// In the place of an input's number.
constexpr Index output = -1;

/// One end of links, on an input or the output.
struct Side {
  Index tensor = 0;
  LinkedAxis along;

  friend bool operator==(const Side& a, const Side& b) {
    return a.tensor == b.tensor && a.along.axis == b.along.axis && a.along.begin == b.along.begin &&
           a.along.end == b.along.end && a.along.inner == b.along.inner;
  }
};

/// What links hold together: these sides are permuted and cut as one.
struct Group {
  Index classes = 0;
  std::vector<Side> sides;

  bool has(const Side& side) const;
};
std::ostream& operator<<(std::ostream& out, const Group& group);

std::vector<Group> groups_of(const Structure& structure);

}  // namespace taper::structurecheck
