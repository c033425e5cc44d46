#include <taper/sparsity/refit.hpp>

#include <cmath>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/batch_norm.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/train/evaluate.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::RefitMethod;

namespace {

data::Dataset<float> smooth_set(Index rows) {
  data::Dataset<float> set{normal_tensor<float>({rows, 3}), Tensor<float>({rows, 1}), {}, {}};
  for (Index i = 0; i < rows; ++i) set.y[i] = std::sin(2 * set.x[3 * i]) - 0.5f * set.x[3 * i + 1];
  return set;
}

nn::Sequential<float> net_of(Index width) {
  manual_seed(2);
  return nn::Sequential<float>(nn::Linear(3, width), nn::Tanh(), nn::Linear(width, 1));
}

train::FitOptions<float> quiet(Index epochs) {
  return {.epochs = epochs, .progress = train::Progress::quiet};
}

}  // namespace

TEST_CASE("refit: by size, it is Levenberg-Marquardt for a small network and Adam for a large one") {
  const auto set = smooth_set(1000);
  const auto losses = [&](Index width, RefitMethod method) {
    auto net = net_of(width);
    std::vector<double> result;
    for (const train::Epoch& epoch :
         sparsity::refit(net, set, nn::mse_loss, {.method = method}, quiet(4)).epochs) {
      result.push_back(epoch.loss);
    }
    return result;
  };
  CHECK(losses(6, RefitMethod::by_size) == losses(6, RefitMethod::levenberg_marquardt));
  CHECK(losses(6, RefitMethod::by_size) != losses(6, RefitMethod::adam));
  CHECK(losses(6, RefitMethod::by_size).back() < losses(6, RefitMethod::adam).back());
  CHECK(losses(400, RefitMethod::by_size) == losses(400, RefitMethod::adam));
}

TEST_CASE("suits_second_order: what it depends on") {
  const auto set = smooth_set(1000), few = smooth_set(100);
  auto net = net_of(6);  // 31 parameters
  const auto suits = [](auto& model, const data::Dataset<float>& data, const nn::Loss<float>& loss,
                        const train::FitOptions<float>& fit = {}) {
    return sparsity::suits_second_order(model, data, loss, fit);
  };
  CHECK(suits(net, set, nn::mse_loss));
  CHECK(!suits(net, few, nn::mse_loss));
  train::FitOptions<float> stopping;
  stopping.early_stopping = train::EarlyStopping{};
  CHECK(suits(net, few, nn::mse_loss, stopping));
  CHECK(!suits(net, set, nn::mae_loss));
  train::FitOptions<float> accumulating;
  accumulating.accumulate = 2;
  CHECK(!suits(net, set, nn::mse_loss, accumulating));

  train::FitOptions<float> changing;
  changing.augment = [](std::span<const View<float>>, Rng&) {};
  CHECK(!suits(net, set, nn::mse_loss, changing));
  // What can be trained, but not by its residuals.
  const nn::Loss<float> reshaped = [](Var<float> y, Var<float> target) {
    return mse_loss(y, reshape(target, {-1, 1}));
  };
  CHECK(!suits(net, set, reshaped));
  CHECK(sparsity::refit(net, set, reshaped, {}, quiet(1)).epochs.size() == 1);

  nn::Sequential<float> normed(nn::Linear(3, 4), nn::BatchNorm1d(4), nn::Linear(4, 1));
  CHECK(!suits(normed, set, nn::mse_loss));
  nn::Sequential<float> dropped(nn::Linear(3, 4), nn::Dropout(0.5), nn::Linear(4, 1));
  CHECK(!suits(dropped, set, nn::mse_loss));

  auto wide = net_of(400);
  CHECK(!suits(wide, smooth_set(20000), nn::mse_loss));
  wide.freeze("0.*");
  CHECK(suits(wide, smooth_set(20000), nn::mse_loss));
  wide.freeze();
  CHECK(!suits(wide, set, nn::mse_loss));
}

TEST_CASE("refit: by name, with frozen entries and a validation set") {
  const auto set = smooth_set(60), validation = smooth_set(200);
  auto net = net_of(8);
  net.prune("0.weight", Mask::frozen(Shape{8, 3}, {2, 5, 8}));
  auto options = quiet(40);
  options.validation = &validation;
  options.early_stopping = train::EarlyStopping{.patience = 5};
  const auto history =
      sparsity::refit(net, set, nn::mse_loss, {.method = RefitMethod::levenberg_marquardt}, options);
  double least = 1e9;
  for (const train::Epoch& epoch : history.epochs) least = std::min(least, *epoch.validation_loss);
  CHECK(train::evaluate(net, validation, nn::mse_loss) == least);
  const auto& weight = net.parameters().value(net.parameters().entry("0.weight"));
  for (const Index i : {2, 5, 8}) CHECK(weight[i] == 0);
  CHECK_ERROR(sparsity::refit(net, set, nn::mae_loss, {.method = RefitMethod::levenberg_marquardt}, quiet(2)),
              "mae_loss");
}
