#include <taper/optim/damped_matrix.hpp>

#include <algorithm>
#include <cmath>

#include <taper/optim/cholesky.hpp>

namespace taper::optim {

DampedMatrix::DampedMatrix(std::vector<Index> groups) : groups_(std::move(groups)) {
  const auto n = static_cast<Index>(groups_.size());
  matrix_.resize(n, n), factor_.resize(n, n);
  scales_ = roots_ = inverse_roots_ = Vector::Zero(n);
}

void DampedMatrix::update_scales() {
  const Index count = groups_.empty() ? 0 : std::ranges::max(groups_) + 1;
  Vector sums = Vector::Zero(count), sizes = Vector::Zero(count);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto at = static_cast<Index>(i);
    sums[groups_[i]] += matrix_(at, at), sizes[groups_[i]] += 1;
  }
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto at = static_cast<Index>(i);
    scales_[at] = std::max(scales_[at], sums[groups_[i]] / sizes[groups_[i]]);
    roots_[at] = std::sqrt(scales_[at]);
    inverse_roots_[at] =
        roots_[at] > 0 ? 1 / roots_[at] : 0;  // where nothing depends on it, it does not move
  }
}

bool DampedMatrix::factorize(double damping) {
  factor_.triangularView<Eigen::Lower>() =
      inverse_roots_.asDiagonal() * matrix_ * inverse_roots_.asDiagonal();
  factor_.diagonal().array() += damping;
  // Rows of a lower triangle are columns of an upper one.
  return Cholesky(Eigen::Map<Eigen::MatrixXd>(factor_.data(), factor_.rows(), factor_.cols())).succeeded();
}

DampedMatrix::Vector DampedMatrix::to_coordinates(const Vector& x) const {
  return factor_.triangularView<Eigen::Lower>().transpose() * roots_.cwiseProduct(x);
}

DampedMatrix::Vector DampedMatrix::from_coordinates(const Vector& z) const {
  return inverse_roots_.cwiseProduct(factor_.triangularView<Eigen::Lower>().transpose().solve(z));
}

DampedMatrix::Vector DampedMatrix::gradient_by_coordinates(const Vector& gradient) const {
  return factor_.triangularView<Eigen::Lower>().solve(inverse_roots_.cwiseProduct(gradient));
}

double DampedMatrix::predicted_gain(const Vector& step, const Vector& gradient) const {
  const Vector product = matrix_.selfadjointView<Eigen::Lower>() * step;
  return -step.dot(gradient + 0.5 * product);
}

}  // namespace taper::optim
