#include <taper/data/digits.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <taper/data/split.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/flatten.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/pool.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/train/fit.hpp>

#include "../check.hpp"

using namespace taper::data;
using taper::Index;
using taper::Shape;
using taper::Tensor;
namespace nn = taper::nn;

namespace {

/// The share of test images that a network misses after some training.
double error_after_training(nn::Sequential<float> net, const Dataset<float>& train,
                            const Dataset<float>& test, Index epochs) {
  taper::train::fit(net, train, nn::cross_entropy_loss, taper::optim::Adam(net.parameters(), {.lr = 3e-3}),
                    {.epochs = epochs, .batch_size = 64, .progress = taper::train::Progress::quiet});
  const Tensor<float> outputs = taper::train::predict(net, test.x);
  Index wrong = 0;
  for (Index i = 0; i < test.rows(); ++i) {
    const float* const row = outputs.data() + i * 10;
    wrong += std::max_element(row, row + 10) - row != static_cast<Index>(test.y[i]) ? 1 : 0;
  }
  return static_cast<double>(wrong) / static_cast<double>(test.rows());
}

}  // namespace

TEST_CASE("make_digits: images of ten classes, in equal numbers, from 0 to 1") {
  const Dataset<double> set = make_digits<double>({.rows = 205, .seed = 3});
  CHECK(set.x.shape() == Shape{205, 1, 28, 28});
  CHECK(set.y.shape() == Shape{205, 1});
  for (Index digit = 0; digit < 10; ++digit) {
    CHECK(std::ranges::count(set.y, static_cast<double>(digit)) == (digit < 5 ? 21 : 20));
  }
  CHECK(std::ranges::all_of(set.x, [](double pixel) { return pixel >= 0 && pixel <= 1; }));
  CHECK_FALSE(std::ranges::is_sorted(set.y));
  CHECK(make_digits<float>({.rows = 1}).rows() == 1);
}

TEST_CASE("make_digits: the same options give the same images, other seeds others") {
  const auto a = make_digits<float>({.rows = 30}), b = make_digits<float>({.rows = 30});
  CHECK(std::ranges::equal(a.x, b.x));
  CHECK(std::ranges::equal(a.y, b.y));
  CHECK_FALSE(std::ranges::equal(a.x, make_digits<float>({.rows = 30, .seed = 1}).x));
  const auto wide = make_digits<double>({.rows = 30});
  for (Index i = 0; i < wide.x.size(); ++i) CHECK(a.x[i] == doctest::Approx(wide.x[i]));
}

TEST_CASE(
    "make_digits: without variation and noise, every image is one of at most two drawings of its class") {
  const auto set = make_digits<float>({.rows = 400, .variation = 0, .noise = 0});
  std::vector<std::vector<std::vector<float>>> kinds(10);
  for (Index i = 0; i < set.rows(); ++i) {
    const float* const image = set.x.data() + i * 784;
    std::vector<float> pixels(image, image + 784);
    auto& known = kinds[static_cast<std::size_t>(set.y[i])];
    if (std::ranges::find(known, pixels) == known.end()) known.push_back(std::move(pixels));
  }
  std::size_t all = 0;
  for (const auto& known : kinds) {
    CHECK(known.size() <= 2);
    all += known.size();
    for (const auto& image : known) {
      CHECK(std::ranges::count(image, 1.0f) > 20);  // ink
      CHECK(image.front() == 0);
      // The drawings of other classes differ.
      const auto same = [&](const auto& other) { return std::ranges::find(other, image) != other.end(); };
      CHECK(std::ranges::count_if(kinds, same) == 1);
    }
  }
  CHECK(all == 15);
}

TEST_CASE("make_digits: convolutions make far fewer errors than a linear classifier") {
  const auto [train, test] = train_test_split(make_digits<float>({.rows = 2600}), 600.0 / 2600, 0);
  taper::manual_seed(1);
  const double linear =
      error_after_training(nn::Sequential<float>(nn::Flatten(), nn::Linear(784, 10)), train, test, 20);
  const double convolutional = error_after_training(
      nn::Sequential<float>(nn::Conv2d(1, 8, 5), nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(8, 16, 5),
                            nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(256, 10)),
      train, test, 8);
  CAPTURE(linear);
  CAPTURE(convolutional);
  CHECK(linear > 0.2);
  CHECK(convolutional < 0.1);
  CHECK(convolutional < linear / 3);
}

TEST_CASE("make_digits: options out of range") {
  CHECK_ERROR(make_digits<float>({.rows = 0}), "[make_digits] rows 0: expected 1 to ");
  CHECK_ERROR(make_digits<float>({.rows = -5}), "rows -5");
  CHECK_ERROR(make_digits<float>({.variation = -1}), "variation -1: expected 0 to 2");
  CHECK_ERROR(make_digits<float>({.variation = 3}), "variation 3");
  CHECK_ERROR(make_digits<float>({.noise = std::nan("")}), "noise nan: expected 0 to 10");
}
