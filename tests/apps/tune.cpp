// Runs tune.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <taper/version.hpp>

#include "../../apps/tune_report.hpp"
#include "../../apps/tune_search.hpp"
#include "run.hpp"

using namespace programs;

namespace {

// On the embedded set, as short as it can be.
const std::string settings =
    "--budget-parameters 60 --search epochs=2,3 --search path_epochs=1 --search starts=1 "
    "--search refit_iterations=3 --search width=8:12:int --search layers=2 --search activation=tanh "
    "--search penalty_growth=2 ";
const std::string quick = settings + "--trials 2 --seeds 2 ";

Json without_time(Json report) {
  report.erase("seconds");
  for (Json& one : report["found"]) one.erase("seconds_of_each");
  for (Json& one : report["found"]) one.erase("control");  // how many starts it has is a time
  for (Json& one : report["found"]) {
    for (const char* of : {"paired_median_difference", "lower_in", "worth_it", "says"}) one.erase(of);
  }
  return report;
}

}  // namespace

TEST_CASE("tune: as many starts as there is time for, by their epochs") {
  const taper::apps::StartsInTime time{
      .seconds = 100, .rest = 10, .of_start = 2, .of_epoch = 0.5, .least_epochs = 4};
  CHECK(time.with(4) == 45);
  CHECK(time.with(0) == 45);
  CHECK(time.with(5) == 36);
  CHECK(time.with(20) == 9);
  CHECK(time.with(1e6) == 1);
  CHECK(taper::apps::StartsInTime{.seconds = 1e6, .of_start = 1e-3}.with(7) == 1000);
  CHECK(taper::apps::StartsInTime{.seconds = 1, .rest = 2}.with(7) == 1);
}

TEST_CASE("tune: dense networks are searched for in the same ranges, with a decay for the penalty") {
  using taper::apps::searched;
  using taper::sparsity::SearchDimension;
  constexpr taper::Index rows = 13'600;
  taper::apps::TuneStudyOptions options;
  const auto dimension = [](const taper::apps::Searched& in, const char* name) {
    const auto found = std::ranges::find(in.dimensions, name, &SearchDimension::name);
    return found == in.dimensions.end() ? std::optional<SearchDimension>() : *found;
  };
  const auto sparse = searched(options, rows, 300), dense = searched_dense(sparse, rows);
  CHECK(dimension(sparse, "refit_penalty"));
  CHECK_FALSE(dimension(sparse, "refit_decay"));
  CHECK_FALSE(dimension(dense, "refit_penalty"));
  CHECK_FALSE(dimension(dense, "penalty"));
  CHECK(dimension(dense, "refit_decay") == SearchDimension::log_uniform("refit_decay", 1e-5, 1e-3));
  CHECK(dimension(dense, "lr") == SearchDimension::log_uniform("lr", 5e-4, 2e-2));
  for (const char* same : {"activation", "refit_iterations"}) {
    CHECK(dimension(dense, same));
    CHECK(dimension(dense, same) == dimension(sparse, same));
  }
  auto epochs = dimension(sparse, "epochs");
  REQUIRE(epochs);
  epochs->low = 5;
  CHECK(dimension(dense, "epochs") == epochs);

  // Without a budget both have a decay.
  const auto front = searched(options, rows, 0);
  CHECK(dimension(front, "refit_decay"));
  CHECK(dimension(searched_dense(front, rows), "refit_decay") == dimension(front, "refit_decay"));

  // What the user asks for concerns both, but for the penalty.
  options.search = {"refit_decay=0.1", "refit_penalty=1e-3", "epochs=7,9", "refit=adam", "batch_size=64"};
  const auto asked = searched_dense(searched(options, rows, 300), rows);
  CHECK_FALSE(dimension(asked, "refit_decay"));
  CHECK(asked.held.number("refit_decay", 0) == 0.1);
  CHECK_FALSE(asked.held.has("refit_penalty"));
  CHECK(asked.held.word("refit", "") == "adam");
  CHECK(asked.held.number("batch_size", 0) == 64);
  CHECK(dimension(asked, "epochs") == SearchDimension::categorical("epochs", {"7", "9"}));
}

TEST_CASE("tune: a network within the budget, and a dense one beside it; taken up again, the same") {
  const Folder folder;
  const std::string journal = folder / "study.log";
  const Json report = figures("tune", quick + "--journal '" + journal + "'");
  REQUIRE(has(report, {"data", "rows", "measure", "found", "front", "seconds"}));
  REQUIRE(report["found"].size() == 1);
  const Json& found = report["found"][0];
  REQUIRE(has(found, {"budget", "trials", "failed", "winner", "seeds", "seeds_within_budget", "median",
                      "from", "to", "control", "paired_median_difference", "worth_it", "says"}));
  CHECK(found["seeds_within_budget"] == 2);
  CHECK(found["from"] <= found["median"]);
  CHECK(found["median"] <= found["to"]);
  CHECK(found["budget"] == 60);
  CHECK(found["trials"] == 2);
  CHECK(found["winner"]["size"] <= 60);
  CHECK(found["seeds"].size() == 2);
  for (const Json& seed : found["seeds"]) {
    CHECK(seed["size"] <= 60);
    CHECK(seed["test_mse"] < 1);
  }
  CHECK(found["control"]["widths"] == found["winner"]["widths"]);
  CHECK(found["winner"]["settings"].contains("refit_penalty"));
  CHECK_FALSE(found["control"]["winner"]["settings"].contains("refit_penalty"));
  CHECK(found["control"]["winner"]["settings"].contains("refit_decay"));
  CHECK(found["control"]["tries"] == 2);
  CHECK(found["control"]["starts_of_each"] >= 1);
  CHECK(found["control"]["winner"]["settings"]["starts"] == found["control"]["starts_of_each"]);
  CHECK(found["worth_it"] == (found["paired_median_difference"] < 0));
  for (std::size_t k = 0; k < 2; ++k) {  // each beside one of its own shape
    CHECK(found["control"]["seeds"][k]["widths"] == found["seeds"][k]["widths"]);
  }
  int lower = 0;
  for (std::size_t k = 0; k < 2; ++k) {
    lower += found["seeds"][k]["test_mse"] < found["control"]["seeds"][k]["test_mse"] ? 1 : 0;
  }
  CHECK(found["lower_in"] == lower);
  CHECK(found["says"].get<std::string>().ends_with("lower in " + std::to_string(lower) + " of 2 seeds"));
  CHECK(report["front"].size() >= 1);

  // All is in the journal: nothing runs again, and what was measured is kept.
  const auto size = fs::file_size(journal);
  Json again = figures("tune", quick + "--journal '" + journal + "' --threads 2");
  CHECK(fs::file_size(journal) == size);
  again.erase("seconds");
  Json first = report;
  first.erase("seconds");
  CHECK(again == first);

  // Killed in the middle of a line, and without a journal.
  fs::resize_file(journal, size / 3);
  CHECK(without_time(figures("tune", quick + "--journal '" + journal + "'")) == without_time(report));
  CHECK(run("tune", quick + "--seed 1 --journal '" + journal + "'").err.find("differs in its") !=
        std::string::npos);
}

TEST_CASE("tune: a study goes on with more trials and seeds, and another measure is another study") {
  const Folder folder;
  const std::string journal = folder / "study.log";
  std::ofstream table(folder / "t.csv");
  table << "a,b,y\n";
  for (int i = 0; i < 200; ++i) {
    table << i % 17 << ',' << i % 23 << ',' << std::sin(i % 17) + 0.1 * (i % 23) << '\n';
  }
  table.close();
  // Epochs are held here, elsewhere words or a range.
  const std::string small = settings + "--search epochs=2 --csv '" + (folder / "t.csv") + "' --target y ";
  // The whole of a study of 4 trials, and the same by way of 2 trials, whose winner may be another one.
  const auto with = [&](const char* trials, const std::string& log) {
    return without_time(figures("tune", small + "--trials " + trials + " --seeds 3 --journal '" + log + "'"));
  };
  figures("tune", small + "--trials 2 --seeds 2 --journal '" + journal + "'");
  const Json on = with("4", journal);
  CHECK(on["found"][0]["trials"] == 4);
  CHECK(on == with("4", folder / "new.log"));
  for (const char* other : {"--measure multiply_adds", "--soft"}) {
    CAPTURE(other);
    CHECK(run("tune", small + "--trials 2 " + other + " --journal '" + journal + "'")
              .err.find("differs in its") != std::string::npos);
  }
  // So is that of another version, which may come to other networks.
  std::string old = text(journal);
  const std::string mine = std::string("taper ") + taper::version;
  for (std::size_t at = 0; (at = old.find(mine, at)) != std::string::npos;)
    old.replace(at, mine.size(), "taper 0.0.1");
  std::ofstream(journal) << old;
  CHECK(run("tune", small + "--trials 2 --journal '" + journal + "'").err.find("differs in its note") !=
        std::string::npos);
}

TEST_CASE("tune: progress is on standard error, with the best so far, and the front is drawn") {
  const Folder folder;
  const Run result = run("tune",
                         "--trials 3 --seeds 2 --no-control --search epochs=2 --search starts=1 --search "
                         "refit_iterations=2 --search width=8 --search layers=1 --plot '" +
                             folder.path.string() + "'");
  REQUIRE(result.status == 0);
  CHECK(result.err.find("embedded front: trial 3 of 3") != std::string::npos);
  CHECK(result.err.find(" seeds: trial 2 of 2") != std::string::npos);
  CHECK(result.out.find("the front of all trials") != std::string::npos);
  const std::string figure = text(folder / "sizes.gp");
  CHECK(figure.find("set xlabel 'parameters'; set ylabel 'test MSE'") != std::string::npos);
  CHECK(figure.find("α") == std::string::npos);
}

TEST_CASE("tune: with halving, the control ends trials early as the search does") {
  const Folder folder;
  const std::string journal = folder / "study.log";
  const Json found =
      figures("tune", settings + "--search epochs=6:8:int --trials 9 --seeds 2 --halving --journal '" +
                          journal + "'")["found"][0];
  CHECK(found["trials"] == 9);
  CHECK(found["control"]["tries"] == 9);
  std::ifstream lines(journal);
  int pruned = 0, complete = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json event = Json::parse(line);
    if (event["op_code"] != 6) continue;
    pruned += event["state"] == 2 ? 1 : 0;
    complete += event["state"] == 1 ? 1 : 0;
  }
  CHECK(pruned == 16);               // 8 of 9 in both
  CHECK(complete == 2 + 2 * 2 + 1);  // the best of each wave, the seeds, and the time of the control
}

TEST_CASE("tune: a soft budget and multiply-adds") {
  const Json products = figures("tune", quick + "--no-control --measure multiply_adds");
  CHECK(products["measure"] == "multiply_adds");
  for (const Json& seed : products["found"][0]["seeds"]) {
    const Json& widths = seed["widths"];
    int count = 0;
    for (std::size_t k = 0; k + 1 < widths.size(); ++k)
      count += widths[k].get<int>() * widths[k + 1].get<int>();
    CHECK(seed["size"] == count);
    CHECK(count <= 60);
  }
  // What a weak penalty leaves is above the budget, pays for that, and counts.
  const Json soft = figures("tune", quick + "--no-control --soft --search penalty=1e-6")["found"][0];
  CHECK(soft["winner"]["size"] > 60);
  CHECK(soft["seeds_within_budget"] == 2);
}

TEST_CASE("tune: a seed above its budget is not judged, and trials without a size are on no front") {
  using taper::sparsity::Trial;
  const auto seed = [](double test, double over) {
    Trial trial{.state = Trial::State::complete};
    trial.result = {.objectives = {test}, .constraints = {over}, .figures = {{"test", {test}}}};
    return trial;
  };
  const std::vector<Trial> seeds{seed(3, 0), seed(1, 0.2), seed(5, -0.5), seed(4, 0)};
  const Json spread = taper::apps::spread_of(seeds);
  CHECK(spread["seeds_within_budget"] == 3);
  CHECK(spread["median"] == 4);
  CHECK(spread["from"] == 3);
  CHECK(spread["to"] == 5);
  CHECK(taper::apps::spread_of({seed(1, 1)})["median"].is_null());
  Trial foreign = seed(0, 0), ours = seed(1, 0);
  ours.result.figures = {{"validation_loss", {1}}, {"size", {7}}};
  const Json front = taper::apps::front_of({{"study", {foreign, ours}}}, {});
  REQUIRE(front.size() == 1);
  CHECK(front[0]["size"] == 7);
}

TEST_CASE("tune: one trial from JSON to JSON") {
  const Folder folder;
  const std::string path = folder / "trial.json";
  const auto with = [&](const std::string& text) {
    std::ofstream(path) << text;
    return run("tune", "--trial '" + path + "' --json -");
  };
  const std::string start = R"({"layers": 2, "width": 8, "epochs": 2, "refit_iterations": 3, )";
  const Run good = with(start + R"("activation": "tanh", "budget": 60, "seed": 3})");
  REQUIRE(good.status == 0);
  const Json report = Json::parse(good.out);
  REQUIRE(has(report, {"objective", "constraints", "size", "widths", "inputs", "validation_loss"}));
  CHECK(report["size"] <= 60);
  CHECK(report["objective"] == report["validation_loss"]);
  CHECK(report["constraints"][0] <= 0);
  CHECK(with(start + R"("activation": "tanh", "budget": 60, "seed": 3})").out == good.out);
  for (const char* idle :
       {"--budget-parameters 60", "--soft", "--minutes 1", "--trials 2", "--sampler random", "--halving",
        "--search lr=1", "--journal x", "--seeds 2", "--no-control", "--plot ."}) {
    CAPTURE(idle);
    const Run result = run("tune", "--trial '" + path + "' " + idle);
    CHECK(result.status == 2);
    CHECK(result.err.find(" with --trial: expected settings in its JSON") != std::string::npos);
  }
  for (const char* wrong :
       {"", "[1]", "{", R"({"lr": "x"})", R"({"lr": -1})", R"({"rate": 1})", R"({"budget": 3})",
        R"({"budget": -3})", R"({"activation": "step"})", R"({"lr": null})", R"({"width": 1e9})"}) {
    CAPTURE(wrong);
    const Run result = with(wrong);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
  }
}

TEST_CASE("tune: wrong input is one sentence and exit status 2") {
  const Folder folder;
  std::ofstream(folder / "constant.csv") << "a,b\n1,5\n2,5\n3,5\n4,5\n5,5\n6,5\n7,5\n8,5\n9,5\n10,5\n";
  std::ofstream(folder / "no_journal") << "hello\n";
  const std::string constant = " --csv '" + (folder / "constant.csv") + "'";
  for (const std::string& arguments :
       {std::string("--budget-parameters 5"), std::string("--budget-parameters x"),
        std::string("--search lr=2:1"), std::string("--search speed=1"), std::string("--search lr"),
        std::string("--sampler grid"), std::string("--trials 0"), std::string("--data /nowhere"),
        std::string("--csv /nowhere.csv --target a"), constant, constant + " --target c",
        constant + " --target b", std::string("--target b"), std::string("--halving"), std::string("--soft"),
        quick + "--journal '" + (folder / "no_journal") + "'"}) {
    CAPTURE(arguments);
    const Run result = run("tune", arguments);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
  }
  // What all trials failed of is said, and not that the budget was too small.
  const Run failed = run("tune", quick + "--quiet --search lr=-1");
  CHECK(failed.status == 2);
  CHECK(failed.err.find("all 2 trials have failed, the first because [two_phase] lr is -1") !=
        std::string::npos);
  CHECK(run("tune", "--help").out.find("--budget-parameters") != std::string::npos);
}
