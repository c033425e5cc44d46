#pragma once

#include <cstdint>
#include <vector>

#include <taper/sparsity/tune/space.hpp>
#include <taper/sparsity/tune/trial.hpp>

namespace taper::sparsity {

/// The tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter
/// optimization", 2011, section 4). The finished trials are split into the best gamma(n) = min(0.1 n, 25),
/// rounded up, and all others; l and g are densities of both, sums of one kernel for each trial and one for
/// the whole space. Of some candidates that are drawn from l, the one with the largest l / g is taken, which
/// has the largest expected improvement (ibid., equation 2).
///
/// The kernels are products over all settings, so that settings that go together are drawn together (Falkner,
/// Klein and Hutter, "BOHB", 2018, section 3.2). Numbers have normal kernels, cut off at the bounds, of the
/// deviation 0.2 n^(-1 / (d + 4)) of the range (Scott's rule, for n kernels in d dimensions), whole numbers
/// the mass of these between the halves, words all their mass on the word but a share for the others.
///
/// Trials that violate a constraint rank behind all that do not, by how much; failed ones behind them. Of
/// several objectives, the fronts count, and inside one the first objective. Those that are running are among
/// "all others", so that trials side by side differ.
struct TpeOptions {
  Index startup = 10;     ///< trials that are random
  Index candidates = 24;  ///< of which the best is taken
};

enum class Sampler {
  random,
  tpe,
  grid  ///< all points one after the other, the last setting fastest, and again; for words and whole numbers
};

/// The point of the trial `number`: a function of the space, the seed, the number and the trials `seen`, of
/// which running ones count by their points alone. Throws Error for options below 1, trials that do not
/// lie in the space, and a grid of numbers that are not whole.
std::vector<double> propose(const SearchSpace& space, Sampler sampler, const TpeOptions& options,
                            const std::vector<Trial>& seen, std::uint64_t seed, Index number);

}  // namespace taper::sparsity
