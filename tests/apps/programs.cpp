// Runs the programs as a user would.

#include <algorithm>
#include <cmath>
#include <vector>

#include <taper/version.hpp>

#include "run.hpp"

using namespace programs;

namespace {

/// Whether a penalty is lambda times the L1 norm of the coefficients, up to this relative difference.
bool penalty_is_l1(double penalty, const Json& report, double tolerance) {
  double norm = 0;
  for (const double weight : report["coef"]) norm += std::abs(weight);
  const double expected = report["lambda"].get<double>() * norm;
  return std::abs(penalty - expected) <= tolerance * expected;
}

bool data_given() {
  const char* const setting = std::getenv("TAPER_DATA");
  return setting != nullptr && *setting != '\0';
}

constexpr const char* trained[] = {"sparse_logistic", "sparse_mlp"};

}  // namespace

TEST_CASE("programs: --help") {
  for (const std::string program : trained) {
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
  for (const std::string program : trained) {
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

TEST_CASE("programs: options out of range are refused under their own names") {
  struct Case {
    const char *program, *arguments, *words;
  };
  for (const Case& bad : {
           Case{"sparse_mlp", "--seed -1",
                "--seed: '-1': expected a whole number from 0 to 9223372036854775807"},
           Case{"sparse_mlp", "--seed 9223372036854775808",
                "--seed: '9223372036854775808': expected a whole"},
           Case{"sparse_mlp", "--seed 99999999999999999999999", "--seed: "},
           Case{"sparse_mlp", "--seed 010", "--seed: '010': expected a whole number"},
           Case{"sparse_mlp", "--seed 0x10", "--seed: '0x10'"},
           Case{"sparse_mlp", "--seed 1.5", "--seed: '1.5'"},
           Case{"sparse_mlp", "--seed ''", "--seed: "},
           Case{"sparse_mlp", "--epochs 1000000001",
                "--epochs: '1000000001': expected a whole number from 0"},
           Case{"sparse_logistic", "--epochs -1", "--epochs: '-1'"},
           Case{"sparse_logistic", "--batch-size 0", "--batch-size: '0': expected a whole number from 1"},
           Case{"sparse_mlp", "--batch-size 1000000001", "--batch-size: "},
           Case{"sparse_mlp", "--threads 2000", "--threads: '2000': expected a whole number from 1 to 1024"},
           Case{"sparse_mlp", "--data ''", "--data: '': expected a folder"},
           Case{"sparse_mlp", "--data=", "--data: "},
           Case{"sparse_mlp", "--data /nowhere", "--data: '/nowhere': expected a folder"},
           // Also where nothing would be read from there.
           Case{"lasso_path", "--data /nowhere", "--data: '/nowhere': expected a folder"},
           Case{"masked_quadratic", "--data /dev/null", "--data: '/dev/null': expected a folder"},
           Case{"sparse_logistic", "--lambda -1", "--lambda: '-1': expected a finite number, 0 or more"},
           Case{"sparse_logistic", "--lambda nan", "--lambda: 'nan'"},
           Case{"sparse_logistic", "--lr inf", "--lr: 'inf'"},
           Case{"sparse_mlp", "--lr -1e-3", "--lr: '-1e-3'"},
           Case{"sparse_mlp", "--weight-decay 1e999", "--weight-decay: '1e999'"},
           Case{"sparse_mlp", "--refit-decay 1e-3x", "--refit-decay: '1e-3x'"},
           // Options that do nothing with others, or without.
           Case{"sparse_logistic", "--method exact --lr 0.1",
                "--lr with --method exact: expected --method adam"},
           Case{"sparse_logistic", "--method lbfgs --epochs 2", "--epochs with --method lbfgs"},
           Case{"sparse_mlp", "--checkpoint-every 1", "--checkpoint-every requires --checkpoint"},
           Case{"sparse_mlp", "--decimal ,", "--decimal requires --csv"},
           Case{"sparse_mlp", "--drop a", "--drop requires --csv"},
           Case{"sparse_lenet", "--path 1e-3 --weight-decay 1e-3", "--weight-decay with --path"},
           Case{"mlp_path", "--points 1 --falling", "--falling with --points 1: expected two"},
           Case{"lasso_path", "--count 1 --smallest 0.1", "--smallest with --count 1"},
       }) {
    const Run result = run(bad.program, bad.arguments);
    INFO(bad.program, " ", bad.arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find(bad.words) != std::string::npos);
  }
}

TEST_CASE("programs: too little memory, for data or for threads, is one sentence or fewer threads") {
  if (sanitized) return;
  int failed = 0;
  const auto fits = [&](const char* arguments, int megabytes) {
    const Run result =
        run("sparse_logistic", arguments, false, "", "ulimit -v " + std::to_string(1024 * megabytes) + ";");
    INFO(megabytes, " MB: ", result.err);
    if (result.status == 0 || result.status == 127) return;  // enough, or not enough to load the program
    CHECK(result.status == 2);
    const bool known = result.err == "sparse_logistic: out of memory\n" ||
                       result.err.starts_with("sparse_logistic: [memory] ");
    CHECK(known);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    ++failed;
  };
  for (int megabytes = 24; megabytes < 64; megabytes += 4)
    fits("--method exact --quiet --threads 2", megabytes);
  CHECK(failed > 0);
  // Threads take memory, too: 8 MB each before they do anything.
  for (const int megabytes : {100, 400, 1600, 6400})
    fits("--epochs 1 --batch-size 2000 --quiet --threads 1000", megabytes);
}

TEST_CASE("programs: bad data are one sentence that says where") {
  const std::string madelon = "madelon.csv.gz", train = "california_housing_train.csv",
                    test = "california_housing_test.csv";
  const std::string good = "a,b,c,d,e,f,g,h,median_house_value\n1,2,3,4,5,6,7,8,9\n8,7,6,5,4,3,2,1,0\n";
  struct Case {
    const char* what;
    std::string file, content;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases{
      {"no file", "", "", {train}},
      {"empty", madelon, "", {madelon}},
      {"a header alone", madelon, "V1,Class\n", {madelon}},
      {"a ragged row", madelon, "V1,V2,Class\n1,2,1\n1,-1\n", {madelon, "3"}},
      {"no number", madelon, "V1,Class\n1,1\nmany,-1\n", {madelon, "3", "many", "V1"}},
      {"NaN", madelon, "V1,Class\n1,1\nNaN,-1\n", {madelon, "3", "V1"}},
      {"another target", madelon, "V1,Klass\n1,1\n2,-1\n", {"Class", "Klass"}},
      {"another class", madelon, "V1,Class\n1,1\n2,0\n", {"class 0", "expected 1 or -1"}},
      {"the target alone", madelon, "Class\n1\n-1\n", {"Class"}},
      {"empty", train, "", {train}},
      {"a ragged row", train, good + "1,2,3\n", {train, "4"}},
      {"too many cells", test, good + "1,2,3,4,5,6,7,8,9,10\n", {test, "4"}},
      {"no number", test, good + "1,2,3,4,x,6,7,8,9\n", {test, "4", "x", "e"}},
      {"NaN", test, good + "1,2,3,4,nan,6,7,8,9\n", {test, "4", "e"}},
      {"infinity", test, good + "1,2,3,4,inf,6,7,8,9\n", {test, "4", "e"}},
      {"another target",
       train,
       "a,b,c,d,e,f,g,h,value\n1,2,3,4,5,6,7,8,9\n",
       {"median_house_value", "value"}},
      {"swapped columns",
       test,
       "b,a,c,d,e,f,g,h,median_house_value\n1,2,3,4,5,6,7,8,9\n",
       {test, "feature 0", "\"b\"", "expected \"a\""}},
      {"a column less", test, "a,b,c,d,e,f,g,median_house_value\n1,2,3,4,5,6,7,9\n", {test, "7 features"}},
  };
  for (const Case& bad : cases) {
    const Folder folder;
    std::ofstream(folder / train.c_str()) << good;
    std::ofstream(folder / test.c_str()) << good;
    if (bad.file.empty()) {
      fs::remove(folder.path / train);
    } else {
      std::ofstream(folder / bad.file.c_str()) << bad.content;
    }
    const std::string program = bad.file == madelon ? "sparse_logistic" : "sparse_mlp";
    const Run result = run(program, "--epochs 1 --data '" + folder.path.string() + "'");
    INFO(bad.what, " in ", bad.file, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    for (const std::string& words : bad.words) {
      CAPTURE(words);
      CHECK(result.err.find(words) != std::string::npos);
    }
  }
  // Both files agree, and do not fit the network.
  const Folder folder;
  for (const std::string& file : {train, test}) {
    std::ofstream(folder / file.c_str()) << "a,b,median_house_value\n1,2,3\n2,1,4\n";
  }
  const Run result = run("sparse_mlp", "--epochs 1 --data '" + folder.path.string() + "'");
  CHECK(result.status == 2);
  CHECK(result.err == "sparse_mlp: [housing] 2 features: expected 8\n");
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

TEST_CASE("programs: standard output that cannot be written is one sentence and exit status 2") {
  struct Case {
    std::string program, arguments;
  };
  for (const auto& [program, arguments] :
       {Case{"masked_quadratic", ""}, Case{"masked_quadratic", "--json -"},
        Case{"masked_quadratic", "--help"}, Case{"masked_quadratic", "--version"},
        Case{"sparse_mlp", "--epochs 0"}, Case{"sparse_logistic", "--method exact"},
        Case{"lasso_path", "--folds 2 --count 5"},
        Case{"mlp_path", "--points 1 --first-epochs 0 --refit-epochs 0 --dense-epochs 0"}}) {
    for (const std::string where : {">/dev/full", ">&-"}) {
      const Run result = run(program, arguments + " " + where);
      INFO(where, ": ", result.err);
      CHECK(result.status == 2);
      const std::string sentence = program + ": [output] standard output cannot be written";
      const std::string reason = where == ">&-" ? ": Bad file descriptor\n" : ": No space left on device\n";
      const bool flushed = arguments == "--version";  // unheard
      CHECK(result.err == sentence + (flushed ? "\n" : reason));
    }
  }
  // What is not printed need not be written, and a report does not end up where the closed streams were.
  const Folder folder;
  const std::string report = folder / "report.json";
  CHECK(run("masked_quadratic", "--quiet >&-").status == 0);
  CHECK(run("masked_quadratic", "--unknown 2>/dev/full").status == 2);
  CHECK(run("masked_quadratic", "--json '" + report + "' <&- >&- 2>&-").status == 2);
  CHECK(Json::parse(text(report)).contains("methods"));
}

TEST_CASE("programs: --version, and --json - alone on standard output") {
  for (const std::string program :
       {"masked_quadratic", "sparse_mlp", "lasso_path", "mlp_path", "predict", "sparse_logistic"}) {
    CHECK(run(program, "--version").out == program + " (Taper) " + taper::version + "\n");
  }
  const Folder folder;
  for (const char* arguments : {"--json -", "--json - --quiet"}) {
    const Run result = run("masked_quadratic", arguments);
    CHECK(result.status == 0);
    CHECK(Json::parse(result.out)["methods"].size() == 5);
  }
  const Run drawn = run("sparse_mlp", "--epochs 0 --json - --plot '" + folder.path.string() + "'");
  CHECK(Json::parse(drawn.out).contains("phase2"));
}

TEST_CASE("programs: nothing is written over what was read or written") {
  const Folder folder;
  const std::string table = folder / "table.csv", link = folder / "link.json";
  const std::string csv = "a,b\n1,2\n2,4\n3,5\n4,9\n5,9\n6,13\n";
  std::ofstream(table) << csv;
  fs::create_symlink("table.csv", link);
  const std::string arguments = "--csv '" + table + "' --target b --folds 2 --count 5 ";
  for (const std::string& same : {table, link, folder / "./table.csv"}) {
    const Run result = run("lasso_path", arguments + "--json '" + same + "'");
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(result.err == "lasso_path: [json] '" + same + "' is a file that is read: expected another\n");
    CHECK(text(table) == csv);
  }
  fs::rename(table, folder / "path.dat");
  const std::string plot = "--csv '" + folder / "path.dat" + "' --target b --folds 2 --count 5 --plot '";
  Run result = run("lasso_path", plot + folder.path.string() + "'");
  CHECK(result.status == 2);
  CHECK(result.err.find("path.dat is a file that this program has read or written") != std::string::npos);
  CHECK(text(folder / "path.dat") == csv);
  result = run("lasso_path", "--folds 2 --count 5 --json '" + folder / "path.gp" + "' --plot '" +
                                 folder.path.string() + "'");
  CHECK(result.status == 2);
  CHECK(Json::parse(text(folder / "path.gp")).contains("path"));

  // What gnuplot writes, too: over no table, no report, and no link to one of these.
  for (const char* const ending : {".svg", ".png"}) {
    const std::string figure = folder / (std::string("figures/path") + ending).c_str();
    const std::string to = " --folds 2 --count 5 --plot '" + folder / "figures" + "'";
    const std::string refused = figure + " is a file that this program has read or written";
    for (const bool linked : {false, true}) {
      fs::remove_all(folder.path / "figures");
      fs::create_directory(folder.path / "figures");
      std::ofstream(linked ? table : figure) << csv;
      if (linked) fs::create_symlink("../table.csv", figure);
      result = run("lasso_path", "--csv '" + (linked ? table : figure) + "' --target b" + to);
      CHECK(result.status == 2);
      CHECK(result.err.find(refused) != std::string::npos);
      CHECK(text(figure) == csv);
      CHECK_FALSE(fs::exists(folder.path / "figures/path.gp"));  // nothing is half done
    }
    fs::remove(figure);
    result = run("lasso_path", "--json '" + figure + "'" + to);
    CHECK(result.status == 2);
    CHECK(result.err.find(refused) != std::string::npos);
    CHECK(Json::parse(text(figure)).contains("path"));
    fs::remove_all(folder.path / "figures");
  }
  const std::string layers = folder / "figures/layers.svg";
  result = run("sparse_mlp", "--epochs 0 --json '" + layers + "' --plot '" + folder / "figures" + "'", false,
               "", "mkdir '" + folder / "figures" + "';");
  CHECK(result.status == (gnuplot_is_here() ? 2 : 0));
}

TEST_CASE("programs: names that are not UTF-8 are made so, in reports, tables, figures and errors") {
  const Folder folder;
  const std::string table = folder / "table.csv", report = folder / "report.json",
                    replaced = "caf\xef\xbf\xbd";
  std::ofstream(table) << "caf\xe9,b,\xff\n1,2,2\n2,4,1\n3,5,7\n4,9,1\n5,9,0\n6,13,4\n";
  const std::string arguments =
      "--csv '" + table + "' --folds 2 --count 5 --plot '" + folder.path.string() + "' ";
  const Run result = run("lasso_path", arguments + "--target b --json '" + report + "'");
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK(Json::parse(text(report))["best"]["coefficients"][0]["name"] == replaced);
  CHECK(result.out.find(replaced + " ") != std::string::npos);
  CHECK(text(folder / "path.dat").find('\xe9') == std::string::npos);
  CHECK(text(folder / "path.dat").find(replaced) != std::string::npos);
  const Run wrong = run("lasso_path", arguments + "--target 'caf\xe9' --unknown-\xe9");
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find('\xe9') == std::string::npos);
  const Run target = run("lasso_path", arguments + "--target 'caf\xe9' --json -");
  CHECK(Json::parse(target.out)["target"] == replaced);
  // Names that become the same stay apart, so that no coefficient takes the place of another.
  std::ofstream(table)
      << "\xe9,\xef\xbf\xbd (2),\xe8,b\n1,5,2,-5.1\n2,1,1,5\n3,4,7,8.1\n4,0,1,13\n5,2,0,11\n6,3,4,15.9\n";
  const Json all = Json::parse(run("lasso_path", arguments + "--target b --json -").out);
  const Json& last = all["path"].back();
  CHECK(last["nonzero"] == 3);
  for (const char* name : {"\xef\xbf\xbd", "\xef\xbf\xbd (2)", "\xef\xbf\xbd (3)"})
    CHECK(last["coefficients"].contains(name));
  CHECK(all["notes"].back().get<std::string>().starts_with("2 names of columns are not UTF-8"));
}

TEST_CASE("programs: the name of a program stands once before what it has to say") {
  const Run result = run("lasso_path", "--ratio 2");
  CHECK(result.status == 2);
  CHECK(result.err.starts_with("lasso_path: --ratio 2: expected more than 0"));
  CHECK(run("mlp_path", "--smallest 1 --largest 0.5").err.starts_with("mlp_path: penalties from 1 to 0.5"));
}

TEST_CASE("programs: --quiet prints nothing, and without it there is a table") {
  for (const std::string program : trained) {
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
  REQUIRE(has(logistic, {"penalty"}));
  CHECK(logistic["penalty"]["decay"].get<double>() > logistic["penalty"]["induced"].get<double>());
  CHECK(penalty_is_l1(logistic["penalty"]["induced"], logistic, 1e-5));
  CHECK(logistic["data"] == "embedded");
  CHECK(logistic["coef"].size() == 500);
  CHECK(without_seconds(logistic) == without_seconds(figures("sparse_logistic", "--epochs 2 --threads 3")));
  REQUIRE(
      has(logistic, {"method", "gap", "objective_difference", "support_difference", "proximal", "exact"}));
  CHECK(logistic["method"] == "adam");
  CHECK(has(logistic["exact"], {"objective", "loss", "nonzero", "intercept", "coef", "gap", "seconds"}));
  for (const Json& part : {logistic, logistic["proximal"]}) {  // the gap is a bound, and the step descends
    CHECK(part["objective_difference"] > 0);
    CHECK(part["gap"] >= part["objective_difference"]);
  }
  CHECK(logistic["proximal"]["objective"] < logistic["objective"]);
  const auto zeros = [](const Json& coef) { return std::ranges::count(coef, Json(0.0)); };
  CHECK(zeros(logistic["coef"]) == 0);
  CHECK(zeros(logistic["proximal"]["coef"]) == 500 - logistic["proximal"]["nonzero"].get<int>());
  CHECK(zeros(logistic["exact"]["coef"]) == 500 - logistic["exact"]["nonzero"].get<int>());

  const Json mlp = figures("sparse_mlp", "--epochs 2 --threads 1");
  REQUIRE(has(mlp, {"data", "rows", "phase1", "shrunk", "phase2"}));
  CHECK(has(mlp["rows"], {"train", "test"}));
  CHECK(has(mlp["phase1"], {"parameters", "widths", "test_mse", "penalty", "seconds"}));
  CHECK(has(mlp["phase1"]["penalty"], {"decay", "induced"}));
  CHECK(mlp["phase1"]["penalty"]["decay"].get<double>() > mlp["phase1"]["penalty"]["induced"].get<double>());
  CHECK(mlp["phase1"]["penalty"]["induced"].get<double>() > 0);
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

  CHECK(logistic["gap"].get<double>() <= 0.01);
  CHECK(logistic["proximal"]["objective"] < logistic["objective"]);
  CHECK(logistic["proximal"]["support_difference"] <= 8);
  CHECK(logistic["exact"]["nonzero"] == 148);
  CHECK(std::abs(logistic["exact"]["objective"].get<double>() - 0.6552515) <= 1e-7);
  const Json lbfgs = figures("sparse_logistic", "--method lbfgs", true);
  CHECK(std::abs(lbfgs["objective_difference"].get<double>()) <= 1e-8 * 0.655);
  CHECK(lbfgs["support_difference"] == 0);
  CHECK(lbfgs["gap"].get<double>() <= 1e-9);

  // At the end of a training the factors are balanced, and their decay is the penalty.
  CHECK(penalty_is_l1(logistic["penalty"]["induced"], logistic, 1e-5));
  CHECK(penalty_is_l1(logistic["penalty"]["decay"], logistic, 0.03));

  const Json mlp = figures("sparse_mlp", "--seed 0", true);
  CHECK(mlp["data"] == "california_housing");
  CHECK(mlp["shrunk"]["parameters"].get<int>() <= 750);
  CHECK(mlp["shrunk"]["max_relative_difference"].get<double>() <= 1e-5);
  CHECK(mlp["phase2"]["test_mse"].get<double>() <= 0.22);
  const double induced = mlp["phase1"]["penalty"]["induced"];
  CHECK(std::abs(mlp["phase1"]["penalty"]["decay"].get<double>() - induced) <= 0.05 * induced);

  const Json in_order = figures("sparse_mlp", "--seed 0 --no-shuffle", true);
  CHECK(in_order["shrunk"]["parameters"].get<int>() <= 601);
  CHECK(in_order["phase2"]["test_mse"].get<double>() <= 0.274);
}

TEST_CASE(
    "masked_quadratic: every method arrives at (3, 2, 3, 5) and holds the bits, the naive recipe drifts") {
  const Json report = figures("masked_quadratic", "");
  REQUIRE(has(report, {"x0", "free", "methods", "naive"}));
  CHECK(report["methods"].size() == 5);
  const std::vector<double> answer{3, 2, 3, 5};
  for (const auto& item : report["methods"].items()) {
    INFO(item.key());
    const Json& method = item.value();
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

TEST_CASE("sparse_logistic: L-BFGS and the exact solver come to the same") {
  const Json exact = figures("sparse_logistic", "--method exact --lambda 0.03");
  const Json lbfgs = figures("sparse_logistic", "--method lbfgs --lambda 0.03");
  for (const Json& report : {exact, lbfgs}) {
    CHECK(has(report, {"data", "rows", "lambda", "loss", "objective", "penalty", "nonzero", "intercept",
                       "coef", "seconds", "gap", "exact"}));
    CHECK_FALSE(report.contains("proximal"));
    CHECK(penalty_is_l1(report["penalty"]["decay"], report, 1e-12));
    CHECK(report["gap"].get<double>() <= 1e-9);
    CHECK(std::abs(report["objective_difference"].get<double>()) <= 1e-9);
    CHECK(report["support_difference"] == 0);
    CHECK(report["nonzero"] == exact["nonzero"]);
    CHECK(report["nonzero"] > 0);
    CHECK(report["exact"]["coef"] == exact["coef"]);
    for (std::size_t j = 0; j < 500; ++j) {
      CHECK(std::abs(report["coef"][j].get<double>() - exact["coef"][j].get<double>()) < 1e-4);
    }
  }
  CHECK(exact["method"] == "exact");
  CHECK(lbfgs["method"] == "lbfgs");
  // Beyond lambda_max there is nothing left.
  CHECK(figures("sparse_logistic", "--method lbfgs --lambda 1")["nonzero"] == 0);
  const Run wrong = run("sparse_logistic", "--method newton");
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("--method: 'newton': expected adam or lbfgs or exact") != std::string::npos);
}
