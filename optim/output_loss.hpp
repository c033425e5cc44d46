#pragma once

#include <span>

#include <taper/autodiff/tape.hpp>

namespace taper::optim {

/// A loss as a function of the outputs of one row, with its first two derivatives there: what the generalized
/// Gauss-Newton matrix J' H J is made from, with H the Hessian of the loss by the outputs, which is never
/// negative for these (Schraudolph, "Fast curvature matrix-vector products for second-order gradient
/// descent", 2002, section 3).
class OutputLoss {
 public:
  /// The loss that a node of a tape computes: mse_loss, bce_with_logits_loss or cross_entropy_loss, as means
  /// over the rows. Throws Error, in the name of `where`, for another one, and for weights of classes.
  template <class T> OutputLoss(const Node<T>& node, Index outputs, const char* where);

  /// Throws that Error, whatever the outputs are.
  template <class T> static void require(const Node<T>& node, const char* where) {
    OutputLoss(node, 1, where);
  }

  /// The outputs of a row, and its targets: as many, or one label.
  Index outputs() const { return outputs_; }
  Index targets() const { return kind_ == Kind::softmax ? 1 : outputs_; }
  /// Throws Error for targets that are none: labels that are no class, and of bce_with_logits_loss what is no
  /// probability.
  void check(std::span<const double> targets) const;
  /// How many terms of the mean a row is: its outputs, or 1 for a label, or 0 for one that is ignored.
  double terms(std::span<const double> targets) const;

  /// The loss of a row, added up over its outputs.
  double value(std::span<const double> outputs, std::span<const double> targets) const;
  /// Its gradient by the outputs, times `weight`.
  void gradient(std::span<const double> outputs, std::span<const double> targets, double weight,
                std::span<double> to) const;

  /// How many rows a factor S of the Hessian by the outputs has, H = S' S: as many as there are outputs, or
  /// one less for softmax.
  Index rank() const { return kind_ == Kind::softmax ? outputs_ - 1 : outputs_; }
  /// The factor for weight * H, rank() rows of outputs() entries. That of softmax, diag(p) - p p', is the
  /// closed form of Tanabe and Sagae, "An exact Cholesky decomposition and the generalized inverse of the
  /// variance-covariance matrix of the multinomial distribution", 1992, with sums that do not cancel.
  void curvature(std::span<const double> outputs, double weight, std::span<double> to) const;

 private:
  enum class Kind { squares, logistic, softmax };

  bool is_ignored(double label) const { return label == ignored_; }

  Kind kind_ = Kind::squares;
  Index outputs_;
  double smoothing_ = 0;   // of labels
  double ignored_ = -100;  // the label of rows that do not count
  const char* where_;
};

}  // namespace taper::optim
