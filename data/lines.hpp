#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <taper/autodiff/shape.hpp>

namespace taper::data {

inline bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/// `text` without blanks around it.
inline std::string_view strip(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Walks over the lines of a text, which end in LF, CRLF or CR, or with the text. A UTF-8 byte order mark in
/// front is skipped.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
  }

  /// Puts the next line, without blanks around it, into `line`; false when there is none.
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = std::min(rest_.find_first_of("\r\n"), rest_.size());
    line = strip(rest_.substr(0, end));
    rest_.remove_prefix(end);
    if (!rest_.empty()) rest_.remove_prefix(rest_.starts_with("\r\n") ? 2 : 1);
    ++number_;
    return true;
  }

  /// Of the line read last, from 1.
  Index number() const { return number_; }

 private:
  std::string_view rest_;
  Index number_ = 0;
};

}  // namespace taper::data
