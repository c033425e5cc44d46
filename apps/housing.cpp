#include "housing.hpp"

#include <algorithm>
#include <span>
#include <taper/autodiff/ops.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/split.hpp>
#include <taper/data/synthetic.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <tuple>

namespace taper::apps {
namespace {

/// The numbers of a scaler, as a buffer.
nn::Buffer<float> buffer_of(std::span<const double> numbers) {
  nn::Buffer<float> buffer(Shape{static_cast<Index>(numbers.size())});
  std::ranges::transform(numbers, buffer.value().begin(), [](double x) { return static_cast<float>(x); });
  return buffer;
}

struct InOwnUnits : nn::Layer<float> {
  const nn::Sequential<float>& net;
  nn::Buffer<float> x_mean, x_scale, y_mean, y_scale;

  InOwnUnits(const nn::Sequential<float>& network, const Housing& sets)
      : net(network),
        x_mean(buffer_of(sets.x.mean())),
        x_scale(buffer_of(sets.x.scale())),
        y_mean(buffer_of(sets.y.mean())),
        y_scale(buffer_of(sets.y.scale())) {}

  // The parameters keep the names that they have in the network.
  void visit(nn::Visitor<float>& v) const override {
    net.visit(v);
    v("x_mean", x_mean), v("x_scale", x_scale), v("y_mean", y_mean), v("y_scale", y_scale);
  }
  Var<float> forward(Var<float> x) const override {
    Tape<float>& tape = x.tape();
    const Var<float> y = net.forward((x - x_mean.bind(tape)) / x_scale.bind(tape));
    return y * y_scale.bind(tape) + y_mean.bind(tape);
  }
};

}  // namespace

Housing load_housing(const CommonOptions& options) {
  constexpr Index features = 8;
  Housing sets;
  if (const auto folder = options.folder()) {
    const auto read = [&](const char* file) {
      options.reads(*folder / file);
      return data::to_dataset<float>(data::read_csv(*folder / file), "median_house_value");
    };
    sets.train = read("california_housing_train.csv");
    sets.test = read("california_housing_test.csv");
    data::check_same_features(sets.test, sets.train, "california_housing_test.csv");
  } else {
    std::tie(sets.train, sets.test) = data::train_test_split(
        data::make_housing<float>({.rows = 12000, .seed = options.seed}), 0.2, options.seed);
  }
  const auto inputs = sets.train.x.shape()[1];
  if (inputs != features) throw Error("housing", inputs, " features: expected ", features);
  sets.raw_test = sets.test;
  sets.x.fit(sets.train.x);
  sets.y.fit(sets.train.y);
  for (data::Dataset<float>* half : {&sets.train, &sets.test}) {
    sets.x.transform(half->x);
    sets.y.transform(half->y);
  }
  return sets;
}

nn::Sequential<float> housing_network() {
  return nn::Sequential<float>(nn::Linear(8, 32), nn::ReLU(), nn::Linear(32, 64), nn::ReLU(),
                               nn::Linear(64, 32), nn::ReLU(), nn::Linear(32, 1));
}

nn::Graph<float> in_own_units(const nn::Sequential<float>& net, const Housing& sets) {
  return nn::Graph<float>::trace(InOwnUnits(net, sets), {sets.raw_test.x.shape()});
}

}  // namespace taper::apps
