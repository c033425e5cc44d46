// Runs tune.

#include <cmath>
#include <fstream>

#include "run.hpp"

using namespace programs;

namespace {

// On the embedded set, as short as it can be.
const std::string settings =
    "--budget-parameters 60 --search epochs=2 --search path_epochs=1 --search starts=1 "
    "--search refit_iterations=3 --search width=8:12:int --search layers=2 --search activation=tanh "
    "--search penalty_growth=2 ";
const std::string quick = settings + "--trials 2 --seeds 2 ";

Json without_time(Json report) {
  report.erase("seconds");
  for (Json& one : report["found"]) one.erase("control");  // how many starts it has is a time
  for (Json& one : report["found"]) {
    for (const char* of : {"paired_median_difference", "lower_in", "worth_it", "says"}) one.erase(of);
  }
  return report;
}

}  // namespace

TEST_CASE("tune: a network within the budget, and a dense one beside it; taken up again, the same") {
  const Folder folder;
  const std::string journal = folder / "study.log";
  const Json report = figures("tune", quick + "--journal '" + journal + "'");
  REQUIRE(has(report, {"data", "rows", "measure", "found", "front", "seconds"}));
  REQUIRE(report["found"].size() == 1);
  const Json& found = report["found"][0];
  REQUIRE(has(found, {"budget", "trials", "failed", "winner", "seeds", "median", "control",
                      "paired_median_difference", "worth_it", "says"}));
  CHECK(found["budget"] == 60);
  CHECK(found["trials"] == 2);
  CHECK(found["winner"]["size"] <= 60);
  CHECK(found["seeds"].size() == 2);
  for (const Json& seed : found["seeds"]) {
    CHECK(seed["size"] <= 60);
    CHECK(seed["test_mse"] < 1);
  }
  CHECK(found["control"]["widths"] == found["winner"]["widths"]);
  CHECK(found["control"]["tries"] == 2);
  CHECK(found["control"]["starts_of_each"] >= 1);
  CHECK(found["worth_it"] == (found["paired_median_difference"] < 0));
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
  const std::string small = settings + "--csv '" + (folder / "t.csv") + "' --target y ";
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
}

TEST_CASE("tune: progress is on standard error, with the best so far, and the front is drawn") {
  const Folder folder;
  const Run result = run("tune",
                         "--trials 3 --seeds 2 --no-control --search epochs=2 --search starts=1 --search "
                         "refit_iterations=2 --search width=8 --search layers=1 --plot '" +
                             folder.path.string() + "'");
  REQUIRE(result.status == 0);
  CHECK(result.err.find("trial 3 of 3") != std::string::npos);
  CHECK(result.out.find("the front of all trials") != std::string::npos);
  CHECK(fs::exists(folder / "sizes.gp"));
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
