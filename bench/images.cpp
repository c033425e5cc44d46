// Networks for images: a training step of 128 images on one and two threads, an epoch, and one image through
// the network. LeNet-5 in the form of 20-50-800-500 (LeCun et al., 1998, as Caffe has it), plain, with batch
// norm, and factorized; and a small residual network on 3 x 32 x 32. Against PyTorch: images.py, which has
// the same networks and runs this program with --serve.

#include <memory>
#include <taper/taper.hpp>

#include "limits.hpp"
#include "numbers.hpp"
#include "ratios.hpp"

using namespace taper;
using bench::Contender, bench::Role, bench::Table;

namespace {

using Net = nn::Sequential<float>;

/// The layers that people write, or with relu in the convolutions.
Net lenet5(bool fused, bool batch_norm) {
  Net net;
  const auto convolution = [&](Index channels, Index outputs) {
    net.push_back(
        nn::Conv2d(channels, outputs, 5, {.activation = fused ? Activation::relu : Activation::none}));
    if (batch_norm) net.push_back(nn::BatchNorm2d(outputs));
    if (!fused) net.push_back(nn::ReLU());
    net.push_back(nn::MaxPool2d(2));
  };
  convolution(1, 20);
  convolution(20, 50);
  net.push_back(nn::Flatten());
  net.push_back(nn::Linear(800, 500));
  net.push_back(nn::ReLU());
  net.push_back(nn::Linear(500, 10));
  return net;
}

/// Two convolutions with batch norm beside a shortcut, which is a convolution of one pixel where the size
/// changes (He et al., "Deep residual learning for image recognition", 2016).
class Block : public nn::Layer<float> {
 public:
  Block(Index channels, Index outputs, Index stride)
      : first(channels, outputs, 3, {.stride = stride, .padding = 1}, false),
        first_norm(outputs),
        second(outputs, outputs, 3, {.padding = 1}, false),
        second_norm(outputs) {
    if (channels == outputs && stride == 1) return;
    shortcut.emplace(channels, outputs, 1, Conv2dOptions{.stride = stride}, false);
    shortcut_norm.emplace(outputs);
  }

  Var<float> forward(Var<float> x) const override {
    const Var<float> inner = relu(first_norm(first(x)));
    return relu(second_norm(second(inner)) + (shortcut ? (*shortcut_norm)((*shortcut)(x)) : x));
  }
  void visit(nn::Visitor<float>& v) const override {
    v("first", first), v("first_norm", first_norm), v("second", second), v("second_norm", second_norm);
    if (shortcut) v("shortcut", *shortcut), v("shortcut_norm", *shortcut_norm);
  }

  nn::Conv2d<float> first;
  nn::BatchNorm2d<float> first_norm;
  nn::Conv2d<float> second;
  nn::BatchNorm2d<float> second_norm;
  std::optional<nn::Conv2d<float>> shortcut;
  std::optional<nn::BatchNorm2d<float>> shortcut_norm;
};

Net residual() {
  Net net;
  net.push_back(nn::Conv2d(3, 16, 3, {.padding = 1}, false));
  net.push_back(nn::BatchNorm2d(16));
  net.push_back(nn::ReLU());
  net.push_back(Block(16, 16, 1));
  net.push_back(Block(16, 32, 2));
  net.push_back(Block(32, 64, 2));
  net.push_back(nn::GlobalAvgPool());
  net.push_back(nn::Linear(64, 10));
  return net;
}

struct Network {
  std::string name;
  Shape image;
  Net (*build)();
  /// Multiply-adds of one image, forward: in the first layer, whose images need no gradient, and in the
  /// others.
  double first, others;
};

// LeNet-5: 20 x 25 x 576, then 50 x 500 x 64, 800 x 500 and 500 x 10. The residual network: 16 x 27 x 1024,
// then 2 of 16 x 144 x 1024; 32 x 144, 32 x 288 and 32 x 16 of 256; 64 x 288, 64 x 576 and 64 x 32 of 64; 64
// x 10.
const std::vector<Network> networks{
    {"lenet5", {1, 28, 28}, [] { return lenet5(false, false); }, 288e3, 2005e3},
    {"lenet5_batch_norm", {1, 28, 28}, [] { return lenet5(false, true); }, 288e3, 2005e3},
    {"residual", {3, 32, 32}, residual, 442368, 2 * 2359296 + 256 * 14336 + 64 * 57344 + 640}};

/// Weights that images.py makes, too, in the order of the parameters; scales of batch norm are ones.
void fill(Net& net) {
  const nn::Parameters<float> parameters = net.parameters();
  Index k = 2;
  double products = 1;
  for (const auto& entry : parameters.entries()) {
    const View<float> values = parameters.value(entry);
    const bool scales = entry.shape.rank() == 1 && values[0] == 1;
    if (entry.shape.rank() > 1) products = static_cast<double>(entry.shape.size() / entry.shape[0]);
    if (!scales) bench::fill(values, k, static_cast<float>(1 / std::sqrt(products)));
    ++k;
  }
}

Tensor<float> images(Index rows, const Shape& image) {
  Tensor<float> result({rows, image[0], image[1], image[2]});
  bench::fill(result, 0, 1);
  return result;
}

Tensor<float> labels(Index rows) {
  Tensor<float> result({rows});
  bench::fill(result, 1, 1);
  for (float& label : result) label = std::floor(0.5f * (label + 1) * 10);
  return result;
}

struct Training {
  Net net;
  Tape<float> tape{Mode::training};
  std::optional<optim::Adam<float>> adam;
  Var<float> loss;

  Training(Net made, const Shape& image, std::optional<sparsity::Groups> groups = {}) : net(std::move(made)) {
    fill(net);
    if (groups) sparsity::factorize(net, *groups);
    adam.emplace(net.parameters(), optim::AdamOptions{.lr = 1e-3});
    tape.keep_gradients(false);  // as fit() does
    loss = nn::cross_entropy_loss(net(tape.constant(images(128, image))), tape.constant(labels(128)));
  }
};

Contender step(const std::shared_ptr<Training>& training, int threads, const char* name, Role role) {
  return {name, role,
          [=] {
            set_threads(threads);
            training->tape.value_and_gradient(training->loss);
            training->tape.update_buffers();
            training->adam->step();
          },
          1, [=] { return static_cast<double>(training->loss.item()); }};
}

/// 60,000 images in batches of 128, shuffled.
Contender epoch(const Network& of, int threads) {
  const auto net = std::make_shared<Net>(of.build());
  fill(*net);
  const auto data = std::make_shared<data::Dataset<float>>();
  data->x = images(60000, of.image);
  data->y = labels(60000);
  const auto adam = std::make_shared<optim::Adam<float>>(net->parameters(), optim::AdamOptions{.lr = 1e-3});
  return {"fit", Role::subject,
          [=] {
            set_threads(threads);
            train::fit(*net, *data, nn::cross_entropy_loss, *adam,
                       {.epochs = 1, .batch_size = 128, .progress = train::Progress::quiet});
          },
          1};
}

Contender predict(const Network& of) {
  const auto net = std::make_shared<Net>(of.build());
  fill(*net);
  const auto tape = std::make_shared<Tape<float>>(Mode::evaluation);
  const Var<float> output = (*net)(tape->constant(images(1, of.image)));
  return {"layers", Role::subject,
          [=, parameters_of = net] {  // the tape reads them
            set_threads(1);
            tape->replay();
          },
          1, [=] { return static_cast<double>(output.value()[0]); }};
}

/// The products alone, were they done at the peak of so many threads. The gradient of the images is not made.
Contender peak(int threads, double operations) {
  return {"products at FMA peak", Role::limit, [=] { bench::multiply_add<float>(threads); },
          bench::multiply_add<float>(threads) / operations};
}

}  // namespace

int main(int argc, char** argv) {
  Table steps{"step", "A training step, batch 128", "network, threads", bench::microseconds("step"), {}};
  Table factorized{"factorized",
                   "A factorized training step of LeNet-5 against a dense one, batch 128",
                   "groups, threads",
                   bench::microseconds("step"),
                   {}};
  Table epochs{"epoch", "An epoch of 60,000 images", "network, threads", bench::microseconds("epoch"), {}};
  Table images{"predict", "One image", "network, threads", bench::microseconds("image"), {}};
  for (const Network& of : networks) {
    for (const int threads : {1, 2}) {
      steps.cases.push_back(
          {of.name + ", " + std::to_string(threads), 1, [=] {
             const double operations = 128 * (4 * of.first + 6 * of.others);
             std::vector<Contender> result{
                 step(std::make_shared<Training>(of.build(), of.image), threads, "layers", Role::subject),
                 peak(threads, operations)};
             if (of.name == "lenet5") {
               result.push_back(step(std::make_shared<Training>(lenet5(true, false), of.image), threads,
                                     "relu in the convolutions", Role::other));
             }
             return result;
           }});
    }
    epochs.cases.push_back({of.name + ", 2", 1, [=] { return std::vector{epoch(of, 2)}; }});
    images.cases.push_back({of.name + ", 1", 1, [=] {
                              return std::vector{predict(of), peak(1, 2 * (of.first + of.others))};
                            }});
  }
  const std::vector<std::pair<std::string, sparsity::Groups>> kinds{{"inputs", sparsity::Groups::inputs},
                                                                    {"filters", sparsity::Groups::filters},
                                                                    {"elements", sparsity::Groups::elements}};
  for (const auto& [name, groups] : kinds) {
    for (const int threads : {1, 2}) {
      factorized.cases.push_back(
          {name + ", " + std::to_string(threads), 1, [threads, groups = groups] {
             const Network& of = networks.front();
             return std::vector{
                 step(std::make_shared<Training>(of.build(), of.image), threads, "dense", Role::subject),
                 step(std::make_shared<Training>(of.build(), of.image, groups), threads, "factorized",
                      Role::other)};
           }});
    }
  }
  return bench::main(argc, argv, {steps, factorized, epochs, images});
}
