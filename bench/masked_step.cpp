// A training step (forward, backward, Adam with decay and clipping off) with masks on all parameters against
// the same step without: two layers 256 wide, batch 128, one thread.

#include <cstdio>
#include <taper/taper.hpp>

#include "alternate.hpp"

using namespace taper;

namespace {

struct Training {
  nn::Sequential<float> net{nn::Linear(256, 256), nn::ReLU(), nn::Linear(256, 256)};
  optim::Adam<float> adam{net.parameters(), {.weight_decay = 1e-4}};
  Tape<float> tape;
  Var<float> loss;

  explicit Training(double frozen) {
    Rng rng(1);
    const auto random = [&](const Shape& shape) {
      Tensor<float> x(shape);
      for (float& entry : x) entry = static_cast<float>(rng.normal());
      return x;
    };
    loss = mse_loss(net(tape.constant(random({128, 256}))), tape.constant(random({128, 256})));
    net.for_parameters([&](const std::string&, nn::Parameter<float>& parameter) {
      parameter.freeze(Mask::free(parameter.shape(), [&](Index) { return rng.uniform() >= frozen; }));
    });
  }
  void step() {
    tape.replay();
    tape.backward(loss);
    adam.step();
  }
};

}  // namespace

int main() {
  set_threads(1);
  std::printf("%-10s %14s %14s %8s\n", "frozen", "unmasked, us", "masked, us", "ratio");
  for (const double frozen : {0.01, 0.5, 0.9}) {
    Training plain(0), masked(frozen);
    const auto times = bench::alternate([&] { plain.step(); }, [&] { masked.step(); });
    std::printf("%-10.2f %14.1f %14.1f %8.3f\n", frozen, 1e6 * times.first, 1e6 * times.second, times.ratio);
  }
}
