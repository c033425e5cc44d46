#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <taper/nn/module.hpp>
#include <taper/sparsity/costs.hpp>

namespace taper::sparsity {

using Groups = nn::Groups;

/// By how much the penalty of each group is multiplied.
enum class GroupWeights {
  one,         ///< all alike
  sqrt_size,   ///< the root of the number of entries, so that large groups are not preferred (Yuan and Lin,
               ///< "Model selection and estimation in regression with grouped variables", 2006, section 2)
  parameters,  ///< the number of entries, so that what is spent is parameters; see PenaltyWeights
};

/// The weights of the penalties of groups: by name, or one positive number for each group of every parameter
/// that is factorized, or costs, as multiply_add_costs has them. Costs and GroupWeights::parameters are
/// multiplied by one number, so that the mean weight over all entries that are factorized is 1: the decay
/// that suits GroupWeights::one then suits these, too, and moves from what is cheap to what is dear.
class PenaltyWeights {
 public:
  PenaltyWeights(GroupWeights by_name = GroupWeights::one);
  PenaltyWeights(std::vector<double> each);
  PenaltyWeights(Costs costs);

  /// Which of the three: a variant that the sources know, so that users do not compile it.
  struct Choice;
  const Choice& choice() const { return *choice_; }

 private:
  std::shared_ptr<const Choice> choice_;
};

/// The groups of the parameters whose names match a pattern, or Groups::none.
struct GroupChoice {
  std::string match;
  std::optional<Groups> groups = Groups::none;
};

/// Which of the many factors of a weight a training starts from.
enum class Start {
  /// The weight keeps its value, to the bit, and all gates are 1 (for weights w of the groups, the number
  /// that stands for 1: w^(D / (2D - 2))).
  unit_gates,
  /// The weight keeps its value, for one that is trained already: ||U_g|| and all |v_g| are equal, so that
  /// decay is the induced penalty from the first step on. For single entries and D = 2 that is
  /// (sign(w) sqrt|w|, sqrt|w|). A group of zeros starts with gates of 1, since factors that are all zero
  /// never leave.
  balanced,
  /// For a weight that is not trained yet: its entries are only looked at for their standard deviation s, and
  /// all factors are drawn anew, so that the products have mean 0 and deviation s, and none is nearly zero or
  /// huge, as products of many normal numbers often are. After Kolb, Weber, Bischl and Ruegamer, "Deep weight
  /// factorization: sparse learning through the lens of artificial symmetries", 2025, the initialization
  /// recommended there: each factor is normal with deviation s^(1/D), whose D-fold product has variance s^2,
  /// and drawn again while its magnitude is not between e^(1/D) and (2s)^(1/D), so that no product is below e
  /// or above 2s.
  ///
  /// Ours are: e = s / 10, for which there is a number to choose there, and which must be below 2s; no bound
  /// of 1 beside (2s)^(1/D), which is the smaller one for s > 1/2; and all factors are multiplied by one
  /// number k, so that their products have the variance s^2 again, which cutting off both tails has lowered
  /// (k^D, by which the bounds grow, is 1.42, 1.64, 1.78 for D = 2, 3, 4). For groups of n entries with
  /// weight w, the gates are further multiplied by m = (w^D n)^(1 / 2D), and U by m / sqrt(n), which leaves
  /// the products as they are and balances ||U_g|| and |v_g| in the mean.
  truncated,
};

struct FactorizeOptions {
  /// D, the number of factors: 2 to 8. Weight decay then amounts to a penalty on ||group||^(2/D).
  Index depth = 2;
  PenaltyWeights weights = {};
  /// Random numbers come from default_rng(). Groups with an entry that is frozen at a value other than zero
  /// start with unit gates in any case, and frozen entries keep their values.
  Start start = Start::unit_gates;
  /// The parameters that have the groups asked for ("*" stands for anything).
  std::string match = "*weight";
  /// Parameters that have others, or none, whether they match or not. The first that matches counts.
  std::vector<GroupChoice> except = {};
};

/// Replaces every parameter whose name matches by a Hadamard product of D factors, of which D - 1 are gates
/// shared within `groups`:
///
///     factorize(net, Groups::inputs, {.except = {{"conv*.weight", Groups::filters},
///                                                {"head.weight", Groups::none}}});
///
/// Vectors and scalars that match (the scales of a batch norm) have elements for groups, whatever is asked
/// for the others; exceptions are as they say. With Groups::none for `groups`, only exceptions are
/// factorized.
///
/// Coupled weight decay alpha on all factors then induces the penalty D alpha / 2 * sum over groups of weight
/// * ||group||_2^(2/D) at the balanced point (see nn::Hadamard): L1 or group lasso for D = 2. Its minimizers
/// are sparse. Returns how many parameters were factorized.
///
/// Throws Error, with nothing changed, for a pattern that matches nothing, for a parameter that is factorized
/// already or has no such axis, for a depth out of range, for weights that are not positive or not as many as
/// the groups, for costs that are not positive or lack a parameter, and for Start::truncated where free
/// entries are all zero or not finite.
template <class T>
Index factorize(nn::Module<T>& model, std::optional<Groups> groups, const FactorizeOptions& options = {});
/// The same with a pattern alone.
template <class T>
Index factorize(nn::Module<T>& model, std::optional<Groups> groups, const std::string& match) {
  return factorize(model, groups, FactorizeOptions{.match = match});
}

/// Computes every factorized parameter and keeps the value in place of the factors.
template <class T> void collapse(nn::Module<T>& model);

/// What weight decay on factors amounts to.
struct Penalty {
  /// alpha / 2 * sum of the squared norms of the factors: what is added to the loss.
  double decay = 0;
  /// D alpha / 2 * sum over groups of weight * ||group||_2^(2/D): the least decay that any factors of the
  /// same weights have, reached when ||u|| = |v| in every group.
  double induced = 0;
};

/// Both for the factorized parameters of a model under coupled weight decay alpha, which is the optimizers'
/// `weight_decay`.
template <class T> Penalty effective_penalty(nn::Module<T>& model, double alpha);

}  // namespace taper::sparsity
