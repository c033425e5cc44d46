#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

/// How the readers read numbers.
namespace taper::data {

/// Reads numbers like 485 or -122.050000 into `value` and returns where they end; `first` when there is none
/// or it has more than 15 digits. Up to there the digits and the power of ten are both exact doubles, so that
/// one division rounds correctly (Clinger, "How to read floating point numbers accurately", 1990, section 4).
inline const char* short_decimal(const char* first, const char* last, double& value, char decimal = '.') {
  static constexpr double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  constexpr std::ptrdiff_t most_digits = 15;
  const char* at = first;
  std::uint64_t digits = 0;  // may wrap around in a longer number, which is then not used
  const auto read_digits = [&] {
    const char* const begin = at;
    for (; at != last && '0' <= *at && *at <= '9'; ++at) {
      digits = 10 * digits + static_cast<unsigned>(*at - '0');
    }
    return at - begin;
  };
  const bool negative = at != last && *at == '-';
  if (negative) ++at;
  std::ptrdiff_t count = read_digits();
  std::ptrdiff_t decimals = 0;
  if (at != last && *at == decimal) {
    ++at;
    decimals = read_digits();
    count += decimals;
  }
  if (count == 0 || count > most_digits) return first;
  value = static_cast<double>(digits) / powers[decimals];
  if (negative) value = -value;
  return at;
}

/// What a text is, as a number.
enum class NumberKind {
  finite,        ///< a decimal number in the range of double
  out_of_range,  ///< infinity, NaN, or a number too large or too small for double
  none,          ///< no number
};

/// Reads the whole of `text`, with one sign or none, an exponent or none, into `value`.
NumberKind parse_number(std::string_view text, double& value, char decimal = '.');

/// Whether the whole of `text` is a finite number.
inline bool is_number(std::string_view text, char decimal = '.') {
  double value;
  return parse_number(text, value, decimal) == NumberKind::finite;
}

/// The fewest characters that are read as this number again.
std::string number_text(double value);

}  // namespace taper::data
