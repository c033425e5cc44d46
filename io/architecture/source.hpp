#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include <taper/data/quote.hpp>
#include <taper/io/archive.hpp>

namespace taper::io::architecture {

using Json = nlohmann::json;

/// The JSON of an architecture, and the file that it is from, for errors. Everything is looked at before it
/// is used: what follows throws Error for what is not as it should be.
class Source {
 public:
  /// Throws Error for a file without an architecture, and for one that is no JSON with a version.
  explicit Source(const Archive& file);

  /// Throws Error for a version that is not known.
  void require_known() const;

  /// Throws Error about the architecture.
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    archive.fail("has an architecture ", parts..., ": expected one as save_model writes it");
  }

  const Json& member(const Json& object, const char* key) const;
  /// The same, or null when there is none.
  const Json* find(const Json& object, const char* key) const;
  /// Throws Error for an object that has others than these.
  void members(const Json& object, std::initializer_list<std::string_view> known) const;
  Index whole(const Json& json, const char* what) const;
  const std::string& text(const Json& json, const char* what) const;
  const Json& list(const Json& json, const char* what) const;
  /// The same of a member, which is what it is called.
  const std::string& text_of(const Json& object, const char* key) const {
    return text(member(object, key), key);
  }
  const Json& list_of(const Json& object, const char* key) const { return list(member(object, key), key); }
  /// The member "shape": up to four dimensions, in front of them `rows` if there are any.
  Shape shape_of(const Json& object, std::optional<Index> rows = {}) const;
  /// "F32" or "F64".
  const std::string& scalar() const;

  const Archive& archive;
  Json root;
  Index version = 0;
};

}  // namespace taper::io::architecture
