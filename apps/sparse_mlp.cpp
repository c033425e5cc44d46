// The main job: train a network sparse, shrink it to a small dense one that computes the same, train that
// again, and keep it.

#include <iostream>
#include <taper/taper.hpp>

#include "common.hpp"
#include "figures.hpp"
#include "housing.hpp"
#include "model_file.hpp"
#include "output.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  apps::OwnTable table;
  std::string plot, model, checkpoint;
  bool no_shuffle = false;
  Index epochs = 200;
  Index batch_size = 128;
  double lr = 2e-3;
  double weight_decay = 1e-3;
  double refit_decay = 1e-6;
  double checkpoint_every = 60;
};

/// Which weights of each layer are not zero, up to what is left of decayed factors.
std::vector<apps::Pattern> patterns(nn::Sequential<float>& net) {
  std::vector<apps::Pattern> layers;
  net.for_parameters([&](const std::string& name, nn::Parameter<float>& parameter) {
    if (!name.ends_with("weight")) return;
    const Tensor<float> weight = parameter.materialize();
    const float cutoff = 1e-5f * weight.vector().cwiseAbs().maxCoeff();
    apps::Pattern layer{
        static_cast<std::size_t>(weight.shape()[0]), static_cast<std::size_t>(weight.shape()[1]), {}};
    for (const float w : weight) layer.nonzero.push_back(std::abs(w) > cutoff);
    layers.push_back(std::move(layer));
  });
  return layers;
}

/// Writes the network, in the units of the table, and measures what the file holds.
apps::Json saved(const nn::Sequential<float>& net, const apps::Housing& sets, const std::string& path) {
  const data::Dataset<float>& test = sets.raw_test;
  apps::save_model(apps::in_own_units(net, sets), {test.features, test.target}, path);
  const nn::Graph<float> again = io::load_model<float>(path);
  const Tensor<float> predicted = train::predict(again, test.x);
  apps::Json report = {{"file", path}};
  report.update(
      apps::prediction_errors({predicted.begin(), predicted.end()}, {test.y.begin(), test.y.end()}));
  return report;
}

void program(const Options& options) {
  set_threads(options.threads);
  manual_seed(options.seed);
  const apps::Housing sets = apps::load_housing(options, options.table);
  const data::Dataset<float>&train_set = sets.train, &test_set = sets.test;

  nn::Sequential<float> net = apps::housing_network(train_set.x.shape()[1]);
  sparsity::factorize(net, sparsity::Groups::inputs);
  train::FitOptions<float> fit{
      .epochs = options.epochs,
      .batch_size = options.batch_size,
      .shuffle = !options.no_shuffle,
      .seed = options.seed,
      .progress = options.quiet ? train::Progress::quiet : train::Progress::automatic,
      .title = "phase 1"};
  const auto checkpoint = [&](const char* phase) -> train::Checkpoint<float> {
    if (options.checkpoint.empty()) return {};
    const std::string path = options.checkpoint + phase;
    apps::note_file(path), apps::note_file(path + ".1");  // where nothing else may be written
    return io::checkpoint(path, {.every = options.checkpoint_every});
  };
  fit.checkpoint = checkpoint(".phase1");
  const train::History phase1 = train::fit(
      net, train_set, nn::mse_loss,
      optim::Adam(net.parameters(), {.lr = options.lr, .weight_decay = options.weight_decay}), fit);
  const double phase1_mse = train::evaluate(net, test_set, nn::mse_loss);
  const apps::Json penalty = apps::penalty(net, options.weight_decay);

  const std::string drawn =
      options.plot.empty() ? "" : apps::draw({apps::layers_figure(patterns(net))}, options.plot);

  auto [small, report] = sparsity::shrink(net, {.examples = test_set.x});
  const double shrunk_mse = train::evaluate(small, test_set, nn::mse_loss);

  fit.title = "phase 2";
  fit.checkpoint = checkpoint(".phase2");
  const train::History phase2 = sparsity::refit(
      small, train_set, nn::mse_loss,
      {.lr = options.lr, .weight_decay = options.refit_decay, .method = sparsity::RefitMethod::adam}, fit);
  const double phase2_mse = train::evaluate(small, test_set, nn::mse_loss);

  apps::Json figures{{"data", sets.name},
                     {"rows", {{"train", train_set.rows()}, {"test", test_set.rows()}}},
                     {"phase1",
                      {{"parameters", report.parameters_before},
                       {"widths", report.widths_before},
                       {"test_mse", phase1_mse},
                       {"penalty", penalty},
                       {"seconds", phase1.seconds}}},
                     {"shrunk",
                      {{"parameters", report.parameters_after},
                       {"widths", report.widths_after},
                       {"inputs", report.inputs.front()},
                       {"max_abs_difference", report.max_abs_difference},
                       {"max_relative_difference", report.max_relative_difference},
                       {"test_mse", shrunk_mse}}},
                     {"phase2", {{"test_mse", phase2_mse}, {"seconds", phase2.seconds}}}};
  if (!options.model.empty()) figures["saved"] = saved(small, sets, options.model);
  apps::publish(figures, options);
  if (!options.plot.empty() && options.prints()) std::cout << drawn << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "sparse_mlp",
      "Trains an 8-32-64-32-1 network sparse on housing prices, or on a table of one's own, shrinks it, and "
      "trains it again. For example: sparse_mlp --csv houses.csv --target price");
  options.table.add_to(command);
  command.flag("--no-shuffle", options.no_shuffle, "Take the rows in file order");
  command.option("--epochs", options.epochs, "Passes over the data in each phase", 0, apps::at_most);
  command.option("--batch-size", options.batch_size, "Rows in a batch", 1, apps::at_most);
  command.option("--lr", options.lr, "Learning rate of Adam");
  command.option("--weight-decay", options.weight_decay, "Weight decay of phase 1: the group penalty");
  command.option("--refit-decay", options.refit_decay, "Weight decay of phase 2");
  command.option("--save", options.model,
                 "File to write the network to, as it is in the end: it takes the columns as they are in the "
                 "table and gives the target in its own units (see predict)",
                 apps::expected_file);
  apps::add_checkpoint_options(command, options.checkpoint, options.checkpoint_every,
                               "Saves the training in PATH.phase1 and PATH.phase2, and goes on from there",
                               ".phase1");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
