#include <taper/data/file.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <string>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "../sanitized.hpp"
#include "files.hpp"

using taper::Rng;
using taper::data::read_bytes;
using taper::data::read_file;

namespace {

/// Compresses neither too well nor too badly.
std::string some_text(std::size_t size) {
  Rng rng(1);
  std::string text;
  while (text.size() < size) text += std::to_string(rng.below(1000)) + ",";
  return text;
}

}  // namespace

TEST_CASE("read_file: plain and empty files") {
  CHECK(read_file(TempFile("").path(), "test").empty());
  const std::string bytes("a\0b\r\n\xff", 6);
  CHECK(read_file(TempFile(bytes).path(), "test") == bytes);
}

TEST_CASE("read_bytes: gzip is left as it is") {
  const std::string packed = gzip("text");
  CHECK(read_bytes(TempFile(packed).path(), "test") == packed);
  CHECK_ERROR(read_bytes("/nowhere", "test"), "[test]", "no such file");
}

TEST_CASE("read_file: gzip, its concatenated members and zero padding") {
  const std::string text = some_text(300'000);
  CHECK(read_file(TempFile(gzip(text)).path(), "test") == text);
  CHECK(read_file(TempFile(gzip("")).path(), "test").empty());
  CHECK(read_file(TempFile(gzip(text) + gzip("") + gzip("end")).path(), "test") == text + "end");
  CHECK(read_file(TempFile(gzip("a") + std::string(512, '\0')).path(), "test") == "a");
  CHECK_ERROR(read_file(TempFile(gzip("a") + "tail").path(), "test"), "[test]",
              "4 bytes after the gzip data");
}

TEST_CASE("read_file: every truncation of a gzip file is noticed") {
  const std::string packed = gzip(some_text(500));
  for (std::size_t size = 2; size < packed.size(); ++size) {
    CHECK_ERROR(read_file(TempFile(packed.substr(0, size)).path(), "test"), "gzip data is cut short");
  }
  const std::string two = packed + packed;
  for (std::size_t size = packed.size() + 2; size < two.size(); ++size) {
    CHECK_ERROR(read_file(TempFile(two.substr(0, size)).path(), "test"), "gzip data is cut short");
  }
}

TEST_CASE("read_file: damaged gzip data is an error or, in a spare header field, harmless") {
  const std::string text = some_text(500);
  const std::string packed = gzip(text);
  int errors = 0;
  for (std::size_t at = 2; at < packed.size(); ++at) {
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const TempFile file(damaged);
    try {
      const std::string bytes = read_file(file.path(), "test");
      CHECK(bytes == text);
    } catch (const taper::Error&) {
      ++errors;
    }
  }
  CHECK(errors > static_cast<int>(packed.size()) - 10);
  CHECK_ERROR(read_file(TempFile("\x1f\x8b is not gzip").path(), "test"), "gzip data is damaged");
}

TEST_CASE("read_file: a gzip file that would fill the memory") {
  const std::string member = gzip(std::string(std::size_t{8} << 20, '0'));  // some 8 KB
  std::string bomb;
  for (int i = 0; i < 33; ++i) bomb += member;
  CHECK_ERROR(read_file(TempFile(bomb).path(), "test"), "[test]", "unpacks to more than 268435456 bytes",
              "expected at most 100 times its own");
  bomb.resize(32 * member.size());
  CHECK(read_file(TempFile(bomb).path(), "test").size() == 268435456);
  // Padding counts: a file of 3 MB may unpack to 300 MB.
  CHECK(read_file(TempFile(bomb + member + std::string(3'000'000, '\0')).path(), "test").size() ==
        33 * (std::size_t{8} << 20));
}

TEST_CASE("read_bytes: a file larger than the memory") {
  if (sanitized) return;
  const TempFile sparse("");
  std::error_code problem;
  std::filesystem::resize_file(sparse.path(), std::uintmax_t{1} << 43, problem);
  if (problem) {
    MESSAGE("skipped: the file system has no files so large");
  } else {
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
    const rlimit small{rlim_t{1} << 42, limit.rlim_max};  // 4 TiB
    if (setrlimit(RLIMIT_AS, &small) == 0) {
      const std::string text = error_text([&] { read_bytes(sparse.path(), "test"); });
      setrlimit(RLIMIT_AS, &limit);
      CHECK(text ==
            "[test] " + sparse.path().string() + " does not fit in memory: expected as much to be free");
    }
  }
}

TEST_CASE("read_file: what is not a readable file") {
  const auto folder = std::filesystem::temp_directory_path();
  CHECK_ERROR(read_file(folder / "taper-no-such-file", "test"), "[test]", "taper-no-such-file",
              "no such file");
  CHECK_ERROR(read_file("", "test"), "no such file");
  CHECK_ERROR(read_file(folder, "test"), "is a directory: expected a file");
  CHECK_ERROR(read_file("/dev/zero", "test"), "/dev/zero", "expected a regular file");
  CHECK_ERROR(read_file(std::string(5000, 'x'), "test"), "name too long");

  const TempFile pipe("");
  std::filesystem::remove(pipe.path());
  REQUIRE(mkfifo(pipe.path().c_str(), 0600) == 0);
  CHECK_ERROR(read_file(pipe.path(), "test"), "expected a regular file");

  const TempFile locked("1");
  std::filesystem::permissions(locked.path(), std::filesystem::perms::none);
  if (geteuid() == 0) {
    MESSAGE("skipped: the superuser may read every file");
  } else {
    CHECK_ERROR(read_file(locked.path(), "test"), "cannot be opened", "ermission denied");
  }
}
