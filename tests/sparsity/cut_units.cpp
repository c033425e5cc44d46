#include <taper/sparsity/cut_units.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <taper/autodiff/error.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/layer_norm.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/train/evaluate.hpp>

using namespace taper;
using namespace taper::sparsity;

namespace {

using Chain = nn::Sequential<double>;

Chain random_chain(Rng& rng, std::vector<Index>& widths) {
  manual_seed(rng.bits());
  widths.clear();
  const Index layers = 1 + static_cast<Index>(rng.uniform() * 3);
  for (Index k = 0; k <= layers; ++k) widths.push_back(1 + static_cast<Index>(rng.uniform() * 5));
  Chain chain;
  for (Index k = 0; k < layers; ++k) {
    const auto at = static_cast<std::size_t>(k);
    chain.push_back(nn::Linear<double>(widths[at], widths[at + 1], rng.uniform() < 0.8));
    if (k + 1 < layers && rng.uniform() < 0.5) {
      chain.push_back(nn::Tanh<double>());
    } else if (k + 1 < layers) {
      chain.push_back(nn::ReLU<double>());
    }
  }
  return chain;
}

data::Dataset<double> random_rows(Rng& rng, Index rows, Index inputs, Index outputs, double x_unit = 1,
                                  double y_unit = 1) {
  data::Dataset<double> set{Tensor<double>({rows, inputs}), Tensor<double>({rows, outputs}), {}, {}};
  for (double& x : set.x) x = x_unit * (rng.normal() + 0.3);
  for (double& y : set.y) y = y_unit * rng.normal();
  return set;
}

nn::Linear<double>& matrix_at(Chain& chain, std::size_t part) {
  return dynamic_cast<nn::Linear<double>&>(chain[part]);
}

/// What the model is without one input of a matrix, and what it gives, by plain loops.
std::vector<double> outputs_without(Chain& chain, const Tensor<double>& x, std::size_t part, Index input) {
  const Index rows = x.shape()[0];
  std::vector<std::vector<double>> at(static_cast<std::size_t>(rows));
  for (Index i = 0; i < rows; ++i) {
    at[static_cast<std::size_t>(i)].assign(x.data() + i * x.shape()[1], x.data() + (i + 1) * x.shape()[1]);
  }
  for (std::size_t k = 0; k < chain.size(); ++k) {
    if (dynamic_cast<nn::Tanh<double>*>(&chain[k]) != nullptr) {
      for (auto& row : at) {
        for (double& z : row) z = std::tanh(z);
      }
    } else if (dynamic_cast<nn::ReLU<double>*>(&chain[k]) != nullptr) {
      for (auto& row : at) {
        for (double& z : row) z = std::max(z, 0.0);
      }
    } else {
      const nn::Linear<double>& linear = matrix_at(chain, k);
      double mean = 0;
      if (k == part) {
        for (const auto& row : at) mean += row[static_cast<std::size_t>(input)] / static_cast<double>(rows);
        if (!linear.bias) mean = 0;  // there is nothing to take it up
      }
      for (auto& row : at) {
        if (k == part) row[static_cast<std::size_t>(input)] = mean;
        std::vector<double> next;
        for (Index o = 0; o < linear.outputs(); ++o) {
          double sum = linear.bias ? linear.bias->value()[o] : 0;
          for (Index j = 0; j < linear.inputs(); ++j) {
            sum += linear.weight.value()[o * linear.inputs() + j] * row[static_cast<std::size_t>(j)];
          }
          next.push_back(sum);
        }
        row = next;
      }
    }
  }
  std::vector<double> all;
  for (const auto& row : at) all.insert(all.end(), row.begin(), row.end());
  return all;
}

}  // namespace

TEST_CASE("cut_units: one step takes the unit that a search by plain loops finds") {
  Rng rng(1);
  int cut = 0;
  for (int k = 0; k < 200; ++k) {
    std::vector<Index> widths;
    Chain chain = random_chain(rng, widths);
    const auto set = random_rows(rng, 40, widths.front(), widths.back());
    double least = std::numeric_limits<double>::infinity();
    std::vector<double> expected;
    std::size_t l = 0;
    for (std::size_t part = 0; part < chain.size(); ++part) {
      if (dynamic_cast<nn::Linear<double>*>(&chain[part]) == nullptr) continue;
      const bool bias_before = l > 0 && [&] {
        std::size_t before = part - 1;
        while (dynamic_cast<nn::Linear<double>*>(&chain[before]) == nullptr) --before;
        return matrix_at(chain, before).bias.has_value();
      }();
      for (Index j = 0; j < widths[l] && widths[l] > 1; ++j) {
        const auto outputs = outputs_without(chain, set.x, part, j);
        double loss = 0;
        for (std::size_t i = 0; i < outputs.size(); ++i) {
          loss += std::pow(outputs[i] - set.y.data()[i], 2) / static_cast<double>(outputs.size());
        }
        const double rise = loss - train::evaluate(chain, set, nn::mse_loss);
        const double saved =
            static_cast<double>(widths[l + 1] + (l > 0 ? widths[l - 1] + (bias_before ? 1 : 0) : 0));
        if (rise / saved < least) least = rise / saved, expected = outputs;
      }
      ++l;
    }
    const Index size = chain_size(chain, SizeMeasure::parameters);
    if (expected.empty()) {  // every layer has one unit
      CHECK_THROWS_AS(cut_units(chain, set, nn::mse_loss, size - 1), Error);
      continue;
    }
    ++cut;
    Chain less = chain;
    cut_units(less, set, nn::mse_loss, size - 1, {.step = 1e-9, .most_for_second_order = 0});
    CHECK(chain_size(less, SizeMeasure::parameters) < size);
    const Tensor<double> outputs = train::predict(less, set.x);
    for (Index i = 0; i < outputs.size(); ++i) {
      CHECK(outputs[i] == doctest::Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-9));
    }
  }
  CHECK(cut > 150);
}

TEST_CASE("cut_units: what does nothing goes first, in any units, and the loss stays") {
  for (const double unit : {1e-8, 1.0, 1e8}) {
    Rng rng(2);
    manual_seed(3);
    Chain chain(nn::Linear<double>(6, 9), nn::Tanh<double>(), nn::Linear<double>(9, 7), nn::Tanh<double>(),
                nn::Linear<double>(7, 1));
    // Inputs 1 and 4, units 0 and 5 of the first layer, unit 2 of the second one are read by nobody.
    for (const Index j : {1, 4}) matrix_at(chain, 0).weight.value().matrix().col(j).setZero();
    for (const Index j : {0, 5}) matrix_at(chain, 2).weight.value().matrix().col(j).setZero();
    matrix_at(chain, 4).weight.value().matrix().col(2).setZero();
    matrix_at(chain, 0).weight.value().vector() /= unit;
    matrix_at(chain, 4).weight.value().vector() *= unit;
    matrix_at(chain, 4).bias->value().vector() *= unit;
    auto set = random_rows(rng, 100, 6, 1, unit, unit);
    set.y = train::predict(chain, set.x);  // so that every unit that does something is needed
    cut_units(chain, set, nn::mse_loss, 4 * 7 + 7 + 7 * 6 + 6 + 6 + 1);
    CHECK(chain_size(chain, SizeMeasure::parameters) == 4 * 7 + 7 + 7 * 6 + 6 + 6 + 1);
    CHECK(train::evaluate(chain, set, nn::mse_loss) < 1e-24 * unit * unit);
  }
}

TEST_CASE("cut_units: of units that say the same, one takes over, in any units and with any loss") {
  for (const double unit : {1e-8, 1.0, 1e8}) {
    CAPTURE(unit);
    Rng rng(12);
    manual_seed(13);
    Chain small(nn::Linear<double>(3, 4), nn::Tanh<double>(), nn::Linear<double>(4, 1));
    matrix_at(small, 2).weight.value().vector() *= unit;
    matrix_at(small, 2).bias->value().vector() *= unit;
    auto set = random_rows(rng, 200, 3, 1);
    set.y = train::predict(small, set.x);
    // Each hidden unit stands there twice, and has half of the weight each time.
    Chain large(nn::Linear<double>(3, 8), nn::Tanh<double>(), nn::Linear<double>(8, 1));
    for (Index i = 0; i < 8; ++i) {
      matrix_at(large, 0).weight.value().matrix().row(i) =
          matrix_at(small, 0).weight.value().matrix().row(i / 2);
      matrix_at(large, 0).bias->value()[i] = matrix_at(small, 0).bias->value()[i / 2];
      matrix_at(large, 2).weight.value()[i] = matrix_at(small, 2).weight.value()[i / 2] / 2;
    }
    matrix_at(large, 2).bias->value()[0] = matrix_at(small, 2).bias->value()[0];
    const double variance = set.y.view().vector().squaredNorm() / 200;
    const Index size = chain_size(small, SizeMeasure::parameters);
    for (const double step : {0.03, 0.9}) {  // one by one, and several of one matrix
      Chain less = large;
      cut_units(less, set, nn::mse_loss, size, {.step = step});
      CHECK(chain_size(less, SizeMeasure::parameters) == size);
      CHECK(train::evaluate(less, set, nn::mse_loss) < 2e-2 * variance);
    }
    Chain by_bias = large;
    cut_units(by_bias, set, nn::mse_loss, size, {.most_for_second_order = 0});
    CHECK(train::evaluate(by_bias, set, nn::mse_loss) > 4e-2 * variance);
    // There is no Gauss-Newton matrix of Huber's loss: the bias does what it can.
    Chain absolute = large;
    cut_units(absolute, set, nn::huber_loss, size);
    CHECK(chain_size(absolute, SizeMeasure::parameters) <= size);
  }
}

TEST_CASE("cut_units: sizes in both measures, training between, the same bits on any number of threads") {
  Rng rng(4);
  manual_seed(5);
  const Chain chain(nn::Linear<double>(5, 12), nn::ReLU<double>(), nn::Linear<double>(12, 2));
  CHECK(chain_size(chain, SizeMeasure::parameters) == 5 * 12 + 12 + 12 * 2 + 2);
  CHECK(chain_size(chain, SizeMeasure::multiply_adds) == 5 * 12 + 12 * 2);
  const auto set = random_rows(rng, 500, 5, 2);
  std::vector<Tensor<double>> results;
  const int threads_before = threads();
  for (const int count : {1, 3}) {
    set_threads(count);
    Chain less = chain;
    Index last = 84;
    int steps = 0;
    CutUnitsOptions<double> options{.measure = SizeMeasure::multiply_adds};
    options.train = [&](Chain& rest) {
      const Index now = chain_size(rest, SizeMeasure::multiply_adds);
      CHECK(now < last);
      last = now;
      ++steps;
      matrix_at(rest, rest.size() - 1).bias->value()[0] += 0.125;
    };
    cut_units(less, set, nn::mse_loss, 30, options);
    CHECK(last <= 30);
    CHECK(steps > 3);
    results.push_back(train::predict(less, set.x));
  }
  set_threads(threads_before);
  CHECK(std::equal(results[0].begin(), results[0].end(), results[1].begin()));

  Chain same = chain;
  cut_units(same, set, nn::mse_loss, 98, {.train = [](Chain&) { FAIL("nothing is cut"); }});
  CHECK(chain_size(same, SizeMeasure::parameters) == 98);

  // A step may be of several units, fewer the closer the size is, and the last goes no further than a unit.
  std::vector<Index> left = {98};
  Chain by_halves = chain;
  cut_units(by_halves, set, nn::mse_loss, 40, {.step = 0.5, .train = [&](Chain& rest) {
                                                 left.push_back(chain_size(rest, SizeMeasure::parameters));
                                               }});
  for (std::size_t k = 1; k < left.size(); ++k) {
    const Index above = left[k - 1] - 40, gone = left[k - 1] - left[k];
    CHECK(2 * gone >= above);
    CHECK(2 * (gone - 14) < above);
  }
  CHECK(left.back() <= 40);
  CHECK(left.size() <= 6);
}

TEST_CASE("cut_units: sorted rows show all that varies") {
  // The input that counts is constant in the first half.
  Chain chain(nn::Linear<double>(3, 1));
  const Index rows = 10000;
  data::Dataset<double> set{Tensor<double>({rows, 3}), Tensor<double>({rows, 1}), {}, {}};
  Rng rng(8);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < 3; ++j) set.x[3 * i + j] = j == 1 && i < rows / 2 ? 0 : rng.normal();
  }
  matrix_at(chain, 0).weight.value().matrix() << 0.1, 3, 0.2;
  set.y = train::predict(chain, set.x);
  cut_units(chain, set, nn::mse_loss, 2);
  CHECK(chain_size(chain, SizeMeasure::parameters) == 2);
  CHECK(train::evaluate(chain, set, nn::mse_loss) < 0.1);  // without the input that counts: 4.5
}

TEST_CASE("cut_units: a Select in front, of any name, reads less; what is small enough stays") {
  Rng rng(9);
  manual_seed(10);
  Chain chain;
  chain.push_back(nn::Select<double>({1, 3, 4}, 5), "some");
  chain.push_back(nn::Linear<double>(3, 4));
  chain.push_back(nn::Tanh<double>());
  chain.push_back(nn::Linear<double>(4, 2));
  const auto set = random_rows(rng, 50, 5, 2);
  cut_units(chain, set, nn::mse_loss, 10);
  CHECK(chain_size(chain, SizeMeasure::parameters) <= 10);
  CHECK(train::predict(chain, set.x).shape() == Shape{50, 2});

  Chain constant(nn::Linear<double>(0, 1));
  cut_units(constant, random_rows(rng, 5, 0, 1), nn::mse_loss, 1);
  CHECK(chain_size(constant, SizeMeasure::parameters) == 1);

  Chain between(nn::Linear<double>(5, 6), nn::Select<double>({0, 2}, 6), nn::Linear<double>(2, 1));
  CHECK_THROWS_WITH_AS(cut_units(between, random_rows(rng, 9, 5, 1), nn::mse_loss, 5),
                       doctest::Contains("layer 1 selects some units"), Error);
}

TEST_CASE("cut_units: what cannot be cut is an error, and the chain stays as it was") {
  Rng rng(6);
  manual_seed(7);
  Chain chain(nn::Linear<double>(3, 4), nn::Tanh<double>(), nn::Linear<double>(4, 1));
  auto set = random_rows(rng, 10, 3, 1);
  const auto refuses = [&](Chain& model, const data::Dataset<double>& rows, Index size, const char* words,
                           const CutUnitsOptions<double>& options = {}) {
    CHECK_THROWS_WITH_AS(cut_units(model, rows, nn::mse_loss, size, options), doctest::Contains(words),
                         Error);
  };
  refuses(chain, set, 3, "a size of 3: expected 4 at least");
  refuses(chain, set, 10, "a step of 0", {.step = 0});
  refuses(chain, set, 10, "a step of nan", {.step = std::nan("")});
  refuses(chain, set, 10, "0 rows", {.rows = 0});
  refuses(chain, {Tensor<double>({0, 3}), Tensor<double>({0, 1}), {}, {}}, 10, "no rows");
  refuses(chain, {Tensor<double>({5, 3}), Tensor<double>({4, 1}), {}, {}}, 10, "as many rows in both");
  CHECK_THROWS_WITH_AS(cut_units(chain, set, {}, 10), doctest::Contains("no loss"), Error);
  auto infinite = set;
  infinite.y[0] = std::numeric_limits<double>::infinity();
  refuses(chain, infinite, 10, "the loss is inf");
  CHECK_THROWS_AS(cut_units(chain, random_rows(rng, 10, 2, 1), nn::mse_loss, 10), Error);
  CHECK(chain_size(chain, SizeMeasure::parameters) == 21);

  Chain factorized = chain;
  factorize(factorized, Groups::inputs);
  refuses(factorized, set, 10, "0.weight is factorized");
  Chain frozen = chain;
  matrix_at(frozen, 2).weight.freeze();
  refuses(frozen, set, 10, "2.weight has frozen entries");
  Chain normed(nn::Linear<double>(3, 4), nn::LayerNorm<double>(Shape{4}), nn::Linear<double>(4, 1));
  refuses(normed, set, 10, "layer 1 has a parameter weight");
  Chain empty;
  refuses(empty, set, 10, "no matrix");
}
