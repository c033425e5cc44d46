#include "common.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <taper/autodiff/error.hpp>

namespace taper::apps {
namespace {

/// One line of the table for a figure; long lists go to the JSON only.
void print(const std::string& name, const Json& value) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) print(name.empty() ? key : name + '.' + key, inner);
  } else if (value.is_array() && value.size() > 12) {
    fmt::print("{:<28} ({} numbers)\n", name, value.size());
  } else if (value.is_number_float()) {
    fmt::print("{:<28} {:.7g}\n", name, value.get<double>());
  } else {
    fmt::print("{:<28} {}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

/// Asked before the work is done, without making the file.
bool can_be_written(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return false;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  return ::access((std::filesystem::exists(path) ? path : folder).c_str(), W_OK) == 0;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

void CommonOptions::add_to(CLI::App& app) {
  app.add_option("--data", data,
                 "Folder with the data set (default: $TAPER_DATA, else an embedded synthetic set)");
  app.add_option("--seed", seed, "Seed of everything that is random")->capture_default_str();
  app.add_option("--threads", threads, "Threads at most; the results do not depend on it")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_flag("--quiet", quiet, "Print nothing but errors");
  app.add_option("--json", json, "File to write the report's figures to")->check([](const std::string& path) {
    return can_be_written(path) ? "" : "'" + path + "': expected a file that can be written";
  });
}

std::optional<std::filesystem::path> CommonOptions::folder() const {
  if (!data.empty()) return data;
  const char* const setting = std::getenv("TAPER_DATA");
  if (setting != nullptr && *setting != '\0') return setting;
  return std::nullopt;
}

int run(CLI::App& app, int argc, char** argv, const std::function<void()>& program) {
  const auto fail = [&](const std::string& sentence) {
    fmt::print(stderr, "{}: {}\n", app.get_name(), sentence);
    return 2;
  };
  try {
    app.parse(argc, argv);
    program();
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return fail(first_line(error.what()));
  } catch (const std::exception& error) {
    return fail(first_line(error.what()));
  }
}

void save(const Json& report, const CommonOptions& options) {
  if (options.json.empty()) return;
  std::ofstream file(options.json);
  file << report.dump(2) << '\n';
  if (!file.flush()) throw Error("json", "'", options.json, "': expected a file that can be written");
}

void publish(const Json& report, const CommonOptions& options) {
  save(report, options);
  if (!options.quiet) print("", report);
}

}  // namespace taper::apps
