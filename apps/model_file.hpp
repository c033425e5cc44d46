#pragma once

#include <string>
#include <taper/io/model.hpp>
#include <vector>

#include "common.hpp"

/// Files of models as the programs write and read them: what io::save_model writes, with the names of the
/// columns that the model takes and of what it predicts.
namespace taper::apps {

/// The names, as far as a file has them.
struct ColumnNames {
  std::vector<std::string> features;
  std::string target;
};

/// Throws Error, by the name of --save, for a file that this program has read or written.
template <class T>
void save_model(const nn::Graph<T>& graph, const ColumnNames& names, const std::string& path);

/// Throws Error for names that are no such.
ColumnNames column_names(const io::Archive& archive, const std::string& path);

/// How far predictions are from what they should be: "mse", "rmse" and "mae".
Json prediction_errors(const std::vector<double>& predicted, const std::vector<double>& expected);

}  // namespace taper::apps
