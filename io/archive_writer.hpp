#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <taper/autodiff/shape.hpp>

namespace taper::io {

/// Writes tensors to a file in the safetensors format (https://huggingface.co/docs/safetensors), which
/// Archive reads. They lie there in the order in which they are added: those with large elements belong in
/// front, so that all lie at multiples of their size.
class ArchiveWriter {
 public:
  /// `where` names the caller in errors.
  explicit ArchiveWriter(const char* where) : where_(where) {}

  /// Adds a tensor: `bytes` are read when the file is written. Throws Error for a name that is taken or is no
  /// UTF-8, and for a dtype that bytes_of does not know.
  void add(const std::string& name, const char* dtype, const Shape& shape, const void* bytes);
  /// Writes the file with these texts by name as its metadata; it appears as a whole or not at all (see
  /// AtomicFile). Throws Error when that cannot be done, for texts that are no UTF-8, and for so many tensors
  /// that the header would pass what readers take.
  void write(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata) const;

 private:
  struct Piece {
    const void* bytes;
    std::size_t size;
  };

  const char* where_;
  std::string entries_;  // of the header
  std::vector<Piece> pieces_;
  std::set<std::string> names_{"__metadata__"};
  std::size_t end_ = 0;
};

}  // namespace taper::io
