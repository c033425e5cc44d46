#include <taper/sparsity/exact/solver.hpp>

namespace taper::sparsity {

ExactSolution solve_exact(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                          double lambda, const ExactOptions& options) {
  exact::require_lambda(lambda, "solve_exact");
  const exact::Problem problem(x, y, loss, options, "solve_exact");
  return exact::Solver(problem).solve(lambda, options.tolerance, options.max_iterations);
}

double lambda_max(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                  const ExactOptions& options) {
  const exact::Problem problem(x, y, loss, options, "lambda_max");
  if (options.ratio == 0) {
    throw Error("lambda_max", "ratio 0: expected more, as squares alone set nothing to zero");
  }
  return exact::Solver(problem).lambda_max();
}

}  // namespace taper::sparsity
