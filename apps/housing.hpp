#pragma once

#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/nn/graph.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "common.hpp"

/// The job of the programs that train a network on housing prices.
namespace taper::apps {

struct Housing {
  data::Dataset<float> train, test;  ///< Standardized.
  data::Dataset<float> raw_test;     ///< As it was read.
  data::StandardScaler<float> x, y;
};

/// California housing, or the embedded set made like it, standardized by the training set. Throws Error for
/// other than 8 features.
Housing load_housing(const CommonOptions& options);

/// The network, 8-32-64-32-1 with rectifiers.
nn::Sequential<float> housing_network();

/// A network that was trained on the standardized sets, as one that takes the columns as they were read and
/// gives the target in its own units: the operations that scale them stand in the graph.
nn::Graph<float> in_own_units(const nn::Sequential<float>& net, const Housing& sets);

}  // namespace taper::apps
