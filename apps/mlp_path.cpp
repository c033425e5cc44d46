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
  std::string plot;
  bool falling = false;
  Index points = 8, epochs = 60, first_epochs = 200, refit_epochs = 100, batch_size = 128;
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

apps::Json report_on(const sparsity::NetworkPoint<float>& point) {
  return {{"alpha", point.alpha},
          {"parameters", point.shrunk.parameters_after},
          {"widths", point.shrunk.widths_after},
          {"test_mse", point.loss},
          {"refit_mse", point.refit_loss ? apps::Json(*point.refit_loss) : apps::Json()},
          {"revived", point.revived},
          {"max_relative_difference", point.shrunk.max_relative_difference},
          {"certificate", apps::report_on(point.certificate)}};
}

void program(const Options& options) {
  set_threads(options.threads);
  manual_seed(options.seed);
  const auto [train_set, test_set] = apps::load_housing(options);
  nn::Sequential<float> net = apps::housing_network();
  sparsity::factorize(net, sparsity::Groups::inputs);
  const auto path = sparsity::network_path(
      net, train_set, test_set, nn::mse_loss,
      {.alphas = options.alphas(),
       .lr = options.lr,
       .fit = {.epochs = options.epochs,
               .batch_size = options.batch_size,
               .seed = options.seed,
               .progress = options.quiet ? train::Progress::quiet : train::Progress::automatic,
               .title = "path"},
       .first_epochs = options.first_epochs,
       .refit_epochs = options.refit_epochs});

  apps::Json points = apps::Json::array();
  std::vector<apps::SizedLoss> sizes;
  for (const auto& point : path) {
    points.push_back(report_on(point));
    sizes.push_back({point.alpha, static_cast<double>(point.shrunk.parameters_after), point.loss,
                     point.refit_loss.value_or(std::nan(""))});
  }
  apps::save({{"data", options.folder() ? "california_housing" : "embedded"},
              {"parameters", path.front().shrunk.parameters_before},
              {"points", points}},
             options);
  if (!options.quiet) std::cout << path;
  if (options.plot.empty()) return;
  const std::string drawn = apps::draw({apps::sizes_figure(sizes, "test MSE")}, options.plot);
  if (!options.quiet) std::cout << drawn << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  apps::Command command(
      "mlp_path",
      "Trains an 8-32-64-32-1 network on housing prices along a path of penalties: size against loss.");
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
  command.option("--batch-size", options.batch_size, "Rows in a batch", 1, apps::at_most);
  command.option("--lr", options.lr, "Learning rate of Adam");
  apps::add_plot_option(command, options.plot);
  options.add_to(command);
  return command.run(argc, argv, [&] { program(options); });
}
