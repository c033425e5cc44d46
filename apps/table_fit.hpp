#pragma once

#include <functional>
#include <limits>

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>

#include "table_model.hpp"

/// Fitting models to tables: what is chosen, and on what evidence.
namespace taper::apps {

/// What all kinds of model are told.
struct TableFitOptions {
  std::optional<double> penalty;    ///< In place of a path of them.
  std::optional<Index> budget;      ///< Parameters at most.
  bool one_standard_error = false;  ///< The sparsest that is no worse than the best and its standard error.
  Index folds = 5;
  std::vector<Index> hidden;  ///< Widths of a network; empty: by the number of rows.
  double effort = 1;          ///< Times the steps that a network is trained for.
  std::uint64_t seed = 0;
  bool quiet = false;
};

/// A place of a path of penalties, or what came of it.
struct PathPlace {
  double penalty = 0;
  Index parameters = 0, inputs = 0;  ///< Of the model, and the columns that it reads.
  double loss = 0;                   ///< Mean over rows held out (see row_losses), and
  double standard_error = 0;         ///< its standard error.
  Json details;                      ///< What else a report says.
};

/// A fitted model and the path that it was chosen on.
struct TableFit {
  TableModel model;
  std::vector<PathPlace> path;
  std::size_t chosen = 0;
  Json certificate, validation;
};

/// The place with the least loss of those within the budget; with `one_standard_error` the first (sparsest)
/// whose loss is at most that and its standard error. Nothing where none is within it. Places go from the
/// largest penalty to the smallest.
std::optional<std::size_t> choose(const std::vector<PathPlace>& path, const TableFitOptions& options);

/// The fewest parameters of a model that reads a column: a coefficient and an intercept for each output, or a
/// network of one unit in each layer.
Index fewest_linear_parameters(const data::TargetColumn& target);
Index fewest_network_parameters(const data::TargetColumn& target, std::size_t hidden_layers);

/// The lasso of all rows, or L1 logistic regression, one for each class of more than two, along a path of
/// penalties, solved exactly; the penalty is chosen by cross-validation. Throws Error for a budget that is
/// too small.
TableFit fit_linear(const data::Preprocessing& preprocessing, const LearningSet& rows,
                    const TableFitOptions& options);
TableFit fit_linear(const data::Preprocessing& preprocessing, const data::SparseSet& set,
                    const std::vector<double>& y, const TableFitOptions& options);

/// A network with rectifiers, trained with factors along a path of penalties, certified, shrunk and trained
/// again at each, and chosen by its loss on the rows held out. Throws Error for a budget that is too small.
TableFit fit_network(const data::Preprocessing& preprocessing, const LearningSet& train,
                     const LearningSet& validation, const TableFitOptions& options);
/// A factorization machine of degree 2, in the same way; penalties also choose the number of its latent
/// dimensions.
TableFit fit_machine(const data::Preprocessing& preprocessing, const LearningSet& train,
                     const LearningSet& validation, const TableFitOptions& options);

/// Features and target as networks are trained on them.
data::Dataset<float> dataset_of(const LearningSet& rows);
/// The loss that networks for a target are trained with, of so many outputs.
nn::Loss<float> network_loss(const data::TargetColumn& target);
Index network_outputs(const data::TargetColumn& target);
/// A shrunk network as a model of the features that it reads, which are `kept` of all.
TableModel network_model(const nn::Sequential<float>& net, data::Preprocessing preprocessing,
                         std::vector<Index>& kept);

}  // namespace taper::apps
