#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <taper/nn/module.hpp>

/// What all programs share: their common options, one way to fail, and the report.
namespace taper::apps {

using Json = nlohmann::ordered_json;

/// Whole numbers in decimal digits from `low` to `high`. CLI11 alone would read 010 as 8 and wrap -1 round.
CLI::Validator whole(std::uint64_t low, std::uint64_t high);
/// Finite decimal numbers of 0 or more.
CLI::Validator nonnegative();

/// Passes over the data, and rows in a batch.
inline const CLI::Validator epochs_range = whole(0, 1'000'000'000), batch_range = whole(1, 1'000'000'000);

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

/// The option --plot DIR, for programs that draw figures (see plot.hpp).
void add_plot_option(CLI::App& app, std::string& folder);

/// What weight decay `alpha` on the factors of a model amounts to now, for the report.
Json penalty(nn::Module<float>& model, double alpha);

/// Parses the command line, runs the program, and turns every way to fail into one sentence and exit
/// status 2.
int run(CLI::App& app, int argc, char** argv, const std::function<void()>& program);

/// Writes the report as JSON where --json says.
void save(const Json& report, const CommonOptions& options);

/// The same, and as a table of the same figures on standard output unless quiet.
void publish(const Json& report, const CommonOptions& options);

}  // namespace taper::apps
