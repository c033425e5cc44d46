#include <algorithm>
#include <cmath>
#include <set>

#include <taper/sparsity/convex_certificate.hpp>
#include <taper/sparsity/exact.hpp>
#include <taper/sparsity/features/engine.hpp>

namespace taper::sparsity::features {
namespace {

using ColumnMajor = Eigen::Map<const Eigen::MatrixXd>;

/// Lasso and L1 logistic regression.
class LinearEngine : public Engine {
 public:
  LinearEngine(const Problem& problem, const FeatureRows& rows) : problem_(problem), rows_(rows) {
    const std::size_t n = rows.train.size(), p = problem.column.size();
    x_.reserve(n * p);
    for (Index j = 0; j < problem.columns(); ++j) {
      for (const Index i : rows.train) x_.push_back(problem.values(j)[i]);
    }
    for (const Index i : rows.train) y_.push_back(problem.y[static_cast<std::size_t>(i)]);
    // The groups of this problem, without features that cannot be chosen.
    std::vector<Index> present = problem.feature_of;
    std::ranges::sort(present);
    present.erase(std::unique(present.begin(), present.end()), present.end());
    if (present.size() == p) return;
    options_.weights.assign(present.size(), 0);
    for (const Index feature : problem.feature_of) {
      const Index group = std::ranges::lower_bound(present, feature) - present.begin();
      options_.groups.push_back(group);
      options_.weights[static_cast<std::size_t>(group)] += 1;
    }
    for (double& weight : options_.weights) weight = std::sqrt(weight);
  }

  bool rises() const override { return false; }
  double first_penalty() const override {
    return factor() * lambda_max(design(), target(), loss(), options_);
  }
  double ratio() const override { return std::pow(1e-3, 1.0 / 59); }
  double smallest() const override { return 1e-3; }

  Fit fit(double penalty, const Fit* from) override {
    ExactOptions options = options_;
    if (from != nullptr) {
      options.start = solutions_[from->id].coefficients;
      options.start_intercept = solutions_[from->id].intercept;
    }
    Fit result;
    result.penalty = penalty;
    result.id = solutions_.size();
    solutions_.push_back(solve_exact(design(), target(), loss(), penalty / factor(), options));
    const ExactSolution& solution = solutions_.back();
    result.train_loss = factor() * solution.loss;
    for (Index j = 0; j < problem_.columns(); ++j) {
      const double w = solution.coefficients[static_cast<std::size_t>(j)];
      if (w == 0) continue;
      result.columns.push_back(j);
      result.norms.push_back(std::abs(w));
    }
    for (const Index i : rows_.validation) {
      double z = solution.intercept;
      for (const Index j : result.columns) {
        z += solution.coefficients[static_cast<std::size_t>(j)] * problem_.values(j)[i];
      }
      result.losses.push_back(row_loss(problem_, &z, problem_.y[static_cast<std::size_t>(i)]));
    }
    return result;
  }

  FeatureCertificate certify(const std::vector<Index>& columns, const Fit& from) override {
    const auto p = static_cast<std::size_t>(problem_.columns());
    ExactOptions options = options_;
    std::set<Index> chosen;
    for (const Index j : columns) chosen.insert(problem_.feature_of[static_cast<std::size_t>(j)]);
    const auto is_chosen = [&](Index j) {
      return chosen.contains(problem_.feature_of[static_cast<std::size_t>(j)]);
    };
    std::vector<double> start = solutions_[from.id].coefficients;
    for (std::size_t j = 0; j < p; ++j) {
      if (!is_chosen(static_cast<Index>(j))) start[j] = 0;
    }
    options.mask = Mask::free(Shape{problem_.columns()}, is_chosen);
    options.start = start;
    options.start_intercept = solutions_[from.id].intercept;
    const double lambda = from.penalty / factor();
    const ExactSolution alone = solve_exact(design(), target(), loss(), lambda, options);
    const ConvexCertificate judged =
        sparsity::certify(design(), target(), loss(), lambda, alone.coefficients, alone.intercept, options_);
    FeatureCertificate result;
    result.penalty = from.penalty;
    result.left_out = problem_.offered - static_cast<Index>(chosen.size());
    result.relative_gap = judged.relative_gap;
    find_violated(alone, lambda, chosen, result);
    return result;
  }

 private:
  /// The features left out whose slope is above the penalty.
  void find_violated(const ExactSolution& alone, double lambda, const std::set<Index>& chosen,
                     FeatureCertificate& result) const {
    const std::size_t n = y_.size();
    Eigen::VectorXd residual(static_cast<Index>(n));
    for (std::size_t i = 0; i < n; ++i) {
      double z = alone.intercept;
      for (std::size_t j = 0; j < alone.coefficients.size(); ++j) {
        if (alone.coefficients[j] != 0) z += alone.coefficients[j] * x_[j * n + i];
      }
      const double mean = problem_.classes > 0 ? 1 / (1 + std::exp(-z)) : z;
      residual[static_cast<Index>(i)] = (y_[i] - mean) / static_cast<double>(n);
    }
    const Eigen::VectorXd slope = design_map().transpose() * residual;
    std::vector<double> squares(static_cast<std::size_t>(problem_.features)), sizes(squares.size());
    for (std::size_t j = 0; j < problem_.feature_of.size(); ++j) {
      const auto f = static_cast<std::size_t>(problem_.feature_of[j]);
      squares[f] += slope[static_cast<Index>(j)] * slope[static_cast<Index>(j)];
      sizes[f] += 1;
    }
    for (std::size_t f = 0; f < squares.size(); ++f) {
      if (chosen.contains(static_cast<Index>(f))) continue;
      if (std::sqrt(squares[f]) > 1.01 * lambda * std::sqrt(sizes[f])) {
        result.violated.push_back(static_cast<Index>(f));
      }
    }
  }

  ColumnMajor design_map() const { return {x_.data(), static_cast<Index>(y_.size()), problem_.columns()}; }
  Design design() const { return design_map(); }
  Eigen::Map<const Eigen::VectorXd> target() const { return {y_.data(), static_cast<Index>(y_.size())}; }
  ConvexLoss loss() const { return problem_.classes > 0 ? ConvexLoss::logistic : ConvexLoss::squared; }
  /// The exact solver's squared loss is half the squared error.
  double factor() const { return problem_.classes > 0 ? 1 : 2; }

  const Problem& problem_;
  const FeatureRows& rows_;
  std::vector<double> x_, y_;
  ExactOptions options_;
  std::vector<ExactSolution> solutions_;
};

}  // namespace

std::unique_ptr<Engine> make_linear_engine(const Problem& problem, const FeatureRows& rows) {
  return std::make_unique<LinearEngine>(problem, rows);
}

}  // namespace taper::sparsity::features
