// What a saved model makes of a table: a prediction for each row and, where the table has the target, how far
// they are from it.

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <taper/autodiff/threads.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/written_out.hpp>
#include <taper/train/fit.hpp>

#include "model_file.hpp"
#include "output.hpp"
#include "table_problem.hpp"

using namespace taper;
using data::quote;

namespace {

struct Options : apps::CommonOptions {
  apps::TableOptions table;
  std::string model, target, output;
};

/// A table as the model takes it.
struct Problem {
  std::vector<double> rows;            ///< Of the file, counted from 1.
  std::vector<data::Column> features;  ///< In the order of the model's columns.
  std::string target;                  ///< Empty without one.
  std::vector<double> expected;        ///< The target; empty without one.
  std::vector<std::string> notes;
};

bool has(const data::Table& table, const std::string& name) {
  return std::ranges::any_of(table.columns, [&](const data::Column& column) { return column.name == name; });
}

/// The columns that the model was trained on, in its order; without names all there are, in theirs.
std::vector<data::Column> chosen(data::Table table, const std::vector<std::string>& names, Index width) {
  std::vector<data::Column> columns;
  if (names.empty()) {
    columns = std::move(table.columns);
  } else {
    std::vector<std::string> missing;
    for (const std::string& name : names) {
      if (!has(table, name)) missing.push_back(name);
    }
    if (!missing.empty()) {
      std::vector<std::string> present;
      for (const data::Column& column : table.columns) present.push_back(column.name);
      throw Error("predict", "no column ", data::quote_some(missing), " in a table of ",
                  data::quote_some(present), ": expected all that the model reads");
    }
    for (const std::string& name : names) columns.push_back(table.take(name));
  }
  if (static_cast<Index>(columns.size()) != width) {
    throw Error("predict", columns.size(), " columns: expected ", width, ", as the model takes");
  }
  return columns;
}

/// Takes out the columns that the model does not read, whatever is in them: labels are not among those that
/// it does. Does nothing where it reads columns that are still to be made of labels. Returns their names.
std::vector<std::string> take_unread(data::Table& table, const std::vector<std::string>& names,
                                     const std::string& target) {
  const auto present = [&](const std::string& name) { return has(table, name); };
  if (names.empty() || !std::ranges::all_of(names, present)) return {};
  std::vector<std::string> unread;
  std::erase_if(table.columns, [&](const data::Column& column) {
    if (column.name == target || std::ranges::find(names, column.name) != names.end()) return false;
    unread.push_back(column.name);
    return true;
  });
  return unread;
}

/// The columns of LIBSVM, which has none behind the last that is not zero.
data::Table table_of(data::SparseSet set, const std::string& source, Index width) {
  // Before they take memory: the width is the word of a file.
  if (width > data::most_cells_small) {
    throw Error("predict", "a model of ", width, " columns: expected at most ", data::most_cells_small);
  }
  data::check_written_out(set.rows, width, static_cast<Index>(set.values.size()), "predict", source);
  while (set.columns() < width) {
    set.features.push_back("V" + std::to_string(set.columns() + 1));
    set.starts.push_back(set.starts.back());
  }
  return data::to_table(set, source);
}

Problem read_problem(const Options& options, const apps::ColumnNames& names, Index width) {
  if (options.table.file.empty()) throw Error("predict", "no --csv: expected a table to predict from");
  Problem problem;
  auto read = options.table.read(options);
  const bool sparse = std::holds_alternative<data::SparseSet>(read);
  data::Table table = sparse ? table_of(std::get<data::SparseSet>(std::move(read)), options.table.file, width)
                             : std::get<data::Table>(std::move(read));
  problem.target = !options.target.empty()                             ? options.target
                   : sparse                                            ? "target"
                   : !names.target.empty() && has(table, names.target) ? names.target
                                                                       : "";
  if (!problem.target.empty()) static_cast<void>(table.column(problem.target));  // throws when there is none
  const std::vector<std::string> unread = take_unread(table, names.features, problem.target);
  if (!unread.empty()) {
    problem.notes.push_back("columns that the model does not read: " + apps::joined(unread));
  }
  std::string number = "row";
  while (has(table, number)) number += '_';
  std::vector<double> rows(static_cast<std::size_t>(table.rows()));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<double>(i + 1);
  table.columns.push_back({number, std::move(rows), {}});

  std::vector<std::string> needed;
  if (!problem.target.empty()) needed.push_back(problem.target);
  for (std::string& note : options.table.drop_rows(table, needed)) problem.notes.push_back(std::move(note));
  problem.rows = table.take(number).values;
  if (!problem.target.empty()) {
    data::Column target = table.take(problem.target);
    if (!target.labels.empty()) {
      throw Error("predict", "column ", quote(target.name), " holds text: expected numbers as the target");
    }
    problem.expected = std::move(target.values);
  }
  std::vector<std::string> origin;
  for (std::string& note : options.table.encode(table, origin)) problem.notes.push_back(std::move(note));
  problem.features = chosen(std::move(table), names.features, width);
  return problem;
}

template <class T> std::string csv(const Problem& problem, View<const T> y) {
  const Index outputs = y.shape()[1];
  std::string text = "row";
  if (!problem.target.empty()) text += ',' + apps::csv_cell(problem.target);
  for (Index k = 0; k < outputs; ++k)
    text += outputs == 1 ? ",prediction" : fmt::format(",prediction{}", k + 1);
  text += '\n';
  for (Index i = 0; i < y.shape()[0]; ++i) {
    const auto row = static_cast<std::size_t>(i);
    text += fmt::format("{}", problem.rows[row]);
    if (!problem.target.empty()) text += fmt::format(",{}", problem.expected[row]);
    for (Index k = 0; k < outputs; ++k) text += fmt::format(",{}", y[i * outputs + k]);
    text += '\n';
  }
  return text;
}

template <class T> void predict(const Options& options, const io::Archive& archive) {
  const nn::Graph<T> model = io::load_model<T>(archive);
  const std::vector<Shape>& inputs = model.parts().inputs;
  if (inputs.size() != 1 || inputs[0].rank() != 2) {
    throw Error("predict", options.model, " takes other than the rows of one table: expected one that does");
  }
  Problem problem = read_problem(options, apps::column_names(archive, options.model), inputs[0][1]);
  const auto rows = static_cast<Index>(problem.rows.size());
  Tensor<T> x(Shape{rows, inputs[0][1]});
  for (std::size_t j = 0; j < problem.features.size(); ++j) {
    for (Index i = 0; i < rows; ++i) {
      T& entry = x[i * inputs[0][1] + static_cast<Index>(j)];
      entry = static_cast<T>(problem.features[j].values[static_cast<std::size_t>(i)]);
      if (std::isfinite(entry)) continue;
      throw Error("predict", "column ", quote(problem.features[j].name), " has ",
                  problem.features[j].values[static_cast<std::size_t>(i)], " in row ",
                  problem.rows[static_cast<std::size_t>(i)], ": expected a number that the model can take");
    }
  }
  const Tensor<T> y = train::predict(model, x.view());
  if (y.shape().rank() != 2) {
    throw Error("predict", options.model, " predicts ", y.shape(), ": expected a row for each row");
  }
  const auto wrong = std::ranges::find_if(y, [](T number) { return !std::isfinite(number); });
  if (wrong != y.end()) {
    const auto row = static_cast<std::size_t>((wrong - y.begin()) / y.shape()[1]);
    throw Error("predict", options.model, " predicts ", *wrong, " for row ", problem.rows[row],
                ": expected a finite number");
  }

  Index parameters = 0;
  model.for_parameters([&](const std::string& name, const nn::Parameter<T>& parameter) {
    parameter.for_leaves(
        name, [&](const std::string&, const nn::Parameter<T>& leaf) { parameters += leaf.shape().size(); });
  });
  apps::Json report = {
      {"model", options.model}, {"parameters", parameters}, {"data", options.table.file}, {"rows", rows}};
  if (!problem.target.empty()) {
    if (y.shape()[1] != 1) {
      throw Error("predict", options.model, " predicts ", y.shape()[1],
                  " numbers for each row: expected one ", "to compare with ", quote(problem.target));
    }
    // As the model was trained: targets are numbers of its scalar.
    for (std::size_t i = 0; i < problem.expected.size(); ++i) {
      const auto value = static_cast<double>(static_cast<T>(problem.expected[i]));
      if (!std::isfinite(value)) {
        throw Error("predict", "column ", quote(problem.target), " has ", problem.expected[i], " in row ",
                    problem.rows[i], ": expected a number that the model could predict");
      }
      problem.expected[i] = value;
    }
    report["target"] = problem.target;
    report.update(apps::prediction_errors({y.begin(), y.end()}, problem.expected));
  }
  report["predictions"] = std::vector<double>(y.begin(), y.end());
  report["notes"] = problem.notes;

  const bool prints_csv =
      options.output == "-" || (options.output.empty() && problem.target.empty() && options.json != "-");
  if (prints_csv && options.json == "-") {
    throw Error("predict", "--output - and --json -: expected one of them on standard output");
  }
  const std::string text = csv<T>(problem, y);
  if (prints_csv) {
    fmt::print("{}", data::valid_utf8(text));
    return apps::save(report, options);
  }
  if (!options.output.empty()) apps::write_file(options.output, text, "output");
  apps::publish(report, options);
}

void program(const Options& options) {
  set_threads(options.threads);
  if (options.model.empty())
    throw Error("predict", "no --model: expected a file that sparse_mlp --save wrote");
  options.reads(options.model);
  const io::Archive archive(options.model);
  if (archive.metadata().contains("taper.preprocessing")) {
    throw Error("predict", options.model,
                " has the preprocessing of a table: expected a model without, or taper predict for this one");
  }
  if (io::scalar_of_model(archive) == "F64") {
    predict<double>(options, archive);
  } else {
    predict<float>(options, archive);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command("predict", "Predicts from the rows of a table with a model that was saved.");
  command.option("--model", options.model,
                 "File of the model, as sparse_mlp --save and io::save_model write it");
  options.table.add_to(command);
  command.option("--target", options.target,
                 "Column to compare the predictions with (default: the one that the model was trained to "
                 "predict, if the table has it)");
  command.option("--output", options.output,
                 "File to write the predictions to as CSV; - is standard output, without the report, and the "
                 "default without a target",
                 apps::expected_file_or_output);
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
