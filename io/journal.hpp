#pragma once

#include <memory>
#include <string>

#include <taper/sparsity/tune/study.hpp>

namespace taper::io {

/// A study in a file that is only ever appended to: one line of JSON for each event, in the form that
/// Optuna's JournalStorage reads from a JournalFileBackend (versions 3 to 5), so that its dashboard and its
/// plots show the study as it runs:
///
///     io::Journal journal("study.log", "california");
///     const auto trials = sparsity::tune(space, start, {.trials = 200, .record = &journal});
///
/// Optuna's workers and its dashboard may append to the file at the same time, to this study, too: everybody
/// takes the lock of Optuna's file backends while it writes (path + ".lock"), and one that nobody has given
/// back for 30 seconds is taken away, as Optuna does. The trials of others in the study are left alone until
/// they have ended; a Journal that takes the study up again then has them among its own. What others write
/// besides (attributes of any kind, NaN and Infinity as Python has them, other studies) is passed over.
///
/// Every line is written at once and is on the disk before anything else happens. When the program is killed,
/// a Journal of the same file takes the study up again: a line that was not finished is cut off, trials that
/// ended are not run again, those that were running are. Several studies may stand in one file, by their
/// names.
///
/// As Optuna has them: what is minimized are the values of a trial, constraints a system attribute, failed
/// trials have the state FAIL. Figures, seconds and messages are user attributes. What the study is (space,
/// seed, sampler, ...) is the study's user attribute "taper", by which another study of that name is told.
class Journal : public sparsity::StudyRecord {
 public:
  /// Opens the file, or makes one. Throws Error when it cannot be read or written, when another Journal has
  /// it open, in this process or in another, when the lock cannot be made beside it, and for a file with a
  /// line that is not such an event, which it names.
  Journal(const std::string& path, std::string study);
  Journal(Journal&&) noexcept;
  ~Journal() override;

  /// Throws Error for a study in the file that has another description or another number of objectives, or
  /// maximizes, for trials that do not lie in the space, or whose results are no numbers, as others have
  /// written them, and for names and notes that are not UTF-8.
  std::vector<sparsity::Trial> begin(const sparsity::StudyDescription& study) override;
  /// These throw Error when the study, or the file, has been deleted meanwhile.
  void started(const sparsity::Trial& trial) override;
  void reported(const sparsity::Trial& trial) override;
  void finished(const sparsity::Trial& trial) override;

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace taper::io
