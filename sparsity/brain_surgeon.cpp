#include <taper/sparsity/brain_surgeon.hpp>

#include <algorithm>
#include <cmath>

#include <Eigen/Cholesky>

#include <taper/instantiate.hpp>

namespace taper::sparsity {

template <class T>
std::optional<BrainSurgeon<T>> BrainSurgeon<T>::of(nn::Module<T>& model, const data::Dataset<T>& data,
                                                   const std::type_identity_t<nn::Loss<T>>& loss,
                                                   double damping) {
  BrainSurgeon surgeon;
  try {
    surgeon.problem_ = std::make_unique<optim::GaussNewton<T>>(
        model, std::vector<View<const T>>{data.inputs(), data.targets()},
        [&model, loss](Tape<T>&, std::span<const Var<T>> in) {
          return loss(nn::record_one(model, in[0], "brain_surgeon"), in[1]);
        },
        std::span<const double>(), "brain_surgeon");
  } catch (const Error&) {  // another loss, or operations that have no such form
    return {};
  }
  optim::GaussNewton<T>& problem = *surgeon.problem_;
  problem.sync();
  surgeon.values_ = problem.point();
  const Index n = problem.size();
  using Square = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Square matrix = Square::Zero(n, n);
  problem.curvature(surgeon.values_, problem.counting(), matrix.data());
  // In units in which its diagonal is 1.
  Eigen::VectorXd roots = matrix.diagonal().cwiseMax(0).cwiseSqrt();
  roots = (roots.array() > 0).select(roots.cwiseInverse(), 1);
  matrix = roots.asDiagonal() * matrix * roots.asDiagonal();
  matrix.diagonal().array() += damping;
  const Eigen::LLT<Eigen::MatrixXd> factor(matrix);
  if (factor.info() != Eigen::Success) return {};
  surgeon.inverse_ = factor.solve(Eigen::MatrixXd::Identity(n, n));
  surgeon.inverse_ = roots.asDiagonal() * surgeon.inverse_ * roots.asDiagonal();
  if (!surgeon.inverse_.allFinite()) return {};
  return surgeon;
}

template <class T> void BrainSurgeon<T>::remove(std::span<const Index> entries) {
  values_ = without(entries);
  const std::vector<Index> places = places_of(entries);
  const Eigen::MatrixXd columns = inverse_(Eigen::all, places), block = columns(places, Eigen::all);
  inverse_ -= columns * block.ldlt().solve(columns.transpose());
  inverse_(places, Eigen::all).setZero();
  inverse_(Eigen::all, places).setZero();
}

template <class T> std::vector<double> BrainSurgeon<T>::without(std::span<const Index> entries) const {
  const std::vector<Index> places = places_of(entries);
  const Eigen::VectorXd step = step_without(places);
  std::vector<double> result = values_;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] += step[static_cast<Index>(i)];
  for (const Index place : places) result[static_cast<std::size_t>(place)] = 0;
  return result;
}

template <class T> std::vector<Index> BrainSurgeon<T>::places_of(std::span<const Index> entries) const {
  const std::span<const Index> positions = problem_->positions();
  std::vector<Index> places;
  for (const Index entry : entries) {
    places.push_back(static_cast<Index>(std::ranges::lower_bound(positions, entry) - positions.begin()));
  }
  return places;
}

template <class T> Eigen::VectorXd BrainSurgeon<T>::step_without(const std::vector<Index>& places) const {
  const Eigen::Map<const Eigen::VectorXd> values(values_.data(), static_cast<Index>(values_.size()));
  const Eigen::MatrixXd columns = inverse_(Eigen::all, places), block = columns(places, Eigen::all);
  return -columns * block.ldlt().solve(Eigen::VectorXd(values(places)));
}

TAPER_INSTANTIATE_CLASS(BrainSurgeon)

}  // namespace taper::sparsity
