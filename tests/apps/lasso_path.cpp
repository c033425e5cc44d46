// Runs lasso_path, and has the programs draw.

#include <cmath>
#include <taper/data/synthetic.hpp>
#include <vector>

#include "run.hpp"

using namespace programs;

namespace {

/// A coefficient by its name.
const Json& coefficient(const Json& choice, const std::string& name) {
  for (const Json& one : choice["coefficients"]) {
    if (one["name"] == name) return one;
  }
  FAIL("no coefficient ", name);
  return choice;
}

bool gnuplot_is_here() {
  return std::system("command -v gnuplot >/dev/null 2>&1") == 0;
}

/// Whether a figure's files are there, those of gnuplot only if it is.
void check_drawn(const Folder& folder, const std::string& name) {
  for (const char* ending : {".gp", ".dat", ".svg", ".png"}) {
    const std::string path = folder / (name + ending).c_str();
    INFO(path);
    const bool by_gnuplot = std::string(ending) == ".svg" || std::string(ending) == ".png";
    CHECK(fs::exists(path) == (!by_gnuplot || gnuplot_is_here()));
    if (fs::exists(path)) CHECK(fs::file_size(path) > 100);
  }
}

}  // namespace

TEST_CASE("lasso_path: the embedded set, its grid and its choices") {
  const Json report = figures("lasso_path", "--count 30 --folds 5");
  REQUIRE(has(report, {"data", "target", "rows", "columns", "loss", "folds", "null_loss", "lambda_max",
                       "largest_gap", "unfinished", "best", "one_standard_error", "path", "seconds"}));
  CHECK(report["data"] == "embedded");
  CHECK(report["rows"] == 442);
  CHECK(report["columns"] == 10);
  CHECK(report["unfinished"] == 0);
  const Json& path = report["path"];
  REQUIRE(path.size() == 30);
  CHECK(path[0]["lambda"] == report["lambda_max"]);
  CHECK(path[0]["nonzero"] == 0);
  CHECK(path[29]["nonzero"] >= 9);
  const double ratio = path[29]["lambda"].get<double>() / path[0]["lambda"].get<double>();
  CHECK(std::abs(ratio - 1e-3) < 1e-12);
  double largest = 0;
  for (const Json& at : path) largest = std::max(largest, at["gap"].get<double>());
  CHECK(report["largest_gap"] == largest);
  CHECK(largest <= 1e-10 * report["null_loss"].get<double>());

  const Json &best = report["best"], &sparse = report["one_standard_error"];
  for (const Json& at : path) CHECK(at["cv_loss"] >= best["cv_loss"]);
  CHECK(sparse["place"] < best["place"]);
  const double enough = best["cv_loss"].get<double>() + best["cv_standard_error"].get<double>();
  CHECK(sparse["cv_loss"].get<double>() <= enough);
  CHECK(path[sparse["place"].get<std::size_t>() - 1]["cv_loss"].get<double>() > enough);
  for (const char* name : {"bmi", "bp", "s3", "s5"}) {  // the target was made of these
    CHECK(coefficient(sparse, name)["standardized"] != 0);
    CHECK(coefficient(sparse, name)["stability"] == 1);
  }
  CHECK(coefficient(sparse, "s3")["coefficient"] < 0);
  CHECK(without_seconds(report) ==
        without_seconds(figures("lasso_path", "--count 30 --folds 5 --threads 3")));
  CHECK(without_seconds(report) != without_seconds(figures("lasso_path", "--count 30 --folds 5 --seed 1")));
}

TEST_CASE("lasso_path: coefficients in the units of the columns give the objective") {
  const Json report = figures("lasso_path", "--count 10 --folds 3 --seed 5");
  const auto set = taper::data::make_diabetes<double>({.seed = 5});
  for (const char* choice : {"best", "one_standard_error"}) {
    const Json& chosen = report[choice];
    double total = 0, norm = 0;
    for (taper::Index i = 0; i < set.rows(); ++i) {
      double prediction = chosen["intercept"];
      for (std::size_t j = 0; j < 10; ++j) {
        prediction += chosen["coefficients"][j]["coefficient"].get<double>() *
                      set.x[10 * i + static_cast<taper::Index>(j)];
      }
      total += (set.y[i] - prediction) * (set.y[i] - prediction) / 2 / 442;
    }
    for (const Json& one : chosen["coefficients"]) norm += std::abs(one["standardized"].get<double>());
    const double objective = total + chosen["lambda"].get<double>() * norm;
    CHECK(std::abs(objective - chosen["objective"].get<double>()) < 1e-9 * objective);
  }
}

TEST_CASE("lasso_path: two classes, on the embedded set too") {
  const Json report = figures("lasso_path", "--loss logistic --count 10 --folds 4");
  CHECK(report["target"] == "progression > 150");
  CHECK(report["loss"] == "logistic");
  CHECK(report["null_loss"].get<double>() <= std::log(2.0));
  CHECK(report["best"]["cv_loss"] < report["null_loss"]);
  CHECK(coefficient(report["best"], "bmi")["coefficient"] > 0);
}

TEST_CASE("lasso_path: a CSV of numbers and labels") {
  const Folder folder;
  std::ofstream file(folder / "flowers.csv");
  file << "size,colour,noise,scent,kind\n";
  const char* const colours[] = {"red", "blue", "white"};
  for (int i = 0; i < 60; ++i) {
    const int colour = i % 3;
    file << i % 7 << ',' << colours[colour] << ',' << (i * 37) % 11 << ',' << (i % 4 < 2 ? "yes" : "no")
         << ',' << ((i % 7 + 2 * (colour == 1) + (i * 37) % 5) > 5 ? "tall" : "low") << '\n';
  }
  file.close();
  const std::string csv = "--folds 3 --count 20 --csv '" + (folder / "flowers.csv") + "' ";
  // Labels of two kinds stay a column, those of three become one each.
  const Json report =
      figures("lasso_path", csv + "--target kind --loss logistic --categorical colour,scent,kind");
  CHECK(report["rows"] == 60);
  CHECK(report["columns"] == 6);
  std::vector<std::string> names;
  for (const Json& one : report["best"]["coefficients"]) names.push_back(one["name"]);
  CHECK(names ==
        std::vector<std::string>{"size", "colour=red", "colour=blue", "colour=white", "noise", "scent"});
  const Json& last = figures("lasso_path", csv + "--target size --categorical colour,scent,kind");
  CHECK(last["columns"] == 6);
  CHECK(last["loss"] == "squared");
  // In the folder of the data, too; and read again, the best columns stand in the table.
  const Run result = run("lasso_path", "--csv flowers.csv --data '" + folder.path.string() +
                                           "' --target size --categorical colour,scent,kind --folds 3");
  CHECK(result.status == 0);
  for (const char* words : {"one standard error", "best", "stability", "flowers.csv: 60 rows, 6 columns"}) {
    CAPTURE(words);
    CHECK(result.out.find(words) != std::string::npos);
  }
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') < 50);

  struct Case {
    const char *arguments, *words;
  };
  for (const Case& bad : {
           Case{"--target size", "line 2, column \"colour\""},
           Case{"--target height --categorical colour,scent,kind", "height"},
           Case{"--target kind --categorical colour,scent,kind", "target 'kind' of labels: expected numbers"},
           Case{"--target size --loss logistic --categorical colour,scent,kind", "more than two values"},
           Case{"--target kind --categorical smell", "smell"},
           Case{"", "--target"},
       }) {
    const Run wrong = run("lasso_path", csv + bad.arguments);
    INFO(bad.arguments, ": ", wrong.err);
    CHECK(wrong.status == 2);
    CHECK(wrong.out.empty());
    CHECK(std::count(wrong.err.begin(), wrong.err.end(), '\n') == 1);
    CHECK(wrong.err.find(bad.words) != std::string::npos);
  }
}

TEST_CASE("lasso_path: wrong input is one sentence and exit status 2") {
  for (const char* arguments :
       {"--unknown", "surplus", "--folds 1", "--folds 443", "--folds two", "--count 0", "--smallest 0",
        "--smallest 1", "--smallest -1", "--loss huber", "--target y", "--csv /nowhere/at/all.csv --target y",
        "--csv /nowhere/at/all.csv", "--categorical a", "--threads 0", "--json /nowhere/at/all.json"}) {
    const Run result = run("lasso_path", arguments);
    INFO(arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find("lasso_path: ") == 0);
  }
  const Run help = run("lasso_path", "--help");
  CHECK(help.status == 0);
  for (const char* option : {"--csv", "--target", "--categorical", "--loss", "--folds", "--count",
                             "--smallest", "--plot", "--data", "--seed", "--threads", "--json", "--quiet"}) {
    CAPTURE(option);
    CHECK(help.out.find(option) != std::string::npos);
  }
}

TEST_CASE("programs: --plot writes scripts and numbers, and with gnuplot the figures") {
  const Folder folder;
  const std::string plot = " --quiet --plot '" + folder.path.string() + "/a folder/in \"quotes\"'";
  Folder inside;
  fs::remove_all(inside.path);
  inside.path = folder.path / "a folder" / "in \"quotes\"";
  struct Case {
    const char *program, *arguments;
    std::vector<std::string> names;
  };
  for (const Case& one : {
           Case{"lasso_path", "--folds 3 --count 8", {"path"}},
           Case{"sparse_logistic", "--epochs 3", {"coefficients", "convergence"}},
           Case{"sparse_logistic", "--method lbfgs --lambda 0.05", {"coefficients", "convergence"}},
           Case{"sparse_logistic", "--method exact --lambda 1", {"coefficients"}},
           Case{"sparse_mlp", "--epochs 1", {"layers"}},
       }) {
    const Run result = run(one.program, one.arguments + plot);
    INFO(one.program, " ", one.arguments, ": ", result.err);
    CHECK(result.status == 0);
    CHECK(result.out.empty());
    CHECK(result.err.empty());
    for (const std::string& name : one.names) check_drawn(inside, name);
    fs::remove_all(inside.path);
  }
}

TEST_CASE("programs: what is drawn does not change what is computed") {
  const Folder folder;
  const std::string plot = " --plot '" + folder.path.string() + "'";
  for (const auto& [program, arguments] :
       {std::pair<std::string, std::string>{"sparse_logistic", "--epochs 3"},
        {"sparse_logistic", "--method lbfgs --lambda 0.05"},
        {"sparse_mlp", "--epochs 1"}}) {
    CHECK(without_seconds(figures(program, arguments)) ==
          without_seconds(figures(program, arguments + plot)));
  }
}

TEST_CASE("programs: figures of degenerate runs are drawn, too") {
  if (!gnuplot_is_here()) {
    MESSAGE("skipped: gnuplot is not installed");
    return;
  }
  const Folder folder;
  std::ofstream(folder / "odd.csv")
      << "a'b,\"c\"\"d\",e_{f},y\n1,2,3,1\n2,1,5,2\n4,4,1,3\n3,7,2,5\n6,5,4,4\n";
  const std::string plot = " --plot '" + folder.path.string() + "'";
  for (const auto& [program, arguments] : {
           std::pair<std::string, std::string>{"lasso_path", "--count 1"},
           {"lasso_path", "--count 2 --smallest 0.9"},
           {"lasso_path", "--folds 2 --csv '" + (folder / "odd.csv") + "' --target y"},
           {"sparse_logistic", "--method lbfgs --lambda 1"},
           {"sparse_logistic", "--epochs 0"},
           {"sparse_mlp", "--epochs 0"},
       }) {
    const Run result = run(program, arguments + plot);
    INFO(program, " ", arguments, ": ", result.out, result.err);
    CHECK(result.status == 0);
    CHECK(result.out.find("figures in ") != std::string::npos);
  }
}

TEST_CASE("programs: --plot without gnuplot keeps what it would draw from, and a bad folder is refused") {
  const Folder folder;
  const Run result =
      run("lasso_path", "--folds 3 --count 8 --plot '" + folder.path.string() + "'", false, "PATH=/nowhere");
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  CHECK(result.out.find("gnuplot is not installed: ") != std::string::npos);
  CHECK(fs::exists(folder / "path.gp"));
  CHECK(fs::exists(folder / "path.dat"));
  CHECK_FALSE(fs::exists(folder / "path.svg"));

  std::ofstream(folder / "file") << "precious";
  for (const std::string program : {"lasso_path", "sparse_logistic", "sparse_mlp"}) {
    for (const std::string& bad : {folder / "file", folder / "file/below", std::string()}) {
      const Run wrong = run(program, "--plot '" + bad + "'");
      INFO(program, ": ", wrong.err);
      CHECK(wrong.status == 2);
      CHECK(wrong.err == program + ": --plot: '" + bad + "': expected a folder that can be written\n");
    }
  }
  CHECK(text(folder / "file") == "precious");
}
