#include <taper/data/quote.hpp>

#include <algorithm>
#include <cstddef>

namespace taper::data {
namespace {

constexpr std::size_t most_bytes = 40;
constexpr std::size_t most_names = 10;

/// Where to cut a long text so that no UTF-8 character is split: at most three bytes back.
std::size_t cut(std::string_view text) {
  std::size_t at = most_bytes;
  while (at + 3 > most_bytes && continues_character(text[at])) --at;
  return at;
}

}  // namespace

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
