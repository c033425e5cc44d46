#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper::io {

/// Bytes of a safetensors header at most, as in the format's own reader: some million tensors.
inline constexpr std::uint64_t most_header_bytes = 100'000'000;

/// A tensor of a safetensors file: what the header says of it, with `begin` and `end` counted in the bytes
/// behind the header.
struct StoredTensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

/// The contents of a safetensors file: its tensors by name, and their bytes. What it accepts is what the
/// format's own reader does (https://huggingface.co/docs/safetensors), and less: names come once, tensors
/// fill the file without gaps. The time it takes grows with the bytes of the header times the logarithm of
/// the number of tensors.
class Archive {
 public:
  /// Reads a file. Throws Error, with its path, for one that cannot be read or is no valid safetensors file.
  explicit Archive(const std::filesystem::path& path);
  /// The same for bytes in memory; `source` stands for the path in errors.
  Archive(std::string bytes, std::string source);

  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const char* data(const StoredTensor& stored) const { return bytes_.data() + data_ + stored.begin; }

  /// The tensor of this name, which must be there. Throws Error for another dtype or shape, or another number
  /// of bytes.
  const StoredTensor& require(const std::string& name, const char* dtype, const Shape& shape,
                              std::size_t bytes) const;

  /// Throws Error about the file.
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("load", name_, " ", parts...);
  }

 private:
  void check_offsets() const;

  std::string name_, bytes_;
  std::size_t data_ = 0;  // where the numbers begin
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace taper::io
