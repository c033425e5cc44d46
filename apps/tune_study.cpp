#include "tune_study.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/checksum.hpp>
#include <taper/io/journal.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/train/evaluate.hpp>

namespace taper::apps {
namespace {

using sparsity::Sampler;
using sparsity::SearchDimension;
using sparsity::SearchSpace;
using sparsity::Trial;
using sparsity::TrialResult;
using sparsity::TrialSettings;
using Phases = sparsity::TwoPhaseOptions<float>;

const std::vector<std::string> activations{"tanh", "relu", "silu"};

void push_activation(nn::Sequential<float>& net, const std::string& name) {
  if (name == "tanh") {
    net.push_back(nn::Tanh<float>());
  } else if (name == "relu") {
    net.push_back(nn::ReLU<float>());
  } else if (name == "silu") {
    net.push_back(nn::SiLU<float>());
  } else {
    throw Error("tune", "activation is '", name, "': expected tanh, relu or silu");
  }
}

Index layers_of(const TrialSettings& settings) {
  const Index layers = settings.integer("layers", 3);
  if (layers < 0 || layers > 20) throw Error("tune", layers, " hidden layers: expected 0 to 20");
  return layers;
}

/// The network that is offered: `layers` hidden layers of `width` units.
nn::Sequential<float> offered_network(const TuneData& data, const TrialSettings& settings) {
  const Index layers = layers_of(settings), width = settings.integer("width", 32);
  if (width < 1 || width > 100'000) throw Error("tune", "width is ", width, ": expected 1 to 100000");
  nn::Sequential<float> net;
  Index before = data.train.x.shape()[1];
  for (Index k = 0; k < layers; ++k) {
    net.push_back(nn::Linear<float>(before, width));
    push_activation(net, settings.word("activation", "tanh"));
    before = width;
  }
  net.push_back(nn::Linear<float>(before, data.outputs));
  return net;
}

/// A dense network of these widths, which reads these inputs.
nn::Sequential<float> dense_network(const TuneData& data, const std::vector<Index>& widths,
                                    const std::vector<Index>& inputs, const TrialSettings& settings) {
  nn::Sequential<float> net;
  net.push_back(nn::Select<float>(inputs, data.train.x.shape()[1]));
  for (std::size_t k = 0; k + 1 < widths.size(); ++k) {
    if (k > 0) push_activation(net, settings.word("activation", "tanh"));
    net.push_back(nn::Linear<float>(widths[k], widths[k + 1]));
  }
  return net;
}

/// What is searched, and what is held.
struct Searched {
  std::vector<SearchDimension> dimensions;
  TrialSettings held;

  void set(const SearchDimension& dimension) {
    const auto found = std::ranges::find(dimensions, dimension.name, &SearchDimension::name);
    if (found == dimensions.end()) {
      dimensions.push_back(dimension);
    } else {
      *found = dimension;
    }
  }
  void drop(const std::string& name) {
    std::erase_if(dimensions, [&](const SearchDimension& one) { return one.name == name; });
  }
};

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<std::string> split_at(const std::string& text, char mark) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == mark) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

void check_name(const std::string& name) {
  const auto& known = sparsity::two_phase_settings();
  std::string list = "layers, width, activation";
  for (const std::string& one : known) list += ", " + one;
  if (name == "layers" || name == "width" || name == "activation") return;
  if (std::ranges::find(known, name) == known.end()) {
    throw Error("tune", "no setting '", name, "': expected one of ", list);
  }
}

/// NAME=LOW:HIGH[:log][:int], NAME=WORD,WORD or NAME=VALUE.
void read_search(const std::string& text, Searched& to) {
  const auto fail = [&]() {
    throw Error("tune", "--search ", text,
                ": expected NAME=LOW:HIGH, with :log or :int behind, NAME=WORD,WORD or NAME=VALUE");
  };
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) fail();
  const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
  check_name(name);
  const std::vector<std::string> parts = split_at(value, ':'), words = split_at(value, ',');
  if (parts.size() > 1) {
    const auto low = number_in(parts[0]), high = number_in(parts[1]);
    bool log = false, whole = false;
    for (std::size_t k = 2; k < parts.size(); ++k) {
      if (parts[k] != "log" && parts[k] != "int") fail();
      (parts[k] == "log" ? log : whole) = true;
    }
    if (!low || !high) fail();
    using Kind = SearchDimension::Kind;
    to.set({name,
            whole ? log ? Kind::log_integer : Kind::integer
            : log ? Kind::log_uniform
                  : Kind::uniform,
            *low, *high});
  } else if (words.size() > 1) {
    to.set(SearchDimension::categorical(name, words));
  } else {
    to.drop(name);
    if (const auto number = number_in(value)) {
      to.held.set(name, *number);
    } else {
      to.held.set(name, value);
    }
  }
}

Searched searched(const TuneStudyOptions& options) {
  Searched result;
  result.dimensions = {SearchDimension::categorical("activation", {"tanh", "silu"}),
                       SearchDimension::integer("layers", 2, 4),
                       SearchDimension::log_integer("refit_iterations", 50, 300)};
  const auto search = [&](std::vector<SearchDimension> more) {
    result.dimensions.insert(result.dimensions.end(), more.begin(), more.end());
  };
  if (options.budgets.empty()) {
    // The penalty decides on the size.
    search({SearchDimension::log_integer("width", 12, 64), SearchDimension::log_uniform("lr", 5e-4, 1e-2),
            SearchDimension::log_uniform("penalty", 3e-4, 3e-2),
            SearchDimension::log_integer("epochs", 20, 150),
            SearchDimension::categorical("weights", {"one", "sqrt_size", "parameters"}),
            SearchDimension::log_uniform("refit_decay", 1e-6, 1e-3)});
  } else {
    // The budget does, and Levenberg-Marquardt trains along the way: networks that are not large for it.
    search({SearchDimension::log_integer("width", 10, 28), SearchDimension::log_uniform("lr", 2e-3, 1e-2),
            SearchDimension::log_uniform("penalty", 1e-6, 1e-3),
            SearchDimension::log_integer("epochs", 10, 40),
            SearchDimension::log_integer("cut_iterations", 4, 16),
            SearchDimension::log_uniform("refit_decay", 1e-5, 1e-3)});
  }
  result.held.set("starts", options.budgets.empty() ? 4 : 2);
  for (const std::string& one : options.search) read_search(one, result);
  return result;
}

TrialSettings merged(TrialSettings settings, const TrialSettings& held) {
  for (const auto& one : held.all()) {
    if (settings.has(one.name)) continue;
    if (one.is_word) {
      settings.set(one.name, one.word);
    } else {
      settings.set(one.name, one.number);
    }
  }
  return settings;
}

Json json_of(const TrialSettings& settings) {
  Json result = Json::object();
  for (const auto& one : settings.all()) {
    result[one.name] = one.is_word ? Json(one.word) : Json(one.number);
  }
  return result;
}

std::string text_of_settings(const TrialSettings& settings) {
  return json_of(settings).dump();
}

double figure_in(const TrialResult& result, const char* name) {
  for (const auto& [key, values] : result.figures) {
    if (key == name && values.size() == 1) return values.front();
  }
  return std::nan("");
}

std::vector<Index> list_in(const TrialResult& result, const char* name) {
  std::vector<Index> list;
  for (const auto& [key, values] : result.figures) {
    if (key != name) continue;
    for (const double value : values) list.push_back(static_cast<Index>(value));
  }
  return list;
}

/// Throws Error where all trials have failed, with the reason of the first.
void require_one_that_ended(const std::vector<Trial>& trials) {
  for (const Trial& trial : trials) {
    if (trial.state != Trial::State::failed) return;
  }
  if (trials.empty()) throw Error("tune", "no trial has ended: expected more minutes");
  throw Error("tune", "all ", trials.size(), " trials have failed, the first because ",
              trials.front().message);
}

Json finite_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

double median_of(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::ranges::sort(values);
  return (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2;
}

data::Dataset<float> both(const data::Dataset<float>& a, const data::Dataset<float>& b) {
  const auto stacked = [](const Tensor<float>& top, const Tensor<float>& bottom) {
    Shape shape = top.shape();
    Tensor<float> result(Shape{shape[0] + bottom.shape()[0], shape.rank() > 1 ? shape[1] : 1});
    std::copy(bottom.begin(), bottom.end(), std::copy(top.begin(), top.end(), result.begin()));
    return result;
  };
  return {stacked(a.x, b.x), stacked(a.y, b.y), a.features, a.target};
}

/// A study of one kind of network: the search, the finalists, and the seeds of the winner.
class Hunt {
 public:
  Hunt(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
       std::string name, Searched searched, Phases phases)
      : data_(data),
        all_(all),
        options_(options),
        name_(std::move(name)),
        space_(std::move(searched.dimensions)),
        held_(std::move(searched.held)),
        phases_(std::move(phases)) {
    const std::vector<View<const float>> views{data.train.x.view(), data.train.y.view(),
                                               data.validation.x.view(), data.validation.y.view()};
    note_ = fmt::format("{} {:016x} {}", data.name, data::checksum<float>(views), text_of_settings(held_));
    if (phases_.budget) note_ += fmt::format(" budget {}", *phases_.budget);
  }

  std::vector<Trial> search(Index trials, double seconds) {
    sparsity::TuneOptions tune = options_for(trials, options_.seed);
    tune.sampler = options_.sampler == "tpe" ? Sampler::tpe : Sampler::random;
    tune.objectives = objectives();
    tune.epochs = phases_.epochs;
    if (options_.halving && tune.objectives == 1) {
      tune.halving = sparsity::Halving{.first = std::max<Index>(phases_.epochs / 9, 1), .factor = 3};
    }
    if (seconds > 0) {
      tune.go_on = [seconds](const std::vector<Trial>&, double taken) { return taken < seconds; };
    }
    tune.progress = [&](const std::vector<Trial>& trials_now, const Trial& ended) {
      say(trials_now, ended, trials);
    };
    const sparsity::StartTrial start = sparsity::two_phase_trials(data_.train, data_.validation, phases_);
    return run("", tune, space_, [&](const TrialSettings& settings, std::uint64_t seed) {
      return start(merged(settings, held_), seed);
    });
  }

  /// The best trials again, from other seeds: which one is best in the median.
  Trial winner(const std::vector<Trial>& trials) {
    constexpr std::size_t most = 5;
    constexpr Index repeats = 3;
    std::vector<Trial> best;
    for (const Trial& trial : trials) {
      if (trial.is_feasible()) best.push_back(trial);
    }
    if (best.empty()) {
      require_one_that_ended(trials);
      throw Error("tune", "none of ", trials.size(), " trials of the study '", name_,
                  "' keeps the budget: expected more trials or a larger one");
    }
    std::ranges::stable_sort(best,
                             [](const Trial& a, const Trial& b) { return is_better(a.result, b.result); });
    best.resize(std::min(best.size(), most));
    if (best.size() == 1) return best.front();
    const auto count = static_cast<Index>(best.size());
    const SearchSpace grid(
        {SearchDimension::integer("finalist", 0, count - 1), SearchDimension::integer("repeat", 1, repeats)});
    sparsity::TuneOptions tune = options_for(count * repeats, options_.seed + 1);
    tune.sampler = Sampler::grid;
    tune.objectives = objectives();
    for (const Trial& trial : best) tune.note += fmt::format(" {}", trial.number);
    const auto again = run(" finalists", tune, grid, [&](const TrialSettings& at, std::uint64_t seed) {
      const Trial& trial = best[static_cast<std::size_t>(at.integer("finalist", 0))];
      return sparsity::two_phase_trials(data_.train, data_.validation, with_all_epochs())(settings_of(trial),
                                                                                          seed);
    });
    std::size_t chosen = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < best.size(); ++k) {
      std::vector<double> losses{best[k].result.objectives.front()};
      for (const Trial& trial : again) {
        if (static_cast<std::size_t>(trial.point[0]) != k) continue;
        losses.push_back(trial.is_feasible() ? trial.result.objectives.front()
                                             : std::numeric_limits<double>::infinity());
      }
      if (const double median = median_of(losses); median < least) least = median, chosen = k;
    }
    return best[chosen];
  }

  /// From so many seeds, trained on all rows at the end, and measured on the test set.
  std::vector<Trial> seeds(const Trial& winner) {
    const SearchSpace grid({SearchDimension::integer("seed", 0, options_.seeds - 1)});
    sparsity::TuneOptions tune = options_for(options_.seeds, options_.seed);
    tune.sampler = Sampler::grid;
    tune.objectives = objectives();
    tune.note += " winner " + text_of_settings(settings_of(winner));
    return run(
        fmt::format(" seeds of {}", winner.number), tune, grid,
        [&](const TrialSettings& at, std::uint64_t) -> std::unique_ptr<sparsity::RunningTrial> {
          return std::make_unique<Final>([&, at]() { return final_result(winner, at.integer("seed", 0)); });
        });
  }

  struct Ended {
    nn::Sequential<float> model;
    TrialResult result;
  };
  Ended final_network(const Trial& winner, Index seed) const {
    const TrialSettings settings = settings_of(winner);
    const std::uint64_t own = sparsity::trial_seed(options_.seed + 2, seed);
    auto outcome = sparsity::two_phase(settings, own, data_.train, data_.validation, with_all_epochs());
    TrialResult result = sparsity::result_of(outcome, phases_);
    sparsity::two_phase_refit(outcome.model, settings, own, all_, data_.loss, 0.5);
    return {std::move(outcome.model), std::move(result)};
  }
  TrialResult final_result(const Trial& winner, Index seed) const {
    Ended ended = final_network(winner, seed);
    if (data_.test.rows() > 0) {
      ended.result.figures.push_back({"test", {train::evaluate(ended.model, data_.test, data_.loss)}});
    }
    return ended.result;
  }

  TrialSettings settings_of(const Trial& trial) const { return merged(space_.settings(trial.point), held_); }

  /// How often a dense network is trained from another start in the time that the sparse one takes. Measured
  /// once, and kept in the journal.
  Index restarts(const Trial& winner, const std::vector<Index>& widths, const std::vector<Index>& inputs) {
    sparsity::TuneOptions tune = options_for(1, options_.seed);
    tune.sampler = Sampler::grid;
    const SearchSpace one({SearchDimension::integer("run", 0, 0)});
    const auto trials = run(
        " time of control", tune, one,
        [&](const TrialSettings&, std::uint64_t seed) -> std::unique_ptr<sparsity::RunningTrial> {
          return std::make_unique<Final>([&, seed]() -> TrialResult {
            using Clock = std::chrono::steady_clock;
            const auto seconds = [](Clock::time_point since) {
              return std::chrono::duration<double>(Clock::now() - since).count();
            };
            const int threads_before = threads();
            set_threads(1);  // as trials have it
            const auto start = Clock::now();
            sparsity::two_phase(settings_of(winner), seed, data_.train, data_.validation, with_all_epochs());
            const double sparse = seconds(start);
            TrialSettings settings = settings_of(winner);
            settings.set("starts", 2);  // of which each is refitted for a quarter, and one for the rest
            Phases dense = control_phases(data_, widths, inputs, phases_);
            const auto then = Clock::now();
            sparsity::two_phase(settings, seed, data_.train, data_.validation, dense);
            const double two = seconds(then);
            set_threads(threads_before);
            return {.objectives = {0},
                    .figures = {{"restarts", {std::clamp(std::round(2 * sparse / two), 1.0, 100.0)}}}};
          });
        });
    const double found = figure_in(trials.front().result, "restarts");
    return std::isfinite(found) ? static_cast<Index>(found) : 1;
  }

  static Phases control_phases(const TuneData& data, const std::vector<Index>& widths,
                               const std::vector<Index>& inputs, const Phases& from) {
    Phases dense = from;
    dense.dense = true;
    dense.budget.reset();
    dense.rule = sparsity::BudgetRule::constraint;
    dense.epochs = 1;
    dense.model = [&data, widths, inputs](const TrialSettings& settings) {
      return dense_network(data, widths, inputs, settings);
    };
    return dense;
  }

 private:
  struct Final : sparsity::RunningTrial {
    explicit Final(std::function<TrialResult()> f) : run(std::move(f)) {}
    TrialResult advance(Index) override { return run(); }
    std::function<TrialResult()> run;
  };

  Index objectives() const { return phases_.rule == sparsity::BudgetRule::front ? 2 : 1; }

  /// Trials outside of the search are run to their end at once.
  Phases with_all_epochs() const {
    Phases phases = phases_;
    phases.epochs = 1;
    return phases;
  }

  sparsity::TuneOptions options_for(Index trials, std::uint64_t seed) const {
    return {.trials = trials, .seed = seed, .note = note_};
  }

  std::vector<Trial> run(const std::string& part, sparsity::TuneOptions& tune, const SearchSpace& space,
                         const sparsity::StartTrial& start) {
    if (options_.journal.empty()) return sparsity::tune(space, start, tune);
    io::Journal journal(options_.journal, name_ + part);
    tune.record = &journal;
    return sparsity::tune(space, start, tune);
  }

  void say(const std::vector<Trial>& trials, const Trial& ended, Index of) const {
    if (options_.quiet) return;
    std::string line = fmt::format("{}: trial {} of {}", name_, ended.number + 1, of);
    if (ended.state == Trial::State::failed) {
      line += ", failed";
    } else {
      line += fmt::format(", {} {:.5g} at {}", data_.loss_name, ended.result.objectives.front(),
                          figure_in(ended.result, "size"));
    }
    if (const auto best = sparsity::best_trial(trials);
        best != trials.end() && ended.result.objectives.size() < 2) {
      line += fmt::format("; best {:.5g} at {} (trial {})", best->result.objectives.front(),
                          figure_in(best->result, "size"), best->number + 1);
    }
    std::fputs((line + '\n').c_str(), stderr);
  }

  const TuneData& data_;
  const data::Dataset<float>& all_;
  const TuneStudyOptions& options_;
  const std::string name_;
  const SearchSpace space_;
  const TrialSettings held_;
  const Phases phases_;
  std::string note_;
};

Json trial_as_json(const Hunt& hunt, const Trial& trial, const TuneData& data) {
  return {{"trial", trial.number},
          {"settings", json_of(hunt.settings_of(trial))},
          {"size", figure_in(trial.result, "size")},
          {"widths", list_in(trial.result, "widths")},
          {"inputs", list_in(trial.result, "inputs")},
          {"validation_" + data.loss_name, figure_in(trial.result, "validation_loss")}};
}

Json seeds_as_json(const std::vector<Trial>& seeds, const TuneData& data) {
  Json result = Json::array();
  for (const Trial& trial : seeds) {
    Json one{{"seed", trial.number}};
    if (trial.state == Trial::State::failed) {
      one["failed"] = trial.message;
    } else {
      one["size"] = figure_in(trial.result, "size");
      one["widths"] = list_in(trial.result, "widths");
      one["validation_" + data.loss_name] = figure_in(trial.result, "validation_loss");
      one["test_" + data.loss_name] = finite_or_null(figure_in(trial.result, "test"));
    }
    result.push_back(one);
  }
  return result;
}

/// What the seeds are compared by: the test set, or without one the validation set.
double judged(const Trial& trial) {
  const double test = figure_in(trial.result, "test");
  return std::isfinite(test) ? test : figure_in(trial.result, "validation_loss");
}

double median_judged(const std::vector<Trial>& seeds) {
  std::vector<double> losses;
  for (const Trial& trial : seeds) {
    if (trial.state == Trial::State::complete) losses.push_back(judged(trial));
  }
  return median_of(losses);
}

/// The dense networks beside one that was found.
struct Control {
  Json report;
  std::vector<Trial> seeds;
};

Control run_control(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
                    const std::string& name, Hunt& hunt, const Trial& winner, const Phases& phases,
                    Index tries) {
  Control control;
  const std::vector<Index> widths = list_in(winner.result, "widths"),
                           inputs = list_in(winner.result, "inputs");
  if (widths.empty() || std::ranges::count(widths, Index{0}) > 0) {
    control.report = {{"none", "the network that was found is a constant"}};
    return control;
  }
  const Index restarts = hunt.restarts(winner, widths, inputs);
  Searched searched_dense;
  searched_dense.dimensions = {SearchDimension::log_uniform("lr", 5e-4, 2e-2),
                               SearchDimension::log_integer("epochs", 5, 150)};
  // What concerns both is searched for in the same ranges.
  for (const SearchDimension& one : searched(options).dimensions) {
    if (one.name == "activation" || one.name.starts_with("refit") || one.name == "batch_size") {
      searched_dense.dimensions.push_back(one);
    }
  }
  searched_dense.held.set("starts", static_cast<double>(restarts));
  const TrialSettings held = searched(options).held;
  for (const auto& one : held.all()) {
    if (one.name != "activation" && !one.name.starts_with("refit") && one.name != "batch_size") continue;
    if (one.is_word) {
      searched_dense.held.set(one.name, one.word);
    } else {
      searched_dense.held.set(one.name, one.number);
    }
  }
  Hunt dense(data, all, options, name + " control", searched_dense,
             Hunt::control_phases(data, widths, inputs, phases));
  const std::vector<Trial> trials = dense.search(tries, 0);
  const Trial best = dense.winner(trials);
  control.seeds = dense.seeds(best);
  control.report = {{"widths", widths},
                    {"tries", trials.size()},
                    {"starts_of_each", restarts},
                    {"winner", trial_as_json(dense, best, data)},
                    {"seeds", seeds_as_json(control.seeds, data)},
                    {"median", finite_or_null(median_judged(control.seeds))}};
  return control;
}

/// One network that was found, from seeds, and its control.
Json report_on_found(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
                     const std::string& name, Hunt& hunt, const Trial& winner, const Phases& phases,
                     Index tries, TuneStudy& study) {
  const std::vector<Trial> seeds = hunt.seeds(winner);
  Json report{{"winner", trial_as_json(hunt, winner, data)},
              {"seeds", seeds_as_json(seeds, data)},
              {"median", finite_or_null(median_judged(seeds))}};
  Control control;
  if (options.control) {
    control = run_control(data, all, options, name, hunt, winner, phases, tries);
    report["control"] = control.report;
    std::vector<double> differences;
    for (std::size_t k = 0; k < std::min(seeds.size(), control.seeds.size()); ++k) {
      const double difference = judged(seeds[k]) - judged(control.seeds[k]);
      if (std::isfinite(difference)) differences.push_back(difference);
    }
    const double paired = median_of(differences);
    const auto lower = std::ranges::count_if(differences, [](double difference) { return difference < 0; });
    const std::string seeds_say = fmt::format(", and lower in {} of {} seeds", lower, differences.size());
    report["paired_median_difference"] = finite_or_null(paired);
    report["lower_in"] = lower;  // a median of few seeds can be below 0 by chance
    report["worth_it"] = paired < 0;
    report["says"] =
        !std::isfinite(paired) ? std::string("there is no dense network to compare with")
        : paired < 0
            ? fmt::format("training sparse is worth it: {:.4g} below a dense network of the same widths",
                          -paired) +
                  seeds_say
            : fmt::format("training sparse is not worth it: {:.4g} above a dense network of the same widths",
                          paired) +
                  seeds_say;
  }
  std::size_t best = 0;
  for (std::size_t k = 0; k < seeds.size(); ++k) {
    if (seeds[k].state != Trial::State::complete) continue;
    const double dense = k < control.seeds.size() ? judged(control.seeds[k]) : std::nan("");
    study.sizes.push_back({figure_in(winner.result, "size"), figure_in(seeds[k].result, "size"),
                           figure_in(seeds[k].result, "shrunk_loss"), judged(seeds[k]), dense});
    if (!seeds[best].is_feasible() ||
        (seeds[k].is_feasible() && is_better(seeds[k].result, seeds[best].result))) {
      best = k;
    }
  }
  if (!seeds.empty() && seeds[best].state == Trial::State::complete) {
    study.model = hunt.final_network(winner, static_cast<Index>(best)).model;
  }
  return report;
}

/// The front of all trials of several studies, size against loss.
Json front_of(const std::vector<std::pair<std::string, std::vector<Trial>>>& studies, const TuneData& data) {
  std::vector<Trial> all;
  std::vector<std::string> from;
  for (const auto& [name, trials] : studies) {
    for (const Trial& trial : trials) {
      if (!trial.is_feasible()) continue;
      all.push_back(trial);
      all.back().result.objectives = {figure_in(trial.result, "validation_loss"),
                                      figure_in(trial.result, "size")};
      from.push_back(name);
    }
  }
  Json result = Json::array();
  for (const std::size_t k : sparsity::front(all)) {
    result.push_back({{"size", all[k].result.objectives[1]},
                      {"validation_" + data.loss_name, all[k].result.objectives[0]},
                      {"study", from[k]},
                      {"trial", all[k].number}});
  }
  return result;
}

}  // namespace

void check_budgets(const TuneData& data, const TuneStudyOptions& options) {
  const Searched space = searched(options);
  Index layers = space.held.integer("layers", 3);
  for (const SearchDimension& one : space.dimensions) {
    if (one.name != "layers") continue;
    layers = static_cast<Index>(one.low);
    if (one.kind == SearchDimension::Kind::categorical) {
      layers = 1'000'000;
      for (const std::string& word : one.choices) {
        layers = std::min(layers, TrialSettings({{"layers", 0, word, true}}).integer("layers", 0));
      }
    }
  }
  // One unit in each hidden layer, and every output reads the last.
  const bool counts_products = options.measure == sparsity::SizeMeasure::multiply_adds;
  const Index fewest =
      counts_products ? layers + data.outputs : sparsity::fewest_parameters(layers) + 2 * data.outputs;
  for (const Index budget : options.budgets) {
    if (budget >= fewest) continue;
    throw Error("tune", "a budget of ", budget, counts_products ? " multiply-adds" : " parameters",
                ": expected ", fewest, " at least, which a network with one unit in each layer has");
  }
}

TuneStudy run_tune_study(const TuneData& data, const TuneStudyOptions& options) {
  check_budgets(data, options);
  if (options.budgets.empty() && (options.halving || options.soft)) {
    throw Error("tune", options.halving ? "halving" : "a soft budget",
                " without a budget: expected one at least, as a front has no order to rank by");
  }
  const data::Dataset<float> all = both(data.train, data.validation);
  Phases phases;
  phases.loss = data.loss;
  phases.measure = options.measure;
  phases.epochs = options.halving ? 27 : 1;
  phases.model = [&data](const TrialSettings& settings) { return offered_network(data, settings); };
  TuneStudy study;
  Json found = Json::array();
  std::vector<std::pair<std::string, std::vector<Trial>>> studies;
  const auto count = static_cast<double>(std::max<std::size_t>(options.budgets.size(), 1));
  const double seconds = options.minutes * 60 / count;
  for (const Index budget : options.budgets) {
    phases.budget = budget;
    phases.rule = options.soft ? sparsity::BudgetRule::penalty : sparsity::BudgetRule::constraint;
    const std::string name = fmt::format("{} {}", data.name, budget);
    Hunt hunt(data, all, options, name, searched(options), phases);
    const std::vector<Trial> trials = hunt.search(options.trials, seconds);
    studies.emplace_back(name, trials);
    const Trial winner = hunt.winner(trials);
    Json report{{"budget", budget},
                {"trials", trials.size()},
                {"failed", std::ranges::count(trials, Trial::State::failed, &Trial::state)}};
    report.update(report_on_found(data, all, options, name, hunt, winner, phases,
                                  static_cast<Index>(trials.size()), study));
    found.push_back(report);
  }
  if (options.budgets.empty()) {
    phases.rule = sparsity::BudgetRule::front;
    const std::string name = data.name + " front";
    Hunt hunt(data, all, options, name, searched(options), phases);
    const std::vector<Trial> trials = hunt.search(options.trials, seconds);
    studies.emplace_back(name, trials);
    // Some of the front, evenly along it.
    std::vector<std::size_t> front = sparsity::front(trials), chosen;
    if (front.empty()) {
      require_one_that_ended(trials);
      throw Error("tune", "no trial has ended: expected one at least");
    }
    constexpr std::size_t most = 6;
    for (std::size_t k = 0; k < std::min(most, front.size()); ++k) {
      const std::size_t places = std::min(most, front.size());
      chosen.push_back(front[places == 1 ? 0 : k * (front.size() - 1) / (places - 1)]);
    }
    for (const std::size_t k : chosen) {
      const std::string own = fmt::format("{} {}", name, trials[k].number);
      const Index tries = std::max<Index>(static_cast<Index>(trials.size() / chosen.size()), 1);
      found.push_back(report_on_found(data, all, options, own, hunt, trials[k], phases, tries, study));
    }
  }
  study.report = {
      {"data", data.name},
      {"rows",
       {{"train", data.train.rows()}, {"validation", data.validation.rows()}, {"test", data.test.rows()}}},
      {"measure", options.measure == sparsity::SizeMeasure::parameters ? "parameters" : "multiply_adds"},
      {"found", found},
      {"front", front_of(studies, data)}};
  return study;
}

void print_study(const Json& report, const std::string& loss) {
  const std::string validation = "validation_" + loss;
  fmt::print("{:>8} {:>6} {:>20} {:>11} {:>11} {:>11}\n", "budget", "size", "widths", "validation", "median",
             "dense");
  for (const auto& one : report["found"]) {
    const Json& winner = one["winner"];
    const auto number = [](const Json& from, const char* key) {
      return from.contains(key) && from[key].is_number() ? fmt::format("{:.5g}", from[key].get<double>())
                                                         : "-";
    };
    fmt::print("{:>8} {:>6} {:>20} {:>11} {:>11} {:>11}\n",
               one.contains("budget") ? one["budget"].dump() : "-", winner["size"].get<double>(),
               winner["widths"].dump(), number(winner, validation.c_str()), number(one, "median"),
               one.contains("control") ? number(one["control"], "median") : "-");
    if (one.contains("says")) fmt::print("{:>8} {}\n", "", one["says"].get<std::string>());
  }
  fmt::print("the front of all trials, size against validation loss:\n");
  for (const auto& point : report["front"]) {
    fmt::print("{:>8} {:>11.5g}\n", point["size"].get<double>(), point[validation].get<double>());
  }
}

Json run_one_trial(const TuneData& data, const Json& given, sparsity::SizeMeasure measure) {
  if (!given.is_object()) throw Error("trial", "no object: expected one of settings, {\"lr\": 0.002, ...}");
  TrialSettings settings;
  Phases phases;
  phases.loss = data.loss;
  phases.measure = measure;
  phases.model = [&data](const TrialSettings& all) { return offered_network(data, all); };
  std::uint64_t seed = 0;
  for (const auto& [key, value] : given.items()) {
    if (key == "seed" || key == "budget") {
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() > (std::uint64_t{1} << 53)) {
        throw Error("trial", key, " is ", value.dump(), ": expected a whole number");
      }
      if (key == "seed") {
        seed = value.get<std::uint64_t>();
      } else {
        phases.budget = value.get<Index>();
      }
      continue;
    }
    check_name(key);
    if (value.is_number()) {
      settings.set(key, value.get<double>());
    } else if (value.is_string()) {
      settings.set(key, value.get<std::string>());
    } else {
      throw Error("trial", key, " is ", value.dump(), ": expected a number or a word");
    }
  }
  if (phases.budget) {
    TuneStudyOptions one;
    one.budgets = {*phases.budget};
    one.measure = measure;
    one.search = {fmt::format("layers={}", layers_of(settings))};
    check_budgets(data, one);
  }
  const auto outcome = sparsity::two_phase(settings, seed, data.train, data.validation, phases);
  const TrialResult result = sparsity::result_of(outcome, phases);
  Json report{{"objective", result.objectives.front()}, {"constraints", result.constraints}};
  for (const auto& [name, values] : result.figures) {
    const bool is_list = name == "widths" || name == "inputs";
    report[name] = is_list ? Json(list_in(result, name.c_str())) : Json(values.front());
  }
  return report;
}

}  // namespace taper::apps
