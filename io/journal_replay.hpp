#pragma once

#include <string>
#include <vector>

#include <taper/io/journal_events.hpp>

namespace taper::io {

/// What the events of a journal amount to, of all studies in it.
struct JournalReplay {
  /// A trial, whichever study it belongs to.
  struct Entry {
    Index study = 0;
    sparsity::Trial trial;  ///< Its number is the place among the trials of the study; without a point.
    JournalJson params = JournalJson::object();
    bool is_ours = false;  ///< begun by this library
  };
  struct StudyEntry {
    std::string name;
    std::size_t objectives = 1;
    JournalJson description;
    bool is_deleted = false;
    std::vector<std::size_t> trials;
  };

  /// As JournalStorageReplayResult.apply_logs does: events of studies and trials that are not there, or have
  /// ended, are passed over. Throws nlohmann::json::exception for what is no event.
  void apply(const JournalJson& event);

  std::vector<StudyEntry> studies;  ///< by Optuna's id
  std::vector<Entry> entries;       ///< the same
};

/// What the names of this library's workers begin with.
constexpr const char* journal_worker = "taper-";

}  // namespace taper::io
