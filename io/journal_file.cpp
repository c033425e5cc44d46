#include <taper/io/journal_file.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <taper/autodiff/error.hpp>

namespace taper::io {

JournalFile::JournalFile(std::string path) : path_(std::move(path)) {
  // A pipe or a device would keep us waiting, or take lines and give none.
  struct stat found {};
  if (stat(path_.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
    throw Error("journal", path_, " is not a regular file: expected the name of one");
  }
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("cannot be opened", errno);
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    close(descriptor_);
    descriptor_ = -1;
    if (code != EWOULDBLOCK) fail("cannot be locked", code);
    throw Error("journal", path_, " is written by another program: expected one of this library at a time");
  }
}

JournalFile::~JournalFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void JournalFile::read_news(const std::function<bool(std::string_view)>& take) {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count =
        pread(descriptor_, buffer, sizeof buffer, static_cast<off_t>(offset_ + text.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot be read", errno);
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  const std::string_view all = text;
  for (std::size_t begin = 0; begin < all.size(); ++line_) {
    const std::size_t end = all.find('\n', begin);
    if (end == all.npos) {  // a line that was not finished
      // All of a file that is not ours may be such a line.
      const std::string_view opening = "{\"op_code\"", rest = all.substr(begin);
      if (line_ == 1 && rest.substr(0, opening.size()) != opening.substr(0, rest.size())) fail_line();
      if (ftruncate(descriptor_, static_cast<off_t>(offset_)) != 0) fail("cannot be written", errno);
      break;
    }
    if (!take(all.substr(begin, end - begin))) fail_line();
    offset_ += end + 1 - begin;
    begin = end + 1;
  }
}

void JournalFile::write(std::string_view lines) {
  // In one call: with O_APPEND, it stands behind whatever others have written.
  while (!lines.empty()) {
    const ssize_t count = ::write(descriptor_, lines.data(), lines.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot be written", errno);
    lines.remove_prefix(static_cast<std::size_t>(count));
  }
  if (fsync(descriptor_) != 0) fail("cannot be written", errno);
}

void JournalFile::fail(const char* what, int code) const {
  throw Error("journal", path_, ' ', what, ": ", std::generic_category().message(code));
}

void JournalFile::fail_line() const {
  throw Error("journal", path_, ", line ", line_,
              " is not an event of a study: expected a line as Optuna's journal has them");
}

}  // namespace taper::io
