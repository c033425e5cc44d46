#include <taper/sparsity/shrink.hpp>

#include <cmath>
#include <limits>
#include <sstream>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/select.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/refit.hpp>
#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using Linear = nn::Linear<double>;
using Sequential = nn::Sequential<double>;
using Widths = std::vector<Index>;

namespace {

void push_activation(Sequential& net, Index which) {
  switch (which) {
    case 0:
      return net.push_back(nn::ReLU<double>());
    case 1:
      return net.push_back(nn::Sigmoid<double>());
    case 2:
      return net.push_back(nn::Softplus<double>());
    case 3:
      return net.push_back(nn::Tanh<double>());
    case 4:
      return net.push_back(nn::GELU<double>());
    case 5:
      return net.push_back(nn::ELU<double>(0.7));
    case 6:
      return net.push_back(nn::LeakyReLU<double>(0.1));
    case 7:
      return net.push_back(nn::Dropout<double>(0.3));
    default:
      return;  // none
  }
}

/// A chain of random depth and widths with some rows and columns of its weights zero.
Sequential random_chain(Rng& rng) {
  Sequential net;
  const Index depth = 1 + rng.below(4);
  Index width = 1 + rng.below(8);
  if (rng.below(4) == 0) push_activation(net, rng.below(8));
  for (Index layer = 0; layer < depth; ++layer) {
    const Index next = 1 + rng.below(8);
    Linear linear(width, next, rng.below(2) == 0);
    auto w = linear.weight.value().matrix();
    const double zeros = rng.uniform(0, 0.8);
    for (Index i = 0; i < next; ++i) {
      if (rng.uniform() < zeros) w.row(i).setZero();
    }
    for (Index j = 0; j < width; ++j) {
      if (rng.uniform() < zeros) w.col(j).setZero();
    }
    net.push_back(std::move(linear));
    if (layer + 1 < depth || rng.below(2) == 0) push_activation(net, rng.below(9));
    if (rng.below(3) == 0) push_activation(net, 7);
    width = next;
  }
  return net;
}

double difference(const Sequential& a, const Sequential& b, const Tensor<double>& x) {
  const auto first = train::predict(a, x), second = train::predict(b, x);
  REQUIRE(first.shape() == second.shape());
  return (first.vector() - second.vector()).cwiseAbs().maxCoeff();
}

Linear& linear(Sequential& net, std::size_t part) {
  return dynamic_cast<Linear&>(net[part]);
}

/// Not elementwise: every output depends on all inputs.
struct Softmax : nn::Layer<double> {
  Var<double> forward(Var<double> x) const override { return softmax(x); }
  std::string describe() const override { return "Softmax"; }
};
}  // namespace

TEST_CASE("shrink: random chains compute the same afterwards, and cannot be shrunk further") {
  Rng rng(11);
  Index smaller = 0, empty = 0;
  for (int round = 0; round < 400; ++round) {
    CAPTURE(round);
    Sequential net = random_chain(rng);
    auto [small, report] = sparsity::shrink(net);
    const auto x =
        normal_tensor<double>({33, report.widths_before.front()}, static_cast<std::uint64_t>(round));
    CHECK(difference(net, small, x) < 1e-12);
    CHECK(report.max_abs_difference < 1e-12);
    CHECK(report.probes == 256);
    CHECK(report.parameters_before == net.parameters().count());
    CHECK(report.parameters_after == small.parameters().count());
    CHECK(report.widths_after.front() == static_cast<Index>(report.inputs.at(0).size()));
    CHECK(report.widths_after.back() == report.widths_before.back());
    if (report.parameters_after < report.parameters_before) ++smaller;
    if (report.inputs[0].empty()) ++empty;

    const auto again = sparsity::shrink(small, {.examples = x, .threshold = 0});
    CHECK(again.report.parameters_after == report.parameters_after);
    CHECK(again.report.widths_after == report.widths_after);
    CHECK(again.report.inputs == report.inputs);
    CHECK(again.report.max_abs_difference == 0);
    CHECK(again.model.size() == small.size());
  }
  CHECK(smaller > 100);
  CHECK(empty > 20);
}

TEST_CASE("shrink: where the terms of an output cancel, their rounding is no difference") {
  manual_seed(1);
  for (const double unit : {1e-8, 1.0, 1e8}) {
    double most = 0;
    for (int round = 0; round < 20; ++round) {
      CAPTURE(unit);
      CAPTURE(round);
      Sequential net(Linear(2, 9), nn::Softplus<double>(), Linear(9, 1));
      linear(net, 0).weight.value().matrix().setZero();
      linear(net, 2).weight.value().matrix() *= unit;
      double& bias = linear(net, 2).bias->value()[0];
      bias = 0;
      bias = -train::predict(net, normal_tensor<double>({1, 2}))[0] + 1e-12 * unit;
      const auto report = sparsity::shrink(net).report;
      CHECK(report.parameters_after == 1);
      CHECK(report.max_abs_difference < 1e-14 * unit);
      most = std::max(most, report.max_abs_difference);
    }
    CHECK(most > 0);  // so that this shows something
  }
  // At several positions of a row, where outputs that cancel are next to one that does not.
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    Sequential net(Linear(2, 9), nn::Softplus<double>(), Linear(9, 3));
    linear(net, 0).weight.value().matrix().setZero();
    const auto value = train::predict(net, normal_tensor<double>({1, 2}));
    for (const Index o : {0, 2}) linear(net, 2).bias->value()[o] += 1e-12 - value[o];
    const auto report = sparsity::shrink(net, {.examples = normal_tensor<double>({40, 5, 2})}).report;
    CHECK(report.parameters_after == 3);
    CHECK(report.max_abs_difference < 1e-14);
  }
}

TEST_CASE("shrink: draws no random numbers") {
  manual_seed(3);
  const Sequential net(Linear(3, 4), nn::Dropout<double>(0.5), Linear(4, 1));
  const auto graph = nn::Graph<double>::trace(net, {{1, 3}});
  const RandomState before = random_state();
  sparsity::shrink(net, {.examples = normal_tensor<double>({40, 3})});
  sparsity::shrink(graph);
  CHECK(random_state() == before);
}

TEST_CASE("shrink: a unit that is not read is deleted") {
  Sequential net(Linear(2, 3), nn::ReLU<double>(), Linear(3, 1));
  linear(net, 2).weight.value().matrix().col(1).setZero();
  auto [small, report] = sparsity::shrink(net);
  CHECK(report.widths_before == Widths{2, 3, 1});
  CHECK(report.widths_after == Widths{2, 2, 1});
  CHECK(report.parameters_before == 2 * 3 + 3 + 3 + 1);
  CHECK(report.parameters_after == 2 * 2 + 2 + 2 + 1);
  CHECK(report.inputs[0] == Widths{0, 1});
  CHECK(linear(small, 0).weight.value().matrix().row(1) == linear(net, 0).weight.value().matrix().row(2));
  CHECK(linear(small, 0).bias->value()[1] == linear(net, 0).bias->value()[2]);
  std::ostringstream out;
  out << report;
  CHECK(out.str().find("13 -> 9 parameters (2-3-1 -> 2-2-1), 9 -> 6 multiply-adds, max |difference| ") == 0);
}

TEST_CASE("shrink: a constant unit goes into the biases of its readers") {
  for (const bool with_bias : {true, false}) {
    CAPTURE(with_bias);
    Sequential net(Linear(2, 3), nn::Sigmoid<double>(), nn::Dropout<double>(0.5), Linear(3, 2, with_bias));
    linear(net, 0).weight.value().matrix().row(1).setZero();
    linear(net, 0).bias->value()[1] = 0.7;
    const auto old = linear(net, 3).weight.value().matrix();
    auto [small, report] = sparsity::shrink(net);
    CHECK(report.widths_after == Widths{2, 2, 2});
    CHECK(report.parameters_before == 6 + 3 + 6 + (with_bias ? 2 : 0));
    CHECK(report.parameters_after == 4 + 2 + 4 + 2);  // the folded constant needs a bias
    for (Index i = 0; i < 2; ++i) {
      const double start = with_bias ? linear(net, 3).bias->value()[i] : 0;
      CHECK(linear(small, 3).bias->value()[i] ==
            doctest::Approx(start + old(i, 1) / (1 + std::exp(-0.7))).epsilon(1e-14));
    }
  }
}

TEST_CASE("shrink: cuts run through all layers") {
  // The last layer reads unit 0 only, which reads unit 2 only, which reads input 1 only.
  Sequential net(Linear(3, 4), nn::Tanh<double>(), Linear(4, 5), nn::Tanh<double>(), Linear(5, 1));
  linear(net, 4).weight.value().matrix().rightCols(4).setZero();
  auto middle = linear(net, 2).weight.value().matrix();
  middle(0, 0) = middle(0, 1) = middle(0, 3) = 0;
  auto first = linear(net, 0).weight.value().matrix();
  first(2, 0) = first(2, 2) = 0;
  const auto report = sparsity::shrink(net).report;
  CHECK(report.widths_after == Widths{1, 1, 1, 1});
  CHECK(report.inputs[0] == Widths{1});
  CHECK(report.parameters_after == 6);
}

TEST_CASE("shrink: without any weight left the network is constant") {
  Sequential net(Linear(3, 4), nn::Softplus<double>(), Linear(4, 2));
  linear(net, 0).weight.value().vector().setZero();
  auto [small, report] = sparsity::shrink(net);
  CHECK(report.widths_after == Widths{0, 0, 2});
  CHECK(report.parameters_after == 2);
  CHECK(report.inputs[0].empty());
  CHECK(difference(net, small, normal_tensor<double>({5, 3})) < 1e-14);

  Sequential single(Linear(3, 2, false));
  linear(single, 0).weight.value().vector().setZero();
  auto zero = sparsity::shrink(single);
  CHECK(zero.report.widths_after == Widths{0, 2});
  CHECK(train::predict(zero.model, normal_tensor<double>({5, 3})).vector().norm() == 0);
}

TEST_CASE("shrink: inputs that nobody reads are dropped by a Select") {
  Sequential net(nn::Tanh<double>(), Linear(4, 3), nn::ReLU<double>(), Linear(3, 1));
  linear(net, 1).weight.value().matrix().col(0).setZero();
  linear(net, 1).weight.value().matrix().col(2).setZero();
  auto shrunk = sparsity::shrink(net);
  Sequential& small = shrunk.model;
  const sparsity::ShrinkReport& report = shrunk.report;
  CHECK(report.inputs[0] == Widths{1, 3});
  CHECK(report.widths_after == Widths{2, 3, 1});
  CHECK(small[0].describe() == "Select(2)");
  CHECK(difference(net, small, normal_tensor<double>({9, 4})) < 1e-14);
  CHECK(small.name(0) == "select");
  CHECK(small.name(1) == "0");
  CHECK(small.name(2) == "1");
  // What is no longer read later goes from the same Select.
  linear(small, 2).weight.value().matrix().col(0).setZero();
  const auto again = sparsity::shrink(small);
  CHECK(again.report.inputs[0] == Widths{3});
  CHECK(again.model[0].describe() == "Select(1)");
  CHECK(again.model.size() == small.size());
  CHECK(difference(small, again.model, normal_tensor<double>({9, 4})) < 1e-14);
  // Or the caller selects.
  const auto bare = sparsity::shrink(net, {.drop_inputs = true});
  CHECK(bare.model.size() == net.size());
  CHECK(bare.report.inputs[0] == Widths{1, 3});
}

TEST_CASE("shrink: what hardly adds to its readers on the examples counts as constant") {
  Sequential net(Linear(3, 3), nn::Tanh<double>(), Linear(3, 1));
  linear(net, 0).weight.value().matrix().col(1) *= 1e-9;
  linear(net, 2).weight.value()[2] *= 1e-9;
  const auto examples = normal_tensor<double>({40, 3});
  const auto report = sparsity::shrink(net, {.examples = examples}).report;
  CHECK(report.widths_after == Widths{2, 2, 1});
  CHECK(report.probes == 40);
  CHECK(report.max_abs_difference > 0);
  CHECK(report.max_abs_difference < 1e-8);
  CHECK(sparsity::shrink(net).report.widths_after == Widths{3, 3, 1});
  CHECK_ERROR(sparsity::shrink(net, {.threshold = 1e-5}), "[shrink] a threshold 1e-05 without examples");
}

TEST_CASE("shrink: the units of the data do not matter, nor does where they begin") {
  // Feature 0 counts though its weight is small, feature 1 does not though its weight is large.
  for (const double scale : {1e-8, 1.0, 1e6, 1e8}) {
    for (const double shift : {0.0, 1e5}) {
      CAPTURE(scale);
      CAPTURE(shift);
      manual_seed(1);
      Sequential net(Linear(3, 4), nn::Tanh<double>(), Linear(4, 1));
      Tensor<double> x = normal_tensor<double>({50, 3});
      auto weight = linear(net, 0).weight.value().matrix();
      weight.col(0) /= scale;
      weight.col(1) *= 1e-7;
      x.matrix().col(0) *= scale;
      x.matrix().col(2).array() += shift;
      linear(net, 0).bias->value().vector() -= shift * weight.col(2);
      const auto [small, report] = sparsity::shrink(net, {.examples = x});
      CHECK(report.inputs[0] == Widths{0, 2});
      CHECK(report.max_relative_difference < 1e-5);
      CHECK(report.max_relative_difference > 0);
    }
  }
  // A linear model with one feature in units of 1e6, as it is after training.
  Sequential linear_model(Linear(2, 1));
  linear(linear_model, 0).weight.value()[0] = 1e-6;
  linear(linear_model, 0).weight.value()[1] = 1;
  Tensor<double> x = normal_tensor<double>({50, 2});
  x.matrix().col(0) *= 1e6;
  CHECK(sparsity::shrink(linear_model, {.examples = x}).report.inputs[0] == Widths{0, 1});
}

TEST_CASE("shrink: a network that has died is its bias, however its last weights compare") {
  Sequential net(Linear(3, 4), nn::Softplus<double>(), Linear(4, 2));
  linear(net, 2).weight.value().vector() *= 1e-25;
  const auto x = normal_tensor<double>({50, 3});
  const auto [small, report] = sparsity::shrink(net, {.examples = x});
  CHECK(report.widths_after == Widths{0, 0, 2});
  CHECK(difference(net, small, x) < 1e-14);
}

TEST_CASE("shrink: factorized weights are read as what they compute") {
  for (const Index depth : {2, 3, 4}) {
    CAPTURE(depth);
    Sequential net(Linear(4, 3), nn::ReLU<double>(), Linear(3, 1));
    sparsity::factorize(net, sparsity::Groups::inputs, {.depth = depth});
    linear(net, 0).weight.factors().back().value()[2] = 0;  // a gate of input 2
    auto [small, report] = sparsity::shrink(net);
    CHECK(report.inputs[0] == Widths{0, 1, 3});
    CHECK(report.parameters_before == 12 + 3 + 3 + 1);
    CHECK(report.parameters_after == small.parameters().count());
    CHECK(linear(small, 1).weight.parametrization() == nullptr);

    auto factors = sparsity::shrink(net, {.keep_factors = true});
    const auto& weight = linear(factors.model, 1).weight;
    REQUIRE(weight.parametrization() != nullptr);
    CHECK(weight.shape() == Shape{3, 3});
    CHECK(weight.factors()[0].shape() == Shape{3, 3});
    CHECK(weight.factors()[1].shape() == Shape{3});
    CHECK(same_bits(weight.materialize().view(), linear(small, 1).weight.materialize().view()));
    CHECK(factors.report.parameters_after == report.parameters_after);
  }
}

TEST_CASE("shrink: errors") {
  Sequential none(nn::ReLU<double>{}, nn::Tanh<double>{});
  CHECK_ERROR(sparsity::shrink(none), "[shrink] no examples for a model without matrices");
  Sequential unfit(Linear(2, 3), Linear(4, 1));
  CHECK_ERROR(sparsity::shrink(unfit), "[affine]", "(layer 1)");
  Sequential fine(Linear(2, 1));
  const double inf = std::numeric_limits<double>::infinity();
  CHECK_ERROR(sparsity::shrink(fine, {.threshold = -1}), "shrink", "threshold -1");
  CHECK_ERROR(sparsity::shrink(fine, {.examples = Tensor<double>({40, 2}), .threshold = inf}), "shrink",
              "threshold inf", "finite");
  CHECK_ERROR(sparsity::shrink(fine, {.tolerance = -1e-9}), "shrink", "tolerance -1e-09");
  CHECK_ERROR(sparsity::shrink(fine, {.tolerance = inf}), "shrink", "tolerance inf");
  CHECK_ERROR(sparsity::shrink(fine, {.tolerance = std::nan("")}), "shrink", "tolerance nan");
  CHECK_ERROR(sparsity::shrink(fine, {.examples = Tensor<double>({0, 2})}),
              "[shrink] examples 0x2: expected rows");
  Linear held(2, 1);
  CHECK_ERROR(sparsity::shrink(Sequential(std::ref(held))),
              "[shrink] '0.weight' is shared by the model and its copy");
}

TEST_CASE("shrink: what is not elementwise keeps its inputs whole, and says so") {
  Sequential net(Linear(3, 4), Softmax(), Linear(4, 1));
  linear(net, 2).weight.value().matrix().col(1).setZero();
  linear(net, 0).weight.value().matrix().col(2).setZero();
  const auto report = sparsity::shrink(net).report;
  CHECK(report.widths_after == Widths{2, 4, 1});
  const auto kept = std::ranges::find_if(
      report.reasons, [](const auto& reason) { return reason.parameter == "0.weight" && reason.axis == 0; });
  REQUIRE(kept != report.reasons.end());
  CHECK(kept->reason == "needed whole by softmax");
  CHECK(kept->count == 4);
}

TEST_CASE("shrink: frozen entries stay unless it is asked for") {
  Sequential net(Linear(3, 4), nn::Tanh<double>(), Linear(4, 1));
  linear(net, 2).weight.value().matrix().col(1).setZero();
  net.freeze("0.weight", Mask::frozen(Shape{4, 3}, {3}));
  CHECK(sparsity::shrink(net).report.widths_after == Widths{3, 4, 1});
  CHECK(sparsity::shrink(net, {.cut_frozen = true}).report.widths_after == Widths{3, 3, 1});
}

TEST_CASE("shrink: a constant whose reader is frozen, used twice, or has no room is kept, and says why") {
  Sequential net(Linear(3, 4), nn::Tanh<double>(), Linear(4, 2));
  linear(net, 0).weight.value().matrix().row(1).setZero();
  linear(net, 0).bias->value()[1] = 0.5;
  CHECK(sparsity::shrink(net).report.widths_after == Widths{3, 3, 2});
  net.freeze("2.bias");
  const auto report = sparsity::shrink(net).report;
  CHECK(report.widths_after == Widths{3, 4, 2});
  CHECK(std::ranges::any_of(report.reasons, [](const auto& reason) {
    return reason.parameter == "2.weight" && reason.count == 1 &&
           reason.reason == "constant, read by affine of 2, whose bias cannot take it up";
  }));

  struct Twice : nn::Layer<double> {
    Linear in{3, 4}, out{4, 4}, head{4, 1};
    void visit(nn::Visitor<double>& v) const override { v("in", in), v("out", out), v("head", head); }
    Var<double> forward(Var<double> x) const override { return head(tanh(out(tanh(out(tanh(in(x))))))); }
  } twice;
  twice.in.weight.value().matrix().row(1).setZero();
  twice.out.weight.value().matrix().row(1).setZero();
  const auto shared = sparsity::shrink(twice);
  CHECK(shared.model.out.inputs() == 4);  // the constant is another one in the second use
  CHECK(shared.report.max_abs_difference == 0);
}

TEST_CASE("shrink: outputs that are not finite prove nothing") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const double bias : {inf, -inf, std::nan("")}) {
    Sequential net(Linear(2, 1));
    linear(net, 0).bias->value()[0] = bias;
    CHECK_ERROR(sparsity::shrink(net), "[shrink]", "not finite");
  }
  // The large network overflows where the small one does not: infinity / infinity is no difference.
  Sequential net(Linear(2, 1));
  linear(net, 0).weight.value()[0] = 1.7e308;
  linear(net, 0).weight.value()[1] = 1e308;
  const Tensor<double> probe({1, 2}, {0.9, 0.9});
  CHECK_ERROR(sparsity::shrink(net, {.examples = probe}), "[shrink]", "not finite");
}

TEST_CASE("refit: lowers the loss and keeps the structure") {
  data::Dataset<double> set{normal_tensor<double>({200, 4}), Tensor<double>({200, 1}), {}, {}};
  set.y.matrix() = 2 * set.x.matrix().col(1) - set.x.matrix().col(3);
  Sequential net(Linear(4, 6), nn::Tanh<double>(), Linear(6, 1));
  linear(net, 0).weight.value().matrix().col(0).setZero();
  linear(net, 2).weight.value().matrix().leftCols(2).setZero();
  auto [small, report] = sparsity::shrink(net);
  CHECK(report.widths_after == Widths{3, 4, 1});
  const double before = train::evaluate(small, set, nn::mse_loss);
  const auto history = sparsity::refit(small, set, nn::mse_loss, {.lr = 1e-2},
                                       {.epochs = 30, .progress = train::Progress::quiet});
  CHECK(history.epochs.size() == 30);
  CHECK(train::evaluate(small, set, nn::mse_loss) < 0.2 * before);
  CHECK(small.parameters().count() == report.parameters_after);
  CHECK(sparsity::shrink(small).report.widths_after == report.widths_after);
}

TEST_CASE("shrink: what differs by more than the tolerance is an error, not a smaller network") {
  manual_seed(3);
  nn::Sequential<double> net(nn::Linear<double>(4, 6), nn::Tanh<double>(), nn::Linear<double>(6, 1));
  const Index before = net.parameters().count();
  // A threshold that cuts what matters.
  const auto x = normal_tensor<double>({64, 4});
  CHECK_ERROR(sparsity::shrink(net, {.examples = x, .threshold = 0.9}), "[shrink]", "differs by",
              "a lower threshold cuts less");
  CHECK(net.parameters().count() == before);
  const auto cut = sparsity::shrink(net, {.examples = x, .threshold = 0.9, .tolerance = 1e9});
  CHECK(cut.report.parameters_after < before);
  CHECK(cut.report.max_relative_difference > 1e-4);
}

TEST_CASE(
    "shrink: what is pruned or frozen stays so in the smaller network, also while it is trained again") {
  manual_seed(5);
  nn::Sequential<double> net(nn::Linear<double>(4, 6), nn::Tanh<double>(), nn::Linear<double>(6, 2));
  const Shape first{6, 4};
  // Unit 2 has no weights left; of unit 3 and 5 one each is pruned, one of the second layer is frozen.
  net.prune("0.weight", Mask::frozen(first, {8, 9, 10, 11, 12, 23}));
  net.freeze("2.weight", Mask::frozen(Shape{2, 6}, {7}));
  net.freeze("0.bias", Mask::frozen(Shape{6}, {4}));
  const double held = net.parameters().value(net.parameters().entry("2.weight"))[7];
  auto shrunk = sparsity::shrink(net);  // no binding, as clang 14 has no lambdas that capture one
  auto& [small, report] = shrunk;
  REQUIRE(report.widths_after == std::vector<Index>{4, 5, 2});
  const auto mask_of = [&](const char* name) {
    Mask mask;
    shrunk.model.for_matching(name, "test",
                              [&](const std::string&, nn::Parameter<double>& p) { mask = p.mask(); });
    return mask;
  };
  CHECK(mask_of("0.weight") == Mask::frozen(Shape{5, 4}, {8, 19}));
  CHECK(mask_of("0.bias") == Mask::frozen(Shape{5}, {3}));
  CHECK(mask_of("2.weight") == Mask::frozen(Shape{2, 5}, {6}));
  data::Dataset<double> set{Tensor<double>({32, 4}), Tensor<double>({32, 2}), {}, {}};
  Rng rng(1);
  for (double& entry : set.x) entry = rng.normal();
  for (double& entry : set.y) entry = rng.normal();
  sparsity::refit(small, set, nn::mse_loss, {}, {.epochs = 5, .progress = train::Progress::quiet});
  const auto after = small.parameters();
  CHECK(after.value(after.entry("0.weight"))[8] == 0);
  CHECK(after.value(after.entry("0.weight"))[19] == 0);
  CHECK(after.value(after.entry("2.weight"))[6] == held);
}

TEST_CASE("shrink: the state of an optimizer comes along, and training goes on as if nothing had been cut") {
  for (const bool factorized : {false, true}) {
    CAPTURE(factorized);
    manual_seed(6);
    Sequential net(Linear(4, 6), nn::Tanh<double>(), Linear(6, 5, false), nn::Tanh<double>(), Linear(5, 1));
    // Unit 2 of the first layer is constant, unit 1 is not read, nor is unit 3 of the second.
    net.prune("0.weight", Mask::frozen(Shape{6, 4}, {8, 9, 10, 11}));
    net.freeze("0.bias", Mask::frozen(Shape{6}, {2}));
    net.prune("2.weight", Mask::frozen(Shape{5, 6}, {1, 7, 13, 19, 25}));
    net.prune("4.weight", Mask::frozen(Shape{1, 5}, {3}));
    // What the constant adds cannot change in the large network without a bias, and must not in the small
    // one.
    net.freeze("2.weight", Mask::frozen(Shape{5, 6}, {2, 8, 14, 20, 26}));
    if (factorized) sparsity::factorize(net, sparsity::Groups::elements, "0.weight");
    const data::Dataset<double> set{
        normal_tensor<double>({40, 4}, 1), normal_tensor<double>({40, 1}, 2), {}, {}};
    const optim::AdamOptions options{.lr = 1e-2, .weight_decay = 1e-3};
    const train::FitOptions<double> fit{.epochs = 4, .batch_size = 8, .progress = train::Progress::quiet};
    optim::Adam<double> adam(net.parameters(), options);
    train::fit(net, set, nn::mse_loss, adam, fit);

    auto [small, report] = sparsity::shrink(net, {.cut_frozen = true, .keep_factors = true});
    CHECK(report.widths_after == Widths{4, 4, 4, 1});
    REQUIRE(report.grown.size() == 1);
    CHECK(report.grown[0].first == "2.bias");
    small.freeze("2.bias");
    optim::Adam<double> going_on(small.parameters(), options);
    going_on.load_state(sparsity::carry(adam.state(), report));
    train::fit(net, set, nn::mse_loss, adam, fit);
    train::fit(small, set, nn::mse_loss, going_on, fit);
    CHECK(difference(net, small, set.x) < 1e-12);
    // Fresh moments go another way.
    auto other = sparsity::shrink(net, {.cut_frozen = true, .keep_factors = true}).model;
    CHECK(small.parameters().count() == other.parameters().count());
  }
}

TEST_CASE("shrink: a constant that must stay for another reason keeps what makes it") {
  struct Reshaped : nn::Layer<double> {
    Linear a{4, 6}, b{6, 4}, c{4, 1};
    void visit(nn::Visitor<double>& v) const override { v("a", a), v("b", b), v("c", c); }
    Var<double> forward(Var<double> x) const override { return c(reshape(b(tanh(a(x))), {-1, 4})); }
  } net;
  net.a.weight.value().vector().setZero();
  const auto x = normal_tensor<double>({40, 4});
  CHECK(sparsity::shrink(net, {.examples = x}).report.max_abs_difference < 1e-14);
}

TEST_CASE("shrink: few examples decide nothing, and all of many are looked at") {
  manual_seed(2);
  Sequential net(Linear(3, 4), nn::Tanh<double>(), Linear(4, 1));
  const auto one = normal_tensor<double>({1, 3});
  CHECK(sparsity::shrink(net, {.examples = one}).report.widths_after == Widths{3, 4, 1});
  CHECK_ERROR(sparsity::shrink(net, {.examples = one, .threshold = 1e-5}),
              "[shrink] a threshold 1e-05 with 1 rows");
  // A feature that only one of 5000 rows has.
  Tensor<double> x = normal_tensor<double>({5000, 3});
  x.matrix().col(2).setZero();
  x.matrix()(4321, 2) = 1;
  CHECK(sparsity::shrink(net, {.examples = x}).report.inputs[0] == Widths{0, 1, 2});
  x.matrix()(4321, 2) = 0;
  CHECK(sparsity::shrink(net, {.examples = x}).report.inputs[0] == Widths{0, 1});
}

TEST_CASE(
    "shrink: outputs of one dimension, parts that only training uses, shared buffers, rows that differ") {
  struct Flat : nn::Layer<double> {
    Linear a{3, 4}, b{4, 1};
    void visit(nn::Visitor<double>& v) const override { v("a", a), v("b", b); }
    Var<double> forward(Var<double> x) const override { return reshape(b(tanh(a(x))), {-1}); }
  } flat;
  flat.b.weight.value()[3] = 1e-7;
  const auto x = normal_tensor<double>({40, 3});
  CHECK(sparsity::shrink(flat, {.examples = x}).model.a.outputs() == 3);

  struct Auxiliary : nn::Layer<double> {
    Linear a{3, 4}, b{4, 1}, head{4, 2};
    void visit(nn::Visitor<double>& v) const override { v("a", a), v("b", b), v("head", head); }
    Var<double> forward(Var<double> x) const override {
      const Var<double> h = tanh(a(x));
      return x.tape().training() ? b(h) + sum(head(h)) : b(h);
    }
  } auxiliary;
  auxiliary.b.weight.value()[3] = 0;
  CHECK_ERROR(sparsity::shrink(auxiliary, {.examples = x}),
              "[shrink] the smaller network cannot be recorded for training", "layer head");

  struct Shift : nn::Layer<double> {
    nn::Buffer<double> by{Shape{4}};
    void visit(nn::Visitor<double>& v) const override { v("by", by); }
    Var<double> forward(Var<double> x) const override { return x - by.bind(x.tape()); }
  } shift;
  const Sequential shared(Linear(3, 4), std::ref(shift), Linear(4, 1));
  CHECK_ERROR(sparsity::shrink(shared), "[shrink] '1.by' is shared by the model and its copy");
  CHECK(shift.by.shape() == Shape{4});
  const auto fewer = normal_tensor<double>({2, 3});
  CHECK_ERROR(sparsity::shrink(flat, {.examples = {x.view(), fewer.view()}}),
              "[shrink] examples 2x3: expected 40 rows");

  // A Select of the user's that permutes is not taken for one that does nothing.
  Sequential permuted;
  permuted.push_back(nn::Select<double>({1, 0}, 2), "select");
  permuted.push_back(Linear(2, 1));
  CHECK(sparsity::shrink(permuted).report.max_abs_difference == 0);
}

TEST_CASE("shrink: group weights and nested factors are cut with the groups") {
  Sequential net(Linear(6, 5), nn::Tanh<double>(), Linear(5, 1));
  linear(net, 0).weight.value().matrix().leftCols(3).setZero();
  linear(net, 0).weight.parametrize(
      std::make_shared<nn::Hadamard<double>>(nn::Groups::inputs, 2, std::vector<double>{1, 2, 3, 4, 5, 6}));
  const auto [small, report] = sparsity::shrink(net, {.keep_factors = true});
  CHECK(report.inputs[0] == Widths{3, 4, 5});
  const auto* const map = dynamic_cast<const nn::Hadamard<double>*>(
      dynamic_cast<const Linear&>(small[1]).weight.parametrization());
  REQUIRE(map != nullptr);
  CHECK(map->weight(0) == 4);
  CHECK(map->weight(2) == 6);

  Sequential nested(Linear(4, 3), nn::Tanh<double>(), Linear(3, 1));
  linear(nested, 0).weight.value().matrix().col(1).setZero();
  linear(nested, 0).weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::elements));
  linear(nested, 0).weight.factors()[0].parametrize(
      std::make_shared<nn::Hadamard<double>>(nn::Groups::elements));
  CHECK(sparsity::shrink(nested, {.keep_factors = true}).report.inputs[0] == Widths{0, 2, 3});
}

TEST_CASE("shrink: gates of rows keep their one column where a weight of one column loses it") {
  for (const bool rows_go : {false, true}) {
    Sequential net(Linear(5, 1), nn::Tanh<double>(), Linear(1, 4), nn::Tanh<double>(), Linear(4, 2));
    linear(net, rows_go ? 4 : 2).weight.value().matrix().setZero();
    for (const std::size_t part : {0, 2, 4}) {
      nn::Parameter<double>& weight = linear(net, part).weight;
      weight.parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::outputs, 3));
      weight.factors()[1].parametrize(std::make_shared<nn::Hadamard<double>>(nn::Groups::elements));
    }
    const auto [small, report] = sparsity::shrink(net, {.keep_factors = true});
    small.for_parameters([&](const std::string& name, const nn::Parameter<double>& weight) {
      CAPTURE(name);
      if (weight.parametrization() == nullptr) return;
      const Shape gates = nn::Groups::outputs.gates(weight.shape());
      CHECK(weight.factors()[0].shape() == weight.shape());
      CHECK(weight.factors()[1].shape() == gates);
      CHECK(weight.factors()[1].factors()[1].shape() == gates);
      CHECK(weight.factors()[2].shape() == gates);
    });
    CHECK(report.max_abs_difference < 1e-14);
  }
}
