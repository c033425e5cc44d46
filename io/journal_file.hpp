#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <taper/autodiff/shape.hpp>
#include <taper/io/journal_lock.hpp>

namespace taper::io {

/// The lines of a journal, which this program and others append.
class JournalFile {
 public:
  /// Opens the file, or makes one. Throws Error when that cannot be done, when it is no regular file, and
  /// when another JournalFile has it open, in this process or in another.
  explicit JournalFile(std::string path);
  ~JournalFile();
  JournalFile(const JournalFile&) = delete;
  JournalFile& operator=(const JournalFile&) = delete;

  const std::string& path() const { return path_; }

  /// Waits until nobody else appends. What follows is to be done while the lock is there.
  JournalLock lock() const { return JournalLock(path_, descriptor_); }
  /// Gives every line, without its end, that has been added since the last time, whoever has. What is behind
  /// the last end of a line is of somebody who was killed, and is cut off. Throws Error for a line that
  /// `take` refuses.
  void read_news(const std::function<bool(std::string_view line)>& take);
  /// Appends whole lines, which are on the disk when it returns, and are read next.
  void write(std::string_view lines);

 private:
  [[noreturn]] void fail(const char* what, int code) const;
  [[noreturn]] void fail_line() const;

  std::string path_;
  int descriptor_ = -1;
  Index line_ = 1;          // that is read next
  std::size_t offset_ = 0;  // where it begins
};

}  // namespace taper::io
