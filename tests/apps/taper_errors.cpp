// What taper refuses, and what it says on standard error.

#include <algorithm>
#include <cstdlib>

#include "tables.hpp"

using namespace programs;

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
