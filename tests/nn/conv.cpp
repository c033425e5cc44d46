// Layers of images: convolutions, poolings, flatten.

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <taper/nn/graph.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/flatten.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/pool.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

template <class T> nn::Sequential<T> small_lenet() {
  return nn::Sequential<T>(
      nn::Conv2d(1, 4, 3), nn::ReLU(), nn::MaxPool2d(2),
      nn::Conv2d(4, 6, {3, 2}, {.stride = {1, 2}, .padding = {1, 0}, .groups = 2}, false), nn::ReLU(),
      nn::AvgPool2d(2, {.stride = 1}), nn::Flatten(), nn::Linear(18, 3));
}

template <class T> Tensor<T> value_of(const nn::Layer<T>& layer, const Tensor<T>& x) {
  Tape<T> tape(Mode::evaluation);
  return Tensor<T>(layer(tape.constant(x)).value());
}

}  // namespace

TEST_CASE_TEMPLATE("Conv2d: names, shapes and start are those of PyTorch", T, float, double) {
  nn::Sequential<T> net = small_lenet<T>();
  std::vector<std::string> names;
  const nn::Parameters<T> parameters = net.parameters();
  for (const auto& entry : parameters.entries()) names.push_back(entry.name);
  CHECK((names == std::vector<std::string>{"0.weight", "0.bias", "3.weight", "7.weight", "7.bias"}));
  const auto& second = dynamic_cast<const nn::Conv2d<T>&>(net[3]);
  CHECK(second.weight.shape() == Shape{6, 2, 3, 2});
  CHECK(second.channels() == 4);
  CHECK(second.outputs() == 6);
  CHECK(second.describe() == "Conv2d(4, 6, kernel 3x2, stride 1x2, padding 1x0, groups 2, no bias)");
  CHECK(nn::Conv1d<T>(3, 2, 5, {.stride = 2}).describe() == "Conv1d(3, 2, kernel 5, stride 2)");
  CHECK(second.bias_of(second.weight) == &second.bias);
  const nn::Conv2d<T> wide(16, 400, 5);
  T most = 0;
  for (const T entry : wide.weight.value()) most = std::max(most, std::abs(entry));
  const T bound = static_cast<T>(1 / std::sqrt(16.0 * 25));
  CHECK(most <= bound);
  CHECK(most > T(0.99) * bound);
  for (const T entry : wide.bias->value()) CHECK(std::abs(entry) <= bound);
}

TEST_CASE("layers of images: the operations of their names, in float and double") {
  Rng rng(1);
  const Tensor<double> image = random_tensor<double>(rng, {3, 1, 10, 10});
  nn::Sequential<double> net = small_lenet<double>();
  const Tensor<double> y = value_of(net, image);
  CHECK(y.shape() == Shape{3, 3});
  Tape<double> tape(Mode::evaluation);
  const auto& first = dynamic_cast<const nn::Conv2d<double>&>(net[0]);
  const auto& second = dynamic_cast<const nn::Conv2d<double>&>(net[3]);
  auto x = conv2d(tape.constant(image), first.weight.bind(tape), first.bias->bind(tape));
  x = conv2d(max_pool2d(relu(x), 2), second.weight.bind(tape),
             {.stride = {1, 2}, .padding = {1, 0}, .groups = 2});
  x = net[7](reshape(avg_pool2d(relu(x), 2, {.stride = 1}), {3, 18}));
  CHECK(same_bits(y.view(), x.value()));
  const Tensor<double> line = random_tensor<double>(rng, {2, 3, 12});
  const nn::Sequential<double> chain(nn::Conv1d(3, 4, 3, {.padding = 1}), nn::MaxPool1d(2), nn::AvgPool1d(2),
                                     nn::AdaptiveAvgPool1d(2), nn::GlobalAvgPool());
  CHECK(value_of(chain, line).shape() == Shape{2, 4});
  const nn::Sequential<double> cells(nn::AdaptiveAvgPool2d({2, 3}), nn::Flatten(2));
  CHECK(value_of(cells, image).shape() == Shape{3, 1, 6});
  CHECK(value_of(nn::GlobalAvgPool<double>(), image)[2] ==
        doctest::Approx(image.view().vector().segment(200, 100).mean()));
}

TEST_CASE("layers of images: a graph runs for any number of images, and Adam trains it") {
  Rng rng(2);
  nn::Sequential<float> net = small_lenet<float>();
  const Tensor<float> image = random_tensor<float>(rng, {5, 1, 10, 10});
  const nn::Graph<float> graph = nn::Graph<float>::trace(net, {{2, 1, 10, 10}});
  CHECK(same_bits(value_of(graph, image).view(), value_of(net, image).view()));
  // The class is the brightest of three parts.
  Tensor<float> x({90, 1, 10, 10}), y({90});
  for (Index i = 0; i < 90; ++i) {
    y[i] = static_cast<float>(i % 3);
    for (Index p = 0; p < 100; ++p)
      x[100 * i + p] = static_cast<float>(rng.uniform(0, 1)) + (p / 34 == i % 3 ? 1.0f : 0.0f);
  }
  Tape<float> tape(Mode::training);
  optim::Adam<float> adam(net.parameters(), {.lr = 1e-2});
  const auto loss = nn::cross_entropy_loss(net(tape.constant(x)), tape.constant(y));
  const float before = loss.item();
  for (int i = 0; i < 60; ++i) {
    tape.value_and_gradient(loss);
    adam.step();
  }
  tape.replay();
  CHECK(loss.item() < 0.1f * before);
}

TEST_CASE("layers of images: what does not fit") {
  CHECK_ERROR(nn::Conv2d(3, 4, 3, {.groups = 2}), "[conv2d] 2 groups of 3 channels");
  CHECK_ERROR(nn::Conv1d(3, 4, 3, {.groups = 0}), "[conv1d] 0 groups of 3 channels");
  CHECK_ERROR(nn::Conv2d(3, -4, 3), "-4");
  CHECK_ERROR(nn::Flatten(-1), "[flatten] axis -1: expected 0 or more");
  Tape<float> tape(Mode::evaluation);
  const nn::Sequential<float> net = small_lenet<float>();
  CHECK_ERROR(net(tape.input({2, 3, 10, 10})), "[conv2d] input 2x3x10x10 does not fit weight 4x1x3x3",
              "(layer 0)");
  CHECK_ERROR(net(tape.input({2, 1, 5, 5})), "[conv2d] a kernel of 2", "(layer 3)");
  CHECK_ERROR(nn::Flatten<float>(3)(tape.input({2, 3})), "[flatten] axis 3 of a tensor 2x3");
}
