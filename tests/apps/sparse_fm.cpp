// Runs sparse_fm.

#include <cmath>
#include <cstdio>
#include <random>

#include "run.hpp"

using namespace programs;

namespace {

/// Ratings of 40 users and 50 items: a product of one number of each, what the kind of the item adds, and a
/// little noise.
std::string ratings(const std::string& separator, int count, unsigned seed, bool header) {
  std::string text = header ? "user" + separator + "item" + separator + "rating" + separator + "kind\n" : "";
  std::mt19937 draw(seed);  // the same numbers everywhere, unlike distributions
  for (int i = 0; i < count; ++i) {
    const int user = static_cast<int>(draw() % 40), item = static_cast<int>(draw() % 50), kind = item % 4;
    const double noise = 0.2 * (static_cast<double>(draw()) / 0x1p32 - 0.5);
    const double rating = 3 + std::sin(user + 1.0) * std::cos(3.0 * item) + 0.3 * kind + noise;
    text += std::to_string(user) + separator + std::to_string(item) + separator + std::to_string(rating) +
            separator + "k" + std::to_string(kind) + "\n";
  }
  return text;
}

void write_ratings(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("sparse_fm: finds a planted rank, as good as the machine that was told it") {
  const std::string made = "--planted 2 --count 20000 --seed 3 ";
  const Json report = figures("sparse_fm", made + "--rank 8");
  REQUIRE(has(report, {"data", "rows", "fields", "unknown", "rank", "parameters", "penalty",
                       "validation_rmse", "test_rmse", "certificate", "path", "notes", "seconds"}));
  CHECK(report["rank"] == Json{{"offered", 8}, {"kept", 2}, {"planted", 2}});
  CHECK(report["rows"] == Json{{"train", 16200}, {"validation", 1800}, {"test", 2000}});
  const Json& test = report["test_rmse"];
  CHECK(test["noise"] < test["refitted"]);
  CHECK(test["refitted"] < test["shrunk"]);
  CHECK(test["shrunk"] < 0.8 * test["mean"].get<double>());
  CHECK(report["shrink_difference"] < 1e-4);
  CHECK(report["certificate"]["violated"] == 0);
  CHECK(report["certificate"]["layers"][0]["nonzero"] == 2);
  CHECK(report["certificate"]["gain_of_one_more"] >= 0);

  const Json told = figures("sparse_fm", made + "--rank 2 --fixed");
  CHECK(told["rank"]["kept"] == 2);
  CHECK_FALSE(told.contains("certificate"));
  CHECK(test["refitted"] < 1.02 * told["test_rmse"]["refitted"].get<double>());
}

TEST_CASE("sparse_fm: ratings without a latent dimension have none") {
  const Json report = figures("sparse_fm", "--planted 0 --count 8000 --rank 4");
  CHECK(report["rank"]["kept"] == 0);
  CHECK_FALSE(report.contains("certificate"));
  CHECK(report["test_rmse"]["refitted"] < report["test_rmse"]["mean"]);
}

TEST_CASE("sparse_fm: files, whatever is between the cells, on two threads, and sides") {
  const Folder folder;
  write_ratings(folder / "tab", ratings("\t", 1500, 1, false));
  write_ratings(folder / "comma", ratings(",", 1500, 1, true));
  write_ratings(folder / "colons", ratings("::", 1500, 1, false));
  const Json tab = figures("sparse_fm", "'" + (folder / "tab") + "' --rank 4");
  CHECK(tab["rank"]["kept"] == 1);
  CHECK(tab["test_rmse"]["refitted"] < 0.2);
  CHECK(tab["notes"][0].get<std::string>().find("a tenth of the ratings is set aside") != std::string::npos);
  const Json in_folder = figures("sparse_fm", "tab --rank 4 --data '" + folder.path.string() + "'");
  CHECK(in_folder["test_rmse"] == tab["test_rmse"]);
  for (const char* other : {"comma", "colons"}) {
    const Json report = figures("sparse_fm", "--ratings '" + (folder / other) + "' --rank 4 --threads 2");
    CHECK(report["test_rmse"] == tab["test_rmse"]);
    CHECK(report["rank"] == tab["rank"]);
  }

  // A test file of its own, with users, items and a kind that the training set does not have.
  write_ratings(folder / "test",
                ratings(",", 200, 2, true) + "new,1,3,k1\n0,other,3,k1\n0,1,3,odd\nnew,other,3,odd\n");
  const Json report = figures(
      "sparse_fm", "'" + (folder / "comma") + "' --test '" + (folder / "test") + "' --side kind --rank 4");
  CHECK(report["fields"] == Json{{"user", 40}, {"item", 50}, {"kind", 4}});
  CHECK(report["unknown"] == Json{{"user", 2}, {"item", 2}, {"kind", 2}});
  CHECK(report["notes"].size() == 3);
  CHECK(report["rows"]["test"] == 204);
  CHECK(report["test_rmse"]["refitted"] < 0.3);
}

TEST_CASE("sparse_fm: the units of ratings change the errors by their factor, and nothing else to speak of") {
  const Folder folder;
  const auto scaled = [&](const char* name, double by, double plus) {
    std::string text;
    std::mt19937 draw(1);
    for (int i = 0; i < 800; ++i) {
      const int user = static_cast<int>(draw() % 30), item = static_cast<int>(draw() % 40);
      const double noise = 0.2 * (static_cast<double>(draw()) / 0x1p32 - 0.5);
      const double rating = std::sin(user + 1.0) * std::cos(3.0 * item) + noise;
      char line[80];
      std::snprintf(line, sizeof line, "%d,%d,%.15g\n", user, item, by * rating + plus);
      text += line;
    }
    write_ratings(folder / name, text);
    return figures("sparse_fm", "'" + (folder / name) + "' --rank 4");
  };
  const Json one = scaled("one", 1, 0);
  const double error = one["test_rmse"]["refitted"];
  struct Units {
    const char* name;
    double by, plus;
  };
  for (const Units& units : {Units{"large", 1e8, 0}, Units{"small", 1e-8, 0}, Units{"far", 1, 1e8}}) {
    CAPTURE(units.name);
    const Json report = scaled(units.name, units.by, units.plus);
    CHECK(report["rank"] == one["rank"]);
    CHECK(report["test_rmse"]["refitted"].get<double>() / units.by == doctest::Approx(error).epsilon(0.02));
  }
}

TEST_CASE("sparse_fm: wrong input is one sentence and exit status 2") {
  const Folder folder;
  write_ratings(folder / "good", ratings(",", 100, 1, true));
  write_ratings(folder / "damaged", ratings(",", 50, 1, true) + "1,2,three,k1\n");
  write_ratings(folder / "few", ratings(",", 10, 1, true));
  write_ratings(folder / "other", "user,item,rating\n1,2,3\n");
  const std::string good = "'" + (folder / "good") + "'";
  struct Case {
    std::string arguments, words;
  };
  for (const Case& wrong :
       {Case{"'" + (folder / "damaged") + "'", "line 52: rating \"three\": expected a finite number"},
        Case{"'" + (folder / "few") + "'", "9 ratings to train on: expected at least 20"},
        Case{"/nowhere", "/nowhere"}, Case{good + " --side colour", "no column \"colour\""},
        Case{good + " --side rating", "as a side"}, Case{good + " --rank 0", "--rank"},
        Case{good + " --test '" + (folder / "other") + "' --side kind", "no column \"kind\""},
        Case{good + " --planted 2", "--planted with FILE: expected no FILE"},
        Case{good + " --noise 1", "--noise with FILE"}, Case{good + " --count 50", "--count with FILE"},
        Case{"--data '" + folder.path.string() + "'", "--data with ratings that are made up: expected FILE"},
        Case{"--test x", "--test"}, Case{"--planted 1001", "--planted"}, Case{"--noise nan", "--noise"},
        Case{good + " --json " + good, "expected another"}}) {
    const Run result = run("sparse_fm", wrong.arguments);
    INFO(wrong.arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(result.err.find(wrong.words) != std::string::npos);
  }
  CHECK(run("sparse_fm", "--help").out.find("--side") != std::string::npos);
}
