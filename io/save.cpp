#include <taper/io/save.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include <taper/data/quote.hpp>
#include <taper/io/archive.hpp>
#include <taper/io/atomic_file.hpp>
#include <taper/io/dtype.hpp>
#include <taper/io/model_tensors.hpp>

namespace taper::io {
namespace {

using data::quote;

constexpr std::size_t length_size = 8;  // bytes of the length in front of the header

/// The entry of a tensor in the header.
std::string entry_text(const std::string& name, const char* dtype, const Shape& shape, std::size_t begin,
                       std::size_t end) {
  std::vector<Index> dimensions;
  for (Index axis = 0; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
  const nlohmann::ordered_json entry{{"dtype", dtype}, {"shape", dimensions}, {"data_offsets", {begin, end}}};
  return ',' + nlohmann::json(name).dump() + ':' + entry.dump();
}

std::string metadata_text(std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "taper");
  try {
    return nlohmann::json(metadata).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("save", "metadata that are not UTF-8: expected text");
  }
}

}  // namespace

template <class T>
void save(const nn::Module<T>& model, const std::string& path,
          const std::map<std::string, std::string>& extra) {
  // The masks come last, so that the elements lie at multiples of their size.
  struct Piece {
    const void* bytes;
    std::size_t size;
  };
  std::vector<Piece> pieces;
  std::vector<std::vector<std::uint8_t>> masks;
  std::set<std::string> names{"__metadata__"};
  std::size_t end = 0;
  std::string text = "{\"__metadata__\":" + metadata_text(extra);
  const auto add = [&](const std::string& name, const char* dtype, const Shape& shape, Piece piece) {
    if (!names.insert(name).second) {
      throw Error("save", "two tensors named ", quote(name), ": expected another name for each");
    }
    try {
      text += entry_text(name, dtype, shape, end, end + piece.size);
    } catch (const nlohmann::json::exception&) {
      throw Error("save", "a tensor named ", quote(name), ", which is not UTF-8: expected text");
    }
    pieces.push_back(piece);
    end += piece.size;
  };
  std::vector<ModelTensor<const T>> tensors;
  for (const ModelPart<const T>& part : parts_of<const T>(model)) {
    tensors.insert(tensors.end(), part.tensors.begin(), part.tensors.end());
  }
  for (const ModelTensor<const T>& tensor : tensors) {
    const View<const T> value = tensor.value;
    add(tensor.name, dtype_of<T>, value.shape(),
        {value.data(), static_cast<std::size_t>(value.size()) * sizeof(T)});
  }
  for (const ModelTensor<const T>& tensor : tensors) {
    if (!tensor.is_masked()) continue;
    std::vector<std::uint8_t>& mask = masks.emplace_back(tensor.frozen, tensor.frozen + tensor.value.size());
    for (std::uint8_t& entry : mask) entry ^= 1;
    add(mask_name(tensor.name), "BOOL", tensor.value.shape(), {mask.data(), mask.size()});
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

#define TAPER_INSTANTIATE(T) \
  template void save(const nn::Module<T>&, const std::string&, const std::map<std::string, std::string>&);
TAPER_INSTANTIATE(float)
TAPER_INSTANTIATE(double)
#undef TAPER_INSTANTIATE

}  // namespace taper::io
