#include <taper/sparsity/select_features.hpp>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <ostream>
#include <sstream>

#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/sparsity/features/engine.hpp>

namespace taper::sparsity {
namespace {

using features::Engine;
using features::FeatureRows;
using features::Fit;
using features::Problem;

constexpr const char* selecting = "select_features";

void check_options(const SelectFeaturesOptions& options) {
  const auto require = [](bool good, const char* what, auto value, const char* expected) {
    if (!good) throw Error(selecting, what, " ", value, ": expected ", expected);
  };
  const auto positive = [&](const char* what, double value) {
    require(value > 0 && std::isfinite(value), what, value, "a finite number above 0");
  };
  require(options.validation > 0 && options.validation < 1, "validation", options.validation,
          "a share above 0 and below 1");
  require(options.resamples >= 0, "resamples", options.resamples, "0 or more");
  require(options.batch_size > 0, "batch size", options.batch_size, "1 or more");
  for (const Index width : options.hidden) require(width > 0, "hidden width", width, "1 or more");
  for (const auto& epochs : {options.first_epochs, options.epochs, options.refit_epochs}) {
    require(epochs.value_or(0) >= 0, "epochs", epochs.value_or(0), "0 or more");
  }
  positive("lr", options.lr);
  positive("first penalty", options.first_penalty);
  require(options.ratio > 1 && std::isfinite(options.ratio), "ratio", options.ratio,
          "a finite number above 1");
  require(options.adaptive >= 0 && options.adaptive <= 4, "adaptive", options.adaptive, "0 to 4");
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight decay",
          options.weight_decay, "a finite number, 0 or more");
}

void check_count(const Problem& problem, std::optional<Index> count) {
  if (!count) return;
  if (*count < 0 || *count > problem.features) {
    throw Error(selecting, *count, " features of ", problem.features, ": expected 0 to ", problem.features);
  }
  if (*count > problem.offered) {
    throw Error(selecting, *count, " features of ", problem.features, ", of which ",
                problem.features - problem.offered,
                " are constant or equal to others: expected at most the other ", problem.offered);
  }
}

/// Mean and standard error of the difference between the losses of two fits, row by row.
struct LossDifference {
  double mean = 0, standard_error = 0;
};
LossDifference loss_difference(const Fit& a, const Fit& b) {
  LossDifference result;
  const auto n = static_cast<double>(a.losses.size());
  for (std::size_t i = 0; i < a.losses.size(); ++i) result.mean += (a.losses[i] - b.losses[i]) / n;
  double squares = 0;
  for (std::size_t i = 0; i < a.losses.size(); ++i) {
    const double rest = a.losses[i] - b.losses[i] - result.mean;
    squares += rest * rest;
  }
  result.standard_error = n > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
  return result;
}

double mean_loss(const Fit& fit) {
  double sum = 0;
  for (const double loss : fit.losses) sum += loss;
  return fit.losses.empty() ? 0 : sum / static_cast<double>(fit.losses.size());
}

/// The path of an engine as far as a choice needs it.
class Search {
 public:
  Search(const Problem& problem, Engine& engine, std::optional<Index> count)
      : problem_(problem), engine_(engine), count_(count) {
    follow();
    if (count_) bisect();
    std::ranges::stable_sort(fits_, std::ranges::greater(), &Fit::penalty);
    rank();
  }

  const std::vector<Fit>& fits() const { return fits_; }
  const std::vector<Index>& order() const { return order_; }
  const std::vector<double>& enters() const { return enters_; }

  std::vector<Index> features_of(const Fit& fit) const {
    std::vector<Index> result;
    for (const Index j : fit.columns) result.push_back(problem_.feature_of[static_cast<std::size_t>(j)]);
    std::ranges::sort(result);
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
  }

  /// Place of the least loss on the rows held out; of equals the sparser.
  std::size_t best() const {
    std::size_t best = 0;
    for (std::size_t k = 1; k < fits_.size(); ++k) {
      if (mean_loss(fits_[k]) < mean_loss(fits_[best])) best = k;
    }
    return best;
  }

  /// Place of the fewest features that are no worse than the best by more than one standard error of the
  /// difference (Breiman, Friedman, Olshen and Stone, "Classification and regression trees", 1984, section
  /// 3.4.3, with rows in pairs).
  std::size_t one_standard_error() const {
    std::size_t result = best();
    const Fit& least = fits_[result];
    for (std::size_t k = 0; k < fits_.size(); ++k) {
      const LossDifference difference = loss_difference(fits_[k], least);
      if (difference.mean > difference.standard_error) continue;
      if (features_of(fits_[k]).size() < features_of(fits_[result]).size()) result = k;
    }
    return result;
  }

  std::vector<Index> first(Index count) const {
    std::vector<Index> result(order_.begin(), order_.begin() + count);
    std::ranges::sort(result);
    return result;
  }

  /// The sparsest place with all of these features, or with most of them.
  std::size_t place_of(const std::vector<Index>& chosen) const {
    std::size_t place = 0, most = 0;
    for (std::size_t k = 0; k < fits_.size(); ++k) {
      const std::vector<Index> in = features_of(fits_[k]);
      std::vector<Index> both;
      std::ranges::set_intersection(in, chosen, std::back_inserter(both));
      if (k == 0 || both.size() > most) place = k, most = both.size();
    }
    return place;
  }

 private:
  Index size_of(const Fit& fit) const { return static_cast<Index>(features_of(fit).size()); }

  const Fit& add(double penalty, const Fit* from) {
    Fit fit = engine_.fit(penalty, from);
    fits_.push_back(std::move(fit));
    return fits_.back();
  }

  /// Whether going on can change the choice no more.
  bool done() const {
    const Index size = size_of(fits_.back());
    if (engine_.rises()) {
      if (size == 0) return true;
      if (count_) return size <= *count_;
      const Fit& least = fits_[best()];
      const LossDifference behind = loss_difference(fits_.back(), least);
      return behind.mean > 5 * behind.standard_error && behind.mean > 0.2 * mean_loss(least);
    }
    return count_ && size >= *count_;
  }

  /// The first point of a path from dense to sparse: where the penalty leaves too few, smaller ones are
  /// tried. Returns the one that it is at.
  double begin_dense(double penalty) {
    const double end = engine_.smallest() * penalty;
    add(penalty, nullptr);
    bool is_dense = count_ ? size_of(fits_.back()) >= *count_ : size_of(fits_.back()) > 0;
    while (!is_dense && penalty > end) {
      const Fit before = std::move(fits_.back());
      penalty /= 4;
      fits_.clear();
      add(penalty, nullptr);
      const Index size = size_of(fits_.back());
      if (count_) {
        is_dense = size >= *count_;
      } else if (size > 0 && size_of(before) > 0) {
        // The choice is among what the path has: it begins where fewer are no better.
        const LossDifference gained = loss_difference(before, fits_.back());
        is_dense = gained.mean <= gained.standard_error;
      }
    }
    return penalty;
  }

  void follow() {
    const double first = engine_.first_penalty();
    if (engine_.rises()) {
      double penalty = begin_dense(first);
      for (Index k = 0; k < most_points && !done(); ++k) {
        penalty *= engine_.ratio();
        const Fit last = fits_.back();
        add(penalty, &last);
      }
      return;
    }
    if (!(first > 0)) throw Error(selecting, "no column that has to do with the target: expected one");
    // A path that is to have so many features goes on until it does.
    const double end = count_ ? 1e-7 : engine_.smallest();
    double penalty = first;
    add(penalty, nullptr);
    while (!done()) {
      penalty *= engine_.ratio();
      if (penalty < end * first * (1 - 1e-9)) break;
      const Fit last = fits_.back();
      add(penalty, &last);
    }
  }

  /// Penalties between the last with more features and the first with fewer, until one has just as many.
  void bisect() {
    for (int round = 0; round < most_bisections; ++round) {
      std::optional<std::size_t> more, fewer;
      for (std::size_t k = 0; k < fits_.size(); ++k) {
        const Index size = size_of(fits_[k]);
        if (size == *count_) return;
        if (size > *count_ && (!more || fits_[k].penalty > fits_[*more].penalty)) more = k;
        if (size < *count_ && (!fewer || fits_[k].penalty < fits_[*fewer].penalty)) fewer = k;
      }
      if (!more || !fewer || !(close * fits_[*more].penalty < fits_[*fewer].penalty)) return;
      const double between = std::sqrt(fits_[*more].penalty * fits_[*fewer].penalty);
      const Fit from = fits_[*more];
      add(between, &from);
    }
  }

  void rank() {
    const auto features = static_cast<std::size_t>(problem_.features);
    enters_.assign(features, 0);
    std::vector<double> norms(features);
    std::vector<bool> offered(features);
    for (const Index feature : problem_.feature_of) offered[static_cast<std::size_t>(feature)] = true;
    for (const Fit& fit : fits_) {  // from the largest penalty on
      std::vector<double> here(features);
      for (std::size_t k = 0; k < fit.columns.size(); ++k) {
        const auto j = static_cast<std::size_t>(fit.columns[k]);
        double& norm = here[static_cast<std::size_t>(problem_.feature_of[j])];
        norm = std::hypot(norm, fit.norms[k]);
      }
      for (std::size_t f = 0; f < features; ++f) {
        if (enters_[f] > 0 || here[f] == 0) continue;
        enters_[f] = fit.penalty;
        norms[f] = here[f];
      }
    }
    for (std::size_t f = 0; f < features; ++f) {
      if (offered[f]) order_.push_back(static_cast<Index>(f));
    }
    std::ranges::stable_sort(order_, [&](Index a, Index b) {
      const auto f = static_cast<std::size_t>(a), g = static_cast<std::size_t>(b);
      return enters_[f] != enters_[g] ? enters_[f] > enters_[g] : norms[f] > norms[g];
    });
  }

  static constexpr Index most_points = 60;
  static constexpr int most_bisections = 8;
  static constexpr double close = 1.001;  // where trainings differ by chance rather than by the penalty
  const Problem& problem_;
  Engine& engine_;
  std::optional<Index> count_;
  std::vector<Fit> fits_;
  std::vector<Index> order_;
  std::vector<double> enters_;
};

template <class T>
std::unique_ptr<Engine> make_engine(const Problem& problem, const FeatureRows& rows,
                                    const SelectFeaturesOptions& options) {
  if (options.model == FeatureModel::linear && problem.classes <= 2) {
    return features::make_linear_engine(problem, rows);
  }
  return features::make_network_engine<T>(problem, rows, options);
}

bool target_varies(const Problem& problem, const std::vector<Index>& rows) {
  const auto target = [&](Index i) { return problem.y[static_cast<std::size_t>(i)]; };
  return std::ranges::adjacent_find(rows, std::ranges::not_equal_to(), target) != rows.end();
}

/// How often each feature is among as many chosen on half of the rows.
template <class T>
std::vector<double> frequencies_of(const Problem& problem, const SelectFeaturesOptions& options,
                                   Index count) {
  std::vector<double> result(static_cast<std::size_t>(problem.features));
  if (count == 0) return result;
  for (Index b = 0; b < options.resamples; ++b) {
    SelectFeaturesOptions half = options;
    half.features = count;
    half.seed = Rng(options.seed, static_cast<std::uint64_t>(b) + 1).bits();
    FeatureRows rows = features::deal_rows(problem, 0.5, half.seed);
    rows.validation.clear();
    // A target that is rare and not in this half: no column has to do with it.
    if (!target_varies(problem, rows.train)) continue;
    const std::unique_ptr<Engine> engine = make_engine<T>(problem, rows, half);
    for (const Index feature : Search(problem, *engine, count).first(count)) {
      result[static_cast<std::size_t>(feature)] += 1;
    }
  }
  for (double& share : result) share /= static_cast<double>(options.resamples);
  return result;
}

}  // namespace

template <class T>
FeatureSelection select_features(const data::Dataset<T>& data, const SelectFeaturesOptions& options) {
  check_options(options);
  const KeepRandomState keep;
  const Problem problem = features::make_problem(data, options);
  check_count(problem, options.features);
  const FeatureRows rows = features::deal_rows(problem, options.validation, options.seed);
  if (rows.validation.empty()) {
    throw Error(selecting, "validation ", options.validation, " of ", problem.rows,
                " rows, which holds out none: expected a larger share");
  }
  if (!target_varies(problem, rows.train)) {
    throw Error(selecting, "a target that is the same in all ", rows.train.size(), " of ", problem.rows,
                " rows that are trained on: expected one that varies there");
  }
  const std::unique_ptr<Engine> engine = make_engine<T>(problem, rows, options);
  const Search search(problem, *engine, options.features);

  FeatureSelection result;
  result.duplicate_of = problem.duplicate_of;
  result.constant = problem.constant;
  result.offered = problem.offered;
  result.order = search.order();
  result.enters = search.enters();
  result.best = search.best();
  const auto is_in = [](double penalty) { return penalty > 0; };
  const Index wanted = options.features.value_or(result.offered);
  if (wanted > 0 && std::ranges::none_of(result.enters, is_in)) {
    throw Error(selecting, wanted, " features, of which none is in at penalties down to ",
                search.fits().back().penalty, ": expected a smaller first penalty, or larger inputs");
  }
  if (options.features) {
    result.features = search.first(*options.features);
    result.chosen = search.place_of(result.features);
  } else {
    result.chosen = search.one_standard_error();
    result.features = search.features_of(search.fits()[result.chosen]);
  }
  const Fit& least = search.fits()[result.best];
  for (const Fit& fit : search.fits()) {
    const LossDifference worse = loss_difference(fit, least);
    result.path.push_back({fit.penalty, search.features_of(fit), fit.train_loss, mean_loss(fit), worse.mean,
                           worse.standard_error});
  }
  std::vector<Index> columns;
  for (Index j = 0; j < problem.columns(); ++j) {
    if (std::ranges::binary_search(result.features, problem.feature_of[static_cast<std::size_t>(j)])) {
      columns.push_back(j);
    }
  }
  result.certificate = engine->certify(columns, search.fits()[result.chosen]);
  if (options.resamples > 0) {
    result.frequencies = frequencies_of<T>(problem, options, static_cast<Index>(result.features.size()));
  }
  return result;
}

double FeatureSelection::expected_false(double frequency) const {
  if (frequencies.empty()) {
    throw Error(selecting, "no frequencies to bound: expected a selection with resamples");
  }
  if (!(frequency > 0.5 && frequency <= 1)) {
    throw Error(selecting, "frequency ", frequency, ": expected more than 0.5, and at most 1");
  }
  const auto q = static_cast<double>(features.size());
  return q * q / ((2 * frequency - 1) * static_cast<double>(offered));
}

std::ostream& operator<<(std::ostream& out, const FeatureSelection& selection) {
  std::ostringstream text;
  text << "   penalty  features  train loss  held out  worse by      +-\n" << std::setprecision(4);
  for (std::size_t k = 0; k < selection.path.size(); ++k) {
    const FeaturePoint& point = selection.path[k];
    text << std::setw(10) << point.penalty << std::setw(10) << point.features.size() << std::setw(12)
         << point.train_loss << std::setw(10) << point.validation_loss << std::setw(10) << point.worse_by
         << std::setw(8) << std::setprecision(2) << point.standard_error << std::setprecision(4)
         << (k == selection.chosen ? "  chosen" : "") << (k == selection.best ? "  best" : "") << '\n';
  }
  const FeatureCertificate& certificate = selection.certificate;
  text << selection.features.size() << " of " << selection.offered << " features";
  if (certificate.left_out > 0 && certificate.is_measured()) {
    text << "; at penalty " << certificate.penalty << ", " << certificate.violated.size() << " of the "
         << certificate.left_out << " left out would grow";
  }
  if (certificate.relative_gap) text << "; duality gap " << *certificate.relative_gap;
  return out << text.str() << '\n';
}

#define TAPER_INSTANTIATE(T) \
  template FeatureSelection select_features(const data::Dataset<T>&, const SelectFeaturesOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity
