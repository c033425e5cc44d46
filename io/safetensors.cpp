#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <taper/data/file.hpp>
#include <taper/data/quote.hpp>
#include <taper/io/atomic_file.hpp>
#include <taper/io/safetensors.hpp>

namespace taper::io {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied from the file as they are");

using data::quote;

constexpr std::size_t length_size = 8;  // bytes of the length in front of the header
constexpr const char* metadata = "__metadata__";

template <class T> constexpr const char* dtype_of = sizeof(T) == 4 ? "F32" : "F64";

std::string mask_name(const std::string& name) {
  return name + ".mask";
}

template <class T> struct Leaf {
  std::string name;
  nn::Parameter<T>* parameter;

  std::size_t bytes() const { return static_cast<std::size_t>(parameter->shape().size()) * sizeof(T); }
  std::uint8_t* frozen() const { return parameter->block()->frozen.data() + parameter->offset(); }
};

/// Like Module::parameters, but without laying anything out: a model is only looked at here.
template <class T> std::vector<Leaf<T>> leaves(nn::Module<T>& model) {
  std::vector<Leaf<T>> result;
  std::set<const nn::Parameter<T>*> known;
  model.for_parameters([&](const std::string& name, nn::Parameter<T>& parameter) {
    parameter.for_leaves(name, [&](const std::string& path, nn::Parameter<T>& leaf) {
      if (known.insert(&leaf).second) result.push_back({path, &leaf});
    });
  });
  return result;
}

/// A tensor of the file: what the header says about it, begin and end counted in the bytes behind the header.
struct Stored {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t dimension : shape) text += (text.empty() ? "" : "x") + std::to_string(dimension);
  return text.empty() ? "scalar" : text;
}

bool same_shape(const std::vector<std::uint64_t>& stored, const Shape& shape) {
  if (stored.size() != static_cast<std::size_t>(shape.rank())) return false;
  for (Index axis = 0; axis < shape.rank(); ++axis) {
    if (stored[static_cast<std::size_t>(axis)] != static_cast<std::uint64_t>(shape[axis])) return false;
  }
  return true;
}

/// The contents of a file: its bytes, where the numbers begin, and the tensors by their names.
class Archive {
 public:
  explicit Archive(const std::filesystem::path& path)
      : name_(path.string()), bytes_(data::read_bytes(path, "load")) {
    if (bytes_.size() < length_size) {
      fail("has ", bytes_.size(), " bytes: expected at least the ", length_size, " of the header's length");
    }
    std::uint64_t length = 0;
    for (std::size_t i = length_size; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes_[i]);
    if (length > bytes_.size() - length_size) {
      fail("has ", bytes_.size(), " bytes: expected a header of ", length, " and the tensors behind it");
    }
    data_ = length_size + static_cast<std::size_t>(length);
    read_header(std::string_view(bytes_).substr(length_size, static_cast<std::size_t>(length)));
    check_offsets();
  }

  const std::map<std::string, Stored>& tensors() const { return tensors_; }
  const char* data(const Stored& stored) const { return bytes_.data() + data_ + stored.begin; }

  /// The tensor of this name, which must be there, with this dtype and shape.
  const Stored& require(const std::string& name, const char* dtype, const Shape& shape,
                        std::size_t bytes) const {
    const Stored& stored = tensors_.at(name);
    if (!same_shape(stored.shape, shape)) {
      fail("has ", quote(name), " of shape ", shape_text(stored.shape), ": expected ", shape);
    }
    if (stored.dtype != dtype) {
      fail("has ", quote(name), " of dtype ", quote(stored.dtype), ": expected \"", dtype, "\"");
    }
    if (stored.end - stored.begin != bytes) {
      fail("has ", stored.end - stored.begin, " bytes of ", quote(name), ": expected ", bytes, " for ", dtype,
           " of shape ", shape);
    }
    return stored;
  }

  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("load", name_, " ", parts...);
  }

 private:
  using Json = nlohmann::json;

  void read_header(std::string_view text) {
    Json header;
    try {
      header = Json::parse(text, strict_reader());
    } catch (const Json::parse_error& error) {
      fail("has a header that is no JSON from byte ", error.byte, " on: expected a safetensors file");
    } catch (const Json::exception&) {  // a number out of range, for example
      fail("has a header that is no valid JSON: expected a safetensors file");
    }
    if (!header.is_object()) fail("has a header that is no JSON object: expected a safetensors file");
    for (const auto& [name, value] : header.items()) {
      if (name == metadata) {
        const auto is_text = [](const Json& entry) { return entry.is_string(); };
        if (!value.is_object() || !std::all_of(value.begin(), value.end(), is_text)) {
          fail("has \"", metadata, "\" that are not texts by name: expected such");
        }
      } else {
        tensors_.emplace(name, entry(name, value));
      }
    }
  }

  /// Keys that come twice would otherwise hide each other, and depth could exhaust memory.
  Json::parser_callback_t strict_reader() const {
    return [this, keys = std::vector<std::set<std::string>>{}](int depth, Json::parse_event_t event,
                                                               Json& value) mutable {
      using Event = Json::parse_event_t;
      if ((event == Event::object_start || event == Event::array_start) && depth > 2) {
        fail("has a header that is nested deeper than tensors: expected a safetensors file");
      }
      if (event == Event::object_start) keys.emplace_back();
      if (event == Event::object_end) keys.pop_back();
      if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
        fail("has ", quote(value.get<std::string>()), " twice in its header: expected it once");
      }
      return true;
    };
  }

  Stored entry(const std::string& name, const Json& value) const {
    const auto is_count = [](const Json& number) { return number.is_number_unsigned(); };
    const auto counts = [&](const char* key) {
      const bool right = value.is_object() && value.contains(key) && value[key].is_array() &&
                         std::ranges::all_of(value[key], is_count);
      if (!right) fail("has ", quote(name), " without a valid ", key, ": expected a list of counts");
      return value[key].get<std::vector<std::uint64_t>>();
    };
    Stored stored;
    stored.shape = counts("shape");
    const std::vector<std::uint64_t> offsets = counts("data_offsets");
    if (offsets.size() != 2) fail("has ", quote(name), " with ", offsets.size(), " data_offsets: expected 2");
    stored.begin = offsets[0], stored.end = offsets[1];
    if (!value.contains("dtype") || !value["dtype"].is_string()) {
      fail("has ", quote(name), " without a dtype: expected one");
    }
    stored.dtype = value["dtype"].get<std::string>();
    return stored;
  }

  /// The tensors must fill the rest of the file without gaps or overlaps, as the format asks for.
  void check_offsets() const {
    const std::size_t size = bytes_.size() - data_;
    std::vector<std::pair<Stored, std::string>> sorted;
    for (const auto& [name, stored] : tensors_) {
      if (stored.begin > stored.end || stored.end > size) {
        fail("has ", quote(name), " in bytes ", stored.begin, " to ", stored.end, ": expected a part of the ",
             size, " behind the header");
      }
      sorted.emplace_back(stored, name);
    }
    std::ranges::sort(sorted, {},
                      [](const auto& entry) { return std::pair(entry.first.begin, entry.first.end); });
    std::uint64_t end = 0;
    for (const auto& [stored, name] : sorted) {
      if (stored.begin != end) {
        fail("has ", quote(name), " from byte ", stored.begin, " on: expected ", end,
             ", where the tensor before it ends");
      }
      end = stored.end;
    }
    if (end != size) fail("has ", size, " bytes behind the header: expected the ", end, " of its tensors");
  }

  std::string name_, bytes_;
  std::size_t data_ = 0;
  std::map<std::string, Stored> tensors_;
};

/// What the file has for a parameter; no mask means that all of it is free.
template <class T> struct Source {
  Leaf<T> leaf;
  const char* values;
  const char* free;
};

template <class T> Source<T> find(const Archive& archive, const Leaf<T>& leaf, bool masked) {
  const Shape& shape = leaf.parameter->shape();
  Source<T> source{leaf, archive.data(archive.require(leaf.name, dtype_of<T>, shape, leaf.bytes())), nullptr};
  if (!masked) return source;
  const std::string name = mask_name(leaf.name);
  const auto count = static_cast<std::size_t>(shape.size());
  source.free = archive.data(archive.require(name, "BOOL", shape, count));
  const char* const wrong = std::find_if(source.free, source.free + count, [](char c) { return c & ~1; });
  if (wrong != source.free + count) {
    archive.fail("has a byte ", int{static_cast<unsigned char>(*wrong)}, " in ", quote(name),
                 ": expected 0 or 1");
  }
  return source;
}

}  // namespace

template <class T> void save(nn::Module<T>& model, const std::filesystem::path& path) {
  // The masks come last, so that the numbers lie at multiples of their size.
  struct Piece {
    const void* bytes;
    std::size_t size;
  };
  std::vector<Piece> pieces;
  std::vector<std::vector<std::uint8_t>> masks;
  std::set<std::string> names{metadata};
  std::size_t end = 0;
  nlohmann::ordered_json header{{metadata, {{"format", "taper"}}}};
  const auto add = [&](const std::string& name, const char* dtype, const Shape& shape, Piece piece) {
    if (!names.insert(name).second) {
      throw Error("save", "two tensors named ", quote(name), ": expected another name for each");
    }
    std::vector<Index> dimensions;
    for (Index axis = 0; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
    header[name] = {{"dtype", dtype}, {"shape", dimensions}, {"data_offsets", {end, end + piece.size}}};
    pieces.push_back(piece);
    end += piece.size;
  };
  const std::vector<Leaf<T>> all = leaves(model);
  for (const Leaf<T>& leaf : all) {
    const View<const T> value = std::as_const(*leaf.parameter).value();
    add(leaf.name, dtype_of<T>, value.shape(), {value.data(), leaf.bytes()});
  }
  for (const Leaf<T>& leaf : all) {
    const Shape& shape = leaf.parameter->shape();
    const std::uint8_t* const frozen = leaf.frozen();
    if (std::find(frozen, frozen + shape.size(), 1) == frozen + shape.size()) continue;
    std::vector<std::uint8_t>& mask = masks.emplace_back(frozen, frozen + shape.size());
    for (std::uint8_t& entry : mask) entry ^= 1;
    add(mask_name(leaf.name), "BOOL", shape, {mask.data(), mask.size()});
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("save", "a parameter whose name is not UTF-8: expected text");
  }
  text.resize((text.size() + length_size - 1) / length_size * length_size, ' ');
  std::array<unsigned char, length_size> length;
  for (std::size_t i = 0; i < length_size; ++i) {
    length[i] = static_cast<unsigned char>(std::uint64_t{text.size()} >> (8 * i));
  }
  AtomicFile file(path, "save");
  file.write(length.data(), length.size());
  file.write(text.data(), text.size());
  for (const Piece& piece : pieces) file.write(piece.bytes, piece.size);
  file.commit();
}

template <class T> void load(nn::Module<T>& model, const std::filesystem::path& path) {
  const Archive archive(path);
  const std::vector<Leaf<T>> all = leaves(model);
  std::set<std::string> expected;
  for (const Leaf<T>& leaf : all) expected.insert(leaf.name);
  const auto is_mask = [&](const Leaf<T>& leaf) {
    const std::string name = mask_name(leaf.name);
    return archive.tensors().contains(name) && !expected.contains(name);
  };
  std::vector<std::string> missing, surplus;
  std::set<std::string> masks;
  for (const Leaf<T>& leaf : all) {
    if (!archive.tensors().contains(leaf.name)) missing.push_back(leaf.name);
    if (is_mask(leaf)) masks.insert(mask_name(leaf.name));
  }
  for (const auto& [name, stored] : archive.tensors()) {
    if (!expected.contains(name) && !masks.contains(name)) surplus.push_back(name);
  }
  if (!missing.empty() || !surplus.empty()) {
    archive.fail(missing.empty() ? "" : "lacks " + data::quote_some(missing),
                 missing.empty() || surplus.empty() ? "" : " and ",
                 surplus.empty() ? "" : "has " + data::quote_some(surplus),
                 ": expected the tensors of the model and no other");
  }
  std::vector<Source<T>> sources;
  for (const Leaf<T>& leaf : all) sources.push_back(find(archive, leaf, is_mask(leaf)));

  // Nothing can fail from here on.
  for (const Source<T>& source : sources) {
    nn::Parameter<T>& parameter = *source.leaf.parameter;
    const Index size = parameter.shape().size();
    if (size == 0) continue;
    std::memcpy(parameter.value().data(), source.values, source.leaf.bytes());
    bool changed = false;
    for (Index i = 0; i < size; ++i) {
      const std::uint8_t frozen = source.free != nullptr && source.free[i] == 0;
      changed |= source.leaf.frozen()[i] != frozen;
      source.leaf.frozen()[i] = frozen;
    }
    if (changed) ++parameter.block()->mask_version;
  }
}

#define TAPER_INSTANTIATE(T)                                        \
  template void save(nn::Module<T>&, const std::filesystem::path&); \
  template void load(nn::Module<T>&, const std::filesystem::path&);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::io
