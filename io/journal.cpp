#include <taper/io/journal.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>

#include <taper/autodiff/error.hpp>

namespace taper::io {
namespace {

using JournalJson = nlohmann::ordered_json;
using sparsity::SearchDimension;
using sparsity::StudyDescription;
using sparsity::Trial;

constexpr const char* in_journal = "journal";

/// optuna/storages/journal/_storage.py, JournalOperation.
enum Operation {
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

/// optuna/trial/_state.py, TrialState.
int state_code(Trial::State state) {
  switch (state) {
    case Trial::State::running:
      return 0;
    case Trial::State::complete:
      return 1;
    case Trial::State::pruned:
      return 2;
    case Trial::State::failed:
      break;
  }
  return 3;
}

Trial::State state_of(int code) {
  switch (code) {
    case 1:
      return Trial::State::complete;
    case 2:
      return Trial::State::pruned;
    case 3:
      return Trial::State::failed;
    default:
      return Trial::State::running;  // or waiting
  }
}

/// Now, in UTC, as Python's isoformat has it.
std::string timestamp() {
  using namespace std::chrono;
  const auto now = system_clock::now();
  const std::time_t seconds = system_clock::to_time_t(now);
  const auto micros = duration_cast<microseconds>(now.time_since_epoch()).count() % 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(micros));
  return text;
}

/// A distribution as optuna.distributions has it; the text stands inside of the line as a text.
std::string distribution_text(const SearchDimension& dimension) {
  JournalJson attributes;
  const char* name = "FloatDistribution";
  if (dimension.kind == SearchDimension::Kind::categorical) {
    name = "CategoricalDistribution";
    attributes = {{"choices", dimension.choices}};
  } else if (dimension.is_integer()) {
    name = "IntDistribution";
    attributes = {{"log", dimension.is_log()},
                  {"step", 1},
                  {"low", static_cast<long long>(dimension.low)},
                  {"high", static_cast<long long>(dimension.high)}};
  } else {
    attributes = {
        {"step", nullptr}, {"low", dimension.low}, {"high", dimension.high}, {"log", dimension.is_log()}};
  }
  return JournalJson{{"name", name}, {"attributes", attributes}}.dump();
}

const char* name_of(sparsity::Sampler sampler) {
  switch (sampler) {
    case sparsity::Sampler::random:
      return "random";
    case sparsity::Sampler::tpe:
      return "tpe";
    case sparsity::Sampler::grid:
      break;
  }
  return "grid";
}

/// What tells one study from another.
JournalJson description_of(const StudyDescription& study) {
  JournalJson space = JournalJson::array();
  for (const SearchDimension& dimension : study.space.dimensions()) {
    space.push_back({dimension.name, distribution_text(dimension)});
  }
  JournalJson result{{"version", 1},       {"space", space},         {"sampler", name_of(study.sampler)},
                     {"seed", study.seed}, {"epochs", study.epochs}, {"wave", study.wave}};
  if (study.halving) result["halving"] = {study.halving->first, study.halving->factor};
  if (!study.note.empty()) result["note"] = study.note;
  return result;
}

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

JournalJson attribute_of(const std::vector<double>& figure) {
  return figure.size() == 1 ? JournalJson(figure.front()) : JournalJson(figure);
}

}  // namespace

/// The file, what it holds of all studies, and the study that is written.
struct Journal::File {
  File(const std::string& file_path, std::string study_name);
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// A trial in the file, whichever study it belongs to.
  struct Entry {
    Index study = 0;
    Trial trial;
    JournalJson params = JournalJson::object();
  };
  struct StudyEntry {
    std::string name;
    std::size_t objectives = 1;
    JournalJson description;
    bool is_deleted = false;
    std::vector<std::size_t> trials;
  };

  void read();
  void apply(const JournalJson& event);
  void append(JournalJson event);
  void set_attribute(std::size_t id, const std::string& name, const JournalJson& value);
  [[noreturn]] void fail(const char* what, int code) const {
    throw Error(in_journal, path, ' ', what, ": ", std::generic_category().message(code));
  }
  [[noreturn]] void fail_line(Index line) const {
    throw Error(in_journal, path, ", line ", line,
                " is not an event of a study: expected a line as Optuna's journal has them");
  }
  std::size_t id_of(const Trial& trial) const {
    const auto& ids = studies.at(current).trials;
    const auto number = static_cast<std::size_t>(trial.number);
    if (number >= ids.size()) {
      throw Error(in_journal, "trial ", trial.number, " of ", ids.size(), ": expected one that has started");
    }
    return ids[number];
  }

  std::string path, name, worker;
  int descriptor = -1;
  std::vector<StudyEntry> studies;  // by Optuna's id
  std::vector<Entry> entries;       // the same
  std::size_t current = 0;          // the study that is written
  std::optional<sparsity::SearchSpace> space;
};

Journal::File::File(const std::string& file_path, std::string study_name)
    : path(file_path), name(std::move(study_name)) {
  // A pipe or a device would keep us waiting, or take lines and give none.
  struct stat found {};
  if (stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
    throw Error(in_journal, path, " is not a regular file: expected the name of one");
  }
  descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot be opened", errno);
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    close(descriptor);
    descriptor = -1;
    if (code != EWOULDBLOCK) fail("cannot be locked", code);
    throw Error(in_journal, path, " is written by another program: expected one at a time");
  }
  char host[64] = "host";
  gethostname(host, sizeof host - 1);
  worker = std::string("taper-") + host + '-' + std::to_string(getpid());
  try {
    read();
  } catch (...) {  // no destructor runs
    close(descriptor);
    throw;
  }
}

void Journal::File::read() {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot be read", errno);
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  std::size_t begin = 0;
  for (Index line = 1; begin < text.size(); ++line) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) {  // a line that was not finished
      // All of a file that is not ours may be such a line.
      const std::string_view opening = "{\"op_code\"", rest = std::string_view(text).substr(begin);
      if (line == 1 && rest.substr(0, opening.size()) != opening.substr(0, rest.size())) fail_line(line);
      if (ftruncate(descriptor, static_cast<off_t>(begin)) != 0) fail("cannot be written", errno);
      break;
    }
    try {
      apply(JournalJson::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                               text.begin() + static_cast<std::ptrdiff_t>(end)));
    } catch (const nlohmann::json::exception&) {
      fail_line(line);
    }
    begin = end + 1;
  }
}

// As JournalStorageReplayResult.apply_logs does: events of studies and trials that are not there, or have
// ended, are passed over.
void Journal::File::apply(const JournalJson& event) {
  const int operation = event.at("op_code").get<int>();
  const auto study_at = [&]() -> StudyEntry* {
    const auto id = id_in(event, "study_id");
    return id < studies.size() && !studies[id].is_deleted ? &studies[id] : nullptr;
  };
  const auto entry_at = [&]() -> Entry* {
    const auto id = id_in(event, "trial_id");
    return id < entries.size() && !entries[id].trial.is_finished() ? &entries[id] : nullptr;
  };
  switch (operation) {
    case create_study: {
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
    case delete_study:
      if (StudyEntry* const study = study_at()) study->is_deleted = true;
      break;
    case set_study_user_attr:
      if (StudyEntry* const study = study_at()) {
        const JournalJson& attribute = event.at("user_attr");
        if (attribute.contains("taper")) study->description = attribute.at("taper");
      }
      break;
    case create_trial: {
      StudyEntry* const study = study_at();
      if (study == nullptr) break;
      Entry entry;
      entry.study = study - studies.data();
      entry.trial.number = static_cast<Index>(study->trials.size());
      if (event.contains("params")) entry.params = event.at("params");
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
    case set_trial_param:
      if (Entry* const entry = entry_at()) {
        entry->params[event.at("param_name").get<std::string>()] = event.at("param_value_internal");
      }
      break;
    case set_trial_state_values:
      if (Entry* const entry = entry_at()) {
        const JournalJson& values = event.at("values");
        if (!values.is_null()) entry->trial.result.objectives = values.get<std::vector<double>>();
        entry->trial.state = state_of(event.at("state").get<int>());
      }
      break;
    case set_trial_intermediate_value:
      if (Entry* const entry = entry_at()) {
        put(entry->trial.reports, event.at("step").get<Index>(),
            event.at("intermediate_value").get<double>());
      }
      break;
    case set_trial_user_attr:
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
    case set_trial_system_attr:
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

void Journal::File::append(JournalJson event) {
  event["worker_id"] = worker;
  const std::string line = event.dump(-1, ' ', true, JournalJson::error_handler_t::replace) + '\n';
  // In one call: with O_APPEND, it stands behind whatever others have written.
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t count = write(descriptor, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot be written", errno);
    written += static_cast<std::size_t>(count);
  }
  if (fsync(descriptor) != 0) fail("cannot be written", errno);
  apply(event);
}

void Journal::File::set_attribute(std::size_t id, const std::string& attribute, const JournalJson& value) {
  append({{"op_code", set_trial_user_attr}, {"trial_id", id}, {"user_attr", {{attribute, value}}}});
}

Journal::Journal(const std::string& path, std::string study)
    : file_(std::make_unique<File>(path, std::move(study))) {}
Journal::Journal(Journal&&) noexcept = default;
Journal::~Journal() = default;

std::vector<Trial> Journal::begin(const StudyDescription& study) {
  File& file = *file_;
  const JournalJson description = description_of(study);
  const auto objectives = static_cast<std::size_t>(study.objectives);
  const auto is_it = [&](const File::StudyEntry& entry) {
    return entry.name == file.name && !entry.is_deleted;
  };
  auto found = std::ranges::find_if(file.studies, is_it);
  if (found == file.studies.end()) {
    file.append({{"op_code", create_study},
                 {"study_name", file.name},
                 {"directions", std::vector<int>(objectives, 1)}});  // to minimize
    found = std::ranges::find_if(file.studies, is_it);
  }
  file.current = static_cast<std::size_t>(found - file.studies.begin());
  file.space = study.space;
  if (found->objectives != objectives) {
    throw Error(in_journal, file.path, ": the study '", file.name, "' has ", found->objectives,
                " objectives: expected ", objectives);
  }
  if (found->description.is_null()) {  // new, or killed before that was written
    if (!found->trials.empty()) {
      throw Error(in_journal, file.path, ": the study '", file.name,
                  "' was written by another program: expected a new one, or one of this library");
    }
    file.append({{"op_code", set_study_user_attr},
                 {"study_id", file.current},
                 {"user_attr", {{"taper", description}}}});
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
    throw Error(in_journal, file.path, ": the study '", file.name, "' differs in its ", what,
                ": expected the same study, or another name or file");
  }

  std::vector<Trial> result;
  for (const std::size_t id : file.studies[file.current].trials) {
    Trial trial = file.entries[id].trial;
    for (const SearchDimension& dimension : study.space.dimensions()) {
      const JournalJson& params = file.entries[id].params;
      const bool is_there = params.contains(dimension.name) && params[dimension.name].is_number();
      trial.point.push_back(is_there ? params[dimension.name].get<double>() : std::nan(""));
    }
    try {
      study.space.check(trial.point);
    } catch (const Error& error) {
      throw Error(in_journal, file.path, ": in trial ", trial.number, " of the study '", file.name, "', ",
                  error.given(), ": expected ", error.expected());
    }
    if (trial.state == Trial::State::complete && trial.result.objectives.size() != objectives) {
      throw Error(in_journal, file.path, ": trial ", trial.number, " has ", trial.result.objectives.size(),
                  " objectives: expected ", objectives);
    }
    // One that was cut off is begun again: its attributes and reports are written anew.
    if (!trial.is_finished()) trial = {.number = trial.number, .point = trial.point};
    result.push_back(std::move(trial));
  }
  return result;
}

void Journal::started(const Trial& trial) {
  File& file = *file_;
  JournalJson params = JournalJson::object(), distributions = JournalJson::object();
  const auto& dimensions = file.space.value().dimensions();
  for (std::size_t k = 0; k < dimensions.size(); ++k) {
    params[dimensions[k].name] = trial.point[k];
    distributions[dimensions[k].name] = distribution_text(dimensions[k]);
  }
  file.append({{"op_code", create_trial},
               {"study_id", file.current},
               {"datetime_start", timestamp()},
               {"state", state_code(Trial::State::running)},
               {"value", nullptr},
               {"values", nullptr},
               {"distributions", distributions},
               {"params", params},
               {"user_attrs", JournalJson::object()},
               {"system_attrs", JournalJson::object()},
               {"intermediate_values", JournalJson::object()}});
}

void Journal::reported(const Trial& trial) {
  const auto& [step, value] = trial.reports.back();
  file_->append({{"op_code", set_trial_intermediate_value},
                 {"trial_id", file_->id_of(trial)},
                 {"step", step},
                 {"intermediate_value", value}});
}

void Journal::finished(const Trial& trial) {
  File& file = *file_;
  const std::size_t id = file.id_of(trial);
  for (const auto& [name, figure] : trial.result.figures) file.set_attribute(id, name, attribute_of(figure));
  file.set_attribute(id, "epochs", trial.epochs);
  file.set_attribute(id, "seconds", trial.seconds);
  file.set_attribute(id, "study_seconds", trial.study_seconds);
  if (!trial.message.empty()) file.set_attribute(id, "message", trial.message);
  if (!trial.result.constraints.empty()) {
    file.append({{"op_code", set_trial_system_attr},
                 {"trial_id", id},
                 {"system_attr", {{"constraints", trial.result.constraints}}}});
  }
  JournalJson values;
  if (!trial.result.objectives.empty()) values = trial.result.objectives;
  file.append({{"op_code", set_trial_state_values},
               {"trial_id", id},
               {"state", state_code(trial.state)},
               {"values", values},
               {"datetime_complete", timestamp()}});
}

}  // namespace taper::io
