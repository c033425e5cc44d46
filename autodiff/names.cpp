#include <taper/autodiff/names.hpp>

#include <algorithm>

namespace taper {

Names::Names() {
  clear();
}

void Names::clear() {
  count_ = 0;
  forget_objects();
  add("", none);
}

Names::Id Names::add(std::string_view name, Id outer) {
  if (count_ == names_.size()) names_.emplace_back();
  names_[count_].text.assign(name);
  names_[count_].outer = outer;
  return count_++;
}

std::string Names::path(Id id) const {
  std::string result;
  for (; id != none; id = names_[id].outer) {
    const std::string& name = names_[id].text;
    if (name.empty()) continue;
    result = result.empty() ? name : name + '.' + result;
  }
  return result;
}

/// Where the object is, or the empty slot that it would take.
std::size_t Names::slot_of(const void* object) const {
  const std::size_t last = slots_.size() - 1;
  const auto address = reinterpret_cast<std::uintptr_t>(object);
  std::size_t slot = static_cast<std::size_t>(address * 0x9e3779b97f4a7c15u >> 32) & last;
  while (slots_[slot].object != nullptr && slots_[slot].object != object) slot = (slot + 1) & last;
  return slot;
}

bool Names::name_object(const void* object, Id id) {
  if (2 * (objects_ + 1) > slots_.size()) {
    std::vector<Slot> old(std::max<std::size_t>(16, 2 * slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.object != nullptr) slots_[slot_of(slot.object)] = slot;
    }
  }
  Slot& slot = slots_[slot_of(object)];
  if (slot.object != nullptr) return false;
  slot = {object, id};
  ++objects_;
  return true;
}

std::pair<Names::Id, bool> Names::find(const void* object) const {
  if (objects_ == 0) return {none, false};
  const Slot& slot = slots_[slot_of(object)];
  return {slot.id, slot.object != nullptr};
}

void Names::forget_objects() {
  if (objects_ == 0) return;
  std::ranges::fill(slots_, Slot{});
  objects_ = 0;
}

}  // namespace taper
