#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/factorization_machine.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/sparsity/network_path.hpp>
#include <taper/sparsity/refit.hpp>

#include "output.hpp"
#include "table_fit.hpp"

namespace taper::apps {
namespace {

Link link_of(const data::TargetColumn& target) {
  switch (target.kind) {
    case data::TargetKind::regression:
      return Link::identity;
    case data::TargetKind::two_classes:
      return Link::logistic;
    default:
      return Link::softmax;
  }
}

/// How long each training takes: about so many steps, within so many passes over the rows.
struct Recipe {
  Index batch_size;
  Index first_epochs, epochs, refit_epochs;
};

Recipe recipe_for(Index rows, double effort) {
  const Index batch = std::clamp<Index>(rows / 40, 8, 128), steps = (rows + batch - 1) / batch;
  const auto epochs = [&](double wanted, double most) {
    const double passes = std::clamp(wanted / static_cast<double>(steps), 2.0, most);
    return std::max<Index>(1, std::llround(effort * passes));
  };
  return {batch, epochs(10'000, 100), epochs(4000, 40), epochs(8000, 80)};
}

/// Half a cosine from 1 to almost 0, so that each training ends at rest, where it can be certified.
double falling_rate(const optim::TrainingTime& at) {
  constexpr double last = 0.01, pi = 3.14159265358979323846;
  const double share = static_cast<double>(at.step) / static_cast<double>(std::max<Index>(1, at.steps));
  return last + (1 - last) * (1 + std::cos(pi * share)) / 2;
}

std::vector<Index> widths_for(Index rows, const std::vector<Index>& asked) {
  if (!asked.empty()) return asked;
  if (rows < 2000) return {32, 16};
  return {32, 64, 32};
}

/// Mean and standard error of the loss on rows held out.
void judge(const TableModel& model, const std::vector<Index>& kept, const LearningSet& validation,
           PathPlace& place) {
  const Index rows = validation.x.shape()[0], width = validation.x.shape()[1];
  Tensor<double> x(Shape{rows, static_cast<Index>(kept.size())});
  for (Index i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < kept.size(); ++j) {
      x[i * static_cast<Index>(kept.size()) + static_cast<Index>(j)] = validation.x[i * width + kept[j]];
    }
  }
  const Tensor<double> said = said_by(model, x);
  const std::vector<double> losses = row_losses(model.preprocessing.target, said, validation.y);
  const auto n = static_cast<double>(losses.size());
  place.loss = std::accumulate(losses.begin(), losses.end(), 0.0) / n;
  double squares = 0;
  for (const double loss : losses) squares += (loss - place.loss) * (loss - place.loss);
  place.standard_error = std::sqrt(squares / n / n);
  place.parameters = model.parameters();
  place.inputs = static_cast<Index>(model.preprocessing.inputs().size());
  place.details = errors_of(model.preprocessing.target, said, validation.y);
}

/// A network or machine along rising penalties, and further where the budget needs it.
class PathFit {
 public:
  PathFit(const data::Preprocessing& preprocessing, const LearningSet& train, const LearningSet& validation,
          const TableFitOptions& options)
      : preprocessing_(preprocessing),
        validation_(validation),
        options_(options),
        train_set_(dataset_of(train)),
        validation_set_(dataset_of(validation)),
        recipe_(recipe_for(train_set_.rows(), options.effort)) {}

  TableFit run(nn::Sequential<float> net) {
    constexpr double ratio = 2.5;
    constexpr std::size_t most_points = 14;
    constexpr double most_penalty = 1e6;  // of standardized data: nothing is left long before
    if (options_.penalty && *options_.penalty > most_penalty) {
      throw Error("fit", "--penalty ", *options_.penalty, ": expected at most ", most_penalty,
                  " for a network or factorization machine, of which nothing is left then");
    }
    const bool regression = preprocessing_.target.kind == data::TargetKind::regression;
    double alpha = options_.penalty ? *options_.penalty : regression ? 3e-4 : 1e-3;
    net_ = std::move(net);
    do {
      add(alpha);
      alpha *= ratio;
    } while (!options_.penalty && !done() && places_.size() < most_points);
    if (!options_.penalty) add_between();
    if (!options_.penalty && options_.budget) add_near_budget();
    sort();
    const std::optional<std::size_t> chosen = choose(places_, options_);
    if (!chosen) {
      throw Error("fit", "no penalty gives a model of at most ", options_.budget.value_or(0),
                  " parameters, the smallest has ", places_.front().parameters, ": expected a larger budget");
    }
    TableFit fit;
    fit.chosen = *chosen;
    fit.certificate = certificates_[*chosen];
    fit.validation = {{"method", "rows held out"}, {"rows", validation_.y.size()}};
    fit.validation.update(places_[*chosen].details);
    fit.model = std::move(models_[*chosen]);
    fit.path = std::move(places_);
    return fit;
  }

 private:
  /// Whether larger penalties can be no better: hardly anything is left, or the loss has become much larger.
  bool done() const {
    const PathPlace& last = places_.back();
    if (last.inputs == 0) return true;
    if (!any_within()) return false;
    const PathPlace& best = *std::ranges::min_element(places_, {}, &PathPlace::loss);
    return last.loss > best.loss + 5 * best.standard_error;
  }

  bool any_within() const {
    return std::ranges::any_of(places_, [&](const PathPlace& place) {
      return place.inputs > 0 && (!options_.budget || place.parameters <= *options_.budget);
    });
  }

  /// Where everything goes from one penalty to the next, what fits the budget is in between, and where much
  /// went, what is best may be.
  void add_between() {
    std::size_t low = places_.size();  // the last that reads a column
    while (low > 0 && places_[low - 1].inputs == 0) --low;
    if (low == 0 || low == places_.size()) return;
    --low;
    double above = places_[low + 1].penalty;
    const bool searches = !any_within();
    const int rounds = searches ? 8 : 2;
    for (int k = 0; k < rounds && (!searches || !any_within()); ++k) {
      net_ = nets_[low];
      add(std::sqrt(places_[low].penalty * above));
      if (places_.back().inputs == 0) {
        above = places_.back().penalty;
      } else {
        low = places_.size() - 1;
      }
    }
  }

  /// A model is best where it uses most of its budget: penalties between the last beyond it and the first
  /// within.
  void add_near_budget() {
    constexpr int rounds = 4;
    constexpr double most_of = 0.85;
    const Index budget = *options_.budget;
    for (int k = 0; k < rounds; ++k) {
      std::optional<std::size_t> beyond, within;
      for (std::size_t j = 0; j < places_.size(); ++j) {
        const bool fits = places_[j].parameters <= budget;
        if (fits && (!within || places_[j].penalty < places_[*within].penalty)) within = j;
        if (!fits && (!beyond || places_[j].penalty > places_[*beyond].penalty)) beyond = j;
      }
      if (!beyond || !within || places_[*beyond].penalty >= places_[*within].penalty) return;
      if (static_cast<double>(places_[*within].parameters) >= most_of * static_cast<double>(budget)) return;
      net_ = nets_[*beyond];
      add(std::sqrt(places_[*beyond].penalty * places_[*within].penalty));
    }
  }

  /// From the largest penalty to the smallest.
  void sort() {
    std::vector<std::size_t> order(places_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order,
                      [&](std::size_t a, std::size_t b) { return places_[a].penalty > places_[b].penalty; });
    std::vector<PathPlace> places;
    std::vector<TableModel> models;
    std::vector<Json> certificates;
    for (const std::size_t k : order) {
      places.push_back(std::move(places_[k]));
      models.push_back(std::move(models_[k]));
      certificates.push_back(std::move(certificates_[k]));
    }
    places_ = std::move(places), models_ = std::move(models), certificates_ = std::move(certificates);
  }

  void add(double alpha) {
    train::FitOptions<float> fit{.epochs = recipe_.epochs,
                                 .batch_size = recipe_.batch_size,
                                 .seed = options_.seed,
                                 .schedule = falling_rate,
                                 .progress = train::Progress::quiet};
    const nn::Loss<float> loss = network_loss(preprocessing_.target);
    std::vector<sparsity::NetworkPoint<float>> points =
        sparsity::network_path(net_, train_set_, validation_set_, loss,
                               {.alphas = {alpha},
                                .fit = fit,
                                .first_epochs = places_.empty() ? recipe_.first_epochs : recipe_.epochs});
    sparsity::NetworkPoint<float>& point = points.front();
    // Trained again, and put back to where it was best on the rows held out: by Levenberg-Marquardt, which
    // has no rate that could fall, or by Adam where the network is large.
    fit.epochs = recipe_.refit_epochs;
    fit.validation = &validation_set_;
    fit.early_stopping = train::EarlyStopping{.patience = std::max<Index>(5, recipe_.refit_epochs / 3)};
    fit.schedule = {};
    if (!sparsity::suits_second_order(point.model, train_set_, loss, fit)) fit.schedule = falling_rate;
    sparsity::refit(point.model, train_set_, loss, {}, fit);
    PathPlace place;
    place.penalty = alpha;
    std::vector<Index> kept;
    models_.push_back(network_model(point.model, preprocessing_, kept));
    judge(models_.back(), kept, validation_, place);
    nets_.push_back(net_);
    tell(options_.quiet,
         fmt::format("penalty {:.2g}: {} of {} parameters, {} columns, held-out loss {:.5g}", alpha,
                     place.parameters, point.shrunk.parameters_before, place.inputs, place.loss));
    Json certificate = report_on(point.certificate);
    certificate["kind"] = "optimality of each group, before training again";
    certificates_.push_back(std::move(certificate));
    places_.push_back(std::move(place));
  }

  const data::Preprocessing& preprocessing_;
  const LearningSet& validation_;
  const TableFitOptions& options_;
  data::Dataset<float> train_set_, validation_set_;
  Recipe recipe_;
  nn::Sequential<float> net_;
  std::vector<PathPlace> places_;
  std::vector<TableModel> models_;
  std::vector<Json> certificates_;
  std::vector<nn::Sequential<float>> nets_;  // as each place left them
};

}  // namespace

data::Dataset<float> dataset_of(const LearningSet& rows) {
  data::Dataset<float> set;
  set.x = Tensor<float>(rows.x.shape());
  set.y = Tensor<float>(Shape{static_cast<Index>(rows.y.size()), 1});
  std::ranges::transform(rows.x, set.x.begin(), [](double value) { return static_cast<float>(value); });
  std::ranges::transform(rows.y, set.y.begin(), [](double value) { return static_cast<float>(value); });
  return set;
}

nn::Loss<float> network_loss(const data::TargetColumn& target) {
  switch (target.kind) {
    case data::TargetKind::regression:
      return nn::mse_loss;
    case data::TargetKind::two_classes:
      return nn::bce_with_logits_loss;
    default:
      return nn::cross_entropy_loss;
  }
}

Index network_outputs(const data::TargetColumn& target) {
  return target.kind == data::TargetKind::classes ? static_cast<Index>(target.classes.size()) : 1;
}

TableModel network_model(const nn::Sequential<float>& net, data::Preprocessing preprocessing,
                         std::vector<Index>& kept) {
  kept.resize(preprocessing.features.size());
  std::iota(kept.begin(), kept.end(), Index{0});
  std::size_t first = 0;
  if (net.size() > 0) {
    if (const auto* const select = dynamic_cast<const nn::Select<float>*>(&net[0])) {
      kept = select->columns();
      preprocessing.keep(kept);
      first = 1;
    }
  }
  nn::Sequential<float> rest;
  for (std::size_t k = first; k < net.size(); ++k) rest.push_back_copy(net, k);
  const auto width = static_cast<Index>(kept.size());
  const Link link = link_of(preprocessing.target);
  return {std::move(preprocessing), link, nn::Graph<float>::trace(rest, {Shape{2, width}}), Json::object()};
}

TableFit fit_network(const data::Preprocessing& preprocessing, const LearningSet& train,
                     const LearningSet& validation, const TableFitOptions& options) {
  const std::vector<Index> hidden = widths_for(train.x.shape()[0], options.hidden);
  if (const Index fewest = fewest_network_parameters(preprocessing.target, hidden.size());
      options.budget && *options.budget < fewest) {
    throw Error("fit", "a budget of ", *options.budget, " parameters: expected at least ", fewest,
                ", as a network of one column with one unit in each of ", hidden.size(), " layers has");
  }
  manual_seed(options.seed);
  nn::Sequential<float> net;
  Index width = train.x.shape()[1];
  for (const Index units : hidden) {
    net.push_back(nn::Linear<float>(width, units));
    net.push_back(nn::ReLU<float>());
    width = units;
  }
  net.push_back(nn::Linear<float>(width, network_outputs(preprocessing.target)));
  sparsity::factorize(net, sparsity::Groups::inputs);
  return PathFit(preprocessing, train, validation, options).run(std::move(net));
}

TableFit fit_machine(const data::Preprocessing& preprocessing, const LearningSet& train,
                     const LearningSet& validation, const TableFitOptions& options) {
  constexpr Index most_dimensions = 16;
  if (preprocessing.target.kind == data::TargetKind::classes) {
    throw Error("fit", "--model fm for ", preprocessing.target.classes.size(),
                " classes: expected a number or two classes, or --model network");
  }
  // The coefficients have no gates: it is the latent dimensions that penalties choose.
  const Index fewest = train.x.shape()[1] + 1;
  if (options.budget && *options.budget < fewest) {
    throw Error("fit", "a budget of ", *options.budget, " parameters: expected at least ", fewest,
                ", as a factorization machine of ", train.x.shape()[1], " features has without interactions");
  }
  manual_seed(options.seed);
  nn::Sequential<float> net;
  net.push_back(nn::FactorizationMachine<float>(train.x.shape()[1], most_dimensions));
  sparsity::factorize(net, sparsity::Groups::inputs, "*factors");
  return PathFit(preprocessing, train, validation, options).run(std::move(net));
}

}  // namespace taper::apps
