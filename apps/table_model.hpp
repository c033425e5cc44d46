#pragma once

#include <taper/io/model.hpp>
#include <taper/io/preprocessing.hpp>
#include <variant>

#include "table_problem.hpp"

/// A model with the preprocessing of its table: one file that takes a table as it is.
namespace taper::apps {

struct TableModel {
  data::Preprocessing preprocessing;
  Link link = Link::identity;
  /// What maps standardized features to raw outputs: float for networks, double for linear models.
  std::variant<nn::Graph<float>, nn::Graph<double>> graph;
  Json about = Json::object();  ///< How it came about: kind of model, certificate, validation.

  Index parameters() const;
};

/// Raw outputs for standardized features, n x 1 or n x classes. Throws Error where they are not finite.
Tensor<double> outputs_of(const TableModel& model, const Tensor<double>& x);
/// The same behind the link: standardized numbers, or probabilities.
Tensor<double> said_by(const TableModel& model, const Tensor<double>& x);

/// A layer y = x W' + b as a model, of the features that have a weight other than 0 alone: those of
/// `preprocessing` that stay. `weights` are outputs x features.
TableModel linear_model(data::Preprocessing preprocessing, Link link, const Tensor<double>& weights,
                        const std::vector<double>& intercepts);

/// Writes it; "-" is standard output. Throws Error, by the name of --save, for a file that this program has
/// read or written.
void save_table_model(const TableModel& model, const std::string& path);

/// Reads a table as the one that the model has learned from: its numbers are numbers, all other columns hold
/// labels, and the same further cells count as missing.
void read_like(const TableModel& model, TableFormat& format);

/// An archive from a file; "-" is standard input.
io::Archive open_model(const std::string& path, const CommonOptions& common);

/// Reads it. A file of io::save_model without preprocessing takes the columns that it names, as they are.
/// Throws Error for other versions and for parts that do not fit each other.
TableModel load_table_model(const io::Archive& archive, const std::string& path);
/// Whether an archive has a preprocessing.
bool has_preprocessing(const io::Archive& archive);

}  // namespace taper::apps
