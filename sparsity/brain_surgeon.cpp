#include <taper/sparsity/brain_surgeon.hpp>

#include <algorithm>
#include <functional>

#include <Eigen/Cholesky>

#include <taper/autodiff/kernels/gemm.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/cholesky.hpp>
#include <taper/optim/entry_sets.hpp>

namespace taper::sparsity {
namespace {

/// The mean of the set that each entry belongs to.
Eigen::VectorXd means_of_sets(const Eigen::VectorXd& values, const std::vector<Index>& set_of) {
  const Index sets = set_of.empty() ? 0 : *std::ranges::max_element(set_of) + 1;
  Eigen::VectorXd sums = Eigen::VectorXd::Zero(sets), counts = sums;
  for (std::size_t i = 0; i < set_of.size(); ++i) {
    sums[set_of[i]] += values[static_cast<Index>(i)];
    counts[set_of[i]] += 1;
  }
  return sums.cwiseQuotient(counts.cwiseMax(1))(set_of);
}

}  // namespace

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
  surgeon.values_ = problem.point();
  const Index n = problem.size();
  Eigen::MatrixXd& matrix = surgeon.inverse_;
  matrix.resize(n, n);
  // Rows of a lower triangle are columns of an upper one.
  problem.curvature(surgeon.values_, problem.counting(), matrix.data());
  // In units in which the mean of its diagonal over the entries of one unit is 1.
  const Eigen::VectorXd means = means_of_sets(
      matrix.diagonal().cwiseMax(0), optim::sets_of_one_unit(problem.parameters(), problem.positions()));
  const Eigen::VectorXd roots = (means.array() > 0).select(means.cwiseSqrt().cwiseInverse(), 1);
  matrix = roots.asDiagonal() * matrix * roots.asDiagonal();
  matrix.diagonal().array() += damping;
  optim::Cholesky factor(matrix);
  if (!factor.succeeded()) return {};
  factor.invert();
  matrix = roots.asDiagonal() * matrix * roots.asDiagonal();
  if (!surgeon.inverse_.allFinite()) return {};
  return surgeon;
}

template <class T> void BrainSurgeon<T>::remove(const Removed& entries) {
  values_ = without(entries);
  const std::vector<Index> places = places_of(entries);
  const Eigen::MatrixXd columns = inverse_(Eigen::all, places), block = columns(places, Eigen::all);
  const Eigen::MatrixXd less = -block.ldlt().solve(columns.transpose());
  const Index n = inverse_.rows(), count = block.rows();
  kernels::gemm<double>(n, n, count, {less.data(), count, 1}, {columns.data(), n, 1}, inverse_.data(), n,
                        true);
  inverse_(places, Eigen::all).setZero();
  inverse_(Eigen::all, places).setZero();
}

template <class T> std::vector<double> BrainSurgeon<T>::without(const Removed& entries) const {
  const std::vector<Index> places = places_of(entries);
  const auto zeros = static_cast<Index>(entries.zero.size());
  const Eigen::Map<const Eigen::VectorXd> values(values_.data(), static_cast<Index>(values_.size()));
  const Eigen::MatrixXd columns = inverse_(Eigen::all, places), block = columns(places, Eigen::all);
  Eigen::VectorXd moved = values(places);
  moved.tail(moved.size() - zeros).setZero();
  const Eigen::VectorXd after = values - columns * block.ldlt().solve(moved);
  std::vector<double> result(after.begin(), after.end());
  for (std::size_t k = 0; k < places.size(); ++k) {
    const auto place = static_cast<std::size_t>(places[k]);
    result[place] = static_cast<Index>(k) < zeros ? 0 : values_[place];
  }
  return result;
}

template <class T> std::vector<Index> BrainSurgeon<T>::places_of(const Removed& entries) const {
  const std::span<const Index> positions = problem_->positions();
  std::vector<Index> places;
  for (const std::vector<Index>& some : {std::cref(entries.zero), std::cref(entries.held)}) {
    for (const Index entry : some) {
      places.push_back(static_cast<Index>(std::ranges::lower_bound(positions, entry) - positions.begin()));
    }
  }
  return places;
}

TAPER_INSTANTIATE_CLASS(BrainSurgeon)

}  // namespace taper::sparsity
