#include "table_model.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/train/evaluate.hpp>

#include "model_file.hpp"
#include "output.hpp"

namespace taper::apps {
namespace {

constexpr const char *preprocessing_key = "taper.preprocessing", *link_key = "taper.link",
                     *about_key = "taper.fit";

/// A folder of our own, which goes away with this.
struct TemporaryFolder {
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "taper-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error("save", name, " cannot be made: expected a folder for what is on its way");
    }
    path = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

template <class T> Tensor<double> run(const nn::Graph<T>& graph, const Tensor<double>& x) {
  Tensor<T> inputs(x.shape());
  std::ranges::transform(x, inputs.begin(), [](double value) { return static_cast<T>(value); });
  const auto bad = std::ranges::find_if(inputs, [](T value) { return !std::isfinite(value); });
  if (bad != inputs.end()) {
    throw Error("predict", "a feature of row ", (bad - inputs.begin()) / x.shape()[1] + 1,
                " is too far from those that the model was fitted to: expected one that its numbers hold");
  }
  const Tensor<T> y = train::predict(graph, inputs.view());
  if (y.shape().rank() != 2) {
    throw Error("predict", "the model gives ", y.shape(), ": expected a row for each row");
  }
  Tensor<double> outputs(y.shape());
  std::ranges::transform(y, outputs.begin(), [](T value) { return static_cast<double>(value); });
  const auto wrong = std::ranges::find_if(outputs, [](double value) { return !std::isfinite(value); });
  if (wrong != outputs.end()) {
    throw Error("predict", "the model gives ", *wrong, " for row ",
                (wrong - outputs.begin()) / y.shape()[1] + 1, ": expected a finite number");
  }
  return outputs;
}

/// How many outputs a model with this target has.
Index width_of(const data::TargetColumn& target, Link link) {
  return link == Link::identity || link == Link::logistic ? 1 : static_cast<Index>(target.classes.size());
}

void check_fits(const TableModel& model, const std::string& path) {
  const auto fail = [&](const auto&... parts) {
    throw Error("load", path, " ", parts..., ": expected parts that fit each other");
  };
  const bool numbers = model.preprocessing.target.kind == data::TargetKind::regression;
  if (numbers != (model.link == Link::identity))
    fail("has the link ", name_of(model.link), " for its target");
  if (model.link == Link::logistic && model.preprocessing.target.classes.size() != 2) {
    fail("has the link logistic for ", model.preprocessing.target.classes.size(), " classes");
  }
  std::visit(
      [&](const auto& graph) {
        const std::vector<Shape>& inputs = graph.parts().inputs;
        if (inputs.size() != 1 || inputs[0].rank() != 2) fail("takes other than the rows of one table");
        const auto features = static_cast<Index>(model.preprocessing.features.size());
        if (inputs[0][1] != features) {
          fail("takes ", inputs[0][1], " features, and its preprocessing gives ", features);
        }
      },
      model.graph);
  Tensor<double> y;
  try {
    y = outputs_of(model, Tensor<double>(Shape{1, static_cast<Index>(model.preprocessing.features.size())}));
  } catch (const Error& error) {
    throw Error("load", path, " predicts nothing for a row of averages, as ", error.given(), ": expected ",
                error.expected());
  }
  if (const Index width = width_of(model.preprocessing.target, model.link); y.shape()[1] != width) {
    fail("gives ", y.shape()[1], " numbers for each row in place of ", width);
  }
}

/// What a file of another program of this project says of its columns.
data::Preprocessing plain(const io::Archive& archive, const std::string& path, Index width) {
  const ColumnNames names = column_names(archive, path);
  if (static_cast<Index>(names.features.size()) != width) {
    throw Error("load", path, " names ", names.features.size(), " of its ", width,
                " columns: expected a file that taper fit or sparse_mlp --save has written");
  }
  data::Preprocessing result;
  for (const std::string& name : names.features) {
    result.features.push_back(
        {name, static_cast<Index>(result.columns.size()), data::Feature::Kind::value, 0, 0, 1});
    result.columns.push_back({name, data::ColumnKind::number, {}, 0, {}});
  }
  result.target.name = names.target.empty() ? "target" : names.target;
  return result;
}

}  // namespace

Index TableModel::parameters() const {
  Index count = 0;
  std::visit(
      [&](const auto& g) {
        for (const auto& [name, parameter] : g.parts().parameters) count += parameter.shape().size();
      },
      graph);
  return count;
}

Tensor<double> outputs_of(const TableModel& model, const Tensor<double>& x) {
  return std::visit([&](const auto& graph) { return run(graph, x); }, model.graph);
}

Tensor<double> said_by(const TableModel& model, const Tensor<double>& x) {
  return apply_link(model.link, outputs_of(model, x));
}

TableModel linear_model(data::Preprocessing preprocessing, Link link, const Tensor<double>& weights,
                        const std::vector<double>& intercepts) {
  const Index outputs = weights.shape()[0], features = weights.shape()[1];
  std::vector<Index> kept;
  for (Index j = 0; j < features; ++j) {
    bool used = false;
    for (Index k = 0; k < outputs; ++k) used = used || weights[k * features + j] != 0;
    if (used) kept.push_back(j);
  }
  nn::Linear<double> layer(static_cast<Index>(kept.size()), outputs);
  for (Index k = 0; k < outputs; ++k) {
    for (std::size_t j = 0; j < kept.size(); ++j) {
      layer.weight.value()[k * static_cast<Index>(kept.size()) + static_cast<Index>(j)] =
          weights[k * features + kept[j]];
    }
    layer.bias->value()[k] = intercepts[static_cast<std::size_t>(k)];
  }
  preprocessing.keep(kept);
  return {std::move(preprocessing), link,
          nn::Graph<double>::trace(layer, {Shape{2, static_cast<Index>(kept.size())}}), Json::object()};
}

void save_table_model(const TableModel& model, const std::string& path) {
  const std::map<std::string, std::string> metadata{
      {preprocessing_key, io::to_json(model.preprocessing)},
      {link_key, name_of(model.link)},
      {about_key, model.about.dump(-1, ' ', false, Json::error_handler_t::replace)}};
  const auto write = [&](const std::string& to) {
    std::visit([&](const auto& graph) { io::save_model(graph, to, metadata); }, model.graph);
  };
  if (path != "-") {
    require_unused(path, "save");
    write(path);
    note_file(path);
    return;
  }
  const std::string bytes = [&] {
    const TemporaryFolder folder;
    const std::filesystem::path meanwhile = folder.path / "model.safetensors";
    write(meanwhile);
    return data::read_bytes(meanwhile, "save");
  }();
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  flush_standard_output();
}

void read_like(const TableModel& model, TableFormat& format) {
  format.model_missing_words = model.preprocessing.missing_words;
  std::vector<std::string> numeric;
  for (const data::InputColumn& column : model.preprocessing.columns) {
    if (column.kind == data::ColumnKind::number) numeric.push_back(column.name);
  }
  const data::TargetColumn& target = model.preprocessing.target;
  const auto is_number = [](const std::string& label) {  // neither "x" nor "01"
    double value;
    return data::parse_number(label, value) == data::NumberKind::finite && data::number_text(value) == label;
  };
  if (std::ranges::all_of(target.classes, is_number)) numeric.push_back(target.name);
  format.model_numeric = std::move(numeric);
}

io::Archive open_model(const std::string& path, const CommonOptions& common) {
  if (path == "-") return io::Archive(data::read_standard_input("load"), "standard input");
  common.reads(path);
  return io::Archive(path);
}

bool has_preprocessing(const io::Archive& archive) {
  return archive.metadata().contains(preprocessing_key);
}

TableModel load_table_model(const io::Archive& archive, const std::string& path) {
  TableModel model;
  const auto& metadata = archive.metadata();
  const auto preprocessing = metadata.find(preprocessing_key);
  if (preprocessing != metadata.end()) {
    model.preprocessing = io::preprocessing_from_json(preprocessing->second, path);
    const auto link = metadata.find(link_key);
    model.link = link_named(link == metadata.end() ? "" : link->second, path);
  }
  if (io::scalar_of_model(archive) == "F64") {
    model.graph = io::load_model<double>(archive);
  } else {
    model.graph = io::load_model<float>(archive);
  }
  if (preprocessing == metadata.end()) {
    std::visit(
        [&](const auto& graph) {
          const std::vector<Shape>& inputs = graph.parts().inputs;
          if (inputs.size() != 1 || inputs[0].rank() != 2) {
            throw Error("load", path, " takes other than the rows of one table: expected one that does");
          }
          model.preprocessing = plain(archive, path, inputs[0][1]);
        },
        model.graph);
  }
  if (const auto about = metadata.find(about_key); about != metadata.end()) {
    model.about = Json::parse(about->second, nullptr, false);
    if (!model.about.is_object()) model.about = Json::object();
  }
  check_fits(model, path);
  return model;
}

}  // namespace taper::apps
