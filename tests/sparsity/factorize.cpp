#include <taper/sparsity/factorize.hpp>

#include <cmath>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/optim/minimize.hpp>
#include <taper/optim/sgd.hpp>
#include <taper/sparsity/refit.hpp>
#include <taper/sparsity/shrink.hpp>
#include <taper/train/fit.hpp>
#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Groups;
using sparsity::GroupWeights;

namespace {

constexpr Groups all_groups[] = {Groups::elements, Groups::inputs, Groups::outputs};

nn::Sequential<double> network() {
  return nn::Sequential<double>(nn::Linear<double>(5, 7), nn::Tanh<double>(), nn::Linear<double>(7, 3));
}

void set_matrix(nn::Parameter<double>& parameter, const Eigen::MatrixXd& to) {
  parameter.value().matrix() = to;
}

double norms(const Eigen::MatrixXd& w, Groups groups) {
  if (groups == Groups::elements) return w.cwiseAbs().sum();
  return groups == Groups::inputs ? w.colwise().norm().sum() : w.rowwise().norm().sum();
}

/// The weights that 1/2 ||w - a||^2 with decay alpha on the factors of w leads to, w being one column.
Eigen::VectorXd minimize(const Eigen::VectorXd& a, double alpha, Groups groups,
                         const sparsity::FactorizeOptions& options = {}, double start = 0.5) {
  nn::Linear<double> model(1, a.size(), false);
  set_matrix(model.weight, Eigen::VectorXd::Constant(a.size(), start));
  sparsity::factorize(model, groups, options);
  data::Dataset<double> set{Tensor<double>({1, 1}, {1}), Tensor<double>({1, a.size()}), {}, {}};
  set.y.vector() = a;
  const auto half_square = [&](Var<double> w, Var<double> target) {
    return mse_loss(w, target) * (static_cast<double>(a.size()) / 2);
  };
  train::fit(model, set, half_square, optim::SGD(model.parameters(), {.lr = 0.1, .weight_decay = alpha}),
             {.epochs = 4000, .batch_size = 1, .progress = train::Progress::quiet});
  sparsity::collapse(model);
  return model.weight.value().vector();
}

}  // namespace

TEST_CASE("factorize and collapse leave the outputs as they are") {
  const auto x = normal_tensor<double>({20, 5});
  for (const Groups groups : all_groups) {
    CAPTURE(groups);
    auto net = network();
    const auto before = train::predict(net, x);
    const Index count = net.parameters().count();
    CHECK(sparsity::factorize(net, groups) == 2);
    CHECK((train::predict(net, x).vector() - before.vector()).norm() < 1e-13);
    const Index gates = groups == Groups::elements ? 35 + 21 : groups == Groups::inputs ? 5 + 7 : 7 + 3;
    CHECK(net.parameters().count() == count + gates);

    // After the factors have moved, collapse keeps what they compute.
    const auto parameters = net.parameters();
    for (const auto& entry : parameters.entries()) parameters.value(entry).vector().array() *= 1.1;
    const auto moved = train::predict(net, x);
    sparsity::collapse(net);
    CHECK((train::predict(net, x).vector() - moved.vector()).norm() < 1e-13);
    CHECK(net.parameters().count() == count);
    sparsity::collapse(net);  // nothing left to do
    CHECK(sparsity::factorize(net, groups) == 2);
  }
}

TEST_CASE("effective_penalty: decay is at least the induced penalty, which balance reaches") {
  const double alpha = 0.3;
  for (const Groups groups : all_groups) {
    CAPTURE(groups);
    nn::Linear<double> model(4, 3);
    const Eigen::MatrixXd w = normal_tensor<double>({3, 4}).matrix();
    set_matrix(model.weight, w);
    CHECK(sparsity::effective_penalty(model, alpha).decay == 0);
    sparsity::factorize(model, groups);
    auto& u = model.weight.factors()[0];
    auto& v = model.weight.factors()[1];

    auto penalty = sparsity::effective_penalty(model, alpha);
    CHECK(penalty.induced == doctest::Approx(alpha * norms(w, groups)).epsilon(1e-13));
    CHECK(penalty.decay ==
          doctest::Approx(alpha / 2 * (w.squaredNorm() + static_cast<double>(v.shape().size())))
              .epsilon(1e-13));
    CHECK(penalty.decay >= penalty.induced);

    // Balanced: ||u|| = |v| in each group.
    Eigen::MatrixXd gates = w.cwiseAbs().cwiseSqrt();
    if (groups == Groups::inputs) gates = w.colwise().norm().cwiseSqrt();
    if (groups == Groups::outputs) gates = w.rowwise().norm().cwiseSqrt();
    u.value().matrix() = w.cwiseQuotient(gates.replicate(3 / gates.rows(), 4 / gates.cols()));
    for (Index i = 0; i < gates.size(); ++i) v.value()[i] = gates(i / gates.cols(), i % gates.cols());
    penalty = sparsity::effective_penalty(model, alpha);
    CHECK(penalty.induced == doctest::Approx(alpha * norms(w, groups)).epsilon(1e-13));
    CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-13));

    for (const double factor : {0.1, 0.9, 1.3, -5.0}) {  // the same weight from other factors
      CAPTURE(factor);
      u.value().vector() *= factor;
      v.value().vector() /= factor;
      const auto other = sparsity::effective_penalty(model, alpha);
      CHECK(other.induced == doctest::Approx(penalty.induced).epsilon(1e-12));
      CHECK(other.decay >= other.induced * (1 - 1e-12));
    }
  }
}

TEST_CASE("factorize: decay on the factors leads to the soft threshold") {
  const auto one = [](double a, double alpha) {
    return minimize(Eigen::VectorXd::Constant(1, a), alpha, Groups::elements)(0);
  };
  CHECK(one(1, 0.3) == doctest::Approx(0.7).epsilon(1e-8));
  CHECK(one(-1, 0.3) == doctest::Approx(-0.7).epsilon(1e-8));
  CHECK(std::abs(one(0.2, 0.3)) < 1e-8);

  const Eigen::VectorXd separate = minimize(Eigen::Vector3d(1, -0.5, 0.2), 0.3, Groups::elements);
  CHECK((separate - Eigen::Vector3d(0.7, -0.2, 0)).norm() < 1e-6);
}

TEST_CASE("factorize: decay on shared gates leads to the group soft threshold") {
  const Eigen::Vector2d a(0.6, -0.8);
  CHECK((minimize(a, 0.3, Groups::inputs) - 0.7 * a).norm() < 1e-8);
  CHECK(minimize(0.2 * a, 0.3, Groups::inputs).norm() < 1e-8);
  // One column: each row is an entry of its own.
  CHECK((minimize(a, 0.3, Groups::outputs) - Eigen::Vector2d(0.3, -0.5)).norm() < 1e-8);
}

TEST_CASE("factorize: weights multiply the threshold of their groups") {
  const Eigen::Vector2d a(0.6, -0.8);
  const double root = std::sqrt(2.0);
  const sparsity::FactorizeOptions sqrt_size{.weights = GroupWeights::sqrt_size};
  CHECK((minimize(a, 0.3, Groups::inputs, sqrt_size) - (1 - 0.3 * root) * a).norm() < 1e-8);
  CHECK(minimize(0.36 * a, 0.3, Groups::inputs, sqrt_size).norm() < 1e-8);  // more than 0.3, less than 0.42
  const sparsity::FactorizeOptions given{.weights = std::vector{0.5, 2.0}};
  CHECK((minimize(a, 0.3, Groups::outputs, given) - Eigen::Vector2d(0.45, -0.2)).norm() < 1e-8);
}

TEST_CASE("factorize: decay on many factors leads to the minimizer of the L2/D problem") {
  // Of 1/2 (w - a)^2 + D alpha / 2 weight w^(2/D) on a grid, for positive a.
  const auto best_on_grid = [](double a, double alpha, double depth, double weight) {
    double best = 0, least = a * a / 2;
    for (int i = 1; i <= 100000; ++i) {
      const double w = 1e-5 * a * i;
      const double value = (w - a) * (w - a) / 2 + depth * alpha / 2 * weight * std::pow(w, 2 / depth);
      if (value < least) best = w, least = value;
    }
    return best;
  };
  const auto one = [](double a, double alpha, Index depth, double weight) {
    return minimize(Eigen::VectorXd::Constant(1, a), alpha, Groups::elements,
                    {.depth = depth, .weights = std::vector{weight}}, a)(0);
  };
  for (const Index depth : {2, 3, 4}) {
    for (const double weight : {1.0, 1.5}) {
      CAPTURE(depth);
      CAPTURE(weight);
      const double expected = best_on_grid(1, 0.15, static_cast<double>(depth), weight);
      CHECK(expected > 0.5);
      CHECK(std::abs(one(1, 0.15, depth, weight) - expected) < 1.1e-5);
      CHECK(std::abs(one(-1, 0.15, depth, weight) + expected) < 1.1e-5);
      CHECK(best_on_grid(0.2, 0.3, static_cast<double>(depth), weight) == 0);
      CHECK(std::abs(one(0.2, 0.3, depth, weight)) < 1e-8);
    }
  }
}

TEST_CASE("factorize: zero is a local minimum for more than two factors") {
  const auto from = [](double start, Index depth) {
    return minimize(Eigen::VectorXd::Ones(1), 0.15, Groups::elements,
                    {.depth = depth, .start = sparsity::Start::balanced}, start)(0);
  };
  CHECK(from(1e-3, 2) == doctest::Approx(0.85).epsilon(1e-8));
  for (const Index depth : {3, 4}) {
    CHECK(std::abs(from(1e-3, depth)) < 1e-8);
    CHECK(from(0.3, depth) > 0.8);
  }
}

TEST_CASE("effective_penalty: the induced penalty is the least decay of all factors of a weight") {
  const double alpha = 0.3;
  const Eigen::MatrixXd w = normal_tensor<double>({3, 2}, 5).matrix();
  for (const Groups groups : all_groups) {
    for (const Index depth : {2, 3, 4}) {
      for (const bool weighted : {false, true}) {
        CAPTURE(groups);
        CAPTURE(depth);
        CAPTURE(weighted);
        const Index count = groups == Groups::elements ? 6 : groups == Groups::inputs ? 2 : 3;
        std::vector<double> weights(static_cast<std::size_t>(count), 1.0);
        for (std::size_t g = 0; weighted && g < weights.size(); ++g)
          weights[g] = 0.5 + static_cast<double>(g);
        nn::Linear<double> model(2, 3, false);
        set_matrix(model.weight, w);
        sparsity::factorize(model, groups, {.depth = depth, .weights = weights});
        auto& factors = model.weight.factors();
        const auto group_of = [&](Index i) {
          return groups == Groups::elements ? i : groups == Groups::inputs ? i % 2 : i / 2;
        };
        // The logarithms of the gates are free; U is what they leave to reach w.
        const double order = static_cast<double>(depth);
        const auto decay = [&](const Eigen::VectorXd& logs) {
          std::vector<double> left(weights.size());
          for (std::size_t g = 0; g < left.size(); ++g) left[g] = std::pow(weights[g], order / 2);
          for (Index d = 1; d < depth; ++d) {
            for (Index g = 0; g < count; ++g) {
              const double gate = std::exp(logs((d - 1) * count + g));
              factors[static_cast<std::size_t>(d)].value()[g] = gate;
              left[static_cast<std::size_t>(g)] /= gate;
            }
          }
          for (Index i = 0; i < 6; ++i) {
            factors[0].value()[i] = w(i / 2, i % 2) * left[static_cast<std::size_t>(group_of(i))];
          }
          return sparsity::effective_penalty(model, alpha).decay;
        };
        const Eigen::VectorXd start = 0.5 * normal_tensor<double>({count * (depth - 1)}, 6).vector();
        const auto least = optim::minimize(decay, start);
        CHECK((model.weight.materialize().matrix() - w).norm() < 1e-12);

        std::vector<double> squares(weights.size());
        for (Index i = 0; i < 6; ++i)
          squares[static_cast<std::size_t>(group_of(i))] += std::pow(w(i / 2, i % 2), 2);
        double expected = 0;
        for (std::size_t g = 0; g < weights.size(); ++g)
          expected += order * alpha / 2 * weights[g] * std::pow(squares[g], 1 / order);
        CHECK(decay(start) > 1.01 * expected);
        CHECK(least.value == doctest::Approx(expected).epsilon(1e-9));
        CHECK(sparsity::effective_penalty(model, alpha).induced == doctest::Approx(expected).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("factorize: sqrt_size weighs a group by the root of its entries") {
  nn::Linear<double> model(4, 9);
  const Eigen::MatrixXd w = model.weight.value().matrix();
  for (const Groups groups : all_groups) {
    sparsity::factorize(model, groups, {.depth = 3, .weights = GroupWeights::sqrt_size});
    const auto* const product = dynamic_cast<const nn::Hadamard<double>*>(model.weight.parametrization());
    REQUIRE(product != nullptr);
    const double expected = groups == Groups::elements ? 1 : groups == Groups::inputs ? 3 : 2;
    for (Index g = 0; g < product->group_count({9, 4}); ++g) CHECK(product->weight(g) == expected);
    CHECK(model.weight.materialize().matrix() == w);
    sparsity::collapse(model);
  }
  nn::Linear<double> none(3, 0);
  CHECK(sparsity::factorize(none, Groups::inputs, {.weights = GroupWeights::sqrt_size}) == 1);
}

TEST_CASE("factorize: a network with deep factors is trained, collapsed, shrunk and trained again") {
  for (const Index depth : {3, 4}) {
    CAPTURE(depth);
    manual_seed(3);
    nn::Sequential<double> net(nn::Linear<double>(6, 12), nn::Tanh<double>(), nn::Linear<double>(12, 1));
    const auto x = normal_tensor<double>({200, 6});
    data::Dataset<double> set{x, Tensor<double>({200, 1}), {}, {}};
    set.y.vector() = (x.matrix().col(1) - 2 * x.matrix().col(4)).array().tanh();
    sparsity::factorize(net, Groups::inputs, {.depth = depth, .start = sparsity::Start::truncated});
    train::fit(net, set, nn::mse_loss,
               optim::SGD(net.parameters(), {.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-3}),
               {.epochs = 2000, .batch_size = 200, .progress = train::Progress::quiet});
    const auto penalty = sparsity::effective_penalty(net, 5e-3);
    CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-3));
    auto factored = sparsity::shrink(net, {.examples = x});
    sparsity::collapse(net);
    auto [small, report] = sparsity::shrink(net, {.examples = x});
    CHECK(report.inputs[0] == std::vector<Index>{1, 4});
    CHECK(report.widths_after[1] < 12);
    CHECK(report.widths_after == factored.report.widths_after);
    const double before = train::evaluate(small, set, nn::mse_loss);
    sparsity::refit(small, set, nn::mse_loss, {.lr = 1e-2},
                    {.epochs = 200, .batch_size = 200, .progress = train::Progress::quiet});
    CHECK(train::evaluate(small, set, nn::mse_loss) < before);
  }
}

TEST_CASE("factorize: options that cannot be are refused and change nothing") {
  auto net = network();
  using sparsity::FactorizeOptions;
  const auto refuses = [&](const FactorizeOptions& options, auto... words) {
    const Index count = net.parameters().count();
    CHECK_ERROR(sparsity::factorize(net, Groups::inputs, options), "[factorize]", words...);
    CHECK(net.parameters().count() == count);
  };
  refuses({.depth = 1}, "a product of 1 factors", "expected 2 to 8");
  refuses({.depth = 9}, "a product of 9 factors");
  refuses({.weights = std::vector<double>(5, 1.0)}, "5 weights", "3x7", "each of 7 groups");
  refuses({.weights = std::vector<double>{}}, "no weights");
  refuses({.weights = std::vector<double>(5, -1.0), .match = "0.weight"}, "a weight -1");
  refuses({.except = {{"2.bias", Groups::inputs}}}, "'2.bias' is 3 and has no inputs",
          "expected 2 axes or more, or an exception");
  refuses({.except = {{"2.weight", Groups::axis(3)}}}, "'2.weight' is 3x7 and has no axis 3",
          "expected 4 axes or more");
  refuses({.except = {{"conv*", Groups::filters}}}, "'conv*'", "0.weight", "2.bias");
  refuses({.match = "conv*", .except = {{"2.weight", Groups::none}}}, "'conv*'");
  using sparsity::Costs;
  refuses({.weights = Costs{{"0.weight", 1.0}}}, "costs without '2.weight'", "expected one for each");
  refuses({.weights = Costs{{"0.weight", 1.0}, {"2.weight", 0.0}}}, "'2.weight' costs 0",
          "a positive number");
  refuses({.weights = Costs{{"0.weight", std::nan("")}, {"2.weight", 1.0}}}, "'0.weight' costs nan");
  refuses({.weights = Costs{{"0.weight", 1e-300}, {"2.weight", 1e300}}}, "a weight", "of a group");
  auto& last = dynamic_cast<nn::Linear<double>&>(net[2]).weight;
  std::fill(last.value().begin(), last.value().end(), 0.0);
  refuses({.start = sparsity::Start::truncated}, "'2.weight'", "deviation 0", "expected a positive one");
  last.value()[3] = std::nan("");
  refuses({.start = sparsity::Start::truncated}, "'2.weight'", "deviation nan");
  CHECK(sparsity::factorize(net, Groups::inputs,
                            {.weights = std::vector<double>(5, 2.0), .match = "0.weight"}) == 1);
}

TEST_CASE("factorize: patterns and errors") {
  auto net = network();
  CHECK_ERROR(sparsity::factorize(net, Groups::elements, "gamma"), "factorize", "'gamma'", "0.weight",
              "2.bias");
  CHECK(sparsity::factorize(net, Groups::elements, "2.*") == 2);
  CHECK(dynamic_cast<nn::Linear<double>&>(net[0]).weight.parametrization() == nullptr);
  CHECK_ERROR(sparsity::factorize(net, Groups::elements, "2.weight"), "factorize", "'2.weight'", "already");
  CHECK(sparsity::factorize(net, Groups::inputs, "0.weight") == 1);
}

TEST_CASE("factorize: a choice for all and exceptions") {
  using Choices = std::vector<sparsity::GroupChoice>;
  const auto groups_of = [](nn::Sequential<double>& net) {
    std::vector<std::string> result;
    net.for_parameters([&](const std::string& name, nn::Parameter<double>& parameter) {
      const auto* const product = dynamic_cast<const nn::Hadamard<double>*>(parameter.parametrization());
      if (product != nullptr) result.push_back(name + " by " + product->groups().str());
    });
    return result;
  };
  const auto made = [&](std::optional<Groups> groups, const Choices& except, const std::string& match,
                        Index count) {
    auto net = network();
    CHECK(sparsity::factorize(net, groups, {.match = match, .except = except}) == count);
    return groups_of(net);
  };
  using Names = std::vector<std::string>;
  CHECK(made(Groups::inputs, {}, "*weight", 2) == Names{"0.weight by inputs", "2.weight by inputs"});
  CHECK(made(Groups::inputs, {{"0.*", Groups::outputs}}, "*weight", 3) ==
        Names{"0.weight by outputs", "0.bias by outputs", "2.weight by inputs"});
  CHECK(made(Groups::inputs, {{"2.weight", Groups::none}}, "*weight", 1) == Names{"0.weight by inputs"});
  // The first that matches counts.
  CHECK(made(Groups::inputs, {{"2.weight", Groups::none}, {"*.weight", Groups::elements}}, "*weight", 1) ==
        Names{"0.weight by elements"});
  CHECK(made(Groups::none, {{"2.weight", Groups::filters}}, "*weight", 1) == Names{"2.weight by outputs"});
  // An entry of a vector is a group, whatever is asked for the others.
  CHECK(made(Groups::inputs, {{"2.bias", Groups::none}}, "*", 3) ==
        Names{"0.weight by inputs", "0.bias by elements", "2.weight by inputs"});
  CHECK(made(Groups::axis(2), {{"*.weight", Groups::none}}, "*", 2) ==
        Names{"0.bias by elements", "2.bias by elements"});

  // What has factors stays as it is where it is an exception.
  auto net = network();
  sparsity::factorize(net, Groups::outputs, "0.weight");
  CHECK(sparsity::factorize(net, Groups::inputs, {.except = {{"0.weight", Groups::none}}}) == 1);
  CHECK(groups_of(net) == Names{"0.weight by outputs", "2.weight by inputs"});
}
