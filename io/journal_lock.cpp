#include <taper/io/journal_lock.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <system_error>
#include <thread>

#include <taper/autodiff/error.hpp>

namespace taper::io {
namespace {

using LockClock = std::chrono::steady_clock;

/// Which lock stands there: another one has another.
struct LockIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  long long seconds = 0, nanoseconds = 0;  // since when
  bool operator==(const LockIdentity&) const = default;
};

/// Takes a lock away from its owner: by a rename, so that of several programs one does.
void take_away(const std::string& lock) {
  static std::atomic<unsigned> count{0};
  char host[64] = "host";
  gethostname(host, sizeof host - 1);
  const std::string renamed =
      lock + '-' + host + '-' + std::to_string(getpid()) + '-' + std::to_string(count++) + ".rename";
  if (std::rename(lock.c_str(), renamed.c_str()) == 0) unlink(renamed.c_str());
}

/// Whether a file system may refuse links for itself.
bool has_no_links(int code) {
  return code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EMLINK || code == EXDEV;
}

}  // namespace

JournalLock::JournalLock(const std::string& path, int descriptor, double grace) : lock_(path + ".lock") {
  using namespace std::chrono_literals;
  struct stat journal {};
  if (fstat(descriptor, &journal) != 0) {
    throw Error("journal", path, " cannot be read: ", std::generic_category().message(errno));
  }
  LockIdentity owner;
  auto since = LockClock::now();
  auto pause = 1ms;
  for (;;) {
    make(path);
    struct stat found {};
    if (lstat(lock_.c_str(), &found) != 0) continue;  // given back meanwhile, or taken away
    const bool is_journal = found.st_dev == journal.st_dev && found.st_ino == journal.st_ino;
    if (is_held_) {
      device_ = found.st_dev, inode_ = found.st_ino;
      if (is_journal || found.st_nlink == 1) return;
      unlink(lock_.c_str());
      throw Error("journal", path, " is another file than the one that was opened: expected it to stay");
    }
    const LockIdentity now{found.st_dev, found.st_ino, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
    if (is_journal) {
      take_away(lock_);
    } else if (now != owner) {
      owner = now;
      since = LockClock::now();
    } else if (std::chrono::duration<double>(LockClock::now() - since).count() > grace) {
      take_away(lock_);
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, 50ms);
  }
}

void JournalLock::make(const std::string& path) {
  is_held_ = linkat(AT_FDCWD, path.c_str(), AT_FDCWD, lock_.c_str(), AT_SYMLINK_FOLLOW) == 0;
  int code = is_held_ ? 0 : errno;
  if (has_no_links(code)) {
    const int made = open(lock_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    is_held_ = made >= 0;
    code = is_held_ ? 0 : errno;
    if (is_held_) close(made);
  }
  if (!is_held_ && code != EEXIST) {
    throw Error("journal", lock_,
                ", the lock of the journal, cannot be made: ", std::generic_category().message(code));
  }
}

JournalLock::~JournalLock() {
  struct stat found {};
  if (is_held_ && lstat(lock_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) {
    unlink(lock_.c_str());
  }
}

}  // namespace taper::io
