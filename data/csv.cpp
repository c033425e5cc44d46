#include <taper/data/csv.hpp>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>
#include <taper/data/label_index.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/scanner.hpp>
#include <taper/data/within_memory.hpp>

namespace taper::data {
namespace {

/// Not so for what a number can hold (is "1.5" one cell or two?), for quotes, and for control characters
/// other than tab.
bool can_separate(char c, char decimal) {
  const auto byte = static_cast<unsigned char>(c);
  return c != decimal &&
         (byte < ' ' ? c == '\t' : std::isalnum(byte) == 0 && std::strchr("+-.\"", c) == nullptr);
}

bool begins_with_number(std::string_view text) {
  double value;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{} &&
         std::isfinite(value);
}

/// `text` without a byte order mark in front and line breaks at the end.
std::string_view trim(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty() && is_line_break(text.back())) text.remove_suffix(1);
  return text;
}

/// The numbers of cells in the first rows of a text; fewer rows where a quote is out of place.
std::vector<Index> cells_in_rows(std::string_view text, char separator) {
  constexpr std::size_t most_rows = 20;
  std::vector<Index> counts;
  Scanner scanner(text, separator, '.', "");
  try {
    while (!scanner.done() && counts.size() < most_rows) {
      Index count = 0;
      do {
        scanner.cell();
        ++count;
      } while (scanner.more());
      counts.push_back(count);
    }
  } catch (const Error&) {  // what is wrong with the text is for its reader to say
  }
  return counts;
}

/// Turns cells into the columns of a table.
class Reader {
 public:
  Reader(std::string_view text, const CsvOptions& options, char separator, std::string_view source)
      : options_(options), source_(source), scanner_(text, separator, options.decimal, source) {
    if (scanner_.done() || scanner_.blank())
      throw Error("read_csv", source_, ": line 1 is blank: expected cells");
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
    check_labels();
    Table table{std::move(columns_)};
    if (options_.missing == Missing::drop_row) {
      drop_missing_rows(table);
      if (table.rows() == 0) throw Error("read_csv", source_, " has a missing cell in every row");
    }
    return table;
  }

 private:
  /// What a column holds; `open` as long as only missing cells were seen.
  enum class Kind : char { numbers, open, labels, text };

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
                    ": expected distinct names (if line 1 holds data, the file has no header)");
      }
    }
  }

  void find_categorical() {
    positions_.resize(columns_.size());
    kinds_.assign(columns_.size(), options_.text ? Kind::open : Kind::numbers);
    for (const std::string& name : options_.categorical) {
      const auto found = std::ranges::find(columns_, name, &Column::name);
      if (found == columns_.end()) {
        std::vector<std::string> names;
        for (const Column& column : columns_) names.push_back(column.name);
        throw Error("read_csv", source_, " has no column ", quote(name),
                    " to read as labels: expected one of ", quote_some(names));
      }
      kinds_[static_cast<std::size_t>(found - columns_.begin())] = Kind::labels;
    }
    for (std::size_t k = 0; k < columns_.size() && options_.numeric; ++k) {
      const std::vector<std::string>& numeric = *options_.numeric;
      if (std::ranges::find(numeric, columns_[k].name) == numeric.end()) kinds_[k] = Kind::labels;
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
        const bool number = kinds_[cells] <= Kind::open;
        columns_[cells].values.push_back(number ? read_number(cells) : read_label(cells));
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
    if (!numbers_can_be_missing_ && scanner_.number(value)) {
      kinds_[k] = Kind::numbers;
      return value;
    }
    return read_other(k);
  }

  /// A cell that is not simply a number.
  double read_other(std::size_t k) {
    const Index line = scanner_.line();
    const std::string_view cell = scanner_.cell();
    if (is_missing(cell)) return missing(line, k);
    double value;
    const NumberKind kind = parse_number(cell, value, options_.decimal);
    if (kind == NumberKind::none) {
      const char* const other = options_.decimal == '.' ? "comma" : "point";
      if (options_.text && is_number(cell, options_.decimal == '.' ? ',' : '.')) {
        throw Error("read_csv", source_, ": ", quote(cell), place(line, k),
                    " is not a number: expected one (is the decimal mark a ", other, "?)");
      }
      if (kinds_[k] == Kind::open) {
        kinds_[k] = Kind::text;
        return positions_[k](cell, columns_[k].labels);
      }
      throw Error("read_csv", source_, ": ", quote(cell), place(line, k),
                  " is not a number: expected one (a column of labels is named as categorical)");
    }
    if (kind == NumberKind::out_of_range) {
      throw Error("read_csv", source_, ": ", quote(cell), place(line, k),
                  ": expected a finite number in the range of double");
    }
    kinds_[k] = Kind::numbers;
    return value;
  }

  double read_label(std::size_t k) {
    const Index line = scanner_.line();
    const std::string_view cell = scanner_.cell();
    return is_missing(cell) ? missing(line, k) : positions_[k](cell, columns_[k].labels);
  }

  /// A number among text is one or the other by mistake.
  void check_labels() const {
    for (std::size_t k = 0; k < columns_.size(); ++k) {
      if (kinds_[k] != Kind::text) continue;
      const auto number = std::ranges::find_if(
          columns_[k].labels, [&](const std::string& label) { return is_number(label, options_.decimal); });
      if (number == columns_[k].labels.end()) continue;
      throw Error("read_csv", source_, ": column ", quote(columns_[k].name), " holds ",
                  quote(columns_[k].labels.front()), " and ", quote(*number),
                  ": expected numbers, or text (a column of labels is named as categorical)");
    }
  }

  bool is_missing(std::string_view cell) const {
    return std::ranges::find(options_.missing_words, cell) != options_.missing_words.end();
  }

  double missing(Index line, std::size_t k) const {
    if (options_.missing == Missing::refuse) {
      throw Error("read_csv", source_, ": missing cell", place(line, k),
                  ": expected a value (missing cells can be kept, or their rows left out)");
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
  std::vector<Kind> kinds_;            // by column
  std::vector<LabelIndex> positions_;  // by column
};

}  // namespace

char find_separator(std::string_view text, char decimal) {
  text = trim(text);
  char best = decimal == ',' ? ';' : ',';
  std::size_t most = 0;
  for (const char separator : {'\t', ';', ',', ' '}) {
    if (separator == decimal) continue;
    const std::vector<Index> counts = cells_in_rows(text, separator);
    if (counts.empty() || counts.front() < 2) continue;
    const auto alike = static_cast<std::size_t>(std::ranges::count(counts, counts.front()));
    if (alike > most && 2 * alike >= counts.size()) best = separator, most = alike;
  }
  return best;
}

char find_decimal(std::string_view text, std::optional<char> separator) {
  constexpr Index most_lines = 200;
  text = trim(text);
  const char between = separator ? *separator : find_separator(text);
  if (between == ',') return '.';
  bool comma = false;
  Scanner scanner(text, between, '.', "");
  try {
    while (!scanner.done() && scanner.line() <= most_lines) {
      do {
        const std::string_view cell = scanner.cell();
        if (cell.find('.') != cell.npos && is_number(cell)) return '.';
        comma = comma || (cell.find(',') != cell.npos && is_number(cell, ','));
      } while (scanner.more());
    }
  } catch (const Error&) {  // what is wrong with the text is for its reader to say
  }
  return comma ? ',' : '.';
}

Table parse_csv(std::string_view text, const CsvOptions& options, std::string_view source) {
  if (options.decimal != '.' && options.decimal != ',') {
    throw Error("read_csv", "decimal mark ", quote({&options.decimal, 1}), ": expected \".\" or \",\"");
  }
  if (options.separator && !can_separate(*options.separator, options.decimal)) {
    throw Error("read_csv", "separator ", quote({&*options.separator, 1}),
                ": expected a character that is no part of numbers, quotes or line breaks");
  }
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    throw Error("read_csv", source, " is UTF-16: expected UTF-8");
  }
  text = trim(text);
  if (text.empty()) {
    throw Error("read_csv", source, " is empty: expected ", options.header ? "a header and " : "", "rows");
  }
  const char separator = options.separator ? *options.separator : find_separator(text, options.decimal);
  return within_memory([&] { return Reader(text, options, separator, source).read(); }, source, "read_csv");
}

Table read_csv(const std::string& path, const CsvOptions& options) {
  return parse_csv(read_file(path, "read_csv"), options, path);
}

}  // namespace taper::data
