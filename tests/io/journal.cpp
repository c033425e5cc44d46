#include <taper/io/journal.hpp>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <thread>
#include <utility>

using namespace taper;
using namespace taper::sparsity;

namespace {

/// A file that goes away with us.
struct StudyFile {
  StudyFile()
      : path((std::filesystem::temp_directory_path() /
              ("taper_journal_" + std::to_string(::getpid()) + "_" + std::to_string(count++)))
                 .string()) {
    std::filesystem::remove(path);
  }
  ~StudyFile() { std::filesystem::remove(path); }
  std::string text() const {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }
  void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  std::string path;
  static inline int count = 0;
};

SearchSpace journal_space() {
  return SearchSpace({SearchDimension::log_uniform("lr", 1e-5, 1), SearchDimension::integer("n", 1, 9),
                      SearchDimension::categorical("word", {"one", "zw\xc3\xb6lf"})});
}

struct Curve : RunningTrial {
  Curve(const TrialSettings& s, std::uint64_t seed)
      : limit(std::abs(std::log10(s.number("lr", 0)) + 2) + s.number("n", 0) / 10 +
              static_cast<double>(seed % 100) / 300),
        fails(seed % 9 == 0) {}
  TrialResult advance(Index epochs) override {
    ++calls;
    if (fails) throw Error("curve", "it fails: \"this\"\nis why");
    return {.objectives = {limit + 1 / static_cast<double>(epochs)},
            .constraints = {0.3 - limit},
            .figures = {{"widths", {8, 3, 1}}, {"size", {31}}}};
  }
  double limit;
  bool fails;
  static inline std::atomic<int> calls = 0;
};

StartTrial curves() {
  return [](const TrialSettings& s, std::uint64_t seed) { return std::make_unique<Curve>(s, seed); };
}

TuneOptions curve_options(StudyRecord* record, bool halving) {
  TuneOptions options{.trials = 24, .seed = 4, .epochs = 18, .wave = 4, .record = record};
  if (halving) options.halving = Halving{2, 3};
  return options;
}

void check_same(const std::vector<Trial>& a, const std::vector<Trial>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    CAPTURE(k);
    CHECK(a[k].point == b[k].point);
    CHECK(a[k].state == b[k].state);
    CHECK(a[k].epochs == b[k].epochs);
    CHECK(a[k].result.objectives == b[k].result.objectives);
    CHECK(a[k].result.constraints == b[k].result.constraints);
    CHECK(a[k].result.figures == b[k].result.figures);
    CHECK(a[k].reports == b[k].reports);
    CHECK(a[k].message == b[k].message);
  }
  CHECK(best_trial(a) - a.begin() == best_trial(b) - b.begin());
}

}  // namespace

TEST_CASE("journal: a study that is killed at any of 20 moments has the same trials and the same winner") {
  for (const bool halving : {false, true}) {
    CAPTURE(halving);
    const StudyFile whole;
    std::vector<Trial> expected;
    {
      io::Journal journal(whole.path, "curves");
      expected = tune(journal_space(), curves(), curve_options(&journal, halving));
    }
    check_same(tune(journal_space(), curves(), curve_options(nullptr, halving)), expected);
    const std::string text = whole.text();
    Rng rng(11);
    for (int moment = 0; moment < 20; ++moment) {
      const auto size = static_cast<std::size_t>(rng.below(static_cast<Index>(text.size()) + 1));
      CAPTURE(size);
      const StudyFile cut;
      cut.write(text.substr(0, size));
      std::size_t ended = 0;
      for (std::size_t at = 0; (at = text.find("datetime_complete", at)) < size; ++at) {
        ended += text.find('\n', at) < size;
      }
      Curve::calls = 0;
      std::set<Index> run;
      {
        io::Journal journal(cut.path, "curves");
        TuneOptions options = curve_options(&journal, halving);
        options.progress = [&](const std::vector<Trial>&, const Trial& trial) { run.insert(trial.number); };
        check_same(tune(journal_space(), curves(), options), expected);
      }
      CHECK(run.size() == expected.size() - ended);  // what had ended was not run again
      // And once more from its end: nothing is left to do.
      Curve::calls = 0;
      io::Journal journal(cut.path, "curves");
      check_same(tune(journal_space(), curves(), curve_options(&journal, halving)), expected);
      CHECK(Curve::calls == 0);
    }
  }
}

TEST_CASE("journal: the time that a study has taken goes on") {
  const StudyFile file;
  double before = 0;
  {
    io::Journal journal(file.path, "a");
    TuneOptions options = curve_options(&journal, false);
    options.trials = 8;
    for (const Trial& trial : tune(journal_space(), curves(), options)) {
      before = std::max(before, trial.study_seconds);
    }
  }
  io::Journal journal(file.path, "a");
  TuneOptions options = curve_options(&journal, false);
  double asked = -1;
  options.go_on = [&](const std::vector<Trial>& trials, double seconds) {
    CHECK(trials.size() == 8);
    asked = seconds;
    return false;
  };
  CHECK(tune(journal_space(), curves(), options).size() == 8);
  CHECK(asked >= before);
}

TEST_CASE("journal: each line is an event of Optuna's, and several studies share a file") {
  const StudyFile file;
  for (const char* name : {"first", "second"}) {
    io::Journal journal(file.path, name);
    tune(journal_space(), curves(), curve_options(&journal, false));
  }
  std::istringstream lines(file.text());
  std::map<int, int> operations;
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    ++operations[event.at("op_code").get<int>()];
    CHECK(event.at("worker_id").is_string());
    if (event["op_code"] == 4) {
      const auto distribution = nlohmann::json::parse(event["distributions"]["n"].get<std::string>());
      CHECK(distribution["name"] == "IntDistribution");
      CHECK(distribution["attributes"]["high"] == 9);
    }
  }
  CHECK(operations[0] == 2);
  CHECK(operations[4] == 48);
  CHECK(operations[6] == 48);
  io::Journal journal(file.path, "second");
  Curve::calls = 0;
  CHECK(tune(journal_space(), curves(), curve_options(&journal, false)).size() == 24);
  CHECK(Curve::calls == 0);
}

TEST_CASE("journal: what others write, as Python writes it, ends no study, neither open nor opened again") {
  const std::string theirs = ",\"worker_id\":\"optuna\"}\n";
  const auto run = [](StudyRecord* record, const StartTrial& start) {
    TuneOptions options = curve_options(record, false);
    options.trials = 4;
    return tune(journal_space(), start, options);
  };
  const auto expected = run(nullptr, curves());
  const std::string huge(400, '9');
  for (const std::string line : {
           R"("op_code":8,"user_attr":{"tags":["a","b"]})",
           R"("op_code":8,"user_attr":{"rmse":NaN})",
           R"("op_code":8,"user_attr":{"epochs":"ten"})",
           R"("op_code":8,"user_attr":{"message":5})",
           R"("op_code":8,"user_attr":{"seconds":[]})",
           R"("op_code":8,"user_attr":{"nested":[[1],[2]]})",
           R"("op_code":8,"user_attr":{"x":-Infinity,"y, NaN: \"":["NaN",Infinity]})",
           R"("op_code":8,"user_attr":{"half":"\udcff NaN \ud83d\ude00 \\ud800 \ud800"})",
           R"("op_code":8,"user_attr":3)",
           R"("op_code":8)",
           R"("op_code":8,"user_attr":{"epochs":1e300})",
           R"("op_code":7,"step":1,"intermediate_value":NaN)",
           R"("op_code":7,"step":[],"intermediate_value":"a")",
           R"("op_code":7,"step":-3,"intermediate_value":Infinity)",
           R"("op_code":9,"system_attr":{"constraints":null})",
           R"("op_code":9,"system_attr":{"note":[{"a":1}]})",
           R"("op_code":10,"discard":[NaN])",
           R"("op_code":5,"param_name":7,"param_value_internal":NaN)",
           R"("op_code":2,"study_id":1,"user_attr":{"taper":{"note":5}})",
           R"("op_code":3,"study_id":0,"system_attr":[])",
       }) {
    CAPTURE(line);
    for (const char* study : {"0", "1"}) {
      CAPTURE(study);
      const StudyFile file;
      // A trial of theirs, in our study or in their own, and one line that is about it.
      std::atomic<bool> is_written = false;  // trials run side by side
      const StartTrial start = [&](const TrialSettings& s, std::uint64_t seed) {
        if (!is_written.exchange(true)) {
          const std::string text = file.text();
          std::size_t id = 0;
          for (std::size_t at = 0; (at = text.find("\"op_code\":4", at)) != text.npos; ++at) ++id;
          std::ofstream out(file.path, std::ios::binary | std::ios::app);
          out << "{\"op_code\":0,\"study_name\":\"theirs\",\"directions\":[1]" << theirs;
          out << "{\"op_code\":4,\"study_id\":" << study << ",\"datetime_start\":null" << theirs;
          out << "{\"trial_id\":" << id << ',' << line << theirs;
          out << "{\"trial_id\":0," << line << theirs;  // and about a trial of ours
          out << "{\"trial_id\":" << id << ",\"op_code\":8,\"user_attr\":{\"n\":" << huge << '}' << theirs;
        }
        return std::make_unique<Curve>(s, seed);
      };
      {
        io::Journal journal(file.path, "curves");
        check_same(run(&journal, start), expected);
      }
      CHECK(is_written);
      Curve::calls = 0;
      io::Journal journal(file.path, "curves");
      check_same(run(&journal, curves()), expected);
      CHECK(Curve::calls == 0);
    }
  }
}

TEST_CASE("journal: numbers of trials that are not finite") {
  const StudyFile file;
  {
    io::Journal journal(file.path, "a");
    const auto odd = [](const TrialSettings&, std::uint64_t) -> TrialResult {
      return {.objectives = {1}, .figures = {{"one", {std::nan("")}}, {"two", {std::nan(""), 2}}}};
    };
    tune(journal_space(), odd, {.trials = 1, .record = &journal});
  }
  // Added by Optuna, with all that there is to know of it but its attributes.
  const auto add = [&](const std::string& values) {
    std::ofstream(file.path, std::ios::binary | std::ios::app)
        << R"({"op_code":4,"worker_id":"optuna","study_id":0,"params":{"lr":0.1,"n":2,"word":0},"datetime_start":null})"
        << "\n"
        << values << "\n";
  };
  add(R"({"op_code":7,"worker_id":"optuna","trial_id":1,"step":2,"intermediate_value":-Infinity})");
  add(R"({"op_code":8,"worker_id":"optuna","trial_id":2,"user_attr":{"r":[NaN,Infinity,-Infinity,"x"]}})");
  std::ofstream(file.path, std::ios::binary | std::ios::app)
      << R"({"op_code":8,"worker_id":"optuna","trial_id":2,"user_attr":{"r":[Infinity,-Infinity,4]}})"
      << "\n"
      << R"({"op_code":8,"worker_id":"optuna","trial_id":2,"user_attr":{"word":"Infinity","epochs":7}})"
      << "\n"
      << R"({"op_code":6,"worker_id":"optuna","trial_id":1,"state":1,"values":[Infinity]})"
      << "\n"
      << R"({"op_code":6,"worker_id":"optuna","trial_id":2,"state":1,"values":[0.5]})"
      << "\n";
  const StudyDescription study{.space = journal_space(), .wave = 8};
  const auto trials = io::Journal(file.path, "a").begin(study);
  REQUIRE(trials.size() == 3);
  REQUIRE(trials[0].result.figures.size() == 2);
  CHECK(std::isnan(trials[0].result.figures[0].second.at(0)));
  CHECK(std::isnan(trials[0].result.figures[1].second.at(0)));
  CHECK(trials[0].result.figures[1].second.at(1) == 2);
  CHECK(trials[1].state == Trial::State::failed);  // as tune has it
  CHECK(trials[1].reports == std::vector<std::pair<Index, double>>{{2, -INFINITY}});
  CHECK(trials[2].result.objectives == std::vector{0.5});
  CHECK(trials[2].epochs == 0);  // a word of ours is ours alone
  using Figures = std::vector<std::pair<std::string, std::vector<double>>>;
  CHECK(trials[2].result.figures == Figures{{"r", {INFINITY, -INFINITY, 4}}, {"epochs", {7}}});

  // What cannot be understood of a trial that counts is an error, which names it.
  const std::string text = file.text();
  const auto check_refused = [&](const std::string& wrong, const std::string& what) {
    CAPTURE(wrong);
    file.write(wrong);
    CHECK_THROWS_WITH_AS(io::Journal(file.path, "a").begin(study), doctest::Contains(what.c_str()), Error);
  };
  const auto with = [&](const std::string& old, const std::string& changed) {
    std::string result = text;
    return result.replace(result.find(old), old.size(), changed);
  };
  check_refused(with("\"values\":[0.5]", "\"values\":[\"a\"]"),
                "in trial 2 of the study 'a', 'values' is [\"a\"]: expected numbers");
  check_refused(with("\"epochs\":1}", "\"epochs\":\"ten\"}"),
                "in trial 0 of the study 'a', 'epochs' is \"ten\": expected an integer");
  for (const char* wrong :
       {"{\"op_code\":3,\"x\":NaNo}\n", "{\"op_code\":3,\"x\":- Infinity}\n", "{\"x\":NaN}\n"}) {
    check_refused(wrong + text, "line 1 is not an event");
  }
}

TEST_CASE("journal: another study, another program, and what is no journal") {
  const StudyFile file;
  {
    io::Journal journal(file.path, "a");
    tune(journal_space(), curves(), curve_options(&journal, false));
    CHECK_THROWS_WITH_AS(io::Journal(file.path, "b"), doctest::Contains("another program"), Error);
  }
  const auto with = [&](const TuneOptions& changed, const SearchSpace& space) {
    io::Journal journal(file.path, "a");
    TuneOptions options = changed;
    options.record = &journal;
    return tune(space, curves(), options);
  };
  TuneOptions options = curve_options(nullptr, false);
  options.seed = 5;
  CHECK_THROWS_WITH_AS(with(options, journal_space()), doctest::Contains("differs in its seed"), Error);
  options = curve_options(nullptr, false);
  options.note = "other data";
  CHECK_THROWS_WITH_AS(with(options, journal_space()), doctest::Contains("'' and not 'other data'"), Error);
  options = curve_options(nullptr, true);
  CHECK_THROWS_AS(with(options, journal_space()), Error);
  options = curve_options(nullptr, false);
  auto dimensions = journal_space().dimensions();
  dimensions[0].high = 2;
  CHECK_THROWS_WITH_AS(with(options, SearchSpace(dimensions)), doctest::Contains("space"), Error);

  options = curve_options(nullptr, false);
  options.tpe.startup = 3;
  CHECK_THROWS_WITH_AS(with(options, journal_space()), doctest::Contains("differs in its tpe"), Error);

  const std::string text = file.text();
  file.write(R"({"op_code":0,"study_name":"a","directions":[2],"worker_id":"optuna"})"
             "\n");
  CHECK_THROWS_WITH_AS(with(curve_options(nullptr, false), journal_space()),
                       doctest::Contains("the study 'a' maximizes: expected one that minimizes"), Error);
  file.write("");
  CHECK_THROWS_WITH_AS(io::Journal(file.path, "b\xff").begin({.space = journal_space()}),
                       doctest::Contains("not UTF-8"), Error);
  CHECK_THROWS_WITH_AS(io::Journal(file.path, "b").begin({.space = journal_space(), .note = "\xff"}),
                       doctest::Contains("not UTF-8"), Error);
  for (const char* wrong :
       {"hello\n", "{}\n", "[1,2]\n", "3\n", "{\"op_code\":4}\n", "{\"op_code\":\"4\",\"study_id\":0}\n",
        "\n", "{\"op_code\":5,\"trial_id\":1.5e300}\n"}) {
    CAPTURE(wrong);
    file.write(text + wrong);
    CHECK_THROWS_WITH_AS(io::Journal(file.path, "a"), doctest::Contains("line"), Error);
  }
  // All of a file that is not ours may be a line without an end: it stays as it is.
  for (const std::string foreign : {"{\"op\":1}", "notes", "{\"op_codes\"", "a,b\n1,2"}) {
    CAPTURE(foreign);
    file.write(foreign);
    CHECK_THROWS_WITH_AS(io::Journal(file.path, "a"), doctest::Contains("line 1"), Error);
    CHECK(file.text() == foreign);
  }
  // The first line that was cut off anywhere is ours.
  for (const std::size_t length : {0, 1, 8, 11, 12, 30}) {
    CAPTURE(length);
    file.write(text.substr(0, length));
    CHECK(io::Journal(file.path, "a").begin({.space = journal_space()}).empty());
  }
  // A point outside is named by file and trial.
  std::string outside = text;
  const std::size_t params = outside.find("\"params\":{");
  REQUIRE(params != std::string::npos);
  outside.erase(params + 10, outside.find('}', params) - params - 10);
  file.write(outside);
  CHECK_THROWS_WITH_AS(with(curve_options(nullptr, false), journal_space()),
                       doctest::Contains((file.path + ": in trial 0 of the study 'a', ").c_str()), Error);
  CHECK_THROWS_AS(io::Journal("/nowhere/file", "a"), Error);
  CHECK_THROWS_AS(io::Journal("/tmp", "a"), Error);
}

TEST_CASE("journal: others append at the same time, to the same study and to their own") {
  const StudyFile file, alone;
  std::vector<Trial> expected;
  {
    io::Journal journal(alone.path, "curves");
    expected = tune(journal_space(), curves(), curve_options(&journal, false));
  }
  // In form and order as Optuna's workers write.
  int added = 0;
  std::mutex mutex;
  const auto others = [&] {
    const std::lock_guard one_by_one(mutex);
    const std::string lock = file.path + ".lock";
    int made;
    while ((made = ::open(lock.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0666)) < 0) std::this_thread::yield();
    ::close(made);
    const std::string id = ",\"worker_id\":\"optuna\"}\n";
    std::ofstream out(file.path, std::ios::binary | std::ios::app);
    if (added == 0) out << "{\"op_code\":0,\"study_name\":\"theirs\",\"directions\":[1]" << id;
    out << "{\"op_code\":4,\"study_id\":" << added % 2 << ",\"datetime_start\":\"2024-01-01T00:00:00\"" << id;
    ++added;
    out.close();
    std::filesystem::remove(lock);
  };
  const StartTrial start = [&](const TrialSettings& s, std::uint64_t seed) {
    others();
    return std::make_unique<Curve>(s, seed);
  };
  {
    io::Journal journal(file.path, "curves");
    check_same(tune(journal_space(), start, curve_options(&journal, false)), expected);
  }
  CHECK(added >= 24);
  CHECK_FALSE(std::filesystem::exists(file.path + ".lock"));
  // Every value stands with the trial that it belongs to, by the ids of the whole file.
  std::map<std::size_t, double> values;
  std::map<std::size_t, std::string> point_of;
  std::size_t id = 0;
  std::istringstream lines(file.text());
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    if (event["op_code"] == 4) {
      if (event.contains("params")) point_of[id] = event["params"].dump();
      ++id;
    } else if (event["op_code"] == 6 && event["values"].is_array()) {
      values[event["trial_id"]] = event["values"][0];
    }
  }
  CHECK(id == expected.size() + static_cast<std::size_t>(added));
  REQUIRE(point_of.size() == expected.size());
  std::size_t k = 0;
  for (const auto& [place, point] : point_of) {
    const Trial& trial = expected[k++];
    if (trial.state == Trial::State::complete) CHECK(values.at(place) == trial.result.objectives[0]);
  }
  // Taken up again, what others run is left to them, and what they have ended counts.
  Curve::calls = 0;
  {
    io::Journal journal(file.path, "curves");
    check_same(tune(journal_space(), curves(), curve_options(&journal, false)), expected);
    CHECK(Curve::calls == 0);
  }
  io::Journal journal(file.path, "curves");
  TuneOptions options = curve_options(&journal, false);
  options.trials = 28;
  bool deleted = false;
  options.progress = [&](const std::vector<Trial>&, const Trial&) {
    if (std::exchange(deleted, true)) return;
    std::ofstream(file.path, std::ios::binary | std::ios::app) << "{\"op_code\":1,\"study_id\":0}\n";
  };
  CHECK_THROWS_WITH_AS(tune(journal_space(), curves(), options), doctest::Contains("was deleted by another"),
                       Error);
}
