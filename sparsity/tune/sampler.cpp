#include <taper/sparsity/tune/sampler.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>

namespace taper::sparsity {
namespace {

using Kind = SearchDimension::Kind;
using Point = std::vector<double>;

/// A dimension as an interval of real numbers: logarithms of logarithmic ones, whole numbers with half a step
/// at both ends.
struct Scale {
  explicit Scale(const SearchDimension& from) : dimension(from), low(from.low), high(from.high) {
    if (from.is_integer()) low -= 0.5, high += 0.5;
    if (from.is_log()) low = std::log(low), high = std::log(high);
  }

  double to(double value) const { return dimension.is_log() ? std::log(value) : value; }
  double from(double x) const {
    double value = dimension.is_log() ? std::exp(x) : x;
    if (dimension.is_integer()) value = std::round(value);
    return std::clamp(value, dimension.low, dimension.high);
  }
  bool is_single() const { return dimension.low == dimension.high; }

  const SearchDimension& dimension;
  double low, high;
};

Index choices_of(const SearchDimension& dimension) {
  return static_cast<Index>(dimension.choices.size());
}

Point draw_anywhere(const SearchSpace& space, Rng& rng) {
  Point point;
  for (const SearchDimension& dimension : space.dimensions()) {
    if (dimension.kind == Kind::categorical) {
      point.push_back(static_cast<double>(rng.below(choices_of(dimension))));
    } else {
      const Scale scale(dimension);
      point.push_back(scale.from(scale.low + (scale.high - scale.low) * rng.uniform()));
    }
  }
  return point;
}

/// The mass of the standard normal distribution below x.
double normal_below(double x) {
  return 0.5 * std::erfc(-x * 0.7071067811865476);
}

/// The logarithm of exp(a_1) + ... + exp(a_n).
double log_sum_exp(const std::vector<double>& a) {
  const double largest = *std::ranges::max_element(a);
  double sum = 0;
  for (const double x : a) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

/// A density over the space: a kernel for each of some points, and one for the whole space.
class Parzen {
 public:
  Parzen(const SearchSpace& space, std::vector<const Point*> points)
      : space_(space), points_(std::move(points)) {
    const double count = static_cast<double>(points_.size()) + 1;
    share_ = 1 / count;
    deviation_ = 0.2 * std::pow(count, -1 / (static_cast<double>(space.size()) + 4));
  }

  Point draw(Rng& rng) const {
    const auto kernel = static_cast<std::size_t>(rng.below(static_cast<Index>(points_.size()) + 1));
    if (kernel == points_.size()) return draw_anywhere(space_, rng);
    const Point& centre = *points_[kernel];
    Point point;
    for (std::size_t k = 0; k < space_.size(); ++k) {
      const SearchDimension& dimension = space_.dimensions()[k];
      if (dimension.kind == Kind::categorical) {
        const bool other = rng.uniform() < share_;
        point.push_back(other ? static_cast<double>(rng.below(choices_of(dimension))) : centre[k]);
        continue;
      }
      const Scale scale(dimension);
      const double middle = scale.to(centre[k]), sigma = deviation_ * (scale.high - scale.low);
      double x = middle;
      // The centre lies inside: half of the mass at least, for a kernel as narrow as these nearly all.
      while (!scale.is_single()) {
        x = middle + sigma * rng.normal();
        if (x >= scale.low && x <= scale.high) break;
      }
      point.push_back(scale.from(x));
    }
    return point;
  }

  double log_density(const Point& point) const {
    std::vector<double> terms;
    for (std::size_t kernel = 0; kernel <= points_.size(); ++kernel) {
      double sum = 0;
      for (std::size_t k = 0; k < space_.size(); ++k) {
        const double* const centre = kernel == points_.size() ? nullptr : &(*points_[kernel])[k];
        sum += log_kernel(space_.dimensions()[k], centre, point[k]);
      }
      terms.push_back(sum);
    }
    return log_sum_exp(terms) + std::log(share_);
  }

 private:
  /// In units of the whole range, so that widths do not count.
  double log_kernel(const SearchDimension& dimension, const double* centre, double value) const {
    if (dimension.kind == Kind::categorical) {
      const double even = 1 / static_cast<double>(dimension.choices.size());
      if (centre == nullptr) return std::log(even);
      return std::log(share_ * even + (*centre == value ? 1 - share_ : 0));
    }
    const Scale scale(dimension);
    if (scale.is_single()) return 0;
    const double width = scale.high - scale.low;
    double below = scale.to(value), above = below;
    if (dimension.is_integer()) {
      below = dimension.is_log() ? std::log(value - 0.5) : value - 0.5;
      above = dimension.is_log() ? std::log(value + 0.5) : value + 0.5;
    }
    if (centre == nullptr) return dimension.is_integer() ? std::log((above - below) / width) : 0;
    const double middle = scale.to(*centre), sigma = deviation_ * width;
    const double inside =
        normal_below((scale.high - middle) / sigma) - normal_below((scale.low - middle) / sigma);
    if (dimension.is_integer()) {
      const double mass = normal_below((above - middle) / sigma) - normal_below((below - middle) / sigma);
      return std::log(std::max(mass, std::numeric_limits<double>::min()) / inside);
    }
    const double z = (below - middle) / sigma;
    constexpr double log_root_two_pi = 0.9189385332046727;
    return -0.5 * z * z - log_root_two_pi - std::log(deviation_ * inside);
  }

  const SearchSpace& space_;
  std::vector<const Point*> points_;
  double share_, deviation_;
};

/// The finished trials from the best to the worst, as TpeOptions says; of equal ones, the first comes first.
std::vector<const Trial*> ranked(const std::vector<Trial>& seen) {
  struct Rank {
    const Trial* trial;
    Index sort;  // feasible and complete, pruned, violating, failed
    double front, objective;
  };
  std::vector<Rank> ranks;
  std::vector<std::vector<double>> objectives;
  for (const Trial& trial : seen) {
    if (!trial.is_finished()) continue;
    Rank rank{&trial, 0, 0, 0};
    if (trial.state == Trial::State::failed || trial.result.objectives.empty()) {
      rank.sort = 3;
    } else if (trial.violation() > 0) {
      rank.sort = 2, rank.objective = trial.violation();
    } else if (trial.state == Trial::State::pruned) {
      // Those that were stopped later were better for longer.
      const Index epochs = trial.reports.empty() ? 0 : trial.reports.back().first;
      rank.sort = 1, rank.front = -static_cast<double>(epochs), rank.objective = trial.result.objectives[0];
    } else {
      rank.objective = trial.result.objectives[0];
      objectives.push_back(trial.result.objectives);
    }
    ranks.push_back(rank);
  }
  if (!objectives.empty() && objectives.front().size() > 1) {
    const std::vector<Index> fronts = domination_ranks(objectives);
    std::size_t next = 0;
    for (Rank& rank : ranks) {
      if (rank.sort == 0) rank.front = static_cast<double>(fronts[next++]);
    }
  }
  std::ranges::stable_sort(ranks, [](const Rank& a, const Rank& b) {
    if (a.sort != b.sort) return a.sort < b.sort;
    return a.front != b.front ? a.front < b.front : a.objective < b.objective;
  });
  std::vector<const Trial*> result;
  for (const Rank& rank : ranks) result.push_back(rank.trial);
  return result;
}

Point grid_point(const SearchSpace& space, Index number) {
  Point point(space.size());
  for (std::size_t k = space.size(); k-- > 0;) {
    const SearchDimension& dimension = space.dimensions()[k];
    if (!dimension.is_integer() && dimension.kind != Kind::categorical) {
      throw Error("tune", "a grid of ", dimension.name, ": expected whole numbers or words");
    }
    const auto count = static_cast<Index>(dimension.high - dimension.low) + 1;
    point[k] = dimension.low + static_cast<double>(number % count);
    number /= count;
  }
  return point;
}

}  // namespace

std::vector<double> propose(const SearchSpace& space, Sampler sampler, const TpeOptions& options,
                            const std::vector<Trial>& seen, std::uint64_t seed, Index number) {
  if (options.startup < 1 || options.candidates < 1) {
    throw Error("tune", options.startup, " random trials and ", options.candidates,
                " candidates: expected 1 at least of both");
  }
  if (sampler == Sampler::grid) return grid_point(space, number);
  Rng rng(seed, static_cast<std::uint64_t>(number) + 1);
  if (sampler == Sampler::random) return draw_anywhere(space, rng);
  const std::vector<const Trial*> order = ranked(seen);
  const auto count = static_cast<Index>(order.size());
  if (count < options.startup) return draw_anywhere(space, rng);

  const auto good = static_cast<std::size_t>(std::min<Index>((count + 9) / 10, 25));
  std::vector<const Point*> below, above;
  for (std::size_t k = 0; k < order.size(); ++k) {
    space.check(order[k]->point);
    (k < good ? below : above).push_back(&order[k]->point);
  }
  for (const Trial& trial : seen) {
    if (trial.is_finished()) continue;
    space.check(trial.point);
    above.push_back(&trial.point);
  }
  const Parzen l(space, below), g(space, above);
  Point best;
  double best_ratio = -std::numeric_limits<double>::infinity();
  for (Index k = 0; k < options.candidates; ++k) {
    Point point = l.draw(rng);
    const double ratio = l.log_density(point) - g.log_density(point);
    if (ratio > best_ratio || best.empty()) best_ratio = ratio, best = std::move(point);
  }
  return best;
}

}  // namespace taper::sparsity
