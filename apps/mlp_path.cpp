// A network along a path of penalties: how small it can be at which loss. Each point starts from the one
// before, ends with exact zeros and a certificate, and is shrunk and trained again.

#include <algorithm>
#include <cmath>
#include <iostream>
#include <taper/taper.hpp>

#include "figures.hpp"
#include "housing.hpp"

using namespace taper;

namespace {

struct Options : apps::CommonOptions {
  apps::OwnTable table;
  std::string plot;
  bool falling = false;
  Index points = 8, epochs = 60, first_epochs = 200, refit_epochs = 100, dense_epochs = 200, batch_size = 128;
  Index seeds = 1;
  double smallest = 3e-4, largest = 1e-2, lr = 2e-3;

  /// Evenly spaced in the logarithm.
  std::vector<double> alphas() const {
    if (!(0 < smallest && (smallest < largest || points == 1))) {
      throw Error("mlp_path", "penalties from ", smallest, " to ", largest,
                  ": expected a smallest one above 0 and below the largest");
    }
    std::vector<double> result;
    for (Index k = 0; k < points; ++k) {
      const double share = points == 1 ? 1 : static_cast<double>(k) / static_cast<double>(points - 1);
      result.push_back(smallest * std::pow(largest / smallest, share));
    }
    if (falling) std::ranges::reverse(result);
    return result;
  }
};

using Path = std::vector<sparsity::NetworkPoint<float>>;

train::FitOptions<float> fit_options(const Options& options, std::uint64_t seed, Index epochs,
                                     const char* title) {
  return {.epochs = epochs,
          .batch_size = options.batch_size,
          .seed = seed,
          .progress = options.quiet ? train::Progress::quiet : train::Progress::automatic,
          .title = title};
}

Path train_path(const Options& options, const apps::Housing& housing, std::uint64_t seed) {
  manual_seed(seed);
  nn::Sequential<float> net = apps::housing_network(housing.train.x.shape()[1]);
  sparsity::factorize(net, sparsity::Groups::inputs);
  return sparsity::network_path(net, housing.train, housing.test, nn::mse_loss,
                                {.alphas = options.alphas(),
                                 .lr = options.lr,
                                 .fit = fit_options(options, seed, options.epochs, "path"),
                                 .first_epochs = options.first_epochs,
                                 .refit_epochs = options.refit_epochs});
}

/// The test loss of a dense network of the size that a network was shrunk to, which reads the same inputs,
/// from a random start; NaN for a network without a unit in some layer.
double train_dense(const Options& options, const apps::Housing& housing, const sparsity::ShrinkReport& size,
                   std::uint64_t seed) {
  if (options.dense_epochs == 0 || std::ranges::count(size.widths_after, Index{0}) > 0) return std::nan("");
  manual_seed(seed);
  nn::Sequential<float> net;
  net.push_back(nn::Select<float>(size.inputs.front(), housing.train.x.shape()[1]));
  for (std::size_t k = 0; k + 1 < size.widths_after.size(); ++k) {
    if (k > 0) net.push_back(nn::ReLU());
    net.push_back(nn::Linear(size.widths_after[k], size.widths_after[k + 1]));
  }
  train::fit(net, housing.train, nn::mse_loss, optim::Adam(net.parameters(), {.lr = options.lr}),
             fit_options(options, seed, options.dense_epochs, "dense"));
  return train::evaluate(net, housing.test, nn::mse_loss);
}

apps::Json number_or_null(double value) {
  return std::isfinite(value) ? apps::Json(value) : apps::Json();
}

apps::Json report_on(const sparsity::NetworkPoint<float>& point, std::uint64_t seed, double dense_loss) {
  return {{"alpha", point.alpha},
          {"seed", seed},
          {"parameters", point.shrunk.parameters_after},
          {"widths", point.shrunk.widths_after},
          {"test_mse", point.loss},
          {"refit_mse", number_or_null(point.refit_loss.value_or(std::nan("")))},
          {"dense_mse", number_or_null(dense_loss)},
          {"revived", point.revived},
          {"max_relative_difference", point.shrunk.max_relative_difference},
          {"certificate", apps::report_on(point.certificate)}};
}

void program(const Options& options) {
  set_threads(options.threads);
  const apps::Housing housing = apps::load_housing(options, options.table);
  apps::Json points = apps::Json::array();
  std::vector<apps::SizedLoss> sizes;
  Index before = 0;
  for (Index k = 0; k < options.seeds; ++k) {
    const std::uint64_t seed = options.seed + static_cast<std::uint64_t>(k);
    const Path path = train_path(options, housing, seed);
    before = path.front().shrunk.parameters_before;
    if (options.prints()) std::cout << path;
    for (const auto& point : path) {
      const double dense = train_dense(options, housing, point.shrunk, seed);
      points.push_back(report_on(point, seed, dense));
      sizes.push_back({point.alpha, static_cast<double>(point.shrunk.parameters_after), point.loss,
                       point.refit_loss.value_or(std::nan("")), dense});
      if (options.prints() && options.dense_epochs > 0) {
        std::cout << "dense network of " << point.shrunk.parameters_after << " parameters: loss " << dense
                  << '\n';
      }
    }
  }
  apps::save({{"data", housing.name}, {"parameters", before}, {"points", points}}, options);
  if (options.plot.empty()) return;
  const std::string drawn = apps::draw({apps::sizes_figure(sizes, {"test MSE"})}, options.plot);
  if (options.prints()) std::cout << drawn << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "mlp_path",
      "Trains an 8-32-64-32-1 network on housing prices, or on a table of one's own, along a path of "
      "penalties: size against loss. For example: mlp_path --csv houses.csv --target price");
  options.table.add_to(command);
  command.option("--points", options.points, "How many penalties", 1, 1000);
  command.option("--smallest", options.smallest, "The smallest penalty, a weight decay");
  command.option("--largest", options.largest, "The largest one");
  command.flag("--falling", options.falling,
               "From the largest to the smallest, reviving what may grow again");
  command.option("--first-epochs", options.first_epochs, "Passes over the data at the first point", 0,
                 apps::at_most);
  command.option("--epochs", options.epochs, "Passes over the data at each further point", 0, apps::at_most);
  command.option("--refit-epochs", options.refit_epochs, "Passes over the data after shrinking", 0,
                 apps::at_most);
  command.option("--dense-epochs", options.dense_epochs,
                 "Passes over the data for a dense network of each size, from a random start; 0 for none", 0,
                 apps::at_most);
  command.option("--seeds", options.seeds, "How many seeds, from --seed on", 1, 1000);
  command.option("--batch-size", options.batch_size, "Rows in a batch", 1, apps::at_most);
  command.option("--lr", options.lr, "Learning rate of Adam");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] {
    if (options.points == 1) {
      command.refuse({"--largest", "--falling", "--epochs"}, "--points 1", "two points or more");
    }
    program(options);
  });
}
