#include <taper/io/architecture/source.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include <taper/io/architecture.hpp>
#include <taper/io/dtype.hpp>

namespace taper::io::architecture {

using data::quote;

Source::Source(const Archive& file) : archive(file) {
  const auto found = archive.metadata().find(architecture_key);
  if (found == archive.metadata().end()) {
    archive.fail(
        "does not say how its model computes: expected a file of save_model; load() reads tensors "
        "into a model that is there");
  }
  const std::string& text = found->second;
  // The parser would pass over a byte order mark, and take a zero byte for the end.
  if (!text.starts_with('{') || text.find('\0') != text.npos) fail("that is no JSON object");
  constexpr std::size_t deepest = 64;
  std::vector<std::set<std::string>> keys(deepest + 1);  // of the objects that are open
  const auto look = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    const auto at = static_cast<std::size_t>(depth);
    const bool begins =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (begins && at == deepest) fail("that is nested deeper than it can be");
    if (begins) keys[at + 1].clear();
    if (event == Json::parse_event_t::key && !keys[at].insert(parsed.get<std::string>()).second) {
      fail("that has ", quote(parsed.get<std::string>()), " twice in one object");
    }
    return true;
  };
  try {
    root = Json::parse(text, look);
  } catch (const Json::parse_error& error) {
    fail("that is no JSON from byte ", error.byte, " on");
  } catch (const Json::exception&) {
    fail("that is no valid JSON");  // a number out of range
  }
  version = whole(member(root, "version"), "version");
}

void Source::require_known() const {
  if (version > architecture_version) {
    archive.fail("has an architecture of version ", version, ", which a later Taper has written: expected ",
                 architecture_version, " at most");
  }
  if (version < 1) fail("of version ", version);
  members(root, {"version", "scalar", "inputs", "parameters", "buffers", "evaluation", "training"});
}

const Json& Source::member(const Json& object, const char* key) const {
  if (const Json* const found = find(object, key)) return *found;
  fail("that lacks ", quote(key));
}

const Json* Source::find(const Json& object, const char* key) const {
  if (!object.is_object()) fail("without an object that has ", quote(key));
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

void Source::members(const Json& object, std::initializer_list<std::string_view> known) const {
  if (!object.is_object()) fail("without an object that has ", quote(*known.begin()));
  for (const auto& item : object.items()) {
    if (std::ranges::find(known, item.key()) == known.end()) {
      fail("that has ", quote(item.key()), ", which is not known");
    }
  }
}

Index Source::whole(const Json& json, const char* what) const {
  if (json.is_number_unsigned()) {
    const auto number = json.get<std::uint64_t>();
    if (number <= std::uint64_t{std::numeric_limits<Index>::max()}) return static_cast<Index>(number);
  } else if (json.is_number_integer()) {
    return json.get<Index>();
  }
  fail("whose ", what, " is no whole number in range");
}

const std::string& Source::text(const Json& json, const char* what) const {
  if (!json.is_string()) fail("whose ", what, " is no text");
  return json.get_ref<const std::string&>();
}

const Json& Source::list(const Json& json, const char* what) const {
  if (!json.is_array()) fail("whose ", what, " are no list");
  return json;
}

Shape Source::shape_of(const Json& object, std::optional<Index> rows) const {
  std::vector<Index> dimensions;
  if (rows) dimensions.push_back(*rows);
  for (const Json& dimension : list_of(object, "shape")) {
    if (dimensions.size() == std::size_t{Shape::max_rank}) fail("with a shape of too many dimensions");
    dimensions.push_back(whole(dimension, "dimension"));
  }
  try {
    return Shape(dimensions.data(), static_cast<Index>(dimensions.size()));
  } catch (const Error& error) {
    fail("with a shape that cannot be, ", error.what());
  }
}

const std::string& Source::scalar() const {
  const std::string& word = text_of(root, "scalar");
  if (word != dtype_of<float> && word != dtype_of<double>) fail("with the scalar ", quote(word));
  return word;
}

}  // namespace taper::io::architecture
