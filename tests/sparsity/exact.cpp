#include <taper/sparsity/exact.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include <taper/autodiff/random.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>

#include "../check.hpp"
#include "../data/files.hpp"
#include "exact_problems.hpp"

using namespace taper;
using namespace sparsity;
using Eigen::MatrixXd;
using Eigen::VectorXd;

TEST_CASE("the exact solver finds what proximal gradient steps find, in every combination") {
  Rng rng(1);
  for (int combination = 0; combination < 256; ++combination) {
    const auto has = [&](int bit) { return (combination >> bit & 1) != 0; };
    const Case test = combination_of(combination, 1e-12, rng);
    const ExactOptions& options = test.options;
    const double lambda = 0.05;
    INFO("combination ", combination);
    const ExactSolution solution = has(6) ? solve_exact(test.sparse(), test.y, test.loss, lambda, options)
                                          : solve_exact(test.x, test.y, test.loss, lambda, options);
    CHECK(solution.converged);
    CHECK(solution.relative_gap <= 1e-12);
    const Point naive = test.proximal_gradient(lambda, 20'000);
    const Point exact{Eigen::Map<const VectorXd>(solution.coefficients.data(), 12), solution.intercept};
    CHECK(test.objective(exact, lambda) == doctest::Approx(solution.objective).epsilon(1e-13));
    CHECK(test.objective(naive, lambda) >= solution.objective - 1e-12);
    CHECK((naive.w - exact.w).cwiseAbs().maxCoeff() < 1e-5);
    CHECK(std::abs(naive.b - exact.b) < 1e-5);
    CHECK(test.violation(exact, lambda) < 1e-5);
    for (Index j = 0; j < 12; ++j) {
      if (options.mask && options.mask->is_frozen(j))
        CHECK(exact.w[j] == options.start[static_cast<std::size_t>(j)]);
    }
    if (!options.intercept) CHECK(solution.intercept == options.start_intercept);
  }
}

TEST_CASE("with an orthogonal design the lasso is a soft threshold") {
  const Index n = 8;
  Rng rng(2);
  VectorXd y(n);
  for (double& entry : y) entry = rng.normal();
  // x'x / n = 1.
  const MatrixXd x = std::sqrt(static_cast<double>(n)) * MatrixXd::Identity(n, n);
  const ExactSolution lasso =
      solve_exact(x, y, ConvexLoss::squared, 0.2, {.intercept = false, .tolerance = 1e-15});
  const ExactSolution net =
      solve_exact(x, y, ConvexLoss::squared, 0.2, {.ratio = 0.5, .intercept = false, .tolerance = 1e-15});
  for (Index j = 0; j < n; ++j) {
    const double least_squares = x.col(j).dot(y) / n;
    const auto soft = [&](double by) {
      return std::copysign(std::max(std::abs(least_squares) - by, 0.0), least_squares);
    };
    CHECK(lasso.coefficients[static_cast<std::size_t>(j)] == doctest::Approx(soft(0.2)).epsilon(1e-12));
    CHECK(net.coefficients[static_cast<std::size_t>(j)] == doctest::Approx(soft(0.1) / 1.1).epsilon(1e-12));
  }
}

TEST_CASE("the gap bounds how far the objective is above its minimum") {
  Rng rng(3);
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    for (const double ratio : {1.0, 0.7, 0.0}) {
      Case test(60, 80, loss, rng);
      test.options.ratio = ratio;
      test.options.tolerance = 1e-11;
      const double best = solve_exact(test.x, test.y, loss, 0.02, test.options).objective;
      Index inexact = 0;
      for (const Index passes : {0, 1, 2, 5, 10, 20, 40}) {
        test.options.max_iterations = passes;
        const ExactSolution solution = solve_exact(test.x, test.y, loss, 0.02, test.options);
        INFO("ratio ", ratio, ", passes ", passes);
        CHECK(solution.iterations <= passes);
        CHECK(solution.objective - best <= solution.gap + 1e-11);
        CHECK(solution.converged == (solution.gap <= 1e-11));
        inexact += !solution.converged;
      }
      CHECK(inexact >= 2);
    }
  }
}

TEST_CASE("at lambda_max everything is zero, just below it is not") {
  Rng rng(4);
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    for (const bool grouped : {false, true}) {
      for (const double ratio : {1.0, 0.3}) {
        Case test(50, 12, loss, rng);
        test.options.ratio = ratio;
        test.options.tolerance = 1e-13;
        if (grouped) test.options.groups = {0, 1, 1, 2, 0, 3, 3, 3, 4, 2, 5, 1};
        if (grouped) test.options.weights = {1, 2, 1, 3, 0, 1};
        const double top = lambda_max(test.x, test.y, loss, test.options);
        const auto nonzero = [&](double lambda) {
          ExactSolution solution = solve_exact(test.x, test.y, loss, lambda, test.options);
          if (grouped) solution.coefficients[8] = 0;  // not penalized
          return std::ranges::count_if(solution.coefficients, [](double w) { return w != 0; });
        };
        CHECK(nonzero(top) == 0);
        CHECK(nonzero(1.5 * top) == 0);
        CHECK(nonzero(0.999 * top) > 0);
      }
    }
  }
}

TEST_CASE("a start changes the way and not the result") {
  Rng rng(5);
  Case test(50, 100, ConvexLoss::logistic, rng);
  test.options.tolerance = 1e-12;
  const ExactSolution cold = solve_exact(test.x, test.y, test.loss, 0.03, test.options);
  for (Index j = 0; j < 100; ++j) test.options.start.push_back(rng.normal());
  test.options.start_intercept = -3;
  const ExactSolution warm = solve_exact(test.x, test.y, test.loss, 0.03, test.options);
  CHECK(warm.converged);
  CHECK(warm.objective == doctest::Approx(cold.objective).epsilon(1e-12));
  for (std::size_t j = 0; j < 100; ++j) {
    CHECK((warm.coefficients[j] == 0) == (cold.coefficients[j] == 0));
    CHECK(std::abs(warm.coefficients[j] - cold.coefficients[j]) < 1e-6);
  }
  test.options.start = cold.coefficients;
  test.options.start_intercept = cold.intercept;
  const ExactSolution again = solve_exact(test.x, test.y, test.loss, 0.03, test.options);
  CHECK(again.converged);
  CHECK(again.iterations <= 2);
}

TEST_CASE("hard designs: equal columns, constant ones, large units, few rows") {
  Rng rng(6);
  for (const ConvexLoss loss : {ConvexLoss::squared, ConvexLoss::logistic}) {
    for (const bool sparse : {false, true}) {
      Case test(30, 12, loss, rng);
      test.x.col(1) = test.x.col(0);
      test.x.col(2).setConstant(5);
      test.x.col(3).setZero();
      test.x.col(4) = (test.x.col(4).array() + 1e4).eval();
      test.x.col(5) *= 1e-5;
      test.options.tolerance = 1e-9;
      for (const double lambda : {0.0, 1e-6, 1e-2, 1e3}) {
        if (lambda == 0 && loss == ConvexLoss::logistic) continue;  // may be separable
        INFO("lambda ", lambda, ", sparse ", sparse);
        const ExactSolution solution = sparse ? solve_exact(test.sparse(), test.y, loss, lambda, test.options)
                                              : solve_exact(test.x, test.y, loss, lambda, test.options);
        CHECK(solution.converged);
        CHECK(solution.relative_gap <= 1e-9);
        if (lambda > 0) CHECK(solution.coefficients[2] == 0);
        CHECK(solution.coefficients[3] == 0);
      }
    }
  }
  // One row, no columns, all frozen, and parts of a matrix.
  const Eigen::RowVectorXd row{{1, 2, 3}};
  CHECK(solve_exact(row, VectorXd::Constant(1, 3.0), ConvexLoss::squared, 0.1, {.intercept = false})
            .coefficients[2] == doctest::Approx((9 - 0.1) / 9));
  const Case whole(30, 12, ConvexLoss::squared, rng);
  const Eigen::MatrixXd part = whole.x.block(3, 2, 20, 5);
  const VectorXd targets = whole.y.head(20);
  CHECK(solve_exact(whole.x.block(3, 2, 20, 5), targets, ConvexLoss::squared, 0.1).coefficients ==
        solve_exact(part, targets, ConvexLoss::squared, 0.1).coefficients);
  const VectorXd one = VectorXd::Constant(1, 3.0);
  CHECK(solve_exact(MatrixXd::Ones(1, 2).eval(), one, ConvexLoss::squared, 0.1).intercept ==
        doctest::Approx(3));
  CHECK(solve_exact(MatrixXd(1, 0), one, ConvexLoss::squared, 0.1).objective == doctest::Approx(0));
  const ExactSolution frozen =
      solve_exact(MatrixXd::Ones(1, 2).eval(), one, ConvexLoss::squared, 0.5,
                  {.intercept = false, .mask = Mask::all_frozen({2}), .start = {1, -3}});
  CHECK(frozen.objective == doctest::Approx(12.5 + 2));
  CHECK(frozen.gap <= 1e-12);
}

TEST_CASE("many short sparse columns are solved without their Hessian, to the same result") {
  Rng rng(8);
  for (int combination = 0; combination < 16; ++combination) {
    const bool grouped = (combination & 2) != 0;
    Case test(12, 300, (combination & 1) != 0 ? ConvexLoss::logistic : ConvexLoss::squared, rng);
    test.options.ratio = 0.1;  // so that the working set is large
    test.options.tolerance = 1e-12;
    test.options.intercept = (combination & 4) != 0;
    if (grouped) {
      for (Index j = 0; j < 300; ++j) test.options.groups.push_back(j / 3);
    }
    test.options.weights.assign(grouped ? 100 : 300, 1.0);
    if ((combination & 8) != 0) test.options.weights[7] = 0;
    const ExactSolution sparse = solve_exact(test.sparse(), test.y, test.loss, 0.05, test.options);
    const ExactSolution dense = solve_exact(test.x, test.y, test.loss, 0.05, test.options);
    INFO("combination ", combination);
    CHECK(sparse.converged);
    CHECK(dense.converged);
    CHECK(std::abs(sparse.objective - dense.objective) < 1e-12);
    CHECK(std::abs(sparse.intercept - dense.intercept) < 1e-5);
    const Point point{Eigen::Map<const VectorXd>(sparse.coefficients.data(), 300), sparse.intercept};
    CHECK(test.violation(point, 0.05) < 1e-5);
    CHECK((point.w - Eigen::Map<const VectorXd>(dense.coefficients.data(), 300)).cwiseAbs().maxCoeff() <
          1e-5);
  }
}

TEST_CASE(
    "separable labels without a penalty have no minimum, and the loss falls to its bound of zero in time") {
  const MatrixXd x = VectorXd::LinSpaced(10, -1, 1);
  const VectorXd y = (x.col(0).array() > 0).cast<double>();
  for (const double tolerance : {1e-8, 0.0}) {
    const ExactSolution solution =
        solve_exact(x, y, ConvexLoss::logistic, 0, {.tolerance = tolerance, .max_iterations = 1000});
    CHECK(solution.objective <= 1e-8);
    CHECK(solution.gap >= solution.objective);
    CHECK(solution.gap <= solution.objective + 1e-13);
    CHECK(solution.converged == (tolerance > 0));
    CHECK(std::isfinite(solution.coefficients[0]));
  }
}

TEST_CASE("a logistic loss that has saturated at the start, or by what is frozen, finds its way back") {
  Rng rng(9);
  Case test(60, 12, ConvexLoss::logistic, rng);
  test.options.tolerance = 1e-10;
  const double best = solve_exact(test.x, test.y, test.loss, 0.02, test.options).objective;
  for (const double far : {30.0, 40.0, 1000.0, -1000.0}) {
    for (const bool intercept : {false, true}) {
      Case start = test;
      if (intercept) {
        start.options.start_intercept = far;
      } else {
        start.options.start.assign(12, far);
      }
      const ExactSolution solution = solve_exact(start.x, start.y, start.loss, 0.02, start.options);
      INFO("far ", far, ", intercept ", intercept);
      CHECK(solution.converged);
      CHECK(std::abs(solution.objective - best) < 1e-10);
    }
    CHECK(lambda_max(test.x, test.y, test.loss, {.start_intercept = far}) ==
          doctest::Approx(lambda_max(test.x, test.y, test.loss)));
    // All examples are moved alike, which the intercept has to take back.
    Case moved = test;
    moved.x.col(11).setOnes();
    moved.options.mask = Mask::frozen({12}, {11});
    moved.options.start.assign(12, 0.0);
    const double still = solve_exact(moved.x, moved.y, moved.loss, 0.02, moved.options).loss;
    moved.options.start[11] = far;
    const ExactSolution solution = solve_exact(moved.x, moved.y, moved.loss, 0.02, moved.options);
    CHECK(solution.converged);
    CHECK(std::abs(solution.loss - still) < 1e-7);
  }
}

TEST_CASE("a tolerance below what rounding allows ends soon and is not said to be reached") {
  Rng rng(10);
  for (const double unit : {1.0, 1e6}) {
    Case test(40, 60, ConvexLoss::squared, rng);
    const VectorXd y = unit * test.y;
    const ExactSolution solution = solve_exact(test.x, y, ConvexLoss::squared, 1e-3 * unit, {.tolerance = 0});
    CHECK(solution.iterations < 50'000);
    CHECK_FALSE(solution.converged);
    CHECK(solution.gap < 1e-10 * solution.objective);
  }
}

TEST_CASE("the gap is that of the coefficients returned: far starts and targets far from zero") {
  Rng rng(11);
  Case test(60, 12, ConvexLoss::squared, rng);
  const auto best = solve_exact(test.x, test.y, test.loss, 0.02, {.tolerance = 1e-14});
  for (Index j = 0; j < 12; ++j) test.options.start.push_back(1e7 * rng.normal());
  test.options.tolerance = 1e-12;
  const ExactSolution back = solve_exact(test.x, test.y, test.loss, 0.02, test.options);
  const Point exact{Eigen::Map<const VectorXd>(back.coefficients.data(), 12), back.intercept};
  CHECK(back.converged);
  CHECK(std::abs(test.objective(exact, 0.02) - back.objective) < 1e-13);
  CHECK(std::abs(back.objective - best.objective) < 1e-12);
  // A target in units of 1 with a level of 10^8 is known to 10^-8 only.
  const VectorXd high = test.y.array() + 1e8;
  const ExactSolution solution = solve_exact(test.x, high, test.loss, 0.02, {.tolerance = 1e-10});
  CHECK(std::abs(solution.objective - best.objective) < 1e-6);
  CHECK(solution.gap < 1e-6);
  // A penalty beyond the largest number keeps everything at zero.
  const ExactSolution none =
      solve_exact(test.x, test.y, test.loss, 1e300, {.weights = std::vector<double>(12, 1e10)});
  CHECK(none.converged);
  CHECK(std::ranges::count(none.coefficients, 0.0) == 12);
}

TEST_CASE("lambda_max refuses a frozen part that overflows") {
  MatrixXd x = 2 * MatrixXd::Ones(4, 2);
  x(0, 0) = -2;
  const VectorXd y = VectorXd::LinSpaced(4, 0, 1);
  CHECK_ERROR(lambda_max(x, y, ConvexLoss::squared, {.mask = Mask::frozen({2}, {0}), .start = {1.7e308, 0}}),
              "[lambda_max] frozen coefficients whose predictions overflow");
}

TEST_CASE("bad input to the exact solver is refused with a reason") {
  Rng rng(7);
  const Case good(20, 4, ConvexLoss::logistic, rng);
  const auto solve = [&](const ExactOptions& options, double lambda = 0.1) {
    return solve_exact(good.x, good.y, good.loss, lambda, options);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  CHECK_ERROR(solve({}, -1), "[solve_exact] lambda -1", "0 or more");
  CHECK_ERROR(solve({}, nan), "lambda nan");
  CHECK_ERROR(solve({.ratio = 1.5}), "ratio 1.5", "from 0 to 1");
  CHECK_ERROR(solve({.groups = {0, 1, 1}}), "3 group numbers", "expected 4");
  CHECK_ERROR(solve({.groups = {0, 1, 3, 3}}), "group 2 of 4 is empty", "without gaps");
  CHECK_ERROR(solve({.groups = {0, -1, 3, 3}}), "group -1 of coefficient 1");
  CHECK_ERROR(solve({.groups = {0, 1, 4, 3}}), "group 4 of coefficient 2", "0 to 3");
  CHECK_ERROR(solve({.weights = {1, 1}}), "2 weights of groups", "expected 4");
  CHECK_ERROR(solve({.weights = {1, 1, -1, 1}}), "weight -1 at position 2", "0 or more");
  CHECK_ERROR(solve({.weights = {1, 1, nan, 1}}), "weight nan at position 2", "finite");
  CHECK_ERROR(solve({.sample_weights = {1, 1}}), "2 sample weights", "expected 20");
  CHECK_ERROR(solve({.sample_weights = std::vector<double>(20, 0.0)}), "all 0");
  CHECK_ERROR(solve({.sample_weights = std::vector<double>(20, -1.0)}), "sample weight -1");
  CHECK_ERROR(solve({.mask = Mask::all_free({3})}), "a mask 3", "expected 4");
  CHECK_ERROR(solve({.start = {1, 2}}), "2 coefficients to start from", "expected 4");
  CHECK_ERROR(solve({.start = {1, 2, infinity, 4}}), "start inf at position 2");
  CHECK_ERROR(solve({.start_intercept = nan}), "intercept nan");
  CHECK_ERROR(solve({.tolerance = nan}), "tolerance nan");
  CHECK_ERROR(solve({.max_iterations = -1}), "-1 iterations");
  CHECK_ERROR(solve({.groups = {0, 0, 1, 1}, .mask = Mask::frozen({4}, {0}), .start = {1, 0, 0, 0}}),
              "group 0 is frozen in a part");
  CHECK_ERROR(lambda_max(good.x, good.y, good.loss, {.ratio = 0}), "[lambda_max] ratio 0");

  Case bad = good;
  bad.y[3] = 0.5;
  CHECK_ERROR(solve_exact(bad.x, bad.y, bad.loss, 0.1), "label 0.5 in row 3", "0 or 1");
  bad.y[3] = nan;
  CHECK_ERROR(solve_exact(bad.x, bad.y, ConvexLoss::squared, 0.1), "target nan in row 3");
  bad.y[3] = 1e200;
  CHECK_ERROR(solve_exact(bad.x, bad.y, ConvexLoss::squared, 0.1), "targets too large");
  bad.y.setOnes();
  CHECK_ERROR(solve_exact(bad.x, bad.y, bad.loss, 0.1), "all 1", "both classes");
  CHECK_ERROR(solve_exact(good.x, VectorXd(good.y.head(5)), good.loss, 0.1), "5 targets", "expected 20");
  CHECK_ERROR(solve_exact(MatrixXd(0, 4), VectorXd(), good.loss, 0.1), "0x4", "at least one row");
  bad = good;
  bad.x(5, 2) = nan;
  for (const bool frozen : {false, true}) {
    const ExactOptions options{.mask = frozen ? Mask::all_frozen({4}) : Mask::all_free({4})};
    CHECK_ERROR(solve_exact(bad.x, bad.y, bad.loss, 0.1, options), "not finite in row 5, column 2");
    CHECK_ERROR(solve_exact(bad.sparse(), bad.y, bad.loss, 0.1, options), "not finite in row 5, column 2");
  }
  bad.x(5, 2) = 1;
  const MatrixXd tiny = 1e-310 * bad.x;
  CHECK_ERROR(solve_exact(tiny, bad.y, ConvexLoss::squared, 0), "a coefficient beyond the largest number");
}

TEST_CASE("Madelon: the independent reference solutions") {
  const std::filesystem::path table = real_data("madelon.csv.gz");
  const std::filesystem::path reference = real_data("../reference/madelon_l1_logistic.json");
  if (table.empty() || reference.empty()) {
    MESSAGE("skipped: TAPER_DATA names no folder with madelon.csv.gz and, beside it, the reference");
    return;
  }
  data::Dataset<double> set = data::to_dataset<double>(data::read_csv(table), "Class");
  data::StandardScaler<double> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  const MatrixXd x = set.x.matrix();
  const VectorXd y = (set.y.vector().array() < 0).cast<double>();
  std::ifstream file(reference);
  const nlohmann::json json = nlohmann::json::parse(file);
  CHECK(lambda_max(x, y, ConvexLoss::logistic) ==
        doctest::Approx(json["lambda_max"].get<double>()).epsilon(1e-12));
  for (const char* lambda : {"0.0001", "0.01"}) {
    INFO("lambda ", lambda);
    const ExactSolution solution =
        solve_exact(x, y, ConvexLoss::logistic, std::stod(lambda), {.tolerance = 1e-12});
    const auto& expected = json["solutions"][lambda];
    CHECK(solution.converged);
    CHECK(solution.gap <= 1e-10);
    CHECK(std::abs(solution.objective - expected["objective"].get<double>()) <= 1e-10);
    CHECK(std::abs(solution.loss - expected["loss"].get<double>()) <= 1e-8);
    CHECK(std::abs(solution.intercept - expected["intercept"].get<double>()) <= 1e-6);
    const auto coefficients = expected["coef"].get<std::vector<double>>();
    double furthest = 0;
    for (std::size_t j = 0; j < 500; ++j) {
      furthest = std::max(furthest, std::abs(solution.coefficients[j] - coefficients[j]));
      CHECK((solution.coefficients[j] == 0) == (coefficients[j] == 0));
    }
    CHECK(furthest <= 1e-6);
  }
}
