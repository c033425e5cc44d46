// Groups along any axis of a weight: penalty, certificate, proximal step, imbalance and path, against loops
// over all indices and against the same model whose weight is a matrix with a row for each group.

#include <array>
#include <cmath>
#include <string>

#include <taper/nn/layers/activations.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/sparsity/certify.hpp>
#include <taper/sparsity/convex_certificate.hpp>
#include <taper/sparsity/exact.hpp>
#include <taper/sparsity/factorize.hpp>
#include <taper/sparsity/imbalance.hpp>
#include <taper/sparsity/network_path.hpp>
#include <taper/sparsity/proximal.hpp>

#include "../autodiff/random_tensors.hpp"
#include "../check.hpp"

using namespace taper;
using sparsity::Groups;

namespace {

constexpr Index folded_outputs = 4;
const Shape shapes_of_weights[] = {{48}, {4, 12}, {4, 3, 4}, {4, 3, 2, 2}};

/// The index along each axis of an entry.
std::array<Index, 4> indices_of(const Shape& shape, Index entry) {
  std::array<Index, 4> result{};
  for (Index k = shape.rank() - 1; k >= 0; --k) {
    result[static_cast<std::size_t>(k)] = entry % shape[k];
    entry /= shape[k];
  }
  return result;
}

/// Where an entry stands when the axis comes first and the others behind it.
Index place_with_axis_first(const Shape& shape, Index axis, Index entry) {
  const auto at = indices_of(shape, entry);
  Index place = at[static_cast<std::size_t>(axis)];
  for (Index k = 0; k < shape.rank(); ++k) {
    if (k != axis) place = place * shape[k] + at[static_cast<std::size_t>(k)];
  }
  return place;
}

/// A linear layer with a weight of any shape, which is read as outputs x inputs.
struct Folded : nn::Layer<double> {
  nn::Parameter<double> weight;

  explicit Folded(const Tensor<double>& values) : weight(values.shape()) {
    std::copy(values.begin(), values.end(), weight.value().begin());
  }
  void visit(nn::Visitor<double>& v) const override { v("weight", weight); }
  Var<double> forward(Var<double> x) const override {
    return affine(x,
                  reshape(weight.bind(x.tape()), {folded_outputs, weight.shape().size() / folded_outputs}));
  }
};

/// The same function of a matrix with a row for each index of one axis.
struct Transposed : nn::Layer<double> {
  nn::Parameter<double> weight;
  Tensor<double> places;

  Transposed(const Tensor<double>& values, Index axis)
      : weight(Shape{values.shape()[axis], values.size() / values.shape()[axis]}),
        places({values.size(), values.size()}) {
    for (Index i = 0; i < values.size(); ++i) {
      const Index place = place_with_axis_first(values.shape(), axis, i);
      weight.value()[place] = values[i];
      places[place * values.size() + i] = 1;
    }
  }
  void visit(nn::Visitor<double>& v) const override { v("weight", weight); }
  Var<double> forward(Var<double> x) const override {
    const Index size = weight.shape().size();
    const Var<double> row = reshape(weight.bind(x.tape()), {1, size});
    return affine(x,
                  reshape(matmul(row, x.tape().constant(places)), {folded_outputs, size / folded_outputs}));
  }
};

data::Dataset<double> folded_data() {
  return {normal_tensor<double>({60, 12}, 5), normal_tensor<double>({60, folded_outputs}, 6), {}, {}};
}

/// Calls f(shape, axis) for every axis of every weight.
template <class F> void for_axes(const F& f) {
  for (const Shape& shape : shapes_of_weights) {
    for (Index axis = 0; axis < shape.rank(); ++axis) {
      CAPTURE(shape);
      CAPTURE(axis);
      f(shape, axis);
    }
  }
}

/// Weights with some groups of zeros, factorized.
struct Pair {
  Folded folded;
  Transposed transposed;

  Pair(const Shape& shape, Index axis, const sparsity::FactorizeOptions& options = {})
      : Pair(values(shape, axis), axis, options) {}

 private:
  static Tensor<double> values(const Shape& shape, Index axis) {
    Tensor<double> result = normal_tensor<double>(shape, 7);
    for (Index i = 0; i < shape.size(); ++i) {
      if (indices_of(shape, i)[static_cast<std::size_t>(axis)] % 3 == 1) result[i] = 0;
    }
    return result;
  }
  Pair(const Tensor<double>& values, Index axis, const sparsity::FactorizeOptions& options)
      : folded(values), transposed(values, axis) {
    sparsity::factorize(folded, Groups::axis(axis), options);
    sparsity::factorize(transposed, Groups::outputs, options);
  }
};

void check_same_layers(const sparsity::NetworkCertificate& a, const sparsity::NetworkCertificate& b) {
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-13));
  CHECK(a.penalty == doctest::Approx(b.penalty).epsilon(1e-13));
  REQUIRE(a.layers.size() == b.layers.size());
  for (std::size_t k = 0; k < a.layers.size(); ++k) {
    const sparsity::LayerCertificate &x = a.layers[k], &y = b.layers[k];
    CHECK(x.zero == y.zero);
    CHECK(x.nonzero == y.nonzero);
    CHECK(x.violated_zero == y.violated_zero);
    CHECK(x.violated_nonzero == y.violated_nonzero);
    CHECK(x.revivable == y.revivable);
    CHECK(x.worst_zero == doctest::Approx(y.worst_zero).epsilon(1e-12));
    CHECK(x.worst_nonzero == doctest::Approx(y.worst_nonzero).epsilon(1e-12));
  }
}

void check_same_weights(const Pair& pair, Index axis) {
  const Tensor<double> a = pair.folded.weight.materialize(), b = pair.transposed.weight.materialize();
  double apart = 0;
  for (Index i = 0; i < a.size(); ++i) {
    apart = std::max(apart, std::abs(a[i] - b[place_with_axis_first(a.shape(), axis, i)]));
  }
  CHECK(apart < 1e-12);
}

}  // namespace

TEST_CASE("groups of any axis: penalty and certificate are those of loops over all indices") {
  const auto data = folded_data();
  const double alpha = 0.03;
  for_axes([&](const Shape& shape, Index axis) {
    Pair pair(shape, axis,
              {.weights = sparsity::GroupWeights::sqrt_size, .start = sparsity::Start::balanced});
    const Tensor<double> w = pair.folded.weight.materialize();
    Folded plain(w);
    Tape<double> tape;
    const auto loss = mse_loss(plain(tape.constant(data.x)), tape.constant(data.y));
    tape.backward(loss);
    const View<const double> g = std::as_const(plain.weight).gradient();

    const auto certificate = sparsity::certify(pair.folded, data, nn::mse_loss, alpha, 0.5);
    sparsity::LayerCertificate expected;
    double penalty = 0;
    for (Index group = 0; group < shape[axis]; ++group) {
      double size = 0, norm = 0, steep = 0, residual = 0;
      const auto for_group = [&](const auto& f) {
        for (Index i = 0; i < shape.size(); ++i) {
          if (indices_of(shape, i)[static_cast<std::size_t>(axis)] == group) f(w[i], g[i]);
        }
      };
      for_group([&](double x, double slope) { size += 1, norm += x * x, steep += slope * slope; });
      norm = std::sqrt(norm);
      const double price = alpha * std::sqrt(size);
      for_group([&](double x, double slope) { residual += std::pow(slope + price * x / norm, 2); });
      penalty += price * norm;
      if (norm == 0) {
        ++expected.zero;
        expected.worst_zero = std::max(expected.worst_zero, std::sqrt(steep) / price - 1);
        expected.violated_zero += std::sqrt(steep) / price - 1 > 0.5;
      } else {
        ++expected.nonzero;
        expected.worst_nonzero = std::max(expected.worst_nonzero, std::sqrt(residual) / price);
        expected.violated_nonzero += std::sqrt(residual) / price > 0.5;
      }
    }
    const sparsity::LayerCertificate& layer = certificate.layers.at(0);
    CHECK(layer.zero == expected.zero);
    CHECK(layer.zero > 0);
    CHECK(layer.nonzero == expected.nonzero);
    CHECK(layer.violated_zero == expected.violated_zero);
    CHECK(layer.violated_nonzero == expected.violated_nonzero);
    CHECK(layer.worst_zero == doctest::Approx(expected.worst_zero).epsilon(1e-11));
    CHECK(layer.worst_nonzero == doctest::Approx(expected.worst_nonzero).epsilon(1e-11));
    CHECK(certificate.penalty == doctest::Approx(penalty).epsilon(1e-12));
    CHECK(sparsity::effective_penalty(pair.folded, alpha).induced == certificate.penalty);
  });
}

TEST_CASE("groups of any axis: all that is said of them is said of the rows of the transposed weight") {
  const auto data = folded_data();
  const double alpha = 0.03;
  for_axes([&](const Shape& shape, Index axis) {
    for (const double scale : {1e-8, 1.0, 1e8}) {
      CAPTURE(scale);
      Pair pair(shape, axis, {.weights = sparsity::GroupWeights::sqrt_size});
      auto scaled = data;
      for (double& y : scaled.y) y *= scale;
      for (nn::Parameter<double>* weight : {&pair.folded.weight, &pair.transposed.weight}) {
        for (double& u : weight->factors()[0].value()) u *= scale;
      }
      check_same_layers(sparsity::certify(pair.folded, scaled, nn::mse_loss, alpha * scale, 0.5),
                        sparsity::certify(pair.transposed, scaled, nn::mse_loss, alpha * scale, 0.5));
    }
    Pair pair(shape, axis, {.weights = sparsity::GroupWeights::sqrt_size});
    const auto of = [&](auto& model) {
      return sparsity::imbalance(model, data, nn::mse_loss, {.alpha = alpha});
    };
    const auto a = of(pair.folded), b = of(pair.transposed);
    CHECK(a.at(0).groups == b.at(0).groups);
    CHECK(a[0].groups > 0);
    CHECK(a[0].largest == doctest::Approx(b[0].largest).epsilon(1e-12));
    CHECK(a[0].steps_until_balanced == doctest::Approx(b[0].steps_until_balanced).epsilon(1e-12));
    CHECK(a[0].decaying == b[0].decaying);
    CHECK(a[0].steps_until_gone == doctest::Approx(b[0].steps_until_gone).epsilon(1e-12));

    const double small = 1e-3;
    const Index revived = sparsity::revive(pair.folded, data, nn::mse_loss, small);
    CHECK(revived > 0);
    CHECK(sparsity::revive(pair.transposed, data, nn::mse_loss, small) == revived);
    check_same_weights(pair, axis);

    const double large = 0.05;
    const auto step = sparsity::proximal_step(pair.folded, data, nn::mse_loss, large);
    const auto other = sparsity::proximal_step(pair.transposed, data, nn::mse_loss, large);
    CHECK(step.step == other.step);
    CHECK(step.zero == other.zero);
    CHECK(step.nonzero == other.nonzero);
    CHECK(step.zero + step.nonzero == shape[axis]);
    CHECK(step.objective_after <= step.objective_before);
    check_same_weights(pair, axis);
    const auto penalty = sparsity::effective_penalty(pair.folded, large);
    CHECK(penalty.decay == doctest::Approx(penalty.induced).epsilon(1e-12));
  });
}

TEST_CASE("groups of any axis: a path of networks") {
  const auto data = folded_data();
  sparsity::NetworkPathOptions<double> options;
  options.alphas = {0.02, 0.1};
  options.lr = 1e-2;
  options.fit = {.epochs = 300, .batch_size = 60, .progress = train::Progress::quiet};
  const Pair pair({4, 3, 2, 2}, 1);
  nn::Sequential<double> folded(pair.folded), transposed(pair.transposed);
  const auto a = sparsity::network_path(folded, data, data, nn::mse_loss, options);
  const auto b = sparsity::network_path(transposed, data, data, nn::mse_loss, options);
  REQUIRE(a.size() == 2);
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(a[k].certificate.tested() == 3);
    CHECK(a[k].certificate.layers.at(0).zero == b[k].certificate.layers.at(0).zero);
    CHECK(a[k].loss == doctest::Approx(b[k].loss).epsilon(1e-6));
  }
}

TEST_CASE("groups of any axis: masks hold groups in the middle") {
  const auto data = folded_data();
  Pair pair({4, 3, 2, 2}, 1);
  const nn::Groups::Blocks blocks = Groups::channels.blocks({4, 3, 2, 2});
  pair.folded.prune("weight", Mask::free({4, 3, 2, 2}, [&](Index i) { return blocks.group_of(i) != 2; }));
  const Tensor<double> before = pair.folded.weight.materialize();
  for (Index i = 0; i < before.size(); ++i) {
    if (blocks.group_of(i) == 2) CHECK(before[i] == 0);
  }
  const auto certificate = sparsity::certify(pair.folded, data, nn::mse_loss, 0.03);
  CHECK(certificate.layers.at(0).frozen == 1);
  CHECK(certificate.tested() == 2);
  const auto step = sparsity::proximal_step(pair.folded, data, nn::mse_loss, 0.03);
  CHECK(step.zero + step.nonzero == 2);
  const Tensor<double> after = pair.folded.weight.materialize();
  for (Index i = 0; i < after.size(); ++i) {
    if (blocks.group_of(i) == 2) CHECK(after[i] == 0);
  }
}

TEST_CASE("groups of any axis: the minimum that the exact solver proves is certified, and no other point") {
  const auto data = folded_data();
  const Index n = data.rows(), k = folded_outputs, p = 12;
  const double alpha = 0.06;
  // As one long regression, whose loss is half the mean square.
  Eigen::MatrixXd design = Eigen::MatrixXd::Zero(n * k, p * k);
  Eigen::VectorXd target(n * k);
  for (Index output = 0; output < k; ++output) {
    target.segment(output * n, n) = data.y.matrix().col(output);
    design.block(output * n, output * p, n, p) = data.x.matrix();
  }
  for_axes([&](const Shape& shape, Index axis) {
    const nn::Groups::Blocks blocks = Groups::axis(axis).blocks(shape);
    sparsity::ExactOptions options{.groups = std::vector<Index>(static_cast<std::size_t>(shape.size())),
                                   .intercept = false,
                                   .tolerance = 1e-13};
    for (Index i = 0; i < shape.size(); ++i) options.groups[static_cast<std::size_t>(i)] = blocks.group_of(i);
    // Small enough for some groups and too large for others, whatever their size.
    const double lambda = alpha / 2 * std::sqrt(static_cast<double>(blocks.outer * blocks.inner));
    const auto exact = sparsity::solve_exact(design, target, sparsity::ConvexLoss::squared, lambda, options);
    const auto convex = sparsity::certify(design, target, sparsity::ConvexLoss::squared, lambda,
                                          exact.coefficients, 0, options);
    CHECK(convex.certified(1e-12));
    CHECK(convex.zeros + convex.nonzeros == shape[axis]);

    Tensor<double> best(shape);
    std::copy(exact.coefficients.begin(), exact.coefficients.end(), best.begin());
    const auto certified = [&](const Tensor<double>& w) {
      Folded model(w);
      sparsity::factorize(model, Groups::axis(axis), {.start = sparsity::Start::balanced});
      return sparsity::certify(model, data, nn::mse_loss, 2 * lambda, 1e-3);
    };
    const auto certificate = certified(best);
    CHECK(certificate.holds());
    CHECK(certificate.layers.at(0).zero == convex.zeros);
    CHECK(certificate.objective() == doctest::Approx(2 * exact.objective).epsilon(1e-10));
    Rng rng(4);
    for (int times = 0; times < 5; ++times) {
      Tensor<double> moved = best;
      moved[rng.below(shape.size())] += 0.2;
      CHECK_FALSE(certified(moved).holds());
    }
  });
}
