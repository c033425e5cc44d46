#include <taper/nn/layers/batch_norm.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/graph.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>

#include "../../autodiff/random_tensors.hpp"
#include "../../check.hpp"

using namespace taper;

namespace {

template <class T> std::vector<std::string> names_of(const nn::Module<T>& module) {
  std::vector<std::string> names;
  module.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { names.push_back(name); });
  module.for_buffers([&](const std::string& name, const nn::Buffer<T>&) { names.push_back(name); });
  return names;
}

template <class T> Tensor<T> evaluated(const nn::Module<T>& model, const Tensor<T>& x) {
  Tape<T> tape(Mode::evaluation);
  const Var<T> given = tape.constant(x);
  return Tensor<T>(model.record(std::span(&given, 1))[0].value());
}

}  // namespace

TEST_CASE_TEMPLATE("BatchNorm: normalizes a batch, and keeps running moments as PyTorch does", T, float,
                   double) {
  nn::BatchNorm1d<T> norm(2);
  CHECK(names_of(norm) == std::vector<std::string>{"weight", "bias", "running_mean", "running_var"});
  CHECK(norm.describe() == "BatchNorm1d(2)");
  norm.weight->value()[1] = 3;
  norm.bias->value()[1] = 5;
  Tape<T> tape(Mode::training);
  const Var<T> x = tape.constant(Tensor<T>({4, 2}, {1, 10, 2, 20, 3, 30, 4, 40}));
  const Var<T> y = norm(x);
  const double eps = 20 * static_cast<double>(std::numeric_limits<T>::epsilon());
  const double root = 1.5 / std::sqrt(1.25 + 1e-5), large = 15 / std::sqrt(125 + 1e-5);
  CHECK(static_cast<double>(y.value()[0]) == doctest::Approx(-root).epsilon(eps));
  CHECK(static_cast<double>(y.value()[1]) == doctest::Approx(5 - 3 * large).epsilon(eps));
  CHECK(norm.running_mean.value()[0] == 0);  // not before the step
  for (int step = 0; step < 2; ++step) {
    tape.replay();
    tape.update_buffers();
  }
  // 0.9 (0.9 * 0 + 0.1 * 2.5) + 0.1 * 2.5, and with the unbiased variance 5 / 3 from 1 on.
  CHECK(static_cast<double>(norm.running_mean.value()[0]) == doctest::Approx(0.475).epsilon(eps));
  CHECK(static_cast<double>(norm.running_var.value()[0]) ==
        doctest::Approx(0.81 + 0.19 * 5 / 3).epsilon(eps));
  const Tensor<T> after = evaluated(norm, Tensor<T>({1, 2}, {1, 10}));
  CHECK(static_cast<double>(after[0]) ==
        doctest::Approx((1 - 0.475) / std::sqrt(0.81 + 0.19 * 5 / 3 + 1e-5)).epsilon(eps));
}

TEST_CASE("BatchNorm: maps, options, copies of another scalar, and what does not fit") {
  nn::BatchNorm2d<double> norm(3, {.eps = 0.5, .momentum = 1, .affine = false});
  CHECK(names_of(norm) == std::vector<std::string>{"running_mean", "running_var"});
  const Tensor<double> x = normal_tensor<double>({4, 3, 5, 6});
  Tape<double> tape(Mode::training);
  norm(tape.constant(x));
  tape.update_buffers();
  double sum = 0, squares = 0;
  for (Index o = 0; o < 4; ++o) {
    for (Index i = 0; i < 30; ++i) sum += x[(o * 3 + 1) * 30 + i];
  }
  for (Index o = 0; o < 4; ++o) {
    for (Index i = 0; i < 30; ++i) squares += std::pow(x[(o * 3 + 1) * 30 + i] - sum / 120, 2);
  }
  CHECK(norm.running_mean.value()[1] == doctest::Approx(sum / 120).epsilon(1e-12));
  CHECK(norm.running_var.value()[1] == doctest::Approx(squares / 119).epsilon(1e-12));
  const nn::BatchNorm2d<float> single(norm);
  CHECK(single.running_mean.value()[1] == static_cast<float>(norm.running_mean.value()[1]));

  const nn::BatchNorm1d<double> flat(3);
  CHECK_ERROR(flat(tape.input({1, 3})),
              "[batch_moments] x 1x3, 1 values for each channel: expected two or more");
  CHECK_ERROR(flat(tape.input({2, 4})),
              "[BatchNorm1d] input 2x4: expected rows x 3 channels, or these x length");
  CHECK_ERROR(norm(tape.input({2, 3})),
              "[BatchNorm2d] input 2x3: expected rows x 3 channels x height x width");
  Tape<double> unstated;
  CHECK_ERROR(flat(unstated.input({2, 3})), "mode");
  CHECK_ERROR(nn::BatchNorm1d<double>(3, {.eps = -1}), "[BatchNorm1d] eps -1: expected 0 or more");
  CHECK_ERROR(nn::BatchNorm1d<double>(3, {.momentum = 2}), "[BatchNorm1d] momentum 2: expected 0 to 1");
}

TEST_CASE("BatchNorm: trains in a network, and its trace is the same to the bit") {
  manual_seed(3);
  nn::Sequential<double> net(nn::Linear<double>(4, 8), nn::BatchNorm1d<double>(8), nn::ReLU<double>(),
                             nn::Linear<double>(8, 1));
  nn::Graph<double> graph = nn::Graph<double>::trace(net, {{1, 4}});
  const data::Dataset<double> set{
      normal_tensor<double>({60, 4}, 3), normal_tensor<double>({60, 1}, 4), {}, {}};
  const auto train = [&](nn::Module<double>& what) {
    manual_seed(5);
    train::fit(what, set, nn::mse_loss, optim::Adam<double>(what.parameters(), {.lr = 1e-2}),
               {.epochs = 5, .batch_size = 16, .progress = train::Progress::quiet});
    return evaluated(what, normal_tensor<double>({7, 4}, 8));
  };
  const Tensor<double> expected = train(net), got = train(graph);
  CHECK(same_bits(expected.view(), got.view()));
}

TEST_CASE_TEMPLATE(
    "BatchNorm: channels without scale or without input are cut, and the rest computes the same", T, float,
    double) {
  manual_seed(4);
  nn::Sequential<T> net(nn::Linear<T>(5, 8), nn::BatchNorm1d<T>(8), nn::ReLU<T>(), nn::Linear<T>(8, 6),
                        nn::BatchNorm1d<T>(6), nn::Tanh<T>(), nn::Linear<T>(6, 2));
  auto& first = dynamic_cast<nn::BatchNorm1d<T>&>(net[1]);
  auto& linear = dynamic_cast<nn::Linear<T>&>(net[3]);
  auto& second = dynamic_cast<nn::BatchNorm1d<T>&>(net[4]);
  Rng rng(5);
  for (auto* const norm : {&first, &second}) {
    for (T& entry : norm->bias->value()) entry = static_cast<T>(rng.uniform(0.1, 1));
    for (T& entry : norm->running_mean.value()) entry = static_cast<T>(rng.uniform(-1, 1));
    for (T& entry : norm->running_var.value()) entry = static_cast<T>(rng.uniform(0.5, 2));
  }
  first.weight->value()[2] = first.weight->value()[5] = 0;  // constant, whatever comes
  linear.weight.value().matrix().row(1).setZero();          // a constant that the norm moves
  const Tensor<T> x = normal_tensor<T>({50, 5}, 6);
  auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0.0});
  CHECK(dynamic_cast<nn::BatchNorm1d<T>&>(small[1]).channels() == 6);
  CHECK(dynamic_cast<nn::BatchNorm1d<T>&>(small[4]).channels() == 5);
  CHECK(dynamic_cast<nn::Linear<T>&>(small[0]).outputs() == 6);
  CHECK(dynamic_cast<nn::Linear<T>&>(small[6]).inputs() == 5);
  CHECK(apart(evaluated(small, x).view(), evaluated(net, x).view()) <
        100 * static_cast<double>(std::numeric_limits<T>::epsilon()));
}
