// Runs taper as people who write no C++ do: tables in, models and CSV out.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/io/archive.hpp>

#include "run.hpp"

using namespace programs;
using taper::Rng;

namespace {

void write_table(const std::string& path, const std::string& all) {
  std::ofstream(path, std::ios::binary) << all;
}

/// Passengers of a ship: categories, dates, missing cells, semicolons and decimal commas. Who is alive
/// depends on sex and fare.
std::string passengers(int rows, std::uint64_t seed, bool commas = true) {
  Rng rng(seed);
  std::ostringstream all;
  const char between = commas ? ';' : ',';
  all << "age" << between << "sex" << between << "fare" << between << "port" << between << "boarded"
      << between << "ship" << between << "alive\n";
  const auto number = [&](double value) {
    std::ostringstream text;
    text << value;
    std::string word = text.str();
    if (commas) std::ranges::replace(word, '.', ',');
    return word;
  };
  for (int i = 0; i < rows; ++i) {
    const bool male = rng.uniform() < 0.6;
    const double fare = 50 * rng.uniform(), age = 20 + 10 * rng.normal();
    const bool alive = (male ? -2 : 2) + (fare - 25) / 10 + rng.normal() > 0;
    all << (rng.uniform() < 0.2 ? "" : number(age)) << between << (male ? "male" : "female") << between
        << number(fare) << between << (rng.uniform() < 0.1 ? "" : std::string(1, "SCQ"[rng.below(3)]))
        << between << "1912-04-" << 10 + rng.below(5) << between << "Titanic" << between
        << (alive ? "yes" : "no") << '\n';
  }
  return all.str();
}

/// y = 3 a - 2 b, bent, among columns that mean nothing.
std::string bent(int rows, std::uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::ostringstream all;
  all.precision(17);
  all << "a,b,noise,y\n";
  for (int i = 0; i < rows; ++i) {
    const double a = rng.normal(), b = rng.normal(), c = rng.normal();
    all << a << ',' << scale * b << ',' << c << ',' << scale * (std::abs(3 * a) - 2 * b + 0.1 * rng.normal())
        << '\n';
  }
  return all.str();
}

Json fit(const std::string& arguments) {
  const Run result = run("taper", "fit " + arguments + " --quiet --json -");
  INFO(arguments, ": ", result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.empty());
  return Json::parse(result.out);
}

std::vector<std::string> lines_of(const std::string& all) {
  std::vector<std::string> lines;
  std::istringstream in(all);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("taper: categories, missing cells, dates, semicolons and decimal commas, by the target alone") {
  const Folder folder;
  const std::string table = folder / "p.csv", test = folder / "t.csv", model = folder / "m.safetensors";
  write_table(table, passengers(300, 1));
  write_table(test, passengers(200, 2));
  const Json report = fit(table + " --target alive --test " + test + " --save " + model);
  CHECK(has(report, {"parameters", "inputs", "validation", "certificate", "seconds", "test"}));
  CHECK(report["task"] == "two classes");
  CHECK(report["model"] == "linear");
  CHECK(report["classes"] == Words{"no", "yes"});
  CHECK(report["validation"]["method"] == "cross-validation");
  CHECK(report["test"]["accuracy"] > 0.85);
  CHECK(report["certificate"]["converged"] == true);
  CHECK(report["certificate"]["relative_gap"] < 1e-8);
  const Words inputs = report["inputs"];
  CHECK(std::ranges::count(inputs, "sex") == 1);
  CHECK(std::ranges::count(inputs, "fare") == 1);
  CHECK(std::ranges::count(inputs, "ship") == 0);

  // The file predicts the same, from columns in another order, read with another separator.
  const Run same = run("taper", "predict " + model + " " + test + " --json " + (folder / "r.json"));
  REQUIRE(same.status == 0);
  const Json predicted = Json::parse(text(folder / "r.json"));
  CHECK(predicted["errors"]["log_loss"] == report["test"]["log_loss"]);
  CHECK(same.err.find("alive of 200 rows: log_loss") != std::string::npos);
  const Words lines = lines_of(same.out);
  REQUIRE(lines.size() == 201);
  CHECK(lines[0] == "prediction,probability of no,probability of yes");

  std::map<std::string, std::size_t> place;
  std::string other = "fare,port,new,boarded,age,sex\n";
  for (const std::string& line : lines_of(passengers(200, 2, false))) {
    Words cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    if (place.empty()) {
      for (std::size_t k = 0; k < cells.size(); ++k) place[cells[k]] = k;
    } else {
      for (const char* name : {"fare", "port", "new", "boarded", "age", "sex"}) {
        other += (std::string(name) == "fare" ? "" : ",") +
                 (place.contains(name) ? cells[place[name]] : std::string("7"));
      }
      other += '\n';
    }
  }
  write_table(folder / "o.csv", other);
  const Run shuffled =
      run("taper", "predict " + model + " " + (folder / "o.csv") + " --quiet --output " + (folder / "o.out"));
  CHECK(shuffled.status == 0);
  CHECK(text(folder / "o.out") == same.out);

  // What training rows did not have is said.
  write_table(folder / "u.csv", "age,sex,fare,port,boarded\n30,unknown,,X,1912-04-11\n");
  const Run unknown = run("taper", "predict " + model + " " + (folder / "u.csv"));
  CHECK(unknown.status == 0);
  CHECK(unknown.err.find("note: \"sex\": 1 cell of categories that no training row has (\"unknown\")") !=
        std::string::npos);
  CHECK(unknown.err.find("note: \"fare\": 1 cell missing") != std::string::npos);
  CHECK(lines_of(unknown.out).size() == 2);
}

TEST_CASE("taper: a network where it is better, within a budget, in any units, and shrunk again") {
  const Folder folder;
  const std::string table = folder / "b.csv", test = folder / "t.csv", model = folder / "m.safetensors";
  write_table(table, bent(600, 1));
  write_table(test, bent(500, 2));
  const Json report = fit(table + " --target y --effort 0.3 --test " + test + " --save " + model);
  CHECK(report["model"] == "network");
  CHECK(report["task"] == "regression");
  CHECK(report["test"]["r2"] > 0.95);
  CHECK(report["certificate"]["certifiable"] == true);
  CHECK(report["path"].size() > 3);
  CHECK(report["parameters"] < 1000);
  const Json again = fit(table + " --target y --effort 0.3 --threads 1 --test " + test);
  CHECK(again["test"] == report["test"]);

  const Json small = fit(table + " --target y --effort 0.3 --model network --budget 60 --test " + test);
  CHECK(small["parameters"] <= 60);
  CHECK(small["parameters"] > 3);
  const Json linear = fit(table + " --target y --model linear --budget 2 --test " + test);
  CHECK(linear["parameters"] == 2);
  CHECK(linear["inputs"] == Words{"b"});

  // Figures are in the target's units; those without units do not depend on them.
  write_table(table, bent(600, 1, 1e8));
  write_table(test, bent(500, 2, 1e8));
  const Json large = fit(table + " --target y --model linear --test " + test);
  write_table(table, bent(600, 1, 1e-8));
  write_table(test, bent(500, 2, 1e-8));
  const Json tiny = fit(table + " --target y --model linear --test " + test);
  CHECK(large["test"]["rmse"].get<double>() ==
        doctest::Approx(1e16 * tiny["test"]["rmse"].get<double>()).epsilon(1e-6));
  CHECK(large["test"]["r2"].get<double>() == doctest::Approx(tiny["test"]["r2"].get<double>()).epsilon(1e-6));

  write_table(test, bent(500, 2));
  const Run shrunk = run("taper", "shrink " + model + " --examples " + test + " --threshold 0.01 --save " +
                                      (folder / "s.safetensors") + " --json -");
  REQUIRE(shrunk.status == 0);
  const Json cut = Json::parse(shrunk.out);
  CHECK(cut["parameters"]["after"] <= cut["parameters"]["before"]);
  CHECK(cut["parameters"]["before"] == report["parameters"]);
  const Run predicted = run("taper", "predict " + (folder / "s.safetensors") + " " + test + " --json -");
  REQUIRE(predicted.status == 0);
  CHECK(Json::parse(predicted.out)["errors"]["rmse"].get<double>() ==
        doctest::Approx(report["test"]["rmse"].get<double>()).epsilon(0.01));
}

TEST_CASE("taper: many classes, ARFF, standard input and output") {
  const Folder folder;
  Rng rng(5);
  std::ostringstream all;
  all << "@relation r\n@attribute a numeric\n@attribute b numeric\n@attribute kind {x,y,z}\n@data\n";
  for (int i = 0; i < 240; ++i) {
    const double c = i % 3;
    all << c + 0.2 * rng.normal() << ',' << rng.normal() << ',' << "xyz"[i % 3] << '\n';
  }
  const std::string table = folder / "k.arff", model = folder / "m.safetensors";
  write_table(table, all.str());
  const Json linear = fit(table + " --target kind --test " + table);
  CHECK(linear["task"] == "classes");
  CHECK(linear["classes"] == Words{"x", "y", "z"});
  CHECK(linear["test"]["accuracy"] > 0.6);  // the class in the middle is not on one side of a line
  const Json network = fit(table + " --target kind --model network --effort 0.3 --test " + table);
  CHECK(network["test"]["accuracy"] > 0.9);

  const Run piped = run("taper", "fit - --target kind --save - < " + table, false, "", "");
  REQUIRE(piped.status == 0);
  write_table(model, piped.out);
  CHECK(piped.err.find("kind is one of 3 classes: x, y, z") != std::string::npos);
  const Run predicted = run("taper", "predict - " + table + " < " + model);
  REQUIRE(predicted.status == 0);
  CHECK(predicted.out.starts_with("prediction,probability of x,probability of y,probability of z\n"));
  const Run inspected = run("taper", "inspect - --json - < " + model);
  REQUIRE(inspected.status == 0);
  const Json report = Json::parse(inspected.out);
  CHECK(has(report, {"parameters", "inputs", "nonzero", "tensors", "architecture", "preprocessing",
                     "certificate", "validation", "bytes"}));
  CHECK(report["link"] == "one_vs_rest");
  CHECK(report["preprocessing"]["target"]["classes"] == Words{"x", "y", "z"});
  const Run looked = run("taper", "inspect " + table);
  CHECK(looked.out.find("ARFF, 240 rows, 3 columns") != std::string::npos);
  CHECK(looked.out.find("x (80), y (80), z (80)") != std::string::npos);
}

TEST_CASE("taper: LIBSVM stays sparse, and a factorization machine finds the rank") {
  const Folder folder;
  Rng rng(7);
  std::ostringstream sparse;
  for (int i = 0; i < 300; ++i) {
    const double a = rng.normal(), b = rng.normal();
    sparse << 2 * a - b + 0.1 * rng.normal() << " 3:" << a << " 500:" << b << ' ' << 1000 + rng.below(90000)
           << ":1\n";
  }
  const std::string table = folder / "s.libsvm", model = folder / "m.safetensors";
  write_table(table, sparse.str());
  const Json report = fit(table + " --rule one-standard-error --save " + model);
  CHECK(report["features"]["offered"] > 50000);
  const Words inputs = report["inputs"];
  CHECK(std::ranges::count(inputs, "V3") == 1);
  CHECK(std::ranges::count(inputs, "V500") == 1);
  CHECK(report["validation"]["rmse"] < 0.5);
  write_table(folder / "one.libsvm", "0 3:1\n0 500:1 777:5\n");
  const Run predicted =
      run("taper", "predict " + model + " " + (folder / "one.libsvm") + " --quiet --json -");
  REQUIRE(predicted.status == 0);
  const std::vector<double> y = Json::parse(predicted.out)["predictions"];
  REQUIRE(y.size() == 2);
  CHECK(y[0] == doctest::Approx(2).epsilon(0.2));
  CHECK(y[1] == doctest::Approx(-1).epsilon(0.2));

  std::ostringstream pairs;
  pairs << "u,v,y\n";
  std::vector<double> u(8), v(8);
  for (double& entry : u) entry = rng.normal();
  for (double& entry : v) entry = rng.normal();
  for (int i = 0; i < 800; ++i) {
    const auto j = static_cast<std::size_t>(rng.below(8)), k = static_cast<std::size_t>(rng.below(8));
    pairs << 'u' << j << ",v" << k << ',' << 3 * u[j] * v[k] + 0.05 * rng.normal() << '\n';
  }
  write_table(folder / "p.csv", pairs.str());
  const Json machine = fit((folder / "p.csv") + " --target y --model fm --rule one-standard-error");
  CHECK(machine["parameters"] == 1 + 16 + 16);  // one latent dimension
}

TEST_CASE("taper: every way to fail is one clear sentence and exit status 2") {
  const Folder folder;
  const auto file = [&](const char* name, const std::string& all) {
    write_table(folder / name, all);
    return folder / name;
  };
  const std::string good = file("good.csv", passengers(80, 3)), model = folder / "m.safetensors";
  fit(good + " --target alive --save " + model);
  std::string newer = text(model);
  const std::string version = "\\\"version\\\":2,\\\"columns\\\"";
  REQUIRE(newer.find(version) != std::string::npos);
  newer[newer.find(version) + version.find('2')] = '3';
  std::string undefined = text(model);  // whose last number is NaN
  std::ranges::fill(undefined.end() - 8, undefined.end(), '\xff');
  const std::string all_different = file("n.csv", "name,y\nann,1\nbob,2\ncat,3\ndan,4\neve,5.5\n");
  struct Case {
    std::string arguments, words;
  };
  for (const Case& bad : {
           Case{"", "taper: VERB is required"},
           Case{"bake", "expected one of the verbs fit, predict"},
           Case{"fit", "TABLE is required"},
           Case{"fit /nowhere.csv --target y", "no such file"},
           Case{"fit " + good, "no --target: expected one of the columns \"age\""},
           Case{"fit " + good + " --target z", "no column \"z\""},
           Case{"fit " + good + " --target alive --budget 1",
                "a budget of 1 parameters: expected at least 2"},
           Case{"fit " + good + " --target alive --model network --budget 5", "expected at least 6"},
           Case{"fit " + good + " --target alive --model fm --budget 2", "a budget of 2 parameters"},
           Case{"fit " + good + " --target alive --budget 2.5", "expected a whole number"},
           Case{"fit " + good + " --target alive --budget no", "--budget no: expected"},
           Case{"fit " + good + " --target alive --penalty 0", "--penalty 0: expected"},
           Case{"fit " + good + " --target alive --hidden 3,x", "--hidden 3,x: expected"},
           Case{"fit " + good + " --target alive --validation 1", "--validation 1: expected"},
           Case{"fit " + good + " --target alive --model tree", "expected auto or linear"},
           Case{"fit " + good + " --target alive --save - --json -", "--save - and --json -"},
           Case{"fit " + good + " --target alive --save /nowhere/m", "--save: '/nowhere/m'"},
           Case{"fit " + good + " --target alive --task regression", "holds text: expected numbers"},
           Case{"fit " + good + " --target ship", "\"ship\" is \"Titanic\" in every row"},
           Case{"fit " + all_different + " --target y",
                "\"name\" is text with a different value in each row"},
           Case{"fit " + all_different + " --target name",
                "\"name\" is text with a different value in each row"},
           Case{"fit " + file("two.csv", "a,a,y\n1,2,3\n") + " --target y", "two columns \"a\""},
           Case{"fit " + file("const.csv", "a,y\n1,3\n2,3\n3,3\n4,3\n") + " --target y",
                "\"y\" is 3 in every row"},
           Case{"fit " + file("nan.csv", "a,y\n1,NaN\n2,\n3,NA\n4,?\n") + " --target y",
                "\"y\" is missing in every row"},
           Case{"fit " + file("inf.csv", "a,y\n1,inf\n2,1\n") + " --target y", "expected a finite number"},
           Case{"fit " + file("empty.csv", "") + " --target y", "is empty: expected a header and rows"},
           Case{"fit " + file("head.csv", "a,y\n") + " --target y", "has a header and no rows"},
           Case{"fit " + file("one.csv", "a,y\n1,2\n") + " --target y", "has 1 row: expected at least 4"},
           Case{"fit " + file("void.csv", "a,y\n,1\n,2\n,3\n,4.5\n") + " --target y",
                "no column beside the target"},
           Case{"fit " + file("alone.csv", "y\n1\n2\n3\n4.5\n") + " --target y", "only the target"},
           Case{"fit " + file("far.csv", "a,y\n-1.7e308,1\n1.7e308,2\n1,3\n1.7e308,4.5\n-1.7e308,1\n") +
                    " --target y --test " + file("f.csv", "y\n1\n"),
                "no column \"a\""},
           Case{"predict " + model, "TABLE is required"},
           Case{"predict " + good + " " + good, "expected a safetensors file"},
           Case{"predict - -", "expected one of them on standard input"},
           Case{"predict " + file("v2.safetensors", newer) + " " + good,
                "preprocessing of version 3: expected 2"},
           Case{"predict " + model + " " + all_different,
                "in a table of \"name\", \"y\": expected all that the model reads"},
           Case{"predict " + model + " " +
                    file("text.csv", "age,sex,fare,port,boarded\n1,male,much,S,1912-04-10\n"),
                "\"fare\" holds text, \"much\": expected numbers"},
           Case{"predict " + model + " " + good + " --quiet --output " + good, "has read or written"},
           Case{"inspect /nowhere", "no such file"},
           Case{"shrink " + good, "expected a safetensors file"},
           Case{"shrink " + model + " --threshold 1", "--threshold requires --examples"},
           Case{"fit " + good + " --target alive --target sex", "--target is given 2 times: expected once"},
           Case{"fit " + file("rare.csv", "a,y\n1,no\n2,no\n3,no\n4,yes\n5,no\n") + " --target y",
                "\"y\" has 1 class of a single row and 1 of more: expected two"},
           Case{"fit " + file("ids.csv", "a,y\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n") + " --target y --task classes",
                "\"y\" has 4 classes of a single row and 0 of more"},
           Case{"fit " + file("rare.svm", "1 1:2\n1 1:3\n1 1:4\n0 1:5\n1 1:6\n"),
                "has 1 class of a single row and 1 of more"},
           Case{"inspect " + file("cut.safetensors", newer.substr(0, 8)), "has 8 bytes: expected a header"},
           Case{"inspect " + file("cut2.safetensors", newer.substr(0, 60)),
                "has 60 bytes: expected a header"},
           Case{"tune " + good + " --target alive --budget 2 --quiet", "a budget of 2 parameters: expected"},
           Case{"tune " + good + " --target alive --budget 2.5 --quiet",
                "--budget 2.5: expected a whole number"},
           Case{"tune " + good + " --target alive --save " + model + "2 --quiet", "--save without --budget"},
           Case{"bench " + model + " " + all_different, "expected all that the model reads"},
           Case{"bench - -", "expected one of them on standard input"},
           Case{"fit " + good + " --target alive --model network --penalty 1e300",
                "--penalty 1e+300: expected at most 1e+06"},
           Case{"predict " + model + " " + model, "is a safetensors file, as models are: expected a table"},
           Case{"predict " + file("nan.safetensors", undefined) + " " + good,
                "nan.safetensors predicts nothing"},
           Case{"completion ksh", "expected bash, zsh or fish"},
       }) {
    const Run result =
        run("taper",
            bad.arguments +
                (bad.arguments.starts_with("fit /") || bad.arguments.starts_with("fit ") ? " --quiet" : ""));
    INFO(bad.arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(result.err.starts_with("taper"));
    CHECK(result.err.find(bad.words) != std::string::npos);
  }
  const Run demo = run("predict", "--model " + model + " --csv " + good);
  CHECK(demo.status == 2);
  CHECK(demo.err.find("taper predict for this one") != std::string::npos);
  // Huge values are no reason to fail.
  const Json huge =
      fit(file("huge.csv", "a,y\n1e300,1\n-1e308,2\n3e307,4\n1.7e308,5\n7,7.5\n2e306,8\n") + " --target y");
  CHECK(huge["validation"]["rmse"].is_number());
}

TEST_CASE("taper: an option that does nothing is refused, with what it would need") {
  const Folder folder;
  const auto file = [&](const char* name, const std::string& all) {
    write_table(folder / name, all);
    return " " + (folder / name) + " ";
  };
  const std::string good = file("good.csv", passengers(80, 3)), y = "--target alive ",
                    sparse = file("s.svm", "1.5 1:2\n2.5 1:3\n3.5 1:4\n0.25 1:5\n1 1:6\n"),
                    arff = file("r.arff",
                                "@relation r\n@attribute a numeric\n@attribute y numeric\n@data\n"
                                "1,2\n2,3.5\n3,4\n4,6\n5,6.5\n"),
                    many = file("k.csv", "a,k\n1,x\n2,y\n3,z\n1,x\n2,y\n3,z\n1,x\n2,y\n3,z\n"),
                    model = " " + (folder / "m.safetensors") + " ";
  fit(good + y + "--save" + model);
  struct Case {
    std::string arguments, words;
  };
  for (const Case& bad : {
           Case{"fit" + good + y + "--model linear --hidden 8", "--hidden with --model linear: expected"},
           Case{"fit" + good + y + "--model linear --effort 2", "--effort with --model linear: expected"},
           Case{"fit" + good + y + "--model linear --validation 0.3",
                "--validation with --model linear: expected --model network or fm"},
           Case{"fit" + good + y + "--hidden 8",
                "--hidden with a linear model (fewer than 500 rows): expected --model network"},
           Case{"path" + good + y + "--effort 2", "--effort with a linear model (fewer than 500 rows)"},
           Case{"fit" + good + y + "--model network --folds 3", "--folds with --model network: expected"},
           Case{"path" + good + y + "--model fm --folds 3", "--folds with --model fm: expected"},
           Case{"fit" + good + y + "--model fm --hidden 3", "--hidden with --model fm: expected"},
           Case{"fit" + good + y + "--penalty 0.1 --rule best", "--rule with --penalty: expected"},
           Case{"fit" + sparse + "--effort 2", "--effort with a linear model (the table is sparse)"},
           Case{"fit" + sparse + "--most-categories 3", "--most-categories with LIBSVM: expected"},
           Case{"fit" + sparse + "--no-header", "--no-header with LIBSVM: expected a CSV"},
           Case{"fit" + sparse + "--separator tab", "--separator with LIBSVM: expected a CSV"},
           Case{"select" + arff + "--target y --decimal ,", "--decimal , with ARFF: expected a CSV"},
           Case{"select" + arff + "--target y --missing-words x", "--missing-words with ARFF"},
           Case{"select" + good + y + "--model network --folds 3", "--folds with --model network"},
           Case{"select" + good + y + "--stability 3 --folds 3", "--folds with --stability"},
           Case{"select" + many + "--target k --folds 3", "--folds with a target of more than two classes"},
           Case{"tune" + sparse + "--most-categories 3", "--most-categories with LIBSVM: expected"},
           Case{"inspect" + model + "--no-header", "--no-header with a model: expected a CSV"},
           Case{"inspect" + model + "--drop a", "--drop with a model: expected a table"},
           Case{"inspect" + good + "--seed 1", "--seed"},
           Case{"inspect" + good + "--threads 1", "--threads"},
           Case{"predict" + model + good + "--seed 1", "--seed"},
           Case{"shrink" + model + "--seed 1", "--seed"},
           Case{"shrink" + model + "--drop a", "--drop requires --examples"},
       }) {
    const Run result = run("taper", bad.arguments + " --quiet");
    INFO(bad.arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(result.err.find(bad.words) != std::string::npos);
  }
  // What is for the table in another form than that of --test is no mistake.
  const Json report = fit(file("semi.csv", "a;y\n1,5;2\n2,5;3,5\n3;4\n4;6\n5;6,5\n") +
                          "--target y --separator semicolon --decimal , --test" + arff);
  CHECK(report["test"]["rows"] == 5);
}

TEST_CASE("taper: --quiet silences messages, and never what is asked for") {
  const Folder folder;
  const std::string table = folder / "t.csv", model = folder / "m.safetensors";
  write_table(table, passengers(80, 3));
  fit(table + " --target alive --save " + model);
  for (const std::string& arguments :
       {"predict " + model + " " + table, "path " + table + " --target alive",
        "select " + table + " --target alive", "inspect " + table, "inspect " + model}) {
    INFO(arguments);
    const Run loud = run("taper", arguments), quiet = run("taper", arguments + " --quiet");
    CHECK(quiet.status == 0);
    CHECK_FALSE(quiet.out.empty());
    CHECK(quiet.out == loud.out);
    CHECK(quiet.err.empty());
  }
  CHECK(run("taper", "bench " + model + " " + table + " --quiet").out.find("rows_per_second") !=
        std::string::npos);
  const Run fitted = run("taper", "fit " + table + " --target alive --quiet --save " + model);
  CHECK(fitted.out.empty());  // a report beside the model
}

TEST_CASE("taper: inspect prints the certificate of a network as a table") {
  const Folder folder;
  const std::string table = folder / "t.csv", model = folder / "m.safetensors";
  write_table(table, bent(100, 3));
  const Json report = fit(table + " --target y --model network --hidden 8 --effort 0.05 --save " + model);
  REQUIRE(report["certificate"]["layers"].size() == 2);
  const Run printed = run("taper", "inspect " + model);
  REQUIRE(printed.status == 0);
  CHECK(printed.out.find("layers") == std::string::npos);
  CHECK(printed.out.find('{') == std::string::npos);
  const Words lines = lines_of(printed.out);
  const auto header =
      std::ranges::find_if(lines, [](const std::string& line) { return line.starts_with("layer "); });
  REQUIRE(lines.end() - header > 2);
  for (int k = 0; k < 2; ++k) {
    const Json& layer = report["certificate"]["layers"][k];
    std::istringstream cells(header[k + 1]);
    std::string name, worst;
    long depth = 0, zero = 0, grow = 0, nonzero = 0;
    cells >> name >> depth >> zero >> grow >> worst >> nonzero;
    CHECK(name == layer["name"]);
    CHECK(depth == layer["depth"]);
    CHECK(zero == layer["zero"]);
    CHECK(grow == layer["violated_zero"]);
    CHECK(nonzero == layer["nonzero"]);
    CHECK(std::stod(worst) == doctest::Approx(layer["worst_zero"].get<double>()).epsilon(0.01));
  }
  CHECK(Json::parse(run("taper", "inspect " + model + " --json -").out)["certificate"] ==
        report["certificate"]);
}

TEST_CASE("taper: a model is shrunk without examples, and says what it predicts") {
  const Folder folder;
  write_table(folder / "t.csv", passengers(80, 3));
  const std::string table = folder / "t.csv", model = folder / "m.safetensors",
                    small = folder / "s.safetensors";
  fit(table + " --target alive --save " + model);
  const Run shrunk = run("taper", "shrink " + model + " --quiet --json - --save " + small);
  INFO(shrunk.err);
  REQUIRE(shrunk.status == 0);
  const Json parameters = Json::parse(shrunk.out)["parameters"];
  CHECK(parameters["after"] == parameters["before"]);
  CHECK(run("taper", "predict " + small + " " + table).out ==
        run("taper", "predict " + model + " " + table).out);
  const std::string said = run("taper", "inspect " + small).out;
  CHECK(said.find("alive") != std::string::npos);
  CHECK(said.find("[\"no\",\"yes\"]") != std::string::npos);
}

TEST_CASE("taper: of many classes, those of a single row are left out, of LIBSVM, too") {
  const Folder folder;
  std::string table = "a,y\n", sparse;
  for (int i = 0; i < 42; ++i) {
    const std::string label = i == 40 ? "7" : i == 41 ? "9" : std::to_string(i % 2);
    table += std::to_string(i % 2 + 0.01 * i) + ",c" + label + '\n';
    sparse += label + " 1:" + std::to_string(i % 2 + 0.01 * i) + '\n';
  }
  write_table(folder / "t.csv", table);
  write_table(folder / "t.svm", sparse);
  for (const std::string& arguments :
       {(folder / "t.csv") + " --target y", (folder / "t.svm") + " --task classes"}) {
    const Json report = fit(arguments);
    INFO(arguments);
    CHECK(report["rows"] == 40);
    CHECK(report["classes"].size() == 2);
    CHECK(report["notes"][0].get<std::string>().find("2 classes have a single row each") == 0);
  }
}

TEST_CASE("taper: tune searches within a budget, of numbers and of classes, and saves what fit does") {
  const Folder folder;
  const std::string table = folder / "t.csv", model = folder / "m.safetensors", classes = folder / "c.csv";
  write_table(table, bent(400, 5));
  write_table(classes, passengers(200, 5));
  const std::string quick =
      " --trials 3 --seeds 2 --search epochs=30 --search starts=1 --search width=8 --search layers=2 "
      "--search "
      "path_epochs=3 --quiet --json -";
  const Run run_tune =
      run("taper", "tune " + table + " --target y --budget 40 --no-control --save " + model + quick);
  INFO(run_tune.err);
  REQUIRE(run_tune.status == 0);
  const Json report = Json::parse(run_tune.out);
  CHECK(report["rows"] == Json{{"train", 256}, {"validation", 64}, {"test", 80}});
  CHECK(report["found"][0]["winner"]["size"] <= 40);
  const Run inspected = run("taper", "inspect " + model + " --json - --quiet");
  CHECK(Json::parse(inspected.out)["parameters"] <= 40);
  const Run predicted = run("taper", "predict " + model + " " + table + " --quiet --json -");
  CHECK(Json::parse(predicted.out)["errors"]["r2"] > 0.5);

  const Run of_classes = run("taper", "tune " + classes + " --target alive --budget 40" + quick);
  INFO(of_classes.err);
  REQUIRE(of_classes.status == 0);
  const Json found = Json::parse(of_classes.out)["found"][0];
  CHECK(found["winner"]["validation_log_loss"] < 0.68);  // of an even guess: 0.693
  CHECK(found.contains("control"));
  const std::string drawn = folder / "figures";
  const Run of_products = run(
      "taper", "tune " + table + " --target y --budget 40 --measure multiply_adds --plot " + drawn + quick);
  INFO(of_products.err);
  REQUIRE(of_products.status == 0);
  CHECK(Json::parse(of_products.out)["measure"] == "multiply_adds");
  const std::string figure = text(drawn + "/sizes.gp");
  CHECK(figure.find("set xlabel 'multiply-adds'") != std::string::npos);
}

TEST_CASE("taper: a model file says how a table is read, and a test table needs what the model reads") {
  const Folder folder;
  const std::string table = folder / "t.csv", test = folder / "u.csv", model = folder / "m.safetensors";
  // "01" and "1" are two labels; -99 is no number.
  const auto row = [](int i) {
    const bool first = i % 3 == 0;
    const double a = std::sin(1.7 * i);
    return std::string(first ? "01" : "1") + "," + (i % 7 == 0 ? "-99" : std::to_string(a)) + "," +
           std::to_string((first ? 5 : -5) + (i % 7 == 0 ? 0 : a));
  };
  std::string rows = "id,zip,a,y\n", others = "zip,a,y\n";
  for (int i = 0; i < 120; ++i) rows += std::to_string(i) + "," + row(i) + "\n";
  for (int i = 0; i < 30; ++i) others += row(i) + "\n";
  write_table(table, rows);
  write_table(test, others + "1,0.5,\n01,0.5,\n");
  const Json report =
      fit(table + " --target y --model linear --categorical zip --missing-words -99,-99 --drop id" +
          " --test " + test + " --save " + model);
  CHECK(report["test"]["rows"] == 30);
  CHECK(report["test"]["r2"] > 0.99);
  CHECK(report["notes"].dump().find("test: 2 of 32 rows are left out: the target is missing") !=
        std::string::npos);
  write_table(test, others);
  const Run predicted = run("taper", "predict " + model + " " + test + " --quiet --json -");
  REQUIRE(predicted.status == 0);
  CHECK(Json::parse(predicted.out)["errors"]["r2"] == doctest::Approx(report["test"]["r2"].get<double>()));
  CHECK(Json::parse(predicted.out)["notes"].dump().find("5 cells missing") != std::string::npos);
  // What a model of text takes for granted of a CSV holds for other formats by itself.
  write_table(folder / "t.arff",
              "@relation t\n@attribute zip {01,1}\n@attribute a numeric\n@attribute y numeric\n@data\n" +
                  others.substr(others.find('\n') + 1));
  const Run of_arff = run("taper", "predict " + model + " " + (folder / "t.arff") + " --quiet");
  CHECK(of_arff.status == 0);
  CHECK(of_arff.out == run("taper", "predict " + model + " " + test + " --quiet").out);
  // Columns that the model does not read may hold anything.
  std::string beside = "note,zip,a,y\n";
  for (int i = 0; i < 30; ++i) beside += std::string(i % 2 == 0 ? "A1," : "12,") + row(i) + "\n";
  write_table(folder / "beside.csv", beside);
  CHECK(run("taper", "predict " + model + " " + (folder / "beside.csv") + " --quiet").out == of_arff.out);
  CHECK(run("taper", "bench " + model + " " + test + " --repeats 1").status == 0);
  CHECK(run("taper", "shrink " + model + " --examples " + test).status == 0);
  // Standard output is as good as a file, and nothing is left behind.
  const std::string own = folder / "tmp";
  fs::create_directories(own);
  CHECK_FALSE(run("taper", "shrink " + model + " --save -", false, "TMPDIR='" + own + "'").out.empty());
  CHECK(fs::is_empty(own));
}

TEST_CASE("taper: select has a line for each column, those among them that are nothing to choose from") {
  const Folder folder;
  const std::string table = folder / "t.csv";
  std::string rows = "a,b,twin,same,y\n";
  for (int i = 0; i < 200; ++i) {
    const double a = std::sin(1.7 * i), b = std::cos(2.3 * i);
    rows += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(a) + ",3," +
            std::to_string(a * a + 0.1 * b) + "\n";
  }
  write_table(table, rows);
  for (const char* how : {"--model network", "--stability 2"}) {
    CAPTURE(how);
    const Run select = run(
        "taper", "select " + table + " --target y --features 1 " + how + " --json " + (folder / "s.json"));
    REQUIRE(select.status == 0);
    CHECK(lines_of(select.out).size() == 5);
    const Json columns = Json::parse(text(folder / "s.json"))["columns"];
    REQUIRE(columns.size() == 4);
    std::map<std::string, std::string> left_out;
    for (const Json& column : columns) {
      if (column.contains("left_out")) left_out[column["name"]] = column["left_out"];
    }
    CHECK(left_out == std::map<std::string, std::string>{{"twin", "equal, up to units, to a"},
                                                         {"same", "the same value in every training row"}});
    CHECK(select.err.find("note: twin is left out: equal, up to units, to a") != std::string::npos);
  }
}

TEST_CASE("taper: bench times each part") {
  const Folder folder;
  const std::string table = folder / "t.csv", model = folder / "m.safetensors";
  write_table(table, passengers(80, 3));
  fit(table + " --target alive --save " + model);
  const Run result = run("taper", "bench " + model + " " + table + " --repeats 3 --json -");
  INFO(result.err);
  REQUIRE(result.status == 0);
  const Json report = Json::parse(result.out);
  CHECK(report["rows"] == 80);
  for (const char* const part : {"read", "prepare", "predict", "one_row"}) {
    const double rows = std::string(part) == "one_row" ? 1 : 80;
    const double seconds = report[part]["seconds"];
    CHECK(seconds > 0);
    CHECK(report[part]["rows_per_second"].get<double>() == doctest::Approx(rows / seconds));
  }
}

TEST_CASE("taper: paths, help with an example, and completion") {
  const Folder folder;
  const std::string table = folder / "p.csv";
  write_table(table, passengers(120, 4));
  const Run path = run("taper", "path " + table + " --target alive");
  REQUIRE(path.status == 0);
  const Words lines = lines_of(path.out);
  CHECK(lines.size() == 51);
  CHECK(lines[0].starts_with("penalty,parameters,inputs,loss,standard_error,"));
  CHECK(std::ranges::count_if(lines, [](const std::string& line) { return line.ends_with(",1"); }) == 1);

  const Run select =
      run("taper", "select " + table + " --target alive --features 2 --json " + (folder / "s.json"));
  REQUIRE(select.status == 0);
  const Json chosen = Json::parse(text(folder / "s.json"));
  CHECK(chosen["selected"].size() == 2);
  CHECK(std::ranges::count(chosen["selected"], "sex") == 1);
  CHECK(std::ranges::count(chosen["selected"], "fare") == 1);
  CHECK(chosen["certificate"]["relative_gap"] < 1e-8);
  CHECK(lines_of(select.out).at(0) == "column,selected,enters,stability");
  CHECK(lines_of(select.out).at(1).find(",1,") != std::string::npos);

  // A network sees what matters only as a product.
  std::string rows = "a,b,c,d,color,y\n";
  for (int k = 0; k < 400; ++k) {
    const double a = std::sin(12.9 * k), b = std::cos(7.3 * k), c = std::sin(3.7 * k + 1),
                 d = std::cos(5.1 * k);
    rows += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(c) + "," + std::to_string(d) +
            "," +
            (k % 3 == 0   ? "red"
             : k % 3 == 1 ? "green"
                          : "blue") +
            "," + std::to_string(a * c) + "\n";
  }
  write_table(folder / "product.csv", rows);
  const Run product =
      run("taper", "select " + (folder / "product.csv") +
                       " --target y --features 2 --model network --stability 3 --threads 1 --json " +
                       (folder / "p.json"));
  REQUIRE(product.status == 0);
  const Json found = Json::parse(text(folder / "p.json"));
  CHECK(found["selected"] == Json({"a", "c"}));
  CHECK(found["certificate"]["violated"].empty());
  CHECK(found["certificate"]["left_out"] == 3);
  CHECK(found["columns"][0]["stability"] == 1);
  CHECK(found["path"].size() > 3);
  CHECK(lines_of(product.out).at(0) == "column,selected,enters,stability");
  const Run many =
      run("taper", "select " + (folder / "product.csv") + " --target y --features 6 --model network");
  CHECK(many.status == 2);
  CHECK(many.err.find("at most the 5 columns that can be used") != std::string::npos);

  for (const char* verb :
       {"fit", "predict", "inspect", "shrink", "select", "path", "tune", "bench", "completion"}) {
    const Run help = run("taper", std::string(verb) + " --help");
    INFO(verb);
    CHECK(help.status == 0);
    CHECK(help.out.find("Example:\n") != std::string::npos);
    CHECK(help.out.find(std::string("taper ") + verb) != std::string::npos);
    CHECK(help.out.find("Exit status: 0, or 2") != std::string::npos);
  }
  const std::string of_select = run("taper", "select --help").out;
  for (const char* column : {"selected", "enters", "stability"}) {
    CHECK(of_select.find(std::string("\n  ") + column + "  ") != std::string::npos);
  }
  CHECK(run("taper", "--help").out.find("predict") != std::string::npos);
  CHECK(run("taper", "--version").out.starts_with("taper (Taper) "));

  const Run bash = run("taper", "completion bash");
  REQUIRE(bash.status == 0);
  write_table(folder / "c.sh",
              bash.out +
                  "\nCOMP_WORDS=(taper fit t.csv --mod) COMP_CWORD=3\n_taper\necho \"${COMPREPLY[@]}\"\n"
                  "COMP_WORDS=(taper fit t.csv --model l) COMP_CWORD=4\n_taper\necho \"${COMPREPLY[@]}\"\n"
                  "COMP_WORDS=(taper p) COMP_CWORD=1\n_taper\necho \"${COMPREPLY[@]}\"\n");
  if (std::system("command -v bash >/dev/null 2>&1") == 0) {
    const std::string out = folder / "c.out";
    REQUIRE(std::system(("bash '" + (folder / "c.sh") + "' > '" + out + "' 2>&1").c_str()) == 0);
    CHECK(text(out) == "--model\nlinear\npredict path\n");
  }
  CHECK(run("taper", "completion zsh").out.find("--budget[Parameters at most]:value:_files") !=
        std::string::npos);
  CHECK(run("taper", "completion fish").out.find("-l budget -r -d 'Parameters at most'") !=
        std::string::npos);
}
