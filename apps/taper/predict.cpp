#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/number.hpp>
#include <thread>

#include "../output.hpp"
#include "../table_model.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

class Predict : public Verb {
 public:
  Predict() {
    table_.decimal = "auto";
    options_.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
  }
  const char* name() const override { return "predict"; }
  const char* summary() const override {
    return "Predicts from the rows of a table with a model that was saved, as CSV on standard output.";
  }
  const char* example() const override {
    return "taper predict houses.safetensors new.csv > predictions.csv";
  }

  void add_to(Command& command) override {
    command.positional("MODEL", model_, "File that taper fit --save wrote; - is standard input");
    command.positional("TABLE", table_.file,
                       "Table with the columns that the model reads, by name, in any order; - is standard "
                       "input");
    command.option("--output", output_, "File for the CSV, in place of standard output", expected_file);
    table_.add_format_options(command);
    options_.add_fixed_run_options(command);
  }

  void run() override {
    require_one_stream("predict", {"MODEL", model_}, {"TABLE", table_.file}, "standard input");
    set_threads(options_.threads);
    const TableModel model = load_table_model(open_model(model_, options_), model_);
    read_like(model, table_);
    const auto read = read_table(table_, options_);
    std::vector<std::string> notes;
    const Tensor<double> x = features_of(model.preprocessing, read, notes);
    const Tensor<double> said = said_by(model, x);
    const data::TargetColumn& target = model.preprocessing.target;

    Json report{{"model", model_}, {"data", table_.file}, {"rows", x.shape()[0]}, {"target", target.name}};
    add_errors(model, read, said, notes, report);
    for (const std::string& note : notes) tell(options_.quiet, "note: " + note);
    add_predictions(target, said, report);
    report["notes"] = notes;
    const std::string text = csv(target, said);
    if (!output_.empty()) {
      write_file(output_, text, "output");
    } else if (options_.json != "-") {
      fmt::print("{}", text);
    }
    apps::save(report, options_);
  }

 private:
  /// How far it is from the target, where the table has one, over the rows that have it.
  void add_errors(const TableModel& model, const std::variant<data::Table, data::SparseSet>& read,
                  const Tensor<double>& said, std::vector<std::string>& notes, Json& report) const {
    const data::TargetColumn& target = model.preprocessing.target;
    const std::optional<data::Column> column = target_of(read, target.name);
    if (!column) return;
    std::vector<Index> present;
    for (std::size_t i = 0; i < column->values.size(); ++i) {
      if (!std::isnan(column->values[i])) present.push_back(static_cast<Index>(i));
    }
    if (present.empty()) return;
    const Index width = said.shape()[1];
    Tensor<double> chosen(Shape{static_cast<Index>(present.size()), width});
    for (std::size_t k = 0; k < present.size(); ++k) {
      std::copy_n(said.data() + present[k] * width, width, chosen.data() + static_cast<Index>(k) * width);
    }
    try {
      const data::Table rows = data::rows({{*column}}, present);
      Json errors = errors_of(target, chosen, model.preprocessing.apply_target(rows.columns.front()));
      std::string line = fmt::format("{} of {} rows:", target.name, present.size());
      for (const auto& [name, value] : errors.items())
        line += fmt::format(" {} {:.6g}", name, value.get<double>());
      tell(options_.quiet, line);
      report["errors"] = std::move(errors);
    } catch (const Error& error) {  // of the target alone, which predictions do not need
      notes.push_back(std::string("no errors are measured: ") + error.what());
    }
  }

  static double number(const data::TargetColumn& target, double said) {
    return said * target.scale + target.mean;
  }

  static const std::string& label(const data::TargetColumn& target, const Tensor<double>& said, Index row) {
    const double* const first = said.data() + row * said.shape()[1];
    return target.classes[static_cast<std::size_t>(std::max_element(first, first + said.shape()[1]) - first)];
  }

  static void add_predictions(const data::TargetColumn& target, const Tensor<double>& said, Json& report) {
    Json predictions = Json::array(), probabilities = Json::array();
    for (Index i = 0; i < said.shape()[0]; ++i) {
      if (target.kind == data::TargetKind::regression) {
        predictions.push_back(number(target, said[i]));
        continue;
      }
      const double* const first = said.data() + i * said.shape()[1];
      predictions.push_back(label(target, said, i));
      probabilities.push_back(std::vector<double>(first, first + said.shape()[1]));
    }
    report["predictions"] = std::move(predictions);
    if (target.kind == data::TargetKind::regression) return;
    report["classes"] = target.classes;
    report["probabilities"] = std::move(probabilities);
  }

  static std::string csv(const data::TargetColumn& target, const Tensor<double>& said) {
    std::string text = "prediction";
    for (const std::string& name : target.classes) text += ',' + csv_cell("probability of " + name);
    text += '\n';
    for (Index i = 0; i < said.shape()[0]; ++i) {
      if (target.kind == data::TargetKind::regression) {
        text += data::number_text(number(target, said[i])) + '\n';
        continue;
      }
      text += csv_cell(label(target, said, i));
      for (Index k = 0; k < said.shape()[1]; ++k)
        text += ',' + data::number_text(said[i * said.shape()[1] + k]);
      text += '\n';
    }
    return text;
  }

  CommonOptions options_;
  TableFormat table_;
  std::string model_, output_;
};

}  // namespace

std::unique_ptr<Verb> make_predict() {
  return std::make_unique<Predict>();
}

}  // namespace taper::apps
