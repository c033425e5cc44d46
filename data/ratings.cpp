#include <taper/data/ratings.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include <taper/autodiff/error.hpp>
#include <taper/data/file.hpp>
#include <taper/data/lines.hpp>
#include <taper/data/number.hpp>
#include <taper/data/quote.hpp>
#include <taper/data/within_memory.hpp>
#include <taper/instantiate.hpp>

namespace taper::data {
namespace {

constexpr std::array<std::string_view, 5> rating_separators{"\t", "::", ",", ";", " "};

/// Cuts a line into cells, without the blanks around them. False for a quote that does not close, or with
/// text behind it. `unquoted` keeps what cells in quotes hold.
bool cut_cells(std::string_view line, std::string_view separator, std::vector<std::string_view>& cells,
               std::vector<std::string>& unquoted) {
  cells.clear(), unquoted.clear();
  if (separator == " ") {
    while (!(line = strip(line)).empty()) {
      const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
      cells.push_back(line.substr(0, end));
      line.remove_prefix(end);
    }
    return true;
  }
  const bool quotes = separator == "," || separator == ";";
  for (;;) {
    while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    if (quotes && line.starts_with('"')) {
      std::string text;
      std::size_t at = 1;
      for (; at < line.size(); ++at) {
        if (line[at] != '"') {
          text += line[at];
        } else if (at + 1 < line.size() && line[at + 1] == '"') {
          text += line[++at];
        } else {
          break;
        }
      }
      if (at == line.size()) return false;
      line = strip(line.substr(at + 1));
      if (!line.empty() && !line.starts_with(separator)) return false;
      // Pointers into strings stay only as long as none is moved.
      if (unquoted.empty()) unquoted.reserve(1 + line.size());
      unquoted.push_back(std::move(text));
      cells.push_back(unquoted.back());
      if (line.empty()) return true;
      line.remove_prefix(separator.size());
      continue;
    }
    const std::size_t end = line.find(separator);
    cells.push_back(strip(line.substr(0, end)));
    if (end == line.npos) return true;
    line.remove_prefix(end + separator.size());
  }
}

struct WordHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using WordMap = std::unordered_map<std::string, Index, WordHash, std::equal_to<>>;

/// Whether a name begins so, in letters of any case.
bool begins_with(std::string_view name, std::string_view with) {
  return name.size() >= with.size() && std::ranges::equal(name.substr(0, with.size()), with, {}, [](char c) {
           return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
         });
}

class RatingsReader {
 public:
  RatingsReader(std::string_view text, const RatingsOptions& options, std::string_view source)
      : options_(options), source_(source), lines_(text) {}

  Ratings read() {
    if (options_.separator &&
        std::ranges::find(rating_separators, *options_.separator) == rating_separators.end()) {
      throw Error("read_ratings", "separator ", quote(*options_.separator),
                  ": expected a tab, \"::\", \",\", \";\" or a blank");
    }
    std::string_view line;
    bool is_first = true;
    while (lines_.next(line)) {
      if (line.empty()) continue;
      if (std::exchange(is_first, false) && first_line(line)) continue;
      cut(line);
      row();
    }
    if (result_.values.empty()) {
      throw Error("read_ratings", source_, " has no ratings: expected at least one");
    }
    return std::move(result_);
  }

 private:
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    throw Error("read_ratings", source_, ", line ", lines_.number(), ": ", parts...);
  }

  void cut(std::string_view line) {
    if (!cut_cells(line, separator_, cells_, unquoted_)) {
      fail("a quote that does not close, or has text behind it: expected cells in double quotes, or none");
    }
    if (width_ == 0) width_ = cells_.size();
    if (cells_.size() != width_) {
      fail(cells_.size(), " cells: expected ", width_, ", as in the first line");
    }
  }

  /// Finds out how the file is written. Returns whether this line is a header.
  bool first_line(std::string_view line) {
    separator_ = options_.separator ? std::string_view(*options_.separator) : std::string_view();
    for (const std::string_view candidate : rating_separators) {
      if (!separator_.empty()) break;
      if (cut_cells(line, candidate, cells_, unquoted_) && cells_.size() >= 3) separator_ = candidate;
    }
    if (separator_.empty()) {
      fail(quote(line), ": expected user, item and rating, with a tab, \"::\" or a comma between");
    }
    cut(line);
    if (cells_.size() < 3) fail(cells_.size(), " cells: expected user, item and rating");
    const bool header = options_.header.value_or(!is_number(cells_[2]));
    std::vector<std::string> names{"user", "item", "rating"};
    for (std::size_t k = 3; k < width_; ++k) names.push_back("column " + std::to_string(k + 1));
    if (header) {
      names.assign(cells_.begin(), cells_.end());
      find_columns(names);
    }
    columns_.assign({user_, item_});
    for (const std::string& wanted : options_.sides) columns_.push_back(side_column(wanted, names, header));
    for (const std::size_t column : columns_) result_.fields.push_back({names[column], {}, {}});
    result_.target = names[rating_];
    known_.resize(columns_.size());
    return header;
  }

  /// The columns by their names, where there is one of each.
  void find_columns(const std::vector<std::string>& names) {
    for (auto name = names.begin(); name != names.end(); ++name) {
      if (!name->empty() && std::find(names.begin(), name, *name) != name) {
        fail("two columns named ", quote(*name), ": expected distinct names");
      }
    }
    const auto only = [&](std::initializer_list<std::string_view> beginnings) {
      std::size_t found = names.size();
      for (std::size_t k = 0; k < names.size(); ++k) {
        if (std::ranges::none_of(beginnings, [&](auto with) { return begins_with(names[k], with); }))
          continue;
        if (found != names.size()) return names.size();
        found = k;
      }
      return found;
    };
    const std::size_t user = only({"user"}), item = only({"item", "movie"}), rating = only({"rating"});
    if (std::max({user, item, rating}) < names.size()) user_ = user, item_ = item, rating_ = rating;
  }

  std::size_t side_column(const std::string& wanted, const std::vector<std::string>& names,
                          bool header) const {
    std::size_t column = names.size();
    if (header) {
      column = static_cast<std::size_t>(std::ranges::find(names, wanted) - names.begin());
    }
    double number = 0;
    if (column == names.size() && parse_number(wanted, number) == NumberKind::finite && number >= 1 &&
        number <= static_cast<double>(names.size()) && std::floor(number) == number) {
      column = static_cast<std::size_t>(number) - 1;
    }
    if (column == names.size()) {
      fail("no column ", quote(wanted), ": expected ",
           header ? "one of " + quote_some(names) + ", or a number" : std::string("a number"), " from 1 to ",
           names.size());
    }
    if (column == user_ || column == item_ || column == rating_) {
      fail("column ", quote(wanted), " as a side: expected another than user, item and rating");
    }
    if (std::ranges::find(columns_, column) != columns_.end()) {
      fail("column ", quote(wanted), " twice: expected each side once");
    }
    return column;
  }

  void row() {
    double value;
    if (parse_number(cells_[rating_], value) != NumberKind::finite) {
      fail("rating ", quote(cells_[rating_]), ": expected a finite number");
    }
    for (std::size_t k = 0; k < columns_.size(); ++k) {
      RatingField& field = result_.fields[k];
      const std::string_view word = cells_[columns_[k]];
      if (word.empty()) fail("an empty cell in column ", quote(field.name), ": expected a word or a number");
      auto known = known_[k].find(word);
      if (known == known_[k].end()) {
        known = known_[k].emplace(word, static_cast<Index>(field.words.size())).first;
        field.words.emplace_back(word);
      }
      field.codes.push_back(known->second);
    }
    result_.values.push_back(value);
  }

  const RatingsOptions& options_;
  std::string_view source_;
  Lines lines_;
  std::string_view separator_;
  std::size_t width_ = 0, user_ = 0, item_ = 1, rating_ = 2;
  std::vector<std::size_t> columns_;  // of the fields
  std::vector<std::string_view> cells_;
  std::vector<std::string> unquoted_;
  std::vector<WordMap> known_;
  Ratings result_;
};

/// The words as numbers; none when one of them is not.
std::vector<double> as_numbers(const std::vector<std::string>& words) {
  std::vector<double> numbers;
  for (const std::string& word : words) {
    double number;
    if (parse_number(word, number) != NumberKind::finite) return {};
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace

Ratings parse_ratings(std::string_view text, const RatingsOptions& options, std::string_view source) {
  return within_memory([&] { return RatingsReader(text, options, source).read(); }, source, "read_ratings");
}

Ratings read_ratings(const std::string& path, const RatingsOptions& options) {
  return parse_ratings(read_file(path, "read_ratings"), options, path);
}

RatingEncoder::RatingEncoder(const Ratings& train) {
  if (train.rows() == 0) throw Error("RatingEncoder", "no ratings: expected at least one");
  for (std::size_t k = 0; k < train.fields.size(); ++k) {
    const RatingField& field = train.fields[k];
    Field mine{field.name, {}, {}, false};
    const bool may_be_cut = k >= 2 && static_cast<Index>(field.words.size()) > most_words;
    if (const std::vector<double> numbers = may_be_cut ? as_numbers(field.words) : std::vector<double>();
        !numbers.empty()) {
      std::vector<double> all;
      for (const Index code : field.codes) all.push_back(numbers[static_cast<std::size_t>(code)]);
      std::ranges::sort(all);
      for (std::size_t range = 1; range < ranges; ++range) {
        const double edge = all[all.size() * range / ranges];
        if (edge > all.front() && (mine.edges.empty() || edge > mine.edges.back()))
          mine.edges.push_back(edge);
      }
      mine.is_cut = true;
    } else {
      mine.words = field.words;
      std::ranges::sort(mine.words);
    }
    sizes_.push_back(static_cast<Index>(mine.is_cut ? mine.edges.size() + 1 : mine.words.size()) + 1);
    fields_.push_back(std::move(mine));
  }
}

std::vector<std::string> RatingEncoder::cut() const {
  std::vector<std::string> names;
  for (const Field& field : fields_) {
    if (field.is_cut) names.push_back(field.name);
  }
  return names;
}

std::vector<Index> RatingEncoder::positions(const Field& field, const RatingField& of) const {
  std::vector<Index> result;
  for (const std::string& word : of.words) {
    if (field.is_cut) {
      double number;
      const bool is_known = parse_number(word, number) == NumberKind::finite;
      const auto range = std::ranges::upper_bound(field.edges, number) - field.edges.begin();
      result.push_back(is_known ? range : static_cast<Index>(field.edges.size()) + 1);
    } else {
      const auto found = std::ranges::lower_bound(field.words, word);
      const bool is_known = found != field.words.end() && *found == word;
      result.push_back(is_known ? found - field.words.begin() : static_cast<Index>(field.words.size()));
    }
  }
  return result;
}

void RatingEncoder::require_fields(const Ratings& ratings) const {
  if (ratings.fields.size() != fields_.size()) {
    throw Error("RatingEncoder", ratings.fields.size(), " fields: expected ", fields_.size(),
                ", as in the training set");
  }
}

template <class T> Dataset<T> RatingEncoder::encode(const Ratings& ratings) const {
  require_fields(ratings);
  const auto width = static_cast<Index>(fields_.size());
  Dataset<T> set{
      Tensor<T>(Shape{ratings.rows(), width}), Tensor<T>(Shape{ratings.rows(), 1}), {}, ratings.target};
  for (Index k = 0; k < width; ++k) {
    const auto field = static_cast<std::size_t>(k);
    const std::vector<Index> place = positions(fields_[field], ratings.fields[field]);
    for (Index i = 0; i < ratings.rows(); ++i) {
      const Index code = ratings.fields[field].codes[static_cast<std::size_t>(i)];
      set.x[i * width + k] = static_cast<T>(place[static_cast<std::size_t>(code)]);
    }
    set.features.push_back(fields_[field].name);
  }
  for (Index i = 0; i < ratings.rows(); ++i) {
    const double value = ratings.values[static_cast<std::size_t>(i)];
    set.y[i] = static_cast<T>(value);
    if (!std::isfinite(set.y[i])) {
      throw Error("RatingEncoder", "rating ", value, " in row ", i + 1,
                  ": expected a number that the model can take");
    }
  }
  return set;
}

std::vector<Index> RatingEncoder::unknown(const Ratings& ratings) const {
  require_fields(ratings);
  std::vector<Index> counts;
  for (std::size_t k = 0; k < fields_.size(); ++k) {
    const std::vector<Index> place = positions(fields_[k], ratings.fields[k]);
    counts.push_back(std::ranges::count_if(ratings.fields[k].codes, [&](Index code) {
      return place[static_cast<std::size_t>(code)] == sizes_[k] - 1;
    }));
  }
  return counts;
}

#define TAPER_INSTANTIATE(T) template Dataset<T> RatingEncoder::encode(const Ratings&) const;
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::data
