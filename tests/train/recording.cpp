#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/adam.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;

namespace {

data::Dataset<double> eleven_rows() {
  return {normal_tensor<double>({11, 3}, 4), normal_tensor<double>({11, 1}, 5), {}, {}};
}

/// A model that computes with whatever it is told to do, which may change from call to call.
struct Fickle : nn::Layer<double> {
  explicit Fickle(std::function<Var<double>(Var<double>)> how_) : how(std::move(how_)) {}
  Var<double> forward(Var<double> x) const override { return how(fc(x)); }
  void visit(nn::Visitor<double>& m) const override { m("fc", fc); }
  nn::Linear<double> fc{3, 1};
  std::function<Var<double>(Var<double>)> how;
};

train::FitOptions<double> checked(bool check = true) {
  train::FitOptions<double> options{.epochs = 3, .batch_size = 4, .progress = train::Progress::quiet};
  options.check_recording = check;
  return options;
}

void fit_checked(const std::function<Var<double>(Var<double>)>& how) {
  Fickle model(how);
  train::fit(model, eleven_rows(), nn::mse_loss, optim::SGD(model.parameters()), checked());
}

}  // namespace

TEST_CASE("check_recording: a model that counts its calls is noticed, with place and time") {
  int calls = 0;
  // Two recordings, for whole batches and for the remainder; then those of the check.
  const auto how = [&](Var<double> x) { return ++calls < 7 ? tanh(x) : relu(x); };
  CHECK_ERROR(fit_checked(how), "[fit] recorded again in epoch 1, batch 1, the step has", "= relu(%4)  4x1",
              "where the other has", "= tanh(%4)  4x1",
              "expected a model that records the same in every step");
}

TEST_CASE("check_recording: a model that looks at values is noticed") {
  // At first the weight decides one way, after some steps the other.
  CHECK_ERROR(fit_checked([](Var<double> x) { return x * (x.value()[0] > 0 ? 1.0 : 0.5); }), "constant",
              "1.0", "0.5");
  CHECK_ERROR(fit_checked([](Var<double> x) { return sub(x, x.tape().constant(x.value())); }),
              "where the other has");
}

TEST_CASE("check_recording: other settings and other layers are noticed") {
  double rate = 0.1;
  CHECK_ERROR(fit_checked([&](Var<double> x) { return dropout(x, rate += 0.01); }),
              "dropout(%4, probability=0.1", "where the other has", "probability=0.1");
  bool drop = true;
  Fickle net([&](Var<double> x) { return drop ? dropout(x, 0.5) : x; });
  auto options = checked();
  options.callbacks = {[&](const train::Epoch&) {
    drop = false;
    return true;
  }};
  CHECK_ERROR(train::fit(net, eleven_rows(), nn::mse_loss, optim::SGD(net.parameters()), options),
              "epoch 1, batch 0", "dropout");
}

TEST_CASE(
    "check_recording: off, the step is replayed as it was; on, ordinary models train to the same bits") {
#ifdef NDEBUG  // otherwise it is always on
  int calls = 0;
  Fickle model([&](Var<double> x) { return ++calls < 7 ? tanh(x) : relu(x); });
  train::fit(model, eleven_rows(), nn::mse_loss, optim::SGD(model.parameters()), checked(false));
  CHECK(calls == 2);
#endif
  const auto trained = [&](bool check) {
    manual_seed(9);
    nn::Sequential<double> net(nn::Linear<double>(3, 8), nn::GELU<double>(), nn::Dropout<double>(0.3),
                               nn::Linear<double>(8, 8), nn::Tanh<double>(), nn::Linear<double>(8, 1));
    sparsity::factorize(net, sparsity::Groups::inputs, "0.weight");
    sparsity::factorize(net, sparsity::Groups::outputs,
                        {.depth = 3, .weights = sparsity::GroupWeights::sqrt_size, .match = "3.weight"});
    sparsity::factorize(net, sparsity::Groups::elements, "5.weight");
    auto options = checked(check);
    const auto set = eleven_rows();
    options.validation = &set;
    train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters(), {.weight_decay = 1e-2}), options);
    return train::predict(net, set.x);
  };
  CHECK(same_bits(trained(true).view(), trained(false).view()));
}
