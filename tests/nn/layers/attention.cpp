#include <taper/nn/layers/attention.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <taper/nn/graph.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/layer_norm.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/factorize.hpp>

#include "../../autodiff/random_tensors.hpp"
#include "../../check.hpp"

using namespace taper;

namespace {

template <class T> std::vector<std::string> names_of_parameters(const nn::Module<T>& module) {
  std::vector<std::string> names;
  module.for_parameters([&](const std::string& name, const nn::Parameter<T>&) { names.push_back(name); });
  return names;
}

template <class T>
Tensor<T> recorded(const nn::Module<T>& module, const std::vector<Tensor<T>>& inputs,
                   Mode mode = Mode::evaluation) {
  Tape<T> tape(mode);
  std::vector<Var<T>> given;
  for (const Tensor<T>& input : inputs) given.push_back(tape.constant(input));
  return Tensor<T>(module.record(given)[0].value());
}

/// A layer whose biases are not zero.
template <class T>
nn::MultiheadAttention<T> random_layer(Index embed, Index heads,
                                       const nn::MultiheadAttentionOptions& options = {}) {
  manual_seed(7);
  nn::MultiheadAttention<T> layer(embed, heads, options);
  if (options.bias) {
    nn::init::normal(layer.in_proj_bias->value(), 0, 1);
    nn::init::normal(layer.out_proj.bias->value(), 0, 1);
  }
  return layer;
}

/// Of rows x length x width, these positions.
template <class T> Tensor<T> positions_of(const Tensor<T>& x, const std::vector<Index>& positions) {
  const Index length = x.shape()[1], width = x.shape()[2], count = static_cast<Index>(positions.size());
  Tensor<T> result({x.shape()[0], count, width});
  for (Index r = 0; r < x.shape()[0]; ++r) {
    for (Index i = 0; i < count; ++i) {
      std::copy_n(x.data() + (r * length + positions[static_cast<std::size_t>(i)]) * width, width,
                  result.data() + (r * count + i) * width);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("MultiheadAttention: the names and shapes of PyTorch's layer") {
  const nn::MultiheadAttention<double> layer(12, 3);
  CHECK(names_of_parameters(layer) ==
        std::vector<std::string>{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"});
  CHECK(layer.in_proj_weight->shape() == Shape{36, 12});
  CHECK(layer.in_proj_bias->shape() == Shape{36});
  CHECK(layer.describe() == "MultiheadAttention(12, 3 heads)");
  CHECK(layer.heads() == 3);
  CHECK(layer.head_width() == 4);
  for (const double entry : layer.in_proj_bias->value()) CHECK(entry == 0);
  for (const double entry : layer.out_proj.bias->value()) CHECK(entry == 0);
  const double bound = std::sqrt(6.0 / (36 + 12));
  double largest = 0;
  for (const double entry : layer.in_proj_weight->value()) largest = std::max(largest, std::abs(entry));
  CHECK(largest <= bound);
  CHECK(largest > 0.9 * bound);
  CHECK(names_of_parameters(nn::MultiheadAttention<float>(12, 3, {.bias = false})) ==
        std::vector<std::string>{"in_proj_weight", "out_proj.weight"});
  const nn::MultiheadAttention<float> other(12, 3, {.kdim = 5, .vdim = 12});
  CHECK(names_of_parameters(other) == std::vector<std::string>{"q_proj_weight", "k_proj_weight",
                                                               "v_proj_weight", "in_proj_bias",
                                                               "out_proj.weight", "out_proj.bias"});
  CHECK(other.k_proj_weight->shape() == Shape{12, 5});
  CHECK(other.v_proj_weight->shape() == Shape{12, 12});
  CHECK(nn::MultiheadAttention<float>(8, 2, {.causal = true}).describe() ==
        "MultiheadAttention(8, 2 heads, causal)");
  CHECK_ERROR(nn::MultiheadAttention<float>(10, 3), "[MultiheadAttention] 10 columns with 3 heads");
  CHECK_ERROR(nn::MultiheadAttention<float>(10, 0), "10 columns with 0 heads");
  CHECK_ERROR(nn::MultiheadAttention<float>(0, 1), "0 columns with 1 heads");
  CHECK_ERROR(nn::MultiheadAttention<float>(4, 2, {.dropout = 1}), "dropout 1");
  CHECK_ERROR(nn::MultiheadAttention<float>(-6, -2), "[MultiheadAttention] -6 columns with -2 heads");
  CHECK_ERROR(nn::MultiheadAttention<float>(4, 2, {.kdim = -1}), "[MultiheadAttention] kdim -1");
  CHECK_ERROR(nn::MultiheadAttention<float>(4, 2, {.vdim = -1}), "[MultiheadAttention] vdim -1");
}

TEST_CASE_TEMPLATE("MultiheadAttention: what it records for one to four inputs", T, float, double) {
  const auto layer = random_layer<T>(6, 2);
  const Tensor<T> x = normal_tensor<T>({3, 4, 6}, 1), memory = normal_tensor<T>({3, 5, 6}, 2),
                  values = normal_tensor<T>({3, 5, 6}, 3);
  Tensor<T> padding({3, 5});
  padding[4] = padding[7] = 1;
  CHECK(same_bits(recorded(layer, {x}).view(), recorded(layer, {x, x, x}).view()));
  CHECK(same_bits(recorded(layer, {x, memory}).view(), recorded(layer, {x, memory, memory}).view()));
  CHECK(recorded(layer, {x, memory, values}).shape() == Shape{3, 4, 6});
  CHECK(same_bits(recorded(layer, {x, memory, values}).view(),
                  recorded(layer, {x, memory, values, Tensor<T>(padding.shape())}).view()));
  const Tensor<T> masked = recorded(layer, {x, memory, values, padding});
  // What is padding has no part: the rows with it are those without these keys.
  const auto without = [&](Index row, const std::vector<Index>& keys) {
    const auto one = [&](const Tensor<T>& all) {
      const Index size = all.size() / 3;
      Tensor<T> result(all.shape().with(0, 1));
      std::copy_n(all.data() + row * size, size, result.data());
      return result;
    };
    const Tensor<T> expected =
        recorded(layer, {one(x), positions_of(one(memory), keys), positions_of(one(values), keys)});
    for (Index i = 0; i < expected.size(); ++i) {
      CHECK(static_cast<double>(masked[row * 24 + i]) ==
            doctest::Approx(static_cast<double>(expected[i])).epsilon(1e-5));
    }
  };
  without(0, {0, 1, 2, 3});
  without(1, {0, 1, 3, 4});
  without(2, {0, 1, 2, 3, 4});
  // One row alone is length x width.
  Tensor<T> one({4, 6});
  std::copy_n(x.data(), 24, one.data());
  const Tensor<T> y = recorded(layer, {x}), alone = recorded(layer, {one});
  REQUIRE(alone.shape() == Shape{4, 6});
  for (Index i = 0; i < 24; ++i)
    CHECK(static_cast<double>(alone[i]) == doctest::Approx(static_cast<double>(y[i])).epsilon(1e-5));
}

TEST_CASE("MultiheadAttention: positions may be permuted, and causal ones see none behind them") {
  const auto layer = random_layer<double>(6, 3);
  const Tensor<double> x = normal_tensor<double>({2, 5, 6});
  const std::vector<Index> order{3, 0, 4, 1, 2};
  CHECK(apart(recorded(layer, {positions_of(x, order)}).view(),
              positions_of(recorded(layer, {x}), order).view()) < 1e-13);
  const auto causal = random_layer<double>(6, 3, {.causal = true});
  const Tensor<double> y = recorded(causal, {x});
  CHECK(apart(positions_of(y, {0, 1, 2}).view(), recorded(causal, {positions_of(x, {0, 1, 2})}).view()) <
        1e-13);
  CHECK(apart(y.view(), recorded(layer, {x}).view()) > 0.01);
}

TEST_CASE("MultiheadAttention: masks of both kinds together, and a query that sees nothing") {
  const auto layer = random_layer<double>(6, 2);
  const Tensor<double> x = normal_tensor<double>({2, 4, 6});
  Tensor<double> padding({2, 4}), allowed({4, 4}), both({2, 1, 4, 4});
  padding[3] = padding[6] = 1;
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 4; ++j) {
      allowed[i * 4 + j] =
          i == 1 ? (j == 3) : (i + j) % 3 != 0;  // of query 1 of row 0, padding takes the one key
      for (Index r = 0; r < 2; ++r)
        both[(r * 4 + i) * 4 + j] = allowed[i * 4 + j] != 0 && padding[r * 4 + j] == 0 ? 0 : -HUGE_VAL;
    }
  }
  Tensor<double> added = allowed, ignored = allowed;
  for (double& entry : added) entry = entry != 0 ? 0 : -HUGE_VAL;
  for (double& entry : ignored) entry = entry != 0 ? 0 : 1;
  Tape<double> tape;
  const auto given = tape.variable(x);
  const auto expected = layer(given, {.mask = tape.constant(both)});
  const std::pair<Tensor<double>, AttentionMask> kinds[] = {
      {allowed, AttentionMask::allowed}, {ignored, AttentionMask::ignored}, {added, AttentionMask::added}};
  for (const auto& [mask, kind] : kinds) {
    const auto y =
        layer(given, {.key_padding = tape.constant(padding), .mask = tape.constant(mask), .mask_kind = kind});
    CHECK(apart(y.value(), expected.value()) < 1e-13);
  }
  for (Index c = 0; c < 6; ++c)
    CHECK(expected.value()[6 + c] == doctest::Approx(layer.out_proj.bias->value()[c]));
  tape.backward(sum(square(expected)));
  for (const double entry : given.gradient()) CHECK(std::isfinite(entry));
}

TEST_CASE("MultiheadAttention: gradients of its parameters and inputs are finite differences") {
  for (const bool own_widths : {false, true}) {
    CAPTURE(own_widths);
    nn::MultiheadAttentionOptions options{.causal = true};
    if (own_widths) options.kdim = 3, options.vdim = 2;
    auto layer = random_layer<double>(4, 2, options);
    const Tensor<double> q = normal_tensor<double>({2, 3, 4}, 1),
                         k = normal_tensor<double>({2, 3, own_widths ? 3 : 4}, 2),
                         v = normal_tensor<double>({2, 3, own_widths ? 2 : 4}, 3),
                         g = normal_tensor<double>({2, 3, 4}, 4);
    Tape<double> tape(Mode::training);
    const auto loss = sum(layer(tape.constant(q), tape.constant(k), tape.constant(v)) * tape.constant(g));
    tape.backward(loss);
    Index count = 0;
    layer.for_parameters([&](const std::string& name, nn::Parameter<double>& parameter) {
      CAPTURE(name);
      const Tensor<double> gradient(parameter.gradient());
      for (Index i = 0; i < gradient.size(); ++i, ++count) {
        double& entry = parameter.value()[i];
        const double was = entry, step = 1e-5;
        entry = was + step;
        tape.replay();
        const double above = loss.item();
        entry = was - step;
        tape.replay();
        const double below = loss.item();
        entry = was;
        CHECK(gradient[i] == doctest::Approx((above - below) / (2 * step)).epsilon(1e-6).scale(1));
      }
    });
    CHECK(count == 4 * 4 * 2 + 4 * (own_widths ? 5 : 8) + 16);
  }
}

TEST_CASE("MultiheadAttention: in a chain, in another scalar, as a graph, with factors and dropout") {
  manual_seed(2);
  nn::Sequential<double> chain(nn::Linear(3, 6), nn::LayerNorm(6), nn::MultiheadAttention(6, 2),
                               nn::Linear(6, 1));
  const Tensor<double> x = normal_tensor<double>({5, 4, 3});
  const Tensor<double> y = recorded(chain, {x});
  CHECK(y.shape() == Shape{5, 4, 1});  // Linear goes along the last axis
  const auto graph = nn::Graph<double>::trace(chain, {{1, 4, 3}});
  CHECK(same_bits(recorded(graph, {x}).view(), y.view()));
  nn::Sequential<double> factorized = chain;
  sparsity::factorize(factorized, sparsity::Groups::inputs);
  CHECK(dynamic_cast<nn::MultiheadAttention<double>&>(factorized[2]).in_proj_weight->factors()[1].shape() ==
        Shape{6});
  CHECK(apart(recorded(factorized, {x}).view(), y.view()) < 1e-13);

  const auto plain = random_layer<double>(6, 2), dropping = random_layer<double>(6, 2, {.dropout = 0.4});
  const Tensor<double> z = normal_tensor<double>({2, 4, 6});
  CHECK(same_bits(recorded(plain, {z}).view(), recorded(dropping, {z}).view()));
  CHECK(apart(recorded(plain, {z}).view(), recorded(dropping, {z}, Mode::training).view()) > 0.01);
}

TEST_CASE("MultiheadAttention: what is refused") {
  const nn::MultiheadAttention<double> layer(6, 2);
  const auto error = [&](const std::vector<Shape>& shapes, const std::vector<std::string>& words) {
    Tape<double> tape(Mode::evaluation);
    std::vector<Var<double>> inputs;
    for (const Shape& shape : shapes) inputs.push_back(tape.input(shape));
    const std::string text = error_text([&] { layer.record(inputs); });
    CAPTURE(text);
    for (const std::string& word : words) CHECK(text.find(word) != std::string::npos);
  };
  error({{2, 4, 5}}, {"[MultiheadAttention] queries 2x4x5", "rows x length x 6"});
  error({{6}}, {"queries 6", "or length x 6"});
  error({{2, 3, 4, 6}}, {"queries 2x3x4x6"});
  error({{2, 4, 6}, {2, 4, 5}}, {"keys 2x4x5"});
  error({{2, 4, 6}, {3, 4, 6}}, {"keys 3x4x6 for queries 2x4x6", "as many rows"});
  error({{2, 4, 6}, {4, 6}}, {"keys 4x6 for queries 2x4x6"});
  error({{4, 6}, {2, 4, 6}}, {"keys 2x4x6 for queries 4x6", "no rows"});
  error({{2, 4, 6}, {2, 5, 6}, {2, 4, 6}}, {"values 2x4x6 for keys 2x5x6", "one for each key"});
  error({{2, 4, 6}, {2, 5, 6}, {2, 5, 6}, {2, 4}}, {"a key_padding mask 2x4 for keys 2x5x6", "2x5"});
  error({}, {"0 inputs", "queries, keys, values"});
  error({{4, 6}, {4, 6}, {4, 6}, {4}, {4}}, {"5 inputs"});
  Tape<double> tape;
  CHECK_ERROR(layer(tape.input({2, 4, 6}), {.mask = tape.input({3, 4})}),
              "[MultiheadAttention] a mask 3x4 for scores 2x2x4x4", "equal, 1 or missing");
  CHECK_ERROR(layer(tape.input({2, 4, 6}), {.key_padding = tape.input({2, 4}), .mask = tape.input({3, 3})}),
              "[MultiheadAttention] a mask 3x3 for scores 2x2x4x4");
  CHECK_ERROR(layer(tape.input({4, 6}), {.mask = tape.input({1, 2, 4, 4})}),
              "[MultiheadAttention] a mask 1x2x4x4 for scores 2x4x4");
}
