#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <Eigen/Core>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/optim/gauss_newton.hpp>

namespace taper::sparsity {

/// What the parameters of a model become when some of them are set to zero and all others make up for it, to
/// second order: the optimal brain surgeon (Hassibi and Stork, "Second order derivatives for network pruning:
/// optimal brain surgeon", 1993, section 3), for several entries E at a time. Near a minimum of the loss, its
/// rise is d' H d / 2 for a step d, which is least, with w_E + d_E = 0, for
///
///     d = -H^-1(:, E) (H^-1(E, E))^-1 w_E.
///
/// H is the Gauss-Newton matrix of the mean loss, plus a share of its diagonal, of which the mean over
/// entries of one unit (optim::sets_of_one_unit) is taken: what the rows hardly determine does not move far,
/// and the units of parameters do not matter.
template <class T> class BrainSurgeon {
 public:
  /// Nothing where the loss or the model has no Gauss-Newton matrix (see optim::LevenbergMarquardt), or that
  /// is not finite. Model and data must outlive it, and the entries of the model are all free. `damping` is
  /// that share of the diagonal.
  static std::optional<BrainSurgeon> of(nn::Module<T>& model, const data::Dataset<T>& data,
                                        const std::type_identity_t<nn::Loss<T>>& loss, double damping = 1e-3);

  /// Entries, by their places in the model's block, that are set to zero, and others that stay as they are:
  /// those that do nothing any more once the first are zero, and could not make up for anything.
  struct Removed {
    std::vector<Index> zero, held = {};
  };
  /// Takes these out, for good; the others make up for them.
  void remove(const Removed& entries);
  /// The values after that, were it done. To be stored with `store`.
  std::vector<double> without(const Removed& entries) const;

  /// The values now.
  std::span<const double> values() const { return values_; }
  /// Writes values to the model.
  void store(std::span<const double> values) { problem_->store(values); }

 private:
  BrainSurgeon() = default;

  /// The places among the free entries, the zero ones first.
  std::vector<Index> places_of(const Removed& entries) const;

  std::unique_ptr<optim::GaussNewton<T>> problem_;
  std::vector<double> values_;
  Eigen::MatrixXd inverse_;
};

}  // namespace taper::sparsity
