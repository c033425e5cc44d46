#include <taper/sparsity/tune/study.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <thread>

using namespace taper;
using namespace taper::sparsity;

namespace {

SearchSpace bowl_space() {
  return SearchSpace({SearchDimension::log_uniform("lr", 1e-5, 1), SearchDimension::uniform("x", -5, 5),
                      SearchDimension::integer("n", 1, 9),
                      SearchDimension::categorical("word", {"good", "bad", "worse"})});
}

/// Least, 0, at lr = 1e-2, x = 1, n = 4 and the first word.
double bowl(const TrialSettings& s) {
  const std::string word = s.word("word", "");
  return std::pow(std::log10(s.number("lr", 0)) + 2, 2) + std::pow(s.number("x", 0) - 1, 2) +
         0.2 * std::pow(s.number("n", 0) - 4, 2) +
         (word == "good"  ? 0
          : word == "bad" ? 1
                          : 3);
}

TrialResult bowl_result(const TrialSettings& s, std::uint64_t) {
  return {.objectives = {bowl(s)}};
}

std::vector<std::vector<double>> points(const std::vector<Trial>& trials) {
  std::vector<std::vector<double>> result;
  for (const Trial& trial : trials) result.push_back(trial.point);
  return result;
}

double best_of(const std::vector<Trial>& trials) {
  const auto best = best_trial(trials);
  REQUIRE(best != trials.end());
  return best->result.objectives[0];
}

/// Gets better with epochs, towards the bowl; counts what it was asked for.
struct Learner : RunningTrial {
  explicit Learner(double l) : limit(l) {}
  TrialResult advance(Index epochs) override {
    CHECK(epochs > at);
    total += epochs - at;
    at = epochs;
    return {.objectives = {limit + 1.0 / static_cast<double>(epochs)}};
  }
  double limit;
  Index at = 0;
  static inline std::atomic<Index> total{0};
};

}  // namespace

TEST_CASE("tune: spaces are checked, and settings are read by name") {
  using D = SearchDimension;
  CHECK_THROWS_AS(SearchSpace({D::uniform("", 0, 1)}), Error);
  CHECK_THROWS_AS(SearchSpace({D::uniform("a", 1, 0)}), Error);
  CHECK_THROWS_AS(SearchSpace({D::uniform("a", 0, std::nan(""))}), Error);
  CHECK_THROWS_AS(SearchSpace({D::log_uniform("a", 0, 1)}), Error);
  CHECK_THROWS_AS(SearchSpace({D::uniform("a", -1e308, 1e308)}), Error);  // whose width is none
  CHECK_THROWS_AS(SearchSpace({D{"a", D::Kind::log_integer, 1, 1e300}}), Error);
  CHECK_THROWS_AS(SearchSpace({D{"a", D::Kind::integer, 0.5, 2}}), Error);
  CHECK_THROWS_AS(SearchSpace({D::categorical("a", {})}), Error);
  CHECK_THROWS_AS(SearchSpace({D::categorical("a", {"x", "y", "x"})}), Error);
  CHECK_THROWS_AS(SearchSpace({D::uniform("a", 0, 1), D::integer("a", 0, 1)}), Error);
  const SearchSpace space = bowl_space();
  const TrialSettings s = space.settings({1e-3, 0.5, 3, 1});
  CHECK(s.number("lr", 9) == 1e-3);
  CHECK(s.integer("n", 9) == 3);
  CHECK(s.word("word", "") == "bad");
  CHECK(s.number("else", 9) == 9);
  CHECK_THROWS_AS(s.number("word", 0), Error);
  CHECK_THROWS_AS(s.integer("x", 0), Error);
  CHECK_THROWS_AS(s.word("x", ""), Error);
  for (const std::vector<double>& wrong : std::vector<std::vector<double>>{{1e-3, 0.5, 3},
                                                                           {2, 0.5, 3, 1},
                                                                           {1e-3, 0.5, 2.5, 1},
                                                                           {1e-3, 0.5, 3, 3},
                                                                           {std::nan(""), 0.5, 3, 1}}) {
    CHECK_THROWS_AS(space.settings(wrong), Error);
  }
}

TEST_CASE("tune: random points are spread as the dimensions say") {
  const SearchSpace space = bowl_space();
  std::vector<double> logs, xs;
  std::map<double, int> ns, words;
  for (Index n = 0; n < 3000; ++n) {
    const auto point = propose(space, Sampler::random, {}, {}, 3, n);
    space.check(point);
    logs.push_back(std::log10(point[0]));
    xs.push_back(point[1]);
    ++ns[point[2]], ++words[point[3]];
  }
  const auto mean = [](const std::vector<double>& v) {
    double sum = 0;
    for (const double a : v) sum += a;
    return sum / static_cast<double>(v.size());
  };
  CHECK(std::abs(mean(logs) + 2.5) < 4 * 5 / std::sqrt(12 * 3000.0));
  CHECK(std::abs(mean(xs)) < 4 * 10 / std::sqrt(12 * 3000.0));
  CHECK(ns.size() == 9);
  for (const auto& [n, count] : ns) CHECK(std::abs(count - 3000 / 9) < 5 * std::sqrt(3000 / 9.0));
  CHECK(words.size() == 3);
}

TEST_CASE("tune: TPE finds what random search of as many trials does not") {
  const SearchSpace space = bowl_space();
  int wins = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto tpe = tune(space, bowl_result, {.trials = 120, .seed = seed, .wave = 4});
    const auto random = tune(space, bowl_result, {.trials = 120, .seed = seed, .sampler = Sampler::random});
    wins += best_of(tpe) < best_of(random);
  }
  CHECK(wins >= 8);
}

TEST_CASE("tune: units do not count, and every trial depends on seed, number and earlier waves alone") {
  const SearchSpace space = bowl_space();
  const auto trials = tune(space, bowl_result, {.trials = 50, .seed = 5, .wave = 6});
  REQUIRE(trials.size() == 50);
  // Monotone changes of the objective change no rank.
  for (const double scale : {1e-8, 1e8}) {
    const auto scaled = tune(space,
                             [&](const TrialSettings& s, std::uint64_t) -> TrialResult {
                               return {.objectives = {scale * bowl(s)}};
                             },
                             {.trials = 50, .seed = 5, .wave = 6});
    CHECK(points(scaled) == points(trials));
  }
  // A trial of some number, proposed from what it is said to see.
  std::vector<Trial> seen(trials.begin(), trials.begin() + 36);
  for (Index n = 36; n < 42; ++n) {
    CHECK(propose(space, Sampler::tpe, {}, seen, 5, n) == trials[static_cast<std::size_t>(n)].point);
    seen.push_back({.number = n, .point = trials[static_cast<std::size_t>(n)].point});
  }
  // Units of a dimension: the same positions.
  std::vector<SearchDimension> in_other_units = space.dimensions();
  in_other_units[1].low *= 1024, in_other_units[1].high *= 1024;
  const auto other = tune(SearchSpace(in_other_units),
                          [&](const TrialSettings& s, std::uint64_t) -> TrialResult {
                            TrialSettings back = s;
                            back.set("x", s.number("x", 0) / 1024);
                            return {.objectives = {bowl(back)}};
                          },
                          {.trials = 50, .seed = 5, .wave = 6});
  for (std::size_t k = 0; k < 50; ++k) CHECK(other[k].point[1] / 1024 == doctest::Approx(trials[k].point[1]));
}

TEST_CASE("tune: the same list for any number of threads, whatever takes how long") {
  const SearchSpace space = bowl_space();
  const int before = threads();
  const auto slow = [](const TrialSettings& s, std::uint64_t seed) -> TrialResult {
    std::this_thread::sleep_for(std::chrono::microseconds(seed % 3000));
    return {.objectives = {bowl(s) + static_cast<double>(seed % 100)}};
  };
  std::vector<std::vector<std::vector<double>>> found;
  for (const int count : {1, 2, 4}) {
    set_threads(count);
    found.push_back(points(tune(space, slow, {.trials = 40, .seed = 2, .wave = 5})));
  }
  set_threads(before);
  CHECK(found[1] == found[0]);
  CHECK(found[2] == found[0]);
}

TEST_CASE("tune: constraints rank behind what keeps them, by how much they are violated") {
  const SearchSpace space({SearchDimension::uniform("x", 0, 10), SearchDimension::uniform("y", 0, 10)});
  // The least objective lies where the constraint is violated most.
  const auto run = [](const TrialSettings& s, std::uint64_t) -> TrialResult {
    const double x = s.number("x", 0), y = s.number("y", 0);
    return {.objectives = {x + y}, .constraints = {6 - x, 2 - y}};
  };
  const auto trials = tune(space, run, {.trials = 150, .seed = 1});
  const auto best = best_trial(trials);
  REQUIRE(best != trials.end());
  CHECK(best->point[0] >= 6);
  CHECK(best->point[1] >= 2);
  CHECK(best->result.objectives[0] < 9);  // the least is 8
  // At random, the mean violation is (3.6 / 2 + 0.4 / 2) = 2.
  double violation = 0;
  for (std::size_t k = 100; k < 150; ++k) violation += trials[k].violation() / 50;
  CHECK(violation < 1);
  CHECK(
      is_better({.objectives = {9}, .constraints = {0, -1}}, {.objectives = {1}, .constraints = {0.1, -1}}));
  CHECK(is_better({.objectives = {9}, .constraints = {0.1}}, {.objectives = {1}, .constraints = {0.2}}));
}

TEST_CASE("tune: several objectives have a front") {
  const SearchSpace space({SearchDimension::uniform("x", -1, 3)});
  const auto trials = tune(space,
                           [](const TrialSettings& s, std::uint64_t) -> TrialResult {
                             const double x = s.number("x", 0);
                             return {.objectives = {x * x, (x - 2) * (x - 2)}};
                           },
                           {.trials = 80, .objectives = 2});
  const auto best = front(trials);
  REQUIRE(best.size() > 10);
  for (std::size_t k = 0; k < best.size(); ++k) {
    const double x = trials[best[k]].point[0];
    CHECK(x >= -0.5);
    CHECK(x <= 2.5);
    if (k > 0) CHECK(trials[best[k]].result.objectives[0] < trials[best[k - 1]].result.objectives[0] + 20);
    for (const std::size_t other : best) {
      const auto &a = trials[best[k]].result.objectives, &b = trials[other].result.objectives;
      CHECK_FALSE((a[0] < b[0] && a[1] < b[1]));
    }
  }
  CHECK(domination_ranks({{1, 1}, {2, 2}, {1, 2}, {0, 3}, {3, 3}}) == std::vector<Index>{0, 2, 1, 0, 3});
  CHECK_THROWS_AS(tune(space, StartTrial(), {.objectives = 2, .halving = Halving{}}), Error);
}

TEST_CASE("tune: halving trains the best of a wave on, from where they stand") {
  const SearchSpace space({SearchDimension::uniform("x", 0, 1)});
  Learner::total = 0;
  const StartTrial start = [](const TrialSettings& s, std::uint64_t) -> std::unique_ptr<RunningTrial> {
    return std::make_unique<Learner>(s.number("x", 0));
  };
  const auto trials =
      tune(space, start, {.trials = 20, .sampler = Sampler::random, .epochs = 90, .halving = Halving{10, 3}});
  REQUIRE(trials.size() == 27);  // a whole wave: rungs of 10, 30 and 90 epochs
  std::map<Index, int> ended;
  for (const Trial& trial : trials) {
    ++ended[trial.epochs];
    CHECK(trial.reports.size() == (trial.epochs == 10 ? 1 : trial.epochs == 30 ? 2 : 3));
    CHECK(trial.state == (trial.epochs == 90 ? Trial::State::complete : Trial::State::pruned));
  }
  CHECK(ended == std::map<Index, int>{{10, 18}, {30, 6}, {90, 3}});
  CHECK(Learner::total == 27 * 10 + 9 * 20 + 3 * 60);
  // Nothing here crosses, so those that reach the end are the best.
  std::vector<double> xs;
  for (const Trial& trial : trials) xs.push_back(trial.point[0]);
  std::ranges::sort(xs);
  for (const Trial& trial : trials) CHECK((trial.point[0] <= xs[2]) == (trial.epochs == 90));
}

TEST_CASE("tune: what fails is one trial; what is asked wrongly is an error") {
  const SearchSpace space({SearchDimension::uniform("x", 0, 1)});
  const auto trials = tune(space,
                           [](const TrialSettings& s, std::uint64_t) -> TrialResult {
                             const double x = s.number("x", 0);
                             if (x < 0.3) throw Error("trial", "diverged");
                             if (x < 0.5) return {.objectives = {std::numeric_limits<double>::infinity()}};
                             return {.objectives = {x}};
                           },
                           {.trials = 40});
  REQUIRE(trials.size() == 40);
  for (const Trial& trial : trials) {
    CHECK((trial.state == Trial::State::failed) == (trial.point[0] < 0.5));
    CHECK(trial.message.empty() == (trial.state == Trial::State::complete));
  }
  CHECK(best_of(trials) >= 0.5);
  const auto good = [](const TrialSettings&, std::uint64_t) -> TrialResult { return {.objectives = {1}}; };
  CHECK_THROWS_AS(tune(space, good, {.trials = -1}), Error);
  CHECK_THROWS_AS(tune(space, good, {.wave = 0}), Error);
  CHECK_THROWS_AS(tune(space, good, {.objectives = 2}), Error);
  CHECK_THROWS_AS(tune(space, good, {.tpe = {.startup = 0}}), Error);
  CHECK_THROWS_AS(tune(space, StartTrial(), {.epochs = 5, .halving = Halving{1, 1}}), Error);
  CHECK_THROWS_AS(tune(space, good, {.sampler = Sampler::grid}), Error);
  CHECK(tune(space, good, {.trials = 0}).empty());
  // Other exceptions end the study.
  CHECK_THROWS_AS(
      tune(space, [](const TrialSettings&, std::uint64_t) -> TrialResult { throw std::bad_alloc(); },
           {.trials = 3}),
      std::bad_alloc);
}

TEST_CASE("tune: a grid has every point once, and random generators stay where they are") {
  const SearchSpace space(
      {SearchDimension::integer("n", 2, 4), SearchDimension::categorical("word", {"a", "b"})});
  manual_seed(7);
  const RandomState before = random_state();
  const auto trials = tune(space,
                           [](const TrialSettings& s, std::uint64_t) -> TrialResult {
                             manual_seed(99);
                             return {.objectives = {s.number("n", 0)}};
                           },
                           {.trials = 6, .sampler = Sampler::grid});
  CHECK(random_state() == before);
  CHECK(points(trials) == std::vector<std::vector<double>>{{2, 0}, {2, 1}, {3, 0}, {3, 1}, {4, 0}, {4, 1}});
  CHECK(best_trial(trials)->number == 0);
}
