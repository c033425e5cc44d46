// Runs predict, and sparse_mlp --save, whose files it reads.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include <taper/autodiff/attribute_value.hpp>
#include <taper/autodiff/ops.hpp>
#include <taper/data/split.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/io/model.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "run.hpp"

using namespace programs;
using namespace taper;

namespace {

/// The rows of an embedded set as CSV, from all digits of its numbers.
std::string csv_of(const data::Dataset<float>& set, bool with_target = true) {
  std::ostringstream text;
  text.precision(9);
  for (std::size_t j = 0; j < set.features.size(); ++j) text << (j == 0 ? "" : ",") << set.features[j];
  text << (with_target ? "," + set.target : "") << '\n';
  const auto width = static_cast<Index>(set.features.size());
  for (Index i = 0; i < set.rows(); ++i) {
    for (Index j = 0; j < width; ++j) text << (j == 0 ? "" : ",") << set.x[i * width + j];
    if (with_target) text << ',' << set.y[i];
    text << '\n';
  }
  return text.str();
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

/// 2 a - b + 0.5, in double, as a file.
void save_linear(const std::string& path, const std::map<std::string, std::string>& metadata = {}) {
  nn::Linear<double> linear(2, 1);
  linear.weight.value()[0] = 2, linear.weight.value()[1] = -1;
  linear.bias->value()[0] = 0.5;
  io::save_model(linear, {{1, 2}}, path, metadata);
}

}  // namespace

TEST_CASE("predict: what sparse_mlp saved computes the same, in the units of the table") {
  const Folder folder;
  const std::string model = folder / "small.safetensors", table = folder / "test.csv",
                    predicted = folder / "predicted.csv";
  const Json trained = figures("sparse_mlp", "--epochs 5 --seed 2 --save '" + model + "'");
  REQUIRE(has(trained, {"saved"}));
  REQUIRE(has(trained["saved"], {"file", "mse", "rmse", "mae"}));
  const data::Dataset<float> test =
      data::train_test_split(data::make_housing<float>({.rows = 12000, .seed = 2}), 0.2, 2).second;
  write_text(table, csv_of(test));
  const std::string arguments = "--model '" + model + "' --csv '" + table + "'";
  const Json report = figures("predict", arguments + " --output '" + predicted + "'");
  CHECK(report["rows"] == 2400);
  CHECK(report["target"] == test.target);
  CHECK(report["parameters"] == trained["shrunk"]["parameters"]);
  for (const char* name : {"mse", "rmse", "mae"}) CHECK(report[name] == trained["saved"][name]);
  // What sparse_mlp prints is of the standardized target.
  double mean = 0, squares = 0;
  const data::Dataset<float> train =
      data::train_test_split(data::make_housing<float>({.rows = 12000, .seed = 2}), 0.2, 2).first;
  for (const float y : train.y) mean += static_cast<double>(y) / static_cast<double>(train.rows());
  for (const float y : train.y) squares += (y - mean) * (y - mean) / static_cast<double>(train.rows());
  CHECK(report["mse"].get<double>() ==
        doctest::Approx(trained["phase2"]["test_mse"].get<double>() * squares).epsilon(1e-4));
  CHECK(figures("predict", arguments + " --threads 3") ==
        figures("predict", arguments));  // with any number of threads

  const std::string text = programs::text(predicted);
  CHECK(text.starts_with("row," + test.target + ",prediction\n1,"));
  CHECK(std::ranges::count(text, '\n') == 2401);
  // The library reads the file as well, to the same numbers.
  const nn::Graph<float> graph = io::load_model<float>(model);
  Tape<float> tape(Mode::evaluation);
  const Var<float> y = graph(tape.constant(test.x));
  const auto predictions = report["predictions"].get<std::vector<float>>();
  CHECK(std::ranges::equal(predictions, y.value()));

  // Columns in another order, with others among them, and without the target.
  const std::string other = folder / "other.csv";
  std::string mixed = "note," + test.features[7] + ",empty";
  for (std::size_t j = 0; j < 7; ++j) mixed += ',' + test.features[j];
  std::ostringstream rows;
  rows.precision(9);
  for (Index i = 0; i < 50; ++i) {
    rows << "text " << i << ',' << test.x[i * 8 + 7] << ',';
    for (Index j = 0; j < 7; ++j) rows << ',' << test.x[i * 8 + j];
    rows << '\n';
  }
  write_text(other, mixed + '\n' + rows.str());
  const std::string shuffled = "--model '" + model + "' --csv '" + other + "'";
  const Json same = figures("predict", shuffled + " --output '" + (folder / "same.csv") + "'");
  CHECK(same["notes"] == Json({"columns that the model does not read: note, empty"}));
  CHECK_FALSE(same.contains("mse"));
  for (std::size_t i = 0; i < 50; ++i) CHECK(same["predictions"][i] == report["predictions"][i]);
  // Without a target, what is printed are the predictions.
  const Run printed = run("predict", shuffled);
  CHECK(printed.status == 0);
  CHECK(printed.out.starts_with("row,prediction\n1,"));
  CHECK(std::ranges::count(printed.out, '\n') == 51);
  CHECK(run("predict", shuffled + " --quiet").out == printed.out);  // which is data, and no message
  CHECK(run("predict", arguments).out.find("rmse") != std::string::npos);
  CHECK(run("predict", arguments + " --output -").out == text);
  write_text(other,
             csv_of(test).replace(csv_of(test).find(test.features[3]), test.features[3].size(), "something"));
  CHECK(run("predict", "--model '" + model + "' --csv '" + other + "'").err.find("no column") !=
        std::string::npos);
  write_text(other, "latitude,longitude\n1,2\n");
  const Run narrow = run("predict", "--model '" + model + "' --csv '" + other + "'");
  CHECK(narrow.err ==
        "predict: no column \"housing_median_age\", \"total_rooms\", \"total_bedrooms\", \"population\", "
        "\"households\", \"median_income\" in a table of \"latitude\", \"longitude\": expected all that the "
        "model reads\n");
}

TEST_CASE("predict: models of anybody's, in double, with rows that are left out") {
  const Folder folder;
  const std::string model = folder / "m.safetensors", table = folder / "t.csv";
  save_linear(model);
  write_text(table, "a,b,y\n1,2,0\n?,1,1\n3,4,2.5\n0.1,0.2,1e3\n");
  const std::string arguments = "--model '" + model + "' --csv '" + table + "' --target y ";
  CHECK(run("predict", arguments).err.find("has 1 missing cell, in row 2: expected values") !=
        std::string::npos);
  const Json report = figures("predict", arguments + "--missing drop");
  CHECK(report["predictions"] == Json({0.5, 2.5, 0.5}));
  CHECK(report["mae"].get<double>() == doctest::Approx((0.5 + 0 + 999.5) / 3));
  CHECK(report["mse"].get<double>() == doctest::Approx((0.25 + 999.5 * 999.5) / 3));
  CHECK(run("predict", arguments + "--missing drop --output -").out ==
        "row,y,prediction\n1,0,0.5\n3,2.5,2.5\n4,1000,0.5\n");
  CHECK(figures("predict", arguments + "--missing mean")["predictions"].size() == 4);

  // LIBSVM has its target, and no zeros behind the last.
  write_text(table, "0.5 1:1 2:2\n7 1:3\n");
  CHECK(figures("predict", "--model '" + model + "' --csv '" + table + "'")["predictions"] ==
        Json({0.5, 6.5}));
  write_text(table, "7 1:3\n8 1:2\n");
  CHECK(figures("predict", "--model '" + model + "' --csv '" + table + "'")["mse"] == 0.5 * (0.25 + 12.25));

  // What the model cannot take, predict or be compared with.
  const auto fails = [&](const std::string& rows, const std::string& words) {
    write_text(table, "a,b,y\n" + rows);
    const Run result = run("predict", arguments);
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(result.err.find(words) != std::string::npos);
  };
  fails("1,2,3\n1e308,-1e308,3\n", "predicts inf for row 2: expected a finite number");
  nn::Linear<float> narrow(2, 1);
  io::save_model(narrow, {{1, 2}}, model);
  fails("1,2,3\n1e39,2,3\n", "column \"a\" has 1e+39 in row 2: expected a number that the model can take");
  fails("1,2,3\n1,2,1e39\n", "column \"y\" has 1e+39 in row 2: expected a number that the model could");
  // LIBSVM is filled up to the columns of the model, as far as that makes sense.
  struct Copies : nn::Layer<double> {
    Var<double> forward(Var<double> x) const override { return relu(x); }
  };
  for (const Index width : {Index{1} << 30, Index{1} << 24}) {
    nn::Graph<double>::Parts parts = nn::Graph<double>::trace(Copies(), {{1, 2}}).parts();
    parts.inputs[0] = {1, width};
    io::save_model(nn::Graph<double>(parts), model);
    write_text(table, "7 1:3\n8 1:2\n");
    const Run result = run("predict", "--model '" + model + "' --csv '" + table + "'");
    CHECK(result.status == 2);
    CHECK(result.err.find(width > (1 << 28) ? "columns: expected at most 268435456" : "is too sparse") !=
          std::string::npos);
  }

  // Several outputs.
  nn::Sequential<float> wide(nn::Linear<float>(1, 2), nn::Tanh<float>());
  io::save_model(wide, {{1, 1}}, model);
  write_text(table, "x\n1\n2\n");
  CHECK(run("predict", "--model '" + model + "' --csv '" + table + "'")
            .out.starts_with("row,prediction1,prediction2\n"));
  CHECK(run("predict", "--model '" + model + "' --csv '" + table + "' --target x").status == 2);
}

TEST_CASE("predict: knows every operation of the library") {
  // A program links what it uses, and this one uses none by name.
  const Folder folder;
  const std::string model = folder / "m.safetensors";
  save_linear(model);
  std::string bytes = text(model);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  nlohmann::ordered_json header = nlohmann::ordered_json::parse(bytes.substr(8, length));
  auto architecture = nlohmann::ordered_json::parse(header["__metadata__"]["taper.model"].get<std::string>());
  for (const Op<double>* op : Op<double>::registry()) {
    nlohmann::ordered_json settings = nlohmann::ordered_json::object();
    for_attributes(*op, default_attributes(*op), [&](std::string_view name, const AttributeValue& value) {
      settings[std::string(name)] = std::visit(
          [](const auto& given) -> nlohmann::ordered_json {
            using Given = std::decay_t<decltype(given)>;
            if constexpr (std::is_same_v<Given, IndexList>) {
              return std::vector<Index>(given.begin(), given.end());
            } else if constexpr (std::is_same_v<Given, std::string_view>) {
              return std::string(given);
            } else if constexpr (std::is_same_v<Given, const void*>) {
              return nullptr;
            } else {
              return given;
            }
          },
          value);
    });
    architecture["evaluation"]["instructions"].push_back(
        {{"operation", std::string(op->name)}, {"inputs", {"input0"}}, {"settings", settings}});
  }
  architecture["evaluation"]["instructions"].push_back(
      {{"operation", "none such"}, {"inputs", {"input0"}}, {"settings", nlohmann::ordered_json::object()}});
  header["__metadata__"]["taper.model"] = architecture.dump();
  const std::string written = header.dump();
  const std::uint64_t size = written.size();
  write_text(model,
             std::string(reinterpret_cast<const char*>(&size), 8) + written + bytes.substr(8 + length));
  const std::string table = folder / "t.csv";
  write_text(table, "a,b\n1,2\n");
  const Run result = run("predict", "--model '" + model + "' --csv '" + table + "'");
  CHECK(result.status == 2);
  INFO(result.err);
  CHECK(result.err.find("operations that are not known: \"none such\": expected") != std::string::npos);
}

TEST_CASE("predict: every way to fail is one line and exit status 2") {
  const Folder folder;
  const std::string model = folder / "m.safetensors", table = folder / "t.csv",
                    odd = folder / "odd.safetensors";
  save_linear(model);
  save_linear(odd, {{"taper.features", "[1,2]"}});
  write_text(table, "a,b,c\n1,2,u\n2,1,x\n3,1,u\n");
  const std::string with_model = "--model '" + model + "' ", with_table = "--csv '" + table + "' ";
  struct Case {
    std::string arguments, words;
  };
  for (const Case& bad : {
           Case{"", "predict: no --model: expected a file"},
           Case{with_model, "predict: no --csv: expected a table"},
           Case{with_table + "--model /nowhere", "[load] /nowhere"},
           Case{with_table + "--model '" + table + "'", "expected a safetensors file"},
           Case{with_model + with_table, "predict: 3 columns: expected 2"},
           Case{with_model + with_table + "--drop c,b", "predict: 1 columns: expected 2"},
           Case{with_model + with_table + "--target z", "no column \"z\""},
           Case{with_model + with_table + "--target c", "column \"c\" holds text"},
           Case{with_table + "--model '" + odd + "'", "\"taper.features\" that are no names"},
           Case{with_model + with_table + "--drop c --output - --json -", "--output - and --json -"},
           Case{with_model + with_table + "--output /nowhere/at/all", "--output: '/nowhere/at/all'"},
           Case{with_model + with_table + "--drop c --output '" + table + "'", "has read or written"},
           Case{with_model + with_table + "--json '" + model + "'", "is a file that is read"},
           Case{with_model + "--csv /nowhere", "/nowhere"},
           Case{"surplus", "surplus"},
       }) {
    const Run result = run("predict", bad.arguments);
    INFO(bad.arguments, ": ", result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(result.err.starts_with("predict: "));
    CHECK(result.err.find(bad.words) != std::string::npos);
  }
  CHECK(run("predict", with_model + with_table + "--drop c >/dev/full").status == 2);
  CHECK(run("predict", "--help").out.find("--model") != std::string::npos);
  // The model is written neither over data nor where it cannot be.
  CHECK(run("sparse_mlp", "--epochs 0 --save /nowhere/at/all").err.find("--save: '/nowhere/at/all'") !=
        std::string::npos);
  const Run both = run("sparse_mlp", "--epochs 0 --save '" + model + "' --json '" + model + "'");
  CHECK(both.status == 2);
  CHECK(both.err.find("has read or written") != std::string::npos);
}
