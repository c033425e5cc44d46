// How many evaluations L-BFGS needs on standard problems until no entry of the gradient is above 1e-8. The
// same problems with liblbfgs and SciPy: bench/lbfgs_peers.py.

#include <cstdio>
#include <taper/optim/minimize.hpp>

#include "../tests/optim/problems.hpp"

int main() {
  std::printf("%-26s %12s %12s %12s\n", "problem", "evaluations", "iterations", "|gradient|");
  for (const Problem& problem : more_garbow_hillstrom()) {
    const auto result = taper::optim::minimize(problem.f, problem.start,
                                               {.gradient_tolerance = 1e-8, .max_iterations = 10000});
    std::printf("%-26s %12td %12td %12.1e%s\n", problem.name.c_str(), result.evaluations, result.iterations,
                result.gradient.cwiseAbs().maxCoeff(),
                result.converged ? "" : ("  " + result.reason).c_str());
  }
}
