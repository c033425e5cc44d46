// How long the exact solvers take, on one thread: Madelon, when TAPER_DATA names a folder that holds it, and
// a random problem with more columns than rows. The median of several runs. Other solvers on Madelon:
// bench/exact_peers.py, which reads these lines.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include <taper/autodiff/random.hpp>
#include <taper/autodiff/threads.hpp>
#include <taper/data/csv.hpp>
#include <taper/data/dataset.hpp>
#include <taper/data/scaler.hpp>
#include <taper/sparsity/exact_path.hpp>
#include <taper/sparsity/smooth.hpp>

using namespace taper;
using sparsity::ConvexLoss;

namespace {

struct Time {
  double median, least;
};

Time milliseconds(const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(times);
  return {times[times.size() / 2], times.front()};
}

void report(const char* name, Time time, const sparsity::ExactSolution& solution) {
  std::printf("%-44s %8.1f ms (least %.1f)  objective %.12f  gap %.1e  nonzero %4td  iterations %5td%s\n",
              name, time.median, time.least, solution.objective, solution.gap,
              std::ranges::count_if(solution.coefficients, [](double w) { return w != 0; }),
              solution.iterations, solution.converged ? "" : "  NOT CONVERGED");
}

void one(const char* name, const Eigen::MatrixXd& x, const Eigen::VectorXd& y, ConvexLoss loss, double lambda,
         double gap) {
  sparsity::ExactSolution solution;
  const Time time =
      milliseconds([&] { solution = sparsity::solve_exact(x, y, loss, lambda, {.tolerance = gap}); });
  report(name, time, solution);
}

/// The same problem through Hadamard factors, and how far that is from the exact solution.
void smooth(const char* name, const Eigen::MatrixXd& x, const Eigen::VectorXd& y, ConvexLoss loss,
            double lambda, double gap) {
  const auto exact = sparsity::solve_exact(x, y, loss, lambda, {.tolerance = 1e-12});
  sparsity::SmoothSolution solution;
  const Time time = milliseconds(
      [&] { solution = sparsity::solve_smooth(x, y, loss, lambda, {.problem = {.tolerance = gap}}); });
  report(name, time, solution);
  const bool same = std::ranges::equal(exact.coefficients, solution.coefficients,
                                       [](double a, double b) { return (a == 0) == (b == 0); });
  std::printf("  relative difference of the objective %.1e, support %s, %td evaluations in %td rounds\n",
              (solution.objective - exact.objective) / exact.objective, same ? "identical" : "DIFFERENT",
              solution.evaluations, solution.rounds);
}

void madelon(const std::filesystem::path& path) {
  data::Dataset<double> set = data::to_dataset<double>(data::read_csv(path), "Class");
  data::StandardScaler<double> scaler;
  scaler.fit(set.x);
  scaler.transform(set.x);
  const Eigen::MatrixXd x = set.x.matrix();
  const Eigen::VectorXd y = (set.y.vector().array() < 0).cast<double>();
  one("Madelon, lambda 1e-2, gap 1e-8", x, y, ConvexLoss::logistic, 1e-2, 1e-8);
  one("Madelon, lambda 1e-2, gap 1e-10", x, y, ConvexLoss::logistic, 1e-2, 1e-10);
  one("Madelon, lambda 1e-4, gap 1e-10", x, y, ConvexLoss::logistic, 1e-4, 1e-10);
  smooth("Madelon, lambda 1e-2, smooth, gap 1e-8", x, y, ConvexLoss::logistic, 1e-2, 1e-8);

  std::vector<sparsity::ExactSolution> points;
  const Time time = milliseconds(
      [&] { points = sparsity::exact_path(x, y, ConvexLoss::logistic, {}, {.tolerance = 1e-6}); });
  report("Madelon, path of 100, gap 1e-6: the last", time, points.back());
  double gap = 0;
  Index passes = 0, converged = 0;
  for (const auto& point : points)
    gap = std::max(gap, point.gap), passes += point.iterations, converged += point.converged;
  std::printf("  largest gap %.1e, %td of %zu converged, %td passes in all\n", gap, converged, points.size(),
              passes);
}

void wide() {
  Rng rng(0);
  Eigen::MatrixXd x(100, 10'000);
  for (double& entry : x.reshaped()) entry = rng.normal();
  Eigen::VectorXd y = Eigen::VectorXd::Zero(100);
  for (Index j = 0; j < 20; ++j) y += (j % 2 == 0 ? 1.0 : -1.0) * x.col(500 * j);
  for (double& entry : y) entry += 0.1 * rng.normal();
  const double top = sparsity::lambda_max(x, y, ConvexLoss::squared);
  one("lasso, 100 x 10,000, lambda_max / 10, gap 1e-8", x, y, ConvexLoss::squared, 0.1 * top, 1e-8);
}

}  // namespace

int main() {
  set_threads(1);
  const char* const folder = std::getenv("TAPER_DATA");
  const std::filesystem::path path =
      std::filesystem::path(folder != nullptr ? folder : "") / "madelon.csv.gz";
  if (std::filesystem::exists(path)) {
    madelon(path);
  } else {
    std::printf("without Madelon: TAPER_DATA names no folder with madelon.csv.gz\n");
  }
  wide();
}
