#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <taper/autodiff/aligned.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper {

/// The flat memory that the parameters of a model live in: all values in one aligned run, all gradients in
/// another of the same length, and a mark for each one that is frozen. Parameters are views of pieces of it,
/// so that an optimizer step or a norm is one pass over plain memory.
template <class T> struct Block {
  explicit Block(Index size)
      : values(static_cast<std::size_t>(size)),
        gradients(static_cast<std::size_t>(size)),
        frozen(static_cast<std::size_t>(size)) {}

  AlignedArray<T> values;
  AlignedArray<T> gradients;
  /// 1 where an optimizer must leave the value as it is, bit for bit; 0 elsewhere.
  AlignedArray<std::uint8_t> frozen;
  /// Counts the changes of `frozen`.
  std::uint64_t mask_version = 0;
  /// Counts the times that a parameter moved away. Who remembers places in the block (a tape, an optimizer)
  /// must follow it or refuse to go on once this has changed.
  std::uint64_t version = 0;
  /// Where parameters have moved to, so that a tape can follow. In their old place, `frozen` is `gone`; there
  /// is no move for those that have been replaced or destroyed.
  struct Move {
    Index from, size;
    std::shared_ptr<Block> block;
    Index to;
  };
  std::vector<Move> moves;
  static constexpr std::uint8_t gone = 2;
  /// The recording whose backward pass wrote the gradients last. A pass of another recording clears them
  /// first, because it need not reach the same parameters.
  std::uint64_t writer = 0;
};

}  // namespace taper
