#include "table_problem.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/utf8.hpp>

#include "output.hpp"

namespace taper::apps {
namespace {

using data::quote;

constexpr Index least_rows = 4;

/// Labels that become the same are one.
void make_labels_valid(data::Column& column) {
  const auto valid = [](const std::string& label) { return data::valid_utf8(label) == label; };
  if (std::ranges::all_of(column.labels, valid)) return;
  std::vector<std::string> labels;
  std::vector<double> place;
  std::map<std::string, double> places;
  for (const std::string& label : column.labels) {
    const std::string text = data::valid_utf8(label);
    const auto [found, is_new] = places.try_emplace(text, static_cast<double>(labels.size()));
    if (is_new) labels.push_back(text);
    place.push_back(found->second);
  }
  for (double& value : column.values) {
    if (!std::isnan(value)) value = place[static_cast<std::size_t>(value)];
  }
  column.labels = std::move(labels);
}

/// Classes of a single row can be in one half alone. Throws Error where fewer than two others are there.
std::vector<Index> rows_of_repeated_classes(const data::Preprocessing& p, const data::Column& column,
                                            std::vector<std::string>& notes) {
  const std::vector<double> y = p.apply_target(column);
  std::vector<Index> counts(p.target.classes.size()), kept;
  for (const double value : y) ++counts[static_cast<std::size_t>(value)];
  std::vector<std::string> single;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    if (counts[k] == 1) single.push_back(p.target.classes[k]);
  }
  if (const std::size_t others = counts.size() - single.size(); others < 2) {
    throw Error("target", "column ", quote(column.name), " has ", single.size(),
                single.size() == 1 ? " class" : " classes", " of a single row and ", others,
                " of more: expected two at least of more, to learn from some rows and hold out others");
  }
  if (single.size() == 1) {
    notes.push_back("the class " + quote(single.front()) + " has a single row, which is left out");
  } else if (!single.empty()) {
    notes.push_back(fmt::format("{} classes have a single row each, which is left out: {}", single.size(),
                                data::quote_some(single)));
  }
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (counts[static_cast<std::size_t>(y[i])] > 1) kept.push_back(static_cast<Index>(i));
  }
  return kept;
}

/// The set of these rows, which rise.
data::SparseSet sparse_rows(const data::SparseSet& set, const std::vector<Index>& chosen) {
  std::vector<int> place(static_cast<std::size_t>(set.rows), -1);
  data::SparseSet result{static_cast<Index>(chosen.size()), set.features, {0}, {}, {}, {}};
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    place[static_cast<std::size_t>(chosen[i])] = static_cast<int>(i);
    result.target.push_back(set.target[static_cast<std::size_t>(chosen[i])]);
  }
  for (std::size_t j = 0; j < set.features.size(); ++j) {
    for (int k = set.starts[j]; k < set.starts[j + 1]; ++k) {
      const auto entry = static_cast<std::size_t>(k);
      const int row = place[static_cast<std::size_t>(set.entry_rows[entry])];
      if (row < 0) continue;
      result.entry_rows.push_back(row);
      result.values.push_back(set.values[entry]);
    }
    result.starts.push_back(static_cast<int>(result.values.size()));
  }
  return result;
}

void require_rows(const std::string& source, Index rows) {
  if (rows >= least_rows) return;
  throw Error("table", source, " has ", rows, rows == 1 ? " row" : " rows", ": expected at least ",
              least_rows, " with a target, to learn from some and hold out others");
}

std::optional<data::TargetKind> kind_of(const std::string& task) {
  if (task == "regression") return data::TargetKind::regression;
  if (task == "classes") return data::TargetKind::classes;
  return {};
}

}  // namespace

std::variant<data::Table, data::SparseSet> read_table(const TableFormat& format,
                                                      const CommonOptions& common) {
  const auto [text, source] = format.read_text(common);
  return parse_table(format, text, source);
}

std::variant<data::Table, data::SparseSet> parse_table(const TableFormat& format, const std::string& text,
                                                       const std::string& source) {
  auto result = format.parse(text, source);
  if (auto* const table = std::get_if<data::Table>(&result)) {
    std::set<std::string> names;
    for (data::Column& column : table->columns) {
      column.name = data::valid_utf8(column.name);
      make_labels_valid(column);
      if (names.insert(column.name).second) continue;
      throw Error("table", "two columns ", quote(column.name), ": expected distinct names");
    }
  }
  return result;
}

data::Column TableProblem::target_column() const {
  return table ? table->column(target.name) : data::Column{target.name, sparse->target, {}};
}

TableProblem load_table_problem(const TableFormat& format, const std::string& target, const std::string& task,
                                const CommonOptions& common) {
  TableProblem problem;
  problem.source = format.file == "-" ? "standard input" : data::valid_utf8(format.file);
  auto read = read_table(format, common);
  if (auto* const sparse = std::get_if<data::SparseSet>(&read)) {
    if (!target.empty() && target != "target") {
      throw Error("table", "--target ", target,
                  ": expected none (or \"target\"), as LIBSVM has a target and features alone");
    }
    problem.sparse = std::move(*sparse);
    problem.target.name = "target";
    require_rows(problem.source, problem.rows());
    problem.target = data::decide_target(problem.target_column(), kind_of(task));
    if (problem.target.kind != data::TargetKind::regression) {
      const std::vector<Index> kept =
          rows_of_repeated_classes({{}, {}, problem.target}, problem.target_column(), problem.notes);
      if (static_cast<Index>(kept.size()) < problem.rows()) {
        problem.sparse = sparse_rows(*problem.sparse, kept);
        problem.target = data::decide_target(problem.target_column(), kind_of(task));
      }
    }
    require_rows(problem.source, problem.rows());
    return problem;
  }
  auto& table = std::get<data::Table>(read);
  if (target.empty()) {
    std::vector<std::string> names;
    for (const data::Column& column : table.columns) names.push_back(column.name);
    throw Error("table", "no --target: expected one of the columns ", data::quote_some(names));
  }
  require_rows(problem.source, table.rows());
  problem.target = data::decide_target(table.column(target), kind_of(task));
  const Index before = table.rows();
  data::drop_missing_rows(table, target);
  if (table.rows() < before) {
    problem.notes.push_back(rows_left_out(before - table.rows(), before));
  }
  if (problem.target.kind != data::TargetKind::regression) {
    const std::vector<Index> kept =
        rows_of_repeated_classes({{}, {}, problem.target}, table.column(target), problem.notes);
    if (static_cast<Index>(kept.size()) < table.rows()) {
      table = data::rows(table, kept);
      data::drop_missing_rows(table, target);  // and the labels that are gone
      problem.target = data::decide_target(table.column(target), kind_of(task));
    }
  }
  for (const std::string& note : suspicions(table, format.no_header)) problem.notes.push_back(note);
  require_rows(problem.source, table.rows());
  problem.table = std::move(table);
  return problem;
}

void tell_problem(bool quiet, const TableProblem& problem) {
  tell(quiet, fmt::format("{}: {} rows; {}", problem.source, problem.rows(), describe(problem.target)));
  for (const std::string& note : problem.notes) tell(quiet, "note: " + note);
}

Tensor<double> features_of(const data::Preprocessing& preprocessing,
                           const std::variant<data::Table, data::SparseSet>& read,
                           std::vector<std::string>& notes) {
  return std::visit([&](const auto& rows) { return preprocessing.apply(rows, notes); }, read);
}

std::optional<data::Column> target_of(const std::variant<data::Table, data::SparseSet>& read,
                                      const std::string& name) {
  if (const auto* const set = std::get_if<data::SparseSet>(&read)) return data::Column{name, set->target, {}};
  const auto& columns = std::get<data::Table>(read).columns;
  const auto found = std::ranges::find(columns, name, &data::Column::name);
  if (found == columns.end()) return {};
  return *found;
}

std::string rows_left_out(Index count, Index of) {
  return fmt::format("{} of {} rows are left out: the target is missing", count, of);
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string describe(const data::TargetColumn& target) {
  switch (target.kind) {
    case data::TargetKind::regression:
      return target.name + " is a number: regression";
    case data::TargetKind::two_classes:
      return fmt::format("{} is one of two classes, {} and {}", target.name, target.classes[0],
                         target.classes[1]);
    default:
      break;
  }
  return fmt::format("{} is one of {} classes: {}", target.name, target.classes.size(),
                     joined(target.classes));
}

Split split_rows(const std::vector<double>& y, const data::TargetColumn& target, double share,
                 std::uint64_t seed) {
  std::vector<Index> order(y.size());
  std::iota(order.begin(), order.end(), Index{0});
  Rng(seed, 1).shuffle(order.begin(), order.end());
  if (target.kind != data::TargetKind::regression) {
    std::ranges::stable_sort(order, [&](Index a, Index b) {
      return y[static_cast<std::size_t>(a)] < y[static_cast<std::size_t>(b)];
    });
  }
  // Every so many rows one is held out, so that of each class as many are as of all.
  Split split;
  double due = share / 2;
  for (const Index row : order) {
    due += share;
    const bool held_out = due >= 1;
    if (held_out) due -= 1;
    (held_out ? split.validation : split.train).push_back(row);
  }
  std::ranges::sort(split.train);
  std::ranges::sort(split.validation);
  return split;
}

const char* name_of(Link link) {
  constexpr const char* names[] = {"identity", "logistic", "softmax", "one_vs_rest"};
  return names[static_cast<std::size_t>(link)];
}

Link link_named(const std::string& name, const std::string& source) {
  for (const Link link : {Link::identity, Link::logistic, Link::softmax, Link::one_vs_rest}) {
    if (name == name_of(link)) return link;
  }
  throw Error("load", source, " has the link ", quote(name),
              ": expected identity, logistic, softmax or one_vs_rest");
}

Tensor<double> apply_link(Link link, const Tensor<double>& outputs) {
  if (link == Link::identity) return outputs;
  const Index rows = outputs.shape()[0], width = outputs.shape()[1];
  const auto sigmoid = [](double z) {
    return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
  };
  if (link == Link::logistic) {
    Tensor<double> said(Shape{rows, 2});
    for (Index i = 0; i < rows; ++i) {
      said[2 * i] = sigmoid(-outputs[i]);
      said[2 * i + 1] = sigmoid(outputs[i]);
    }
    return said;
  }
  Tensor<double> said(outputs.shape());
  for (Index i = 0; i < rows; ++i) {
    double most = outputs[i * width], sum = 0;
    for (Index k = 1; k < width; ++k) most = std::max(most, outputs[i * width + k]);
    for (Index k = 0; k < width; ++k) {
      const double z = outputs[i * width + k];
      sum += said[i * width + k] = link == Link::softmax ? std::exp(z - most) : sigmoid(z);
    }
    for (Index k = 0; k < width; ++k) {
      said[i * width + k] = sum > 0 ? said[i * width + k] / sum : 1 / static_cast<double>(width);
    }
  }
  return said;
}

std::vector<double> row_losses(const data::TargetColumn& target, const Tensor<double>& said,
                               const std::vector<double>& y) {
  std::vector<double> losses;
  const Index width = said.shape()[1];
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto row = static_cast<Index>(i);
    if (target.kind == data::TargetKind::regression) {
      losses.push_back((said[row] - y[i]) * (said[row] - y[i]) / 2);
    } else {
      constexpr double least = 1e-15;  // what a probability of 0 is taken for
      losses.push_back(-std::log(std::max(least, said[row * width + static_cast<Index>(y[i])])));
    }
  }
  return losses;
}

Json errors_of(const data::TargetColumn& target, const Tensor<double>& said, const std::vector<double>& y) {
  const std::vector<double> losses = row_losses(target, said, y);
  const auto n = static_cast<double>(y.size());
  const double loss = std::accumulate(losses.begin(), losses.end(), 0.0) / n;
  if (target.kind == data::TargetKind::regression) {
    double magnitudes = 0, mean = 0, variance = 0;
    for (const double value : y) mean += value / n;
    for (std::size_t i = 0; i < y.size(); ++i) {
      magnitudes += std::abs(said[static_cast<Index>(i)] - y[i]) / n;
      variance += (y[i] - mean) * (y[i] - mean) / n;
    }
    Json errors{{"mse", 2 * loss * target.scale * target.scale},
                {"rmse", std::sqrt(2 * loss) * target.scale},
                {"mae", magnitudes * target.scale}};
    if (variance > 0) errors["r2"] = 1 - 2 * loss / variance;
    return errors;
  }
  const Index width = said.shape()[1];
  Index wrong = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double* const row = said.data() + static_cast<Index>(i) * width;
    wrong += std::max_element(row, row + width) - row == static_cast<Index>(y[i]) ? 0 : 1;
  }
  const double error = static_cast<double>(wrong) / n;
  return {{"log_loss", loss}, {"error", error}, {"accuracy", 1 - error}};
}

}  // namespace taper::apps
