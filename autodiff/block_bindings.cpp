#include <taper/autodiff/block_bindings.hpp>

#include <algorithm>
#include <functional>

#include <taper/instantiate.hpp>

namespace taper {
namespace {

/// A position of a block.
template <class T> struct Place {
  std::shared_ptr<Block<T>> block;
  Index offset;
};

/// Goes from block to block until the elements are found. False when they have been replaced or destroyed.
template <class T> bool follow_moves(Place<T>& place, Index size) {
  while (place.block->frozen.data()[place.offset] == Block<T>::gone) {
    const auto& moves = place.block->moves;
    const auto move = std::ranges::find_if(moves, [&](const auto& candidate) {
      return candidate.from == place.offset && candidate.size == size;
    });
    if (move == moves.end()) return false;
    place = {move->block, move->to};
  }
  return true;
}

}  // namespace

template <class T> void BlockBindings<T>::clear() {
  leaves_.clear();
  blocks_.clear();
  parameters_.clear();
  empty_.clear();
  buffers_.clear();
  assignments_.clear();
}

template <class T> std::uint32_t BlockBindings<T>::position_of(const std::shared_ptr<Block<T>>& block) {
  if (!blocks_.empty() && blocks_.back().block == block)
    return static_cast<std::uint32_t>(blocks_.size()) - 1;
  const auto known = std::ranges::find(blocks_, block, &Bound::block);
  const auto position = static_cast<std::uint32_t>(known - blocks_.begin());
  if (known == blocks_.end()) blocks_.push_back({block, block->version});
  return position;
}

/// The first parameter that begins behind this place.
template <class T> auto BlockBindings<T>::first_behind(const T* value) const {
  return std::ranges::upper_bound(parameters_, value, std::less<const T*>(),
                                  [&](std::uint32_t leaf) -> const T* { return nodes_[leaf].value; });
}

template <class T>
void BlockBindings<T>::add(std::uint32_t leaf, const std::shared_ptr<Block<T>>& block, Index offset) {
  const bool is_empty = nodes_[leaf].shape.size() == 0;
  if (!nodes_[leaf].requires_grad) {
    buffers_.push_back(leaf);
  } else if (is_empty) {
    empty_.push_back(leaf);
  } else {
    parameters_.insert(first_behind(nodes_[leaf].value), leaf);  // mostly the end
  }
  if (is_empty) return;  // lies nowhere in particular
  leaves_.push_back({leaf, position_of(block), offset});
}

template <class T>
std::optional<std::uint32_t> BlockBindings<T>::find_parameter(const T* value, const Shape& shape,
                                                              std::uint32_t name) const {
  if (shape.size() == 0) {
    const auto same = [&](std::uint32_t leaf) {
      return nodes_[leaf].label == name && nodes_[leaf].value == value && nodes_[leaf].shape == shape;
    };
    const auto found = std::ranges::find_if(empty_, same);
    return found == empty_.end() ? std::nullopt : std::optional(*found);
  }
  const auto behind = first_behind(value);
  if (behind != parameters_.begin()) {
    const Node<T>& before = nodes_[*(behind - 1)];
    if (std::less<const T*>()(value, before.value + before.shape.size())) return *(behind - 1);
  }
  if (behind != parameters_.end() && std::less<const T*>()(nodes_[*behind].value, value + shape.size()))
    return *behind;
  return {};
}

template <class T> const Node<T>* BlockBindings<T>::follow() {
  const auto stale = [](const Bound& bound) { return bound.block->version != bound.version; };
  if (std::ranges::none_of(blocks_, stale)) return nullptr;
  std::vector<Place<T>> places;
  for (const Leaf& leaf : leaves_) {
    const Node<T>& node = nodes_[leaf.node];
    places.push_back({blocks_[leaf.block].block, leaf.offset});
    if (!follow_moves(places.back(), node.shape.size())) return &node;
  }
  blocks_.clear();
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    const auto& [block, offset] = places[i];
    Node<T>& node = nodes_[leaves_[i].node];
    node.value = block->values.data() + offset;
    if (node.requires_grad) node.gradient = block->gradients.data() + offset;
    leaves_[i].block = position_of(block);
    leaves_[i].offset = offset;
  }
  std::ranges::sort(parameters_, std::less<const T*>(),
                    [&](std::uint32_t leaf) -> const T* { return nodes_[leaf].value; });
  return nullptr;
}

template <class T>
std::optional<std::uint32_t> BlockBindings<T>::find_buffer(const Block<T>& block, Index offset,
                                                           const Shape& shape) const {
  for (const std::uint32_t leaf : buffers_) {
    if (nodes_[leaf].value != block.values.data() + offset || nodes_[leaf].shape != shape) continue;
    const auto assigned = std::ranges::find(assignments_, leaf, [](const auto& pair) { return pair.first; });
    return assigned == assignments_.end() ? leaf : assigned->second;
  }
  return {};
}

template <class T> bool BlockBindings<T>::assign_later(std::uint32_t buffer, std::uint32_t value) {
  for (auto& [leaf, present] : assignments_) {
    if (leaf != buffer && present != buffer) continue;
    present = value;
    return true;
  }
  if (std::ranges::find(buffers_, buffer) == buffers_.end()) return false;
  assignments_.emplace_back(buffer, value);
  return true;
}

template <class T>
std::span<const std::pair<std::uint32_t, std::uint32_t>> BlockBindings<T>::assignments() const {
  return assignments_;
}

template <class T> void BlockBindings<T>::update_buffers() {
  for (const auto& [leaf, source] : assignments_) {
    std::copy_n(nodes_[source].value, nodes_[source].shape.size(), nodes_[leaf].value);
  }
}

template <class T> void BlockBindings<T>::start_pass(std::uint64_t recording, bool accumulate) {
  for (const Bound& bound : blocks_) {
    Block<T>& block = *bound.block;
    if (block.writer == recording) continue;
    if (!accumulate) std::fill_n(block.gradients.data(), block.gradients.size(), T{0});
    // Gradients of several recordings added up belong to none: the next pass that stores clears them.
    block.writer = accumulate ? 0 : recording;
  }
}

TAPER_INSTANTIATE_CLASS(BlockBindings)

}  // namespace taper
