#pragma once

#include <string>

#include <taper/nn/module.hpp>

namespace taper::sparsity {

/// How the sparsity of gradual pruning rises from `initial` at step `begin` to `final` at step `end`.
struct CubicSchedule {
  double initial = 0;
  double final = 0.9;
  Index begin = 0;
  Index end = 1000;
};

/// The fraction that is to be pruned at a step: final + (initial - final) (1 - (step - begin) / (end -
/// begin))^3, and `initial` before, `final` after (Zhu and Gupta, "To prune, or not to prune", 2017, equation
/// 1). Throws Error for a fraction outside [0, 1] and for an end that does not come after the beginning.
double cubic_sparsity(Index step, const CubicSchedule& schedule);

/// Among which entries the smallest are looked for: those of all parameters together, or of each by itself.
enum class Ranking { global, per_parameter };

/// The size of the blocks that a matrix is cut into, from the upper left; those at the lower and right border
/// may be smaller. A tensor is read as a matrix by its rows() and columns().
struct BlockSize {
  Index rows = 1;
  Index columns = 1;
};

struct PruneOptions {
  std::string match = "*weight";
  Ranking ranking = Ranking::global;
  BlockSize block = {};
};

/// What a model looks like after pruning, the parameters that match counted together.
struct Pruned {
  Index pruned = 0;  ///< entries that are frozen at zero
  Index total = 0;   ///< all entries but those frozen at another value
};

/// Prunes the entries of the smallest magnitudes, so that in all round(fraction * candidates) are frozen at
/// zero. Candidates are all entries but those frozen at a value other than zero, which are left alone. The
/// ones already pruned come first, then free ones by the size of their effective value, equal ones in the
/// order of parameters and positions. Nothing is thawed: more that are pruned already stay so.
///
/// With blocks, it is round(fraction * blocks) blocks in the order of their Euclidean norms, each pruned as a
/// whole; one with an entry frozen at a value other than zero is no candidate.
///
/// Of a factorized weight, the factors that an entry needs alone are pruned (see nn::Parameter::prune).
/// Throws Error, with nothing pruned, for a fraction outside [0, 1], a block without rows or columns, a
/// pattern without a match, a free value that is NaN, and a parametrization that cannot be zero.
template <class T>
Pruned prune_by_magnitude(nn::Module<T>& model, double fraction, const PruneOptions& options = {});

/// Prunes all but the n largest magnitudes in each run of m consecutive entries of a row, as sparse matrix
/// units want them, 2 of 4 for example (Mishra et al., "Accelerating sparse deep neural networks", 2021,
/// section 3). A row runs along the last axis. Entries frozen at a value other than zero are among those that
/// stay; equal ones are pruned from the left. Throws Error, with nothing pruned, unless 0 <= n <= m and m
/// divides the length of every row, where more than n of a run are frozen at values other than zero, and
/// otherwise like prune_by_magnitude.
template <class T>
Pruned prune_n_of_m(nn::Module<T>& model, Index n, Index m, const std::string& match = "*weight");

/// Moves the free entries of sparse weights to where they are needed (RigL: Evci et al., "Rigging the
/// lottery", 2020, algorithm 1). In each parameter that has entries frozen at zero, drops the round(fraction
/// * free) free entries of the smallest magnitudes, and grows as many, by the largest magnitudes of the
/// gradient, among the ones that were frozen at zero and those just dropped. A grown entry starts at zero,
/// with fresh optimizer state. One that is dropped and grown in the same call has not moved and keeps value
/// and state. The number of free entries stays; ties go to the lower position.
///
/// The gradients are those that the last backward pass left; a NaN counts as the smallest. Returns how many
/// entries were grown that were frozen before. Throws Error, with nothing changed, for a fraction outside
/// [0, 1], a pattern without a match, a parameter computed from factors or a factor itself, a free value that
/// is NaN, and parameters that no backward pass has reached since they were laid out.
template <class T>
Index drop_and_grow(nn::Module<T>& model, double fraction, const std::string& match = "*weight");

/// The fraction for drop_and_grow at a step: initial / 2 (1 + cos(pi step / end)), and 0 from `end` on (Evci
/// et al., 2020, section 3, "update schedule"). Throws Error for an initial fraction outside [0, 1] and an
/// end that is not positive.
double drop_fraction(Index step, Index end, double initial);

}  // namespace taper::sparsity
