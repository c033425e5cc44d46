#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>
#include <taper/sparsity/tune/study.hpp>

/// The words of a journal: how Optuna writes down what a study is and what happens to it.
namespace taper::io {

using JournalJson = nlohmann::ordered_json;

/// optuna/storages/journal/_storage.py, JournalOperation.
enum class JournalOperation {
  create_study = 0,
  delete_study = 1,
  set_study_user_attr = 2,
  set_study_system_attr = 3,
  create_trial = 4,
  set_trial_param = 5,
  set_trial_state_values = 6,
  set_trial_intermediate_value = 7,
  set_trial_user_attr = 8,
  set_trial_system_attr = 9,
};

/// A line of anybody's, as Python's json.dumps writes it and json.loads reads it: JSON, and besides NaN,
/// Infinity, -Infinity, integers beyond any double (infinite here), and halves of surrogate pairs (U+FFFD
/// here). Throws nlohmann::json::exception for what is neither.
JournalJson parse_event(std::string_view line);

/// An event without what belongs to it.
JournalJson journal_event(JournalOperation operation);

/// optuna/trial/_state.py, TrialState. Codes of others are of trials that run, or wait.
int state_code(sparsity::Trial::State state);
sparsity::Trial::State state_of(int code);

/// Now, in UTC, as Python's isoformat has it.
std::string journal_timestamp();

/// A distribution as optuna.distributions has it; the text stands inside of the line as a text.
std::string distribution_text(const sparsity::SearchDimension& dimension);

/// What tells one study from another.
JournalJson description_of(const sparsity::StudyDescription& study);

}  // namespace taper::io
