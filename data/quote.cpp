#include <taper/data/quote.hpp>

#include <algorithm>
#include <cstddef>

namespace taper::data {
namespace {

constexpr std::size_t most_bytes = 40;
constexpr std::size_t most_names = 10;

/// Where to cut a long text so that no UTF-8 character is split: at most three bytes back.
std::size_t cut(std::string_view text) {
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  std::size_t at = most_bytes;
  while (at + 3 > most_bytes && continues(at)) --at;
  return at;
}

/// How many bytes the character in front of `text` has; 0 if it is none (Unicode 15.0, table 3-7).
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
  };
  const auto within = [&](std::size_t at, unsigned low, unsigned high) {
    return byte(at) >= low && byte(at) <= high;
  };
  const auto continues = [&](std::size_t at) { return within(at, 0x80, 0xbf); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {  // neither longer than need be nor half of a pair of UTF-16
    const bool second = within(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool second = within(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
    return second && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t size = character(text);
    result += size > 0 ? text.substr(0, size) : "\xef\xbf\xbd";
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return result;
}

std::string quote(std::string_view text) {
  const bool is_long = text.size() > most_bytes;
  std::string shown = "\"";
  for (const char c : valid_utf8(text.substr(0, is_long ? cut(text) : text.size()))) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      shown += c;
    } else {
      constexpr char digits[] = "0123456789abcdef";
      shown += {'\\', 'x', digits[c / 16], digits[c % 16]};
    }
  }
  return shown + (is_long ? "...\"" : "\"");
}

std::string quote_some(std::span<const std::string> names) {
  std::string shown;
  for (std::size_t k = 0; k < std::min(names.size(), most_names); ++k) {
    shown += (k == 0 ? "" : ", ") + quote(names[k]);
  }
  if (names.size() > most_names) shown += ", ... (" + std::to_string(names.size()) + " in all)";
  return shown;
}

}  // namespace taper::data
