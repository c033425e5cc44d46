#include <fmt/core.h>

#include <algorithm>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/sparsity/shrink.hpp>

#include "../output.hpp"
#include "../table_model.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

class Shrink : public Verb {
 public:
  Shrink() { table_.decimal = "auto"; }
  const char* name() const override { return "shrink"; }
  const char* summary() const override {
    return "Cuts a model to a smaller one that computes the same, and proves it on examples.";
  }
  const char* example() const override {
    return "taper shrink houses.safetensors --examples houses.csv --save small.safetensors";
  }

  void add_to(Command& command) override {
    command.positional("MODEL", model_, "File of a model, as taper fit --save wrote it; - is standard input");
    command.option("--examples", table_.file,
                   "Table of rows that the model is used on: units that are constant on them go, too. "
                   "Without, only what is constant for any input");
    command.option("--threshold", threshold_,
                   "Units that add no more than this, relative to the one that adds most, go, too; needs "
                   "examples of 32 rows and more (default: 1e-5 with them, else 0)");
    command.needs("--threshold", "--examples");
    command.option("--save", save_, "File to write the smaller model to; - is standard output",
                   expected_file_or_output);
    table_.add_format_options(command);
    for (const char* const name :
         {"--separator", "--decimal", "--no-header", "--categorical", "--drop", "--missing-words"}) {
      command.needs(name, "--examples");
    }
    options_.add_fixed_run_options(command);
  }

  void run() override {
    require_one_stream("shrink", {"--save", save_}, {"--json", options_.json}, "standard output");
    require_one_stream("shrink", {"MODEL", model_}, {"--examples", table_.file}, "standard input");
    set_threads(options_.threads);
    TableModel model = load_table_model(open_model(model_, options_), model_);
    std::vector<std::string> notes;
    Tensor<double> x;
    if (!table_.file.empty()) {
      read_like(model, table_);
      x = features_of(model.preprocessing, read_table(table_, options_), notes);
    }
    sparsity::ShrinkReport report;
    std::visit([&](auto& graph) { report = shrink(graph, x); }, model.graph);
    model.preprocessing.keep(report.inputs.front());
    Json figures{
        {"model", model_},
        {"parameters", {{"before", report.parameters_before}, {"after", report.parameters_after}}},
        {"multiply_adds", {{"before", report.multiply_adds_before}, {"after", report.multiply_adds_after}}},
        {"widths", {{"before", report.widths_before}, {"after", report.widths_after}}},
        {"inputs", model.preprocessing.inputs()},
        {"max_abs_difference", report.max_abs_difference},
        {"max_relative_difference", report.max_relative_difference},
        {"examples", report.probes},
        {"notes", notes}};
    if (!save_.empty()) {
      save_table_model(model, save_);
      figures["saved"] = save_;
    }
    if (save_ == "-") return apps::save(figures, options_);
    publish(figures, options_);
  }

 private:
  template <class T> sparsity::ShrinkReport shrink(nn::Graph<T>& graph, const Tensor<double>& x) const {
    sparsity::ShrinkOptions<T> options;
    options.drop_inputs = true;
    Tensor<T> examples(x.shape());
    if (!table_.file.empty()) {  // an empty tensor would be a scalar
      std::ranges::transform(x, examples.begin(), [](double value) { return static_cast<T>(value); });
      options.examples = examples;
    }
    if (threshold_ >= 0) options.threshold = threshold_;
    sparsity::Shrunk<nn::Graph<T>> small = sparsity::shrink(graph, options);
    graph = std::move(small.model);
    return std::move(small.report);
  }

  CommonOptions options_;
  TableFormat table_;
  std::string model_, save_;
  double threshold_ = -1;  // none
};

}  // namespace

std::unique_ptr<Verb> make_shrink() {
  return std::make_unique<Shrink>();
}

}  // namespace taper::apps
