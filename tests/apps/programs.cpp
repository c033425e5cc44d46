// Runs the programs as a user would.

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// A folder of our own that goes away with us.
struct Folder {
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* file) const { return (path / file).string(); }
  static inline int count = 0;
  fs::path path = fs::temp_directory_path() /
                  ("taper_programs_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
};

std::string text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream all;
  all << file.rdbuf();
  return all.str();
}

struct Run {
  int status;
  std::string out, err;
};

/// Runs a program; without `data`, as if TAPER_DATA were not set.
Run run(const std::string& program, const std::string& arguments, bool data = false) {
  const Folder folder;
  const std::string out = folder / "out", err = folder / "err";
  const std::string command = std::string(data ? "" : "env -u TAPER_DATA ") + "'" TAPER_APPS_DIR "/" +
                              program + "' " + arguments + " >'" + out + "' 2>'" + err + "'";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text(out), text(err)};
}

/// The figures of a run, without those that are times.
Json figures(const std::string& program, const std::string& arguments, bool data = false) {
  const std::string path =
      (fs::temp_directory_path() / ("taper_figures_" + std::to_string(::getpid()) + ".json")).string();
  const Run result = run(program, "--quiet --json '" + path + "' " + arguments, data);
  INFO(program, " ", arguments, ": ", result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.empty());
  CHECK(result.err.empty());
  const Json report = Json::parse(text(path));
  fs::remove(path);
  return report;
}

Json without_seconds(Json report) {
  report.erase("seconds");
  for (auto& part : report) {
    if (part.is_object()) part.erase("seconds");
  }
  return report;
}

bool has(const Json& report, std::initializer_list<const char*> keys) {
  return std::ranges::all_of(keys, [&](const char* key) {
    if (!report.contains(key)) MESSAGE("missing: ", key);
    return report.contains(key);
  });
}

bool data_given() {
  const char* const setting = std::getenv("TAPER_DATA");
  return setting != nullptr && *setting != '\0';
}

constexpr const char* programs[] = {"sparse_logistic", "sparse_mlp"};

}  // namespace

TEST_CASE("programs: --help") {
  for (const std::string program : programs) {
    const Run result = run(program, "--help");
    CHECK(result.status == 0);
    CHECK(result.err.empty());
    for (const char* option : {"--data", "--seed", "--threads", "--json", "--quiet", "--epochs", "--lr"}) {
      CAPTURE(option);
      CHECK(result.out.find(option) != std::string::npos);
    }
  }
}

TEST_CASE("programs: every way to fail is one line and exit status 2") {
  for (const std::string program : programs) {
    for (const char* arguments :
         {"--unknown", "surplus", "--epochs", "--epochs two", "--data /nowhere/at/all", "--batch-size 0",
          "--lr -1", "--epochs -1", "--threads 0", "--epochs 1 --quiet --json /nowhere/at/all.json"}) {
      const Run result = run(program, arguments);
      INFO(program, " ", arguments);
      INFO(result.err);
      CHECK(result.status == 2);
      CHECK(result.out.empty());
      CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
      CHECK(result.err.find(program + ": ") == 0);
    }
  }
}

TEST_CASE("programs: a run that fails leaves no empty report, and keeps the one that was there") {
  const Folder folder;
  const std::string report = folder / "report.json";
  CHECK(run("sparse_mlp", "--epochs 1 --batch-size 0 --json '" + report + "'").status == 2);
  CHECK_FALSE(fs::exists(report));
  std::ofstream(report) << "precious";
  CHECK(run("sparse_mlp", "--epochs 1 --batch-size 0 --json '" + report + "'").status == 2);
  CHECK(text(report) == "precious");
  CHECK(run("sparse_mlp", "--epochs 1 --json '" + folder.path.string() + "'").status == 2);
}

TEST_CASE("programs: --quiet prints nothing, and without it there is a table") {
  for (const std::string program : programs) {
    Run result = run(program, "--epochs 1 --quiet");
    CHECK(result.status == 0);
    CHECK(result.out.empty());
    CHECK(result.err.empty());
    result = run(program, "--epochs 1");
    CHECK(result.status == 0);
    CHECK(result.out.find("embedded") != std::string::npos);
    CHECK(result.out.find("seconds") != std::string::npos);
  }
}

TEST_CASE("programs: the figures of short runs, the same with any number of threads") {
  const Json logistic = figures("sparse_logistic", "--epochs 2 --threads 1");
  CHECK(has(logistic,
            {"data", "rows", "lambda", "loss", "objective", "nonzero", "intercept", "coef", "seconds"}));
  CHECK(logistic["data"] == "embedded");
  CHECK(logistic["coef"].size() == 500);
  CHECK(without_seconds(logistic) == without_seconds(figures("sparse_logistic", "--epochs 2 --threads 3")));

  const Json mlp = figures("sparse_mlp", "--epochs 2 --threads 1");
  REQUIRE(has(mlp, {"data", "rows", "phase1", "shrunk", "phase2"}));
  CHECK(has(mlp["rows"], {"train", "test"}));
  CHECK(has(mlp["phase1"], {"parameters", "widths", "test_mse", "seconds"}));
  CHECK(has(mlp["shrunk"],
            {"parameters", "widths", "inputs", "max_abs_difference", "max_relative_difference", "test_mse"}));
  CHECK(has(mlp["phase2"], {"test_mse", "seconds"}));
  CHECK(mlp["phase1"]["parameters"] == 8 * 32 + 32 + 32 * 64 + 64 + 64 * 32 + 32 + 32 + 1);
  CHECK(mlp["phase1"]["widths"] == Json({8, 32, 64, 32, 1}));
  CHECK(without_seconds(mlp) == without_seconds(figures("sparse_mlp", "--epochs 2 --threads 3")));
  CHECK(without_seconds(mlp) != without_seconds(figures("sparse_mlp", "--epochs 2 --no-shuffle")));
}

TEST_CASE("programs: with their defaults, on the real data") {
  if (!data_given()) {
    MESSAGE("skipped: TAPER_DATA is not set");
    return;
  }
  const Json logistic = figures("sparse_logistic", "", true);
  CHECK(logistic["data"] == "madelon");
  CHECK(logistic["objective"].get<double>() <= 0.655275);
  CHECK(std::abs(logistic["loss"].get<double>() - 0.6188) <= 0.0005);

  const Json mlp = figures("sparse_mlp", "--seed 0", true);
  CHECK(mlp["data"] == "california_housing");
  CHECK(mlp["shrunk"]["parameters"].get<int>() <= 750);
  CHECK(mlp["shrunk"]["max_relative_difference"].get<double>() <= 1e-5);
}

TEST_CASE(
    "masked_quadratic: every method arrives at (3, 2, 3, 5) and holds the bits, the naive recipe drifts") {
  const Json report = figures("masked_quadratic", "");
  REQUIRE(has(report, {"x0", "free", "methods", "naive"}));
  CHECK(report["methods"].size() == 5);
  const std::vector<double> answer{3, 2, 3, 5};
  for (const auto& [name, method] : report["methods"].items()) {
    INFO(name);
    const auto x = method["x"].get<std::vector<double>>();
    REQUIRE(x.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(x[i] - answer[i]) < 1e-5);
    CHECK(x[1] == 2);
    CHECK(x[3] == 5);
    CHECK(method["frozen_bits_unchanged"] == true);
    CHECK(method["evaluations"].get<int>() > 0);
  }
  CHECK(report["methods"]["descent_loop"]["evaluations"] == 100);
  const Json naive = report["naive"]["naive_adam"];
  CHECK(naive["frozen_bits_unchanged"] == false);
  CHECK(std::abs(naive["x"][1].get<double>() - 2) > 1);
  const Run table = run("masked_quadratic", "");
  CHECK(table.status == 0);
  CHECK(table.out.find("L-BFGS on the tape") != std::string::npos);
  CHECK(run("masked_quadratic", "--nonsense").status == 2);
}
