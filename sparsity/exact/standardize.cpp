#include <algorithm>
#include <cmath>
#include <limits>

#include <taper/sparsity/exact/standardize.hpp>

namespace taper::sparsity::exact {
namespace {

/// A column is centred when its mean is further from zero than this many standard deviations: up to there,
/// what is eliminated with the intercept loses a digit at most.
constexpr double far = 4;
/// Standard deviations between 1 / wide and wide are taken as they are.
constexpr double wide = 1 << 20;
/// Of a scale, so that its inverse is a number.
constexpr int least_exponent = -1000;

/// The entries of a column that are stored; of a dense one all.
struct Column {
  std::vector<double> values;
  std::vector<int> rows;  // none when all are stored
  double shift = 0, mean = 0, variance = 0;
  int exponent = 0;  // x = shift + 2^exponent values

  Index row(std::size_t k) const { return rows.empty() ? static_cast<Index>(k) : rows[k]; }
  double weighted_sum(const Eigen::VectorXd& s, double from) const {
    double sum = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (s[row(k)] > 0)
        sum += s[row(k)] * (values[k] - from);  // what does not count may be infinite in these units
    }
    return sum;
  }

  /// Brings the largest entry near 1, and centres where that is asked for and the column is far from zero.
  void normalize(const Eigen::VectorXd& s, bool center, Index n) {
    double largest = 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (s[row(k)] > 0) largest = std::max(largest, std::abs(values[k]));
    }
    if (largest == 0) return;
    exponent = std::ilogb(largest);
    for (double& x : values) x = std::scalbn(x, -exponent);
    measure(s, center);
    if (!center || mean * mean <= far * far * variance) return;
    fill(n);
    // From one of its entries that counts, so that a constant column becomes exactly 0.
    const double from = values[static_cast<std::size_t>(
        std::ranges::find_if(s, [](double weight) { return weight > 0; }) - s.begin())];
    shift = from + weighted_sum(s, from);
    for (double& x : values) x -= shift;
    measure(s, center);
    shift = std::scalbn(shift, exponent);
  }

  void measure(const Eigen::VectorXd& s, bool center) {
    mean = weighted_sum(s, 0);
    variance = 0;
    double stored = 0;
    const double around = center ? mean : 0;
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double weight = s[row(k)], rest = weight > 0 ? values[k] - around : 0;
      variance += weight * rest * rest;
      stored += weight;
    }
    if (!rows.empty()) variance += std::max(0.0, 1 - stored) * around * around;
  }

  void fill(Index n) {
    if (rows.empty()) return;
    std::vector<double> all(static_cast<std::size_t>(n), 0.0);
    for (std::size_t k = 0; k < values.size(); ++k) all[static_cast<std::size_t>(rows[k])] = values[k];
    values = std::move(all);
    rows.clear();
  }

  void multiply(double by) {
    for (double& x : values) x *= by;
    mean *= by;
    variance *= by * by;
  }
};

}  // namespace

Standardized::Standardized(const Design& given, const Eigen::VectorXd& s, bool center,
                           std::span<const Index> group, bool unit, Arena& arena, const char* where)
    : x_(given), mean_(arena.resource()), variance_(arena.resource()) {
  const auto p = static_cast<std::size_t>(given.columns());
  mean_.resize(p);
  variance_.resize(p);
  if (measure(given, s, center, where) || unit) copy(given, s, center, group, unit);
}

/// Returns whether a column needs to be centred or scaled.
bool Standardized::measure(const Design& given, const Eigen::VectorXd& s, bool center, const char* where) {
  bool needed = false;
  for (Index j = 0; j < given.columns(); ++j) {
    const auto [sum, square] = given.checked_moments(j, s.data());
    // Squares may overflow where no entry is bad.
    if (const Index bad = std::isfinite(square) ? -1 : given.first_bad(j); bad >= 0) {
      throw Error(where, "a design matrix with an entry that is not finite in row ", bad, ", column ", j,
                  ": expected finite numbers");
    }
    const double variance = center ? square - sum * sum : square;
    mean_[static_cast<std::size_t>(j)] = sum;
    variance_[static_cast<std::size_t>(j)] = std::max(variance, 0.0);
    const bool zero = square == 0 && sum == 0 && given.largest(j) == 0;
    if (zero) continue;
    needed |= !(variance >= 1 / (wide * wide) && variance <= wide * wide) ||
              (center && sum * sum > far * far * variance);
  }
  return needed;
}

void Standardized::copy(const Design& given, const Eigen::VectorXd& s, bool center,
                        std::span<const Index> group, bool unit) {
  const Index n = given.rows(), p = given.columns();
  std::vector<Column> columns(static_cast<std::size_t>(p));
  const auto at = [](Index j) { return static_cast<std::size_t>(j); };
  // Per group, the exponent of the largest standard deviation.
  constexpr int none = std::numeric_limits<int>::min();
  std::vector<int> exponents(at(p), none);
  const auto group_of = [&](Index j) { return group.empty() ? at(j) : at(group[at(j)]); };
  for (Index j = 0; j < p; ++j) {
    Column& column = columns[at(j)];
    given.read(j, column.values, column.rows);
    column.normalize(s, center, n);
    if (column.variance > 0) {
      int& largest = exponents[group_of(j)];
      largest = std::max(largest, column.exponent + std::ilogb(std::sqrt(2 * column.variance)));
      largest = std::max(largest, least_exponent);
    }
  }
  shift_.resize(at(p));
  scale_.resize(at(p));
  for (Index j = 0; j < p; ++j) {
    Column& column = columns[at(j)];
    const int exponent = exponents[group_of(j)];
    double scale = 1;
    if (unit && column.variance > 0) {
      const double deviation = std::sqrt(column.variance);
      column.multiply(1 / deviation);
      scale = std::scalbn(deviation, column.exponent);
    } else {
      const int common = exponent != none ? exponent : column.exponent;
      scale = std::scalbn(1.0, common);
      column.multiply(std::scalbn(1.0, column.exponent - common));
    }
    shift_[at(j)] = column.shift;
    scale_[at(j)] = scale;
    mean_[at(j)] = column.mean;
    variance_[at(j)] = column.variance;
  }

  if (!given.is_sparse()) {
    dense_.resize(n, p);
    for (Index j = 0; j < p; ++j) {
      std::ranges::copy(columns[at(j)].values, dense_.col(j).data());
      columns[at(j)] = {};  // so that memory never holds the design once more
    }
    x_ = Design(dense_);
    return;
  }
  std::size_t entries = 0;
  for (const Column& column : columns) entries += column.values.size();
  sparse_.resize(n, p);
  sparse_.reserve(static_cast<Index>(entries));
  for (Index j = 0; j < p; ++j) {
    sparse_.startVec(j);
    Column& column = columns[at(j)];
    for (std::size_t k = 0; k < column.values.size(); ++k) {
      sparse_.insertBack(column.row(k), j) = column.values[k];
    }
    column = {};
  }
  sparse_.finalize();
  x_ = Design(sparse_);
}

}  // namespace taper::sparsity::exact
