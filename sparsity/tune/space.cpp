#include <taper/sparsity/tune/space.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

#include <taper/autodiff/error.hpp>

namespace taper::sparsity {
namespace {

constexpr const char* in_space = "tune";

void check_dimension(const SearchDimension& dimension) {
  const std::string& name = dimension.name;
  if (name.empty()) throw Error(in_space, "a setting without a name: expected one");
  if (dimension.kind == SearchDimension::Kind::categorical) {
    if (dimension.choices.empty()) throw Error(in_space, "no choices for ", name, ": expected one at least");
    for (std::size_t k = 0; k < dimension.choices.size(); ++k) {
      if (std::find(dimension.choices.begin(), dimension.choices.begin() + static_cast<std::ptrdiff_t>(k),
                    dimension.choices[k]) != dimension.choices.begin() + static_cast<std::ptrdiff_t>(k)) {
        throw Error(in_space, "the choice ", dimension.choices[k], " of ", name,
                    " occurs twice: expected different ones");
      }
    }
    return;
  }
  const double low = dimension.low, high = dimension.high;
  // The width counts, too.
  if (!std::isfinite(low) || !std::isfinite(high) || low > high || !std::isfinite(high - low)) {
    throw Error(in_space, name, " from ", low, " to ", high, ": expected a range of finite numbers");
  }
  if (dimension.is_log() && low <= 0) {
    throw Error(in_space, name, " from ", low, " on a logarithmic scale: expected a range above 0");
  }
  if (dimension.is_integer() && (low != std::floor(low) || high != std::floor(high))) {
    throw Error(in_space, name, " from ", low, " to ", high, ": expected whole numbers");
  }
  constexpr double most = 9007199254740992.0;  // 2^53, up to which double has each of them
  if (dimension.is_integer() && (low < -most || high > most)) {
    throw Error(in_space, name, " from ", low, " to ", high, ": expected whole numbers of at most 2^53");
  }
}

}  // namespace

SearchDimension SearchDimension::uniform(std::string name, double low, double high) {
  return {std::move(name), Kind::uniform, low, high};
}
SearchDimension SearchDimension::log_uniform(std::string name, double low, double high) {
  return {std::move(name), Kind::log_uniform, low, high};
}
SearchDimension SearchDimension::integer(std::string name, Index low, Index high) {
  return {std::move(name), Kind::integer, static_cast<double>(low), static_cast<double>(high)};
}
SearchDimension SearchDimension::log_integer(std::string name, Index low, Index high) {
  return {std::move(name), Kind::log_integer, static_cast<double>(low), static_cast<double>(high)};
}
SearchDimension SearchDimension::categorical(std::string name, std::vector<std::string> choices) {
  const double last = static_cast<double>(choices.size()) - 1;
  return {std::move(name), Kind::categorical, 0, last, std::move(choices)};
}

bool SearchDimension::holds(double value) const {
  if (!(value >= low && value <= high)) return false;  // NaN among them
  return (!is_integer() && kind != Kind::categorical) || value == std::floor(value);
}

const TrialSettings::Setting* TrialSettings::find(std::string_view name) const {
  const auto found = std::ranges::find(settings_, name, &Setting::name);
  return found == settings_.end() ? nullptr : &*found;
}

TrialSettings::Setting& TrialSettings::at(const std::string& name) {
  const auto found = std::ranges::find(settings_, name, &Setting::name);
  return found == settings_.end() ? settings_.emplace_back(Setting{name}) : *found;
}

bool TrialSettings::has(std::string_view name) const {
  return find(name) != nullptr;
}

double TrialSettings::number(std::string_view name, double fallback) const {
  const Setting* const setting = find(name);
  if (setting == nullptr) return fallback;
  if (!setting->is_word) return setting->number;
  const char* const end = setting->word.data() + setting->word.size();
  double value = 0;
  const auto [stop, error] = std::from_chars(setting->word.data(), end, value);
  if (error == std::errc() && stop == end && std::isfinite(value)) return value;
  throw Error(in_space, name, " is '", setting->word, "': expected a number");
}

Index TrialSettings::integer(std::string_view name, Index fallback) const {
  const double value = number(name, static_cast<double>(fallback));
  if (value == std::floor(value) && std::abs(value) <= 1e15) return static_cast<Index>(value);
  throw Error(in_space, name, " is ", value, ": expected a whole number");
}

std::string TrialSettings::word(std::string_view name, const std::string& fallback) const {
  const Setting* const setting = find(name);
  if (setting == nullptr) return fallback;
  if (setting->is_word) return setting->word;
  throw Error(in_space, name, " is ", setting->number, ": expected a word");
}

void TrialSettings::set(const std::string& name, double value) {
  at(name) = {name, value};
}
void TrialSettings::set(const std::string& name, const std::string& word) {
  at(name) = {name, 0, word, true};
}

SearchSpace::SearchSpace(std::vector<SearchDimension> dimensions) : dimensions_(std::move(dimensions)) {
  for (auto at = dimensions_.begin(); at != dimensions_.end(); ++at) {
    check_dimension(*at);
    if (std::find_if(dimensions_.begin(), at, [&](const auto& other) { return other.name == at->name; }) !=
        at) {
      throw Error(in_space, at->name, " occurs twice: expected different settings");
    }
  }
}

void SearchSpace::check(const std::vector<double>& point) const {
  if (point.size() != size()) {
    throw Error(in_space, "a point of ", point.size(), " settings: expected ", size());
  }
  for (std::size_t k = 0; k < size(); ++k) {
    const SearchDimension& dimension = dimensions_[k];
    if (dimension.holds(point[k])) continue;
    throw Error(in_space, dimension.name, " is ", point[k], ": expected a value from ", dimension.low, " to ",
                dimension.high);
  }
}

TrialSettings SearchSpace::settings(const std::vector<double>& point) const {
  check(point);
  TrialSettings result;
  for (std::size_t k = 0; k < size(); ++k) {
    const SearchDimension& dimension = dimensions_[k];
    if (dimension.kind == SearchDimension::Kind::categorical) {
      result.set(dimension.name, dimension.choices[static_cast<std::size_t>(point[k])]);
    } else {
      result.set(dimension.name, point[k]);
    }
  }
  return result;
}

}  // namespace taper::sparsity
