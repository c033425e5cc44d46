#include <taper/io/atomic_file.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include <taper/autodiff/error.hpp>

namespace taper::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* marker = ".saving-";

/// Behind all links, also where nothing is there. `path` is known not to lead in a circle.
fs::path follow(fs::path path) {
  std::error_code problem;
  for (int links = 0; links < 40 && fs::is_symlink(path, problem); ++links) {
    path = path.parent_path() / fs::read_symlink(path, problem);
  }
  return path;
}

/// Through which a file without a name is given one.
std::string place_of(int descriptor) {
  return "/proc/self/fd/" + std::to_string(descriptor);
}

}  // namespace

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
  target_ = follow(path);
  if (!target_.has_filename()) fail(ENOENT);
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : ".";
  remove_stale(folder);
  if (!open_unnamed(folder)) open_named();
  // Who could not read the old file shall not read the new one. Where that cannot be told, it is left.
  if (type == fs::file_type::regular) fchmod(descriptor_, static_cast<mode_t>(status.permissions()));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::fail(int code) const {
  throw Error(where_, path_.string(), " cannot be written: ", std::generic_category().message(code));
}

// One that this process has not used before, so that clearing up cannot meet a new file under an old name.
fs::path AtomicFile::temporary_name() const {
  static std::atomic<unsigned> count{0};
  fs::path name = target_;
  return name += marker + std::to_string(getpid()) + '-' + std::to_string(count++);
}

// A file is locked as long as it is written, by whichever process: that tells it from one that is left over.
bool AtomicFile::open_unnamed([[maybe_unused]] const fs::path& folder) {
#ifdef O_TMPFILE
  descriptor_ = open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (descriptor_ >= 0 && access(place_of(descriptor_).c_str(), F_OK) == 0) {
    flock(descriptor_, LOCK_EX);
    return true;
  }
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
#endif
  return false;
}

void AtomicFile::open_named() {
  while (descriptor_ < 0) {
    const fs::path name = temporary_name();
    descriptor_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) fail(errno);
    if (descriptor_ < 0) continue;
    // Somebody who clears up may have been faster than the lock.
    struct stat found {};
    if (flock(descriptor_, LOCK_EX) == 0 && fstat(descriptor_, &found) == 0 && found.st_nlink == 0) {
      close(descriptor_);
      descriptor_ = -1;
    } else {
      temporary_ = name;
    }
  }
}

void AtomicFile::give_name() {
  while (temporary_.empty()) {
    const fs::path name = temporary_name();
    if (linkat(AT_FDCWD, place_of(descriptor_).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = name;
    } else if (errno != EEXIST) {
      fail(errno);
    }
  }
}

void AtomicFile::remove_stale(const fs::path& folder) const {
  const std::string prefix = target_.filename().string() + marker;
  std::error_code problem;
  for (fs::directory_iterator at(folder, problem), end; !problem && at != end; at.increment(problem)) {
    const std::string name = at->path().filename().string();
    const bool ours =
        name.starts_with(prefix) && name.find_first_not_of("0123456789-", prefix.size()) == name.npos;
    const int found = ours ? open(at->path().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (found < 0) continue;
    if (flock(found, LOCK_EX | LOCK_NB) == 0) unlink(at->path().c_str());
    close(found);
  }
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
  if (temporary_.empty()) give_name();
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
  temporary_.clear();
  const int descriptor = descriptor_;  // locked until here
  descriptor_ = -1;
  if (close(descriptor) != 0) fail(errno);
}

}  // namespace taper::io
