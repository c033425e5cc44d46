#include <taper/data/ratings.hpp>

#include <cmath>
#include <string>

#include "tables.hpp"

using namespace taper::data;

namespace {

void require_ratings(const Ratings& ratings, std::size_t fields) {
  require(ratings.rows() > 0 && ratings.fields.size() == fields);
  for (const double value : ratings.values) require(std::isfinite(value));
  for (const RatingField& field : ratings.fields) {
    require(field.codes.size() == ratings.values.size());
    std::size_t seen = 0;  // words are numbered as they occur
    for (const auto code : field.codes) {
      require(code >= 0 && static_cast<std::size_t>(code) <= seen);
      if (static_cast<std::size_t>(code) == seen) ++seen;
    }
    require(seen == field.words.size());
    for (const std::string& word : field.words) require(!word.empty());
  }
}

}  // namespace

// The first byte says whether there is a header and whether the fourth column is a side.
TAPER_FUZZ {
  if (bytes.empty()) return;
  const unsigned how = static_cast<unsigned char>(bytes.front());
  bytes.remove_prefix(1);
  RatingsOptions options;
  if (how % 3 != 0) options.header = how % 3 == 1;
  if (how % 2 != 0) options.sides = {"4"};
  const Ratings ratings = parse_ratings(bytes, options);
  require_ratings(ratings, 2 + options.sides.size());
  const RatingEncoder encoder(ratings);
  for (const auto count : encoder.unknown(ratings)) require(count == 0);
  const Dataset<double> set = encoder.encode<double>(ratings);
  for (taper::Index i = 0; i < set.x.size(); ++i) {
    const auto field = static_cast<std::size_t>(i) % ratings.fields.size();
    require(set.x[i] >= 0 && set.x[i] < static_cast<double>(encoder.field_sizes()[field] - 1));
  }
}
