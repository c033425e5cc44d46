#include <taper/sparsity/network_path.hpp>

#include <algorithm>
#include <sstream>

#include <taper/data/split.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::NetworkPathOptions;

namespace {

/// Two of eight columns matter.
data::Dataset<double> additive_data(Index rows, std::uint64_t seed) {
  data::Dataset<double> set{normal_tensor<double>({rows, 8}, seed), Tensor<double>({rows, 1}), {}, {}};
  const Tensor<double> noise = normal_tensor<double>({rows}, seed + 1);
  for (Index i = 0; i < rows; ++i) {
    const double* const x = set.x.data() + 8 * i;
    set.y[i] = std::tanh(2 * x[1]) - 0.7 * x[5] + 0.05 * noise[i];
  }
  return set;
}

nn::Sequential<double> factorized_net() {
  manual_seed(4);
  nn::Sequential<double> net(nn::Linear<double>(8, 12), nn::Tanh<double>(), nn::Linear<double>(12, 1));
  sparsity::factorize(net, sparsity::Groups::inputs);
  return net;
}

NetworkPathOptions<double> options_for(std::vector<double> alphas) {
  NetworkPathOptions<double> options;
  options.alphas = std::move(alphas);
  options.lr = 1e-2;
  options.fit = {.epochs = 400, .batch_size = 100, .progress = train::Progress::quiet};
  options.first_epochs = 1000;
  return options;
}

}  // namespace

TEST_CASE("network_path: sizes fall as the penalty rises, and each point is what it says") {
  const auto train_set = additive_data(200, 1), validation = additive_data(150, 9);
  auto net = factorized_net();
  auto options = options_for({1e-3, 1e-2, 5e-2, 10});
  options.refit_epochs = 40;
  auto path = sparsity::network_path(net, train_set, validation, nn::mse_loss, options);
  REQUIRE(path.size() == 4);
  for (std::size_t k = 0; k < path.size(); ++k) {
    CAPTURE(k);
    auto& point = path[k];
    CHECK(point.alpha == options.alphas[k]);
    CHECK(point.revived == 0);
    CHECK(point.shrunk.max_relative_difference < 1e-10);
    CHECK(point.model.parameters().count() == point.shrunk.parameters_after);
    REQUIRE(point.refit_loss.has_value());
    CHECK(train::evaluate(point.model, validation, nn::mse_loss) == *point.refit_loss);
    Index zero = 0;
    for (const auto& layer : point.certificate.layers) zero += layer.zero;
    if (k > 0) CHECK(zero > 0);
    // What is cut is what was certified to be zero: the columns of the first layer are the inputs.
    CHECK(static_cast<Index>(point.shrunk.inputs.at(0).size()) == point.certificate.layers.at(0).nonzero);
    if (k > 0) CHECK(point.shrunk.parameters_after <= path[k - 1].shrunk.parameters_after);
  }
  CHECK(std::ranges::includes(path[2].shrunk.inputs.at(0), std::vector<Index>{1, 5}));
  CHECK(path[2].shrunk.inputs.at(0).size() < 5);
  CHECK(path[1].loss < 0.1);
  CHECK(*path[2].refit_loss < path[2].loss);    // the penalty has pulled the weights towards zero
  CHECK(path[3].shrunk.parameters_after == 1);  // a constant
  CHECK(path[3].certificate.worst() <= 0.01);

  std::ostringstream out;
  out << path;
  CHECK(std::ranges::count(out.str(), '\n') == 5);
}

TEST_CASE("network_path: from large to small penalties, zeros are revived") {
  const auto train_set = additive_data(200, 1), validation = additive_data(150, 9);
  auto net = factorized_net();
  const auto path =
      sparsity::network_path(net, train_set, validation, nn::mse_loss, options_for({0.2, 2e-2, 2e-3}));
  REQUIRE(path.size() == 3);
  CHECK(path[0].revived == 0);
  CHECK(path[1].revived + path[2].revived > 0);
  CHECK(path[2].shrunk.parameters_after >= path[0].shrunk.parameters_after);
  CHECK(path[2].loss < path[0].loss);
  CHECK(!path[2].refit_loss);
}

TEST_CASE("network_path: the same path twice, bit for bit, and bad input") {
  const auto train_set = additive_data(100, 1);
  const auto run = [&](std::vector<double> alphas) {
    auto net = factorized_net();
    auto options = options_for(std::move(alphas));
    options.fit.epochs = 5;
    options.first_epochs = {};
    return sparsity::network_path(net, train_set, train_set, nn::mse_loss, options);
  };
  CHECK(run({0.01, 0.1}).back().loss == run({0.01, 0.1}).back().loss);
  CHECK_ERROR(run({}), "[network_path] no alphas");
  CHECK_ERROR(run({0.1, 0.1}), "neither rise nor fall");
  CHECK_ERROR(run({0.1, 0.2, 0.1}), "neither rise nor fall");
  CHECK_ERROR(run({0.1, 0}), "[network_path] alpha 0");
  nn::Sequential<double> plain(nn::Linear<double>(8, 1));
  CHECK_ERROR(sparsity::network_path(plain, train_set, train_set, nn::mse_loss, options_for({0.1})),
              "[network_path] a model without factorized");
}
