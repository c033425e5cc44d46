#pragma once

#include <string>

#include <taper/train/fit.hpp>

namespace taper::train {

/// Shows how far a training has come: on a terminal a bar that is drawn over at most ten times a second,
/// elsewhere a plain line for each tenth of the epochs, or nothing.
class ProgressDisplay {
 public:
  ProgressDisplay(Progress kind, std::string title, Index epochs);
  void show(const Epoch& epoch, double seconds);
  /// Ends the line of a bar, wherever it got to.
  void finish();

 private:
  enum class Kind { none, lines, bar };
  Kind kind_;
  std::string title_;
  Index epochs_;
  double last_ = -1;  // when the bar was drawn; below 0: not yet
};

}  // namespace taper::train
