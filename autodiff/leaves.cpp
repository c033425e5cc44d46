#include <taper/autodiff/tape.hpp>
#include <taper/instantiate.hpp>

#include <algorithm>

namespace taper {

template <class T> Node<T>& Tape<T>::append_leaf(const Shape& shape, Names::Id name, T* value) {
  Node<T>& node = nodes_.emplace_back();
  node.shape = shape;
  node.label = name;
  node.value = value;
  return node;
}

template <class T> Var<T> Tape<T>::input(const Shape& shape, std::string_view name) {
  T* const value = values_.take(static_cast<std::size_t>(shape.size()));
  std::fill_n(value, shape.size(), T{0});
  append_leaf(shape, names_.add(name, scope_), value).writable = true;
  return last();
}

template <class T> Var<T> Tape<T>::constant(View<const T> value, std::string_view name) {
  const Var<T> leaf = input(value.shape(), name);
  leaf.assign(value);
  return leaf;
}

template <class T> Var<T> Tape<T>::variable(View<const T> value, std::string_view name) {
  const Var<T> leaf = constant(value, name);
  nodes_.back().requires_grad = true;
  leaves_.push_back(leaf.index_);
  return leaf;
}

template <class T>
Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                          Names::Id name) {
  if (offset < 0 || offset + shape.size() > static_cast<Index>(block->values.size())) {
    throw Error("parameter", shape, " from position ", offset, " on leaves its block of ",
                block->values.size());
  }
  T* const value = block->values.data() + offset;
  if (const auto known = bindings_.find_parameter(value, shape, name)) {
    const Node<T>& bound = nodes_[*known];
    if (bound.value == value && bound.shape == shape) return at(*known);
    // They would share gradient memory, and each would take it for its own.
    throw Error("parameter", shape, " from position ", offset, " on overlaps '", path(bound), "', ",
                bound.shape, ": expected the same place and shape, or another place");
  }
  Node<T>& node = append_leaf(shape, name, value);
  node.gradient = block->gradients.data() + offset;
  node.requires_grad = true;
  leaves_.push_back(last().index_);
  bindings_.add(leaves_.back(), block, offset);
  return last();
}

template <class T>
Var<T> Tape<T>::buffer(const std::shared_ptr<Block<T>>& block, Index offset, const Shape& shape,
                       Names::Id name) {
  if (const auto known = bindings_.find_buffer(*block, offset, shape)) return at(*known);
  append_leaf(shape, name, block->values.data() + offset);
  bindings_.add(last().index_, block, offset);
  return last();
}

template <class T> void Tape<T>::assign_later(Var<T> buffer, Var<T> value) {
  const Shape &given = node(value, "assign_later").shape, &shape = node(buffer, "assign_later").shape;
  if (given != shape) {
    throw Error("assign_later", "a value ", given, " for variable %", buffer.index_, ": expected ", shape);
  }
  if (!bindings_.assign_later(buffer.index_, value.index_))
    throw Error("assign_later", "variable %", buffer.index_, " is no buffer: expected one");
  plan_.keep_value(value.index_);
}

template <class T> void Tape<T>::update_buffers() {
  if (assignments().empty()) return;
  follow_blocks("update_buffers");
  bindings_.update_buffers();
}

template <class T> void Tape<T>::follow_blocks(std::string_view where) {
  if (const Node<T>* const lost = bindings_.follow()) {
    throw Error(where, "parameter '", path(*lost),
                "' was replaced since this tape was recorded: record again");
  }
}

#define TAPER_INSTANTIATE(T)                                                                            \
  template Node<T>& Tape<T>::append_leaf(const Shape&, Names::Id, T*);                                  \
  template Var<T> Tape<T>::input(const Shape&, std::string_view);                                       \
  template Var<T> Tape<T>::constant(View<const T>, std::string_view);                                   \
  template Var<T> Tape<T>::variable(View<const T>, std::string_view);                                   \
  template Var<T> Tape<T>::parameter(const std::shared_ptr<Block<T>>&, Index, const Shape&, Names::Id); \
  template Var<T> Tape<T>::buffer(const std::shared_ptr<Block<T>>&, Index, const Shape&, Names::Id);    \
  template void Tape<T>::assign_later(Var<T>, Var<T>);                                                  \
  template void Tape<T>::update_buffers();                                                              \
  template void Tape<T>::follow_blocks(std::string_view);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper
