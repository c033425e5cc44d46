#pragma once

#include <Eigen/SparseCore>
#include <taper/data/preprocessing.hpp>

#include "table_options.hpp"

/// A table of somebody's own as a thing to learn from, or to predict.
namespace taper::apps {

/// Reads a table with valid UTF-8 as names and labels, as model files hold it. Throws Error for two columns
/// of one name, beside what TableFormat::read throws.
std::variant<data::Table, data::SparseSet> read_table(const TableFormat& format, const CommonOptions& common);
/// The same for a text in memory.
std::variant<data::Table, data::SparseSet> parse_table(const TableFormat& format, const std::string& text,
                                                       const std::string& source);

/// What is to be learned. Rows without a target are left out.
struct TableProblem {
  std::string source;
  std::optional<data::Table> table;       ///< With the target among its columns,
  std::optional<data::SparseSet> sparse;  ///< or LIBSVM, with its own.
  data::TargetColumn target;
  std::vector<std::string> notes;  ///< What was done to the table, in sentences.

  Index rows() const { return table ? table->rows() : sparse->rows; }
  data::Column target_column() const;
};

/// `task` is "auto", "regression" or "classes". Throws Error for a target that is not there or cannot be
/// learned, and for fewer than 4 rows.
TableProblem load_table_problem(const TableFormat& format, const std::string& target, const std::string& task,
                                const CommonOptions& common);

/// Says on standard error, unless quiet, what is learned from what, with the notes.
void tell_problem(bool quiet, const TableProblem& problem);

/// The features of a table that was read.
Tensor<double> features_of(const data::Preprocessing& preprocessing,
                           const std::variant<data::Table, data::SparseSet>& read,
                           std::vector<std::string>& notes);
/// Its column of this name, as the target; LIBSVM has it under any name. Nothing where a table has none.
std::optional<data::Column> target_of(const std::variant<data::Table, data::SparseSet>& read,
                                      const std::string& name);

/// That rows without a target are left out, as a sentence.
std::string rows_left_out(Index count, Index of);

/// A text in a line of CSV, in quotes where it needs them.
std::string csv_cell(const std::string& text);

/// The target's kind, as a sentence: "price is a number: regression".
std::string describe(const data::TargetColumn& target);

/// Deals the rows at random into those to train on and `share` of them to validate, of each class alike.
struct Split {
  std::vector<Index> train, validation;
};
Split split_rows(const std::vector<double>& y, const data::TargetColumn& target, double share,
                 std::uint64_t seed);

/// Rows as they are learned from.
struct LearningSet {
  Tensor<double> x;       ///< n x features, standardized
  std::vector<double> y;  ///< as Preprocessing::apply_target gives it
};

/// What a model says, from its raw outputs (n x 1, or n x classes): of a regression the standardized number,
/// of classes their probabilities, n x classes.
enum class Link { identity, logistic, softmax, one_vs_rest };
const char* name_of(Link link);
/// Throws Error, in the name of `source`, for a word that is none.
Link link_named(const std::string& name, const std::string& source);
Tensor<double> apply_link(Link link, const Tensor<double>& outputs);

/// Of each row: half the squared standardized difference, or minus the logarithm of the class's probability.
std::vector<double> row_losses(const data::TargetColumn& target, const Tensor<double>& said,
                               const std::vector<double>& y);

/// How far it is from what it should be: "mse", "rmse", "mae" and "r2" in the target's own units, or
/// "log_loss", "error" and "accuracy".
Json errors_of(const data::TargetColumn& target, const Tensor<double>& said, const std::vector<double>& y);

}  // namespace taper::apps
