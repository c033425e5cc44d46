#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace taper::io {

/// The bytes of a file, mapped into memory: only what is looked at is read, and nothing is copied. Where a
/// file system cannot map files, they are read as a whole.
///
/// A mapping shows the file as it is now. A file that is replaced (renamed over, as `save` does) stays as it
/// was; one that is written to in place changes here too, and where it is cut off, reading behind its end
/// ends the process (SIGBUS). Therefore `hold` checks, before bytes are used, that the file is as it was
/// when it was opened, and keeps programs that open it for writing waiting meanwhile, where the system can do
/// that (a lease: Linux, own files on local disks). What remains is a program that has had the file open for
/// writing all along, or writes to it over a network.
class FileBytes {
 public:
  /// Throws Error, in the name of `where`, when the file is missing, not a regular file or unreadable.
  FileBytes(const std::string& path, const char* where);
  /// Bytes that are in memory already.
  explicit FileBytes(std::string bytes);
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes();

  std::string_view view() const { return bytes_; }

  /// Whether the file has been written to since it was opened.
  bool changed() const;

  /// While it lives, a program that opens the file for writing waits (at most for the 45 seconds that Linux
  /// gives it by default).
  class Hold {
   public:
    explicit Hold(const FileBytes& file);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    int descriptor_ = -1;
  };

 private:
  int descriptor_ = -1;  // of a file that is mapped
  std::timespec written_{};
  std::string copy_;
  std::string_view bytes_;
};

}  // namespace taper::io
