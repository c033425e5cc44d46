#pragma once

#include <array>
#include <vector>

#include <taper/autodiff/shape.hpp>

/// How the axes of an operation's output follow from the axes of its inputs, for those who cut networks.
namespace taper {

template <class T> class Tape;
template <class T> struct Node;

/// Some indices of an axis, and the classes that they fall into: index i of [begin, end) is in class
/// ((i - begin) / inner) % classes, where a Link says how many classes there are.
struct LinkedAxis {
  Index axis = 0;
  Index begin = 0, end = 0;
  Index inner = 1;

  /// The class of an index, or -1 when it is outside of the range.
  Index class_of(Index i, Index classes) const {
    return i < begin || i >= end ? -1 : (i - begin) / inner % classes;
  }
};

/// Of this input, an output index depends only on the indices of the same class. Classes are cut whole and on
/// both sides: without class k of the input and of the output, the other classes compute what they did.
struct Link {
  Index input = 0;
  LinkedAxis from;  // of the input
  LinkedAxis to;    // of the output
  Index classes = 0;
};

/// The output is made of sums of products over this pair of axes, index by index: an index at which one of
/// them is all zero may go from both.
struct Contraction {
  Index input_a = 0, axis_a = 0;
  Index input_b = 0, axis_b = 0;
  /// Some of the sums leave terms out, as those of a convolution do at a border of zeros: what is constant
  /// along the data then adds another value in each place.
  bool partial = false;
  /// Settings of the operation follow from how many there are, as a scale of 1 / sqrt(width) does: they may
  /// go only where the settings are data and stay what they are.
  bool counted = false;
};

enum class Reduce {
  sum,   ///< a plain sum: an index at which all is zero may go
  other  ///< a mean, a maximum, a norm: the result changes with the number of indices
};

/// The output depends on all of this axis of an input.
struct Reduction {
  Index input = 0, axis = 0;
  Reduce by = Reduce::other;
};

/// Where a class of input `factor` is zero, the output of that class does not depend on input `input`: it is
/// multiplied with the factor before something is added to it.
struct Gate {
  Index factor = 0, input = 0;
};

/// What an operation states of itself, for given shapes of inputs and output.
///
/// Read it so. Take an output axis and an input. Without a link between them, every index of the output axis
/// may depend on all of the input. With links, an output index depends on no more of the input than every
/// link allows whose range it is in, and not at all on it when it is in the range of none. An input axis that
/// no link, contraction or plain sum names, and an output axis that no link names, stay whole.
///
///     affine(x, weight, bias):  rows stay rows:  same(0, k, k, size) for all axes k of x but the last
///                               outputs:         same(1, 0, last, outputs), same(2, 0, last, outputs)
///                               inputs:          contract(0, last, 1, 1)
///     concat(a, b) on axis 0:   link a's axis 0 with [0, m) of the output's, b's with [m, m + n)
///     flatten (c x h x w):      three links with the one axis of the output, of c, h and w classes, where
///                               neighbours of one class are h w, w and 1 apart
struct Structure {
  /// Nothing is known: an output entry may depend on every input entry, and no axis may be cut.
  bool pinned = false;
  std::vector<Link> links;
  std::vector<Contraction> contractions;
  std::vector<Reduction> reductions;
  std::vector<Gate> gates;
  /// Output axes whose length attributes give (the ends of a slice, the dimensions of a reshape). To cut such
  /// an axis, or what is linked to it, the operation must be recorded with other attributes, which
  /// OpRecord::cut_attributes makes.
  std::vector<Index> literal_axes;
  /// Bit i set: where a class of input i is zero, that of the output is what the bias alone gives, and zero
  /// without one, whatever (finite) the other inputs are; and all of the output where all of the input is.
  unsigned zero_preserving = 0;
  /// Each output entry depends on the input entries in the same place, all by the same function.
  bool elementwise = false;
  /// The output also depends on random numbers: it varies though no input does.
  bool random = false;
  /// The input that is added to the output, entry by entry along an output axis. It may be an input that was
  /// not given and could be: an affine without bias states 2. -1: there is none.
  Index bias = -1;
  Index bias_axis = -1;

  // For the rules.

  /// Index i of the one axis goes with index i of the other; both have `size` of them.
  void same(Index input, Index input_axis, Index output_axis, Index size);
  void contract(Index input_a, Index axis_a, Index input_b, Index axis_b, bool partial = false);
  void add_bias(Index input, Index output_axis);
  void reduce(Index input, Index axis, Reduce by);
  void gate(Index factor, Index input);
  void preserve_zero(Index input) { zero_preserving |= 1u << input; }

  // For the readers.

  bool preserves_zero(Index input) const { return input < 32 && (zero_preserving >> input & 1u) != 0; }
  bool is_literal(Index output_axis) const;
  /// Whether some output index depends on this index of an input's axis, as far as the links say.
  bool reads(Index input, Index axis, Index index) const;
};

/// The indices that stay, in rising order, of each axis of a tensor.
using KeptAxes = std::array<std::vector<Index>, Shape::max_rank>;

/// What stays of the inputs and the output of an operation.
struct Kept {
  std::vector<KeptAxes> inputs;
  KeptAxes output;
};

/// The structure of a recorded operation; pinned when it has no rule. Throws Error for a leaf.
template <class T> Structure structure_of(const Tape<T>& tape, const Node<T>& node);

/// The multiply-adds of one forward pass of a recorded operation, or of a leaf: 0 where none are stated.
template <class T> Index multiply_adds_of(const Tape<T>& tape, const Node<T>& node);

/// Whether each output entry depends on the input entries in the same place, all by the same function. False
/// for a leaf.
template <class T> bool is_elementwise(const Tape<T>& tape, const Node<T>& node);

}  // namespace taper
