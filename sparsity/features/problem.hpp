#pragma once

#include <taper/sparsity/select_features.hpp>

/// Parts of select_features.
namespace taper::sparsity::features {

/// What can be chosen, standardized, and what it is to predict.
struct Problem {
  Index rows = 0;
  std::vector<double> x;          ///< rows x offered columns, column by column, in an order of their values
  std::vector<Index> column;      ///< of each one its place in the data
  std::vector<Index> feature_of;  ///< of each one
  std::vector<double> y;          ///< standardized, or classes
  Index classes = 0;              ///< 0: a regression
  Index features = 0;             ///< whether they can be chosen or not
  std::vector<Index> duplicate_of, constant;
  Index offered = 0;  ///< features that can be chosen

  Index columns() const { return static_cast<Index>(column.size()); }
  const double* values(Index j) const { return x.data() + j * rows; }
};

template <class T> Problem make_problem(const data::Dataset<T>& data, const SelectFeaturesOptions& options);

/// Rows to train on and rows to judge on, each rising.
struct FeatureRows {
  std::vector<Index> train, validation;
};
/// Deals rows at random so that `share` of them, of each class alike, are judged on; of each class one row
/// at least is trained on, and one row at least is judged on, unless each has a class of its own.
FeatureRows deal_rows(const Problem& problem, double share, std::uint64_t seed);

}  // namespace taper::sparsity::features
