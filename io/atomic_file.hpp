#pragma once

#include <cstddef>
#include <filesystem>

namespace taper::io {

/// A file that appears as a whole or not at all. Until `commit` it has no name, where the file system knows
/// files without one; else, and for the moment in which it takes the place of an older file, it is called
/// like the file with ".saving-" and numbers behind. A program that is killed meanwhile leaves such a file;
/// the next one that writes the same file removes it. `where` names the caller in errors.
class AtomicFile {
 public:
  /// Follows symbolic links, also to where there is no file yet. Throws Error when the folder cannot be
  /// written to, and when there is something else than a regular file.
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
  std::filesystem::path temporary_name() const;
  bool open_unnamed(const std::filesystem::path& folder);
  void open_named();
  void give_name();
  void remove_stale(const std::filesystem::path& folder) const;

  const char* where_;
  std::filesystem::path path_, target_,
      temporary_;  // as given, behind all links, and its name meanwhile, if any
  int descriptor_ = -1;
};

}  // namespace taper::io
