#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include <taper/train/history.hpp>

namespace taper::train {

/// Shows how far a training has come: a bar that is drawn over at most ten times a second, a plain line for
/// each tenth of the epochs, or nothing. A bar is as wide as the terminal has room for, and is made of
/// characters alone, without escape sequences.
class ProgressDisplay {
 public:
  enum class Kind { none, lines, bar };

  /// Writes to `out`, which must outlive it. `columns` are those of the terminal; 0: asked each time, and 80
  /// where there is no answer.
  ProgressDisplay(Kind kind, std::string title, Index epochs, std::FILE* out = stderr, Index columns = 0);
  /// Finishes, also when an Error ends the training.
  ~ProgressDisplay() { finish(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// What the epochs before this one took says nothing of how long the others will: they have been run
  /// before.
  void start_at(Index epoch) { first_ = epoch; }
  /// `seconds` have passed since the start.
  void show(const Epoch& epoch, double seconds);
  /// Shows the last epoch, if it was passed over, and ends the line of a bar.
  void finish();

 private:
  void print(const Epoch& epoch, const std::string& left);
  void draw(double share, const std::string& after);

  Kind kind_;
  std::string title_;
  Index epochs_;
  std::FILE* out_;
  Index columns_;
  Index first_ = 0;                 // epoch of this run
  Index width_ = 0;                 // of the bar's line as drawn last
  double drawn_ = -1;               // when the bar was last drawn; below 0: not yet
  std::optional<Epoch> not_shown_;  // the last epoch, when it was passed over
};

}  // namespace taper::train
