#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <map>
#include <sstream>
#include <taper/autodiff/error.hpp>
#include <taper/data/arff.hpp>
#include <taper/data/date.hpp>
#include <taper/data/encode.hpp>
#include <taper/data/moments.hpp>
#include <taper/data/utf8.hpp>

#include "../output.hpp"
#include "../table_model.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

/// Whether a text is a safetensors file, or its beginning: eight bytes with the length of the JSON that
/// follows, of which the last is 0, as in no text.
bool looks_like_model(const std::string& bytes) {
  return bytes.size() >= 8 && bytes[7] == '\0' && (bytes.size() == 8 || bytes[8] == '{');
}

Json report_on_column(const data::Column& column) {
  std::vector<double> present;
  for (const double value : column.values) {
    if (!std::isnan(value)) present.push_back(value);
  }
  Json result{{"name", column.name}};
  double days;
  const bool dates =
      !column.labels.empty() && std::ranges::all_of(column.labels, [&](const std::string& label) {
        return data::parse_date(label, days);
      });
  result["kind"] = column.labels.empty() ? "number" : dates ? "date" : "text";
  result["missing"] = column.values.size() - present.size();
  std::map<double, Index> counts;
  for (const double value : present) ++counts[value];
  result["different"] = counts.size();
  if (column.labels.empty()) {
    if (!present.empty()) {
      const auto [least, most] = std::ranges::minmax(present);
      const double mean = data::mean_of(present);
      result["min"] = least, result["mean"] = mean, result["max"] = most;
      result["deviation"] = data::deviation_of(present, mean);
    }
  } else {
    std::vector<std::pair<Index, double>> order;
    for (const auto& [value, count] : counts) order.emplace_back(-count, value);
    std::ranges::sort(order);
    if (order.size() > 5) order.resize(5);
    Json frequent = Json::object();
    for (const auto& [count, value] : order)
      frequent[column.labels[static_cast<std::size_t>(value)]] = -count;
    result["most_frequent"] = std::move(frequent);
  }
  return result;
}

/// Elements of a tensor that are not zero; none where it holds no floating-point numbers.
std::optional<Index> nonzero(const io::Archive& archive, const std::string& name,
                             const io::StoredTensor& tensor) {
  const bool real =
      tensor.dtype == "F16" || tensor.dtype == "BF16" || tensor.dtype == "F32" || tensor.dtype == "F64";
  if (!real || tensor.shape.size() > 4) return {};
  const Tensor<double> elements = archive.read<double>(name, {.convert = true});
  return std::ranges::count_if(elements, [](double value) { return value != 0; });
}

Json preprocessing_json(const data::Preprocessing& preprocessing) {
  constexpr const char* kinds[] = {"number", "category", "date", "unused"};
  Json columns = Json::array();
  for (const data::InputColumn& column : preprocessing.columns) {
    Json entry{{"name", column.name}, {"kind", kinds[static_cast<std::size_t>(column.kind)]}};
    if (column.kind == data::ColumnKind::category) entry["categories"] = column.categories;
    if (column.kind == data::ColumnKind::number || column.kind == data::ColumnKind::date) {
      entry["missing_becomes"] = column.fill;
    }
    columns.push_back(std::move(entry));
  }
  Json features = Json::array();
  for (const data::Feature& feature : preprocessing.features) {
    features.push_back({{"name", feature.name}, {"mean", feature.mean}, {"scale", feature.scale}});
  }
  Json target{{"name", preprocessing.target.name}};
  if (preprocessing.target.kind == data::TargetKind::regression) {
    target["mean"] = preprocessing.target.mean, target["scale"] = preprocessing.target.scale;
  } else {
    target["classes"] = preprocessing.target.classes;
  }
  return {{"columns", std::move(columns)}, {"features", std::move(features)}, {"target", std::move(target)}};
}

class Inspect : public Verb {
 public:
  Inspect() { table_.decimal = "auto"; }
  const char* name() const override { return "inspect"; }
  const char* summary() const override {
    return "What is in a file: a model's sizes, sparsity, certificate, preprocessing; a table's columns.";
  }
  const char* example() const override { return "taper inspect houses.safetensors"; }

  void add_to(Command& command) override {
    command.positional("FILE", table_.file, "A model or a table; - is standard input");
    table_.add_format_options(command);
    options_.add_output_options(command);
  }

  void run() override {
    options_.quiet = false;  // the report is what this is run for
    const auto [text, source] = table_.read_text(options_);
    if (looks_like_model(text)) {
      table_.refuse_csv_options("a model");
      if (!table_.drop.empty() || !table_.categorical.empty()) {
        throw Error("table", table_.drop.empty() ? "--categorical" : "--drop",
                    " with a model: expected a table, which has columns");
      }
      inspect_model(io::Archive(text, source), text.size());
    } else {
      inspect_table(text, source);
    }
  }

 private:
  void inspect_table(const std::string& text, const std::string& source) const {
    auto read = parse_table(table_, text, source);
    Json report{{"file", table_.file}};
    if (const auto* const set = std::get_if<data::SparseSet>(&read)) {
      const auto cells = static_cast<double>(set->rows) * static_cast<double>(set->columns());
      report["format"] = "LIBSVM", report["rows"] = set->rows, report["columns"] = set->columns();
      report["entries"] = set->values.size();
      report["density"] = cells > 0 ? static_cast<double>(set->values.size()) / cells : 0;
      report["target"] = report_on_column({"target", set->target, {}});
      return publish(report, options_);
    }
    const auto& table = std::get<data::Table>(read);
    report["format"] = data::is_arff(text) ? "ARFF" : "CSV";
    report["rows"] = table.rows();
    Json columns = Json::array();
    for (const data::Column& column : table.columns) columns.push_back(report_on_column(column));
    const std::vector<std::string> notes = suspicions(table, table_.no_header);
    report["columns"] = columns, report["notes"] = notes;
    apps::save(report, options_);
    if (!options_.prints()) return;
    fmt::print("{}: {}, {} rows, {} columns\n\n", data::valid_utf8(table_.file),
               report["format"].get<std::string>(), table.rows(), columns.size());
    fmt::print("{:<28} {:<7} {:>8} {:>10}  {}\n", "column", "kind", "missing", "different", "values");
    for (const Json& column : columns) {
      std::string values;
      if (column.contains("min")) {
        values = fmt::format("{:.6g} to {:.6g}, mean {:.6g}", column["min"].get<double>(),
                             column["max"].get<double>(), column["mean"].get<double>());
      } else if (column.contains("most_frequent")) {
        for (const auto& [label, count] : column["most_frequent"].items()) {
          values += fmt::format("{}{} ({})", values.empty() ? "" : ", ", label, count.get<Index>());
        }
      }
      fmt::print("{:<28} {:<7} {:>8} {:>10}  {}\n", column["name"].get<std::string>(),
                 column["kind"].get<std::string>(), column["missing"].get<Index>(),
                 column["different"].get<Index>(), values);
    }
    for (const std::string& note : notes) fmt::print("\nnote: {}\n", note);
  }

  void inspect_model(const io::Archive& archive, std::size_t bytes) const {
    Json report{{"file", table_.file}, {"format", "safetensors"}, {"bytes", bytes}};
    Json tensors = Json::array();
    Index elements = 0, filled = 0;
    for (const auto& [name, tensor] : archive.tensors()) {
      Json entry{{"name", name}, {"dtype", tensor.dtype}, {"shape", tensor.shape_text()}};
      if (const std::optional<Index> count = nonzero(archive, name, tensor)) {
        Index size = 1;
        for (const std::uint64_t extent : tensor.shape) size *= static_cast<Index>(extent);
        entry["elements"] = size, entry["nonzero"] = *count;
        elements += size, filled += *count;
      }
      tensors.push_back(std::move(entry));
    }
    report["elements"] = elements;
    report["nonzero"] = filled;
    report["tensors"] = std::move(tensors);
    if (archive.metadata().contains("taper.model")) add_model(archive, report);
    publish_model(report);
  }

  void add_model(const io::Archive& archive, Json& report) const {
    const auto describe = [&](const auto& graph) {
      std::ostringstream text;
      text << graph;
      Json lines = Json::array();
      std::istringstream all(text.str());
      for (std::string line; std::getline(all, line);) lines.push_back(data::valid_utf8(line));
      report["architecture"] = std::move(lines);
    };
    if (!has_preprocessing(archive)) {
      if (io::scalar_of_model(archive) == "F64") return describe(io::load_model<double>(archive));
      return describe(io::load_model<float>(archive));
    }
    const TableModel model = load_table_model(archive, table_.file);
    report["parameters"] = model.parameters();
    report["inputs"] = model.preprocessing.inputs();
    report["target"] = model.preprocessing.target.name;
    if (!model.preprocessing.target.classes.empty()) report["classes"] = model.preprocessing.target.classes;
    report["link"] = name_of(model.link);
    std::visit(describe, model.graph);
    report["preprocessing"] = preprocessing_json(model.preprocessing);
    for (const auto& [name, value] : model.about.items()) report[name == "model" ? "kind" : name] = value;
  }

  void publish_model(const Json& report) const {
    apps::save(report, options_);
    if (!options_.prints()) return;
    Json short_report = report;
    for (const char* const name : {"tensors", "architecture", "preprocessing"}) short_report.erase(name);
    Json layers;
    if (const auto proof = short_report.find("certificate"); proof != short_report.end()) {
      if (const auto found = proof->find("layers"); proof->is_object() && found != proof->end()) {
        layers = std::move(*found);
        proof->erase(found);
      }
    }
    CommonOptions no_json = options_;
    no_json.json.clear();
    publish(short_report, no_json);
    print_layers(layers);
    for (const Json& tensor : report["tensors"]) {
      fmt::print(
          "tensor {:<21} {} {}{}\n", data::valid_utf8(tensor["name"].get<std::string>()),
          tensor["dtype"].get<std::string>(), tensor["shape"].get<std::string>(),
          tensor.contains("nonzero") ? fmt::format(", {} not zero", tensor["nonzero"].get<Index>()) : "");
    }
    if (report.contains("architecture")) {
      for (const Json& line : report["architecture"]) fmt::print("{}\n", line.get<std::string>());
    }
    if (!report.contains("preprocessing")) return;
    for (const Json& column : report["preprocessing"]["columns"]) {
      std::string more;
      if (column.contains("categories")) {
        more = " of " + joined(column["categories"].get<std::vector<std::string>>());
      } else if (column.contains("missing_becomes")) {
        more = fmt::format(", missing cells become {:.6g}", column["missing_becomes"].get<double>());
      }
      fmt::print("column {:<21} {}{}\n", column["name"].get<std::string>(), column["kind"].get<std::string>(),
                 more);
    }
  }

  /// The certificate of each layer, as report_on gives it; nothing for other JSON, which a file may have.
  static void print_layers(const Json& layers) {
    const auto is_layer = [](const Json& layer) {
      return layer.is_object() && std::ranges::all_of(layer_figures, [&](const auto& figure) {
               return layer.contains(figure.key);
             });
    };
    if (!layers.is_array() || layers.empty() || !std::ranges::all_of(layers, is_layer)) return;
    fmt::print(
        "\ncertificate of each layer: groups that are zero and would grow, others that would move, and the "
        "worst of\neach (relative to the slope of the penalty; below 0 a zero group stays with room)\n{:<20}",
        "layer");
    for (const auto& figure : layer_figures) fmt::print(" {:>{}}", figure.heading, figure.width);
    fmt::print("\n");
    for (const Json& layer : layers) {
      const auto name = layer.find("name");
      fmt::print("{:<20}", name != layer.end() && name->is_string()
                               ? data::valid_utf8(name->get<std::string>())
                               : std::string());
      for (const auto& figure : layer_figures) {
        const Json& value = layer[figure.key];
        fmt::print(" {:>{}}",
                   value.is_number_float() ? fmt::format("{:.3g}", value.get<double>()) : value.dump(),
                   figure.width);
      }
      fmt::print("\n");
    }
    fmt::print("\n");
  }

  struct LayerFigure {
    const char *key, *heading;
    int width;
  };
  static constexpr LayerFigure layer_figures[] = {
      {"depth", "factors", 7},       {"zero", "zero", 7},        {"violated_zero", "would grow", 10},
      {"worst_zero", "worst", 9},    {"nonzero", "not zero", 8}, {"violated_nonzero", "would move", 10},
      {"worst_nonzero", "worst", 9}, {"frozen", "frozen", 7}};

  CommonOptions options_;
  TableFormat table_;
};

}  // namespace

std::unique_ptr<Verb> make_inspect() {
  return std::make_unique<Inspect>();
}

}  // namespace taper::apps
