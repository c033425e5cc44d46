#include <taper/sparsity/exact_path.hpp>

#include <cmath>

#include <taper/autodiff/random.hpp>

#include "../check.hpp"
#include "exact_problems.hpp"

using namespace taper;
using namespace sparsity;
using Eigen::VectorXd;

TEST_CASE("a path has the solutions that each lambda has from a cold start") {
  Rng rng(1);
  for (int combination = 0; combination < 8; ++combination) {
    const bool sparse = (combination & 2) != 0;
    Case test(50, 80, (combination & 1) != 0 ? ConvexLoss::logistic : ConvexLoss::squared, rng);
    test.options.tolerance = 1e-11;
    if ((combination & 4) != 0) {
      for (Index j = 0; j < 80; ++j) test.options.groups.push_back(j / 4);
      test.options.ratio = 0.8;
      test.options.mask = Mask::frozen({80}, {0, 1, 2, 3, 11});
      test.options.start.assign(80, 0.0);
      test.options.start[2] = 0.5;
    }
    const LambdaGrid grid{.count = 12, .smallest = 0.05};
    const Eigen::SparseMatrix<double> columns = test.sparse();
    const Design design = sparse ? Design(columns) : Design(test.x);
    const std::vector<ExactSolution> path = exact_path(design, test.y, test.loss, grid, test.options);
    REQUIRE(path.size() == 12);
    const double top = lambda_max(design, test.y, test.loss, test.options);
    CHECK(path[0].lambda == doctest::Approx(top).epsilon(1e-14));
    CHECK(path[11].lambda == doctest::Approx(0.05 * top).epsilon(1e-14));
    CHECK(path[5].lambda / path[4].lambda == doctest::Approx(path[9].lambda / path[8].lambda).epsilon(1e-13));
    for (const ExactSolution& point : path) {
      INFO("combination ", combination, ", lambda ", point.lambda);
      const ExactSolution cold = solve_exact(design, test.y, test.loss, point.lambda, test.options);
      CHECK(point.converged);
      CHECK(std::abs(point.objective - cold.objective) < 1e-11);
      for (std::size_t j = 0; j < 80; ++j) {
        CHECK(std::abs(point.coefficients[j] - cold.coefficients[j]) < 1e-4);
        CHECK((point.coefficients[j] == 0) == (cold.coefficients[j] == 0));
      }
    }
  }
}

TEST_CASE("a long path of many columns: scores that are bounded and not computed change no answer") {
  Rng rng(11);
  for (int combination = 0; combination < 64; ++combination) {
    const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
    Case test(30, 240, has(0) ? ConvexLoss::logistic : ConvexLoss::squared, rng);
    if (has(1)) test.x.array() += 2;  // the intercept counts
    ExactOptions& options = test.options;
    options.tolerance = has(2) ? 1e-3 : 1e-8;
    options.intercept = has(1);
    if (has(3)) options.ratio = 0.7;
    if (has(4)) {
      for (Index j = 0; j < 240; ++j) options.groups.push_back(j % 80);
      for (Index g = 0; g < 80; ++g) options.weights.push_back(g == 5 ? 0 : rng.uniform(0.5, 2));
    }
    for (int i = 0; i < 30; ++i) options.sample_weights.push_back(i == 7 ? 0 : rng.uniform(0.1, 2));
    const Eigen::SparseMatrix<double> columns = test.sparse();
    const Design design = has(5) ? Design(columns) : Design(test.x);
    const LambdaGrid grid{.count = 40, .smallest = 0.05};
    ExactOptions tight = options;
    tight.tolerance = 1e-11;
    for (const ExactSolution& point : exact_path(design, test.y, test.loss, grid, options)) {
      INFO("combination ", combination, ", lambda ", point.lambda);
      CHECK(point.converged);
      const ExactSolution best = solve_exact(design, test.y, test.loss, point.lambda, tight);
      CHECK(best.converged);
      const double excess = point.objective - best.objective;
      CHECK(excess >= -best.gap);
      CHECK(excess <= point.gap);
      CHECK(point.gap <= options.tolerance * point.null_objective * (1 + 1e-12));
    }
  }
}

TEST_CASE("cross-validation holds each row out once, as solving by hand would") {
  Rng rng(2);
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    // Without the row of weight 0, leaving one out each: which fold is which does not matter.
    Case test(13, 4, loss, rng);
    test.options.tolerance = 1e-12;
    test.options.sample_weights.assign(13, 1.0);
    test.options.sample_weights[5] = 0;
    test.y[0] = test.y[1] = 0, test.y[2] = test.y[3] = 1;  // enough of both classes
    const LambdaGrid grid{.lambdas = {0.2, 0.05}};
    const CrossValidation result =
        cross_validate(test.x, test.y, loss, {.folds = 12, .seed = 7}, grid, test.options);
    CHECK(result.lambdas == grid.lambdas);
    for (Index k = 0; k < 2; ++k) {
      const double lambda = grid.lambdas[static_cast<std::size_t>(k)];
      std::vector<double> losses;
      VectorXd nonzero = VectorXd::Zero(4);
      for (Index row = 0; row < 13; ++row) {
        if (row == 5) continue;
        ExactOptions options = test.options;
        options.sample_weights[static_cast<std::size_t>(row)] = 0;
        const ExactSolution solution = solve_exact(test.x, test.y, loss, lambda, options);
        const VectorXd w = Eigen::Map<const VectorXd>(solution.coefficients.data(), 4);
        const double z = test.x.row(row).dot(w) + solution.intercept, y = test.y[row];
        losses.push_back(loss == ConvexLoss::squared ? (y - z) * (y - z) / 2
                                                     : std::log1p(std::exp(z)) - y * z);
        nonzero += (w.array() != 0).cast<double>().matrix() / 12;
      }
      const Eigen::Map<const VectorXd> all(losses.data(), 12);
      const double mean = all.mean(), error = std::sqrt((all.array() - mean).square().sum() / 11 / 12);
      CHECK(result.loss[static_cast<std::size_t>(k)] == doctest::Approx(mean).epsilon(1e-5));
      CHECK(result.standard_error[static_cast<std::size_t>(k)] == doctest::Approx(error).epsilon(1e-5));
      for (Index j = 0; j < 4; ++j) CHECK(result.stability_at(k, j) == doctest::Approx(nonzero[j]));
    }
  }
}

TEST_CASE("cross-validation chooses, depends on its seed alone, and knows what is stable") {
  Rng rng(3);
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    Case test(200, 30, loss, rng);
    const LambdaGrid grid{.count = 20};
    const CrossValidation one = cross_validate(test.x, test.y, loss, {.seed = 1}, grid);
    const CrossValidation again = cross_validate(test.x, test.y, loss, {.seed = 1}, grid);
    const CrossValidation other = cross_validate(test.x, test.y, loss, {.seed = 2}, grid);
    CHECK(one.loss == again.loss);
    CHECK(one.stability == again.stability);
    CHECK(one.loss != other.loss);
    REQUIRE(one.path.size() == 20);
    const auto best = static_cast<std::size_t>(one.best),
               chosen = static_cast<std::size_t>(one.one_standard_error);
    CHECK(one.best > 0);
    CHECK(chosen <= best);
    CHECK(*std::ranges::min_element(one.loss) == one.loss[best]);
    CHECK(one.loss[chosen] <= one.loss[best] + one.standard_error[best]);
    if (chosen > 0) CHECK(one.loss[chosen - 1] > one.loss[best] + one.standard_error[best]);
    // The three columns that the targets depend on.
    for (const Index j : {0, 1, 15}) CHECK(one.stability_at(one.one_standard_error, j) == 1);
    Index unstable = 0;
    for (Index j = 0; j < 30; ++j) unstable += one.stability_at(one.one_standard_error, j) < 0.5;
    CHECK(unstable > 10);
  }
}

TEST_CASE("bad grids and folds are refused with a reason") {
  Rng rng(4);
  const Case good(20, 4, ConvexLoss::logistic, rng);
  const auto path = [&](const LambdaGrid& grid) { return exact_path(good.x, good.y, good.loss, grid); };
  CHECK_ERROR(path({.count = 0}), "[exact_path] 0 values", "1 or more");
  CHECK_ERROR(path({.smallest = 0}), "smallest share 0");
  CHECK_ERROR(path({.smallest = 1}), "smallest share 1");
  CHECK_ERROR(path({.lambdas = {0.1, 0.2}}), "lambda 0.2 after 0.1", "fall");
  CHECK_ERROR(path({.lambdas = {0.1, -0.2}}), "lambda -0.2", "0 or more");
  CHECK_ERROR(exact_path(good.x, good.y, good.loss, {}, {.ratio = 0}), "ratio 0");
  CHECK_ERROR(exact_path(good.x, good.y, good.loss, {}, {.mask = Mask::all_frozen({4})}), "lambda_max 0");
  CHECK_ERROR(lambda_grid(good.x, good.y, good.loss, {.count = -3}), "[lambda_grid] -3 values");
  const auto folds = [&](Index count) { return cross_validate(good.x, good.y, good.loss, {.folds = count}); };
  CHECK_ERROR(folds(1), "[cross_validate] 1 folds of 20 rows", "2 to 20");
  CHECK_ERROR(folds(21), "21 folds");
  VectorXd lonely = VectorXd::Zero(20);
  lonely[3] = 1;  // the fold that holds it out has one class left
  CHECK_ERROR(cross_validate(good.x, lonely, good.loss), "[cross_validate] all labels 1 in fold",
              "none is left");
  CHECK(path({.count = 1}).size() == 1);
}

TEST_CASE("folds can be given: the same as by hand, with error, area under the curve and convergence") {
  Rng rng(5);
  Case test(60, 8, ConvexLoss::logistic, rng);
  test.options.tolerance = 1e-11;
  std::vector<Index> fold_of;
  for (Index i = 0; i < 60; ++i) fold_of.push_back(i < 10 ? -1 : i % 3);
  const LambdaGrid grid{.lambdas = {0.05, 0.01}};
  Index calls = 0, last = 0;
  const auto progress = [&](Index done, Index total) {
    ++calls;
    last = done;
    CHECK(total == 8);
  };
  const CrossValidation result = cross_validate(
      test.x, test.y, test.loss, {.fold_of = fold_of, .progress = progress}, grid, test.options);
  CHECK(calls == 8);
  CHECK(last == 8);
  CHECK(result.folds == 3);
  for (std::size_t k = 0; k < 2; ++k) {
    double loss = 0, error = 0, auc = 0;
    for (Index fold = 0; fold < 3; ++fold) {
      ExactOptions options = test.options;
      for (const Index of : fold_of) options.sample_weights.push_back(of == fold ? 0 : 1);
      const ExactSolution solution = solve_exact(test.x, test.y, test.loss, grid.lambdas[k], options);
      double count = 0, losses = 0, wrong = 0, right_pairs = 0, pairs = 0;
      VectorXd z = test.x * Eigen::Map<const VectorXd>(solution.coefficients.data(), 8);
      z.array() += solution.intercept;
      for (Index i = 0; i < 60; ++i) {
        if (fold_of[static_cast<std::size_t>(i)] != fold) continue;
        ++count;
        losses += std::log1p(std::exp(z[i])) - test.y[i] * z[i];
        wrong += (z[i] > 0) != (test.y[i] > 0);
        for (Index j = 0; j < 60; ++j) {
          if (fold_of[static_cast<std::size_t>(j)] != fold || test.y[i] == 0 || test.y[j] == 1) continue;
          ++pairs;
          right_pairs += z[i] > z[j] ? 1 : z[i] == z[j] ? 0.5 : 0;
        }
      }
      loss += losses / count / 3;
      error += wrong / count / 3;
      auc += right_pairs / pairs / 3;
    }
    CHECK(result.loss[k] == doctest::Approx(loss).epsilon(1e-6));
    CHECK(result.deviance[k] == doctest::Approx(2 * loss).epsilon(1e-6));
    CHECK(result.error[k] == doctest::Approx(error));
    CHECK(result.auc[k] == doctest::Approx(auc));
    CHECK(result.unconverged[k] == 0);
    CHECK(result.fold_gap[k] <= 1e-11);
  }
  test.options.max_iterations = 1;
  const auto cut_off = cross_validate(test.x, test.y, test.loss, {.fold_of = fold_of}, grid, test.options);
  CHECK(cut_off.unconverged[1] == 3);
  CHECK(cut_off.fold_gap[1] > 1e-11);
  CHECK(cross_validate(test.x, test.x.col(0), ConvexLoss::squared).auc.empty());
}

TEST_CASE("folds scale columns by the rows they train on") {
  Rng rng(6);
  Case test(50, 6, ConvexLoss::squared, rng);
  test.options.standardize = true;
  test.options.tolerance = 1e-11;
  std::vector<Index> fold_of;
  for (Index i = 0; i < 50; ++i) fold_of.push_back(i % 2);
  // The rows of the first fold are of another size: what the other one learns must not know.
  for (Index i = 0; i < 50; i += 2) test.x.row(i) *= 10;
  const LambdaGrid grid{.lambdas = {0.1}};
  const auto result = cross_validate(test.x, test.y, test.loss, {.fold_of = fold_of}, grid, test.options);
  double loss = 0;
  for (Index fold = 0; fold < 2; ++fold) {
    Eigen::MatrixXd x(25, 6);
    VectorXd y(25);
    for (Index i = 0; i < 25; ++i) {
      x.row(i) = test.x.row(2 * i + 1 - fold);
      y[i] = test.y[2 * i + 1 - fold];
    }
    const ExactSolution solution = solve_exact(x, y, test.loss, 0.1, test.options);
    for (Index i = fold; i < 50; i += 2) {
      const double z = test.x.row(i).dot(Eigen::Map<const VectorXd>(solution.coefficients.data(), 6));
      loss += (test.y[i] - z - solution.intercept) * (test.y[i] - z - solution.intercept) / 2 / 50;
    }
  }
  CHECK(result.loss[0] == doctest::Approx(loss).epsilon(1e-8));
}

TEST_CASE(
    "bad folds are refused with a reason, a fold without a class apart from labels that are all alike") {
  Rng rng(7);
  const Case good(20, 4, ConvexLoss::logistic, rng);
  const auto with = [&](const std::vector<Index>& folds, const VectorXd& y) {
    return cross_validate(good.x, y, good.loss, {.fold_of = folds});
  };
  std::vector<Index> folds(20, 0);
  CHECK_ERROR(with({0, 1}, good.y), "[cross_validate] 2 numbers of folds", "expected 20");
  CHECK_ERROR(with(folds, good.y), "1 folds", "2 or more");
  folds[3] = 2;
  CHECK_ERROR(with(folds, good.y), "fold 1 of 3 has no row", "without gaps");
  folds[3] = -2;
  CHECK_ERROR(with(folds, good.y), "fold -2 of row 3");
  folds.assign(20, 0);
  for (std::size_t i = 10; i < 20; ++i) folds[i] = 1;
  VectorXd sorted = VectorXd::Zero(20);
  sorted.tail(10).setOnes();
  CHECK_ERROR(with(folds, sorted), "all labels 0 in fold 0", "both classes outside of each fold");
  CHECK_ERROR(with(folds, VectorXd::Zero(20)), "labels that are all 0");
}
