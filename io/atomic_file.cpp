#include <taper/io/atomic_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include <taper/autodiff/error.hpp>

namespace taper::io {

namespace fs = std::filesystem;

AtomicFile::AtomicFile(const fs::path& path, const char* where) : where_(where), path_(path), target_(path) {
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  const fs::file_type type = status.type();
  if (type == fs::file_type::directory) {
    throw Error(where, path.string(), " is a directory: expected the name of a file");
  }
  if (type == fs::file_type::none) fail(problem.value());
  // Renaming would put a file in place of a device.
  if (type != fs::file_type::regular && type != fs::file_type::not_found) {
    throw Error(where, path.string(), " is a device, pipe or socket: expected the name of a file");
  }
  if (fs::is_symlink(path, problem)) target_ = fs::weakly_canonical(path, problem);
  if (problem && type == fs::file_type::regular) fail(problem.value());

  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = target_;
    temporary_ += ".tmp" + std::to_string(getpid()) + "-" + std::to_string(attempt);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) fail(errno);
  }
  // Who could not read the old file shall not read the new one. Where that cannot be told, it is left.
  if (type == fs::file_type::regular) fs::permissions(temporary_, status.permissions(), problem);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::fail(int code) const {
  throw Error(where_, path_.string(), " cannot be written: ", std::generic_category().message(code));
}

void AtomicFile::write(const void* bytes, std::size_t size) {
  const char* rest = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, rest, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    rest += written;
    size -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  // Renamed before it is on the disk, the file could be empty after a power failure, and the old one gone.
  if (fsync(descriptor_) != 0) fail(errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (close(descriptor) != 0) fail(errno);
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

}  // namespace taper::io
