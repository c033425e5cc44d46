#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <taper/data/dataset.hpp>

namespace taper::data {

/// How to read a file of ratings.
struct RatingsOptions {
  /// What stands between the cells of a line: "\t", "::", ",", ";" or " " for one or more blanks. None: the
  /// first of these, in this order, that cuts the first line into three cells or more.
  std::optional<std::string> separator = {};
  /// Whether the first line holds names. None: it does where its third cell is not a number.
  std::optional<bool> header = {};
  /// Further columns to keep, by their name, or by their number, counted from 1.
  std::vector<std::string> sides = {};
};

/// A column of words, such as users: each that occurs once, and for every row which one it has.
struct RatingField {
  std::string name;
  std::vector<std::string> words;  ///< In the order in which they first occur.
  std::vector<Index> codes;        ///< One for each row: positions among `words`.
};

/// Who gave what how many points: one row for each rating.
struct Ratings {
  std::vector<RatingField> fields;  ///< The user, the item, and the sides that were asked for.
  std::vector<double> values;       ///< The ratings.
  std::string target;               ///< The name of what `values` holds.
  Index rows() const { return static_cast<Index>(values.size()); }
};

/// Reads a file of ratings, plain or gzip (see read_file): a line for each, with user, item and rating first,
/// or in columns whose names begin with user, item (or movie) and rating, in letters of any case, when there
/// is a header with exactly one of each. Users and items are words, whatever they look like. Blanks around
/// cells and empty lines are skipped; between commas and semicolons, cells may stand in double quotes. Other
/// columns are ignored but for RatingsOptions::sides.
///
/// Throws Error, naming file and line (counted from 1), for a file that cannot be read, no ratings, fewer
/// than three cells, two columns of one name, a line with another number of cells than the first, an empty
/// user, item or side, a rating that is not a finite number, a quote that does not close, a side that is not
/// there or that is the user, the item or the rating, and a separator other than those above.
Ratings read_ratings(const std::string& path, const RatingsOptions& options = {});

/// The same for a text in memory; `source` stands for the file in errors.
Ratings parse_ratings(std::string_view text, const RatingsOptions& options = {},
                      std::string_view source = "text");

/// The words of a training set as positions in fields, which is what nn::FactorizationMachine takes. Each
/// field has one position more than there are words, its last, for a word that is unknown. A side of which
/// all words are numbers, and more than `most_words` different ones, is cut into ranges with about as many
/// rows each, so many that a range has a position of its own: ages, prices, times.
class RatingEncoder {
 public:
  /// The most different numbers of a side that are categories each, and how many ranges there are of more.
  static constexpr Index most_words = 64, ranges = 16;

  /// Throws Error for a set without rows.
  explicit RatingEncoder(const Ratings& train);

  /// With the position for unknown words.
  const std::vector<Index>& field_sizes() const { return sizes_; }
  /// The fields that were cut into ranges, by name.
  std::vector<std::string> cut() const;
  /// x holds a position for each field (rows x fields), y the ratings (rows x 1). Throws Error for a set with
  /// other fields, and for ratings that T cannot hold.
  template <class T> Dataset<T> encode(const Ratings& ratings) const;
  /// How many rows have a word that the training set has not, by field.
  std::vector<Index> unknown(const Ratings& ratings) const;

 private:
  struct Field {
    std::string name;
    std::vector<std::string> words;  // sorted
    std::vector<double> edges;       // where ranges begin, but the first; of a field that is cut
    bool is_cut = false;
  };
  /// The position of each word of the set.
  std::vector<Index> positions(const Field& field, const RatingField& of) const;
  void require_fields(const Ratings& ratings) const;

  std::vector<Field> fields_;
  std::vector<Index> sizes_;
};

/// What make_ratings makes. The defaults give the shape of the usual small set of films.
struct MakeRatingsOptions {
  Index users = 943, items = 1682;
  Index ratings = 100000;  ///< At most half of all pairs.
  Index rank = 8;          ///< 0 to 1000.
  double noise = 0.5;      ///< Standard deviation of what users and items do not tell.
  double biases = 0.4;     ///< Standard deviation of what a user, and an item, adds to all ratings.
  double signal = 0.8;     ///< Standard deviation of the products of factors.
  std::uint64_t seed = 0;
};

/// Ratings with a planted rank,
///
///     y = 3.5 + b_user + c_item + <p_user, q_item> + noise,
///
/// all normal, with factors p and q of `rank` entries of one variance. Pairs are drawn without repetition:
/// the user with a chance that is log-normal with deviation 1, the item likewise with 1.15, so that the most
/// popular ones have many times the ratings of the median one. They are no whole numbers, and may be
/// anywhere: who wants points from 1 to 5 rounds them.
///
/// The same options give the same set, up to the last bits. Throws Error for an option out of its range.
Ratings make_ratings(const MakeRatingsOptions& options = {});

}  // namespace taper::data
