#include <algorithm>
#include <cmath>
#include <numeric>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/data/ratings.hpp>

namespace taper::data {
namespace {

template <class Number> void check_rating_option(const char* name, Number value, Number low, Number high) {
  if (value >= low && value <= high) return;  // false for NaN
  throw Error("make_ratings", name, " ", value, ": expected ", low, " to ", high);
}

/// Draws positions with chances that are log-normal.
class Popularity {
 public:
  Popularity(Index count, double deviation, Rng& rng) {
    for (Index k = 0; k < count; ++k) {
      sums_.push_back(std::exp(deviation * rng.normal()) + (k > 0 ? sums_.back() : 0));
    }
  }
  Index draw(Rng& rng) const {
    const auto at = std::ranges::upper_bound(sums_, rng.uniform(0, sums_.back())) - sums_.begin();
    return std::min(at, static_cast<std::ptrdiff_t>(sums_.size()) - 1);
  }

 private:
  std::vector<double> sums_;
};

std::vector<double> drawn_normal(Index count, double deviation, Rng& rng) {
  std::vector<double> result(static_cast<std::size_t>(count));
  for (double& entry : result) entry = deviation * rng.normal();
  return result;
}

RatingField numbered(const char* name, Index count) {
  RatingField field{name, {}, {}};
  for (Index k = 1; k <= count; ++k) field.words.push_back(std::to_string(k));
  return field;
}

/// Leaves out the words that do not occur.
void drop_unused(RatingField& field) {
  std::vector<Index> place(field.words.size(), -1);
  std::vector<std::string> words;
  for (Index& code : field.codes) {
    Index& here = place[static_cast<std::size_t>(code)];
    if (here < 0) {
      here = static_cast<Index>(words.size());
      words.push_back(field.words[static_cast<std::size_t>(code)]);
    }
    code = here;
  }
  field.words = std::move(words);
}

}  // namespace

Ratings make_ratings(const MakeRatingsOptions& options) {
  check_rating_option<Index>("users", options.users, 1, 100'000);
  check_rating_option<Index>("items", options.items, 1, 100'000);
  check_rating_option<Index>("ratings", options.ratings, 1, options.users * options.items / 2);
  check_rating_option<Index>("rank", options.rank, 0, 1000);
  check_rating_option<double>("noise", options.noise, 0, 1e6);
  check_rating_option<double>("biases", options.biases, 0, 1e6);
  check_rating_option<double>("signal", options.signal, 0, 1e6);

  Rng rng(options.seed);
  const auto rank = static_cast<std::size_t>(options.rank);
  const std::vector<double> of_users = drawn_normal(options.users, options.biases, rng),
                            of_items = drawn_normal(options.items, options.biases, rng);
  // The variance of a product is that of both factors multiplied, and there are `rank` of them.
  const double deviation =
      rank == 0 ? 0 : std::sqrt(options.signal / std::sqrt(static_cast<double>(options.rank)));
  const std::vector<double> p = drawn_normal(options.users * options.rank, deviation, rng),
                            q = drawn_normal(options.items * options.rank, deviation, rng);
  const Popularity users(options.users, 1, rng), items(options.items, 1.15, rng);

  Ratings ratings{{numbered("user", options.users), numbered("item", options.items)}, {}, "rating"};
  std::vector<bool> taken(static_cast<std::size_t>(options.users * options.items));
  while (ratings.rows() < options.ratings) {
    // One that is full would be drawn again and again: after some tries, any pair is as good.
    Index user = users.draw(rng), item = items.draw(rng);
    for (int tries = 0; taken[static_cast<std::size_t>(user * options.items + item)]; ++tries) {
      user = tries < 1000 ? users.draw(rng) : rng.below(options.users);
      item = tries < 1000 ? items.draw(rng) : rng.below(options.items);
    }
    taken[static_cast<std::size_t>(user * options.items + item)] = true;
    const auto u = static_cast<std::size_t>(user), i = static_cast<std::size_t>(item);
    const auto of_user = p.begin() + static_cast<std::ptrdiff_t>(u * rank);
    const double product = std::inner_product(of_user, of_user + static_cast<std::ptrdiff_t>(rank),
                                              q.begin() + static_cast<std::ptrdiff_t>(i * rank), 0.0);
    ratings.fields[0].codes.push_back(user);
    ratings.fields[1].codes.push_back(item);
    ratings.values.push_back(3.5 + of_users[u] + of_items[i] + product + options.noise * rng.normal());
  }
  for (RatingField& field : ratings.fields) drop_unused(field);
  return ratings;
}

}  // namespace taper::data
