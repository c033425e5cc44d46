#include <taper/io/journal_lock.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <taper/autodiff/error.hpp>

using namespace taper;
namespace fs = std::filesystem;

namespace {

/// A journal in a folder of its own.
struct LockedFile {
  LockedFile() {
    fs::create_directories(folder);
    descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND, 0666);
    REQUIRE(descriptor >= 0);
  }
  ~LockedFile() {
    close(descriptor);
    fs::remove_all(folder);
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
  static inline int count = 0;
  fs::path folder = fs::temp_directory_path() /
                    ("taper_lock_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
  std::string path = (folder / "study.log").string(), lock = path + ".lock";
  int descriptor;
};

/// As JournalFileOpenLock does.
bool make_optunas(const std::string& lock) {
  const int made = open(lock.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0666);
  if (made >= 0) close(made);
  return made >= 0;
}

}  // namespace

TEST_CASE("journal lock: it stands beside the journal while it is held, and others cannot make it") {
  const LockedFile file;
  {
    const io::JournalLock lock(file.path, file.descriptor);
    CHECK(fs::exists(file.lock));
    CHECK_FALSE(make_optunas(file.lock));
    CHECK(symlink(file.path.c_str(), file.lock.c_str()) != 0);
  }
  CHECK(file.files() == 1);
  CHECK(make_optunas(file.lock));
}

TEST_CASE("journal lock: what a killed program of ours has left goes at once") {
  const LockedFile file;
  REQUIRE(link(file.path.c_str(), file.lock.c_str()) == 0);
  { const io::JournalLock lock(file.path, file.descriptor, 1e9); }
  CHECK(file.files() == 1);
}

TEST_CASE("journal lock: one of Optuna that nobody gives back goes after the time of grace") {
  for (const int kind : {0, 1, 2}) {
    CAPTURE(kind);
    const LockedFile file;
    if (kind == 0) {
      REQUIRE(make_optunas(file.lock));
    } else {  // a link that leads nowhere is one, too
      REQUIRE(symlink(kind == 1 ? file.path.c_str() : "/nowhere/study.log", file.lock.c_str()) == 0);
    }
    const auto start = std::chrono::steady_clock::now();
    {
      const io::JournalLock lock(file.path, file.descriptor, 0.15);
      struct stat found {};
      REQUIRE(lstat(file.lock.c_str(), &found) == 0);
      CHECK(S_ISREG(found.st_mode));
    }
    CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(150));
    CHECK(file.files() == 1);
  }
}

TEST_CASE("journal lock: it waits for others, and nobody is in between") {
  const LockedFile file;
  constexpr int turns = 200;
  std::atomic<int> inside = 0;
  int theirs = 0, together = 0;
  std::thread other([&] {
    for (; theirs < turns; ++theirs) {
      while (!make_optunas(file.lock)) std::this_thread::yield();
      if (++inside != 1) ++together;
      std::this_thread::yield();
      --inside;
      fs::remove(file.lock);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (int k = 0; k < turns; ++k) {
    const io::JournalLock lock(file.path, file.descriptor);
    CHECK(++inside == 1);
    std::this_thread::yield();
    --inside;
  }
  other.join();
  CHECK(theirs == turns);
  CHECK(together == 0);
  CHECK(file.files() == 1);
}

TEST_CASE("journal lock: one that was taken away is not given back, and another file is no journal") {
  const LockedFile file;
  {
    const io::JournalLock lock(file.path, file.descriptor);
    fs::remove(file.lock);
    REQUIRE(make_optunas(file.lock));
  }
  CHECK(fs::exists(file.lock));
  fs::remove(file.lock);

  fs::rename(file.path, file.path + ".old");
  CHECK_THROWS_WITH_AS(io::JournalLock(file.path, file.descriptor), doctest::Contains("cannot be made"),
                       Error);
  std::ofstream(file.path) << "another";
  CHECK_THROWS_WITH_AS(io::JournalLock(file.path, file.descriptor), doctest::Contains("another file"), Error);
  CHECK_FALSE(fs::exists(file.lock));
}
