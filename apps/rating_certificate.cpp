#include "rating_certificate.hpp"

#include <algorithm>
#include <cmath>
#include <taper/autodiff/ops.hpp>
#include <taper/autodiff/random.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/minimize.hpp>
#include <taper/train/evaluate.hpp>

namespace taper::apps {

void polish(nn::FactorizationMachine<float>& machine, const data::Dataset<float>& set, double alpha,
            double decay) {
  Tape<float> tape;
  const Var<float> loss = nn::mse_loss(machine(tape.constant(set.x)), tape.constant(set.y));
  const nn::Parameters<float> parameters = machine.parameters();
  const auto objective = [&] {
    tape.replay();
    tape.backward(loss);
    auto value = static_cast<double>(loss.item());
    for (const auto& entry : parameters.entries()) {
      if (entry.name == "bias") continue;
      const double rate = entry.name == "weight" ? decay : alpha;
      const auto x = parameters.value(entry).vector();
      value += rate / 2 * x.cast<double>().squaredNorm();
      parameters.gradient(entry).vector() += static_cast<float>(rate) * x;
    }
    return value;
  };
  // Measured: dimensions are then stationary to some thousandths of the penalty's slope. Many rows take long,
  // and it is a certificate that says how close it came.
  constexpr Index usual = 160, row_iterations = 16'000'000;
  const double tolerance = 0.4 * alpha / std::sqrt(static_cast<double>(machine.weight.shape()[0]));
  const Index most = std::clamp<Index>(row_iterations / set.rows(), usual, 5 * usual);
  optim::minimize<float>(
      parameters, objective,
      {.method = optim::LBFGS{.history = 20}, .gradient_tolerance = tolerance, .max_iterations = most});
}

NextDimension next_dimension(const nn::FactorizationMachine<float>& machine, const data::Dataset<float>& set,
                             double alpha, double objective) {
  constexpr int rounds = 30, lengths = 400;
  const Index inputs = machine.weight.shape()[0], rows = set.rows();
  const Tensor<float> predicted = train::predict(machine, set.x.view());
  Tensor<float> residual(Shape{rows, 1});
  residual.vector() = set.y.vector() - predicted.vector();

  // z of a direction, and by its backward pass from the residuals the matrix of them times the direction.
  nn::FactorizationMachine<float> direction(machine.field_sizes(), 1);
  std::ranges::fill(direction.weight.value(), 0.0f);
  Rng rng(0);
  for (float& entry : direction.factors.value()) entry = static_cast<float>(rng.normal());
  Tape<float> tape;
  const Var<float> z = direction(tape.constant(set.x));
  auto v = direction.factors.value().vector();
  v.normalize();
  const auto times_matrix = [&] {
    tape.replay();
    tape.backward(z, residual.view());
    return Eigen::VectorXf(direction.factors.gradient().vector());
  };
  // The largest magnitude of an eigenvalue first, by which all are shifted to be positive.
  double shift = 0;
  for (int round = 0; round < 2 * rounds; ++round) {
    Eigen::VectorXf next = times_matrix();
    if (round < rounds) {
      shift = static_cast<double>(next.norm());
    } else {
      next += static_cast<float>(shift) * v;
    }
    if (!(next.norm() > 0)) return {0, objective};
    v = next.normalized();
  }
  tape.replay();
  const Eigen::VectorXd products = z.value().vector().cast<double>();
  const auto n = static_cast<double>(rows);
  const double c = products.dot(residual.vector().cast<double>()) / n, d = products.squaredNorm() / n;
  NextDimension result{0, objective};
  if (!(c > 0 && d > 0) || inputs == 0) return result;
  const double longest = 1.5 * std::sqrt(c / d);  // where the loss is the least, at 1
  for (int k = 1; k <= lengths; ++k) {
    const double t = longest * k / lengths, squared = t * t;
    result.gain = std::max(result.gain, 2 * c * squared - d * squared * squared - alpha * t);
  }
  return result;
}

}  // namespace taper::apps
