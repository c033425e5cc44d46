#include <taper/data/csv.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>
#include <taper/data/quote.hpp>

namespace taper::data {
namespace {

/// Not so for what a number can hold (is "1.5" one cell or two?), for quotes, and for control characters
/// other than tab.
bool can_separate(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < ' ' ? c == '\t' : std::isalnum(byte) == 0 && std::strchr("+-.\"", c) == nullptr;
}

bool is_line_break(char c) {
  return c == '\n' || c == '\r';
}

/// Number of lines that end within `text`: CRLF is one line break, not two.
Index line_breaks(std::string_view text) {
  Index count = std::ranges::count(text, '\n');
  for (std::size_t at = text.find('\r'); at != text.npos; at = text.find('\r', at + 1)) {
    if (at + 1 == text.size() || text[at + 1] != '\n') ++count;
  }
  return count;
}

/// Reads numbers like 485 or -122.050000 into `value` and returns where they end; `first` when there is none
/// or it has more than 15 digits. Up to there the digits and the power of ten are both exact doubles, so that
/// one division rounds correctly (Clinger, "How to read floating point numbers accurately", 1990, section 4).
const char* short_decimal(const char* first, const char* last, double& value) {
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
  if (at != last && *at == '.') {
    ++at;
    decimals = read_digits();
    count += decimals;
  }
  if (count == 0 || count > most_digits) return first;
  value = static_cast<double>(digits) / powers[decimals];
  if (negative) value = -value;
  return at;
}

bool begins_with_number(std::string_view text) {
  double value;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{} &&
         std::isfinite(value);
}

/// Walks over a text cell by cell and knows nothing of columns.
class Scanner {
 public:
  Scanner(std::string_view text, char separator, std::string_view source)
      : at_(text.data()), end_(text.data() + text.size()), separator_(separator), source_(source) {}

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
    const char* stop = short_decimal(at_, end_, value);
    if (stop == at_ || !ends_cell(stop)) {
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
  bool ends_cell(const char* at) const { return at == end_ || *at == separator_ || is_line_break(*at); }
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != separator_; }

  void skip_blanks() {
    while (at_ != end_ && is_blank(*at_)) ++at_;
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
    more_ = at_ != end_ && *at_ == separator_;
    if (at_ == end_) return;
    if (!more_) {
      ++line_;
      if (*at_ == '\r' && at_ + 1 != end_ && at_[1] == '\n') ++at_;
    }
    ++at_;
  }

  const char* at_;
  const char* end_;
  char separator_;
  std::string_view source_;
  bool more_ = false;
  Index line_ = 1;
  std::string unquoted_;
};

/// Turns cells into the columns of a table.
class Reader {
 public:
  Reader(std::string_view text, const CsvOptions& options, std::string_view source)
      : options_(options), source_(source), scanner_(text, options.separator, source) {
    if (scanner_.blank()) throw Error("read_csv", source_, ": line 1 is blank: expected cells");
    if (options.header) {
      read_names(scanner_);
    } else {
      Scanner ahead = scanner_;
      read_names(ahead);
      for (std::size_t k = 0; k < columns_.size(); ++k) columns_[k].name = name_by_position(k);
    }
    check_names();
    find_categorical();
    numbers_can_be_missing_ = std::ranges::any_of(options.missing_words, begins_with_number);

    // A row takes at least one byte per cell, so that the guess is never far above the size of the text.
    const auto lines = static_cast<std::size_t>(line_breaks(text)) + 1;
    const std::size_t rows = std::min(lines, text.size() / columns_.size() + 1);
    for (Column& column : columns_) column.values.reserve(rows);
  }

  Table read() {
    if (scanner_.done()) {
      throw Error("read_csv", source_, " has a header and no rows: expected at least one row");
    }
    while (!scanner_.done()) read_row();
    Table table{std::move(columns_)};
    if (options_.missing == Missing::drop_row) {
      drop_missing_rows(table);
      if (table.rows() == 0) throw Error("read_csv", source_, " has a missing cell in every row");
    }
    return table;
  }

 private:
  static std::string name_by_position(std::size_t k) { return "V" + std::to_string(k + 1); }

  void read_names(Scanner& scanner) {
    do {
      std::string name(scanner.cell());
      if (name.empty()) name = name_by_position(columns_.size());
      columns_.push_back({std::move(name), {}, {}});
    } while (scanner.more());
  }

  void check_names() const {
    std::set<std::string_view> seen;
    for (const Column& column : columns_) {
      if (!seen.insert(column.name).second) {
        throw Error("read_csv", source_, " has two columns ", quote(column.name),
                    ": expected distinct names (if line 1 holds data, set header to false)");
      }
    }
  }

  void find_categorical() {
    positions_.resize(columns_.size());
    categorical_.resize(columns_.size());
    for (const std::string& name : options_.categorical) {
      const auto found = std::ranges::find(columns_, name, &Column::name);
      if (found == columns_.end()) {
        std::vector<std::string> names;
        for (const Column& column : columns_) names.push_back(column.name);
        throw Error("read_csv", source_, " has no column ", quote(name),
                    " to read as labels: expected one of ", quote_some(names));
      }
      categorical_[static_cast<std::size_t>(found - columns_.begin())] = true;
    }
  }

  void read_row() {
    const Index line = scanner_.line();
    if (scanner_.blank() && columns_.size() > 1) {
      throw Error("read_csv", source_, ": line ", line, " is blank: expected ", columns_.size(), " cells");
    }
    std::size_t cells = 0;
    do {
      if (cells < columns_.size()) {
        columns_[cells].values.push_back(categorical_[cells] ? read_label(cells) : read_number(cells));
      } else {
        scanner_.cell();
      }
      ++cells;
    } while (scanner_.more());
    if (cells != columns_.size()) {
      throw Error("read_csv", source_, ": line ", line, " has ", cells, cells == 1 ? " cell" : " cells",
                  ": expected ", columns_.size());
    }
  }

  double read_number(std::size_t k) {
    double value;
    if (!numbers_can_be_missing_ && scanner_.number(value)) return value;

    const Index line = scanner_.line();
    const std::string_view cell = scanner_.cell();
    if (is_missing(cell)) return missing(line, k);
    std::string_view digits = cell;
    if (digits.starts_with('+') && !digits.starts_with("+-"))
      digits.remove_prefix(1);  // from_chars takes none
    const char* const end = digits.data() + digits.size();
    const auto [stop, problem] = std::from_chars(digits.data(), end, value);
    if (stop != end || problem == std::errc::invalid_argument) {
      throw Error("read_csv", source_, ": ", quote(cell), place(line, k),
                  " is not a number: expected one (or name the column in categorical)");
    }
    if (problem == std::errc::result_out_of_range || !std::isfinite(value)) {
      throw Error("read_csv", source_, ": ", quote(cell), place(line, k),
                  ": expected a finite number in the range of double");
    }
    return value;
  }

  double read_label(std::size_t k) {
    const Index line = scanner_.line();
    const std::string_view cell = scanner_.cell();
    if (is_missing(cell)) return missing(line, k);
    auto found = positions_[k].find(cell);
    if (found == positions_[k].end()) {
      found = positions_[k].emplace(cell, static_cast<double>(positions_[k].size())).first;
      columns_[k].labels.emplace_back(cell);
    }
    return found->second;
  }

  bool is_missing(std::string_view cell) const {
    return std::ranges::find(options_.missing_words, cell) != options_.missing_words.end();
  }

  double missing(Index line, std::size_t k) const {
    if (options_.missing == Missing::refuse) {
      throw Error("read_csv", source_, ": missing cell", place(line, k),
                  ": expected a value (Missing::keep reads it as NaN, Missing::drop_row leaves its row out)");
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  std::string place(Index line, std::size_t k) const {
    return " on line " + std::to_string(line) + ", column " + quote(columns_[k].name);
  }

  const CsvOptions& options_;
  std::string_view source_;
  Scanner scanner_;
  bool numbers_can_be_missing_ = false;  // then the fast way would miss a word like -99
  std::vector<Column> columns_;
  std::vector<char> categorical_;                                      // by column
  std::vector<std::map<std::string, double, std::less<>>> positions_;  // of the labels, by column
};

}  // namespace

Table parse_csv(std::string_view text, const CsvOptions& options, std::string_view source) {
  if (!can_separate(options.separator)) {
    throw Error("read_csv", "separator ", quote({&options.separator, 1}),
                ": expected a character that is no part of numbers, quotes or line breaks");
  }
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    throw Error("read_csv", source, " is UTF-16: expected UTF-8");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty() && is_line_break(text.back())) text.remove_suffix(1);
  if (text.empty())
    throw Error("read_csv", source, " is empty: expected ", options.header ? "a header and " : "", "rows");
  return Reader(text, options, source).read();
}

Table read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  return parse_csv(read_file(path, "read_csv"), options, path.string());
}

}  // namespace taper::data
