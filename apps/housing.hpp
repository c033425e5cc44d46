#pragma once

#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/nn/graph.hpp>
#include <taper/nn/layers/sequential.hpp>

#include "common.hpp"
#include "table_options.hpp"

/// The job of the programs that train a network on housing prices.
namespace taper::apps {

struct Housing {
  std::string name;                  ///< What a report calls the data.
  data::Dataset<float> train, test;  ///< Standardized.
  data::Dataset<float> raw_test;     ///< As it was read.
  data::StandardScaler<float> x, y;
};

/// California housing, or the embedded set made like it, standardized by the training set. Throws Error for
/// other than 8 features.
Housing load_housing(const CommonOptions& options);

/// A table of somebody's own in place of that: --csv and what belongs to it, and --target.
struct OwnTable : TableOptions {
  std::string target;
  void add_to(Command& command);
};

/// The sets of the table, if there is one, its labels encoded; a fifth of the rows, chosen by the seed, is
/// the test set. Throws Error for a target that is missing, text or constant, LIBSVM, fewer than 5 rows, no
/// column that varies, and like the parts.
Housing load_housing(const CommonOptions& options, const OwnTable& table);

/// The network, with 32, 64 and 32 rectifiers between the columns and the target.
nn::Sequential<float> housing_network(Index inputs = 8);

/// A network that was trained on the standardized sets, as one that takes the columns as they were read and
/// gives the target in its own units: the operations that scale them stand in the graph.
nn::Graph<float> in_own_units(const nn::Sequential<float>& net, const Housing& sets);

}  // namespace taper::apps
