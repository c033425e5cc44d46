#include <fmt/core.h>

#include <taper/autodiff/error.hpp>

#include "verb.hpp"

namespace taper::apps {
namespace {

struct Completed {
  std::string name, summary;
  std::vector<Command::Option> options;
};

std::vector<Completed> completed_verbs() {
  std::vector<Completed> result;
  for (const auto& verb : make_verbs()) {
    result.push_back({verb->name(), verb->summary(), make_command(*verb)->options()});
  }
  return result;
}

std::string joined_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// In single quotes of a shell.
std::string in_quotes(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string bash(const std::vector<Completed>& verbs) {
  std::string text =
      "# source <(taper completion bash)\n"
      "_taper() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} "
      "words=\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n";
  std::vector<std::string> names;
  for (const Completed& verb : verbs) names.push_back(verb.name);
  text += fmt::format("    COMPREPLY=($(compgen -W '{} --help --version' -- \"$word\"))\n    return\n  fi\n",
                      joined_words(names));
  text += "  case \"$verb $before\" in\n";
  for (const Completed& verb : verbs) {
    for (const Command::Option& option : verb.options) {
      if (option.words.empty()) continue;
      text += fmt::format("    '{} {}') words='{}' ;;\n", verb.name, option.name, joined_words(option.words));
    }
  }
  text +=
      "    'completion completion') words='bash zsh fish' ;;\n  esac\n  if [ -z \"$words\" ]; then\n"
      "    case \"$word\" in\n      -*) case \"$verb\" in\n";
  for (const Completed& verb : verbs) {
    std::vector<std::string> options;
    for (const Command::Option& option : verb.options) options.push_back(option.name);
    text += fmt::format("        {}) words='{}' ;;\n", verb.name, joined_words(options));
  }
  return text +
         "      esac ;;\n    esac\n  fi\n"
         "  if [ -n \"$words\" ]; then\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}\n"
         "complete -o filenames -F _taper taper\n";
}

std::string zsh(const std::vector<Completed>& verbs) {
  std::string text =
      "#compdef taper\n# taper completion zsh > a folder of $fpath, as _taper\n_taper() {\n"
      "  local -a verbs\n  verbs=(\n";
  for (const Completed& verb : verbs) text += "    " + in_quotes(verb.name + ':' + verb.summary) + '\n';
  text +=
      "  )\n  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  fi\n"
      "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $verb in\n";
  for (const Completed& verb : verbs) {
    text += "    " + verb.name + ") _arguments";
    for (const Command::Option& option : verb.options) {
      std::string help;
      for (const char c : option.help)
        help += c == '[' || c == ']' || c == ':' ? std::string{'\\', c} : std::string(1, c);
      std::string spec = option.name + '[' + help + ']';
      if (!option.words.empty()) {
        spec += ":value:(" + joined_words(option.words) + ')';
      } else if (option.takes_value) {
        spec += ":value:_files";
      }
      text += " \\\n      " + in_quotes(spec);
    }
    text += verb.name == "completion" ? " \\\n      '1:shell:(bash zsh fish)' ;;\n"
                                      : " \\\n      '*:file:_files' ;;\n";
  }
  return text + "  esac\n}\n_taper \"$@\"\n";
}

std::string fish(const std::vector<Completed>& verbs) {
  std::string text = "# taper completion fish | source\n";
  for (const Completed& verb : verbs) {
    text += fmt::format("complete -c taper -n __fish_use_subcommand -f -a {} -d {}\n", verb.name,
                        in_quotes(verb.summary));
    for (const Command::Option& option : verb.options) {
      text += fmt::format("complete -c taper -n '__fish_seen_subcommand_from {}' -l {}{}{} -d {}\n",
                          verb.name, option.name.substr(2), option.takes_value ? " -r" : "",
                          option.words.empty() ? "" : " -f -a '" + joined_words(option.words) + '\'',
                          in_quotes(option.help));
    }
  }
  return text + "complete -c taper -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n";
}

class Completion : public Verb {
 public:
  const char* name() const override { return "completion"; }
  const char* summary() const override { return "Prints what makes a shell complete verbs and options."; }
  const char* example() const override { return "source <(taper completion bash)"; }
  void add_to(Command& command) override { command.positional("SHELL", shell_, "bash, zsh or fish"); }
  void run() override {
    if (shell_ != "bash" && shell_ != "zsh" && shell_ != "fish") {
      throw Error("completion", "SHELL '", shell_, "': expected bash, zsh or fish");
    }
    const std::vector<Completed> verbs = completed_verbs();
    fmt::print("{}", shell_ == "bash" ? bash(verbs) : shell_ == "zsh" ? zsh(verbs) : fish(verbs));
  }

 private:
  std::string shell_;
};

}  // namespace

std::unique_ptr<Verb> make_completion() {
  return std::make_unique<Completion>();
}

}  // namespace taper::apps
