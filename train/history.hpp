#pragma once

#include <optional>
#include <string>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>

namespace taper::train {

/// One epoch as it ended.
struct Epoch {
  Index number;  // from 0
  double loss;   // mean over the rows, each with the parameters of its time
  // With the parameters at the end of the epoch; on the training set, when early stopping has no other.
  std::optional<double> validation_loss;
  double lr;
  double seconds;
};

struct History {
  std::vector<Epoch> epochs;
  double seconds = 0;
  /// Why it ended before its time; empty when it did not.
  std::string stopped;
};

}  // namespace taper::train
