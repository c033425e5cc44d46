#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <taper/autodiff/block.hpp>
#include <taper/autodiff/node.hpp>

namespace taper {

/// The leaves of a recording that lie in blocks: parameters and buffers. They are read where they lie. When
/// they move to another block, their nodes follow. Buffers are assigned to between replays.
template <class T> class BlockBindings {
 public:
  /// For the recording with these nodes.
  explicit BlockBindings(std::vector<Node<T>>& nodes) : nodes_(nodes) {}

  void clear();
  /// The node at this position is a leaf that lies in the block from `offset` on: a buffer if it requires no
  /// gradient.
  void add(std::uint32_t leaf, const std::shared_ptr<Block<T>>& block, Index offset);

  /// Points the nodes to where their leaves lie now. Returns null, or the first one that was replaced or
  /// destroyed; then nothing has been changed.
  const Node<T>* follow();

  /// The parameter that lies at this place or overlaps it. Empty ones have no place of their own: they are
  /// told apart by their names.
  std::optional<std::uint32_t> find_parameter(const T* value, const Shape& shape, std::uint32_t name) const;
  /// The node that is the present value of the buffer at this place: its leaf, or what assign_later assigned
  /// to it last. Empty when there is no such leaf yet.
  std::optional<std::uint32_t> find_buffer(const Block<T>& block, Index offset, const Shape& shape) const;
  /// Records an assignment to a buffer, which is given by its leaf or by its present value. False when it is
  /// no buffer.
  bool assign_later(std::uint32_t buffer, std::uint32_t value);
  std::span<const std::pair<std::uint32_t, std::uint32_t>> assignments() const;
  /// Copies all assigned values into their buffers.
  void update_buffers();

  /// Before a backward pass of the recording with this number: clears the gradients that another recording
  /// has written, unless the pass adds to them.
  void start_pass(std::uint64_t recording, bool accumulate);

 private:
  struct Leaf {
    std::uint32_t node;
    std::uint32_t block;  // its position in blocks_
    Index offset;
  };
  struct Bound {
    std::shared_ptr<Block<T>> block;
    std::uint64_t version;  // of the block when its leaves were found there
  };

  auto first_behind(const T* value) const;
  std::uint32_t position_of(const std::shared_ptr<Block<T>>& block);

  std::vector<Node<T>>& nodes_;
  std::vector<Leaf> leaves_;
  std::vector<Bound> blocks_;
  std::vector<std::uint32_t> parameters_;                             // their leaves, by address
  std::vector<std::uint32_t> empty_;                                  // those of parameters without elements
  std::vector<std::uint32_t> buffers_;                                // their leaves
  std::vector<std::pair<std::uint32_t, std::uint32_t>> assignments_;  // a leaf and the node it is assigned
};

}  // namespace taper
