#include <taper/data/arff.hpp>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <taper/autodiff/error.hpp>
#include <taper/data/label_index.hpp>
#include <taper/data/lines.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/within_memory.hpp>
#include <taper/data/written_out.hpp>

namespace taper::data {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool is_comment(std::string_view line) {
  return line.empty() || line.front() == '%';
}

/// One cell or name, and whether it stood in quotes.
struct Token {
  std::string text;
  bool quoted = false;
};

class ArffReader {
 public:
  ArffReader(std::string_view text, std::string_view source) : lines_(text), source_(source) {}

  Table read() {
    while (next() && !lower(line_).starts_with("@data")) read_declaration();
    if (table_.columns.empty()) fail("no @attribute: expected at least one");
    while (next()) read_row();
    if (table_.rows() == 0) fail("no rows below @data: expected at least one");
    return std::move(table_);
  }

 private:
  struct Attribute {
    bool number = true;
    std::set<std::string, std::less<>> allowed = {};  // labels, if they are listed
    std::string first = {};                           // of them
    LabelIndex position = {};
  };

  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("read_arff", source_, ", line ", lines_.number(), ": ", parts...);
  }

  /// The next line that is no comment.
  bool next() {
    while (lines_.next(line_)) {
      if (!is_comment(line_)) return true;
    }
    line_ = {};
    return false;
  }

  void skip_blanks() {
    while (!line_.empty() && is_blank(line_.front())) line_.remove_prefix(1);
  }

  /// A token up to one of `ends`, which stays, from the front of the line.
  Token token(std::string_view ends) {
    skip_blanks();
    Token result;
    if (!line_.empty() && (line_.front() == '\'' || line_.front() == '"')) {
      const char mark = line_.front();
      result.quoted = true;
      for (line_.remove_prefix(1); !line_.empty() && line_.front() != mark; line_.remove_prefix(1)) {
        if (line_.front() == '\\' && line_.size() > 1) line_.remove_prefix(1);
        result.text += line_.front();
      }
      if (line_.empty()) fail("a quote never closes");
      line_.remove_prefix(1);
      skip_blanks();
      return result;
    }
    const std::size_t end = std::min(line_.find_first_of(ends), line_.size());
    result.text = strip(line_.substr(0, end));
    line_.remove_prefix(end);
    skip_blanks();
    return result;
  }

  void read_declaration() {
    const std::string keyword = lower(token(" \t").text);
    if (keyword == "@relation") return;
    if (keyword != "@attribute") fail(quote(keyword), ": expected @attribute or @data");
    const std::string name = token(" \t{").text;
    if (!names_.insert(name).second) fail("a second attribute ", quote(name), ": expected distinct names");
    Attribute attribute;
    if (line_.starts_with('{')) {
      attribute.number = false;
      do {
        line_.remove_prefix(1);
        const Token label = token(",}");
        if (attribute.allowed.empty()) attribute.first = label.text;
        attribute.allowed.insert(label.text);
      } while (line_.starts_with(','));
      if (!line_.starts_with('}')) fail("a list of labels never closes: expected }");
    } else {
      const std::string type = lower(token(" \t").text);
      attribute.number = type == "numeric" || type == "real" || type == "integer";
      if (!attribute.number && type != "string" && type != "date") {
        fail("attribute ", quote(name), " of type ", quote(type),
             ": expected numeric, real, integer, string, date or a list in braces");
      }
    }
    table_.columns.push_back({name, {}, {}});
    attributes_.push_back(std::move(attribute));
  }

  double value(std::size_t k, const Token& cell) {
    if (!cell.quoted && cell.text == "?") return std::numeric_limits<double>::quiet_NaN();
    Attribute& attribute = attributes_[k];
    if (attribute.number) {
      double number;
      if (parse_number(cell.text, number) != NumberKind::finite) {
        fail(quote(cell.text), " in column ", quote(table_.columns[k].name), ": expected a finite number");
      }
      return number;
    }
    if (!attribute.allowed.empty() && !attribute.allowed.contains(cell.text)) {
      fail(quote(cell.text), " in column ", quote(table_.columns[k].name), ": expected one of its labels");
    }
    return attribute.position(cell.text, table_.columns[k].labels);
  }

  void read_row() {
    if (line_.starts_with('{')) return read_sparse_row();
    std::size_t cells = 0;
    while (true) {
      const Token cell = token(",");
      if (cells < attributes_.size()) table_.columns[cells].values.push_back(value(cells, cell));
      ++cells;
      if (line_.empty()) break;
      if (!line_.starts_with(',')) fail("text after a closing quote: expected a comma");
      line_.remove_prefix(1);
    }
    if (cells != attributes_.size()) {
      fail(cells, cells == 1 ? " cell" : " cells", ": expected ", attributes_.size());
    }
  }

  /// Before memory is taken: rows in braces hold more cells than are written.
  void check_sparse_rows() {
    Index rows = 0, entries = 0;
    Lines ahead = lines_;
    std::string_view line = line_;
    do {
      if (!line.starts_with('{')) continue;
      ++rows;
      entries += std::ranges::count(line, ',');
    } while (ahead.next(line));
    check_written_out(rows, static_cast<Index>(attributes_.size()), entries, "read_arff", source_);
    sparse_rows_checked_ = true;
  }

  void read_sparse_row() {
    if (!sparse_rows_checked_) check_sparse_rows();
    std::vector<char> given(attributes_.size());
    line_.remove_prefix(1);
    skip_blanks();
    while (!line_.starts_with('}')) {
      const std::string position = token(" \t,}").text;
      double number = -1;
      const bool whole = parse_number(position, number) == NumberKind::finite && number >= 0 &&
                         number < static_cast<double>(given.size()) &&
                         number == static_cast<double>(static_cast<Index>(number));
      const auto k = whole ? static_cast<std::size_t>(number) : 0;
      if (!whole || given[k] != 0) {
        fail("position ", quote(position), ": expected a new one from 0 to ", given.size() - 1);
      }
      given[k] = 1;
      table_.columns[k].values.push_back(value(k, token(",}")));
      if (line_.starts_with(','))
        line_.remove_prefix(1), skip_blanks();
      else if (!line_.starts_with('}'))
        fail("a row in braces never closes: expected }");
    }
    line_.remove_prefix(1);
    skip_blanks();
    if (!line_.empty()) fail("text after a closing brace: expected the end of the line");
    for (std::size_t k = 0; k < given.size(); ++k) {
      if (given[k] == 0) table_.columns[k].values.push_back(default_value(k));
    }
  }

  /// What a sparse row leaves out.
  double default_value(std::size_t k) {
    if (attributes_[k].number) return 0;
    return attributes_[k].position(attributes_[k].first, table_.columns[k].labels);
  }

  Lines lines_;
  std::string_view source_;
  std::string_view line_;
  Table table_;
  std::set<std::string> names_;
  std::vector<Attribute> attributes_;
  bool sparse_rows_checked_ = false;
};

}  // namespace

bool is_arff(std::string_view text) {
  Lines lines(text);
  std::string_view line;
  while (lines.next(line)) {
    if (!is_comment(line)) return lower(line.substr(0, 10)).starts_with("@relation");
  }
  return false;
}

Table parse_arff(std::string_view text, std::string_view source) {
  return within_memory([&] { return ArffReader(text, source).read(); }, source, "read_arff");
}

}  // namespace taper::data
