// A training step (forward, backward, Adam with decay and clipping off) with masks on all parameters against
// the same step without: two layers 256 wide, batch 128, one thread.

#include <memory>
#include <taper/taper.hpp>

#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role;

namespace {

struct Training {
  nn::Sequential<float> net{nn::Linear(256, 256), nn::ReLU(), nn::Linear(256, 256)};
  optim::Adam<float> adam{net.parameters(), {.weight_decay = 1e-4}};
  Tape<float> tape(Mode::training);
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

Contender training(const char* name, Role role, double frozen) {
  return {name, role, [of = std::make_shared<Training>(frozen)] { of->step(); }};
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);
  bench::Table table{
      "masked_step", "A step with masks, 256-256-256, batch 128", "frozen", bench::microseconds("step"), {}};
  for (const auto& [name, frozen] : {std::pair("1 %", 0.01), std::pair("50 %", 0.5), std::pair("90 %", 0.9)})
    table.cases.push_back(
        {name, 1, [frozen] {
           return std::vector{training("unmasked", Role::subject, 0), training("masked", Role::peer, frozen)};
         }});
  return bench::main(argc, argv, {table});
}
