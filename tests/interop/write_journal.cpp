// Runs small studies with a journal and prints their trials as JSON: write_journal FILE. Started again, it
// goes on with what the file has.

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <taper/autodiff/error.hpp>
#include <taper/io/journal.hpp>
#include <taper/sparsity/tune/study.hpp>

using namespace taper;
using namespace taper::sparsity;
using Json = nlohmann::ordered_json;

namespace {

struct Curve : RunningTrial {
  Curve(const TrialSettings& s, Index count)
      : limit(std::pow(std::log10(s.number("lr", 0)) + 2, 2) + std::abs(s.number("x", 0) - 1)),
        over(static_cast<double>(s.integer("n", 0)) - 6),
        fails(s.word("word", "") == "bad" && s.number("x", 0) < -2),
        objectives(count) {}
  TrialResult advance(Index epochs) override {
    if (fails) throw Error("curve", "x is too small: expected \"more\"");
    TrialResult result{.objectives = {limit + 1 / static_cast<double>(epochs)},
                       .constraints = {over},
                       .figures = {{"widths", {8, 3, 1}}, {"size", {over + 6}}}};
    if (objectives == 2) result.objectives.push_back(over + 6), result.constraints.clear();
    return result;
  }
  double limit, over;
  bool fails;
  Index objectives;
};

Json trial_as_json(const SearchSpace& space, const Trial& trial) {
  constexpr const char* states[] = {"running", "complete", "pruned", "failed"};
  Json params = Json::object(), figures = Json::object();
  const TrialSettings settings = space.settings(trial.point);
  for (const TrialSettings::Setting& setting : settings.all()) {
    params[setting.name] = setting.is_word ? Json(setting.word) : Json(setting.number);
  }
  for (const auto& [name, figure] : trial.result.figures) {
    figures[name] = figure.size() == 1 ? Json(figure.front()) : Json(figure);
  }
  return {{"number", trial.number},
          {"state", states[static_cast<int>(trial.state)]},
          {"params", params},
          {"objectives", trial.result.objectives},
          {"constraints", trial.result.constraints},
          {"reports", trial.reports},
          {"figures", figures}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "write_journal FILE\n";
    return 2;
  }
  const SearchSpace space({SearchDimension::log_uniform("lr", 1e-5, 1), SearchDimension::uniform("x", -5, 5),
                           SearchDimension::integer("n", 1, 9),
                           SearchDimension::categorical("word", {"good", "bad"})});
  Json studies;
  for (const char* name : {"plain", "halving", "front \"2\""}) {
    io::Journal journal(argv[1], name);
    const Index objectives = name[0] == 'f' ? 2 : 1;
    TuneOptions options{.trials = 27, .seed = 1, .objectives = objectives, .epochs = 18, .record = &journal};
    if (name[0] == 'h') options.halving = Halving{2, 3};
    const StartTrial start = [&](const TrialSettings& s, std::uint64_t) {
      return std::make_unique<Curve>(s, objectives);
    };
    Json trials = Json::array();
    for (const Trial& trial : tune(space, start, options)) trials.push_back(trial_as_json(space, trial));
    studies[name] = trials;
  }
  std::cout << studies.dump(1) << '\n';
}
