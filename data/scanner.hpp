#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/shape.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {

inline bool is_line_break(char c) {
  return c == '\n' || c == '\r';
}

/// Number of lines that end within `text`: CRLF is one line break, not two.
inline Index line_breaks(std::string_view text) {
  Index count = std::ranges::count(text, '\n');
  for (std::size_t at = text.find('\r'); at != text.npos; at = text.find('\r', at + 1)) {
    if (at + 1 == text.size() || text[at + 1] != '\n') ++count;
  }
  return count;
}

/// Walks over a text cell by cell and knows nothing of columns. The separator ' ' stands for one or more
/// spaces or tabs. Errors come in the name of read_csv.
class Scanner {
 public:
  Scanner(std::string_view text, char separator, char decimal, std::string_view source)
      : at_(text.data()),
        end_(text.data() + text.size()),
        separator_(separator),
        blanks_(separator == ' '),
        decimal_(decimal),
        source_(source) {
    if (blanks_) skip_separators();
  }

  /// Whether everything is read. Asked between rows.
  bool done() const { return at_ == end_; }
  /// Whether the next line is empty. Asked between rows.
  bool blank() const { return is_line_break(*at_); }
  /// Whether the row goes on after the cell read last.
  bool more() const { return more_; }
  /// The line that the next cell is on.
  Index line() const { return line_; }

  /// The next cell, if it is nothing but a finite number. This is the fast way, and the usual one.
  bool number(double& value) {
    const char* stop = short_decimal(at_, end_, value, decimal_);
    if (stop == at_ || !ends_cell(stop)) {
      if (decimal_ != '.') return false;
      const auto [last, problem] = std::from_chars(at_, end_, value);
      if (problem != std::errc{} || !ends_cell(last) || !std::isfinite(value)) return false;
      stop = last;
    }
    at_ = stop;
    step();
    return true;
  }

  /// The next cell, whatever it is: without its quotes or the blanks around it. Lives until the next call.
  std::string_view cell() {
    skip_blanks();
    const std::string_view text = at_ != end_ && *at_ == '"' ? quoted() : plain();
    step();
    return text;
  }

 private:
  bool separates(char c) const { return c == separator_ || (blanks_ && c == '\t'); }
  bool ends_cell(const char* at) const { return at == end_ || separates(*at) || is_line_break(*at); }
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && !separates(c); }

  void skip_blanks() {
    while (at_ != end_ && is_blank(*at_)) ++at_;
  }
  void skip_separators() {
    while (at_ != end_ && separates(*at_)) ++at_;
  }

  std::string_view plain() {
    const char* const first = at_;
    while (!ends_cell(at_)) ++at_;
    const char* last = at_;
    while (last != first && is_blank(last[-1])) --last;
    return {first, last};
  }

  std::string_view quoted() {
    const Index first_line = line_;
    unquoted_.clear();
    do {
      ++at_;  // the opening quote, or the second one of a pair
      const auto* closing =
          static_cast<const char*>(std::memchr(at_, '"', static_cast<std::size_t>(end_ - at_)));
      if (closing == nullptr) {
        throw Error("read_csv", source_, ": the quote opened on line ", first_line, " never closes");
      }
      unquoted_.append(at_, closing + 1);  // with the closing quote, which is kept only where it is doubled
      at_ = closing + 1;
    } while (at_ != end_ && *at_ == '"');
    unquoted_.pop_back();
    line_ += line_breaks(unquoted_);
    skip_blanks();
    if (!ends_cell(at_)) {
      throw Error("read_csv", source_, ": text after the closing quote on line ", line_, ": expected ",
                  quote({&separator_, 1}), " or the end of the line");
    }
    return unquoted_;
  }

  /// Past what ended the cell: a separator, a line break, or the end of the text.
  void step() {
    more_ = !blanks_ && at_ != end_ && *at_ == separator_;
    if (more_) {
      ++at_;
      return;
    }
    if (blanks_) {
      skip_separators();
      more_ = at_ != end_ && !is_line_break(*at_);
    }
    if (more_ || at_ == end_) return;
    ++line_;
    if (*at_ == '\r' && at_ + 1 != end_ && at_[1] == '\n') ++at_;
    ++at_;
    if (blanks_) skip_separators();  // at the beginning of a line
  }

  const char* at_;
  const char* end_;
  char separator_;
  bool blanks_;
  char decimal_;
  std::string_view source_;
  bool more_ = false;
  Index line_ = 1;
  std::string unquoted_;
};

}  // namespace taper::data
