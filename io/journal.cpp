#include <taper/io/journal.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/utf8.hpp>
#include <taper/io/journal_file.hpp>
#include <taper/io/journal_replay.hpp>

namespace taper::io {

using sparsity::SearchDimension;
using sparsity::StudyDescription;
using sparsity::Trial;

namespace {

JournalJson attribute_of(const std::vector<double>& figure) {
  return figure.size() == 1 ? JournalJson(figure.front()) : JournalJson(figure);
}

std::string worker_name() {
  char host[64] = "host";
  gethostname(host, sizeof host - 1);
  return std::string(journal_worker) + host + '-' + std::to_string(getpid());
}

}  // namespace

/// The file, what it holds of all studies, and the study that is written.
struct Journal::File {
  File(const std::string& path, std::string study_name)
      : lines(path), name(std::move(study_name)), worker(worker_name()) {
    read_news();
  }

  void read_news() {
    const JournalLock lock = lines.lock();
    take_news();
  }

  /// Writes events of the study, behind what others have written meanwhile.
  void append(std::vector<JournalJson> events) {
    std::string text;
    for (JournalJson& event : events) {
      event["worker_id"] = worker;
      text += event.dump(-1, ' ', true, JournalJson::error_handler_t::replace) + '\n';
    }
    const JournalLock lock = lines.lock();
    take_news();
    if (current) study();  // still there
    lines.write(text);
    take_news();
  }

  std::optional<std::size_t> find_study() const {
    for (std::size_t id = 0; id < replay.studies.size(); ++id) {
      if (replay.studies[id].name == name && !replay.studies[id].is_deleted) return id;
    }
    return {};
  }

  const JournalReplay::StudyEntry& study() const {
    const JournalReplay::StudyEntry& entry = replay.studies.at(current.value());
    if (!entry.is_deleted) return entry;
    throw Error("journal", lines.path(), ": the study '", name,
                "' was deleted by another program: expected it to stay while it runs");
  }

  JournalJson event_of(const Trial& trial, JournalOperation operation) const {
    const auto number = static_cast<std::size_t>(trial.number);
    if (number >= ids.size()) {
      throw Error("journal", "trial ", trial.number, " of ", ids.size(), ": expected one that has started");
    }
    JournalJson event = journal_event(operation);
    event["trial_id"] = ids[number];
    return event;
  }

  JournalFile lines;
  std::string name, worker;
  JournalReplay replay;
  std::optional<std::size_t> current;  // the study that is written, by Optuna's id
  std::vector<std::size_t> ids;        // Optuna's, of its trials by our number
  std::optional<sparsity::SearchSpace> space;

 private:
  void take_news() {
    lines.read_news([&](std::string_view line) {
      try {
        replay.apply(parse_event(line));
      } catch (const nlohmann::json::exception&) {
        return false;
      }
      return true;
    });
  }
};

Journal::Journal(const std::string& path, std::string study)
    : file_(std::make_unique<File>(path, std::move(study))) {}
Journal::Journal(Journal&&) noexcept = default;
Journal::~Journal() = default;

std::vector<Trial> Journal::begin(const StudyDescription& study) {
  File& file = *file_;
  JournalJson description;
  try {
    description = description_of(study);
    static_cast<void>(JournalJson{file.name, description}.dump());  // which refuses what is not UTF-8
  } catch (const JournalJson::type_error&) {
    throw Error("journal", file.lines.path(), ": the study '", data::valid_utf8(file.name),
                "' has a name, a note or settings that are not UTF-8: expected text that JSON can hold");
  }
  const auto objectives = static_cast<std::size_t>(study.objectives);
  file.read_news();
  file.current = file.find_study();
  if (!file.current) {
    JournalJson event = journal_event(JournalOperation::create_study);
    event["study_name"] = file.name;
    event["directions"] = std::vector<int>(objectives, 1);  // to minimize
    file.append({std::move(event)});
    file.current = file.find_study();
  }
  const JournalReplay::StudyEntry* const found = &file.study();
  file.space = study.space;
  if (found->objectives != objectives) {
    throw Error("journal", file.lines.path(), ": the study '", file.name, "' has ", found->objectives,
                " objectives: expected ", objectives);
  }
  if (!found->is_minimized) {
    throw Error("journal", file.lines.path(), ": the study '", file.name,
                "' maximizes: expected one that minimizes, as trials here do");
  }
  if (found->description.is_null()) {  // new, or killed before that was written
    if (!found->trials.empty()) {
      throw Error("journal", file.lines.path(), ": the study '", file.name,
                  "' was written by another program: expected a new one, or one of this library");
    }
    JournalJson event = journal_event(JournalOperation::set_study_user_attr);
    event["study_id"] = *file.current;
    event["user_attr"] = {{"taper", description}};
    file.append({std::move(event)});
  } else if (found->description != description) {
    std::string what;
    const auto differs = [&](const std::string& key) { what += (what.empty() ? "" : ", ") + key; };
    for (const auto& [key, value] : description.items()) {
      if (key == "note") continue;
      if (!found->description.contains(key) || found->description[key] != value) differs(key);
    }
    for (const auto& [key, value] : found->description.items()) {
      if (key != "note" && !description.contains(key)) differs(key);
    }
    const std::string note = found->description.value("note", std::string());
    if (note != study.note) {
      differs("note, which says what trials depend on besides, '" + note + "' and not '" + study.note + "'");
    }
    throw Error("journal", file.lines.path(), ": the study '", file.name, "' differs in its ", what,
                ": expected the same study, or another name or file");
  }

  std::vector<Trial> result;
  file.ids.clear();
  for (const std::size_t id : file.study().trials) {
    const JournalReplay::Entry& entry = file.replay.entries[id];
    // What others run is theirs; once it has ended, it is a trial like all.
    if (!entry.is_ours && !entry.is_finished()) continue;
    const auto number = static_cast<Index>(file.ids.size());
    file.ids.push_back(id);
    std::vector<double> point;
    Trial trial;
    for (const SearchDimension& dimension : study.space.dimensions()) {
      const JournalJson& params = entry.params;
      const bool is_there = params.contains(dimension.name) && params[dimension.name].is_number();
      point.push_back(is_there ? params[dimension.name].get<double>() : std::nan(""));
    }
    try {
      study.space.check(point);
      trial = entry.trial();
    } catch (const Error& error) {
      throw Error("journal", file.lines.path(), ": in trial ", number, " of the study '", file.name, "', ",
                  error.given(), ": expected ", error.expected());
    }
    if (trial.state == Trial::State::complete && trial.result.objectives.size() != objectives) {
      throw Error("journal", file.lines.path(), ": trial ", number, " has ", trial.result.objectives.size(),
                  " objectives: expected ", objectives);
    }
    // One that was cut off is begun again: its attributes and reports are written anew.
    if (!trial.is_finished()) trial = {};
    trial.number = number;
    trial.point = std::move(point);
    result.push_back(std::move(trial));
  }
  return result;
}

void Journal::started(const Trial& trial) {
  File& file = *file_;
  if (trial.number != static_cast<Index>(file.ids.size())) {
    throw Error("journal", "trial ", trial.number, " starts after ", file.ids.size(), ": expected the next");
  }
  JournalJson params = JournalJson::object(), distributions = JournalJson::object();
  const auto& dimensions = file.space.value().dimensions();
  for (std::size_t k = 0; k < dimensions.size(); ++k) {
    params[dimensions[k].name] = trial.point[k];
    distributions[dimensions[k].name] = distribution_text(dimensions[k]);
  }
  JournalJson event = journal_event(JournalOperation::create_trial);
  event["study_id"] = file.current.value();
  event.update({{"datetime_start", journal_timestamp()},
                {"state", state_code(Trial::State::running)},
                {"value", nullptr},
                {"values", nullptr},
                {"distributions", distributions},
                {"params", params},
                {"user_attrs", JournalJson::object()},
                {"system_attrs", JournalJson::object()},
                {"intermediate_values", JournalJson::object()}});
  file.append({std::move(event)});
  file.ids.push_back(file.replay.entries.size() - 1);
}

void Journal::reported(const Trial& trial) {
  const auto& [step, value] = trial.reports.back();
  JournalJson event = file_->event_of(trial, JournalOperation::set_trial_intermediate_value);
  event["step"] = step;
  event["intermediate_value"] = value;
  file_->append({std::move(event)});
}

void Journal::finished(const Trial& trial) {
  File& file = *file_;
  std::vector<JournalJson> events;
  const auto attribute = [&](const std::string& name, const JournalJson& value) {
    events.push_back(file.event_of(trial, JournalOperation::set_trial_user_attr));
    events.back()["user_attr"] = {{name, value}};
  };
  for (const auto& [name, figure] : trial.result.figures) attribute(name, attribute_of(figure));
  attribute("epochs", trial.epochs);
  attribute("seconds", trial.seconds);
  attribute("study_seconds", trial.study_seconds);
  if (!trial.message.empty()) attribute("message", trial.message);
  if (!trial.result.constraints.empty()) {
    events.push_back(file.event_of(trial, JournalOperation::set_trial_system_attr));
    events.back()["system_attr"] = {{"constraints", trial.result.constraints}};
  }
  JournalJson values;
  if (!trial.result.objectives.empty()) values = trial.result.objectives;
  events.push_back(file.event_of(trial, JournalOperation::set_trial_state_values));
  events.back()["state"] = state_code(trial.state);
  events.back()["values"] = values;
  events.back()["datetime_complete"] = journal_timestamp();
  file.append(std::move(events));
}

}  // namespace taper::io
