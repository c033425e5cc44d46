// Runs sparse_lenet.

#include "run.hpp"

using namespace programs;

namespace {

const std::string few_epochs = "--dense-epochs 1 --epochs 2 --refit-epochs 1 --control-epochs 1 ";

/// The figures without times.
Json timeless(Json report) {
  for (const char* network : {"dense", "sparse", "refit", "control"}) report[network].erase("seconds");
  return report;
}

}  // namespace

TEST_CASE("sparse_lenet: lenet300 on drawn digits; four networks, the same on two threads") {
  const std::string arguments = few_epochs + "--limit 1200 --weight-decay 3e-3 --batch-size 32 ";
  const Folder folder;
  const std::string file = folder / "net.safetensors";
  const Json report =
      figures("sparse_lenet", arguments + "--plot '" + folder.path.string() + "' --save '" + file + "'");
  REQUIRE(has(report, {"data", "model", "groups", "depth", "rows", "dense", "alpha", "sparse", "shrunk",
                       "refit", "control", "saved"}));
  CHECK(report["data"] == "embedded");
  CHECK(report["rows"] == Json{{"train", 960}, {"validation", 240}, {"test", 1200}});
  CHECK(report["dense"]["parameters"] == 266610);
  CHECK(report["dense"]["multiply_adds"] == 266200);
  CHECK(report["dense"]["widths"] == Json{784, 300, 100, 10});
  for (const char* network : {"dense", "shrunk", "refit", "control"}) {
    CAPTURE(network);
    const Json& figures = report[network];
    REQUIRE(has(figures, {"widths", "parameters", "multiply_adds", "validation_error", "test_error"}));
    const Json& widths = figures["widths"];
    REQUIRE(widths.size() == 4);
    int products = 0, biases = 0;
    for (std::size_t k = 0; k + 1 < 4; ++k) {
      products += widths[k].get<int>() * widths[k + 1].get<int>();
      biases += widths[k + 1].get<int>();
    }
    CHECK(figures["multiply_adds"] == products);
    CHECK(figures["parameters"] == products + biases);
    CHECK(figures["test_error"] >= 0);
    CHECK(figures["test_error"] < 85);  // guessing has 90
  }
  // The penalty took something away, training again and the control are of that size.
  CHECK(report["shrunk"]["parameters"] < report["dense"]["parameters"]);
  CHECK(report["refit"]["widths"] == report["shrunk"]["widths"]);
  CHECK(report["control"]["widths"] == report["shrunk"]["widths"]);
  CHECK(report["control"]["test_error"] != report["refit"]["test_error"]);
  CHECK(report["shrunk"]["max_relative_difference"] < 1e-4);
  CHECK(report["sparse"]["certificate"]["tested"] == 784 + 300 + 100);
  CHECK(fs::exists(folder / "filters.gp"));
  CHECK(fs::exists(file));

  Json two = figures("sparse_lenet", arguments + "--threads 2 --save '" + file + "'");
  CHECK(timeless(two) == timeless(report));
  CHECK(timeless(figures("sparse_lenet", arguments + "--seed 1"))["rows"] == report["rows"]);
}

TEST_CASE("sparse_lenet: lenet5; groups of filters keep the classes") {
  const Json report = figures("sparse_lenet", few_epochs + "--limit 300 --model lenet5 --groups filters");
  CHECK(report["dense"]["widths"] == Json{20, 50, 800, 500, 10});
  CHECK(report["dense"]["parameters"] == 431080);
  CHECK(report["dense"]["multiply_adds"] == 2293000);
  CHECK(report["refit"]["widths"].back() == 10);
}

TEST_CASE("sparse_lenet: a budget holds, whatever is cut on the way, and the same is computed again") {
  const std::string arguments =
      "--limit 300 --dense-epochs 1 --epochs 4 --refit-epochs 2 --control-epochs 1 --model lenet5 --groups "
      "filters "
      "--penalty cost --weight-decay 1e-4 --shrink-every 1 --shift 1 --teach 0.5 --label-smoothing 0.1 ";
  const Json report = figures("sparse_lenet", arguments + "--budget 200000");
  CHECK(report["shrunk"]["multiply_adds"] <= 200000);
  CHECK(report["shrunk"]["multiply_adds"] > 100000);
  CHECK(report["shrunk"]["max_relative_difference"] < 1e-4);
  CHECK(report["control_taught"]["widths"] == report["control"]["widths"]);
  CHECK(report["control_taught"]["epochs"] == 1);
  CHECK(timeless(figures("sparse_lenet", arguments + "--budget 200000 --threads 1"))["refit"] ==
        timeless(report)["refit"]);
  const Run none = run("sparse_lenet", arguments + "--quiet --budget 100");
  CHECK(none.status == 2);
  CHECK(none.err == "sparse_lenet: --budget 100: expected as many as one filter in each layer takes\n");
}

TEST_CASE("sparse_lenet: a budget is held wherever the last cut is, with moved images and a teacher") {
  for (const char* shrink_every : {"1", "2"}) {  // of 3 epochs: 2 is less than three quarters
    const Json report = figures("sparse_lenet", std::string("--limit 300 --groups filters --dense-epochs 1 "
                                                            "--epochs 3 --refit-epochs 1 --control-epochs 1 "
                                                            "--budget 20000 --shift 2 --teach 0.5 "
                                                            "--shrink-every ") +
                                                    shrink_every);
    CHECK(report["dense"]["multiply_adds"] == 266200);
    CHECK(report["shrunk"]["multiply_adds"] <= 20000);
    CHECK(report["shrunk"]["multiply_adds"] > 10000);
    CHECK(report["refit"]["multiply_adds"] == report["shrunk"]["multiply_adds"]);
  }
}

TEST_CASE("sparse_lenet: a path of penalties has a front") {
  const Folder folder;
  const Json report = figures(
      "sparse_lenet", few_epochs + "--limit 300 --path 1e-4,1e-1 --plot '" + folder.path.string() + "'");
  REQUIRE(report["points"].size() == 2);
  CHECK(report["points"][0]["alpha"] == 1e-4);
  CHECK(report["points"][1]["shrunk"]["parameters"] < report["points"][0]["shrunk"]["parameters"]);
  CHECK(fs::exists(folder / "sizes.gp"));
}

TEST_CASE("sparse_lenet: the control takes the time of all the others") {
  const Json report =
      figures("sparse_lenet", "--limit 300 --dense-epochs 0 --epochs 2 --refit-epochs 1 --depth 3");
  CHECK(report["control"]["epochs"] >= 1);
  CHECK(report["sparse"]["certificate"]["certifiable"] == false);
}

TEST_CASE("sparse_lenet: files in the form of MNIST") {
  const Folder folder;
  const auto write = [&](const char* name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  const std::string images =
      std::string("\0\0\x08\x03\0\0\0\x14\0\0\0\x1c\0\0\0\x1c", 16) + std::string(20 * 784, '\7');
  std::string labels = std::string("\0\0\x08\x01\0\0\0\x14", 8) + std::string(20, '\3');
  write("train-images-idx3-ubyte", images);
  write("t10k-images.idx3-ubyte", images);
  write("train-labels-idx1-ubyte", labels);
  const std::string arguments = few_epochs + "--data '" + folder.path.string() + "'";
  const auto refused = [&](const std::string& words) {
    const Run result = run("sparse_lenet", arguments);
    CAPTURE(result.err);
    CHECK(result.status == 2);
    CHECK(result.err.find(words) != std::string::npos);
    CHECK(std::ranges::count(result.err, '\n') == 1);
  };
  refused(" has no t10k-labels-idx1-ubyte, packed or not: expected the four files of MNIST");
  write("t10k-labels-idx1-ubyte", labels);
  const Json report = figures("sparse_lenet", arguments);
  CHECK(report["data"] == folder.path.filename().string());
  CHECK(report["rows"] == Json{{"train", 16}, {"validation", 4}, {"test", 20}});
  labels.back() = '\x0a';
  write("t10k-labels-idx1-ubyte", labels);
  refused(" has a label 10: expected 0 to 9");
  labels.pop_back();
  write("t10k-labels-idx1-ubyte", labels);
  refused(" bytes of elements: expected 20");
  write("t10k-labels-idx1-ubyte", "no labels");
  refused("expected an IDX file");
}

TEST_CASE("sparse_lenet: trainings that were ended go on") {
  const Folder folder;
  const std::string arguments = few_epochs + "--limit 300 ";
  const std::string saved = "--checkpoint '" + folder / "saved" + "'";
  const Json whole = timeless(figures("sparse_lenet", arguments));
  CHECK(timeless(figures("sparse_lenet", arguments + saved)) == whole);
  CHECK(fs::exists(folder / "saved.dense"));
  CHECK(timeless(figures("sparse_lenet", arguments + saved)) == whole);
}

TEST_CASE("sparse_lenet: wrong input is one sentence and exit status 2") {
  for (const char* arguments : {"--model lenet4",
                                "--groups rows",
                                "--depth 1",
                                "--path 1e-3,x",
                                "--path 0",
                                "--penalty two",
                                "--limit 100 --budget 9000 --groups filters",
                                "--limit 100 --budget 9000 --groups filters --shrink-every 3 --epochs 3",
                                "--limit 100 --teach 2",
                                "--limit 100 --teach 0.5 --dense-epochs 0",
                                "--limit 100 --label-smoothing 1",
                                "--shift 28",
                                "--limit -1",
                                "--validation 0",
                                "--limit 1",
                                "--data /nowhere",
                                "--control-epochs -2",
                                "--save /nowhere/at/all",
                                "--budget 1000",
                                "--shift 28",
                                "--label-smoothing 1",
                                "--teach -0.1",
                                "--teach 0.5 --dense-epochs 0",
                                "--shrink-every -1",
                                "--epochs 1 --json /nowhere/at/all.json",
                                "--weight-decay 0 --limit 100 --epochs 0 --dense-epochs 0"}) {
    CAPTURE(arguments);
    const Run result = run("sparse_lenet", std::string("--quiet ") + arguments);
    CAPTURE(result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(result.err.starts_with("sparse_lenet: "));
  }
  const Run help = run("sparse_lenet", "--help");
  CHECK(help.status == 0);
  for (const char* words : {"--model", "--groups", "For example: sparse_lenet", "biases not"}) {
    CHECK(help.out.find(words) != std::string::npos);
  }
}
