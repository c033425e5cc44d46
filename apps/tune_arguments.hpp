#pragma once

#include <string>
#include <vector>

#include "tune_study.hpp"

namespace taper::apps {

/// The options of a study on a command line: those of `tune` and of `taper tune`.
struct TuneArguments {
  TuneStudyOptions study;
  std::vector<std::string> budgets;
  std::string measure = "parameters", plot;
  bool no_control = false;

  /// Budgets have the name `budget`. The numbers that `study` has now are the defaults.
  void add_to(Command& command, const char* budget);
  /// Puts all of them into `study`. Throws Error for a budget that is no whole number above 0.
  void read(const CommonOptions& common);
  /// Throws Error for the first of them that was given, but --measure, as Command::refuse does.
  void refuse(const Command& command, const std::string& choice, const std::string& expected) const;
  /// Draws the figure of sizes, if it is asked for.
  void draw(const TuneStudy& found, const std::string& loss_name, bool prints) const;

 private:
  const char* budget_ = "";
};

}  // namespace taper::apps
