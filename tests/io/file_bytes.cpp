#include <taper/io/file_bytes.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <taper/data/file.hpp>
#include <taper/io/archive.hpp>

#include "../check.hpp"
#include "../data/files.hpp"

using namespace taper;
using io::FileBytes;
namespace fs = std::filesystem;

namespace {

/// Writes behind the end of a file, where it is.
void append(const fs::path& path, const char* text) {
  std::ofstream(path, std::ios::app) << text;
}

const std::string small = std::string("\x37\0\0\0\0\0\0\0", 8) +
                          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )" +
                          std::string("\0\0\x80\x3f", 4);

}  // namespace

TEST_CASE("FileBytes: what a file has, none, and no file") {
  CHECK(FileBytes(TempFile("some bytes").path(), "test").view() == "some bytes");
  CHECK(FileBytes(TempFile("").path(), "test").view().empty());
  CHECK(FileBytes(std::string("in memory")).view() == "in memory");
  CHECK_FALSE(FileBytes(std::string("in memory")).changed());
  CHECK_ERROR(FileBytes(TempFile("").path() / "none", "test"), "[test]");
  CHECK_ERROR(FileBytes(fs::temp_directory_path(), "test"), "[test]", "is a directory");
}

TEST_CASE("FileBytes: where a file cannot be mapped, it is read") {
  const fs::path path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (!fs::exists(path)) return;
  CHECK(FileBytes(path, "test").view() == data::read_bytes(path, "test"));
}

TEST_CASE("FileBytes: a file that is replaced stays as it was, one that is written to has changed") {
  const TempFile file("before"), other("after it");
  const FileBytes bytes(file.path(), "test");
  CHECK_FALSE(bytes.changed());
  fs::rename(other.path(), file.path());
  CHECK_FALSE(bytes.changed());
  CHECK(bytes.view() == "before");

  const FileBytes longer(file.path(), "test"), shorter(file.path(), "test");
  append(file.path(), "more");
  CHECK(longer.changed());
  fs::resize_file(file.path(), 2);
  CHECK(shorter.changed());
}

TEST_CASE("Archive: a file that is cut off or written to after it was opened is an error, not a crash") {
  for (const bool cut : {true, false}) {
    const TempFile file(small);
    const io::Archive archive(file.path());
    CHECK(archive.read<float>("a")[0] == 1);
    if (cut) {
      fs::resize_file(file.path(), 0);
    } else {
      usleep(20'000);  // times of files are some milliseconds apart
      std::ofstream(file.path()) << small;
    }
    CHECK_ERROR(archive.read<float>("a"), "[load] ", "written to since it was opened");
    CHECK_ERROR(archive.require("a", "F64", {1}), "of dtype \"F32\"");  // the header is known already
  }
}

TEST_CASE("FileBytes: who wants to write waits while bytes are in use") {
  const TempFile file(small);
  const FileBytes bytes(file.path(), "test");
  int done[2];
  REQUIRE(pipe2(done, O_NONBLOCK) == 0);
  pid_t child = 0;
  char byte = 0;
  {
    const FileBytes::Hold hold(bytes);
    child = fork();
    if (child == 0) {
      _exit(truncate(file.path().c_str(), 0) == 0 && write(done[1], "x", 1) == 1 ? 0 : 1);
    }
    usleep(100'000);
    if (read(done[0], &byte, 1) == 1) {
      MESSAGE("this system does not keep others from writing");
    } else {
      CHECK_FALSE(bytes.changed());
      CHECK(bytes.view() == small);
    }
  }
  int status = 1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(bytes.changed());
  close(done[0]), close(done[1]);
}
