#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include <taper/data/quote.hpp>
#include <taper/io/archive.hpp>
#include <taper/io/atomic_file.hpp>
#include <taper/io/safetensors.hpp>

namespace taper::io {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied from the file as they are");

using data::quote;

constexpr std::size_t length_size = 8;  // bytes of the length in front of the header
constexpr const char* metadata = "__metadata__";

template <class T> constexpr const char* dtype_of = sizeof(T) == 4 ? "F32" : "F64";

/// The entry of a tensor in the header.
std::string entry_text(const std::string& name, const char* dtype, const Shape& shape, std::size_t begin,
                       std::size_t end) {
  std::vector<Index> dimensions;
  for (Index axis = 0; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
  const nlohmann::ordered_json entry{{"dtype", dtype}, {"shape", dimensions}, {"data_offsets", {begin, end}}};
  return ',' + nlohmann::json(name).dump() + ':' + entry.dump();
}

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
  std::string text = R"({"__metadata__":{"format":"taper"})";
  const auto add = [&](const std::string& name, const char* dtype, const Shape& shape, Piece piece) {
    if (!names.insert(name).second) {
      throw Error("save", "two tensors named ", quote(name), ": expected another name for each");
    }
    try {
      text += entry_text(name, dtype, shape, end, end + piece.size);
    } catch (const nlohmann::json::exception&) {
      throw Error("save", "a parameter named ", quote(name), ", which is not UTF-8: expected text");
    }
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

  text += '}';
  text.resize((text.size() + length_size - 1) / length_size * length_size, ' ');
  if (text.size() > most_header_bytes) {
    throw Error("save", pieces.size(), " tensors, whose header has ", text.size(),
                " bytes: expected at most ", most_header_bytes);
  }
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
