#include "linear_problem.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <taper/autodiff/error.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/data/utf8.hpp>

namespace taper::apps {
namespace {

using data::quote;
using sparsity::ConvexLoss;

data::Table embedded(ConvexLoss loss, std::uint64_t seed, std::string& target) {
  const data::Dataset<double> set = data::make_diabetes<double>({.seed = seed});
  data::Table table;
  const auto n = static_cast<std::size_t>(set.rows());
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    data::Column column{set.features[j], {}, {}};
    for (std::size_t i = 0; i < n; ++i) {
      column.values.push_back(set.x[static_cast<Index>(i * set.features.size() + j)]);
    }
    table.columns.push_back(std::move(column));
  }
  data::Column y{set.target, {set.y.begin(), set.y.end()}, {}};
  if (loss == ConvexLoss::logistic) {
    for (double& value : y.values) value = value > 150 ? 1 : 0;
    y.labels = {"no", "yes"};
    y.name += " > 150";
  }
  target = y.name;
  table.columns.push_back(std::move(y));
  return table;
}

void set_target(LinearProblem& problem, data::Column target, ConvexLoss loss, const std::string& positive) {
  problem.target = target.name;
  if (loss == ConvexLoss::logistic) {
    problem.classes = data::encode_classes(target, positive);
  } else if (!positive.empty()) {
    throw Error("target", "--positive ", positive, ": expected --loss logistic with it");
  } else if (!target.labels.empty()) {
    throw Error("target", "column ", quote(target.name), " holds text: expected numbers, or --loss logistic");
  }
  problem.y =
      Eigen::Map<const Eigen::VectorXd>(target.values.data(), static_cast<Index>(target.values.size()));
}

/// Folds are numbered in the order of the values that stand for them.
std::vector<Index> folds_of(data::Column column) {
  if (column.labels.empty()) {
    std::map<double, Index> numbers;
    for (const double value : column.values) numbers[value] = 0;
    Index next = 0;
    for (auto& [value, number] : numbers) number = next++;
    std::vector<Index> folds;
    for (const double value : column.values) folds.push_back(numbers[value]);
    return folds;
  }
  data::sort_labels(column);
  std::vector<Index> folds;
  for (const double value : column.values) folds.push_back(static_cast<Index>(value));
  return folds;
}

void set_columns(LinearProblem& problem, const data::Table& table) {
  if (table.columns.empty()) throw Error("table", "only the target is left: expected columns beside it");
  problem.dense.resize(table.rows(), static_cast<Index>(table.columns.size()));
  for (std::size_t j = 0; j < table.columns.size(); ++j) {
    const data::Column& column = table.columns[j];
    problem.features.push_back(column.name);
    problem.dense.col(static_cast<Index>(j)) =
        Eigen::Map<const Eigen::VectorXd>(column.values.data(), table.rows());
    const auto centred =
        (problem.dense.col(static_cast<Index>(j)).array() - problem.dense.col(static_cast<Index>(j)).mean());
    const double most = centred.abs().maxCoeff();  // squares of what is far from 1 would leave the range
    problem.deviation.push_back(most > 0 ? most * std::sqrt((centred / most).square().mean()) : 0);
  }
}

void set_columns(LinearProblem& problem, const data::SparseSet& set) {
  if (set.columns() == 0) throw Error("table", "only the target is left: expected columns beside it");
  problem.sparse = Eigen::Map<const Eigen::SparseMatrix<double>>(
      set.rows, set.columns(), static_cast<Index>(set.values.size()), set.starts.data(),
      set.entry_rows.data(), set.values.data());
  problem.features = problem.origin = set.features;
  const auto n = static_cast<double>(set.rows);
  for (Index j = 0; j < set.columns(); ++j) {
    double mean = 0, squares = 0, entries = 0;
    for (Eigen::SparseMatrix<double>::InnerIterator it(problem.sparse, j); it; ++it) mean += it.value() / n;
    for (Eigen::SparseMatrix<double>::InnerIterator it(problem.sparse, j); it; ++it, ++entries) {
      squares += (it.value() - mean) * (it.value() - mean) / n;
    }
    problem.deviation.push_back(std::sqrt(squares + (n - entries) / n * mean * mean));
  }
}

void check_rows(const LinearProblem& problem) {
  if (problem.y.size() < 2) throw Error("table", "a single row: expected at least two, to hold one out");
  if (problem.y.minCoeff() == problem.y.maxCoeff()) {
    throw Error("target", "column ", quote(problem.target), " is ", problem.y[0],
                " in every row: expected values that differ");
  }
}

void note_constant_columns(LinearProblem& problem) {
  std::vector<std::string> constant;
  for (std::size_t j = 0; j < problem.features.size(); ++j) {
    if (problem.deviation[j] == 0) constant.push_back(problem.features[j]);
  }
  if (!constant.empty()) {
    problem.notes.push_back("the same value in every row, so that the coefficient is 0: " + joined(constant));
  }
}

/// The features that a name stands for: one, or all that came from a column of the file.
std::vector<std::size_t> features_of(const LinearProblem& problem, const std::string& name,
                                     const char* option) {
  std::vector<std::size_t> found;
  for (const auto* names : {&problem.features, &problem.origin}) {
    for (std::size_t j = 0; j < names->size(); ++j) {
      if ((*names)[j] == name) found.push_back(j);
    }
    if (!found.empty()) return found;
  }
  throw Error("table", option, ": no column ", quote(name), ": expected one of ",
              data::quote_some(problem.features));
}

/// Splits NAME=REST, at the first sign or the last.
std::pair<std::string, std::string> split_setting(const std::string& setting, bool first, const char* option,
                                                  const char* form) {
  const std::size_t at = first ? setting.find('=') : setting.rfind('=');
  if (at == std::string::npos || at == 0 || at + 1 == setting.size()) {
    throw Error("table", option, " ", setting, ": expected ", form);
  }
  return {setting.substr(0, at), setting.substr(at + 1)};
}

void set_groups(LinearProblem& problem, const LinearProblemOptions& options) {
  const std::size_t p = problem.features.size();
  std::vector<std::string> group_of(p);  // empty: a group of its own
  std::vector<std::string> named;
  for (const std::string& setting : options.groups) {
    const auto [name, members] = split_setting(setting, true, "--groups", "NAME=COLUMN,COLUMN,...");
    if (std::ranges::find(named, name) != named.end()) {
      throw Error("table", "--groups: a second group ", quote(name), ": expected distinct names");
    }
    named.push_back(name);
    for (std::size_t from = 0; from <= members.size();) {
      const std::size_t end = std::min(members.find(',', from), members.size());
      const std::string member = members.substr(from, end - from);
      for (const std::size_t j : features_of(problem, member, "--groups")) {
        if (!group_of[j].empty()) {
          throw Error("table", "--groups: column ", quote(member), " is in ", quote(group_of[j]), " and ",
                      quote(name), ": expected one group");
        }
        group_of[j] = name;
      }
      from = end + 1;
    }
  }
  if (options.group_categories) {
    for (std::size_t j = 0; j < p; ++j) {
      if (group_of[j].empty() && std::ranges::count(problem.origin, problem.origin[j]) > 1) {
        group_of[j] = problem.origin[j];
      }
    }
  }
  std::map<std::string, Index> numbers;
  for (std::size_t j = 0; j < p; ++j) {
    const auto next = static_cast<Index>(problem.group_names.size());
    const Index number = group_of[j].empty() ? next : numbers.try_emplace(group_of[j], next).first->second;
    if (number == next)
      problem.group_names.push_back(group_of[j].empty() ? problem.features[j] : group_of[j]);
    problem.groups.push_back(number);
  }
  if (problem.group_names.size() == p) problem.groups.clear();
}

/// Makes names valid UTF-8, each still different from all others, and returns how many that changes.
Index make_utf8(std::vector<std::string>& names) {
  std::set<std::string> taken;
  std::vector<std::string*> invalid;
  std::map<std::string, int> numbers;
  for (std::string& name : names) {
    if (data::valid_utf8(name) == name)
      taken.insert(name);
    else
      invalid.push_back(&name);
  }
  for (std::string* const name : invalid) {
    const std::string valid = data::valid_utf8(*name);
    int& number = numbers.try_emplace(valid, 1).first->second;
    *name = valid;
    while (!taken.insert(*name).second) *name = fmt::format("{} ({})", valid, ++number);
  }
  return static_cast<Index>(invalid.size());
}

void set_weights(LinearProblem& problem, const LinearProblemOptions& options) {
  if (!options.weights.empty()) problem.weights.assign(problem.group_names.size(), 1.0);
  for (const std::string& setting : options.weights) {
    const auto [name, text] = split_setting(setting, false, "--weight", "NAME=NUMBER");
    double weight;
    if (data::parse_number(text, weight) != data::NumberKind::finite || weight < 0) {
      throw Error("table", "--weight ", setting, ": expected a finite number, 0 or more");
    }
    const auto group = std::ranges::find(problem.group_names, name);
    if (group != problem.group_names.end()) {
      problem.weights[static_cast<std::size_t>(group - problem.group_names.begin())] = weight;
      continue;
    }
    for (const std::size_t j : features_of(problem, name, "--weight")) {
      const std::size_t number = problem.groups.empty() ? j : static_cast<std::size_t>(problem.groups[j]);
      if (problem.group_names[number] != problem.features[j]) {
        throw Error("table", "--weight: column ", quote(name), " is in group ",
                    quote(problem.group_names[number]), ": expected the weight of the group");
      }
      problem.weights[number] = weight;
    }
  }
}

}  // namespace

void LinearProblemOptions::add_to(Command& command) {
  table.add_to(command);
  command.option("--target", target, "Column to predict from all others (LIBSVM: its first number)");
  command.needs("--target", "--csv");
  command.option(
      "--positive", positive,
      "Of two classes the one that is 1 (default: the larger number, or the later in the alphabet)");
  command.option("--fold-column", fold_column,
                 "Column that says which fold a row is in, in place of --folds");
  command.needs("--fold-column", "--csv");
  command.list("--groups", groups,
               "NAME=COLUMN,COLUMN,...: columns that are chosen together (group lasso); may be repeated");
  command.flag("--group-categories", group_categories,
               "The columns that one column of text becomes are chosen together");
  command.list("--weight", weights,
               "NAME=NUMBER: weight of a column or group in the penalty, 0 for none; may be repeated");
}

LinearProblem load_linear_problem(const LinearProblemOptions& options, const CommonOptions& common,
                                  ConvexLoss loss) {
  LinearProblem problem;
  problem.source = options.table.file.empty() ? "embedded" : options.table.file;
  std::string target = options.target;
  std::variant<data::Table, data::SparseSet> read;
  if (options.table.file.empty()) {
    data::Table table = embedded(loss, common.seed, target);
    for (const std::string& name : options.table.drop) table.take(name);
    read = std::move(table);
  } else {
    read = options.table.read(common);
  }
  if (auto* const sparse = std::get_if<data::SparseSet>(&read)) {
    if (!options.fold_column.empty() || (!target.empty() && target != "target")) {
      throw Error("table", target.empty() ? "--fold-column " + options.fold_column : "--target " + target,
                  ": expected none, as LIBSVM has a target and features alone");
    }
    set_target(problem, {"target", std::move(sparse->target), {}}, loss, options.positive);
    set_columns(problem, *sparse);
  } else {
    auto& table = std::get<data::Table>(read);
    std::vector<std::string> needed{target};
    if (!options.fold_column.empty()) needed.push_back(options.fold_column);
    if (target.empty()) {
      std::vector<std::string> names;
      for (const data::Column& column : table.columns) names.push_back(column.name);
      throw Error("table", "no --target: expected one of the columns ", data::quote_some(names));
    }
    for (const std::string& name : needed) static_cast<void>(table.column(name));
    problem.notes = options.table.drop_rows(table, needed);
    set_target(problem, table.take(target), loss, options.positive);
    if (!options.fold_column.empty()) problem.fold_of = folds_of(table.take(options.fold_column));
    const std::vector<std::string> notes = options.table.encode(table, problem.origin);
    problem.notes.insert(problem.notes.end(), notes.begin(), notes.end());
    set_columns(problem, table);
  }
  check_rows(problem);
  note_constant_columns(problem);
  set_groups(problem, options);
  set_weights(problem, options);
  // From here on names are only shown.
  for (std::string* const name : {&problem.source, &problem.target}) *name = data::valid_utf8(*name);
  for (std::string& note : problem.notes) note = data::valid_utf8(note);
  make_utf8(problem.group_names);
  if (const Index changed = make_utf8(problem.features); changed > 0) {
    problem.notes.push_back(fmt::format(
        "{} {} not UTF-8: \xef\xbf\xbd stands for each byte that is none, and a number behind names that "
        "would be the same",
        changed, changed == 1 ? "name of a column is" : "names of columns are"));
  }
  return problem;
}

}  // namespace taper::apps
