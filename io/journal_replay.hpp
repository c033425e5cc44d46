#pragma once

#include <string>
#include <vector>

#include <taper/io/journal_events.hpp>

namespace taper::io {

/// What the events of a journal amount to, of all studies in it.
struct JournalReplay {
  /// A trial, whichever study it belongs to, as it was written: what others write in their studies is no
  /// business of ours, and whether we understand it neither.
  struct Entry {
    bool is_finished() const;
    /// The trial, without its number and its point. Values and constraints are read of all trials, epochs,
    /// seconds and the message of ours alone; of the other attributes and the reports of others, those that
    /// are numbers. One that ended with what is not finite has failed, as sparsity::tune has it. Throws Error
    /// for what cannot be understood.
    sparsity::Trial trial() const;

    bool is_ours = false;  ///< begun by this library
    JournalJson state = 0, values, constraints;
    JournalJson params = JournalJson::object(), attributes = JournalJson::object();
    JournalJson reports = JournalJson::object();  ///< by the text of the step
  };
  struct StudyEntry {
    std::string name;
    std::size_t objectives = 1;
    bool is_minimized = true;  ///< in all of them
    JournalJson description;
    bool is_deleted = false;
    std::vector<std::size_t> trials;
  };

  /// As JournalStorageReplayResult.apply_logs does: events of studies and trials that are not there, or have
  /// ended, are passed over. Throws nlohmann::json::exception for what is no event: without the kind of
  /// operation, or without the study or the trial that it is about.
  void apply(const JournalJson& event);

  std::vector<StudyEntry> studies;  ///< by Optuna's id
  std::vector<Entry> entries;       ///< the same
};

/// What the names of this library's workers begin with.
constexpr const char* journal_worker = "taper-";

}  // namespace taper::io
