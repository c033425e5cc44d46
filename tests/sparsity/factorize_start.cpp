// Where the factors of sparsity::factorize start.

#include <taper/sparsity/factorize.hpp>

#include <cmath>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/nn/layers/linear.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Groups;
using sparsity::GroupWeights;

namespace {

constexpr Groups three_groups[] = {Groups::elements, Groups::inputs, Groups::outputs};

}  // namespace

TEST_CASE_TEMPLATE("factorize: balanced factors have the induced penalty from the start", T, float, double) {
  const double precision = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (const Groups groups : three_groups) {
    for (const Index depth : {2, 3, 4}) {
      for (const GroupWeights weights : {GroupWeights::one, GroupWeights::sqrt_size}) {
        CAPTURE(groups);
        CAPTURE(depth);
        nn::Linear<T> model(5, 4, false);
        for (const Index i : {1, 6, 11, 16, 10, 12, 13, 14}) model.weight.value()[i] = 0;  // column 1, row 2
        const Tensor<T> before(model.weight.value());
        sparsity::factorize(model, groups,
                            {.depth = depth, .weights = weights, .start = sparsity::Start::balanced});
        CHECK(apart<const T, const T>(model.weight.materialize(), before) < precision);
        auto& factors = model.weight.factors();
        const auto* const product = dynamic_cast<const nn::Hadamard<T>*>(model.weight.parametrization());
        double zeros = 0;  // the decay of gates that stand for 1, beside entries of zero
        std::vector<double> squares(static_cast<std::size_t>(product->group_count({4, 5})));
        for (Index i = 0; i < 20; ++i) {
          const double u = static_cast<double>(factors[0].value()[i]);
          squares[static_cast<std::size_t>(product->groups().blocks({4, 5}).group_of(i))] += u * u;
        }
        for (std::size_t g = 0; g < squares.size(); ++g) {
          for (std::size_t d = 1; d < factors.size(); ++d) {
            const double gate = static_cast<double>(factors[d].value()[static_cast<Index>(g)]);
            CHECK(gate > 0);
            if (squares[g] == 0) {
              zeros += gate * gate / 2;
            } else {
              CHECK(gate == doctest::Approx(std::sqrt(squares[g])).epsilon(precision));
            }
          }
        }
        CHECK(zeros > 0);
        const auto penalty = sparsity::effective_penalty(model, 1);
        CHECK(penalty.decay - zeros == doctest::Approx(penalty.induced).epsilon(precision));
      }
    }
  }
}

TEST_CASE("factorize: truncated factors keep the deviation of the weight, and products their bounds") {
  // The variance of a normal number between two magnitudes, by the midpoint rule.
  const auto truncated_square = [](double low, double high) {
    double mass = 0, moment = 0;
    for (int i = 0; i < 1000; ++i) {
      const double x = low + (high - low) * (i + 0.5) / 1000, density = std::exp(-x * x / 2);
      mass += density;
      moment += x * x * density;
    }
    return moment / mass;
  };
  for (const Groups groups : three_groups) {
    for (const Index depth : {2, 3, 4}) {
      for (const GroupWeights weights : {GroupWeights::one, GroupWeights::sqrt_size}) {
        CAPTURE(groups);
        CAPTURE(depth);
        manual_seed(8);
        nn::Linear<double> model(60, 50, false), same(60, 50, false);
        const double s = std::sqrt(model.weight.value().vector().squaredNorm() / 3000);
        same.weight.value().matrix() = model.weight.value().matrix();
        const sparsity::FactorizeOptions options{
            .depth = depth, .weights = weights, .start = sparsity::Start::truncated};
        manual_seed(9);
        sparsity::factorize(model, groups, options);
        const Tensor<double> w = model.weight.materialize();

        const double order = static_cast<double>(depth);
        const double low = std::pow(0.1, 1 / order), high = std::pow(2, 1 / order);
        const double k = 1 / std::sqrt(truncated_square(low, high));
        const Eigen::ArrayXd sizes = w.vector().array().abs() / (s * std::pow(k, order));
        CHECK(sizes.minCoeff() >= 0.1 * (1 - 1e-5));
        CHECK(sizes.minCoeff() < 0.3);
        CHECK(sizes.maxCoeff() <= 2 * (1 + 1e-5));
        CHECK(sizes.maxCoeff() > 1);
        // Gates that many entries share are few draws.
        const double slack = groups == Groups::elements ? 0.05 : 0.3;
        CHECK(w.vector().norm() / std::sqrt(3000.0) == doctest::Approx(s).epsilon(slack));
        CHECK(std::abs(w.vector().mean()) < 0.1 * s);

        // Each factor is within its own bounds, reaches them nearly, and has both signs.
        const Index size = groups == Groups::elements ? 1 : groups == Groups::inputs ? 50 : 60;
        const double weight =
            weights == GroupWeights::one || size == 1 ? 1 : std::sqrt(static_cast<double>(size));
        const double balance = std::sqrt(weight) * std::pow(static_cast<double>(size), 1 / (2 * order));
        const auto& factors = model.weight.factors();
        for (std::size_t d = 0; d < factors.size(); ++d) {
          const double unit =
              k * std::pow(s, 1 / order) * balance / (d == 0 ? std::sqrt(static_cast<double>(size)) : 1.0);
          const Eigen::ArrayXd numbers = factors[d].value().vector().array() / unit;
          CHECK(numbers.abs().minCoeff() >= low * (1 - 1e-5));
          CHECK(numbers.abs().minCoeff() < low * 1.25);
          CHECK(numbers.abs().maxCoeff() <= high * (1 + 1e-5));
          CHECK(numbers.abs().maxCoeff() > high * 0.9);
          CHECK(numbers.minCoeff() < 0);
          CHECK(numbers.maxCoeff() > 0);
        }
        // Balanced in the mean.
        const double gates = factors[1].value().vector().squaredNorm();
        CHECK(factors[0].value().vector().squaredNorm() / gates == doctest::Approx(1).epsilon(0.15));

        manual_seed(9);
        sparsity::factorize(same, groups, options);
        CHECK(same.weight.materialize().vector() == w.vector());
        manual_seed(10);
        sparsity::collapse(same);
        sparsity::factorize(same, groups, options);
        CHECK(same.weight.materialize().vector() != w.vector());
      }
    }
  }
}

TEST_CASE("factorize: what is frozen keeps its value at every start") {
  for (const sparsity::Start start :
       {sparsity::Start::unit_gates, sparsity::Start::balanced, sparsity::Start::truncated}) {
    for (const Groups groups : three_groups) {
      CAPTURE(static_cast<int>(start));
      CAPTURE(groups);
      nn::Linear<double> model(5, 4, false);
      model.weight.freeze(Mask::frozen({4, 5}, {0}));            // row 0, column 0
      model.weight.prune(Mask::frozen({4, 5}, {7, 19, 9, 14}));  // rows 1 to 3, columns 2 and 4
      const Tensor<double> before(model.weight.value());
      const Mask mask = model.weight.mask();
      sparsity::factorize(model, groups, {.depth = 3, .weights = GroupWeights::sqrt_size, .start = start});
      const Tensor<double> after = model.weight.materialize();
      CHECK(model.weight.mask() == mask);
      for (Index i = 0; i < 20; ++i) {
        CAPTURE(i);
        const bool beside = (groups == Groups::inputs && i % 5 == 0) || (groups == Groups::outputs && i < 5);
        if (mask.is_frozen(i) || beside || start == sparsity::Start::unit_gates) {
          CHECK(after[i] == before[i]);
        } else if (start == sparsity::Start::balanced) {
          CHECK(after[i] == doctest::Approx(before[i]).epsilon(1e-13));
        } else {
          CHECK(after[i] != before[i]);
          CHECK(after[i] != 0);
        }
      }
    }
  }
  nn::Linear<double> held(2, 2, false);
  held.weight.prune();
  CHECK(sparsity::factorize(held, Groups::inputs, {.start = sparsity::Start::truncated}) == 1);  // all held
  CHECK(held.weight.materialize().vector().isZero(0));
}
