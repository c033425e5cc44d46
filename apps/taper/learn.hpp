#pragma once

#include "../table_fit.hpp"

/// What the verbs that learn from a table have in common.
namespace taper::apps {

struct LearnOptions : CommonOptions {
  LearnOptions();

  TableFormat table;
  std::string target, task = "auto", model = "auto", rule = "best", hidden, penalty, budget;
  Index folds = 5, most_categories = 32;
  double validation = 0.2, effort = 1;

  /// The table, its target and task alone.
  void add_table(Command& command);
  void add_to(Command& command);
  /// Throws Error for options that are out of range, or that do nothing with the others.
  TableFitOptions fit_options() const;
  /// Throws Error for options that do nothing when these kinds of model are fitted; `choice` says why it is
  /// these.
  void refuse_idle(const std::vector<std::string>& kinds, const std::string& choice) const;
  /// Throws Error for options about categories, for LIBSVM, which has none.
  void refuse_categories() const;

 private:
  const Command* command_ = nullptr;  // that all have been added to
};

/// The kind of model that was fitted, and the fit.
struct Learned {
  std::string model;  ///< "linear", "network" or "fm"
  std::string why;    ///< it is that one, as a sentence
  TableFit fit;
  Index features = 0;  ///< that it could have read
};

/// The kinds of model that are asked for, or that the table is fit for: a linear one, and a network with it
/// from 500 rows on, if the table is not LIBSVM.
std::vector<std::string> kinds_for(const TableProblem& problem, const std::string& asked);

/// Fits the kinds of model that kinds_for says. Of two, the network is chosen where it is better on the rows
/// held out by more than one standard error of the difference.
Learned learn(const LearnOptions& options, const TableProblem& problem);

/// LIBSVM written out, for models that are not linear.
TableProblem written_out(const TableProblem& problem);

/// Some rows of a table that is not sparse, as a preprocessing makes them.
LearningSet rows_of(const data::Preprocessing& preprocessing, const TableProblem& problem,
                    const std::vector<Index>& chosen, std::vector<std::string>& notes);

/// A path as a report has it.
Json report_on(const std::vector<PathPlace>& path, const data::TargetColumn& target);

}  // namespace taper::apps
