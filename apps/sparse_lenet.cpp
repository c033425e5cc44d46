// Networks for images of digits: trained, trained sparse, shrunk to the filters and neurons that are needed,
// trained again, and compared with a dense network of the same final size that had the same time.

#include <fmt/core.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <taper/taper.hpp>

#include "figures.hpp"
#include "lenet.hpp"
#include "model_file.hpp"
#include "output.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  std::string model = "lenet300", groups = "inputs", penalty = "one", plot, file, checkpoint;
  std::vector<std::string> path;
  Index limit = 0, validation = 5000, depth = 2, batch_size = 128, shift = 0;
  Index dense_epochs = 10, epochs = 30, refit_epochs = 20, control_epochs = -1, shrink_every = 0, budget = 0;
  double lr = 2e-3, weight_decay = 4e-4, refit_decay = 1e-5, smoothing = 0, teach = 0, checkpoint_every = 60;

  /// The penalties: those of the path, or the one.
  std::vector<double> alphas() const {
    if (path.empty()) {
      if (weight_decay > 0) return {weight_decay};
      throw Error("sparse_lenet", "--weight-decay 0: expected a penalty above 0");
    }
    std::vector<double> result;
    for (const std::string& text : path) {
      double alpha = 0;
      const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), alpha);
      if (problem != std::errc{} || stop != text.data() + text.size() || !(alpha > 0) ||
          !std::isfinite(alpha)) {
        throw Error("sparse_lenet", "--path: '", text, "': expected finite numbers above 0");
      }
      result.push_back(alpha);
    }
    return result;
  }
};

/// A certificate, with the zero groups of each layer in one list.
apps::Json short_report_on(const sparsity::NetworkCertificate& certificate) {
  std::vector<Index> zero, nonzero;
  for (const sparsity::LayerCertificate& layer : certificate.layers) {
    zero.push_back(layer.zero), nonzero.push_back(layer.nonzero);
  }
  apps::Json report = apps::report_on(certificate);
  report.erase("layers");
  report.update({{"tested", certificate.tested()}, {"zero", zero}, {"nonzero", nonzero}});
  return report;
}

class Job {
 public:
  explicit Job(const Options& options)
      : options_(options),
        alphas_(options.alphas()),
        sets_(apps::load_images(options, options.model == "lenet300", options.limit, options.validation)),
        loss_([smoothing = options.smoothing](Var<float> logits, Var<float> labels) {
          return cross_entropy_loss(logits, labels, {.label_smoothing = smoothing});
        }),
        dense_(apps::lenet(options.model)) {
    if (options.budget > 0 && (options.groups != "filters" || options.shrink_every == 0)) {
      throw Error("sparse_lenet", "--budget without --groups filters and --shrink-every: expected both");
    }
    if (options.budget > 0 && options.shrink_every >= options.epochs) {
      throw Error("sparse_lenet", "--budget with --shrink-every ", options.shrink_every, " of ",
                  options.epochs, " epochs, which cuts nothing on the way: expected fewer than --epochs");
    }
    if (!(options.smoothing >= 0 && options.smoothing < 1)) {
      throw Error("sparse_lenet", "--label-smoothing ", options.smoothing, ": expected 0 or more, below 1");
    }
    if (!(options.teach >= 0 && options.teach <= 1)) {
      throw Error("sparse_lenet", "--teach ", options.teach, ": expected 0 to 1");
    }
    if (options.teach > 0 && options.dense_epochs == 0) {
      throw Error("sparse_lenet",
                  "--teach without --dense-epochs: expected a dense network that has been trained");
    }
  }

  void run();

 private:
  train::History train(nn::Sequential<float>& net, optim::Adam<float> adam, Index epochs,
                       const std::string& title, bool saved = true) const {
    return train_part(net, sets_.train, loss_, adam, 0, epochs, epochs, title, saved);
  }
  train::History train_part(nn::Sequential<float>& net, const data::Dataset<float>& set,
                            const nn::Loss<float>& loss, optim::Adam<float>& adam, Index from, Index to,
                            Index epochs, const std::string& title, bool saved = true) const;
  train::History learn(nn::Sequential<float>& net, Index epochs, double from_dense, const std::string& title,
                       bool saved) const;
  double train_sparse(nn::Sequential<float>& net, double alpha, const std::string& title) const;
  optim::Adam<float> plain_adam(nn::Sequential<float>& net) const {
    return optim::Adam<float>(net.parameters(), {.lr = options_.lr, .weight_decay = options_.refit_decay});
  }
  void factorize(nn::Sequential<float>& net) const;
  apps::Json measured(const nn::Sequential<float>& net) const;
  apps::Json point(double alpha, const std::string& number);

  const Options& options_;
  std::vector<double> alphas_;
  apps::Images sets_;
  nn::Loss<float> loss_;
  nn::Sequential<float> dense_;
  std::optional<nn::Sequential<float>> last_;  // what --save keeps
  double dense_seconds_ = 0;
  Index multiply_adds_ = 0;  // of the dense network
};

/// Some of the epochs of a training with Adam on batches, with a learning rate that falls to 0 along half a
/// cosine over all of them.
train::History Job::train_part(nn::Sequential<float>& net, const data::Dataset<float>& set,
                               const nn::Loss<float>& loss, optim::Adam<float>& adam, Index from, Index to,
                               Index epochs, const std::string& title, bool saved) const {
  train::FitOptions<float> fit{
      .epochs = to - from,
      .batch_size = options_.batch_size,
      .seed = options_.seed,
      .validation = nullptr,
      .progress = options_.quiet ? train::Progress::quiet : train::Progress::automatic,
      .title = title};
  const Index steps = (sets_.train.rows() + options_.batch_size - 1) / options_.batch_size;
  if (epochs > 0) {
    const optim::Schedule cosine = optim::cosine_schedule(epochs * steps);
    fit.schedule = optim::per_step([=](Index step) { return cosine(from * steps + step); });
  }
  if (options_.shift > 0) {
    fit.augment = [most = options_.shift](std::span<const View<float>> columns, Rng& rng) {
      const View<float> images = columns[0];  // in a row or not
      data::shift_images(View<float>(images.data(), Shape{images.shape()[0], 28, 28}), most, rng);
    };
  }
  if (saved && !options_.checkpoint.empty()) {
    const std::string path = options_.checkpoint + '.' + title;
    apps::note_file(path), apps::note_file(path + ".1");  // where nothing else may be written
    fit.checkpoint = io::checkpoint(path, {.every = options_.checkpoint_every});
  }
  return train::fit(net, set, loss, adam, fit);
}

/// Trains a small network. A part of its loss may be learned from the dense network, by the cross entropy
/// with what that says, both softened by a temperature of 4 (Hinton, Vinyals and Dean, "Distilling the
/// knowledge in a neural network", 2015, section 2).
train::History Job::learn(nn::Sequential<float>& net, Index epochs, double from_dense,
                          const std::string& title, bool saved) const {
  optim::Adam<float> adam = plain_adam(net);
  if (from_dense == 0) {
    return train_part(net, sets_.train, loss_, adam, 0, epochs, epochs, title, saved);
  }
  const float temperature = 4, part = static_cast<float>(from_dense);
  const Tensor<float> logits = train::predict(dense_, sets_.train.x);
  const Index classes = logits.shape()[1];
  data::Dataset<float> taught = sets_.train;
  taught.y = Tensor<float>({logits.shape()[0], classes + 1});
  for (Index i = 0; i < logits.shape()[0]; ++i) {
    taught.y.matrix()(i, 0) = sets_.train.y[i];
    const auto soft = (logits.matrix().row(i).array() / temperature).eval();
    const auto shares = (soft - soft.maxCoeff()).exp().eval();
    taught.y.matrix().row(i).tail(classes) = shares / shares.sum();
  }
  const auto loss = [this, temperature, part, classes](Var<float> y, Var<float> target) {
    const Var<float> labels = reshape(slice(target, 1, 0, 1), {-1}), soft = slice(target, 1, 1, classes + 1);
    const Var<float> taught_loss = -mean(sum(soft * log_softmax(y * (1 / temperature)), {1}));
    return loss_(y, labels) * (1 - part) + taught_loss * (part * temperature * temperature);
  };
  return train_part(net, taught, loss, adam, 0, epochs, epochs, title, saved);
}

/// The training with the penalty; returns its seconds. With --shrink-every, what has become zero is cut on
/// the way, which changes nothing but the time that is left: the factors and the state of Adam go on.
double Job::train_sparse(nn::Sequential<float>& net, double alpha, const std::string& title) const {
  const optim::AdamOptions options{.lr = options_.lr,
                                   .weight_decay = options_.refit_decay,
                                   .groups = {{.match = "*.weight.*", .weight_decay = alpha}}};
  const Index every = options_.shrink_every > 0 ? options_.shrink_every : options_.epochs;
  const Shape some = sets_.train.x.shape().with(0, std::min<Index>(sets_.train.rows(), 4096));
  const View<const float> examples(sets_.train.x.data(), some);
  std::optional<optim::OptimizerState<float>> state;
  double seconds = 0;
  for (Index from = 0; from < options_.epochs; from += every) {
    const Index to = std::min(from + every, options_.epochs);
    optim::Adam<float> adam(net.parameters(), options);
    if (state) adam.load_state(*state);
    const std::string part = options_.shrink_every > 0 ? '.' + std::to_string(to) : "";
    seconds += train_part(net, sets_.train, loss_, adam, from, to, options_.epochs, title + part).seconds;
    if (to == options_.epochs) break;
    // In equal ratios, and the last quarter of the epochs within it, or what is behind the last cut.
    if (options_.budget > 0) {
      const double first = static_cast<double>(multiply_adds_), last = static_cast<double>(options_.budget);
      const double share = static_cast<double>(to) / (0.75 * static_cast<double>(options_.epochs));
      const double done = to + every >= options_.epochs ? 1 : std::min(share, 1.0);
      const double most = first * std::pow(std::min(last / first, 1.0), done);
      if (!apps::cut_filters(net, sets_.train, static_cast<Index>(most))) {
        throw Error("sparse_lenet", "--budget ", options_.budget,
                    ": expected as many as one filter in each layer takes");
      }
    }
    auto [small, report] = sparsity::shrink(net, {.examples = examples, .keep_factors = true});
    state = sparsity::carry(adam.state(), report);
    net = std::move(small);
  }
  return seconds;
}

/// Groups of inputs select what each layer reads: pixels, neurons, maps; a convolution that reads an image of
/// one channel has nothing to select. Groups of filters select what it computes; those of the last layer are
/// the classes, which all stay.
void Job::factorize(nn::Sequential<float>& net) const {
  const bool filters = options_.groups == "filters";
  std::vector<std::pair<std::string, Shape>> weights;
  net.for_parameters([&](const std::string& name, const nn::Parameter<float>& parameter) {
    if (parameter.shape().rank() > 1) weights.emplace_back(name, parameter.shape());
  });
  sparsity::FactorizeOptions choice{
      .depth = options_.depth,
      .start = options_.dense_epochs > 0 ? sparsity::Start::balanced : sparsity::Start::unit_gates};
  if (filters || weights.front().second[1] == 1) {
    const auto& [name, shape] = filters ? weights.back() : weights.front();
    choice.except = {{name, sparsity::Groups::none}};
  }
  if (options_.penalty == "sqrt_size") {
    choice.weights = sparsity::GroupWeights::sqrt_size;
  } else if (options_.penalty == "parameters") {
    choice.weights = sparsity::GroupWeights::parameters;
  } else if (options_.penalty == "cost") {
    sparsity::Costs costs = sparsity::multiply_add_costs(net, sets_.train.x.shape().with(0, 1));
    if (filters) {  // what is computed is also read: without it, the next layer has less to do, too
      for (std::size_t k = 0; k + 1 < weights.size(); ++k)
        costs[weights[k].first] += costs[weights[k + 1].first];
    }
    choice.weights = costs;
  }
  sparsity::factorize(net, filters ? sparsity::Groups::filters : sparsity::Groups::inputs, choice);
}

apps::Json Job::measured(const nn::Sequential<float>& net) const {
  apps::Json figures = apps::size_of(net, sets_.train);
  figures["validation_error"] = apps::error_rate(net, sets_.validation);
  figures["test_error"] = apps::error_rate(net, sets_.test);
  return figures;
}

/// One penalty: sparse training from the dense network on, what is left of it, and the control.
apps::Json Job::point(double alpha, const std::string& number) {
  nn::Sequential<float> net = dense_;
  factorize(net);
  const double sparse_seconds = train_sparse(net, alpha, "sparse" + number);
  const apps::Json penalty = apps::penalty(net, alpha);
  if (options_.depth == 2) {
    sparsity::proximal_step(net, sets_.train, loss_, alpha);
  }
  const apps::Json certificate = short_report_on(sparsity::certify(net, sets_.train, loss_, alpha));

  auto [small, report] = sparsity::shrink(net, {.examples = sets_.train.x});
  apps::Json shrunk = measured(small);
  shrunk["max_abs_difference"] = report.max_abs_difference;
  shrunk["max_relative_difference"] = report.max_relative_difference;
  nn::Sequential<float> control = apps::with_new_weights(small);

  const train::History again = learn(small, options_.refit_epochs, options_.teach, "refit" + number, true);
  apps::Json refit = measured(small);
  refit["seconds"] = again.seconds;

  // As many epochs of the small network as fit in the time that all others took.
  const double seconds = dense_seconds_ + sparse_seconds + again.seconds;
  Index epochs = options_.control_epochs;
  if (epochs < 0) {
    epochs = options_.dense_epochs + options_.epochs + options_.refit_epochs;
    if (again.seconds > 0 && options_.refit_epochs > 0) {
      const double most = 100 * static_cast<double>(epochs);
      const double fitting = seconds / again.seconds * static_cast<double>(options_.refit_epochs);
      epochs = static_cast<Index>(std::llround(std::min(fitting, most)));
    }
  }
  const auto from_scratch = [&](double from_dense, const std::string& title) {
    nn::Sequential<float> other = control;
    const train::History history = learn(other, epochs, from_dense, title, false);
    apps::Json figures = measured(other);
    figures["epochs"] = epochs;
    figures["seconds"] = history.seconds;
    return figures;
  };
  apps::Json figures = {
      {"alpha", alpha},
      {"sparse", {{"penalty", penalty}, {"certificate", certificate}, {"seconds", sparse_seconds}}},
      {"shrunk", shrunk},
      {"refit", refit},
      {"control", from_scratch(0, "control" + number)}};
  if (options_.teach > 0) {  // what is due to the teacher, and not to the sparse training
    figures["control_taught"] = from_scratch(options_.teach, "control-taught" + number);
  }
  last_ = std::move(small);
  return figures;
}

void Job::run() {
  dense_seconds_ = train(dense_, plain_adam(dense_), options_.dense_epochs, "dense").seconds;
  apps::Json dense = measured(dense_);
  multiply_adds_ = dense["multiply_adds"];
  dense["seconds"] = dense_seconds_;
  apps::Json report = {
      {"data", sets_.source},
      {"model", options_.model},
      {"groups", options_.groups},
      {"depth", options_.depth},
      {"penalty", options_.penalty},
      {"multiply_adds_of", "one image, one for each product of a weight, without biases"},
      {"rows",
       {{"train", sets_.train.rows()}, {"validation", sets_.validation.rows()}, {"test", sets_.test.rows()}}},
      {"dense", dense}};
  std::vector<apps::SizedLoss> sizes;
  apps::Json points = apps::Json::array();
  for (std::size_t k = 0; k < alphas_.size(); ++k) {
    const apps::Json figures = point(alphas_[k], options_.path.empty() ? "" : std::to_string(k + 1));
    sizes.push_back({alphas_[k], figures["shrunk"]["parameters"], figures["shrunk"]["test_error"],
                     figures["refit"]["test_error"], figures["control"]["test_error"]});
    if (options_.path.empty()) {
      report.update(figures);
      continue;
    }
    if (options_.prints()) {
      const auto error = [&](const char* network) { return figures[network]["test_error"].get<double>(); };
      fmt::print(
          "alpha {:<10.4g} parameters {:<8} multiply-adds {:<9} test error in percent: shrunk {:.2f}, refit "
          "{:.2f}, control {:.2f}\n",
          alphas_[k], figures["shrunk"]["parameters"].get<Index>(),
          figures["shrunk"]["multiply_adds"].get<Index>(), error("shrunk"), error("refit"), error("control"));
      std::fflush(stdout);  // a point can take minutes
    }
    points.push_back(figures);
  }
  if (!options_.file.empty()) {
    apps::save_model(nn::Graph<float>::trace(*last_, {sets_.train.x.shape().with(0, 1)}), {{}, "label"},
                     options_.file);
    report["saved"] = options_.file;
  }
  if (options_.path.empty()) {
    apps::publish(report, options_);
  } else {
    report["points"] = points;
    apps::save(report, options_);
  }
  if (options_.plot.empty()) return;
  const bool convolutions = options_.model == "lenet5";
  std::vector<apps::Figure> figures{apps::images_figure(
      apps::first_layer(*last_), convolutions ? 5 : 28,
      convolutions ? "filters of the first layer" : "norms of the weights of each pixel")};
  if (!options_.path.empty()) figures.push_back(apps::sizes_figure(sizes, {"test error in %"}));
  const std::string drawn = apps::draw(figures, options_.plot);
  if (options_.prints()) fmt::print("{}\n", drawn);
}

void program(const Options& options) {
  set_threads(options.threads);
  manual_seed(options.seed);
  Job(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "sparse_lenet",
      "Trains LeNet-300-100 or LeNet-5 on images of digits, then with a penalty on groups of weights, "
      "shrinks "
      "the network, trains it again, and trains a dense network of that size from scratch for the same time. "
      "Multiply-adds are of one image, one for each product of a weight with an activation, biases not "
      "counted; errors are in percent. For example: sparse_lenet --data mnist --model lenet300 --json -");
  command.option("--model", options.model, "784-300-100-10, or two convolutions and 800-500-10",
                 {"lenet300", "lenet5"});
  command.option("--groups", options.groups,
                 "What is selected: what each layer reads, or the filters and neurons that it computes",
                 {"inputs", "filters"});
  command.option("--depth", options.depth, "Factors of each weight", 2, static_cast<Index>(nn::max_factors));
  command.option("--penalty", options.penalty,
                 "The weight of a group's penalty: one, the root of its size, its parameters, or the "
                 "multiply-adds that it costs",
                 {"one", "sqrt_size", "parameters", "cost"});
  command.option("--weight-decay", options.weight_decay, "Weight decay on the factors: the penalty");
  command.option("--path", options.path, "Several penalties, in place of one");
  command.option("--dense-epochs", options.dense_epochs,
                 "Passes over the data before the penalty; with 0, training is sparse from the start", 0,
                 apps::at_most);
  command.option("--epochs", options.epochs, "Passes over the data with the penalty", 0, apps::at_most);
  command.option("--shrink-every", options.shrink_every,
                 "Cuts what has become zero after so many passes with the penalty, for speed; 0: in the end",
                 0, apps::at_most);
  command.option(
      "--budget", options.budget,
      "Cuts filters on the way until the network has at most so many multiply-adds, those with the "
      "least penalty for their cost first; 0: no budget",
      0, 1'000'000'000);
  command.option("--refit-epochs", options.refit_epochs, "Passes over the data after shrinking", 0,
                 apps::at_most);
  command.option("--control-epochs", options.control_epochs,
                 "Passes over the data for the dense network of the final size; -1: as many as take the time "
                 "of all the others",
                 -1, apps::at_most);
  command.option("--batch-size", options.batch_size, "Rows in a batch", 1, apps::at_most);
  command.option("--lr", options.lr, "Learning rate of Adam, from which it falls to 0 in each training");
  command.option("--refit-decay", options.refit_decay, "Weight decay of all that is not penalized");
  command.option("--shift", options.shift,
                 "Moves each image that is trained on by up to so many pixels, anew in each pass", 0, 27);
  command.option("--label-smoothing", options.smoothing,
                 "The part of each label that is spread over all classes, from 0 to 1");
  command.option("--teach", options.teach,
                 "The part of the refit's loss that is learned from the dense network, from 0 to 1; a second "
                 "control learns from it, too");
  command.option("--validation", options.validation,
                 "Rows of the training set, at most a fifth, that are not trained on", 1, apps::at_most);
  command.option("--limit", options.limit, "Images of each file at most; 0: all", 0, apps::at_most);
  command.option("--save", options.file, "File to write the network to, as it is in the end",
                 apps::expected_file);
  apps::add_checkpoint_options(
      command, options.checkpoint, options.checkpoint_every,
      "Saves the trainings in PATH.dense, PATH.sparse and PATH.refit, and goes on from there", ".dense");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] {
    if (!options.path.empty()) command.refuse({"--weight-decay"}, "--path", "one of the two");
    program(options);
  });
}
