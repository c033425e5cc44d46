#include <taper/io/archive_writer.hpp>

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>

#include <taper/data/quote.hpp>
#include <taper/io/archive.hpp>
#include <taper/io/atomic_file.hpp>
#include <taper/io/dtype.hpp>

namespace taper::io {

void ArchiveWriter::add(const std::string& name, const char* dtype, const Shape& shape, const void* bytes) {
  if (!names_.insert(name).second) {
    throw Error(where_, "two tensors named ", data::quote(name), ": expected another name for each");
  }
  const std::size_t element = bytes_of(dtype);
  if (element == 0) throw Error(where_, "a tensor of dtype ", data::quote(dtype), ": expected a known one");
  const Piece piece{bytes, static_cast<std::size_t>(shape.size()) * element};
  std::vector<Index> dimensions;
  for (Index axis = 0; axis < shape.rank(); ++axis) dimensions.push_back(shape[axis]);
  const nlohmann::ordered_json entry{
      {"dtype", dtype}, {"shape", dimensions}, {"data_offsets", {end_, end_ + piece.size}}};
  try {
    entries_ += ',' + nlohmann::json(name).dump() + ':' + entry.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(where_, "a tensor named ", data::quote(name), ", which is not UTF-8: expected text");
  }
  pieces_.push_back(piece);
  end_ += piece.size;
}

void ArchiveWriter::write(const std::filesystem::path& path,
                          const std::map<std::string, std::string>& metadata) const {
  std::string text;
  try {
    text = "{\"__metadata__\":" + nlohmann::json(metadata).dump() + entries_ + '}';
  } catch (const nlohmann::json::exception&) {
    throw Error(where_, "metadata that are not UTF-8: expected text");
  }
  std::array<unsigned char, 8> length;
  text.resize((text.size() + length.size() - 1) / length.size() * length.size(), ' ');
  if (text.size() > most_header_bytes) {
    throw Error(where_, pieces_.size(), " tensors, whose header has ", text.size(),
                " bytes: expected at most ", most_header_bytes);
  }
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<unsigned char>(std::uint64_t{text.size()} >> (8 * i));
  }
  AtomicFile file(path, where_);
  file.write(length.data(), length.size());
  file.write(text.data(), text.size());
  for (const Piece& piece : pieces_) file.write(piece.bytes, piece.size);
  file.commit();
}

}  // namespace taper::io
