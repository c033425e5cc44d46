#include <taper/io/journal_replay.hpp>

#include <algorithm>

namespace taper::io {

using sparsity::Trial;

namespace {

/// In place of what has the same key, which a trial that was cut off may have written.
template <class Key, class Value>
void put(std::vector<std::pair<Key, Value>>& pairs, const Key& key, const Value& value) {
  const auto found = std::ranges::find(pairs, key, &std::pair<Key, Value>::first);
  if (found == pairs.end()) {
    pairs.emplace_back(key, value);
  } else {
    found->second = value;
  }
}

/// The number of a study or a trial. Throws what a wrong type does for anything else.
std::size_t id_in(const JournalJson& event, const char* key) {
  const JournalJson& id = event.at(key);
  if (!id.is_number_unsigned()) return JournalJson().get<std::size_t>();
  return id.get<std::size_t>();
}

}  // namespace

void JournalReplay::apply(const JournalJson& event) {
  const auto operation = static_cast<JournalOperation>(event.at("op_code").get<int>());
  const auto study_at = [&]() -> StudyEntry* {
    const auto id = id_in(event, "study_id");
    return id < studies.size() && !studies[id].is_deleted ? &studies[id] : nullptr;
  };
  const auto entry_at = [&]() -> Entry* {
    const auto id = id_in(event, "trial_id");
    return id < entries.size() && !entries[id].trial.is_finished() ? &entries[id] : nullptr;
  };
  switch (operation) {
    case JournalOperation::create_study: {
      const auto study_name = event.at("study_name").get<std::string>();
      for (const StudyEntry& study : studies) {
        if (study.name == study_name && !study.is_deleted) return;
      }
      StudyEntry study;
      study.name = study_name;
      study.objectives = event.at("directions").size();
      studies.push_back(std::move(study));
      break;
    }
    case JournalOperation::delete_study:
      if (StudyEntry* const study = study_at()) study->is_deleted = true;
      break;
    case JournalOperation::set_study_user_attr:
      if (StudyEntry* const study = study_at()) {
        const JournalJson& attribute = event.at("user_attr");
        if (attribute.contains("taper")) study->description = attribute.at("taper");
      }
      break;
    case JournalOperation::create_trial: {
      StudyEntry* const study = study_at();
      if (study == nullptr) break;
      Entry entry;
      entry.study = study - studies.data();
      entry.trial.number = static_cast<Index>(study->trials.size());
      if (event.contains("params")) entry.params = event.at("params");
      entry.is_ours = event.value("worker_id", std::string()).starts_with(journal_worker);
      study->trials.push_back(entries.size());
      // Optuna writes whole trials, too (add_trial).
      if (event.contains("state")) entry.trial.state = state_of(event.at("state").get<int>());
      if (event.contains("value") && event.at("value").is_number()) {
        entry.trial.result.objectives = {event.at("value").get<double>()};
      } else if (event.contains("values") && event.at("values").is_array()) {
        entry.trial.result.objectives = event.at("values").get<std::vector<double>>();
      }
      entries.push_back(std::move(entry));
      break;
    }
    case JournalOperation::set_trial_param:
      if (Entry* const entry = entry_at()) {
        entry->params[event.at("param_name").get<std::string>()] = event.at("param_value_internal");
      }
      break;
    case JournalOperation::set_trial_state_values:
      if (Entry* const entry = entry_at()) {
        const JournalJson& values = event.at("values");
        if (!values.is_null()) entry->trial.result.objectives = values.get<std::vector<double>>();
        entry->trial.state = state_of(event.at("state").get<int>());
      }
      break;
    case JournalOperation::set_trial_intermediate_value:
      if (Entry* const entry = entry_at()) {
        put(entry->trial.reports, event.at("step").get<Index>(),
            event.at("intermediate_value").get<double>());
      }
      break;
    case JournalOperation::set_trial_user_attr:
      if (Entry* const entry = entry_at()) {
        for (const auto& [key, value] : event.at("user_attr").items()) {
          Trial& trial = entry->trial;
          if (key == "seconds") {
            trial.seconds = value.get<double>();
          } else if (key == "study_seconds") {
            trial.study_seconds = value.get<double>();
          } else if (key == "epochs") {
            trial.epochs = value.get<Index>();
          } else if (key == "message") {
            trial.message = value.get<std::string>();
          } else if (value.is_number()) {
            put(trial.result.figures, key, std::vector{value.get<double>()});
          } else if (value.is_array()) {
            put(trial.result.figures, key, value.get<std::vector<double>>());
          }
        }
      }
      break;
    case JournalOperation::set_trial_system_attr:
      if (Entry* const entry = entry_at()) {
        const JournalJson& attribute = event.at("system_attr");
        if (attribute.contains("constraints") && attribute.at("constraints").is_array()) {
          entry->trial.result.constraints = attribute.at("constraints").get<std::vector<double>>();
        }
      }
      break;
    default:  // system attributes of studies, and what newer versions have
      break;
  }
}

}  // namespace taper::io
