// Runs taper as people who write no C++ do: tables in, models and CSV out.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <vector>

#include "tables.hpp"

using namespace programs;
using taper::Rng;

namespace {

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
      " --trials 8 --seeds 2 --search epochs=30 --search starts=1 --search width=8 --search layers=2 "
      "--search refit_iterations=50 --quiet --json -";
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
  CHECK(found["winner"]["validation_log_loss"] < 0.5);  // of an even guess: 0.693
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
