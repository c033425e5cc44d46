#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <taper/autodiff/shape.hpp>

namespace taper::data {

/// Whether a byte of UTF-8 goes on with a character that a byte before it began.
constexpr bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

/// Number of characters of a text in UTF-8.
inline Index characters(std::string_view text) {
  return static_cast<Index>(text.size()) - std::ranges::count_if(text, continues_character);
}

/// `text` as valid UTF-8: every byte that is no part of a character becomes U+FFFD, the replacement
/// character.
std::string valid_utf8(std::string_view text);

}  // namespace taper::data
