#pragma once

#include <vector>

#include <Eigen/Core>

#include <taper/autodiff/shape.hpp>

namespace taper::optim {

/// A matrix H that is positive semidefinite, with scales D of its entries: H + damping diag(D), and the
/// coordinates z = R x with R' R = H + damping diag(D), in which that is the identity.
class DampedMatrix {
 public:
  using Vector = Eigen::VectorXd;
  using Square = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  /// Entries with the same group, counted from 0, have the same scale.
  explicit DampedMatrix(std::vector<Index> groups);

  /// H; the lower triangle counts.
  Square& matrix() { return matrix_; }
  /// Takes the scales from a new H: those of a group are the largest mean of its diagonal so far.
  void update_scales();
  const Vector& scales() const { return scales_; }

  /// Prepares what follows. False when the matrix is not positive definite in this precision.
  bool factorize(double damping);
  /// R x, its inverse, and what a gradient by x is by z.
  Vector to_coordinates(const Vector& x) const;
  Vector from_coordinates(const Vector& z) const;
  Vector gradient_by_coordinates(const Vector& gradient) const;
  /// What gradient' step + step' H step / 2 is below 0.
  double predicted_gain(const Vector& step, const Vector& gradient) const;

 private:
  std::vector<Index> groups_;
  Square matrix_, factor_;  // the factor of S H S + damping, S = D^(-1/2), lies in a lower triangle
  Vector scales_, roots_, inverse_roots_;
};

}  // namespace taper::optim
