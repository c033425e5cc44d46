#include <taper/sparsity/shrink.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/batch_norm.hpp>
#include <taper/nn/layers/conv.hpp>
#include <taper/nn/layers/flatten.hpp>
#include <taper/nn/layers/pool.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"
#include "../nn/random_image_net.hpp"

/// What of convolutions is cut, and what couples their channels.

using namespace taper;

namespace {

using Conv = nn::Conv2d<double>;

/// Sets to zero what a convolution makes of (axis 1), or puts into (axis 0), a channel.
void clear_channel(Conv& conv, Index axis, Index channel) {
  const Shape& s = conv.weight.shape();
  for (Index i = 0; i < s.size(); ++i) {
    const Index o = i / (s[1] * s[2] * s[3]), c = i / (s[2] * s[3]) % s[1];
    if ((axis == 0 ? o : c) == channel) conv.weight.value()[i] = 0;
  }
}

/// That a channel is constant, with this bias.
void make_constant(Conv& conv, Index channel, double value) {
  clear_channel(conv, 0, channel);
  conv.bias->value()[channel] = value;
}

Tensor<double> images(const Shape& shape = {40, 2, 6, 6}) {
  return normal_tensor<double>(shape);
}

bool gives_reason(const sparsity::ShrinkReport& report, const std::string& parameter, Index axis,
                  const std::string& words) {
  return std::ranges::any_of(report.reasons, [&](const auto& r) {
    return r.parameter == parameter && r.axis == axis && r.reason.find(words) != std::string::npos;
  });
}

template <class T> void check_image_nets(int rounds, double most) {
  Index before = 0, after = 0, of_graphs = 0, planted = 0, more = 0;
  double worst = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const RandomImageNet<T> net = RandomImageNetBuilder<T>(static_cast<std::uint64_t>(round)).build();
    const Shape shape{17, net.channels, net.size, net.size};
    const auto x = normal_tensor<T>(shape, static_cast<std::uint64_t>(round) + 1000);
    const sparsity::ShrinkOptions<T> options{.examples = x, .threshold = 0};
    const auto [small, report] = sparsity::shrink(net, options);
    worst = std::max(worst, report.max_abs_difference);
    before += report.parameters_before;
    after += report.parameters_after;
    for (const auto& known : net.planted) {
      const auto layer = known.first;
      const auto count = known.second;
      CAPTURE(layer);
      CHECK(small.convs[layer].outputs() <= net.convs[layer].outputs() - count);
      planted += count;
    }
    if (net.table) {
      CHECK(small.table->width() <= net.table->width() - net.planted_dimensions);
      planted += net.planted_dimensions;
    }
    for (const auto& row : report.rows) {
      for (Index axis = 0; axis < row.after.rank(); ++axis) {
        Index counted = 0;
        for (const auto& reason : report.reasons) {
          if (reason.parameter == row.name && reason.axis == axis) counted += reason.count;
        }
        CHECK(counted == row.after[axis]);
      }
    }
    // Where groups are cut to a single one, the next time looks into it.
    auto last = small;
    Index count = report.parameters_after, times = 0;
    for (bool stable = false; !stable; ++times) {
      auto again = sparsity::shrink(last, options);
      stable = again.report.parameters_after == count;
      CHECK(again.report.parameters_after <= count);
      count = again.report.parameters_after;
      last = std::move(again.model);
    }
    more += times > 1;
    CHECK(times <= 4);
    const auto graph = sparsity::shrink(nn::Graph<T>::trace(net, {shape}), options);
    worst = std::max(worst, graph.report.max_abs_difference);
    of_graphs += graph.report.parameters_after;
  }
  MESSAGE(rounds, " networks: ", before, " -> ", after, " parameters, as graphs ", of_graphs, ", ", planted,
          " planted channels and dimensions gone, largest difference ", worst);
  CHECK(worst <= most);
  CHECK(planted > rounds);
  CHECK(of_graphs <= after);
  CHECK(more <= rounds / 50);
}

}  // namespace

TEST_CASE("shrink: random networks of images compute the same, and what was planted is gone") {
  check_image_nets<double>(300, 1e-12);
}

TEST_CASE("shrink: random networks of images in float") {
  check_image_nets<float>(200, 1e-5);
}

TEST_CASE("shrink: a filter that nobody reads, or that is constant, goes through relu, pooling and flatten") {
  nn::Sequential<double> net(Conv(2, 4, 3), nn::ReLU<double>(), nn::MaxPool2d<double>(2), Conv(4, 3, 2),
                             nn::Tanh<double>(), nn::Flatten<double>(), nn::Linear<double>(3, 2));
  auto& first = dynamic_cast<Conv&>(net[0]);
  auto& second = dynamic_cast<Conv&>(net[3]);
  auto& head = dynamic_cast<nn::Linear<double>&>(net[6]);
  clear_channel(second, 1, 0);   // filter 0 is not read
  make_constant(first, 2, 1.5);  // no border: 1.5 goes into the bias
  head.weight.value().matrix().col(1).setZero();
  const auto [small, report] = sparsity::shrink(net, {.examples = images()});
  CHECK(report.widths_after == std::vector<Index>{2, 2, 2, 2});
  CHECK(report.max_relative_difference < 1e-14);
  CHECK(report.multiply_adds_after == 2 * 2 * 9 * 16 + 2 * 2 * 4 * 1 + 2 * 2);
  CHECK(report.folded.size() == 1);
}

TEST_CASE("shrink: a constant channel in front of a border is kept, and says so, unless it is zero") {
  for (const double value : {0.0, 1.5}) {
    CAPTURE(value);
    nn::Sequential<double> net(Conv(2, 4, 3), nn::ReLU<double>(), Conv(4, 3, 3, {.padding = 1}),
                               nn::Flatten<double>(), nn::Linear<double>(3 * 16, 2));
    make_constant(dynamic_cast<Conv&>(net[0]), 1, value);
    const auto [small, report] = sparsity::shrink(net, {.examples = images()});
    CHECK(report.widths_after[1] == (value == 0 ? 3 : 4));
    CHECK(gives_reason(report, "0.weight", 0, "border") == (value != 0));
    CHECK(report.max_relative_difference < 1e-14);
  }
}

TEST_CASE("shrink: a map that is constant in each place is folded behind flatten") {
  nn::Sequential<double> net(Conv(2, 3, 1), Conv(3, 2, 3, {.padding = 1}), nn::Flatten<double>(),
                             nn::Linear<double>(2 * 36, 2));
  // All that filter 1 of the second reads is constant, so that it has a value for each place.
  auto& second = dynamic_cast<Conv&>(net[1]);
  make_constant(dynamic_cast<Conv&>(net[0]), 2, 0.7);
  for (Index c = 0; c < 2; ++c) {
    for (Index k = 0; k < 9; ++k) second.weight.value()[(1 * 3 + c) * 9 + k] = 0;
  }
  for (Index k = 0; k < 9; ++k) second.weight.value()[(0 * 3 + 2) * 9 + k] = 0;
  const auto [small, report] = sparsity::shrink(net, {.examples = images()});
  CHECK(report.widths_after == std::vector<Index>{2, 2, 36, 2});
  CHECK(report.max_relative_difference < 1e-13);
}

TEST_CASE("shrink: depthwise and grouped convolutions lose whole groups") {
  for (const Index groups : {6, 3, 2}) {
    CAPTURE(groups);
    nn::Sequential<double> net(Conv(2, 6, 3), nn::ReLU<double>(),
                               Conv(6, 12, 3, {.padding = 1, .groups = groups}), nn::ReLU<double>(),
                               Conv(12, 2, 1), nn::Flatten<double>(), nn::Linear<double>(2 * 16, 2));
    auto& last = dynamic_cast<Conv&>(net[4]);
    for (Index o = 0; o < 12 / groups; ++o) clear_channel(last, 1, o);  // group 0
    const auto [small, report] = sparsity::shrink(net, {.examples = images()});
    const Index inputs = 6 - 6 / groups;
    CHECK(dynamic_cast<const Conv&>(small[0]).outputs() == inputs);
    CHECK(dynamic_cast<const Conv&>(small[2]).outputs() == 12 - 12 / groups);
    CHECK(dynamic_cast<const Conv&>(small[2]).channels() == inputs);
    CHECK(report.max_relative_difference < 1e-13);
    const nn::Layer<double>& middle = small[2];
    CHECK_ERROR(middle(Tape<double>().input({1, 6, 4, 4})), "channels");

    // One of two channels of a group is not enough to cut it.
    if (groups == 6) continue;
    nn::Sequential<double> kept(Conv(2, 6, 3), Conv(6, 6, 3, {.groups = groups}), nn::Flatten<double>(),
                                nn::Linear<double>(6 * 4, 2));
    auto& reader = dynamic_cast<nn::Linear<double>&>(kept[3]);
    reader.weight.value().matrix().leftCols(4).setZero();
    CHECK(sparsity::shrink(kept, {.examples = images()}).report.parameters_after ==
          kept.parameters().count());
  }
}

TEST_CASE("shrink: of groups that are cut to one, single outputs are cut the next time") {
  nn::Sequential<double> net(Conv(2, 4, 3), Conv(4, 6, 3, {.groups = 2}), Conv(6, 3, 1));
  auto& last = dynamic_cast<Conv&>(net[2]);
  for (Index o = 0; o < 4; ++o) clear_channel(last, 1, o);  // group 0, and one of group 1
  const auto once = sparsity::shrink(net, {.examples = images()});
  CHECK(dynamic_cast<const Conv&>(once.model[1]).weight.shape() == Shape{3, 2, 3, 3});
  const auto twice = sparsity::shrink(once.model, {.examples = images()});
  CHECK(dynamic_cast<const Conv&>(twice.model[1]).weight.shape() == Shape{2, 2, 3, 3});
  auto none = twice.model;
  for (Index o = 0; o < 2; ++o) clear_channel(dynamic_cast<Conv&>(none[2]), 1, o);
  const auto third = sparsity::shrink(none, {.examples = images()});
  CHECK(third.report.parameters_after == 3);
  CHECK(third.report.max_abs_difference < 1e-14);
}

TEST_CASE("shrink: a depthwise convolution of a channel without weights is a constant") {
  nn::Sequential<double> net(Conv(2, 4, 3), Conv(4, 4, 3, {.groups = 4}), Conv(4, 3, 1),
                             nn::Flatten<double>(), nn::Linear<double>(3 * 4, 2));
  clear_channel(dynamic_cast<Conv&>(net[1]), 0, 2);
  const auto [small, report] = sparsity::shrink(net, {.examples = images()});
  CHECK(report.widths_after[1] == 1);  // of the depthwise weight, 3 x 1 x 3 x 3
  CHECK(dynamic_cast<const Conv&>(small[0]).outputs() == 3);
  CHECK(report.max_relative_difference < 1e-14);
}

TEST_CASE("shrink: what structures of networks couple, right or kept") {
  const auto x = images();
  struct Base : nn::Layer<double> {
    Conv first{2, 4, 3}, second{4, 4, 1};
    nn::Linear<double> head{64, 2};
    void visit(nn::Visitor<double>& v) const override {
      v("first", first), v("second", second), v("head", head);
    }
    Var<double> flat(Var<double> y) const { return head(reshape(y, {y.shape()[0], -1})); }
  };

  SUBCASE("self-concatenation") {
    struct Twice : Base {
      Twice() { head = nn::Linear<double>(128, 2); }
      Var<double> forward(Var<double> z) const override {
        const Var<double> y = relu(first(z));
        return flat(concat({y, y}, 1));
      }
    } net;
    net.head.weight.value().matrix().middleCols(16, 16).setZero();
    CHECK(sparsity::shrink(net, {.examples = x}).model.first.outputs() == 4);  // its twin is read
    net.head.weight.value().matrix().middleCols(64 + 16, 16).setZero();
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(small.first.outputs() == 3);
    CHECK(small.head.inputs() == 96);
  }
  SUBCASE("split and chunk") {
    struct Split : Base {
      Split() { head = nn::Linear<double>(32, 2); }
      Var<double> forward(Var<double> z) const override {
        const Var<double> y = first(z);
        return flat(relu(slice(y, 1, 0, 2)) * tanh(slice(y, 1, 2, 4)));
      }
    } net;
    net.head.weight.value().matrix().leftCols(16).setZero();
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(small.first.outputs() == 4);
    CHECK(gives_reason(report, "first.weight", 0, "sizes given in the code to slice"));
    const auto graph = sparsity::shrink(nn::Graph<double>::trace(net, {x.shape()}), {.examples = x});
    CHECK(graph.report.widths_after == std::vector<Index>{2, 16, 2});
    CHECK(graph.report.rows.at(0).after == Shape{2, 2, 3, 3});
  }
  SUBCASE("layers used twice") {
    struct Shared : Base {
      Var<double> forward(Var<double> z) const override { return flat(second(relu(second(relu(first(z)))))); }
    } net;
    clear_channel(net.second, 0, 3);
    clear_channel(net.second, 1, 3);
    net.second.bias->value()[3] = 0;
    net.head.weight.value().matrix().rightCols(16).setZero();
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(small.second.outputs() == 3);
    CHECK(small.first.outputs() == 3);
  }
  SUBCASE("a head that is read twice") {
    struct Heads : Base {
      nn::Linear<double> other{64, 3};
      void visit(nn::Visitor<double>& v) const override { Base::visit(v), v("other", other); }
      Var<double> forward(Var<double> z) const override {
        const Var<double> y = reshape(relu(first(z)), {z.shape()[0], -1});
        return concat({head(y), other(y), head(y)}, 1);
      }
    } net;
    net.head.weight.value().matrix().leftCols(16).setZero();
    CHECK(sparsity::shrink(net, {.examples = x}).model.first.outputs() == 4);
    net.other.weight.value().matrix().leftCols(16).setZero();
    CHECK(sparsity::shrink(net, {.examples = x}).model.first.outputs() == 3);
  }
  SUBCASE("channel shuffle") {
    struct Shuffle : Base {
      Var<double> forward(Var<double> z) const override {
        const Var<double> y = first(z);
        const Index n = y.shape()[0];
        return flat(reshape(transpose(reshape(y, {n, 2, 2, 16}), 1, 2), {n, 4, 4, 4}));
      }
    } net;
    net.head.weight.value().matrix().leftCols(16).setZero();
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(small.first.outputs() == 4);
    CHECK(report.max_abs_difference == 0);
  }
  SUBCASE("empty layers") {
    nn::Sequential<double> net(Conv(2, 4, 3), nn::ReLU<double>(), Conv(4, 3, 2), nn::Flatten<double>(),
                               nn::Linear<double>(27, 2));
    dynamic_cast<Conv&>(net[2]).weight.value().vector().setZero();
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(report.parameters_after == 2);
    CHECK(report.max_abs_difference < 1e-14);  // nothing varies
  }
  SUBCASE("a residual sum") {
    struct Residual : Base {
      Var<double> forward(Var<double> z) const override {
        const Var<double> y = relu(first(z));
        return flat(y + second(y));
      }
    } net;
    make_constant(net.second, 1, 0.5);
    CHECK(sparsity::shrink(net, {.examples = x}).model.first.outputs() == 4);  // the other one varies
    make_constant(net.first, 1, 0.25);
    const auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(small.first.outputs() == 3);
    CHECK(small.second.outputs() == 3);
    CHECK(report.max_relative_difference < 1e-13);
  }
}

TEST_CASE("shrink: batch norm between goes along, and a scale of zero makes its channel constant") {
  nn::Sequential<double> net(Conv(2, 5, 3), nn::BatchNorm2d<double>(5), nn::ReLU<double>(), Conv(5, 3, 2),
                             nn::Flatten<double>(), nn::Linear<double>(27, 2));
  auto& norm = dynamic_cast<nn::BatchNorm2d<double>&>(net[1]);
  Rng rng(1);
  for (double& entry : norm.running_mean.value()) entry = rng.normal();
  for (double& entry : norm.running_var.value()) entry = rng.uniform(0.5, 2);
  clear_channel(dynamic_cast<Conv&>(net[3]), 1, 0);    // is not read
  make_constant(dynamic_cast<Conv&>(net[0]), 2, 1.5);  // is normalized to a constant
  norm.weight->value()[4] = 0, norm.bias->value()[4] = 2;
  const auto [small, report] = sparsity::shrink(net, {.examples = images()});
  CHECK(report.max_relative_difference < 1e-13);
  CHECK(dynamic_cast<const Conv&>(small[0]).outputs() == 2);
  const auto& cut = dynamic_cast<const nn::BatchNorm2d<double>&>(small[1]);
  CHECK(cut.channels() == 2);
  CHECK(cut.weight->shape() == Shape{2});
  CHECK(cut.running_var.value()[1] == norm.running_var.value()[3]);
  const auto graph = sparsity::shrink(nn::Graph<double>::trace(net, {{1, 2, 6, 6}}), {.examples = images()});
  CHECK(graph.report.parameters_after == report.parameters_after);

  // Where a training ends, as it is: one example does not show what can vary.
  const auto one = sparsity::shrink(net, {.examples = images({1, 2, 6, 6})});
  CHECK(one.report.max_abs_difference < 1e-13);
}

TEST_CASE("shrink: images without examples are told what is missing") {
  const nn::Sequential<double> net(Conv(2, 4, 3), nn::ReLU<double>());
  CHECK_ERROR(sparsity::shrink(net), "[shrink] no examples for a model");
  const auto graph = nn::Graph<double>::trace(net, {{1, 2, 6, 6}});
  CHECK(sparsity::shrink(graph).report.probes == 256);
  CHECK_ERROR(sparsity::shrink(net, {.examples = Tensor<double>({0, 2, 6, 6})}),
              "[shrink] examples 0x2x6x6: expected rows");
}
