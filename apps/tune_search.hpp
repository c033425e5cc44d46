#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/tune.hpp>
#include <vector>

#include "tune_study.hpp"

/// What a search for a size is over: settings, and the networks that they stand for.
namespace taper::apps {

/// From how many starts a trial can train in so many seconds, by its epochs: the time of a trial is that of
/// its starts, and the rest.
struct StartsInTime {
  double seconds = 0, rest = 0;
  double of_start = 1;                    ///< with the fewest epochs
  double of_epoch = 0, least_epochs = 0;  ///< seconds of each epoch more

  /// 1 at least, and 1000 at most.
  double with(double epochs) const {
    const double each = of_start + of_epoch * std::max(epochs - least_epochs, 0.0);
    return std::clamp(std::round((seconds - rest) / each), 1.0, 1000.0);
  }
};

/// What is searched, and what is held.
struct Searched {
  std::vector<sparsity::SearchDimension> dimensions;
  sparsity::TrialSettings held;
  std::optional<StartsInTime> starts = {};  ///< in place of a setting

  void set(const sparsity::SearchDimension& dimension) {
    const auto found = std::ranges::find(dimensions, dimension.name, &sparsity::SearchDimension::name);
    if (found == dimensions.end()) {
      dimensions.push_back(dimension);
    } else {
      *found = dimension;
    }
  }
  void drop(const std::string& name) {
    std::erase_if(dimensions, [&](const sparsity::SearchDimension& one) { return one.name == name; });
  }
};

/// What a study on so many rows searches within a budget (0 without one): its own ranges, changed by
/// options.search. Throws Error for texts that say none.
Searched searched(const TuneStudyOptions& options, Index rows, Index budget);

/// What is searched for the dense networks of the control: settings that concern both kinds in the same
/// ranges, epochs from 5, and a decay in place of the penalty.
Searched searched_dense(const Searched& sparse, Index rows);

/// Throws Error for a setting that there is not.
void check_setting(const std::string& name);

/// With what is held, where it is not set.
sparsity::TrialSettings merged(sparsity::TrialSettings settings, const sparsity::TrialSettings& held);

Json as_json(const sparsity::TrialSettings& settings);

/// Hidden layers of the network that is offered. Throws Error for fewer than 0 or more than 20.
Index hidden_layers(const sparsity::TrialSettings& settings);

/// The network that is offered: `layers` hidden layers of `width` units.
nn::Sequential<float> offered_network(const TuneData& data, const sparsity::TrialSettings& settings);

/// The shape of a network that was found.
struct DenseShape {
  std::vector<Index> widths;  ///< of its matrices: inputs of each, and the outputs of the last
  std::vector<Index> inputs;  ///< the columns that it reads

  /// Whether there is a network of it: not where a layer has no unit.
  bool is_network() const { return !widths.empty() && std::ranges::count(widths, Index{0}) == 0; }
};

/// A dense network of this shape.
nn::Sequential<float> dense_network(const TuneData& data, const DenseShape& shape,
                                    const sparsity::TrialSettings& settings);

}  // namespace taper::apps
