#pragma once

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "common.hpp"

/// The job of the programs that train a network on housing prices.
namespace taper::apps {

struct Housing {
  data::Dataset<float> train, test;
};

/// California housing, or the embedded set made like it, standardized by the training set. Throws Error for
/// other than 8 features.
Housing load_housing(const CommonOptions& options);

/// The network, 8-32-64-32-1 with rectifiers.
nn::Sequential<float> housing_network();

}  // namespace taper::apps
