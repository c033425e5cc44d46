#include <taper/data/date.hpp>

#include <chrono>

namespace taper::data {
namespace {

/// Takes as many digits as there must be at least, and at most, from the front.
bool take_digits(std::string_view& text, std::size_t least, std::size_t most, int& value) {
  std::size_t count = 0;
  value = 0;
  for (; count < text.size() && count < most && '0' <= text[count] && text[count] <= '9'; ++count) {
    value = 10 * value + (text[count] - '0');
  }
  text.remove_prefix(count);
  return count >= least;
}

bool take_character(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

/// A time of day as a share of it.
bool take_time(std::string_view& text, double& share) {
  int hours, minutes, seconds = 0;
  double fraction = 0;
  if (!take_digits(text, 1, 2, hours) || !take_character(text, ':') || !take_digits(text, 2, 2, minutes)) {
    return false;
  }
  if (take_character(text, ':')) {
    if (!take_digits(text, 2, 2, seconds)) return false;
    if (take_character(text, '.')) {
      if (text.empty() || text.front() < '0' || text.front() > '9') return false;
      for (double digit = 0.1; !text.empty() && '0' <= text.front() && text.front() <= '9'; digit /= 10) {
        fraction += digit * (text.front() - '0');
        text.remove_prefix(1);
      }
    }
  }
  if (hours > 23 || minutes > 59 || seconds > 60) return false;  // 60 in a leap second
  share = (3600.0 * hours + 60.0 * minutes + seconds + fraction) / 86400;
  return true;
}

}  // namespace

bool parse_date(std::string_view text, double& days) {
  int year, month, day;
  const bool year_first = text.size() > 4 && (text[4] == '-' || text[4] == '/');
  if (year_first) {
    const char mark = text[4];
    if (!take_digits(text, 4, 4, year) || !take_character(text, mark) || !take_digits(text, 1, 2, month) ||
        !take_character(text, mark) || !take_digits(text, 1, 2, day)) {
      return false;
    }
  } else if (!take_digits(text, 1, 2, day) || !take_character(text, '.') || !take_digits(text, 1, 2, month) ||
             !take_character(text, '.') || !take_digits(text, 4, 4, year)) {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (year == 0 || !date.ok()) return false;
  double time = 0;
  if (!text.empty()) {
    if (!take_character(text, 'T')) {
      if (text.front() != ' ') return false;
      text.remove_prefix(text.find_first_not_of(' ') == text.npos ? text.size()
                                                                  : text.find_first_not_of(' '));
    }
    if (!take_time(text, time)) return false;
    take_character(text, 'Z');
  }
  days = static_cast<double>(std::chrono::sys_days(date).time_since_epoch().count()) + time;
  return text.empty();
}

}  // namespace taper::data
