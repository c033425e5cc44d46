#include <taper/autodiff/memory_plan.hpp>

#include <algorithm>

#include <taper/autodiff/op.hpp>
#include <taper/instantiate.hpp>

namespace taper {

template <class T> void MemoryPlan<T>::keep_value(std::uint32_t node) {
  kept_values_.push_back(node);
}

template <class T> void MemoryPlan<T>::clear() {
  memory_.reset();
  placed_ = 0;
  in_place_.clear();
  uses_.clear();
  kept_values_.clear();
  overwritten_values_.clear();
}

template <class T> void MemoryPlan<T>::place_gradients(std::uint32_t output, bool accumulate) {
  place_new(output);
  const bool alias = !keep_gradients_ && !accumulate;
  if (alias) count_uses();
  for (InPlace& place : in_place_) {
    if (place.node > output) break;
    Node<T>& node = nodes_[place.node];
    place.alias = alias && can_alias(node);
    if (!place.alias && place.own == nullptr) place.own = take(node);
    node.gradient = place.alias ? nodes_[first_input(node)].gradient : place.own;
  }
}

/// Gives memory to the gradients that have none yet, but for those that may be aliases.
template <class T> void MemoryPlan<T>::place_new(std::uint32_t output) {
  for (; placed_ <= output; ++placed_) {
    Node<T>& node = nodes_[placed_];
    if (!node.requires_grad) continue;
    if (node.op != nullptr && node.op->in_place) {
      in_place_.push_back({placed_});
    } else if (node.gradient == nullptr) {  // parameters have it in their block
      node.gradient = take(node);
    }
    for (std::uint32_t i = 0; i < node.inputs; ++i) {
      const Node<T>& input = nodes_[inputs_[node.first_input + i]];
      if (!input.requires_grad || node.op->constant(i))
        largest_unread_ = std::max(largest_unread_, input.shape.size());
    }
  }
  const auto unread = static_cast<std::size_t>(largest_unread_);
  if (unread > unread_.size()) unread_ = AlignedArray<T>(unread, Uninitialized{});
}

/// Counts the uses in what has been recorded since the last time.
template <class T> void MemoryPlan<T>::count_uses() {
  const std::size_t counted = uses_.size();
  uses_.resize(nodes_.size());
  for (std::size_t k = counted; k < nodes_.size(); ++k) {
    const Node<T>& node = nodes_[k];
    for (std::uint32_t i = 0; i < node.inputs; ++i) {
      Uses& uses = uses_[inputs_[node.first_input + i]];
      ++uses.count;
      uses.late |= !node.op->reads_input_before_write(i);
    }
  }
}

template <class T> bool MemoryPlan<T>::can_alias(const Node<T>& node) const {
  const Node<T>& input = nodes_[first_input(node)];
  return input.requires_grad && !node.op->constant(0) && uses_[first_input(node)].count == 1 &&
         input.shape.size() == node.shape.size();
}

template <class T> bool MemoryPlan<T>::can_overwrite(const InPlace& place) const {
  const Node<T>& node = nodes_[place.node];
  const Uses& uses = uses_[place.node];
  return nodes_[first_input(node)].op == nullptr && !node.op->backward_needs_output && uses.count == 1 &&
         !uses.late && std::ranges::find(kept_values_, place.node) == kept_values_.end();
}

template <class T> bool MemoryPlan<T>::aliases_input_gradient(std::uint32_t node) const {
  const auto found = std::ranges::lower_bound(in_place_, node, {}, &InPlace::node);
  return found != in_place_.end() && found->node == node && found->alias;
}

template <class T> void MemoryPlan<T>::overwrite_values(std::uint32_t output) {
  overwritten_values_.clear();
  for (const InPlace& place : in_place_) {
    if (place.node >= output) break;
    if (!place.alias || !can_overwrite(place)) continue;
    Node<T>& node = nodes_[place.node];
    overwritten_values_.emplace_back(place.node, node.value);
    node.value = node.gradient;
  }
}

template <class T> void MemoryPlan<T>::restore_values(bool complete) {
  for (const auto& [index, own] : overwritten_values_) {
    Node<T>& node = nodes_[index];
    if (!complete) std::fill_n(node.gradient, node.shape.size(), T{0});
    node.value = own;
  }
}

template <class T> bool MemoryPlan<T>::has_valid_value(std::uint32_t node) const {
  return std::ranges::none_of(overwritten_values_, [&](const auto& lost) { return lost.first == node; });
}

TAPER_INSTANTIATE_CLASS(MemoryPlan)

}  // namespace taper
