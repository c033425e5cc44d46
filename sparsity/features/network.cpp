#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <taper/autodiff/random.hpp>
#include <taper/instantiate.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/features/engine.hpp>
#include <taper/sparsity/group_norms.hpp>
#include <taper/sparsity/proximal.hpp>
#include <taper/train/fit.hpp>

namespace taper::sparsity::features {
namespace {

constexpr const char* gated = "0.weight";

/// Half a cosine from 1 to almost 0, so that each training ends at rest, where zeros can be told.
double half_cosine(const optim::TrainingTime& at) {
  constexpr double last = 0.01, pi = 3.14159265358979323846;
  const double share = static_cast<double>(at.step) / static_cast<double>(std::max<Index>(1, at.steps));
  return last + (1 - last) * (1 + std::cos(pi * share)) / 2;
}

/// What a column without weight weighs at most: as one that is almost gone.
constexpr double most_weight = 10;

/// A network that reads some columns of the problem, which its first layer has gates for.
template <class T> struct GatedNet {
  std::vector<Index> columns;
  std::vector<double> weights;  ///< of the columns in the penalty
  nn::Sequential<T> net;

  nn::Parameter<T>& weight() { return dynamic_cast<nn::Linear<T>&>(net[0]).weight; }
  const nn::Parameter<T>& weight() const { return dynamic_cast<const nn::Linear<T>&>(net[0]).weight; }
};

template <class T> std::vector<double> norms_of(const GatedNet<T>& net) {
  std::vector<double> norms(net.columns.size());
  if (norms.empty()) return norms;
  const Tensor<T> weight = net.weight().materialize();
  const auto width = static_cast<Index>(norms.size());
  for (Index i = 0; i < weight.size(); ++i) {
    add_to_norm(norms[static_cast<std::size_t>(i % width)], static_cast<double>(weight[i]));
  }
  return norms;
}

/// The same network with other columns: those that it had keep their weights, the others have none. `weights`
/// are theirs in the penalty from now on.
template <class T>
GatedNet<T> with_columns(const GatedNet<T>& from, const std::vector<Index>& columns,
                         const std::vector<double>& weights) {
  GatedNet<T> result;
  result.columns = columns;
  result.weights = weights;
  const auto& old = dynamic_cast<const nn::Linear<T>&>(from.net[0]);
  nn::Linear<T> first(static_cast<Index>(columns.size()), old.outputs());
  std::ranges::copy(old.bias->value(), first.bias->value().begin());
  result.net.push_back(std::move(first));
  for (std::size_t k = 1; k < from.net.size(); ++k) result.net.push_back_copy(from.net, k);
  factorize(result.net, Groups::inputs, {.weights = weights, .match = gated});
  const auto &u = from.weight().factors()[0], &v = from.weight().factors()[1];
  auto &to_u = result.weight().factors()[0], &to_v = result.weight().factors()[1];
  std::ranges::fill(to_u.value(), T(0));
  std::ranges::fill(to_v.value(), T(0));
  const auto width = static_cast<Index>(columns.size()), had = static_cast<Index>(from.columns.size());
  for (Index k = 0; k < width; ++k) {
    const auto to = static_cast<std::size_t>(k);
    const auto place = std::ranges::lower_bound(from.columns, columns[to]);
    if (place == from.columns.end() || *place != columns[to]) continue;
    const Index j = place - from.columns.begin();
    // The product is divided by the weight: both factors make up for a new one.
    const auto scale = static_cast<T>(std::sqrt(weights[to] / from.weights[static_cast<std::size_t>(j)]));
    to_v.value()[k] = scale * v.value()[j];
    for (Index o = 0; o < old.outputs(); ++o) {
      to_u.value()[o * width + k] = scale * u.value()[o * had + j];
    }
  }
  return result;
}

template <class T> class NetworkEngine : public Engine {
 public:
  NetworkEngine(const Problem& problem, const FeatureRows& rows, const SelectFeaturesOptions& options)
      : problem_(problem), rows_(rows), options_(options) {
    const auto n = static_cast<Index>(rows.train.size());
    batch_ = std::min(options.batch_size, std::max<Index>(8, n / 8));
    const double steps = std::ceil(static_cast<double>(n) / static_cast<double>(batch_));
    const auto passes = [&](double wanted) { return std::max<Index>(3, std::llround(wanted / steps)); };
    epochs_ = options.epochs.value_or(passes(300));
    first_epochs_ = options.first_epochs.value_or(passes(1000));
    refit_epochs_ = options.refit_epochs.value_or(options.features ? 0 : epochs_);
    outputs_ = problem.classes > 2 ? problem.classes : 1;
    if (problem.classes == 0) {
      loss_ = nn::mse_loss;
    } else if (problem.classes == 2) {
      loss_ = nn::bce_with_logits_loss;
    } else {
      loss_ = nn::cross_entropy_loss;
    }
    std::vector<Index> all(problem.column.size());
    std::iota(all.begin(), all.end(), Index{0});
    start_ = make_start(all);
    everything_ = dataset(all, rows.train);
  }

  bool rises() const override { return true; }
  double first_penalty() const override { return options_.first_penalty; }
  double ratio() const override { return options_.ratio; }
  double smallest() const override { return 1e-4; }

  Fit fit(double penalty, const Fit* from) override {
    GatedNet<T> net = from == nullptr ? start_ : nets_[from->id];
    Fit result;
    result.penalty = penalty;
    result.id = nets_.size();
    if (!net.columns.empty()) {
      const data::Dataset<T> made = net.columns.size() == problem_.column.size()
                                        ? data::Dataset<T>{}
                                        : dataset(net.columns, rows_.train);
      const data::Dataset<T>& set = net.columns.size() == problem_.column.size() ? everything_ : made;
      train(net, set, penalty, from == nullptr ? first_epochs_ : epochs_, options_.lr);
      net = nonzero(net);
    }
    describe(net, result);
    nets_.push_back(std::move(net));
    return result;
  }

  FeatureCertificate certify(const std::vector<Index>& columns, const Fit& from) override {
    FeatureCertificate result;
    result.penalty = from.penalty;
    std::set<Index> chosen;
    for (const Index j : columns) chosen.insert(problem_.feature_of[static_cast<std::size_t>(j)]);
    result.left_out = problem_.offered - static_cast<Index>(chosen.size());
    if (columns.empty()) return result;  // a network that reads nothing says nothing about slopes
    GatedNet<T> net = with_columns(nets_[from.id], columns, weights_of(nets_[from.id], columns));
    const data::Dataset<T> set = dataset(columns, rows_.train);
    train(net, set, from.penalty, first_epochs_, options_.lr);
    std::vector<Index> all(problem_.column.size());
    std::iota(all.begin(), all.end(), Index{0});
    result.left_out_weight = weight_left_out();
    const GatedNet<T> rested = net;
    GatedNet<T> whole = with_columns(rested, all, weights_of(rested, all, false));
    const NetworkCertificate judged = sparsity::certify(whole.net, everything_, loss_, from.penalty);
    const LayerCertificate& layer = judged.layers.front();
    result.worst_chosen = layer.worst_nonzero;
    std::set<Index> violated;
    for (const Index j : layer.revivable) {
      const Index feature = problem_.feature_of[static_cast<std::size_t>(j)];
      if (!chosen.contains(feature)) violated.insert(feature);
    }
    result.violated.assign(violated.begin(), violated.end());
    return result;
  }

 private:
  GatedNet<T> make_start(const std::vector<Index>& all) const {
    const KeepRandomState keep;
    manual_seed(options_.seed);
    GatedNet<T> result;
    result.columns = all;
    result.weights.assign(all.size(), 1);
    Index width = problem_.columns();
    const std::vector<Index> hidden =
        options_.model == FeatureModel::linear ? std::vector<Index>() : options_.hidden;
    for (const Index units : hidden) {
      result.net.push_back(nn::Linear<T>(width, units));
      result.net.push_back(nn::ReLU<T>());
      width = units;
    }
    result.net.push_back(nn::Linear<T>(width, outputs_));
    factorize(result.net, Groups::inputs, {.start = Start::balanced, .match = gated});
    return result;
  }

  /// Rows as they are learned from, with these columns.
  data::Dataset<T> dataset(const std::vector<Index>& columns, const std::vector<Index>& rows) const {
    const auto n = static_cast<Index>(rows.size()), p = static_cast<Index>(columns.size());
    data::Dataset<T> set{Tensor<T>(Shape{n, p}), Tensor<T>(Shape{n, 1}), {}, {}};
    for (Index i = 0; i < n; ++i) {
      set.y[i] = static_cast<T>(problem_.y[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])]);
    }
    for (Index k = 0; k < p; ++k) {
      const double* const values = problem_.values(columns[static_cast<std::size_t>(k)]);
      for (Index i = 0; i < n; ++i) {
        set.x[i * p + k] = static_cast<T>(values[rows[static_cast<std::size_t>(i)]]);
      }
    }
    return set;
  }

  void run(GatedNet<T>& net, const data::Dataset<T>& set, double penalty, double decay, Index epochs,
           double lr) const {
    const KeepRandomState keep;
    optim::AdamOptions adam{.lr = lr, .weight_decay = decay};
    for (const auto& entry : net.net.parameters().entries()) {
      if (entry.factor_of != nullptr) {
        adam.groups.push_back({entry.name, {}, penalty});
      } else if (entry.name.ends_with("bias")) {
        adam.groups.push_back({entry.name, {}, 0.0});
      }
    }
    train::fit(net.net, set, loss_, optim::Adam<T>(net.net.parameters(), adam),
               {.epochs = epochs,
                .batch_size = batch_,
                .seed = options_.seed,
                .schedule = half_cosine,
                .progress = train::Progress::quiet});
  }

  /// To rest at a penalty, with exact zeros.
  void train(GatedNet<T>& net, const data::Dataset<T>& set, double penalty, Index epochs, double lr) const {
    run(net, set, penalty, options_.weight_decay, epochs, lr);
    try {
      proximal_step(net.net, set, loss_, penalty);
    } catch (const Error&) {
      // At a kink of a rectifier, or with columns of very different sizes, no step may lower the loss.
      drop_negligible(net);
    }
  }

  /// Sets to zero what is nothing beside the largest norm.
  static void drop_negligible(GatedNet<T>& net) {
    const std::vector<double> norms = norms_of(net);
    const double most = std::ranges::max(norms);
    const auto width = static_cast<Index>(norms.size());
    auto &u = net.weight().factors()[0], &v = net.weight().factors()[1];
    for (Index j = 0; j < width; ++j) {
      if (norms[static_cast<std::size_t>(j)] > 1e-5 * most) continue;
      v.value()[j] = 0;
      for (Index i = j; i < u.value().size(); i += width) u.value()[i] = 0;
    }
  }

  double adaptive() const { return options_.model == FeatureModel::linear ? 0 : options_.adaptive; }
  double weight_left_out() const { return adaptive() > 0 ? most_weight : 1; }

  /// The weights of these columns in the penalty: as they are or, with `anew`, from the norms of the network
  /// as it stands, around their mean.
  std::vector<double> weights_of(const GatedNet<T>& net, const std::vector<Index>& columns,
                                 bool anew = true) const {
    std::vector<double> result(columns.size(), weight_left_out());
    if (adaptive() == 0) return result;
    const std::vector<double> norms = norms_of(net);
    std::vector<double> powers(columns.size());
    double sum = 0;
    for (std::size_t k = 0; k < columns.size(); ++k) {
      const auto place = std::ranges::lower_bound(net.columns, columns[k]);
      if (place == net.columns.end() || *place != columns[k]) continue;
      const auto j = static_cast<std::size_t>(place - net.columns.begin());
      if (!anew) result[k] = net.weights[j];
      powers[k] = std::pow(norms[j], adaptive());
      sum += powers[k];
    }
    if (!anew || !(sum > 0)) return result;
    const double mean = sum / static_cast<double>(columns.size());
    for (std::size_t k = 0; k < columns.size(); ++k) {
      result[k] = powers[k] * most_weight > mean ? mean / powers[k] : most_weight;
    }
    return result;
  }

  /// Without the columns that have no weight, and with the weights of the next penalty.
  GatedNet<T> nonzero(const GatedNet<T>& net) const {
    const KeepRandomState keep;
    const std::vector<double> norms = norms_of(net);
    std::vector<Index> kept;
    for (std::size_t k = 0; k < norms.size(); ++k) {
      if (norms[k] > 0) kept.push_back(net.columns[k]);
    }
    if (kept.empty()) return {};
    return with_columns(net, kept, weights_of(net, kept));
  }

  void describe(const GatedNet<T>& net, Fit& result) const {
    result.columns = net.columns;
    if (net.columns.empty()) {
      const std::vector<double> constant = null_outputs(problem_, rows_.train);
      const auto loss = [&](Index i) {
        return row_loss(problem_, constant.data(), problem_.y[static_cast<std::size_t>(i)]);
      };
      for (const Index i : rows_.train) result.train_loss += loss(i);
      result.train_loss /= static_cast<double>(rows_.train.size());
      for (const Index i : rows_.validation) result.losses.push_back(loss(i));
      return;
    }
    result.norms = norms_of(net);
    if (rows_.validation.empty()) return;
    GatedNet<T> fitted = net;
    const data::Dataset<T> set = dataset(net.columns, rows_.train);
    // Weights without a penalty, which would pull them towards zero and make few columns look worse.
    if (refit_epochs_ > 0) run(fitted, set, 1e-6, 1e-6, refit_epochs_, options_.lr);
    result.train_loss = train::evaluate(fitted.net, set, loss_);
    const data::Dataset<T> held = dataset(net.columns, rows_.validation);
    const Tensor<T> said = train::predict(fitted.net, held.inputs());
    std::vector<double> outputs(static_cast<std::size_t>(outputs_));
    for (Index i = 0; i < held.rows(); ++i) {
      for (Index o = 0; o < outputs_; ++o) {
        outputs[static_cast<std::size_t>(o)] = static_cast<double>(said[i * outputs_ + o]);
      }
      const Index row = rows_.validation[static_cast<std::size_t>(i)];
      result.losses.push_back(row_loss(problem_, outputs.data(), problem_.y[static_cast<std::size_t>(row)]));
    }
  }

  const Problem& problem_;
  const FeatureRows& rows_;
  const SelectFeaturesOptions options_;
  nn::Loss<T> loss_;
  Index batch_ = 0, epochs_ = 0, first_epochs_ = 0, refit_epochs_ = 0, outputs_ = 0;
  GatedNet<T> start_;
  data::Dataset<T> everything_;
  std::vector<GatedNet<T>> nets_;
};

}  // namespace

double row_loss(const Problem& problem, const double* outputs, double y) {
  if (problem.classes == 0) return (y - outputs[0]) * (y - outputs[0]);
  if (problem.classes == 2) {
    const double against = y != 0 ? -outputs[0] : outputs[0];
    return std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against)));
  }
  const double* const end = outputs + problem.classes;
  const double most = *std::max_element(outputs, end);
  double sum = 0;
  for (const double* z = outputs; z < end; ++z) sum += std::exp(*z - most);
  return most + std::log(sum) - outputs[static_cast<Index>(y)];
}

std::vector<double> null_outputs(const Problem& problem, const std::vector<Index>& rows) {
  const auto n = static_cast<double>(rows.size());
  std::vector<double> counts(static_cast<std::size_t>(std::max<Index>(1, problem.classes)));
  for (const Index i : rows) {
    const double y = problem.y[static_cast<std::size_t>(i)];
    if (problem.classes == 0) {
      counts[0] += y / n;
    } else {
      counts[static_cast<std::size_t>(y)] += 1 / n;
    }
  }
  if (problem.classes == 0) return counts;
  if (problem.classes == 2) return {std::log(counts[1] / counts[0])};
  for (double& count : counts) count = std::log(std::max(count, 0.5 / n));
  return counts;
}

template <class T>
std::unique_ptr<Engine> make_network_engine(const Problem& problem, const FeatureRows& rows,
                                            const SelectFeaturesOptions& options) {
  return std::make_unique<NetworkEngine<T>>(problem, rows, options);
}

#define TAPER_INSTANTIATE(T)                                                                  \
  template std::unique_ptr<Engine> make_network_engine<T>(const Problem&, const FeatureRows&, \
                                                          const SelectFeaturesOptions&);
TAPER_FOR_SCALARS(TAPER_INSTANTIATE)
#undef TAPER_INSTANTIATE

}  // namespace taper::sparsity::features
