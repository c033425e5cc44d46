#include <taper/autodiff/tape.hpp>

#include <algorithm>
#include <functional>

namespace taper {
namespace {

/// Where a leaf lies that lay at this offset of a block.
template <class T> struct Place {
  std::shared_ptr<Block<T>> block;
  Index offset;
};

/// Goes from block to block until the numbers are found. False when they have been replaced or destroyed.
template <class T> bool follow(Place<T>& place, Index size) {
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

template <class T> Node<T>& Tape<T>::append_leaf(const Shape& shape, Names::Id name) {
  Node<T>& node = nodes_.emplace_back();
  node.shape = shape;
  node.label = name;
  return node;
}

template <class T> Var<T> Tape<T>::input(const Shape& shape, std::string_view name) {
  Node<T>& node = append_leaf(shape, names_.add(name, scope_));
  node.value = values_.take(static_cast<std::size_t>(shape.size()));
  std::fill_n(node.value, shape.size(), T{0});
  node.writable = true;
  return at(static_cast<Index>(nodes_.size()) - 1);
}

template <class T> Var<T> Tape<T>::constant(View<const T> value, std::string_view name) {
  const Var<T> leaf = input(value.shape(), name);
  leaf.assign(value);
  return leaf;
}

template <class T> Var<T> Tape<T>::constant(T value) {
  return constant(View<const T>(&value, Shape{}));
}

template <class T> Var<T> Tape<T>::variable(View<const T> value, std::string_view name) {
  const Var<T> leaf = constant(value, name);
  nodes_.back().differentiable = true;
  leaves_.push_back(leaf.index_);
  return leaf;
}

template <class T>
Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                          std::string_view name) {
  return parameter(block, offset, shape, names_.add(name, scope_));
}

template <class T>
Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                          Names::Id name) {
  if (offset < 0 || offset + shape.size() > static_cast<Index>(block->values.size())) {
    throw Error("parameter", shape, " from position ", offset, " on leaves its block of ",
                block->values.size());
  }
  T* const value = block->values.data() + offset;
  for (const std::uint32_t leaf : leaves_) {
    const Node<T>& bound = nodes_[leaf];
    // Empty ones have no place of their own: they are told apart by their names.
    if (bound.value == value && bound.shape == shape && (shape.size() > 0 || bound.label == name))
      return at(leaf);
    // They would share gradient memory, and each would take it for its own.
    if (value < bound.value + bound.shape.size() && bound.value < value + shape.size()) {
      throw Error("parameter", shape, " from position ", offset, " on overlaps '", path(bound), "', ",
                  bound.shape, ": expected the same place and shape, or another place");
    }
  }
  bind(block, offset, shape, name);
  Node<T>& node = nodes_.back();
  node.gradient = block->gradients.data() + offset;
  node.differentiable = true;
  leaves_.push_back(static_cast<std::uint32_t>(nodes_.size()) - 1);
  return at(leaves_.back());
}

template <class T>
Var<T> Tape<T>::buffer(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                       Names::Id name) {
  for (const std::uint32_t leaf : buffers_) {
    if (nodes_[leaf].value != block->values.data() + offset || nodes_[leaf].shape != shape) continue;
    for (const auto& [target, source] : assignments_) {
      if (target == leaf) return at(source);
    }
    return at(leaf);
  }
  bind(block, offset, shape, name);
  buffers_.push_back(static_cast<std::uint32_t>(nodes_.size()) - 1);
  return at(buffers_.back());
}

/// Notes a block that something on the tape lives in, as it is now.
template <class T> void Tape<T>::enter(const std::shared_ptr<Block<T>>& block) {
  const auto known = std::ranges::find_if(blocks_, [&](const auto& bound) { return bound.first == block; });
  if (known == blocks_.end()) blocks_.emplace_back(block, block->version);
}

/// Appends a leaf that lives in a block.
template <class T>
void Tape<T>::bind(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape, Names::Id name) {
  enter(block);
  append_leaf(shape, name).value = block->values.data() + offset;
}

template <class T> void Tape<T>::assign_later(Var<T> buffer, Var<T> value) {
  const Node<T>& target = node(buffer, "assign_later");
  if (value.shape() != target.shape) {
    throw Error("assign_later", "a value ", value.shape(), " for variable %", buffer.index_, ": expected ",
                target.shape);
  }
  // A buffer that was assigned to before is known by its last value.
  for (auto& [leaf, source] : assignments_) {
    if (leaf != buffer.index_ && source != buffer.index_) continue;
    source = value.index_;
    return;
  }
  if (std::ranges::find(buffers_, buffer.index_) == buffers_.end())
    throw Error("assign_later", "variable %", buffer.index_, " is no buffer: expected one");
  assignments_.emplace_back(buffer.index_, value.index_);
}

template <class T> void Tape<T>::update_buffers() {
  if (assignments_.empty()) return;
  follow_blocks("update_buffers");
  for (const auto& [leaf, source] : assignments_) {
    std::copy_n(nodes_[source].value, nodes_[source].shape.size(), nodes_[leaf].value);
  }
}

/// Finds all leaves again when parameters have moved to other blocks.
template <class T> void Tape<T>::follow_blocks(std::string_view where) {
  const auto stale = [](const auto& bound) { return bound.first->version != bound.second; };
  if (std::ranges::none_of(blocks_, stale)) return;
  std::vector<std::pair<std::uint32_t, Place<T>>> places;
  const auto find = [&](std::uint32_t index) {
    const Node<T>& leaf = nodes_[index];
    if (leaf.writable || leaf.shape.size() == 0) return;  // not in a block, or nowhere in particular
    const auto home = std::ranges::find_if(blocks_, [&](const auto& bound) {
      const AlignedArray<T>& values = bound.first->values;
      return !std::less()(leaf.value, values.data()) &&
             std::less()(leaf.value, values.data() + values.size());
    });
    Place<T> place{home->first, leaf.value - home->first->values.data()};
    if (!follow(place, leaf.shape.size())) {
      throw Error(where, "parameter '", path(leaf),
                  "' was replaced since this tape was recorded: record again");
    }
    places.emplace_back(index, std::move(place));
  };
  for (const std::uint32_t leaf : leaves_) find(leaf);
  for (const std::uint32_t leaf : buffers_) find(leaf);
  blocks_.clear();
  for (const auto& [index, place] : places) {
    Node<T>& leaf = nodes_[index];
    leaf.value = place.block->values.data() + place.offset;
    if (leaf.differentiable) leaf.gradient = place.block->gradients.data() + place.offset;
    enter(place.block);
  }
}

#define TAPER_INSTANTIATE(T)                                                                            \
  template Node<T>& Tape<T>::append_leaf(const Shape&, Names::Id);                                      \
  template void Tape<T>::enter(const std::shared_ptr<Block<T>>&);                                       \
  template void Tape<T>::bind(const std::shared_ptr<Block<T>>&, Index, const Shape&, Names::Id);        \
  template Var<T> Tape<T>::input(const Shape&, std::string_view);                                       \
  template Var<T> Tape<T>::constant(View<const T>, std::string_view);                                   \
  template Var<T> Tape<T>::constant(T);                                                                 \
  template Var<T> Tape<T>::variable(View<const T>, std::string_view);                                   \
  template Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>&, Index, const Shape&,             \
                                     std::string_view);                                                 \
  template Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>&, Index, const Shape&, Names::Id); \
  template Var<T> Tape<T>::buffer(const std::shared_ptr<Block<T>>&, Index, const Shape&, Names::Id);    \
  template void Tape<T>::assign_later(Var<T>, Var<T>);                                                  \
  template void Tape<T>::update_buffers();                                                              \
  template void Tape<T>::follow_blocks(std::string_view);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper
