#include <fmt/core.h>

#include <chrono>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/arff.hpp>
#include <taper/data/libsvm.hpp>
#include <taper/data/quote.hpp>

#include "../output.hpp"
#include "learn.hpp"
#include "verb.hpp"

namespace taper::apps {
namespace {

class Fit : public Verb {
 public:
  const char* name() const override { return "fit"; }
  const char* summary() const override {
    return "Fits a model to a table: sparse, certified, and chosen on rows that it has not seen.";
  }
  const char* example() const override {
    return "taper fit houses.csv --target price --save houses.safetensors";
  }

  void add_to(Command& command) override {
    options_.add_to(command);
    command.option("--test", test_, "A further table, to measure the model on once it is chosen");
    command.option("--save", save_,
                   "File to write the model to, with its preprocessing; - is standard output",
                   expected_file_or_output);
  }

  void run() override {
    require_one_stream("fit", {"--save", save_}, {"--json", options_.json}, "standard output");
    const auto start = std::chrono::steady_clock::now();
    set_threads(options_.threads);
    const TableFitOptions fit_options = options_.fit_options();  // what is wrong with them comes first
    const TableProblem problem = load_table_problem(options_.table, options_.target, options_.task, options_);
    std::optional<std::variant<data::Table, data::SparseSet>> test;
    std::vector<std::string> test_notes;
    if (!test_.empty()) test = read_test(problem, test_notes);
    tell_problem(options_.quiet, problem);

    Learned learned = learn(options_, problem);
    TableModel& model = learned.fit.model;
    Json report{{"data", problem.source},
                {"rows", problem.rows()},
                {"target", problem.target.name},
                {"task", task_name(problem.target)}};
    if (!problem.target.classes.empty()) report["classes"] = problem.target.classes;
    report["model"] = learned.model;
    report["why"] = learned.why;
    report["parameters"] = model.parameters();
    report["inputs"] = model.preprocessing.inputs();
    report["features"] = {{"offered", learned.features}, {"read", model.preprocessing.features.size()}};
    report["penalty"] = learned.fit.path[learned.fit.chosen].penalty;
    report["validation"] = learned.fit.validation;
    report["certificate"] = learned.fit.certificate;
    model.about = {{"model", learned.model},
                   {"rows", problem.rows()},
                   {"penalty", report["penalty"]},
                   {"validation", learned.fit.validation},
                   {"certificate", learned.fit.certificate}};
    std::vector<std::string> notes = problem.notes;
    if (test) {
      report["test"] = measure(model, *test, test_notes);
      for (const std::string& note : test_notes) {
        notes.push_back("test: " + note);
        tell(options_.quiet, "note: " + notes.back());
      }
    }
    report["notes"] = notes;
    report["path"] = report_on(learned.fit.path, problem.target);
    if (!save_.empty()) {
      save_table_model(model, save_);
      report["saved"] = save_;
    }
    report["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    apps::save(report, options_);
    if (save_ == "-" || !options_.prints()) return;
    report.erase("path");  // which was told while it grew, and is in the JSON
    report["certificate"].erase("layers");
    CommonOptions printed = options_;
    printed.json.clear();
    publish(report, printed);
  }

 private:
  static const char* task_name(const data::TargetColumn& target) {
    return target.kind == data::TargetKind::regression    ? "regression"
           : target.kind == data::TargetKind::two_classes ? "two classes"
                                                          : "classes";
  }

  std::variant<data::Table, data::SparseSet> read_test(const TableProblem& problem,
                                                       std::vector<std::string>& notes) const {
    TableFormat format = options_.table;
    format.file = test_;
    // The model reads its columns by name; others need not be there.
    format.drop.clear(), format.categorical.clear();
    if (problem.table) {
      format.model_numeric.emplace();
      for (const data::Column& column : problem.table->columns) {
        if (column.labels.empty()) format.model_numeric->push_back(column.name);
      }
    }
    require_one_stream("fit", {"TABLE", options_.table.file}, {"--test", test_}, "standard input");
    const auto [text, source] = format.read_text(options_);
    if (data::is_arff(text) || data::is_libsvm(text)) {  // options of TABLE, where that is a CSV
      format.separator.clear(), format.missing_words.clear();
      format.decimal = "auto", format.no_header = false;
    }
    auto read = parse_table(format, text, source);
    if (auto* const table = std::get_if<data::Table>(&read)) {
      static_cast<void>(table->column(problem.target.name));
      const Index before = table->rows();
      data::drop_missing_rows(*table, problem.target.name);
      if (table->rows() < before) notes.push_back(rows_left_out(before - table->rows(), before));
      if (table->rows() == 0) {
        throw Error("target", "column ", data::quote(problem.target.name), " of ", test_,
                    " is missing in every row: expected values");
      }
    }
    return read;
  }

  Json measure(const TableModel& model, const std::variant<data::Table, data::SparseSet>& test,
               std::vector<std::string>& notes) const {
    Json result{{"data", test_}};
    const Tensor<double> x = features_of(model.preprocessing, test, notes);
    const std::vector<double> y =
        model.preprocessing.apply_target(target_of(test, model.preprocessing.target.name).value());
    result["rows"] = y.size();
    result.update(errors_of(model.preprocessing.target, said_by(model, x), y));
    return result;
  }

  LearnOptions options_;
  std::string test_, save_;
};

}  // namespace

std::unique_ptr<Verb> make_fit() {
  return std::make_unique<Fit>();
}

}  // namespace taper::apps
