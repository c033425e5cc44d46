#include <taper/sparsity/features/problem.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <taper/autodiff/random.hpp>
#include <taper/data/moments.hpp>
#include <taper/instantiate.hpp>

namespace taper::sparsity::features {
namespace {

constexpr const char* problem_where = "select_features";
constexpr double mark_error =
    1e-8;  // between the marks of columns that are alike, which differ by 2e-9 at most

/// Standardizes in place; whether the numbers are not constant.
bool standardize_numbers(std::vector<double>& numbers, bool scale) {
  const double mean = data::mean_of(numbers), deviation = data::deviation_of(numbers, mean);
  if (!(deviation > 0)) return false;
  if (!std::isfinite(deviation)) {
    throw Error(problem_where, "a column with values from ", std::ranges::min(numbers), " to ",
                std::ranges::max(numbers), ": expected a deviation within the range of double");
  }
  // Quarters: differences of what is finite are.
  if (scale) {
    for (double& number : numbers) number = (number / 4 - mean / 4) / (deviation / 4);
  }
  return true;
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

/// Equal up to the rounding that units bring, where `most` is the largest entry.
bool alike(const std::vector<double>& a, const std::vector<double>& b, double most) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= 1e-9 * (std::abs(a[i]) + std::abs(b[i])) + 1e-12 * most)) return false;
  }
  return true;
}

/// The mean of the entries with random signs, as shares of the largest: near one another for columns that are
/// alike, and for hardly any others.
double mark_of(const std::vector<double>& values, double most) {
  Rng rng(0, 0x51915);
  double sum = 0;
  for (const double value : values) sum += (rng.uniform() - 0.5) * (value / most);
  return sum / static_cast<double>(values.size());
}

void read_classes(Problem& problem) {
  Index classes = 0;
  for (const double label : problem.y) {
    if (!(label >= 0 && label == std::floor(label) && label < 1e6)) {
      throw Error(problem_where, "class ", label, ": expected whole numbers from 0 on");
    }
    classes = std::max(classes, static_cast<Index>(label) + 1);
  }
  if (std::ranges::adjacent_find(problem.y, std::not_equal_to()) == problem.y.end()) {
    throw Error(problem_where, "only class ", problem.y.front(), ": expected two at least");
  }
  problem.classes = std::max<Index>(2, classes);
}

}  // namespace

template <class T> Problem make_problem(const data::Dataset<T>& data, const SelectFeaturesOptions& options) {
  data::check_rows(data, problem_where);
  const View<const T> inputs = data.inputs(), targets = data.targets();
  Problem problem;
  problem.rows = data.rows();
  if (problem.rows < 4) {
    throw Error(problem_where, problem.rows, " rows: expected 4 or more, some to train on and some to judge");
  }
  const Index n = problem.rows, p = inputs.size() / n;
  if (targets.size() != n) {
    throw Error(problem_where, "targets ", targets.shape(), ": expected one for each of ", n, " rows");
  }
  problem.y.assign(targets.begin(), targets.end());
  for (Index i = 0; i < n; ++i) {
    if (!std::isfinite(problem.y[static_cast<std::size_t>(i)])) {
      throw Error(problem_where, "target ", problem.y[static_cast<std::size_t>(i)], " in row ", i,
                  ": expected finite numbers");
    }
  }
  if (options.classification) {
    read_classes(problem);
  } else if (!standardize_numbers(problem.y, true)) {
    throw Error(problem_where, "a target that is ", static_cast<double>(targets[0]),
                " in every row: expected one that varies");
  }

  std::vector<Index> feature(static_cast<std::size_t>(p));
  std::iota(feature.begin(), feature.end(), Index{0});
  problem.features = p;
  if (!options.groups.empty()) {
    feature = options.groups;
    if (static_cast<Index>(feature.size()) != p) {
      throw Error(problem_where, feature.size(), " numbers of features: expected ", p);
    }
    std::vector<Index> sorted = feature;
    std::ranges::sort(sorted);
    problem.features = 0;
    for (const Index number : sorted) {
      if (number != problem.features && number != problem.features - 1) {
        throw Error(problem_where, "columns of feature ", number,
                    ": expected features counted from 0 without gaps");
      }
      problem.features = number + 1;
    }
  }

  struct Candidate {
    Index column;
    std::vector<double> values;
    double most = 0, mark = 0;
    bool is_taken = false;  // stands for itself, or another for it
  };
  std::vector<Candidate> candidates;
  std::vector<double> values(static_cast<std::size_t>(n));
  for (Index j = 0; j < p; ++j) {
    for (Index i = 0; i < n; ++i) {
      const auto value = static_cast<double>(inputs[i * p + j]);
      if (!std::isfinite(value)) {
        throw Error(problem_where, value, " in row ", i, ", column ", j, ": expected finite numbers");
      }
      values[static_cast<std::size_t>(i)] = value;
    }
    if (standardize_numbers(values, options.standardize)) {
      const double most = largest(values);
      candidates.push_back({j, values, most, mark_of(values, most)});
    } else {
      problem.constant.push_back(j);
    }
  }
  if (candidates.empty()) {
    throw Error(problem_where, p, " columns that are constant: expected one that varies");
  }
  // By values, so that where a column stands in the data has no part in anything that follows.
  std::ranges::stable_sort(candidates, {}, &Candidate::values);

  // Those that are alike need not be neighbours there: rounding decides between columns that begin alike.
  std::vector<std::pair<double, std::size_t>> marks;
  for (std::size_t k = 0; k < candidates.size(); ++k) marks.emplace_back(candidates[k].mark, k);
  std::ranges::sort(marks);

  problem.duplicate_of.assign(static_cast<std::size_t>(p), -1);
  problem.x.reserve(candidates.size() * static_cast<std::size_t>(n));
  for (Candidate& candidate : candidates) {
    if (std::exchange(candidate.is_taken, true)) continue;
    std::vector<Index> equal{candidate.column};
    for (auto near = std::ranges::lower_bound(marks, std::pair(candidate.mark - mark_error, std::size_t{0}));
         near != marks.end() && near->first <= candidate.mark + mark_error; ++near) {
      Candidate& other = candidates[near->second];
      if (other.is_taken || !alike(candidate.values, other.values, candidate.most)) continue;
      other.is_taken = true;
      equal.push_back(other.column);
    }
    const Index first = std::ranges::min(equal);
    for (const Index column : equal) {
      if (column != first) problem.duplicate_of[static_cast<std::size_t>(column)] = first;
    }
    problem.column.push_back(first);
    problem.feature_of.push_back(feature[static_cast<std::size_t>(first)]);
    problem.x.insert(problem.x.end(), candidate.values.begin(), candidate.values.end());
  }
  std::vector<Index> offered = problem.feature_of;
  std::ranges::sort(offered);
  problem.offered = std::unique(offered.begin(), offered.end()) - offered.begin();
  return problem;
}

FeatureRows deal_rows(const Problem& problem, double share, std::uint64_t seed) {
  std::vector<Index> order(static_cast<std::size_t>(problem.rows));
  std::iota(order.begin(), order.end(), Index{0});
  Rng rng(seed, 0x5e1ec7);
  rng.shuffle(order.begin(), order.end());
  const auto label = [&](Index i) {
    return problem.classes > 0 ? problem.y[static_cast<std::size_t>(i)] : 0;
  };
  std::ranges::stable_sort(order, {}, label);
  FeatureRows rows;
  for (auto begin = order.begin(); begin != order.end();) {
    const auto end = std::find_if(begin, order.end(), [&](Index i) { return label(i) != label(*begin); });
    const Index count = end - begin;
    const Index held = std::min<Index>(count - 1, std::llround(share * static_cast<double>(count)));
    rows.validation.insert(rows.validation.end(), begin, begin + held);
    rows.train.insert(rows.train.end(), begin + held, end);
    begin = end;
  }
  if (rows.validation.empty()) {  // one at least, where a class has two
    const auto two = std::ranges::adjacent_find(rows.train, {}, label);
    if (two != rows.train.end()) {
      rows.validation.push_back(*two);
      rows.train.erase(two);
    }
  }
  std::ranges::sort(rows.train);
  std::ranges::sort(rows.validation);
  return rows;
}

#define TAPER_INSTANTIATE(T) \
  template Problem make_problem(const data::Dataset<T>&, const SelectFeaturesOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::features
