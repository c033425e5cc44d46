#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "../sanitized.hpp"

/// What it takes to run the programs as a user would.
namespace programs {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// A folder of our own that goes away with us.
struct Folder {
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* file) const { return (path / file).string(); }
  static inline int count = 0;
  fs::path path = fs::temp_directory_path() /
                  ("taper_programs_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
};

inline std::string text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

struct Run {
  int status;
  std::string out, err;
};

/// Runs a program; without `data`, as if TAPER_DATA were not set, and with other changes to its environment.
/// `before` is what the shell does first; it reads the arguments, too.
inline Run run(const std::string& program, const std::string& arguments, bool data = false,
               const std::string& environment = "", const std::string& before = "") {
  const Folder folder;
  const std::string out = folder / "out", err = folder / "err";
  const std::string command = before + " env " + (data ? "" : "-u TAPER_DATA ") + environment +
                              " '" TAPER_APPS_DIR "/" + program + "' >'" + out + "' 2>'" + err + "' " +
                              arguments;
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text(out), text(err)};
}

/// The figures of a run, without those that are times.
inline Json figures(const std::string& program, const std::string& arguments, bool data = false) {
  const std::string path =
      (fs::temp_directory_path() / ("taper_figures_" + std::to_string(::getpid()) + ".json")).string();
  const Run result = run(program, "--quiet --json '" + path + "' " + arguments, data);
  INFO(program, " ", arguments, ": ", result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.empty());
  CHECK(result.err.empty());
  const Json report = Json::parse(text(path));
  fs::remove(path);
  return report;
}

inline Json without_seconds(Json report) {
  report.erase("seconds");
  for (auto& part : report) {
    if (part.is_object()) part.erase("seconds");
  }
  return report;
}

inline bool gnuplot_is_here() {
  return std::system("command -v gnuplot >/dev/null 2>&1") == 0;
}

inline bool has(const Json& report, std::initializer_list<const char*> keys) {
  return std::ranges::all_of(keys, [&](const char* key) {
    if (!report.contains(key)) MESSAGE("missing: ", key);
    return report.contains(key);
  });
}

}  // namespace programs
