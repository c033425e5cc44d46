#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <taper/nn/graph.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/attention.hpp>
#include <taper/nn/layers/embedding.hpp>
#include <taper/nn/layers/layer_norm.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/adam.hpp>
#include <taper/sparsity/costs.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/evaluate.hpp>
#include <taper/train/fit.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

/// Networks with attention, with dead heads, units and channels planted in them.

using namespace taper;

namespace {

/// A block of a transformer over embeddings of words, at places that are learned: sums of what it gets, of
/// attention, and of a perceptron, normalized first or not.
template <class T> struct SmallTransformer : nn::Layer<T> {
  Index length, embed;
  bool normalized;
  nn::Embedding<T> words;
  nn::Parameter<T> places;
  nn::LayerNorm<T> norm1, norm2;
  nn::MultiheadAttention<T> attention;
  nn::Linear<T> up, down, head;

  SmallTransformer(Index length_, Index embed_, Index heads, Index hidden, bool normalized_,
                   bool causal = false)
      : length(length_),
        embed(embed_),
        normalized(normalized_),
        words(11, embed_),
        places(Shape{length_, embed_}),
        norm1(embed_),
        norm2(embed_),
        attention(embed_, heads, {.causal = causal}),
        up(embed_, hidden),
        down(hidden, embed_),
        head(embed_, 3) {
    nn::init::normal(places.value(), 0, 1);
    // Biases that start at zero say nothing of what becomes of them.
    nn::init::normal(attention.in_proj_bias->value(), 0, 0.5);
    nn::init::normal(attention.out_proj.bias->value(), 0, 0.5);
  }
  void visit(nn::Visitor<T>& v) const override {
    v("words", words), v("places", places);
    if (normalized) v("norm1", norm1), v("norm2", norm2);
    v("attention", attention), v("up", up), v("down", down), v("head", head);
  }
  Var<T> forward(Var<T> x) const override {
    Var<T> h = words(x) + places.bind(x.tape());
    h = h + attention(normalized ? norm1(h) : h);
    h = h + down(gelu(up(normalized ? norm2(h) : h)));
    return head(mean(h, 1));
  }
};

template <class T> Tensor<T> sentences(Index rows, Index length, std::uint64_t seed) {
  Rng rng(seed);
  Tensor<T> x({rows, length});
  for (T& word : x) word = static_cast<T>(rng.below(11));
  return x;
}

/// Zeros in an index of an axis of a matrix or vector.
template <class T> void zero(nn::Parameter<T>& parameter, Index axis, Index index) {
  const View<T> x = parameter.value();
  const Index columns = x.shape().columns();
  for (Index i = 0; i < x.size(); ++i) {
    if ((axis == 0 && x.shape().rank() == 2 ? i / columns : i % columns) == index) x[i] = 0;
  }
}

/// Head h is not read.
template <class T> void leave_out_head(nn::MultiheadAttention<T>& layer, Index h) {
  for (Index c = 0; c < layer.head_width(); ++c) zero(layer.out_proj.weight, 1, h * layer.head_width() + c);
}
/// The values of head h are zero.
template <class T> void empty_head(nn::MultiheadAttention<T>& layer, Index h) {
  const Index width = layer.head_width(), first = 2 * layer.heads() * width + h * width;
  for (Index c = 0; c < width; ++c) {
    zero(*layer.in_proj_weight, 0, first + c);
    layer.in_proj_bias->value()[first + c] = 0;
  }
}

template <class M> double difference(const M& a, const M& b, const Tensor<double>& x) {
  Tape<double> tape(Mode::evaluation);
  const auto input = tape.constant(x);
  return apart(a(input).value(), b(input).value());
}

std::string why_kept(const sparsity::ShrinkReport& report, const std::string& name, Index axis) {
  std::string result;
  for (const auto& reason : report.reasons) {
    if (reason.parameter == name && reason.axis == axis) result += reason.reason + "; ";
  }
  return result;
}

}  // namespace

TEST_CASE("shrink: blocks with attention lose dead heads and units, and compute the same") {
  for (int round = 0; round < 24; ++round) {
    CAPTURE(round);
    manual_seed(static_cast<std::uint64_t>(round) + 1);
    Rng rng(static_cast<std::uint64_t>(round) + 100);
    const Index heads = 1 + rng.below(4), embed = heads * (1 + rng.below(3)), hidden = 4 + rng.below(6),
                length = 1 + rng.below(5);
    SmallTransformer<double> net(length, embed, heads, hidden, round % 2 == 0, round % 3 == 0);
    std::vector<char> dead(static_cast<std::size_t>(heads), 0);
    for (Index h = 0; h < heads; ++h) {
      const Index how = rng.below(4);
      if (how == 0) leave_out_head(net.attention, h);
      if (how == 1) empty_head(net.attention, h);
      dead[static_cast<std::size_t>(h)] = how < 2;
    }
    Index dead_units = 0;
    for (Index u = 0; u < hidden; ++u) {
      const Index how = rng.below(4);
      if (how == 0) zero(net.down.weight, 1, u);  // not read
      if (how == 1) zero(net.up.weight, 0, u);    // constant, and folded
      dead_units += how < 2;
    }
    const Tensor<double> x = sentences<double>(40, length, static_cast<std::uint64_t>(round));
    const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
    const auto left = static_cast<Index>(std::ranges::count(dead, 0));
    CHECK(small.attention.heads() == left);
    CHECK(small.attention.in_proj_weight->shape() == Shape{3 * left * net.attention.head_width(), embed});
    CHECK(small.attention.in_proj_bias->shape() == Shape{3 * left * net.attention.head_width()});
    CHECK(small.attention.out_proj.weight.shape() == Shape{embed, left * net.attention.head_width()});
    CHECK(small.up.outputs() == hidden - dead_units);
    CHECK(report.max_abs_difference < 1e-12);
    const Tensor<double> other = sentences<double>(7, length, static_cast<std::uint64_t>(round) + 500);
    CHECK(difference(net, small, other) < 1e-12);
    // As a graph, and once more.
    const auto graph = nn::Graph<double>::trace(net, {{1, length}});
    const auto [small_graph, graph_report] = sparsity::shrink(graph, {.examples = x, .threshold = 0});
    CHECK(graph_report.parameters_after == report.parameters_after);
    CHECK(difference(graph, small_graph, other) < 1e-12);
    const auto again = sparsity::shrink(small, {.examples = x, .threshold = 0});
    CHECK(again.report.parameters_after == report.parameters_after);
    // It still trains.
    Tape<double> tape(Mode::training);
    tape.backward(sum(square(small(tape.constant(other)))));
  }
}

TEST_CASE("shrink: channels of embeddings that are zero throughout go from all that adds to them") {
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    manual_seed(static_cast<std::uint64_t>(round) + 1);
    SmallTransformer<double> net(4, 6, 3, 5, false);
    const std::vector<Index> dead = round % 2 == 0 ? std::vector<Index>{2} : std::vector<Index>{0, 5};
    for (const Index c : dead) {
      zero(net.words.weight, 1, c);
      zero(net.places, 1, c);
      zero(net.attention.out_proj.weight, 0, c);
      net.attention.out_proj.bias->value()[c] = 0;
      zero(net.down.weight, 0, c);
      net.down.bias->value()[c] = 0;
    }
    const Tensor<double> x = sentences<double>(40, 4, 3);
    const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
    const Index left = 6 - static_cast<Index>(dead.size());
    CHECK(small.words.weight.shape() == Shape{11, left});
    CHECK(small.places.shape() == Shape{4, left});
    CHECK(small.attention.in_proj_weight->shape() == Shape{18, left});
    CHECK(small.attention.out_proj.weight.shape() == Shape{left, 6});
    CHECK(small.attention.heads() == 3);
    CHECK(small.down.outputs() == left);
    CHECK(small.head.inputs() == left);
    CHECK(difference(net, small, sentences<double>(9, 4, 8)) < 1e-12);
  }
  // A layer norm needs all channels of its mean.
  manual_seed(1);
  SmallTransformer<double> net(4, 6, 3, 5, true);
  zero(net.words.weight, 1, 2);
  zero(net.places, 1, 2);
  zero(net.attention.out_proj.weight, 0, 2);
  net.attention.out_proj.bias->value()[2] = 0;
  zero(net.down.weight, 0, 2);
  net.down.bias->value()[2] = 0;
  const auto [small, report] =
      sparsity::shrink(net, {.examples = sentences<double>(40, 4, 3), .threshold = 0});
  CHECK(small.words.width() == 6);
  CHECK(why_kept(report, "words.weight", 1).find("needed whole by layer_norm") != std::string::npos);
}

TEST_CASE("shrink: what of a head is not cut, and why") {
  manual_seed(3);
  SmallTransformer<double> net(4, 6, 2, 5, true);
  zero(net.attention.out_proj.weight, 1, 1);  // one column of three of head 0
  // Constant values that are not zero: the head is constant, but no bias takes it up.
  const Index first = 2 * 6 + 3;
  for (Index c = 0; c < 3; ++c) zero(*net.attention.in_proj_weight, 0, first + c);
  const Tensor<double> x = sentences<double>(40, 4, 3);
  const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
  CHECK(small.attention.heads() == 2);
  CHECK(small.attention.out_proj.weight.shape() == Shape{6, 6});
  CHECK(report.max_abs_difference < 1e-12);
  CHECK(why_kept(report, "attention.out_proj.weight", 1).find("read by affine of attention.out_proj") !=
        std::string::npos);
}

TEST_CASE("shrink: all heads may go, and what is left is a bias") {
  manual_seed(4);
  SmallTransformer<double> net(3, 4, 2, 5, true);
  leave_out_head(net.attention, 0);
  empty_head(net.attention, 1);
  const Tensor<double> x = sentences<double>(40, 3, 3);
  const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
  CHECK(small.attention.heads() == 0);
  CHECK(small.attention.out_proj.weight.shape() == Shape{4, 0});
  CHECK(difference(net, small, sentences<double>(9, 3, 8)) < 1e-12);
}

TEST_CASE("shrink: heads go from a chain, by factors, and from attention to something else") {
  manual_seed(5);
  nn::Sequential<double> chain(nn::Linear(5, 8), nn::MultiheadAttention(8, 4), nn::Linear(8, 2));
  auto& attention = dynamic_cast<nn::MultiheadAttention<double>&>(chain[1]);
  leave_out_head(attention, 2);
  sparsity::factorize(chain, sparsity::Groups::inputs);
  const Tensor<double> x = normal_tensor<double>({40, 6, 5});
  for (const bool keep : {false, true}) {
    const auto [small, report] =
        sparsity::shrink(chain, {.examples = x, .threshold = 0, .keep_factors = keep});
    CHECK(dynamic_cast<const nn::MultiheadAttention<double>&>(small[1]).heads() == 3);
    CHECK(report.max_abs_difference < 1e-12);
  }
  for (const auto& groups : {sparsity::Groups::outputs, sparsity::Groups::elements}) {
    nn::Sequential<double> copy(nn::Linear(5, 8), attention, nn::Linear(8, 2));
    sparsity::collapse(copy);
    sparsity::factorize(copy, groups);
    const auto [small, report] = sparsity::shrink(copy, {.examples = x, .threshold = 0});
    CHECK(dynamic_cast<const nn::MultiheadAttention<double>&>(small[1]).heads() == 3);
  }

  struct Cross : nn::Module<double> {
    nn::MultiheadAttention<double> layer{6, 3, {.kdim = 4, .vdim = 5}};
    void visit(nn::Visitor<double>& v) const override { v("layer", layer); }
    std::vector<Var<double>> record(std::span<const Var<double>> inputs) const override {
      return layer.record(inputs);
    }
  } cross;
  leave_out_head(cross.layer, 0);
  zero(*cross.layer.v_proj_weight, 0, 5);  // half of head 2: it stays
  const Tensor<double> q = normal_tensor<double>({40, 3, 6}, 1), k = normal_tensor<double>({40, 2, 4}, 2),
                       v = normal_tensor<double>({40, 2, 5}, 3);
  const auto [small, report] =
      sparsity::shrink(cross, {.examples = {q.view(), k.view(), v.view()}, .threshold = 0});
  CHECK(small.layer.heads() == 2);
  CHECK(small.layer.q_proj_weight->shape() == Shape{4, 6});
  CHECK(small.layer.k_proj_weight->shape() == Shape{4, 4});
  CHECK(small.layer.v_proj_weight->shape() == Shape{4, 5});
  CHECK(small.layer.in_proj_bias->shape() == Shape{12});
  CHECK(report.max_abs_difference < 1e-12);
}

namespace {

/// Rows look at keys and values that are learned.
struct Memory : nn::Layer<double> {
  nn::Linear<double> queries{3, 4}, out{5, 2};
  nn::Parameter<double> keys{Shape{6, 4}}, values{Shape{6, 5}};
  std::optional<double> scale;

  explicit Memory(std::optional<double> scale_) : scale(scale_) {
    nn::init::normal(keys.value(), 0, 1);
    nn::init::normal(values.value(), 0, 1);
  }
  void visit(nn::Visitor<double>& v) const override {
    v("queries", queries), v("keys", keys), v("values", values), v("out", out);
  }
  Var<double> forward(Var<double> x) const override {
    return out(scaled_dot_product_attention(queries(x), keys.bind(x.tape()), values.bind(x.tape()),
                                            {.scale = scale}));
  }
};

/// The same nodes are the keys and the values; what is looked up multiplies another branch.
struct Shared : nn::Layer<double> {
  nn::Linear<double> in{3, 4}, other{3, 4}, out{6, 2};
  nn::Parameter<double> seeds{Shape{2, 4}};

  Shared() { nn::init::constant(seeds.value(), 0); }
  void visit(nn::Visitor<double>& v) const override {
    v("in", in), v("other", other), v("seeds", seeds), v("out", out);
  }
  Var<double> forward(Var<double> x) const override {
    const Var<double> k = in(x), q = expand(reshape(seeds.bind(x.tape()), {1, 2, -1}), {x.shape()[0], 2, -1}),
                      y = scaled_dot_product_attention(q, k, k, {.scale = 0.5});
    return out(mean(matmul(relu(y), other(x), Transpose::no, Transpose::yes), 1));
  }
};

}  // namespace

TEST_CASE("shrink: a width goes from queries and keys where the scale does not follow from it") {
  const Tensor<double> x = normal_tensor<double>({40, 3}, 1), other = normal_tensor<double>({9, 3}, 2);
  for (const std::optional<double> scale : {std::optional<double>(), std::optional(0.5)}) {
    manual_seed(1);
    Memory net(scale);
    zero(net.keys, 1, 1);
    const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
    CHECK(small.keys.shape() == Shape{6, scale ? 3 : 4});
    CHECK(small.queries.outputs() == (scale ? 3 : 4));
    CHECK(report.max_abs_difference < 1e-12);
    CHECK(difference(net, small, other) < 1e-12);
    const std::string why = why_kept(report, "keys", 1);
    CHECK((why.find("counted in the code by scaled_dot_product_attention") == why.npos) == scale.has_value());
    // In a graph, the scale is a number.
    const auto graph = nn::Graph<double>::trace(net, {{1, 3}});
    const auto cut = sparsity::shrink(graph, {.examples = x, .threshold = 0});
    CHECK(cut.report.parameters_after == report.parameters_before - 6 - 4);
    CHECK(difference(graph, cut.model, other) < 1e-12);
  }
}

TEST_CASE("shrink: keys that do not count are values that do, where both are one") {
  // Queries of zeros do not read the keys. Column 1 of the values is negative in all batches but the first.
  manual_seed(1);
  Shared net;
  net.in.weight.value().matrix().row(1) << 1, 0, 0;
  net.in.bias->value()[1] = 0;
  Tensor<double> x = normal_tensor<double>({2048, 6, 3}, 1);
  for (Index i = 0; i < x.size() / 3; ++i) x[3 * i] = i < x.size() / 6 ? 1 : -1;
  const auto [small, report] = sparsity::shrink(net, {.examples = x, .threshold = 0});
  CHECK(report.max_abs_difference < 1e-12);
  CHECK(difference(net, small, normal_tensor<double>({9, 6, 3}, 2)) < 1e-12);
}

TEST_CASE("shrink: decay of factors leaves one head of four where one is enough") {
  // The value of column 1 at the position where column 0 is largest.
  const Index rows = 400, length = 4, width = 3;
  data::Dataset<float> set;
  set.x = normal_tensor<float>({rows, length, width}, 3);
  set.y = Tensor<float>({rows, 1});
  for (Index r = 0; r < rows; ++r) {
    const float* const of_row = set.x.data() + r * length * width;
    Index best = 0;
    for (Index i = 1; i < length; ++i) best = of_row[i * width] > of_row[best * width] ? i : best;
    set.y[r] = of_row[best * width + 1];
  }
  struct Pointer : nn::Layer<float> {
    nn::Linear<float> in{3, 8};
    nn::MultiheadAttention<float> attention{8, 4};
    nn::Linear<float> out{8, 1};
    void visit(nn::Visitor<float>& v) const override {
      v("in", in), v("attention", attention), v("out", out);
    }
    Var<float> forward(Var<float> x) const override { return out(mean(attention(in(x)), 1)); }
  };
  manual_seed(1);
  Pointer net;
  sparsity::factorize(net, sparsity::Groups::inputs);
  train::fit(net, set, nn::mse_loss, optim::Adam(net.parameters(), {.lr = 1e-2, .weight_decay = 1e-2}),
             {.epochs = 250, .batch_size = 50, .progress = train::Progress::quiet});
  const auto [small, report] = sparsity::shrink(net, {.examples = set.x});
  CHECK(small.attention.heads() == 1);
  CHECK(report.parameters_after < report.parameters_before / 2);
  CHECK(train::evaluate(small, set, nn::mse_loss) < 0.1);
}

TEST_CASE("multiply_add_costs: attention, whose weights are read in three parts") {
  const nn::MultiheadAttention<double> layer(6, 2);
  const sparsity::Costs costs = sparsity::multiply_add_costs(layer, {1, 5, 6});
  CHECK(costs.at("in_proj_weight") == 5 * 18 * 6);
  CHECK(costs.at("out_proj.weight") == 5 * 6 * 6);
  nn::MultiheadAttention<double> factorized = layer;
  CHECK(sparsity::factorize(factorized, sparsity::Groups::outputs, {.weights = costs}) == 2);
}
