#include <taper/io/file_bytes.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>

namespace taper::io {

FileBytes::FileBytes(const std::string& path, const char* where) {
  data::require_regular(path, where);
  const int descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error(where, path, " cannot be opened: ", std::generic_category().message(errno));
  }
  struct stat status {};
  const auto size = fstat(descriptor, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
  void* const place = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
  if (place != MAP_FAILED) {
    descriptor_ = descriptor;
    written_ = status.st_mtim;
    bytes_ = {static_cast<const char*>(place), size};
    return;
  }
  close(descriptor);
  copy_ = data::read_bytes(path, where);
  bytes_ = copy_;
}

FileBytes::FileBytes(std::string bytes) : copy_(std::move(bytes)), bytes_(copy_) {}

FileBytes::~FileBytes() {
  if (descriptor_ < 0) return;
  munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  close(descriptor_);
}

bool FileBytes::changed() const {
  if (descriptor_ < 0) return false;
  struct stat now {};
  return fstat(descriptor_, &now) != 0 || static_cast<std::size_t>(now.st_size) != bytes_.size() ||
         now.st_mtim.tv_sec != written_.tv_sec || now.st_mtim.tv_nsec != written_.tv_nsec;
}

// The system tells the holder that somebody waits by a signal, SIGIO, which would end a program that does not
// expect it; SIGURG does nothing.
FileBytes::Hold::Hold([[maybe_unused]] const FileBytes& file) {
#ifdef F_SETLEASE
  if (file.descriptor_ >= 0 && fcntl(file.descriptor_, F_SETSIG, SIGURG) == 0 &&
      fcntl(file.descriptor_, F_SETLEASE, F_RDLCK) == 0) {
    descriptor_ = file.descriptor_;
  }
#endif
}

FileBytes::Hold::~Hold() {
#ifdef F_SETLEASE
  if (descriptor_ >= 0) fcntl(descriptor_, F_SETLEASE, F_UNLCK);
#endif
}

}  // namespace taper::io
