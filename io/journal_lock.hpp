#pragma once

#include <sys/types.h>

#include <string>

namespace taper::io {

/// The lock of Optuna's journals (JournalFileSymlinkLock and JournalFileOpenLock, versions 3 to 5), so that
/// its workers, its dashboard and a Journal append to one file side by side: whoever appends has made the
/// file `path + ".lock"`, and the others wait. A lock that one owner has had for `grace` seconds (Optuna's
/// 30) is taken for one whose owner is gone: it is renamed and deleted, as Optuna does.
///
/// Ours is a hard link of the journal, which is made in one step, over NFS, too, and is told from Optuna's
/// (a symbolic link or an empty file): one that a killed program has left is deleted at once, as a Journal is
/// alone among those of this library. Where links cannot be made, it is an empty file.
class JournalLock {
 public:
  static constexpr double optuna_grace = 30;

  /// Waits for the lock of an open journal. Throws Error when it cannot be made, and when another file stands
  /// in the place of the journal.
  JournalLock(const std::string& path, int descriptor, double grace = optuna_grace);
  /// Gives it back, unless somebody has taken it away.
  ~JournalLock();
  JournalLock(const JournalLock&) = delete;
  JournalLock& operator=(const JournalLock&) = delete;

 private:
  void make(const std::string& path);

  std::string lock_;
  bool is_held_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;  // of what was made
};

}  // namespace taper::io
