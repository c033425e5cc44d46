#pragma once

#include <optional>
#include <string>
#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/tune.hpp>
#include <vector>

#include "tune_search.hpp"

namespace taper::apps {

/// A study of one kind of network: the search, the finalists, and the seeds of the winner. Each is a study of
/// its own in the journal, if there is one. Data and options must outlive it.
class Hunt {
 public:
  using Phases = sparsity::TwoPhaseOptions<float>;
  using Trials = std::vector<sparsity::Trial>;

  /// `all` are the rows that the networks of the end are trained on.
  Hunt(const TuneData& data, const data::Dataset<float>& all, const TuneStudyOptions& options,
       std::string name, Searched searched, Phases phases);

  /// So many trials at most, and none that begins after so many seconds, unless that is 0.
  Trials search(Index trials, double seconds);
  /// The best trials again, from other seeds: which one is best in the median. Throws Error where none keeps
  /// its budget.
  sparsity::Trial winner(const Trials& trials);
  /// From as many seeds as are asked for, trained on all rows at the end, and measured on the test set. With
  /// `shapes`, there is a seed for each, whose networks are dense ones of that shape.
  Trials seeds(const sparsity::Trial& winner, const std::vector<DenseShape>& shapes = {});
  /// The network of one of these seeds.
  nn::Sequential<float> final_network(const sparsity::Trial& winner, Index seed) const;
  /// From how many starts a dense network of this shape can be trained in the time that the winner takes,
  /// with so many epochs. Measured once, and kept in the journal.
  StartsInTime dense_starts(const sparsity::Trial& winner, const DenseShape& shape, double least_epochs,
                            double most_epochs);

  sparsity::TrialSettings settings_of(const sparsity::Trial& trial) const;

  /// What a trial of a dense network of these widths is. It is trained and, with halving, ended as the
  /// others.
  static Phases control_phases(const TuneData& data, const DenseShape& shape, const Phases& from);

 private:
  /// With what is held, and the starts that there is time for.
  sparsity::TrialSettings whole(sparsity::TrialSettings settings) const;
  struct Ended {
    nn::Sequential<float> model;
    sparsity::TrialResult result;
  };
  Ended final_run(const sparsity::Trial& winner, Index seed, const Phases& phases) const;
  Index objectives() const { return phases_.rule == sparsity::BudgetRule::front ? 2 : 1; }
  Phases with_all_epochs() const;
  sparsity::TuneOptions options_for(Index trials, std::uint64_t seed) const;
  Trials run(const std::string& part, sparsity::TuneOptions& tune, const sparsity::SearchSpace& space,
             const sparsity::StartTrial& start) const;
  /// Unless quiet, a line for each trial that ends, which begins with `what`.
  void say_progress(sparsity::TuneOptions& tune, const std::string& what) const;
  void say(const std::string& what, const Trials& trials, const sparsity::Trial& ended, Index of) const;

  const TuneData& data_;
  const data::Dataset<float>& all_;
  const TuneStudyOptions& options_;
  const std::string name_;
  const sparsity::SearchSpace space_;
  const sparsity::TrialSettings held_;
  const std::optional<StartsInTime> starts_;
  const Phases phases_;
  std::string note_;
};

/// Throws Error where all trials have failed, with the reason of the first, and where there are none.
void require_one_that_ended(const std::vector<sparsity::Trial>& trials);

}  // namespace taper::apps
