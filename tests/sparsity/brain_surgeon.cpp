#include <taper/sparsity/brain_surgeon.hpp>

#include <doctest/doctest.h>

#include <Eigen/QR>
#include <cmath>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/train/evaluate.hpp>

using namespace taper;
using namespace taper::sparsity;

namespace {

using Line = nn::Sequential<double>;

/// Columns that are much alike, in units of their own.
data::Dataset<double> alike(Index rows, const std::vector<double>& units) {
  const auto width = static_cast<Index>(units.size());
  data::Dataset<double> set{Tensor<double>({rows, width}), Tensor<double>({rows, 1}), {}, {}};
  Rng rng(3);
  for (Index i = 0; i < rows; ++i) {
    const double common = rng.normal();
    for (Index j = 0; j < width; ++j) {
      set.x[i * width + j] = units[static_cast<std::size_t>(j)] * (common + 0.5 * rng.normal() + 1);
    }
    set.y[i] = 2 * common + rng.normal();
  }
  return set;
}

/// The least squares of these columns, and a constant, as weights of all columns and a bias.
std::vector<double> least_squares(const data::Dataset<double>& set, const std::vector<Index>& columns) {
  const Index rows = set.rows(), count = static_cast<Index>(columns.size());
  Eigen::MatrixXd x(rows, count + 1);
  Eigen::VectorXd y(rows);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < count; ++j) {
      x(i, j) = set.x[i * set.x.shape()[1] + columns[static_cast<std::size_t>(j)]];
    }
    x(i, count) = 1;
    y[i] = set.y[i];
  }
  const Eigen::VectorXd scale = x.colwise().norm().cwiseInverse();
  const Eigen::VectorXd w = scale.cwiseProduct((x * scale.asDiagonal()).householderQr().solve(y).eval());
  std::vector<double> result(static_cast<std::size_t>(set.x.shape()[1]) + 1);
  for (Index j = 0; j < count; ++j)
    result[static_cast<std::size_t>(columns[static_cast<std::size_t>(j)])] = w[j];
  result.back() = w[count];
  return result;
}

}  // namespace

TEST_CASE("brain surgeon: of a line, what is left is the least squares of the other columns, in any units") {
  for (const std::vector<double>& units :
       {std::vector<double>{1, 1, 1, 1}, {1e8, 1e-8, 1, 1e3}, {1e-8, 1e-8, 1e-8, 1e-8}}) {
    const auto set = alike(200, units);
    Line line(nn::Linear<double>(4, 1));
    auto& layer = dynamic_cast<nn::Linear<double>&>(line[0]);
    const std::vector<double> best = least_squares(set, {0, 1, 2, 3});
    for (Index j = 0; j < 4; ++j) layer.weight.value()[j] = best[static_cast<std::size_t>(j)];
    layer.bias->value()[0] = best[4];
    auto surgeon = BrainSurgeon<double>::of(line, set, nn::mse_loss, 1e-13);
    REQUIRE(surgeon);
    const auto parameters = line.parameters();
    const Index weight = parameters.entry("0.weight").offset, bias = parameters.entry("0.bias").offset;
    REQUIRE(weight < bias);
    const auto check = [&](std::span<const double> values, const std::vector<Index>& left) {
      const std::vector<double> expected = least_squares(set, left);
      REQUIRE(values.size() == 5);
      for (std::size_t j = 0; j < 5; ++j) {
        CAPTURE(j);
        CHECK(std::abs(values[j] - expected[j]) <= 1e-7 * std::abs(expected[j]));
      }
    };
    const BrainSurgeon<double>::Removed second{{weight + 1}}, others{{weight, weight + 3}};
    check(surgeon->without(second), {0, 2, 3});
    check(surgeon->without(others), {1, 2});
    // With column 2 held, the others fit what it leaves.
    auto rest = set;
    for (Index i = 0; i < rest.rows(); ++i) rest.y[i] -= best[2] * set.x[4 * i + 2];
    std::vector<double> expected = least_squares(rest, {0, 3});
    expected[2] = best[2];
    const std::vector<double> held = surgeon->without({{weight + 1}, {weight + 2}});
    for (std::size_t j = 0; j < 5; ++j) {
      CAPTURE(j);
      CHECK(std::abs(held[j] - expected[j]) <= 1e-7 * std::abs(expected[j]));
    }
    CHECK(std::equal(surgeon->values().begin(), surgeon->values().end(), best.begin()));
    surgeon->remove(second);
    check(surgeon->values(), {0, 2, 3});
    check(surgeon->without(others), {2});
    surgeon->remove(others);
    check(surgeon->values(), {2});
    CHECK(surgeon->values()[0] == 0);
    CHECK(surgeon->values()[1] == 0);
    surgeon->store(surgeon->values());
    CHECK(layer.weight.value()[2] == surgeon->values()[2]);
  }
}

TEST_CASE("brain surgeon: what the rows say nothing about stays, and the bits do not depend on threads") {
  auto set = alike(700, {1, 1, 1});
  for (Index i = 0; i < 700; ++i) set.x[3 * i + 2] = 0;
  manual_seed(5);
  const Line start(nn::Linear<double>(3, 2), nn::Linear<double>(2, 1));
  std::vector<std::vector<double>> results;
  const int before = threads();
  for (const int count : {1, 3}) {
    set_threads(count);
    Line line = start;
    const auto surgeon = BrainSurgeon<double>::of(line, set, nn::mse_loss);
    REQUIRE(surgeon);
    const Index first = line.parameters().entry("0.weight").offset;
    results.push_back(surgeon->without({{first, first + 3}}));
    CHECK(results.back()[2] == surgeon->values()[2]);
    CHECK(results.back()[5] == surgeon->values()[5]);
  }
  set_threads(before);
  CHECK(results[0] == results[1]);
  // Held entries keep their bits, which move else: with the weight that reads a unit at 0, those that make it
  // could only seem to make up for it.
  Line line = start;
  const auto surgeon = BrainSurgeon<double>::of(line, set, nn::mse_loss);
  const auto parameters = line.parameters();
  const Index maker = parameters.entry("0.weight").offset, reader = parameters.entry("1.weight").offset;
  const auto values = surgeon->values();
  const auto place = [&](std::size_t j) {
    return static_cast<std::size_t>(maker - parameters.entries()[0].offset) + j;
  };
  const std::vector<double> loose = surgeon->without({{reader}}),
                            held = surgeon->without({{reader}, {maker, maker + 1}});
  CHECK(loose[place(0)] != values[place(0)]);
  for (const std::size_t j : {0, 1}) CHECK(held[place(j)] == values[place(j)]);
  CHECK(held[place(3)] != values[place(3)]);  // of the other unit, which makes up for it
  CHECK_FALSE(BrainSurgeon<double>::of(line, set, nn::huber_loss));
}
