#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

/// What all programs share: their common options, one way to fail, and the report.
namespace taper::apps {

using Json = nlohmann::ordered_json;

struct CommonOptions {
  std::string data;
  std::string json;
  std::uint64_t seed = 0;
  int threads = 1;
  bool quiet = false;

  void add_to(CLI::App& app);
  /// Where the data are: --data, else the folder that TAPER_DATA names, else nowhere, and the embedded set is
  /// used.
  std::optional<std::filesystem::path> folder() const;
};

/// Parses the command line, runs the program, and turns every way to fail into one sentence and exit
/// status 2.
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& program);

/// Writes the report as JSON where --json says.
void save(const Json& report, const CommonOptions& options);

/// The same, and as a table of the same figures on standard output unless quiet.
void publish(const Json& report, const CommonOptions& options);

}  // namespace taper::apps
