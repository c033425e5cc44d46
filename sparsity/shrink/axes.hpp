#pragma once

#include <string>
#include <vector>

#include <taper/autodiff/structure.hpp>
#include <taper/autodiff/tape.hpp>

namespace taper::sparsity::shrinking {

/// A number for each index of each axis of each tensor on a tape, and classes of those that can only be cut
/// together: channel 3 of a layer's output, row 3 of its weight, entry 3 of its bias, column 3 of its reader.
/// A class can be pinned, for a reason that is told to the user.
template <class T> class AxisClasses {
 public:
  /// Ties what the operations' structure rules tie. Pins what they do not name, and what they name with
  /// literal sizes, unless the operations that have these can be recorded with others.
  explicit AxisClasses(const Tape<T>& tape, bool sizes_can_change = false);

  /// The number of an index of an axis of a node, and how many there are.
  std::size_t id(std::size_t node, Index axis, Index index) const {
    return first_[node] + static_cast<std::size_t>(offset(node, axis) + index);
  }
  std::size_t count() const { return parent_.size(); }
  /// The class of an index of an axis of a node.
  std::size_t of(std::size_t node, Index axis, Index index) { return root(id(node, axis, index)); }

  /// Keeps all indices of an axis. The first reason stays.
  void pin(std::size_t node, Index axis, const std::string& reason);
  void pin(std::size_t node, Index axis, Index index, const std::string& reason);
  bool pinned(std::size_t node, Index axis, Index index) { return reason_[of(node, axis, index)] != 0; }
  /// Empty for a class that is not pinned.
  const std::string& reason(std::size_t node, Index axis, Index index) {
    return reasons_[reason_[of(node, axis, index)]];
  }

  const Structure& structure(std::size_t node) const { return structures_[node]; }

 private:
  /// Links of an operation whose axes are laid out in one, or a single one of another kind, and which of them
  /// is followed: the first that can be cut. The channels of images, which are maps in a row, come before
  /// their rows and columns.
  struct LaidOut {
    std::vector<std::size_t> links;
    std::size_t followed = 0, tried = 0;
  };
  static std::vector<LaidOut> sets_of(const Structure& rule);
  bool follow_others();

  std::size_t root(std::size_t id);
  Index offset(std::size_t node, Index axis) const;
  void tie(std::size_t a, std::size_t b);
  void follow(std::size_t node);
  std::size_t reason_id(const std::string& reason);

  const Tape<T>& tape_;
  bool sizes_can_change_;
  std::vector<std::size_t> first_;   // of each node, the number of its first index
  std::vector<std::size_t> parent_;  // of a union-find forest
  std::vector<std::size_t> reason_;  // of each root; 0 is none
  std::vector<std::string> reasons_{""};
  std::vector<Structure> structures_;           // of each node; empty for leaves
  std::vector<std::vector<LaidOut>> laid_out_;  // of each node
};

}  // namespace taper::sparsity::shrinking
