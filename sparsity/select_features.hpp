#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <vector>

#include <taper/data/dataset.hpp>

namespace taper::sparsity {

/// What the features are chosen for.
enum class FeatureModel {
  /// Lasso, or L1 logistic regression, solved exactly along a path from sparse to dense; of more than two
  /// classes, a multinomial group lasso by gradients, from dense to sparse.
  linear,
  /// A network with rectifiers whose first layer has a gate for each input, from dense to sparse.
  network,
};

struct SelectFeaturesOptions {
  /// How many. Nothing: the fewest whose loss on the rows held out is no worse than that of the best of the
  /// path by more than one standard error of the difference.
  std::optional<Index> features = {};
  FeatureModel model = FeatureModel::network;
  /// Whether y is classes, whole numbers from 0 on.
  bool classification = false;
  /// The feature that each column belongs to, counted from 0 without gaps: columns of one feature are chosen
  /// together. None: each column is one.
  std::vector<Index> groups = {};
  /// Whether every column is brought to mean 0 and deviation 1 first. Without, units decide.
  bool standardize = true;
  /// Share of the rows that losses are judged on, of each class alike.
  double validation = 0.2;
  /// B: the choice is repeated on so many random halves of the rows, for the frequencies; 0 for none.
  Index resamples = 0;
  std::uint64_t seed = 0;

  // Of networks.
  std::vector<Index> hidden = {32};
  double lr = 5e-3;  ///< of Adam
  Index batch_size = 128;
  /// Passes over the rows at the first penalty, and at each of the others. Nothing: 1000 and 300 steps, and
  /// 3 passes at least.
  std::optional<Index> first_epochs = {}, epochs = {};
  /// Passes without penalty before the loss on the rows held out is taken. Nothing: as `epochs` when that
  /// loss decides, else none.
  std::optional<Index> refit_epochs = {};
  /// From 0 on: how much less a column is penalized the more of a weight it has, see select_features.
  double adaptive = 0.5;
  /// Smaller ones, down to a share of 1e-4, are tried where it leaves fewer than `features`, or none.
  double first_penalty = 1e-3;
  double ratio = 1.3;          ///< by which penalties rise
  double weight_decay = 1e-3;  ///< of the later layers, so that they cannot make up for small weights
};

/// A penalty of the path.
struct FeaturePoint {
  double penalty = 0;           ///< see select_features
  std::vector<Index> features;  ///< rising
  double train_loss = 0;        ///< mean over the training rows
  double validation_loss = 0;   ///< mean over the rows held out
  /// Mean over the rows held out of the difference to the best point, and its standard error: both 0 there.
  double worse_by = 0, standard_error = 0;
};

/// Whether what is left out is rightly left out at this penalty, with the features that are chosen fitted
/// alone.
struct FeatureCertificate {
  double penalty = 0;
  Index left_out = 0;  ///< features that could be chosen and were not
  /// Those of them whose group would grow: the norm of the loss's slope is above the penalty times
  /// `left_out_weight`, by more than 1 %.
  std::vector<Index> violated;
  /// What a column that is left out weighs in the penalty: 1, or 10 where weights are adaptive.
  double left_out_weight = 1;
  /// Only what is convex has a minimum that is known: the duality gap as a share of the null model's
  /// objective, or nothing.
  std::optional<double> relative_gap;
  /// The largest violation of a feature that is chosen, as a share of the penalty; nothing where the gap
  /// says it all.
  std::optional<double> worst_chosen;

  /// Whether anything was measured: not for a network that reads nothing.
  bool is_measured() const { return relative_gap || worst_chosen; }
  /// Whether something is left out, and rightly.
  bool holds() const { return is_measured() && left_out > 0 && violated.empty(); }
};

struct FeatureSelection {
  std::vector<Index> features;  ///< chosen, rising
  /// All that could be chosen, best first: by the largest penalty at which a feature is in, then by the norm
  /// of its weights there, then by its number.
  std::vector<Index> order;
  /// Of each feature that penalty; 0 for those that are never in.
  std::vector<double> enters;
  std::vector<FeaturePoint> path;  ///< from the largest penalty to the smallest
  std::size_t best = 0;            ///< place of the least loss on the rows held out
  /// Place that the choice was made at: one with just these features or, where no penalty has as many as
  /// asked for, the sparsest with all of them.
  std::size_t chosen = 0;
  FeatureCertificate certificate;
  /// Of each feature the share of random halves that choose it; empty without resamples.
  std::vector<double> frequencies;
  /// Of each column the first one that is equal up to its units, which stands for it, or -1.
  std::vector<Index> duplicate_of;
  std::vector<Index> constant;  ///< columns that are
  Index offered = 0;            ///< features with a column that is neither

  /// A bound of the number of features that are wrongly among those with at least this frequency: q^2 /
  /// ((2 frequency - 1) p), for q chosen of p offered (Meinshausen and Buehlmann, "Stability selection",
  /// 2010, theorem 1, under its assumption of exchangeability). Throws Error for a frequency outside (0.5,
  /// 1], and without frequencies.
  double expected_false(double frequency) const;
};

/// A table of the path and what was chosen.
std::ostream& operator<<(std::ostream& out, const FeatureSelection& selection);

/// Chooses columns of x (n x p; further axes count as columns) for y (n x 1) along a path of penalties of
///
///     mean loss  +  penalty * sum over columns weight_j ||W_j||_2
///
/// where W_j are the weights of the first layer that read column j. The loss is the squared error of the
/// standardized target, or the cross entropy, so that penalties do not depend on units. This is the lasso
/// (Tibshirani, 1996) for linear models, with features of several columns the group lasso with weights
/// sqrt(size) (Yuan and Lin, 2006); for networks it takes the place of LassoNet (Lemhadri, Ruan, Abraham and
/// Tibshirani, JMLR 2021): a gate on each input instead of a linear path with a hierarchy constraint.
///
/// A penalty that leaves few columns also pulls their weights far towards zero, and columns that say the same
/// as others then look better than they are. So weights of networks are adaptive (Zou, "The adaptive lasso
/// and its oracle properties", 2006, section 3; renewed along the path as by Candes, Wakin and Boyd,
/// "Enhancing sparsity by reweighted l1 minimization", 2008): weight_j is 1 at the first penalty and then,
/// with norms as the penalty before left them, mean_i ||W_i||^a / ||W_j||^a for a = `adaptive`, and 10 at
/// most. With 0 they stay 1, as they are for linear models. On a
/// path from dense to sparse a column that has left does not return; the certificate says at the end which
/// of them would.
///
/// For k features, penalties between two of the path are bisected until one has just k. Where none has (they
/// may leave together), it is the first k of the order.
///
/// Constant columns are never chosen. Of columns that are equal up to their units only the first is offered,
/// which is then chosen or not for all of them. Apart from that the order of columns does not matter: they
/// are trained in an order that their values give. The same bits for any number of threads; the generators of
/// this thread stay where they are.
///
/// Throws Error for fewer than 4 rows, numbers that are not finite, a target that is constant, also among the
/// rows that are trained on, or, of classes, no whole numbers from 0 on, groups with gaps, no column that
/// could be chosen, more features than there are or could be chosen, no feature that even the
/// smallest penalty that is tried leaves (unless 0 are to be chosen), and options out of range.
template <class T>
FeatureSelection select_features(const data::Dataset<T>& data, const SelectFeaturesOptions& options = {});

}  // namespace taper::sparsity
