#include "rating_fit.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <taper/autodiff/random.hpp>
#include <taper/data/split.hpp>
#include <taper/nn/init.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/schedule.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

namespace taper::apps {
namespace {

using Machine = nn::FactorizationMachine<float>;
using Set = data::Dataset<float>;

constexpr double learning_rate = 0.02;
constexpr Index first_epochs = 8, path_epochs = 4, refit_epochs = 6, last_epochs = 16;

struct Decay {
  double factors, weights;
};

/// What each latent dimension adds to the predictions, as a deviation: the largest product of the root mean
/// squares of its factors in two fields. And the norms of the dimensions.
struct Dimensions {
  std::vector<double> contribution, norm;

  explicit Dimensions(const Machine& machine) {
    const Tensor<float> factors = machine.factors.materialize();
    const auto columns = factors.matrix();
    for (Index k = 0; k < columns.cols(); ++k) {
      double first = 0, second = 0;  // the two largest
      Index begin = 0;
      for (const Index size : machine.field_sizes()) {
        const auto part = columns.col(k).segment(begin, size).cast<double>();
        const double rms = part.norm() / std::sqrt(static_cast<double>(size));
        second = std::max(second, std::min(first, rms)), first = std::max(first, rms);
        begin += size;
      }
      contribution.push_back(first * second);
      norm.push_back(columns.col(k).cast<double>().norm());
    }
  }
  double mean_norm() const {
    if (norm.empty()) return 1;
    return std::accumulate(norm.begin(), norm.end(), 0.0) / static_cast<double>(norm.size());
  }
};

class RatingTraining {
 public:
  RatingTraining(const Set& all, const std::vector<Index>& sizes, const RatingFitOptions& options)
      : all_(all), sizes_(sizes), options_(options) {
    std::tie(train_, validation_) = data::train_test_split(all_, 0.1, options.seed);
    inputs_ = std::accumulate(sizes.begin(), sizes.end(), Index{0});
    batch_ = std::clamp<Index>(train_.rows() / 160, 16, 4096);
  }

  /// The machine before training: no biases, small factors, none for what is unknown.
  Machine start() const {
    manual_seed(options_.seed);
    Machine machine(sizes_, options_.rank);
    nn::init::normal(machine.factors.value(), 0, 0.05);
    std::ranges::fill(machine.weight.value(), 0.0f);
    Index end = 0;
    for (const Index size : sizes_) {
      end += size;
      machine.factors.value().matrix().row(end - 1).setZero();
    }
    return machine;
  }

  void fit(Machine& machine, const Set& set, Decay decay, Index epochs, double lr = learning_rate) {
    optim::Adam<float> adam(machine.parameters(),
                            {.lr = lr,
                             .weight_decay = decay.factors,
                             .groups = {{.match = "weight", .lr = {}, .weight_decay = decay.weights},
                                        {.match = "bias", .lr = {}, .weight_decay = 0.0}}});
    train::fit(machine, set, nn::mse_loss, adam,
               {.epochs = epochs,
                .batch_size = batch_,
                .seed = options_.seed + trainings_++,
                .schedule = optim::cosine_schedule(epochs, 0.05),
                .progress = train::Progress::quiet});
  }

  /// Squared errors on the validation part.
  std::vector<double> errors(const Machine& machine) const {
    const Tensor<float> y = train::predict(machine, validation_.x.view());
    std::vector<double> result;
    for (Index i = 0; i < y.size(); ++i) {
      const double error = static_cast<double>(y[i]) - static_cast<double>(validation_.y[i]);
      result.push_back(error * error);
    }
    return result;
  }

  /// Cuts off the dimensions that add less than a thousandth of the deviation of the ratings.
  Machine without_dead(const Machine& machine, double& difference) const {
    constexpr double dead = 1e-3;
    const Dimensions dimensions(machine);
    const auto width = static_cast<Index>(dimensions.norm.size());
    const auto is_dead = [&](Index k) { return dimensions.contribution[static_cast<std::size_t>(k)] < dead; };
    Index living = 0;
    for (Index k = 0; k < width; ++k) living += is_dead(k) ? 0 : 1;
    if (living == width) return machine;
    Machine pruned = machine;
    pruned.factors.prune(Mask::frozen(machine.factors.shape(), [&](Index i) { return is_dead(i % width); }));
    auto small =
        sparsity::shrink(pruned, {.examples = validation_.x, .threshold = 0.0, .keep_factors = true});
    difference = std::max(difference, small.report.max_relative_difference);
    return std::move(small.model);
  }

  const Set& all_;
  const std::vector<Index>& sizes_;
  const RatingFitOptions& options_;
  Set train_, validation_;
  Index inputs_ = 0, batch_ = 1;
  std::uint64_t trainings_ = 0;
};

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

/// Whether losses are no worse than others by more than the standard error of their differences.
bool within_one_error(const std::vector<double>& losses, const std::vector<double>& best) {
  const auto n = static_cast<double>(losses.size());
  double sum = 0, squared = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double apart = losses[i] - best[i];
    sum += apart, squared += apart * apart;
  }
  const double mean = sum / n, variance = std::max(0.0, squared / n - mean * mean);
  return mean <= std::sqrt(variance / n);
}

/// The same as float, which has all positions that a machine of float accepts.
Tensor<float> positions_of(const Tensor<double>& x) {
  Tensor<float> result(x.shape());
  std::ranges::transform(x, result.begin(), [](double at) { return static_cast<float>(at); });
  return result;
}

/// A machine with what it was judged by.
struct Candidate {
  Machine machine;
  RatingPoint point;
  Decay decay{0, 0};
  std::vector<double> losses = {};
  Machine refitted = machine;
};

/// Steps 1 to 3 of fit_ratings.
class RatingSearch {
 public:
  RatingSearch(const Set& all, const std::vector<Index>& sizes, const RatingFitOptions& options)
      : options_(options), training_(all, sizes, options) {
    const auto rows = static_cast<double>(training_.train_.rows());
    // What a normal prior of entries with half the deviation of the ratings makes of errors as large as
    // these: its decay 2 / rows / 0.5^2, times the norm of a dimension where the penalty is of whole ones.
    decay_of_entries_ = 8 / rows;
    penalty_of_dimensions_ = 0.5 * std::sqrt(static_cast<double>(training_.inputs_)) * decay_of_entries_;
  }

  void run(RatingFit& result) {
    rise();
    choose(tried_ranks());
    finish(result);
  }

 private:
  /// Trains along the path.
  void rise() {
    constexpr double lowest = 0.025, factor = 1.3;
    constexpr Index most_points = 40, after_best = 4;
    const double unit = options_.fixed ? decay_of_entries_ : penalty_of_dimensions_;
    Machine machine = training_.start();
    if (!options_.fixed) sparsity::factorize(machine, sparsity::Groups::inputs, "factors");
    double alpha = lowest * unit, least = std::numeric_limits<double>::infinity();
    Index since_least = 0;
    for (Index k = 0; k < most_points; ++k, alpha *= factor) {
      const Decay decay{alpha, decay_of_biases()};
      training_.fit(machine, training_.train_, decay, k == 0 ? first_epochs : path_epochs);
      if (!options_.fixed) machine = training_.without_dead(machine, difference_);
      const double loss = mean_of(training_.errors(machine));
      const Index rank = machine.factors.shape()[1];
      points_.push_back({machine, {.alpha = alpha, .rank = rank, .validation = std::sqrt(loss)}, decay});
      since_least = loss < least ? 0 : since_least + 1;
      least = std::min(least, loss);
      if (rank == 0 || (since_least >= after_best && loss > 1.2 * least)) return;
    }
  }

  /// Trains again: of each rank the point with the least loss, unless that is far from the least. Returns
  /// these, by rising rank.
  std::vector<Candidate*> tried_ranks() {
    std::map<Index, std::size_t> of_rank;
    std::size_t best = 0;
    for (std::size_t k = 0; k < points_.size(); ++k) {
      const RatingPoint& point = points_[k].point;
      const auto [at, is_new] = of_rank.try_emplace(point.rank, k);
      if (point.validation < points_[at->second].point.validation) at->second = k;
      if (point.validation < points_[best].point.validation) best = k;
    }
    std::vector<Candidate*> tried;
    for (const auto& [rank, k] : of_rank) {
      // Lower ranks stand under penalties that are larger, and have more to gain from training without.
      const double most = rank < points_[best].point.rank ? 1.25 : 1.05;
      if (points_[k].point.validation > most * points_[best].point.validation) continue;
      refit(points_[k]);
      tried.push_back(&points_[k]);
    }
    return tried;
  }

  /// The smallest rank that is as good as the best one, up to a standard error. Those below were left by
  /// larger penalties, whose decay may be what is worse about them: they get the best one's, too, and a
  /// search of their own unless they are far behind.
  void choose(const std::vector<Candidate*>& tried) {
    Candidate* const best = *std::ranges::min_element(
        tried, {}, [](const Candidate* candidate) { return candidate->point.refit; });
    search_decay(*best);
    chosen_ = best;
    for (Candidate* const smaller : tried) {
      if (smaller == best) break;
      retry(*smaller, best->decay);
      if (smaller->point.refit > 1.1 * best->point.refit) continue;
      search_decay(*smaller);
      if (!within_one_error(smaller->losses, best->losses)) continue;
      chosen_ = smaller;
      break;
    }
    chosen_->point.is_chosen = true;
  }

  void refit(Candidate& candidate) {
    candidate.refitted = candidate.machine;
    if (!options_.fixed) {
      candidate.decay.factors /= Dimensions(candidate.machine).mean_norm();
      sparsity::collapse(candidate.refitted);
    }
    training_.fit(candidate.refitted, training_.train_, candidate.decay, refit_epochs);
    judge(candidate);
    retry(candidate, {candidate.decay.factors, decay_of_entries_});
  }

  void judge(Candidate& candidate) {
    candidate.losses = training_.errors(candidate.refitted);
    candidate.point.refit = std::sqrt(mean_of(candidate.losses));
    candidate.point.refit_decay = candidate.decay.factors;
  }

  /// Goes on with another decay, and keeps what comes out where that lowers the validation loss. Returns
  /// whether it does.
  bool retry(Candidate& candidate, Decay decay) {
    Candidate other = candidate;
    other.decay = decay;
    training_.fit(other.refitted, training_.train_, decay, refit_epochs);
    judge(other);
    if (!(other.point.refit < candidate.point.refit)) return false;
    candidate = std::move(other);
    return true;
  }

  /// Of each decay, twice as much or half of it as long as that lowers the validation loss.
  void search_decay(Candidate& candidate) {
    constexpr int most_steps = 5;
    for (double Decay::*const which : {&Decay::factors, &Decay::weights}) {
      for (const double by : {2.0, 0.5}) {
        const auto scaled = [&] {
          Decay decay = candidate.decay;
          decay.*which *= by;
          return decay;
        };
        int steps = 0;
        while (steps < most_steps && retry(candidate, scaled())) ++steps;
        if (steps > 0) break;
      }
    }
  }

  void finish(RatingFit& result) {
    Candidate& chosen = *chosen_;
    if (chosen.point.rank > 0 && !options_.fixed) {
      const double alpha = chosen.point.alpha;
      polish(chosen.machine, training_.train_, alpha, decay_of_biases());
      result.certificate = sparsity::certify(chosen.machine, training_.train_, nn::mse_loss, alpha);
      result.next = next_dimension(chosen.machine, training_.train_, alpha, result.certificate.objective());
      chosen.point.validation = std::sqrt(mean_of(training_.errors(chosen.machine)));
    }
    result.shrunk = chosen.machine;
    if (!options_.fixed) sparsity::collapse(result.shrunk);
    result.refitted = chosen.refitted;
    const double share =
        static_cast<double>(training_.train_.rows()) / static_cast<double>(training_.all_.rows());
    result.factor_decay = chosen.decay.factors * share, result.weight_decay = chosen.decay.weights * share;
    training_.fit(result.refitted, training_.all_, {result.factor_decay, result.weight_decay}, last_epochs);
    for (const Candidate& point : points_) result.path.push_back(point.point);
    result.chosen = chosen.point;
    result.shrink_difference = difference_;
    result.training_rows = training_.train_.rows(), result.validation_rows = training_.validation_.rows();
  }

  /// Along the path: little, so that no dimension is kept for what biases could do.
  double decay_of_biases() const { return 0.1 * decay_of_entries_; }

  const RatingFitOptions& options_;
  RatingTraining training_;
  double decay_of_entries_ = 0, penalty_of_dimensions_ = 0, difference_ = 0;
  std::vector<Candidate> points_;
  Candidate* chosen_ = nullptr;
};

}  // namespace

RatingFit fit_ratings(const data::Dataset<double>& ratings, const std::vector<Index>& field_sizes,
                      const RatingFitOptions& options) {
  constexpr Index least_rows = 20;
  if (ratings.rows() < least_rows) {
    throw Error("sparse_fm", ratings.rows(), " ratings to train on: expected at least ", least_rows);
  }
  const auto start = std::chrono::steady_clock::now();
  RatingFit result{Machine(field_sizes, 0), Machine(field_sizes, 0)};
  const auto y = ratings.y.vector();
  // By the largest magnitude, whose square double may not hold.
  const double unit = y.cwiseAbs().maxCoeff();
  if (unit > 0) {
    const double mean = (y / unit).mean();
    result.mean = unit * mean;
    const double deviation = std::sqrt((y.array() / unit - mean).square().mean());
    if (deviation > 1e-12) result.deviation = unit * deviation;  // else all are one number
  }
  Set scaled{positions_of(ratings.x), Tensor<float>(ratings.y.shape()), {}, ""};
  for (Index i = 0; i < ratings.rows(); ++i) {
    scaled.y[i] = static_cast<float>((ratings.y[i] - result.mean) / result.deviation);
  }
  RatingSearch(scaled, field_sizes, options).run(result);
  for (RatingPoint& point : result.path) {
    point.validation *= result.deviation;
    if (point.refit >= 0) point.refit *= result.deviation;
  }
  result.chosen.validation *= result.deviation, result.chosen.refit *= result.deviation;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::vector<double> RatingFit::predict(const Machine& machine, const Tensor<double>& x) const {
  const Tensor<float> y = train::predict(machine, positions_of(x).view());
  std::vector<double> result;
  for (const float value : y) result.push_back(mean + deviation * static_cast<double>(value));
  return result;
}

}  // namespace taper::apps
