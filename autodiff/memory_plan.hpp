#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <taper/autodiff/aligned.hpp>
#include <taper/autodiff/arena.hpp>
#include <taper/autodiff/node.hpp>

namespace taper {

/// Where the gradients of a recording lie, and which of its values may be overwritten by them. The plan is
/// made after recording, from what the operations state about their backward pass (see OpRecord).
///
/// While gradients are kept, every variable has its own memory for its gradient. Otherwise two things save
/// memory traffic:
///
/// 1. The gradient of an output may lie in the memory of the gradient of input 0: its *alias*. The operation
///    states that it computes the one from the other in place (`in_place`). The input has no other reader,
///    which would need its memory at the same time, and has the size of the output.
/// 2. The value of such an output may lie there too, until its own gradient is written: it is *overwritten*.
///    Nobody reads the value after that: not the operation itself (`backward_needs_output = false`), and its
///    single reader only before it writes the gradient (`reads_before_write`). The input is a leaf, so that
///    nothing else is computed in that memory.
///
/// Aliases are planned for each pass, as a pass that adds to gradients can have none.
template <class T> class MemoryPlan {
 public:
  /// For the recording in these lists: the nodes, and the positions of their inputs.
  MemoryPlan(std::vector<Node<T>>& nodes, const std::vector<std::uint32_t>& inputs)
      : nodes_(nodes), inputs_(inputs) {}

  /// Starts again for a new recording, and keeps the memory.
  void clear();

  void keep_gradients(bool on) { keep_gradients_ = on; }
  /// The value of this node is read between steps and is never overwritten.
  void keep_value(std::uint32_t node);

  /// Before a backward pass: gives a place to the gradients of all nodes up to the output.
  void place_gradients(std::uint32_t output, bool accumulate);
  /// Whether the gradient of this node shared its place with that of its input in the last pass, so that it
  /// is lost.
  bool aliases_input_gradient(std::uint32_t node) const;
  /// Memory for gradients that nothing requires, as large as any of them.
  T* unread() { return unread_.data(); }

  /// Between place_gradients and a replay with a backward pass right behind it: moves the values that may be
  /// overwritten to the place of their gradients.
  void overwrite_values(std::uint32_t output);
  /// After the backward pass: every node points to its own value again, which for those that were overwritten
  /// is out of date until it is computed. After a pass that ended early, the gradients in their place are
  /// zero.
  void restore_values(bool complete);
  /// All values have been computed again in their own place.
  void values_are_valid() { overwritten_values_.clear(); }
  bool has_valid_value(std::uint32_t node) const;
  /// The nodes whose values are not valid, and where these values belong.
  const std::vector<std::pair<std::uint32_t, T*>>& overwritten_values() const { return overwritten_values_; }

 private:
  /// The gradient of an operation that works in place.
  struct InPlace {
    std::uint32_t node;
    bool alias = false;
    T* own = nullptr;  // its own memory, once it has needed some
  };
  /// How often a value is read, and whether a reader needs it after writing its gradient.
  struct Uses {
    std::uint32_t count = 0;
    bool late = false;
  };

  T* take(const Node<T>& node) { return memory_.take(static_cast<std::size_t>(node.shape.size())); }
  std::uint32_t first_input(const Node<T>& node) const { return inputs_[node.first_input]; }
  void place_new(std::uint32_t output);
  void count_uses();
  bool can_alias(const Node<T>& node) const;
  bool can_overwrite(const InPlace& place) const;

  std::vector<Node<T>>& nodes_;
  const std::vector<std::uint32_t>& inputs_;
  Arena<T> memory_;
  std::uint32_t placed_ = 0;  // nodes before it have a place
  AlignedArray<T> unread_;
  Index largest_unread_ = 0;  // entries of the largest input that requires no gradient
  std::vector<InPlace> in_place_;
  std::vector<Uses> uses_;  // of the nodes that have been counted
  std::vector<std::uint32_t> kept_values_;
  std::vector<std::pair<std::uint32_t, T*>> overwritten_values_;
  bool keep_gradients_ = true;
};

}  // namespace taper
