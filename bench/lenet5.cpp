// LeNet-5 in the form of 20-50-800-500 (LeCun et al., 1998, as Caffe has it): a training step of 128 images
// on one and two threads, and one image through the network. Against PyTorch: lenet5.py, which has the same
// network and runs this program with --serve.

#include <memory>
#include <taper/taper.hpp>

#include "limits.hpp"
#include "numbers.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role, bench::Table;

namespace {

/// The layers that people write, or with relu in the convolutions.
nn::Sequential<float> build(bool fused) {
  nn::Sequential<float> net;
  const auto convolution = [&](Index channels, Index outputs) {
    net.push_back(
        nn::Conv2d(channels, outputs, 5, {.activation = fused ? Activation::relu : Activation::none}));
    if (!fused) net.push_back(nn::ReLU());
    net.push_back(nn::MaxPool2d(2));
  };
  convolution(1, 20);
  convolution(20, 50);
  net.push_back(nn::Flatten());
  net.push_back(nn::Linear(800, 500));
  net.push_back(nn::ReLU());
  net.push_back(nn::Linear(500, 10));
  const nn::Parameters<float> parameters = net.parameters();
  Index k = 2;
  double products = 1;
  for (const auto& entry : parameters.entries()) {
    const View<float> values = parameters.value(entry);
    if (entry.shape.rank() > 1) products = static_cast<double>(entry.shape.size() / entry.shape[0]);
    bench::fill(values, k++, static_cast<float>(1 / std::sqrt(products)));
  }
  return net;
}

struct Network {
  nn::Sequential<float> net;
  Tape<float> tape;
  Var<float> x, output;

  Network(bool fused, Mode mode, Index batch) : net(build(fused)), tape(mode) {
    Tensor<float> images({batch, 1, 28, 28});
    bench::fill(images, 0, 1);
    tape.keep_gradients(false);  // as fit() does
    x = tape.constant(images);
    output = net(x);
  }
};

struct Training : Network {
  optim::Adam<float> adam;
  Var<float> loss;

  explicit Training(bool fused) : Network(fused, Mode::training, 128), adam(net.parameters(), {.lr = 1e-3}) {
    Tensor<float> labels({128});
    bench::fill(labels, 1, 1);
    for (float& label : labels) label = std::floor(0.5f * (label + 1) * 10);
    loss = nn::cross_entropy_loss(output, tape.constant(labels));
  }
};

Contender step(bool fused, int threads, const char* name, Role role) {
  const auto training = std::make_shared<Training>(fused);
  return {name, role,
          [=] {
            set_threads(threads);
            training->tape.value_and_gradient(training->loss);
            training->adam.step();
          },
          1, [=] { return static_cast<double>(training->loss.item()); }};
}

Contender predict() {
  const auto network = std::make_shared<Network>(false, Mode::evaluation, 1);
  return {"layers", Role::subject,
          [=] {
            set_threads(1);
            network->tape.replay();
          },
          1, [=] { return static_cast<double>(network->output.value()[0]); }};
}

/// Multiply-adds of one image, forward: 20 x 25 x 576, 50 x 500 x 64, 800 x 500 and 500 x 10.
constexpr double first = 288e3, others = 1600e3 + 400e3 + 5e3;

/// The products alone, were they done at the peak of so many threads. The gradient of the images is not made.
Contender peak(int threads, double operations) {
  return {"products at FMA peak", Role::limit, [=] { bench::multiply_add<float>(threads); },
          bench::multiply_add<float>(threads) / operations};
}

}  // namespace

int main(int argc, char** argv) {
  Table steps{"step", "A training step of LeNet-5, batch 128", "threads", bench::microseconds("step"), {}};
  for (const int threads : {1, 2}) {
    steps.cases.push_back({std::to_string(threads), 1, [=] {
                             return std::vector{step(false, threads, "layers", Role::subject),
                                                step(true, threads, "relu in the convolutions", Role::other),
                                                peak(threads, 128 * (4 * first + 6 * others))};
                           }});
  }
  Table images{"predict", "One image through LeNet-5", "threads", bench::microseconds("image"), {}};
  images.cases.push_back({"1", 1, [] { return std::vector{predict(), peak(1, 2 * (first + others))}; }});
  return bench::main(argc, argv, {steps, images});
}
