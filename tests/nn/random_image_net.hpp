#pragma once

#include <optional>
#include <vector>

#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/batch_norm.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/embedding.hpp>
#include <taper/nn/layers/linear.hpp>

/// Random networks of images, with channels planted that nobody reads or that are constant.

struct ImageStep {
  enum class Kind { conv, norm, relu, tanh, sigmoid, max_pool, avg_pool, add, concat, slice, flatten } kind;
  std::size_t a = 0, b = 0;  // values that it takes
  std::size_t layer = 0;
  taper::Index begin = 0, end = 0;
};

template <class T> struct RandomImageNet : taper::nn::Layer<T> {
  std::vector<taper::nn::Conv2d<T>> convs;
  std::vector<taper::nn::BatchNorm2d<T>> norms;
  std::vector<taper::nn::Linear<T>> heads;
  /// A row of the table for each pixel of the first channel, by its sign, and who reads them.
  std::optional<taper::nn::Embedding<T>> table;
  std::optional<taper::nn::Linear<T>> table_head;
  taper::Index planted_dimensions = 0;  // of the table, that must go
  std::vector<ImageStep> steps;
  std::vector<std::size_t> outputs;  // values that the heads read, one after the other
  taper::Index channels = 1, size = 6;
  /// Convolutions, and how many of their outputs must go.
  std::vector<std::pair<std::size_t, taper::Index>> planted;

  void visit(taper::nn::Visitor<T>& v) const override {
    for (std::size_t k = 0; k < convs.size(); ++k) v("conv" + std::to_string(k), convs[k]);
    for (std::size_t k = 0; k < norms.size(); ++k) v("norm" + std::to_string(k), norms[k]);
    for (std::size_t k = 0; k < heads.size(); ++k) v("head" + std::to_string(k), heads[k]);
    if (table) v("table", *table), v("table_head", *table_head);
  }
  taper::Var<T> forward(taper::Var<T> x) const override {
    using namespace taper;
    using Kind = ImageStep::Kind;
    std::vector<Var<T>> values{x};
    for (const ImageStep& step : steps) {
      const Var<T> a = values[step.a], b = values[step.b];
      values.push_back(step.kind == Kind::conv       ? convs[step.layer](a)
                       : step.kind == Kind::norm     ? norms[step.layer](a)
                       : step.kind == Kind::relu     ? relu(a)
                       : step.kind == Kind::tanh     ? taper::tanh(a)
                       : step.kind == Kind::sigmoid  ? sigmoid(a)
                       : step.kind == Kind::max_pool ? max_pool2d(a, 2, {.stride = 1, .padding = 1})
                       : step.kind == Kind::avg_pool ? avg_pool2d(a, 2, {.stride = 1})
                       : step.kind == Kind::add      ? a + b
                       : step.kind == Kind::concat   ? concat({a, b}, 1)
                       : step.kind == Kind::slice    ? slice(a, 1, step.begin, step.end)
                                                     : reshape(a, {a.shape()[0], -1}));
    }
    Var<T> sum = heads[0](values[outputs[0]]);
    for (std::size_t k = 1; k < heads.size(); ++k) sum = concat({sum, heads[k](values[outputs[k]])}, 1);
    if (!table) return sum;
    const Var<T> first = reshape(slice(x, 1, 0, 1), {x.shape()[0], -1});
    const Var<T> looked_up = (*table)(greater(first, x.tape().constant(T{0})));
    return concat({sum, (*table_head)(reshape(looked_up, {x.shape()[0], -1}))}, 1);
  }
};

template <class T> class RandomImageNetBuilder {
 public:
  explicit RandomImageNetBuilder(std::uint64_t seed) : rng_(seed) { taper::manual_seed(seed); }

  RandomImageNet<T> build() {
    using Kind = ImageStep::Kind;
    net_.channels = 1 + below(3);
    values_ = {{net_.channels, net_.size}};
    const Index steps = 2 + below(6);
    for (Index k = 0; k < steps; ++k) {
      const std::size_t a = known_[static_cast<std::size_t>(below(static_cast<Index>(known_.size())))];
      const Value value = values_[a];
      switch (below(9)) {
        case 0:
          push({Kind::add, a, conv(a, value.channels, 1, 1)}, value);
          break;
        case 1: {
          const std::size_t b = conv(a, 1 + below(4), 1, 1);
          push({Kind::concat, a, b}, {value.channels + values_[b].channels, value.size});
          break;
        }
        case 2:
          if (value.channels > 1) {
            const Index begin = below(value.channels - 1), end = begin + 1 + below(value.channels - begin);
            push({Kind::slice, a, a, 0, begin, end}, {end - begin, value.size});
          }
          break;
        case 3:  // depthwise, or of two groups
          conv(a, value.channels * (1 + below(2)), below(2), value.channels);
          if (value.channels % 2 == 0) conv(a, 2 * (1 + below(2)), 1, 2);
          break;
        case 4:
          if (value.size > 2) push({Kind::avg_pool, a, a}, {value.channels, value.size - 1});
          break;
        case 6:
          norm(a);
          break;
        case 5:
          push({Kind::max_pool, a, a}, {value.channels, value.size + 1});
          break;
        default:
          plant(a);
      }
    }
    plant(values_.size() - 1);
    const std::vector<std::size_t> images = known_;
    const Index heads = 1 + below(2);
    for (Index k = 0; k < heads; ++k) {
      const std::size_t from =
          k == 0 ? images.back() : images[static_cast<std::size_t>(below(static_cast<Index>(images.size())))];
      const Index width = values_[from].channels * values_[from].size * values_[from].size;
      net_.outputs.push_back(push({Kind::flatten, from, from}, {width, 1}));
      net_.heads.emplace_back(width, 1 + below(3));
    }
    if (below(3) == 0) embed();
    return std::move(net_);
  }

 private:
  using Index = taper::Index;
  struct Value {
    Index channels, size;
  };

  Index below(Index n) { return rng_.below(n); }
  std::size_t push(const ImageStep& step, const Value& value) {
    net_.steps.push_back(step);
    values_.push_back(value);
    known_.push_back(values_.size() - 1);
    return values_.size() - 1;
  }
  std::size_t conv(std::size_t from, Index outputs, Index padding, Index groups, bool bias = true) {
    const Value value = values_[from];
    const Index kernel = padding > 0 ? 3 : 1 + below(2);
    net_.convs.emplace_back(value.channels, outputs, taper::Both(kernel),
                            taper::Conv2dOptions{.padding = padding, .groups = groups}, bias);
    return push({ImageStep::Kind::conv, from, from, net_.convs.size() - 1},
                {outputs, value.size + 2 * padding - kernel + 1});
  }
  /// With moments as a training leaves them, and with some scales of zero.
  std::size_t norm(std::size_t from) {
    taper::nn::BatchNorm2d<T>& layer = net_.norms.emplace_back(values_[from].channels);
    for (T& entry : layer.running_mean.value()) entry = static_cast<T>(rng_.normal());
    for (T& entry : layer.running_var.value()) entry = static_cast<T>(rng_.uniform(0.5, 2));
    for (T& entry : layer.weight->value()) entry = static_cast<T>(below(4) == 0 ? 0 : rng_.normal());
    for (T& entry : layer.bias->value()) entry = static_cast<T>(rng_.normal());
    return push({ImageStep::Kind::norm, from, from, net_.norms.size() - 1}, values_[from]);
  }
  T* weights(std::size_t layer, Index output, Index input) {
    auto& weight = net_.convs[layer].weight;
    const taper::Shape& s = weight.shape();
    return weight.value().data() + (output * s[1] + input) * s[2] * s[3];
  }
  /// Two convolutions that only each other know, with a channel between them that can go.
  void plant(std::size_t from) {
    const Index between = 2 + below(3), outputs = 1 + below(3);
    const Index padding = values_[from].size < 3 ? 1 : below(2);
    const std::size_t first = conv(from, between, values_[from].size < 3 ? 1 : 0, 1);
    const std::size_t maker = net_.convs.size() - 1;
    const ImageStep::Kind kinds[] = {ImageStep::Kind::relu, ImageStep::Kind::tanh, ImageStep::Kind::sigmoid};
    const Index kind = below(3);
    const bool normed = below(2) == 0;
    const std::size_t before = normed ? norm(first) : first;
    const std::size_t middle = push({kinds[kind], before, before}, values_[first]);
    known_.resize(known_.size() - (normed ? 3 : 2));
    conv(middle, outputs, values_[middle].size < 3 ? 1 : padding, 1, below(2) == 0);
    const std::size_t reader = net_.convs.size() - 1;
    const Index channel = below(between), taps = net_.convs[reader].weight.shape()[2];
    const bool padded = net_.convs[reader].options().padding.rows > 0;
    const auto clear = [](T* begin, Index count) { std::fill_n(begin, count, T{}); };
    if (below(2) == 0) {
      for (Index o = 0; o < outputs; ++o) clear(weights(reader, o, channel), taps * taps);
    } else {
      const taper::Shape& s = net_.convs[maker].weight.shape();
      clear(weights(maker, channel, 0), s[1] * s[2] * s[3]);
      // A border tells a constant from zero; sigmoid makes one of anything.
      if (padded && (kind == 2 || normed)) return;
      if (padded) net_.convs[maker].bias->value()[channel] = 0;
    }
    net_.planted.emplace_back(maker, 1);
  }

  /// A table of which one dimension is not read, or all zero.
  void embed() {
    const Index dimensions = 2 + below(3), pixels = net_.size * net_.size, gone = below(dimensions);
    net_.table.emplace(2, dimensions);
    net_.table_head.emplace(pixels * dimensions, 2);
    net_.planted_dimensions = 1;
    if (below(2) == 0) {
      for (Index row = 0; row < 2; ++row) net_.table->weight.value()[row * dimensions + gone] = 0;
      return;
    }
    auto weight = net_.table_head->weight.value().matrix();
    for (Index pixel = 0; pixel < pixels; ++pixel) weight.col(pixel * dimensions + gone).setZero();
  }

  taper::Rng rng_;
  RandomImageNet<T> net_;
  std::vector<Value> values_;
  std::vector<std::size_t> known_{0};  // those that any step may read
};
