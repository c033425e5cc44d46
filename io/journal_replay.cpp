#include <taper/io/journal_replay.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <taper/autodiff/error.hpp>

namespace taper::io {

using sparsity::Trial;
using sparsity::TrialResult;

namespace {

/// The number of a study or a trial. Throws what a wrong type does for anything else.
std::size_t id_in(const JournalJson& event, const char* key) {
  const JournalJson& id = event.at(key);
  if (!id.is_number_unsigned()) return JournalJson().get<std::size_t>();
  return id.get<std::size_t>();
}

/// What an event says under a key; null when it does not.
JournalJson value_in(const JournalJson& event, const char* key) {
  return event.value(key, JournalJson());
}

/// The same of what is to be an object; an empty one for anything else.
JournalJson object_in(const JournalJson& event, const char* key) {
  const JournalJson value = value_in(event, key);
  return value.is_object() ? value : JournalJson::object();
}

bool is_by_us(const JournalJson& event) {
  const JournalJson worker = value_in(event, "worker_id");
  return worker.is_string() && worker.get<std::string>().starts_with(journal_worker);
}

void expect(bool is_so, const std::string& key, const JournalJson& value, const char* expected) {
  if (!is_so) throw Error("journal", "'", key, "' is ", value.dump(), ": expected ", expected);
}

/// A number, null where we have written one that is not finite, or a list of these.
bool is_numbers(const JournalJson& value) {
  const auto is_one = [](const JournalJson& x) { return x.is_number() || x.is_null(); };
  return is_one(value) || (value.is_array() && std::all_of(value.begin(), value.end(), is_one));
}

std::vector<double> numbers_of(const std::string& key, const JournalJson& value) {
  expect(is_numbers(value), key, value, "numbers");
  const auto one = [](const JournalJson& x) { return x.is_null() ? std::nan("") : x.get<double>(); };
  if (!value.is_array()) return {one(value)};
  std::vector<double> result;
  for (const JournalJson& x : value) result.push_back(one(x));
  return result;
}

double number_of(const std::string& key, const JournalJson& value) {
  expect(value.is_number(), key, value, "a number");
  return value.get<double>();
}

Index integer_of(const std::string& key, const JournalJson& value) {
  expect(value.is_number_integer(), key, value, "an integer");
  return value.get<Index>();
}

}  // namespace

bool JournalReplay::Entry::is_finished() const {
  return state.is_number_integer() && state_of(state.get<int>()) != Trial::State::running;
}

Trial JournalReplay::Entry::trial() const {
  Trial trial;
  trial.state = state_of(static_cast<int>(integer_of("state", state)));
  TrialResult& result = trial.result;
  if (!values.is_null()) result.objectives = numbers_of("values", values);
  if (!constraints.is_null()) result.constraints = numbers_of("constraints", constraints);
  for (const auto& [key, value] : reports.items()) {
    const JournalJson step = JournalJson::parse(key, nullptr, false);
    if (!is_ours && !(step.is_number_integer() && value.is_number())) continue;
    trial.reports.emplace_back(integer_of("step", step), number_of("intermediate_value", value));
  }
  for (const auto& [key, value] : attributes.items()) {
    if (is_ours && key == "epochs") {
      trial.epochs = integer_of(key, value);
    } else if (is_ours && key == "seconds") {
      trial.seconds = number_of(key, value);
    } else if (is_ours && key == "study_seconds") {
      trial.study_seconds = number_of(key, value);
    } else if (is_ours && key == "message") {
      expect(value.is_string(), key, value, "a text");
      trial.message = value.get<std::string>();
    } else if (is_numbers(value)) {
      result.figures.emplace_back(key, numbers_of(key, value));
    }
  }
  const auto is_finite = [](double x) { return std::isfinite(x); };
  if (trial.is_finished() && !(std::ranges::all_of(result.objectives, is_finite) &&
                               std::ranges::all_of(result.constraints, is_finite))) {
    trial.state = Trial::State::failed;
    result = {};
  }
  return trial;
}

void JournalReplay::apply(const JournalJson& event) {
  const auto operation = static_cast<JournalOperation>(id_in(event, "op_code"));
  const auto study_at = [&]() -> StudyEntry* {
    const auto id = id_in(event, "study_id");
    return id < studies.size() && !studies[id].is_deleted ? &studies[id] : nullptr;
  };
  const auto entry_at = [&]() -> Entry* {
    const auto id = id_in(event, "trial_id");
    if (id >= entries.size() || entries[id].is_finished()) return nullptr;
    // Others may end a trial of ours; what they note about it is no result of it.
    const bool is_note = operation != JournalOperation::set_trial_state_values;
    return entries[id].is_ours && is_note && !is_by_us(event) ? nullptr : &entries[id];
  };
  switch (operation) {
    case JournalOperation::create_study: {
      const JournalJson& name = event.at("study_name");
      StudyEntry study;
      study.name = name.is_string() ? name.get<std::string>() : name.dump();
      const JournalJson directions = value_in(event, "directions");
      study.objectives = directions.size();
      study.is_minimized = std::ranges::all_of(directions, [](const JournalJson& d) { return d == 1; });
      const auto is_it = [&](const StudyEntry& other) {
        return other.name == study.name && !other.is_deleted;
      };
      if (std::ranges::none_of(studies, is_it)) studies.push_back(std::move(study));
      break;
    }
    case JournalOperation::delete_study:
      if (StudyEntry* const study = study_at()) study->is_deleted = true;
      break;
    case JournalOperation::set_study_user_attr:
      if (StudyEntry* const study = study_at()) {
        const JournalJson description = object_in(object_in(event, "user_attr"), "taper");
        if (description.value("note", JournalJson("")).is_string() && !description.empty()) {
          study->description = description;
        }
      }
      break;
    case JournalOperation::create_trial:
      if (StudyEntry* const study = study_at()) {
        study->trials.push_back(entries.size());
        Entry entry;
        entry.is_ours = is_by_us(event);
        entry.params = object_in(event, "params");
        // Optuna writes whole trials, too (add_trial).
        entry.state = event.value("state", entry.state);
        entry.values = value_in(event, "value");
        if (entry.values.is_null()) entry.values = value_in(event, "values");
        entries.push_back(std::move(entry));
      }
      break;
    case JournalOperation::set_trial_param:
      if (Entry* const entry = entry_at()) {
        const JournalJson name = value_in(event, "param_name");
        if (name.is_string())
          entry->params[name.get<std::string>()] = value_in(event, "param_value_internal");
      }
      break;
    case JournalOperation::set_trial_state_values:
      if (Entry* const entry = entry_at()) {
        const JournalJson values = value_in(event, "values");
        if (!values.is_null()) entry->values = values;
        entry->state = value_in(event, "state");
      }
      break;
    case JournalOperation::set_trial_intermediate_value:
      if (Entry* const entry = entry_at()) {
        entry->reports[value_in(event, "step").dump()] = value_in(event, "intermediate_value");
      }
      break;
    case JournalOperation::set_trial_user_attr:
      if (Entry* const entry = entry_at()) entry->attributes.update(object_in(event, "user_attr"));
      break;
    case JournalOperation::set_trial_system_attr:
      if (Entry* const entry = entry_at()) {
        const JournalJson attribute = object_in(event, "system_attr");
        if (attribute.contains("constraints")) entry->constraints = attribute.at("constraints");
      }
      break;
    default:  // system attributes of studies, and what newer versions have
      break;
  }
}

}  // namespace taper::io
