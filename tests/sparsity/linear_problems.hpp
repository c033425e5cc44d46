#pragma once

#include <Eigen/Core>
#include <cmath>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/data/dataset.hpp>
#include <taper/nn/layers/linear.hpp>
#include <taper/sparsity/exact.hpp>
#include <taper/sparsity/factorize.hpp>

/// Least squares with several outputs and a group lasso on the weight of one linear layer: convex, so that
/// the exact solver knows its minimum.
struct LinearProblem {
  using MatrixXd = Eigen::MatrixXd;
  using Index = taper::Index;
  using Groups = taper::sparsity::Groups;

  LinearProblem(Index rows, Index inputs, Index outputs, Groups kind, taper::Rng& rng)
      : n(rows), p(inputs), k(outputs), groups(kind), x(n, p), y(n, k) {
    for (double& entry : x.reshaped()) entry = rng.normal();
    MatrixXd truth = MatrixXd::Zero(k, p);
    truth.col(0).head(k - 1).setConstant(1);
    truth(0, 1) = -1.5;
    y = x * truth.transpose();
    for (double& entry : y.reshaped()) entry += 0.3 * rng.normal();
    data = {taper::Tensor<double>({n, p}), taper::Tensor<double>({n, k}), {}, {}};
    data.x.matrix() = x;
    data.y.matrix() = y;
  }

  Index group(Index output, Index input) const {
    return groups == Groups::elements ? output * p + input : groups == Groups::inputs ? input : output;
  }
  Index group_count() const { return groups == Groups::elements ? k * p : groups == Groups::inputs ? p : k; }

  double objective(const MatrixXd& w, double alpha) const {
    const double norms = groups == Groups::elements ? w.cwiseAbs().sum()
                         : groups == Groups::inputs ? w.colwise().norm().sum()
                                                    : w.rowwise().norm().sum();
    return (y - x * w.transpose()).squaredNorm() / static_cast<double>(n * k) + alpha * norms;
  }

  /// As one long regression: the mean square is twice the solver's loss.
  MatrixXd minimizer(double alpha) const {
    using namespace taper::sparsity;
    MatrixXd design = MatrixXd::Zero(n * k, p * k);
    Eigen::VectorXd target(n * k);
    ExactOptions options{.groups = std::vector<Index>(static_cast<std::size_t>(p * k)),
                         .intercept = false,
                         .tolerance = 1e-14};
    for (Index output = 0; output < k; ++output) {
      target.segment(output * n, n) = y.col(output);
      for (Index input = 0; input < p; ++input) {
        design.block(output * n, output * p + input, n, 1) = x.col(input);
        options.groups[static_cast<std::size_t>(output * p + input)] = group(output, input);
      }
    }
    const ExactSolution solution = solve_exact(design, target, ConvexLoss::squared, alpha / 2, options);
    return Eigen::Map<const MatrixXd>(solution.coefficients.data(), p, k).transpose();
  }

  /// The layer with balanced factors that compute to this weight.
  taper::nn::Linear<double> model(const MatrixXd& w) const {
    taper::nn::Linear<double> result(p, k, false);
    taper::sparsity::factorize(result, groups);
    std::vector<double> norms(static_cast<std::size_t>(group_count()), 0.0);
    const auto at = [&](Index i, Index j) -> double& { return norms[static_cast<std::size_t>(group(i, j))]; };
    for (Index i = 0; i < k; ++i) {
      for (Index j = 0; j < p; ++j) at(i, j) = std::hypot(at(i, j), w(i, j));
    }
    for (Index i = 0; i < k; ++i) {
      for (Index j = 0; j < p; ++j) {
        const double gate = std::sqrt(at(i, j));
        result.weight.factors()[0].value().matrix()(i, j) = gate > 0 ? w(i, j) / gate : 0;
        result.weight.factors()[1].value()[group(i, j)] = gate;
      }
    }
    return result;
  }

  Index n, p, k;
  Groups groups;
  MatrixXd x, y;
  taper::data::Dataset<double> data;
};
