#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/tensor.hpp>
#include <taper/io/file_bytes.hpp>

namespace taper::io {

/// Bytes of a safetensors header at most, as in the format's own reader: some million tensors.
inline constexpr std::uint64_t most_header_bytes = 100'000'000;

/// A tensor of a safetensors file: what the header says of it, with `begin` and `end` counted in the bytes
/// behind the header. The shape may have any number of dimensions; none is a scalar.
struct StoredTensor {
  std::string dtype;  ///< "F32", "F16", "BOOL", "I64", ...
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;

  /// "128x32", or "scalar"; of more than eight dimensions the first.
  std::string shape_text() const;
  bool has_shape(const Shape& other) const;
};

struct ReadOptions {
  /// Whether to read F16, BF16, F32 and F64 as the type asked for: exactly where that is wider, else rounded
  /// to the nearest. Without it, another dtype is an Error.
  bool convert = false;
};

/// The contents of a safetensors file, to be looked into: its tensors by name, its metadata, and their bytes.
///
///     const io::Archive archive("model.safetensors");
///     for (const auto& [name, tensor] : archive.tensors()) {
///       std::cout << name << ' ' << tensor.dtype << ' ' << tensor.shape_text() << '\n';
///     }
///     const Tensor<float> weight = archive.read<float>("0.weight", {.convert = true});
///
/// The file is mapped into memory (see FileBytes): opening a large one is fast, and only those tensors are
/// read that are looked at. What an archive accepts is what the format's own reader does
/// (https://huggingface.co/docs/safetensors), and less: names come once, tensors fill the file without gaps.
/// The time to open it grows with the bytes of the header times the logarithm of the number of tensors.
class Archive {
 public:
  /// Opens a file. Throws Error, with its path, for one that cannot be read or is no valid safetensors file;
  /// of a page, a pointer of Git LFS or a file of another format that is given by mistake, it says what it
  /// is.
  explicit Archive(const std::string& path);
  /// The same for bytes in memory; `source` stands for the path in errors.
  Archive(std::string bytes, std::string source);

  const std::map<std::string, StoredTensor>& tensors() const;
  /// The texts that the file has beside its tensors, by name.
  const std::map<std::string, std::string>& metadata() const;
  bool contains(const std::string& name) const;

  /// The tensor of this name. Throws Error when there is none.
  const StoredTensor& tensor(const std::string& name) const;
  /// A copy of its elements, for T float or double. Throws Error when there is no such tensor, when it has
  /// more than four dimensions or another dtype (see ReadOptions), for a finite element beyond the largest
  /// T, and when the file has been written to since it was opened.
  template <class T> Tensor<T> read(const std::string& name, const ReadOptions& options = {}) const;

  /// Where the bytes of a tensor begin, at any address: `end - begin` of them, little-endian and row-major.
  /// See FileBytes for files that are written to meanwhile.
  const char* data(const StoredTensor& stored) const;

  /// Throws Error unless the tensor of this name, which must be there, has this dtype and shape and as many
  /// bytes as they take.
  const StoredTensor& require(const std::string& name, const char* dtype, const Shape& shape) const;
  /// The same for a tensor that `read` would read as T.
  template <class T>
  const StoredTensor& require(const std::string& name, const Shape& shape, const ReadOptions& options) const;
  /// Calls `copy` while no other program changes the file, as far as the system can keep it from that (see
  /// FileBytes). Throws Error when it has been written to since it was opened; if that is found before,
  /// `copy` is not called.
  template <class Copy> void while_unchanged(const Copy& copy) const {
    const FileBytes::Hold hold(*bytes_);
    require_unchanged();
    copy();
    require_unchanged();
  }

  /// Throws Error about the file.
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("load", name_, " ", parts...);
  }

 private:
  Archive(std::shared_ptr<const FileBytes> bytes, std::string source);
  void check_offsets() const;
  void require_unchanged() const;

  std::string name_;
  std::shared_ptr<const FileBytes> bytes_;
  std::size_t data_ = 0;  // where the elements begin
  struct Header;
  std::shared_ptr<const Header> header_;
};

}  // namespace taper::io
