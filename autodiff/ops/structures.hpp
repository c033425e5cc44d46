#pragma once

#include <taper/autodiff/op.hpp>

/// Structure rules that the records of operations have in common.
namespace taper::ops {

/// The axes of an input stay in their places, but for one, of which nothing is said.
inline void same_axes(const Signature& s, Structure& out, Index input, Index except = -1) {
  for (Index axis = 0; axis < s[input].rank(); ++axis) {
    if (axis != except) out.same(input, axis, axis, s[input][axis]);
  }
}

/// Entry by entry, all inputs repeated to the shape of the output: dimensions are compared from the last one,
/// and one that is repeated is not linked.
inline void elementwise(const Signature& s, const Shape& output, Structure& out) {
  out.elementwise = true;
  for (Index input = 0; input < s.inputs(); ++input) {
    const Shape& x = s[input];
    const Index missing = output.rank() - x.rank();
    for (Index axis = 0; axis < x.rank(); ++axis) {
      if (x[axis] == output[axis + missing]) out.same(input, axis, axis + missing, x[axis]);
    }
  }
}

/// A single number made of everything, which changes with the number of entries.
inline void reduce_all(const Signature& s, const Shape&, Structure& out) {
  for (Index input = 0; input < s.inputs(); ++input) {
    for (Index axis = 0; axis < s[input].rank(); ++axis) out.reduce(input, axis, Reduce::other);
  }
}

/// Throws Error for an axis that a tensor does not have, or that is counted from its end.
inline void require_axis(const char* where, Index axis, const Shape& x) {
  if (axis < 0 || axis >= x.rank()) {
    throw Error(where, "axis ", axis, " of a tensor ", x, ": expected 0 <= axis < ", x.rank());
  }
}

}  // namespace taper::ops
