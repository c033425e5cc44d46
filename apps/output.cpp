#include "output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>
#include <taper/io/atomic_file.hpp>
#include <vector>

namespace taper::apps {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path>& noted() {
  static std::vector<fs::path> paths;
  return paths;
}

}  // namespace

void hold_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Opened for reading: writing to it is as much of an error as before.
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) != stream) return;
  }
}

void flush_standard_output() {
  const bool before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !before) return;
  throw Error("output", "standard output cannot be written", before ? "" : ": ",
              before ? "" : std::strerror(errno));
}

bool can_be_written(const fs::path& path) {
  try {
    const io::AtomicFile probe(path, "output");
    return true;
  } catch (const Error&) {
    return false;
  }
}

const char* expected_file(const std::string& path) {
  return can_be_written(path) ? nullptr : "a file that can be written";
}

const char* expected_file_or_output(const std::string& path) {
  return path == "-" || can_be_written(path) ? nullptr : "a file that can be written, or -";
}

void require_one_stream(const char* where, const StreamArgument& a, const StreamArgument& b,
                        const char* stream) {
  if (a.value != "-" || b.value != "-") return;
  throw Error(where, a.name, " - and ", b.name, " -: expected one of them on ", stream);
}

void tell(bool quiet, const std::string& line) {
  if (!quiet) std::fputs((data::valid_utf8(line) + '\n').c_str(), stderr);
}

void note_file(const fs::path& path) {
  noted().push_back(path);
}

void require_unused(const fs::path& path, const char* where) {
  std::error_code ignored;
  const auto same = [&](const fs::path& other) { return fs::equivalent(path, other, ignored); };
  if (std::ranges::none_of(noted(), same)) return;
  throw Error(where, path.string(), " is a file that this program has read or written: expected another");
}

void write_file(const fs::path& path, const std::string& text, const char* where) {
  require_unused(path, where);
  const std::string valid = data::valid_utf8(text);
  io::AtomicFile file(path, where);
  file.write(valid.data(), valid.size());
  file.commit();
  note_file(path);
}

}  // namespace taper::apps
