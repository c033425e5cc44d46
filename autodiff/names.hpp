#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace taper {

/// The names of what stands on a tape, and of the objects that it comes from. A name stands inside an outer
/// one: "weight" inside "fc1" is "fc1.weight". Names keep their memory when they are cleared.
class Names {
 public:
  using Id = std::uint32_t;
  static constexpr Id none = 0;

  Names();
  void clear();

  Id add(std::string_view name, Id outer);
  /// The name with those around it, outermost first, joined by dots.
  std::string path(Id id) const;

  /// Names an object. An object that has a name already keeps it, and the result is false.
  bool name_object(const void* object, Id id);
  /// The name of an object, and whether it has one.
  std::pair<Id, bool> find(const void* object) const;
  bool has_objects() const { return objects_ > 0; }
  void forget_objects();

 private:
  struct Name {
    std::string text;
    Id outer;
  };
  struct Slot {
    const void* object = nullptr;
    Id id = none;
  };
  std::size_t slot_of(const void* object) const;

  std::vector<Name> names_;  // a pool: strings keep their memory
  Id count_ = 0;
  std::vector<Slot> slots_;  // a hash table with open addressing, a power of two long
  std::size_t objects_ = 0;
};

}  // namespace taper
