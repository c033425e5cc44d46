#pragma once

#include <vector>

#include <taper/optim/minimize.hpp>
#include <taper/sparsity/exact.hpp>

namespace taper::sparsity {

/// What is minimized, from where and how far; see solve_smooth.
struct SmoothOptions {
  /// The problem, as solve_exact takes it. `tolerance` is the largest relative gap, and `max_iterations`
  /// counts iterations of L-BFGS, all rounds together.
  ExactOptions problem = {};
  /// The gate v of every pair at the start, not 0; the weight u is what makes up the coefficient.
  double start_gate = 1;
  optim::LBFGS method = {.history = 40};
  /// Whether to record the smooth objective.
  bool record = false;
};

/// A minimizer of the convex problem that came from the smooth one. `iterations` are those of L-BFGS.
struct SmoothSolution : ExactSolution {
  Index evaluations = 0;  ///< of the smooth objective and its gradient, each two passes over x
  Index rounds = 0;       ///< of L-BFGS, each with a proximal step; 1 when the first was accurate enough
  /// The smooth objective after each iteration, round after round, when it is recorded. It is above or at
  /// the objective of the product, by the imbalance of the factors.
  std::vector<double> history;
};

/// Minimizes the objective of solve_exact without its norms: each penalized group is the product w_g = u_g
/// v_g of a weight vector and a gate (for single coefficients, two numbers), and
///
///     lambda weight_g ratio / 2 (||u_g||^2 + v_g^2)   stands for   lambda weight_g ratio ||w_g||,
///
/// which is its minimum over all pairs with that product, where ||u_g|| = |v_g| (Hoff, "Lasso, fractional
/// norm and structured sparse estimation using a Hadamard product parametrization", 2017, section 2; for
/// groups Kolb et al., "Smoothing the edges", 2023). The sum is smooth, and each of its local minima is a
/// minimum of the convex problem (Ziyin and Wang, "spred: solving L1 penalty with SGD", ICML 2023); pairs of
/// zeros may be saddle points. L-BFGS with all examples at once goes to a minimum.
///
/// The start is u_g = w_g / gate, v_g = gate: with w = 0 a point from which every coefficient can leave in
/// either direction by its first step, as u_g moves by the gate's multiple of the slope. An exactly balanced
/// pair could not change its sign without stopping at (0, 0), and one that is there never leaves.
///
/// The first round ends when the gradient is 1e-4 of what it was. Then one proximal step on w makes exact
/// zeros, group by group with the step 1 / L_g (L_g: an upper bound of the sum of the group's second
/// derivatives), halved until the objective does not rise, and the duality gap at that point says how far it
/// is from the minimum. Until that is the tolerance, a further round of L-BFGS refits what is not zero, from
/// balanced factors of the point, ten times as accurate. It leaves zeros out, as a pair of zeros would not
/// move; the next proximal step looks at all of them again, and the gap, which is that of the whole problem,
/// proves that it was right to. `converged` is false where the tolerance was not reached: within
/// `max_iterations`, or within what rounding allows.
///
/// Results do not depend on the number of threads. Throws Error like solve_exact, for a gate that is 0 or not
/// finite, and for options of L-BFGS that make no sense.
SmoothSolution solve_smooth(const Design& x, const Eigen::Ref<const Eigen::VectorXd>& y, ConvexLoss loss,
                            double lambda, const SmoothOptions& options = {});

}  // namespace taper::sparsity
