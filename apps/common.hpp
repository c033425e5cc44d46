#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <taper/nn/module.hpp>
#include <taper/sparsity/certify.hpp>
#include <vector>

namespace CLI {
class App;
}

/// What all programs share: their common options, one way to fail, and the report.
namespace taper::apps {

using Json = nlohmann::ordered_json;

/// The command line of a program. CLI11 reads it, behind an interface that compiles quickly. Names begin with
/// two dashes, and help shows the value that an option has when it is added.
class Command {
 public:
  Command(const std::string& name, const std::string& description);
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// A finite decimal number of 0 or more.
  void option(const char* name, double& value, const char* help);
  /// A whole number in decimal digits from `low` to `high`. CLI11 alone would read 010 as 8 and wrap -1
  /// round.
  void option(const char* name, Index& value, const char* help, Index low, Index high);
  void option(const char* name, std::uint64_t& value, const char* help, Index low, Index high);
  void option(const char* name, int& value, const char* help, Index low, Index high);
  /// A text of which `wrong` says nothing, or what was expected in its place.
  void option(const char* name, std::string& value, const char* help,
              const std::function<const char*(const std::string&)>& wrong = {});
  /// One of some words.
  void option(const char* name, std::string& value, const char* help, std::vector<std::string> words);
  /// Words between commas, or several.
  void option(const char* name, std::vector<std::string>& value, const char* help);
  /// A text that may be given several times, commas and all.
  void list(const char* name, std::vector<std::string>& value, const char* help);
  void flag(const char* name, bool& value, const char* help);
  /// A text without a name, which must be there; those that are added first come first.
  void positional(const char* name, std::string& value, const char* help);
  /// What stands at the end of the help.
  void footer(const std::string& text);
  /// Refuses the one without the other. Both have been added.
  void needs(const char* name, const char* other);

  /// Whether an option was given, of those that have been added.
  bool given(const char* name) const;
  /// Throws Error for the first of some options that was given, although it does nothing with `choice`:
  /// "--folds with --model network: expected ...".
  void refuse(std::initializer_list<const char*> names, const std::string& choice,
              const std::string& expected) const;

  /// Parses the command line, runs the program, and turns every way to fail into one sentence and exit
  /// status 2; that something printed could not be written is one.
  int run(int argc, char** argv, const std::function<void()>& program);

  /// An option or a flag, as a shell may complete it.
  struct Option {
    std::string name, help;
    bool takes_value;
    std::vector<std::string> words;  ///< Its values, if they are some words.
  };
  /// All that have been added, and --help.
  std::vector<Option> options() const;

 private:
  std::unique_ptr<CLI::App> app_;
  std::map<std::string, std::vector<std::string>> words_;  // of options
};

/// Passes over the data, and rows in a batch, at most.
constexpr Index at_most = 1'000'000'000;

struct CommonOptions {
  std::string data;
  std::string json;
  std::uint64_t seed = 0;
  int threads = 1;
  bool quiet = false;

  void add_to(Command& command);
  /// All of them but --data.
  void add_run_options(Command& command);
  /// Those of a program that draws no random numbers: --threads, --quiet and --json.
  void add_fixed_run_options(Command& command);
  /// --quiet and --json alone.
  void add_output_options(Command& command);
  /// Where the data are: --data, else the folder that TAPER_DATA names, else nowhere, and the embedded set is
  /// used.
  std::optional<std::filesystem::path> folder() const;
  /// A file by the name that was given, or of that name in the folder, if it is there and not here.
  std::filesystem::path find(const std::string& file) const;
  /// Whether there is a report to read on standard output: not when quiet, nor when the JSON goes there. What
  /// a program is run for, such as predictions, is no report, and is printed when quiet, too.
  bool prints() const { return !quiet && json != "-"; }
  /// To be told of every file before it is read. Throws Error when --json leads to it.
  void reads(const std::filesystem::path& path) const;
};

/// The option --plot DIR, for programs that draw figures (see plot.hpp).
void add_plot_option(Command& command, std::string& folder);

/// The options --checkpoint PATH and --checkpoint-every SECONDS; the first file is PATH with this ending.
void add_checkpoint_options(Command& command, std::string& path, double& every, const char* help,
                            const std::string& ending);

/// What weight decay `alpha` on the factors of a model amounts to now, for the report.
Json penalty(nn::Module<float>& model, double alpha);

/// A certificate for the report.
Json report_on(const sparsity::NetworkCertificate& certificate);

/// Writes the report as JSON where --json says.
void save(const Json& report, const CommonOptions& options);

/// The same, and as a table of the same figures on standard output, if there is to be one.
void publish(const Json& report, const CommonOptions& options);

}  // namespace taper::apps
