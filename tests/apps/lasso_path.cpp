// Runs lasso_path, and has the programs draw.

#include <algorithm>
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

/// Cells of a row, with commas.
std::string row_of(std::initializer_list<int> cells) {
  std::string text;
  for (const int cell : cells) text += (text.empty() ? "" : ",") + std::to_string(cell);
  return text + '\n';
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
  CHECK(report["largest_relative_gap"].get<double>() <= 1e-10);
  CHECK(report["largest_fold_gap"].get<double>() <= 1e-10);
  CHECK(report["unfinished_in_folds"] == 0);
  CHECK_FALSE(report.contains("classes"));
  for (const Json& at : path) {
    CHECK(has(at, {"intercept", "coefficients", "loss", "converged", "relative_gap", "cv_deviance",
                   "unconverged_folds", "fold_gap"}));
    CHECK(at["coefficients"].size() == at["nonzero"]);
    CHECK(at["cv_deviance"].get<double>() == doctest::Approx(2 * at["cv_loss"].get<double>()));
  }

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
  CHECK(report["classes"] == Json({{"0", "no"}, {"1", "yes"}}));
  const Json& best = report["path"][report["best"]["place"].get<std::size_t>()];
  CHECK(best["cv_error"].get<double>() < 0.4);
  CHECK(best["cv_auc"].get<double>() > 0.7);
  CHECK(best["cv_auc"].get<double>() <= 1);
  // The other class: signs turn round, and nothing else.
  const Json turned = figures("lasso_path", "--loss logistic --count 10 --folds 4 --positive no");
  CHECK(turned["classes"] == Json({{"0", "yes"}, {"1", "no"}}));
  CHECK(turned["path"][9]["coefficients"]["bmi"].get<double>() ==
        doctest::Approx(-report["path"][9]["coefficients"]["bmi"].get<double>()).epsilon(1e-4));
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
  // Text of two kinds stays a column, that of three becomes one each; what is 1 is named.
  const Json report = figures("lasso_path", csv + "--target kind --loss logistic");
  CHECK(report["rows"] == 60);
  CHECK(report["columns"] == 6);
  CHECK(report["classes"] == Json({{"0", "low"}, {"1", "tall"}}));
  std::vector<std::string> names;
  for (const Json& one : report["best"]["coefficients"]) names.push_back(one["name"]);
  CHECK(names ==
        std::vector<std::string>{"size", "colour=blue", "colour=red", "colour=white", "noise", "scent=yes"});
  CHECK(report["notes"][0] == "text colour becomes colour=blue, colour=red, colour=white, 0 or 1");
  CHECK(coefficient(report["best"], "size")["coefficient"] > 0);
  const Json last = figures("lasso_path", csv + "--target size");
  CHECK(last["columns"] == 6);
  CHECK(last["loss"] == "squared");
  // In the folder of the data, too; and read again, the best columns stand in the table.
  const Run result = run("lasso_path", "--csv flowers.csv --data '" + folder.path.string() +
                                           "' --target kind --loss logistic --positive low --folds 3");
  CHECK(result.status == 0);
  CHECK(result.err.empty());
  for (const char* words :
       {"one standard error", "best", "stability", "flowers.csv: 60 rows, 6 columns", "(intercept)",
        "class 1 is low, class 0 is tall: a positive coefficient speaks for low", "error", "AUC",
        "relative gap", "note: text scent becomes scent=yes, 0 or 1",
        "not converged: 0 of 100 on all rows, 0 of 300 in the folds", "held-out deviance: "}) {
    CAPTURE(words);
    CHECK(result.out.find(words) != std::string::npos);
  }
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') < 50);

  struct Case {
    const char *arguments, *words;
  };
  for (const Case& bad : {
           Case{"--target height", "no column \"height\": expected one of \"size\", \"colour\""},
           Case{"--target kind", "column \"kind\" holds text: expected numbers, or --loss logistic"},
           Case{"--target size --loss logistic", "\"size\" has the classes \"0\", \"1\""},
           Case{"--target kind --loss logistic --positive high",
                "no class \"high\" in column \"kind\": expected one of \"low\", \"tall\""},
           Case{"--target size --positive low", "--positive low: expected --loss logistic"},
           Case{"--target kind --categorical smell", "smell"},
           Case{"--target size --drop smell", "no column \"smell\""},
           Case{"--target size --folds 4 --fold-column smell", "--folds with --fold-column: expected one of"},
           Case{"--target size --fold-column smell", "no column \"smell\""},
           Case{"--target size --drop colour,noise,scent,kind", "only the target is left"},
           Case{"--target size --separator semicolon", "no column \"size\""},
           Case{"--target size --separator xy",
                "--separator: 'xy': expected comma, semicolon, tab, blanks or one"},
           Case{"--target size --decimal x", "expected . or ,"},
           Case{"--target size --ratio 0", "--ratio 0: expected more than 0"},
           Case{"--target size --ratio 1.5", "--ratio 1.5"},
           Case{"--target size --weight noise", "--weight noise: expected NAME=NUMBER"},
           Case{"--target size --weight noise=-1", "--weight noise=-1: expected a finite number, 0 or more"},
           Case{"--target size --weight height=2", "--weight: no column \"height\""},
           Case{"--target size --groups g", "--groups g: expected NAME=COLUMN"},
           Case{"--target size --groups g=noise,height", "--groups: no column \"height\""},
           Case{"--target size --groups g=noise --groups h=noise,scent", "is in \"g\" and \"h\""},
           Case{"--target size --group-categories --weight colour=red=2", "is in group \"colour\""},
           Case{"", "no --target: expected one of the columns \"size\", \"colour\""},
       }) {
    const Run wrong = run("lasso_path", csv.substr(csv.find("--count")) + bad.arguments);
    INFO(bad.arguments, ": ", wrong.err);
    CHECK(wrong.status == 2);
    CHECK(wrong.out.empty());
    CHECK(std::count(wrong.err.begin(), wrong.err.end(), '\n') == 1);
    CHECK(wrong.err.find(bad.words) != std::string::npos);
    for (const char* inside : {"Missing::", "CsvOptions", "set header", "solve_exact"}) {
      CHECK(wrong.err.find(inside) == std::string::npos);
    }
  }
}

namespace {

/// Sixty rows, as lines of cells: a number, text, a row number, a flag, a fold, and y = 2 x + 3 (k is b) +
/// noise.
std::vector<std::vector<std::string>> lines_of_cells() {
  std::vector<std::vector<std::string>> lines{{"x", "k", "id", "flag", "fold", "y"}};
  for (int i = 0; i < 60; ++i) {
    const double x = (i * 7) % 13 / 4.0, noise = (i * 31) % 11 / 100.0;
    const bool b = i % 3 == 1;
    lines.push_back({std::to_string(x),
                     b            ? "b"
                     : i % 3 == 0 ? "a"
                                  : "c",
                     std::to_string(i + 1), i % 4 < 2 ? "TRUE" : "FALSE", "f" + std::to_string(i % 5),
                     std::to_string(2 * x + 3 * b + noise)});
  }
  return lines;
}

std::string joined(const std::vector<std::vector<std::string>>& lines, const std::string& separator) {
  std::string text;
  for (const auto& cells : lines) {
    for (std::size_t k = 0; k < cells.size(); ++k) text += (k == 0 ? "" : separator) + cells[k];
    text += '\n';
  }
  return text;
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

/// Checks that a run ends with this sentence and exit status 2.
void check_refused(const std::string& arguments, const std::string& sentence) {
  const Run result = run("lasso_path", arguments);
  CHECK(result.status == 2);
  CHECK(result.err == "lasso_path: " + sentence + '\n');
}

/// A report without what names the file.
Json content(Json report) {
  report.erase("data");
  report.erase("seconds");
  return report;
}

}  // namespace

TEST_CASE("lasso_path: the same table in every spelling") {
  const Folder folder;
  auto lines = lines_of_cells();
  const std::string path = folder / "table",
                    arguments = " --target y --folds 4 --count 8 --csv '" + path + "' ";
  write(path, joined(lines, ","));
  const Json report = content(figures("lasso_path", arguments));
  CHECK(report["columns"] == 11);  // x, three of k, id, flag, five of fold
  CHECK(coefficient(report["best"], "x")["coefficient"].get<double>() == doctest::Approx(2).epsilon(0.05));
  CHECK(coefficient(report["best"], "k=b")["coefficient"].get<double>() == doctest::Approx(3).epsilon(0.1));
  const std::string notes = report["notes"].dump();
  CHECK(notes.find("id holds whole numbers that rise from row to row") != std::string::npos);
  CHECK(notes.find("--drop id") != std::string::npos);
  CHECK(notes.find("flag: 1 where it is true") != std::string::npos);

  for (const std::string separator : {";", "\t", "  ", " \t"}) {
    write(path, joined(lines, separator));
    CHECK(content(figures("lasso_path", arguments)) == report);
  }
  write(path, joined(lines, "|"));
  CHECK(content(figures("lasso_path", arguments + "--separator '|'")) == report);
  auto decimal_commas = lines;
  for (auto& cells : decimal_commas) {
    for (std::string& cell : cells) std::ranges::replace(cell, '.', ',');
  }
  write(path, joined(decimal_commas, ";"));
  CHECK(content(figures("lasso_path", arguments + "--decimal ,")) == report);
  const Run wrong = run("lasso_path", arguments);
  CHECK(wrong.status == 2);
  CHECK(wrong.err.find("is the decimal mark a comma?") != std::string::npos);
  auto quoted = lines;
  for (auto& cells : quoted) {
    for (std::string& cell : cells) cell = '"' + cell + '"';
  }
  write(path, joined(quoted, ","));
  CHECK(content(figures("lasso_path", arguments)) == report);
  std::string arff =
      "@relation r\n@attribute x real\n@attribute k {a,b,c}\n@attribute id integer\n@attribute flag "
      "{TRUE,FALSE}\n@attribute fold string\n@attribute y numeric\n@data\n";
  write(path, arff + joined({lines.begin() + 1, lines.end()}, ","));
  CHECK(content(figures("lasso_path", arguments)) == report);

  // Without a header, columns have names by their places.
  write(path, joined({lines.begin() + 1, lines.end()}, ","));
  const Json unnamed =
      figures("lasso_path", " --target V6 --no-header --folds 4 --count 8 --csv '" + path + "'");
  CHECK(unnamed["columns"] == 11);
  CHECK(unnamed["best"]["cv_loss"] == report["best"]["cv_loss"]);
  CHECK(figures("lasso_path", arguments.substr(11) + " --target V6 --no-header --drop V3,V5")["columns"] ==
        5);
}

TEST_CASE("lasso_path: LIBSVM stays sparse and says the same") {
  const Folder folder;
  std::string csv = "V1,V2,V3,target\n", libsvm;
  for (int i = 0; i < 40; ++i) {
    const int a = i % 3, b = i % 5 == 0 ? 7 : 0, c = (i * 11) % 4;
    const int y = (a + c + (i % 7 == 0)) > 2 ? 1 : -1;
    csv += row_of({a, b, c, y});
    libsvm += std::to_string(y);
    for (const auto& [index, value] : {std::pair{1, a}, {2, b}, {3, c}}) {
      if (value != 0) libsvm += " " + std::to_string(index) + ":" + std::to_string(value);
    }
    libsvm += '\n';
  }
  write(folder / "table.csv", csv);
  write(folder / "table", libsvm);
  const std::string arguments =
      " --loss logistic --folds 4 --count 8 --csv '" + folder.path.string() + "/table";
  const Json dense = content(figures("lasso_path", arguments + ".csv' --target target"));
  const Json sparse = content(figures("lasso_path", arguments + "'"));
  CHECK(sparse["classes"] == Json({{"0", "-1"}, {"1", "1"}}));
  CHECK(sparse["columns"] == 3);
  REQUIRE(sparse["path"].size() == 8);
  for (std::size_t k = 0; k < 8; ++k) {
    CHECK(sparse["path"][k]["nonzero"] == dense["path"][k]["nonzero"]);
    CHECK(sparse["path"][k]["objective"].get<double>() ==
          doctest::Approx(dense["path"][k]["objective"].get<double>()).epsilon(1e-9));
    CHECK(sparse["path"][k]["cv_loss"].get<double>() ==
          doctest::Approx(dense["path"][k]["cv_loss"].get<double>()).epsilon(1e-6));
  }
  CHECK(coefficient(sparse["best"], "V1")["standardized"].get<double>() ==
        doctest::Approx(coefficient(dense["best"], "V1")["standardized"].get<double>()).epsilon(1e-4));
  CHECK(figures("lasso_path", arguments + "' --drop V2")["columns"] == 2);
  CHECK(run("lasso_path", arguments + "' --target V1").err.find("--target V1: expected none") !=
        std::string::npos);
}

TEST_CASE("lasso_path: missing cells") {
  const Folder folder;
  auto lines = lines_of_cells();
  for (auto& cells : lines) cells.erase(cells.begin() + 2, cells.begin() + 5);  // x, k, y
  lines[3][0] = "";
  lines[7][0] = "NA";
  lines[9][1] = "?";
  lines[11][2] = "unknown";
  const std::string path = folder / "table";
  write(path, joined(lines, ","));
  const std::string arguments =
      "--target y --folds 4 --count 8 --missing-words unknown --csv '" + path + "' ";
  check_refused(arguments,
                "[table] column \"x\" has 2 missing cells, the first in row 3: expected values, or --missing "
                "drop, mean, median or indicator");
  const Json dropped = figures("lasso_path", arguments + "--missing drop");
  CHECK(dropped["rows"] == 56);
  CHECK(dropped["columns"] == 4);
  CHECK(dropped["notes"][0] == "4 of 60 rows are left out: a cell is missing");
  const Json filled = figures("lasso_path", arguments + "--missing mean");
  CHECK(filled["rows"] == 59);
  CHECK(filled["columns"] == 5);
  CHECK(filled["notes"][0] == "1 of 60 rows are left out: the target is missing");
  CHECK(filled["notes"].dump().find("x: 2 missing cells become ") != std::string::npos);
  CHECK(filled["notes"].dump().find(", the mean of all other rows") != std::string::npos);
  CHECK(figures("lasso_path", arguments + "--missing median")["columns"] == 5);
  const Json marked = figures("lasso_path", arguments + "--missing indicator");
  CHECK(marked["columns"] == 6);
  CHECK(coefficient(marked["best"], "x missing")["name"] == "x missing");
  CHECK(coefficient(marked["best"], "k=missing")["name"] == "k=missing");
}

TEST_CASE("lasso_path: text that never repeats is refused, given folds are used") {
  const Folder folder;
  auto lines = lines_of_cells();
  const std::string path = folder / "table", arguments = " --target y --count 8 --csv '" + path + "' ";
  write(path, joined(lines, ","));
  const Json report = figures("lasso_path", arguments + "--fold-column fold --drop id");
  CHECK(report["folds"] == 5);
  CHECK(report["columns"] == 5);
  CHECK(content(report) ==
        content(figures("lasso_path", arguments + "--fold-column fold --drop id --seed 7")));
  for (std::size_t i = 1; i < lines.size(); ++i) lines[i][2] = "name " + lines[i][2];
  write(path, joined(lines, ","));
  check_refused(
      arguments,
      "[table] column \"id\" is text with a different value in each row: expected labels that repeat "
      "(--drop id leaves it out)");
  CHECK(run("lasso_path", arguments + "--drop id").status == 0);
}

TEST_CASE("lasso_path: tables of one row, of one value, with constant columns, in any unit") {
  const Folder folder;
  const std::string path = folder / "table",
                    arguments = "--target y --folds 2 --count 5 --csv '" + path + "'";
  write(path, "a,y\n1,2\n");
  check_refused(arguments, "[table] a single row: expected at least two, to hold one out");
  write(path, "a,y\n1,5\n2,5\n4,5\n");
  check_refused(arguments, "[target] column \"y\" is 5 in every row: expected values that differ");
  std::vector<Json> reports;
  for (const double unit : {1.0, 1e-8, 1e8}) {
    std::ostringstream text;
    text.precision(17);
    text << "a,b,c,y\n";
    for (int i = 0; i < 20; ++i) {
      const double a = (i * 7) % 10 + 3, b = (i * 3) % 7;
      text << a * unit << ',' << b / unit << ",4," << unit * (2 * a - b + (i * 11) % 5 / 10.0) << '\n';
    }
    write(path, text.str());
    reports.push_back(figures("lasso_path", arguments));
    const Json& last = reports.back()["path"][4]["coefficients"];
    CHECK(last["a"].get<double>() == doctest::Approx(2).epsilon(0.02));
    CHECK(last["b"].get<double>() / unit / unit == doctest::Approx(-1).epsilon(0.02));
    CHECK_FALSE(last.contains("c"));
    CHECK(reports.back()["notes"][0] == "the same value in every row, so that the coefficient is 0: c");
    CHECK(reports.back()["unfinished"] == 0);
    CHECK(reports.back()["best"]["place"] == reports.front()["best"]["place"]);
    CHECK(reports.back()["lambda_max"].get<double>() / unit ==
          doctest::Approx(reports.front()["lambda_max"].get<double>()));
  }
}

TEST_CASE("lasso_path: elastic net, groups and weights") {
  const Folder folder;
  const std::string path = folder / "table",
                    arguments = " --target y --count 8 --folds 4 --drop id,fold --csv '" + path + "' ";
  write(path, joined(lines_of_cells(), ","));
  const Json grouped = figures("lasso_path", arguments + "--group-categories");
  REQUIRE(grouped["groups"].size() == 3);
  CHECK(grouped["groups"][1]["name"] == "k");
  CHECK(grouped["groups"][1]["columns"] == Json({"k=a", "k=b", "k=c"}));
  for (const Json& at : grouped["path"]) {  // in or out as a whole
    int in = 0;
    for (const char* name : {"k=a", "k=b", "k=c"}) in += at["coefficients"].contains(name);
    CHECK((in == 0 || in == 3));
  }
  const Json named =
      figures("lasso_path", arguments + "--groups both=x,flag --groups text=k --weight both=0");
  REQUIRE(named["groups"].size() == 2);
  CHECK(named["groups"][0]["columns"] == Json({"x", "flag"}));
  CHECK(named["groups"][0]["weight"] == 0);
  CHECK(named["path"][0]["coefficients"].contains("x"));  // free of the penalty from the beginning
  CHECK(named["path"][0]["coefficients"].contains("flag"));
  CHECK(named["path"][0]["nonzero"] == 2);
  const Json weighted = figures("lasso_path", arguments + "--weight x=1e6 --weight k=b=0");
  CHECK_FALSE(weighted["path"][7]["coefficients"].contains("x"));
  CHECK(weighted["path"][0]["coefficients"].contains("k=b"));
  const Json net = figures("lasso_path", arguments + "--ratio 0.5"), lasso = figures("lasso_path", arguments);
  CHECK(net["ratio"] == 0.5);
  CHECK(net["lambda_max"].get<double>() == doctest::Approx(2 * lasso["lambda_max"].get<double>()));
  CHECK(run("lasso_path", arguments + "--ratio 0.5").out.find("elastic net: 0.5") != std::string::npos);
}

TEST_CASE("lasso_path: wrong input is one sentence and exit status 2") {
  for (const char* arguments :
       {"--unknown", "surplus", "--folds 1", "--folds 443", "--folds two", "--count 0", "--smallest 0",
        "--smallest 1", "--smallest -1", "--loss huber", "--target y", "--csv /nowhere/at/all.csv --target y",
        "--csv /nowhere/at/all.csv", "--categorical a", "--no-header", "--separator ,", "--missing never",
        "--threads 0", "--json /nowhere/at/all.json"}) {
    const Run result = run("lasso_path", arguments);
    INFO(arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find("lasso_path: ") == 0);
  }
  const Run help = run("lasso_path", "--help");
  CHECK(help.status == 0);
  for (const char* option : {"--csv",
                             "--target",
                             "--categorical",
                             "--separator",
                             "--decimal",
                             "--no-header",
                             "--drop",
                             "--missing",
                             "--missing-words",
                             "--positive",
                             "--fold-column",
                             "--groups",
                             "--group-categories",
                             "--weight",
                             "--ratio",
                             "--loss",
                             "--folds",
                             "--count",
                             "--smallest",
                             "--plot",
                             "--data",
                             "--seed",
                             "--threads",
                             "--json",
                             "--quiet"}) {
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
    INFO(result.out, result.err);
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
