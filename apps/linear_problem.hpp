#pragma once

#include <Eigen/SparseCore>
#include <optional>
#include <string>
#include <taper/sparsity/exact.hpp>
#include <vector>

#include "table_options.hpp"

namespace taper::apps {

/// What a linear model is fitted to, from a table of somebody's own or the embedded diabetes-like set.
struct LinearProblemOptions {
  TableOptions table;
  std::string target, positive, fold_column;
  std::vector<std::string> groups, weights;  ///< As they are given: NAME=COLUMN,... and NAME=NUMBER.
  bool group_categories = false;

  void add_to(Command& command);
};

struct LinearProblem {
  std::string source, target;
  std::optional<data::Classes> classes;  ///< Of two-class targets: which is 0 and which is 1.
  std::vector<std::string> features;     ///< p names.
  std::vector<std::string> origin;       ///< Names of the columns of the file that they came from.
  Eigen::MatrixXd dense;                 ///< n x p, or empty,
  Eigen::SparseMatrix<double> sparse;    ///< and then the same here.
  Eigen::VectorXd y;
  std::vector<double> deviation;  ///< Standard deviation of each column.
  std::vector<Index> fold_of;     ///< Of each row, from --fold-column; else empty.
  std::vector<Index> groups;      ///< Of each column, as ExactOptions has it; empty when each is its own.
  std::vector<std::string> group_names;  ///< One for each group.
  std::vector<double> weights;           ///< One for each group; empty when all are 1.
  std::vector<std::string> notes;        ///< What was done to the table, in sentences.

  sparsity::Design design() const {
    return dense.size() > 0 ? sparsity::Design(dense) : sparsity::Design(sparse);
  }
};

LinearProblem load_linear_problem(const LinearProblemOptions& options, const CommonOptions& common,
                                  sparsity::ConvexLoss loss);

}  // namespace taper::apps
