#include <algorithm>

#include <taper/optim/optimizer_state.hpp>

#include <taper/instantiate.hpp>

namespace taper::optim {
namespace {

/// The position of a parameter. Throws Error naming the known ones.
template <class Entries> std::size_t find(const Entries& entries, std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].name == name) return i;
    known += (known.empty() ? "" : ", ") + entries[i].name;
  }
  throw Error("optimizer_state", "no parameter '", name, "': expected one of ", known);
}

template <class Entries> void require_new(const Entries& entries, std::string_view name) {
  for (const auto& entry : entries) {
    if (entry.name == name) throw Error("optimizer_state", "'", name, "' twice: expected a new name");
  }
}

/// Copies the places in `kept` of one axis of a tensor `shape`.
template <class V>
void copy_kept(const V* from, V* to, const Shape& shape, Index axis, std::span<const Index> kept) {
  Index before = 1, after = 1;  // entries of the axes on either side
  for (Index a = 0; a < axis; ++a) before *= shape[a];
  for (Index a = axis + 1; a < shape.rank(); ++a) after *= shape[a];
  for (Index outer = 0; outer < before; ++outer) {
    for (const Index place : kept) to = std::copy_n(from + (outer * shape[axis] + place) * after, after, to);
  }
}

}  // namespace

template <class T> auto OptimizerState<T>::entry(std::string_view name) const -> const Entry& {
  return entries[find(entries, name)];
}

template <class T>
void OptimizerState<T>::cut(std::string_view name, Index axis, std::span<const Index> kept) {
  Entry& entry = entries[find(entries, name)];
  const Shape shape = entry.shape;
  axis = shape.axis(axis, "optimizer_state");
  for (const Index place : kept) {
    if (place >= 0 && place < shape[axis]) continue;
    throw Error("optimizer_state", "place ", place, " of axis ", axis, " of '", name, "' ", shape,
                ": expected 0 to ", shape[axis] - 1);
  }
  Entry smaller{entry.name, shape.with(axis, static_cast<Index>(kept.size()))};
  for (const Tensor<T>& tensor : entry.tensors) {
    copy_kept(tensor.data(), smaller.tensors.emplace_back(smaller.shape).data(), shape, axis, kept);
  }
  if (!entry.steps.empty()) {
    smaller.steps.resize(static_cast<std::size_t>(smaller.shape.size()));
    copy_kept(entry.steps.data(), smaller.steps.data(), shape, axis, kept);
  }
  entry = std::move(smaller);
}

template <class T> void OptimizerState<T>::rename(std::string_view name, std::string new_name) {
  Entry& entry = entries[find(entries, name)];
  if (entry.name == new_name) return;
  require_new(entries, new_name);
  entry.name = std::move(new_name);
}

template <class T> void OptimizerState<T>::add(std::string name, const Shape& shape) {
  require_new(entries, name);
  Entry added{std::move(name), shape};
  added.tensors.assign(tensor_names.size(), Tensor<T>(shape));
  if (steps > 0) added.steps.assign(static_cast<std::size_t>(shape.size()), 0);
  entries.push_back(std::move(added));
}

template <class T> bool OptimizerState<T>::has(std::string_view name) const {
  return std::ranges::any_of(entries, [&](const Entry& entry) { return entry.name == name; });
}

template <class T> void OptimizerState<T>::remove(std::string_view name) {
  entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(find(entries, name)));
}

TAPER_INSTANTIATE_CLASS(OptimizerState)

}  // namespace taper::optim
