#pragma once

#include <cstddef>
#include <filesystem>

namespace taper::io {

/// A file that appears as a whole or not at all. It is written under another name in the same folder, which
/// goes away again unless `commit` is reached; an older file of that name is whole until then. `where` names
/// the caller in errors.
class AtomicFile {
 public:
  /// Follows symbolic links. Throws Error when the folder cannot be written to, and when there is something
  /// else than a regular file.
  AtomicFile(const std::filesystem::path& path, const char* where);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Appends bytes. Throws Error when the disk is full or fails.
  void write(const void* bytes, std::size_t size);
  /// Makes sure that all is on the disk and gives the file its name. Throws Error like write.
  void commit();

 private:
  [[noreturn]] void fail(int code) const;

  const char* where_;
  std::filesystem::path path_, target_, temporary_;  // as given, behind all links, and meanwhile
  int descriptor_ = -1;
};

}  // namespace taper::io
