// One program for people who write no C++: from a table to a small model that is certified, and back.

#include <fmt/core.h>

#include <cstring>
#include <taper/autodiff/error.hpp>

#include "verb.hpp"

using namespace taper;

namespace taper::apps {

std::vector<std::unique_ptr<Verb>> make_verbs() {
  std::vector<std::unique_ptr<Verb>> verbs;
  verbs.push_back(make_fit());
  verbs.push_back(make_predict());
  verbs.push_back(make_inspect());
  verbs.push_back(make_shrink());
  verbs.push_back(make_select());
  verbs.push_back(make_path());
  verbs.push_back(make_tune());
  verbs.push_back(make_bench());
  verbs.push_back(make_completion());
  return verbs;
}

std::unique_ptr<Command> make_command(Verb& verb) {
  auto command = std::make_unique<Command>(std::string("taper ") + verb.name(), verb.summary());
  command->footer(fmt::format(
      "Example:\n  {}\n\nExit status: 0, or 2 for bad input, which is told in one line on standard error.",
      verb.example()));
  verb.add_to(*command);
  return command;
}

}  // namespace taper::apps

namespace {

std::string overview(const std::vector<std::unique_ptr<apps::Verb>>& verbs) {
  std::string text = "Verbs:\n";
  for (const auto& verb : verbs) text += fmt::format("  {:<12}{}\n", verb->name(), verb->summary());
  return text +
         "\ntaper VERB --help says what each one takes, with an example.\n\nExit status: 0, or 2 for bad "
         "input, which is told in one line on standard error.";
}

}  // namespace

int main(int argc, char** argv) {
  const auto verbs = apps::make_verbs();
  for (const auto& verb : verbs) {
    if (argc < 2 || std::strcmp(argv[1], verb->name()) != 0) continue;
    return apps::make_command(*verb)->run(argc - 1, argv + 1, [&] { verb->run(); });
  }
  apps::Command command("taper", "Fits small, sparse, certified models to tables, and predicts with them.");
  std::string word;
  command.positional("VERB", word, "What is to be done, one of those below");
  command.footer(overview(verbs));
  return command.run(argc, argv, [&] {
    std::string names;
    for (const auto& verb : verbs) names += (names.empty() ? "" : ", ") + std::string(verb->name());
    throw Error("taper", "'", word, "': expected one of the verbs ", names);
  });
}
