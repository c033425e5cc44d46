// One run of an exact solver on one thread, on a problem in a file, so that every run has a process of its
// own. bench/exact_peers.py writes the files, starts the runs and measures the answers:
//
//     exact solve  FILE --lambda 0.01 --loss logistic
//     exact path   FILE --loss squared --ratio 0.5
//     exact smooth FILE --lambda 0.01 --loss logistic        (solve_smooth in place of solve_exact)
//
// More options: --tolerance 1e-6 (in units of the objective of the best constant), --no-intercept, --count
// 100 and
// --smallest 1e-2 (of a path), --answer FILE (where coefficients go). Lambda is as in solve_exact.
//
// A problem is, in the machine's byte order: n, p and the number of entries, -1 for a dense design, of 8
// bytes each; of a dense design n p doubles, column by column; of a sparse one p + 1 places at which columns
// begin and the rows of the entries, of 4 bytes each, then the entries, doubles; then n doubles, the targets.
// An answer is, for each lambda, p + 3 doubles: lambda, the gap, the intercept, the coefficients.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>

#include <taper/autodiff/threads.hpp>
#include <taper/sparsity/exact_path.hpp>
#include <taper/sparsity/smooth.hpp>

using namespace taper;
using sparsity::ConvexLoss;

namespace {

struct Problem {
  Eigen::MatrixXd dense;
  Eigen::SparseMatrix<double> sparse;
  Eigen::VectorXd y;
  bool is_sparse = false;

  sparsity::Design design() const { return is_sparse ? sparsity::Design(sparse) : sparsity::Design(dense); }
};

template <class T> void read(std::ifstream& file, T* to, Index count) {
  file.read(reinterpret_cast<char*>(to), static_cast<std::streamsize>(sizeof(T)) * count);
  if (!file) throw Error("exact", "a file that ends early, or none: expected a problem");
}

Problem read_problem(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::int64_t sizes[3] = {};
  read(file, sizes, 3);
  const auto [n, p, entries] = sizes;
  Problem problem;
  problem.is_sparse = entries >= 0;
  if (problem.is_sparse) {
    problem.sparse.resize(n, p);
    problem.sparse.resizeNonZeros(entries);
    read(file, problem.sparse.outerIndexPtr(), p + 1);
    read(file, problem.sparse.innerIndexPtr(), entries);
    read(file, problem.sparse.valuePtr(), entries);
  } else {
    problem.dense.resize(n, p);
    read(file, problem.dense.data(), n * p);
  }
  problem.y.resize(n);
  read(file, problem.y.data(), n);
  return problem;
}

struct Options {
  std::string_view what;
  const char* problem = nullptr;
  const char* answer = nullptr;
  ConvexLoss loss = ConvexLoss::squared;
  double lambda = 0;
  sparsity::LambdaGrid grid;
  sparsity::ExactOptions exact{.tolerance = 1e-6};
};

Options parse(int count, char** words) {
  if (count < 3) throw Error("exact", "too few words: expected solve, path or smooth, and a file");
  Options options;
  options.what = words[1], options.problem = words[2];
  for (int i = 3; i < count; ++i) {
    const std::string_view name = words[i];
    if (name == "--no-intercept") {
      options.exact.intercept = false;
      continue;
    }
    if (++i == count) throw Error("exact", name, " alone: expected a value behind it");
    if (name == "--loss") {
      options.loss = words[i] == std::string_view("logistic") ? ConvexLoss::logistic : ConvexLoss::squared;
    } else if (name == "--lambda") {
      options.lambda = std::stod(words[i]);
    } else if (name == "--ratio") {
      options.exact.ratio = std::stod(words[i]);
    } else if (name == "--tolerance") {
      options.exact.tolerance = std::stod(words[i]);
    } else if (name == "--count") {
      options.grid.count = std::stol(words[i]);
    } else if (name == "--smallest") {
      options.grid.smallest = std::stod(words[i]);
    } else if (name == "--answer") {
      options.answer = words[i];
    } else {
      throw Error("exact", name, ": expected an option of those named in bench/exact.cpp");
    }
  }
  return options;
}

std::vector<sparsity::ExactSolution> run(const Options& o, const sparsity::Design& x,
                                         const Eigen::VectorXd& y) {
  if (o.what == "path") return sparsity::exact_path(x, y, o.loss, o.grid, o.exact);
  if (o.what == "solve") return {sparsity::solve_exact(x, y, o.loss, o.lambda, o.exact)};
  if (o.what == "smooth") return {sparsity::solve_smooth(x, y, o.loss, o.lambda, {.problem = o.exact})};
  throw Error("exact", o.what, ": expected solve, path or smooth");
}

void write(const char* path, const std::vector<sparsity::ExactSolution>& points) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& point : points) {
    const double head[] = {point.lambda, point.gap, point.intercept};
    file.write(reinterpret_cast<const char*>(head), sizeof head);
    file.write(reinterpret_cast<const char*>(point.coefficients.data()),
               static_cast<std::streamsize>(sizeof(double) * point.coefficients.size()));
  }
  if (!file.flush()) throw Error("exact", path, ": expected a file that can be written");
}

void measure(Options options) {
  const Problem problem = read_problem(options.problem);
  const sparsity::Design x = problem.design();

  const auto start = std::chrono::steady_clock::now();
  const auto points = run(options, x, problem.y);
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();

  double gap = 0;
  Index passes = 0, converged = 0;
  for (const auto& point : points)
    gap = std::max(gap, point.gap), passes += point.iterations, converged += point.converged;
  const auto& last = points.back();
  std::printf("%.3f ms, objective %.15g, largest gap %.2e, nonzero %td, passes %td, converged %td of %zu\n",
              ms, last.objective, gap,
              std::ranges::count_if(last.coefficients, [](double w) { return w != 0; }), passes, converged,
              points.size());
  if (options.answer != nullptr) write(options.answer, points);
}

}  // namespace

int main(int count, char** words) {
  try {
    set_threads(1);
    measure(parse(count, words));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
