#include <taper/io/journal_events.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace taper::io {

using sparsity::SearchDimension;
using sparsity::StudyDescription;
using sparsity::Trial;

namespace {

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

/// JSON's words for a line of Python's: a number that JSON has no word for is a text that begins with a zero
/// byte, which no text of anybody's does.
std::string json_text(std::string_view line) {
  std::string text;
  const auto copy = [&](std::size_t count) {
    text += line.substr(0, count);
    line.remove_prefix(std::min(count, line.size()));
  };
  // Python writes the halves as \ud800 to \udbff and \udc00 to \udfff.
  const auto is_half_at = [&](std::size_t at, std::string_view which) {
    return line.size() > at + 3 && line.substr(at, 3) == "\\ud" && which.find(line[at + 3]) != which.npos;
  };
  bool in_string = false;
  while (!line.empty()) {
    if (in_string && is_half_at(0, "89abcdef")) {
      if (is_half_at(0, "89ab") && is_half_at(6, "cdef")) {
        copy(12);
      } else {
        text += "\\ufffd";
        line.remove_prefix(std::min<std::size_t>(line.size(), 6));
      }
    } else if (in_string && line.front() == '\\') {
      copy(2);
    } else if (in_string || line.front() == '"') {
      in_string = in_string != (line.front() == '"');
      copy(1);
    } else {
      const std::size_t end = std::min(line.find_first_of("\"[]{}:, \t\r\n"), line.size());
      const std::string word(line.substr(0, end));
      char* stop = nullptr;
      if (!std::isfinite(std::strtod(word.c_str(), &stop)) && *stop == '\0') {
        text += "\"\\u0000" + word + '"';
        line.remove_prefix(end);
      } else {
        copy(std::max<std::size_t>(end, 1));
      }
    }
  }
  return text;
}

}  // namespace

JournalJson parse_event(std::string_view line) {
  JournalJson event = JournalJson::parse(line, nullptr, false);
  if (!event.is_discarded()) return event;
  const auto take = [](int, JournalJson::parse_event_t kind, JournalJson& value) {
    if (kind != JournalJson::parse_event_t::value || !value.is_string()) return true;
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > 1 && text.front() == '\0') value = std::strtod(text.c_str() + 1, nullptr);
    return true;
  };
  return JournalJson::parse(json_text(line), take);
}

JournalJson journal_event(JournalOperation operation) {
  return {{"op_code", static_cast<int>(operation)}};
}

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

std::string journal_timestamp() {
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

JournalJson description_of(const StudyDescription& study) {
  JournalJson space = JournalJson::array();
  for (const SearchDimension& dimension : study.space.dimensions()) {
    space.push_back({dimension.name, distribution_text(dimension)});
  }
  JournalJson result{{"version", 1},       {"space", space},         {"sampler", name_of(study.sampler)},
                     {"seed", study.seed}, {"epochs", study.epochs}, {"wave", study.wave}};
  const sparsity::TpeOptions usual;
  if (study.sampler == sparsity::Sampler::tpe &&
      (study.tpe.startup != usual.startup || study.tpe.candidates != usual.candidates)) {
    result["tpe"] = {study.tpe.startup, study.tpe.candidates};
  }
  if (study.halving) result["halving"] = {study.halving->first, study.halving->factor};
  if (!study.note.empty()) result["note"] = study.note;
  return result;
}

}  // namespace taper::io
