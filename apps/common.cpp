#include "common.hpp"

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <system_error>
#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/version.hpp>

#include "output.hpp"
#include "plot.hpp"

namespace taper::apps {
namespace {

/// JSON, with line breaks and indentation from 0 on. Texts become valid UTF-8.
std::string text_of(const Json& value, int indentation) {
  return value.dump(indentation, ' ', false, Json::error_handler_t::replace);
}

/// One line of the table for a figure; long lists go to the JSON only.
void print(const std::string& name, const Json& value) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) print(name.empty() ? key : name + '.' + key, inner);
  } else if (value.is_array() && value.size() > 12) {
    fmt::print("{:<28} ({} numbers)\n", name, value.size());
  } else if (value.is_number_float()) {
    fmt::print("{:<28} {:.7g}\n", name, value.get<double>());
  } else if (value.is_string()) {
    fmt::print("{:<28} {}\n", name, data::valid_utf8(value.get<std::string>()));
  } else {
    fmt::print("{:<28} {}\n", name, text_of(value, -1));
  }
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// Whether all of the text is one number, put in `value`.
template <class Number> bool parse(const std::string& text, Number& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

auto whole(Index low, Index high) {
  return [=](const std::string& text) {
    Index value = 0;
    const bool octal = text.size() > 1 && text[0] == '0';  // as others would read it
    if (!octal && parse(text, value) && value >= low && value <= high) return std::string();
    return fmt::format("'{}': expected a whole number from {} to {}{}", text, low, high,
                       octal ? ", without leading zeros" : "");
  };
}

}  // namespace

Command::Command(const std::string& name, const std::string& description)
    : app_(std::make_unique<CLI::App>(description, name)) {
  app_->set_version_flag("--version", fmt::format("{} (Taper) {}", name, version),
                         "Print the version and exit");
}
Command::~Command() = default;

void Command::option(const char* name, double& value, const char* help) {
  app_->add_option(name, value, help)->capture_default_str()->check([](const std::string& text) {
    double number = 0;
    if (parse(text, number) && std::isfinite(number) && number >= 0) return std::string();
    return fmt::format("'{}': expected a finite number, 0 or more", text);
  });
}

void Command::option(const char* name, Index& value, const char* help, Index low, Index high) {
  app_->add_option(name, value, help)->capture_default_str()->check(whole(low, high));
}
void Command::option(const char* name, std::uint64_t& value, const char* help, Index low, Index high) {
  app_->add_option(name, value, help)->capture_default_str()->check(whole(low, high));
}
void Command::option(const char* name, int& value, const char* help, Index low, Index high) {
  app_->add_option(name, value, help)->capture_default_str()->check(whole(low, high));
}

void Command::option(const char* name, std::string& value, const char* help,
                     const std::function<const char*(const std::string&)>& wrong) {
  auto* const option = app_->add_option(name, value, help);
  if (!wrong) return;
  option->check([wrong](const std::string& text) {
    const char* const expected = wrong(text);
    return expected == nullptr ? std::string() : fmt::format("'{}': expected {}", text, expected);
  });
}

void Command::option(const char* name, std::string& value, const char* help, std::vector<std::string> words) {
  words_[name] = words;
  app_->add_option(name, value, help)->capture_default_str()->check([words](const std::string& text) {
    if (std::ranges::find(words, text) != words.end()) return std::string();
    std::string list;
    for (const std::string& word : words) list += (list.empty() ? "" : " or ") + word;
    return fmt::format("'{}': expected {}", text, list);
  });
}

void Command::option(const char* name, std::vector<std::string>& value, const char* help) {
  app_->add_option(name, value, help)->delimiter(',');
}

void Command::list(const char* name, std::vector<std::string>& value, const char* help) {
  app_->add_option(name, value, help)->allow_extra_args(false);
}

void Command::flag(const char* name, bool& value, const char* help) {
  app_->add_flag(name, value, help);
}

void Command::positional(const char* name, std::string& value, const char* help) {
  app_->add_option(name, value, help)->required();
}

void Command::footer(const std::string& text) {
  app_->footer(text);
}

std::vector<Command::Option> Command::options() const {
  std::vector<Option> result;
  for (const CLI::Option* const option : app_->get_options()) {
    if (option->nonpositional() && !option->get_lnames().empty()) {
      const std::string name = "--" + option->get_lnames().front();
      const auto words = words_.find(name);
      result.push_back({name, option->get_description(), option->get_items_expected_max() > 0,
                        words == words_.end() ? std::vector<std::string>() : words->second});
    }
  }
  return result;
}

void Command::needs(const char* name, const char* other) {
  app_->get_option(name)->needs(app_->get_option(other));
}

bool Command::given(const char* name) const {
  return app_->get_option(name)->count() > 0;
}

void Command::refuse(std::initializer_list<const char*> names, const std::string& choice,
                     const std::string& expected) const {
  for (const char* const name : names) {
    if (given(name)) throw Error(app_->get_name(), name, " with ", choice, ": expected ", expected);
  }
}

int Command::run(int argc, char** argv, const std::function<void()>& program) {
  hold_standard_streams();
  const auto fail = [&](const std::string& text) {
    // An Error of the program itself begins with its name, too. What cannot be said on standard error cannot
    // be said.
    const std::string name = app_->get_name(), own = '[' + name + "] ";
    const std::string line =
        name + ": " + data::valid_utf8(first_line(text.substr(text.starts_with(own) ? own.size() : 0))) +
        '\n';
    std::fputs(line.c_str(), stderr);
    return 2;
  };
  try {
    try {
      app_->parse(argc, argv);
      program();
    } catch (const CLI::Success& answer) {  // --help, --version
      app_->exit(answer);
    } catch (const CLI::ArgumentMismatch& error) {  // "--name: At Most 1 required but received 2"
      const std::string text = error.what();
      const std::size_t at = text.find(": At Most 1 required but received ");
      if (at == text.npos) throw;
      return fail(text.substr(0, at) + " is given " + text.substr(text.rfind(' ') + 1) +
                  " times: expected once");
    }
    flush_standard_output();
    return 0;
  } catch (const std::bad_alloc&) {
    return fail("out of memory");
  } catch (const std::system_error& error) {  // of printing, among others
    if (std::ferror(stdout) == 0) return fail(error.what());
    return fail("[output] standard output cannot be written: " + error.code().message());
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}

void CommonOptions::add_to(Command& command) {
  command.option("--data", data,
                 "Folder with the data set (default: $TAPER_DATA, else an embedded synthetic set)",
                 [](const std::string& path) {
                   std::error_code ignored;
                   return std::filesystem::is_directory(path, ignored) ? nullptr : "a folder";
                 });
  add_run_options(command);
}

void CommonOptions::add_run_options(Command& command) {
  command.option("--seed", seed, "Seed of everything that is random", 0, std::numeric_limits<Index>::max());
  add_fixed_run_options(command);
}

void CommonOptions::add_fixed_run_options(Command& command) {
  command.option("--threads", threads, "Threads at most; the results do not depend on it", 1, 1024);
  add_output_options(command);
}

void CommonOptions::add_output_options(Command& command) {
  command.flag("--quiet", quiet, "No progress, notes and report: errors alone, and data that are asked for");
  command.option("--json", json,
                 "File to write the report's figures to; - is standard output, without a table",
                 expected_file_or_output);
}

std::optional<std::filesystem::path> CommonOptions::folder() const {
  if (!data.empty()) return data;
  const char* const setting = std::getenv("TAPER_DATA");
  if (setting != nullptr && *setting != '\0') return setting;
  return std::nullopt;
}

std::filesystem::path CommonOptions::find(const std::string& file) const {
  const auto where = folder();
  return where && !std::filesystem::exists(file) ? *where / file : std::filesystem::path(file);
}

void CommonOptions::reads(const std::filesystem::path& path) const {
  std::error_code ignored;
  if (!json.empty() && std::filesystem::equivalent(json, path, ignored)) {
    throw Error("json", "'", json, "' is a file that is read: expected another");
  }
  note_file(path);
}

void add_plot_option(Command& command, std::string& folder) {
  command.option("--plot", folder, "Folder to write figures to: gnuplot scripts, SVG and PNG",
                 [](const std::string& path) {
                   return can_hold_figures(path) ? nullptr : "a folder that can be written";
                 });
}

void add_checkpoint_options(Command& command, std::string& path, double& every, const char* help,
                            const std::string& ending) {
  command.option("--checkpoint", path, help, [ending](const std::string& text) {
    return !text.empty() && can_be_written(text + ending) ? nullptr : "a path that can be written to";
  });
  command.option("--checkpoint-every", every, "Seconds from one checkpoint to the next");
  command.needs("--checkpoint-every", "--checkpoint");
}

Json penalty(nn::Module<float>& model, double alpha) {
  const sparsity::Penalty penalty = sparsity::effective_penalty(model, alpha);
  return {{"decay", penalty.decay}, {"induced", penalty.induced}};
}

Json report_on(const sparsity::NetworkCertificate& certificate) {
  Json layers = Json::array();
  for (const sparsity::LayerCertificate& layer : certificate.layers) {
    layers.push_back({{"name", layer.name},
                      {"depth", layer.depth},
                      {"zero", layer.zero},
                      {"violated_zero", layer.violated_zero},
                      {"worst_zero", layer.worst_zero},
                      {"nonzero", layer.nonzero},
                      {"violated_nonzero", layer.violated_nonzero},
                      {"worst_nonzero", layer.worst_nonzero},
                      {"frozen", layer.frozen}});
  }
  return {{"alpha", certificate.alpha},
          {"tolerance", certificate.tolerance},
          {"loss", certificate.loss},
          {"penalty", certificate.penalty},
          {"objective", certificate.objective()},
          {"certifiable", certificate.certifiable()},
          {"violated", certificate.violated()},
          {"worst", certificate.worst()},
          {"rest", certificate.rest},
          {"layers", layers}};
}

void save(const Json& report, const CommonOptions& options) {
  if (options.json.empty()) return;
  const std::string text = text_of(report, 2) + '\n';
  if (options.json == "-") {
    fmt::print("{}", text);
  } else {
    write_file(options.json, text, "json");
  }
}

void publish(const Json& report, const CommonOptions& options) {
  save(report, options);
  if (options.prints()) print("", report);
}

}  // namespace taper::apps
