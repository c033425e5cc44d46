#pragma once

#include <cmath>
#include <string>
#include <vector>

#include <taper/data/dataset.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/sparsity/group_norms.hpp>

/// The factorized parameters of a model, seen group by group: what certificate, proximal step and imbalance
/// report have in common.
namespace taper::sparsity {

/// A factorized parameter.
template <class T> struct FactorizedWeight {
  std::string name;
  nn::Parameter<T>* parameter;
  const nn::Hadamard<T>* map;
  std::vector<Index> group;  ///< of each entry of the weight
  /// Groups on which decay and gradient do not act as on a plain group of weights, as the gate, an entry that
  /// is not zero, or all entries are frozen. Entries frozen at zero are no part of a group.
  std::vector<bool> frozen;

  Index groups() const { return static_cast<Index>(frozen.size()); }
  Index depth() const { return map->depth(); }
  double weight(Index g) const { return map->weight(g); }
};

/// All of them. Throws Error, in the name of `where`, for a model without any.
template <class T>
std::vector<FactorizedWeight<T>> factorized_weights(nn::Module<T>& model, const char* where);

/// Throws Error for products of more than two factors: whatever the loss, zero is a local minimum of theirs.
template <class T>
void require_two_factors(const std::vector<FactorizedWeight<T>>& products, const char* where);

/// Throws Error unless the value is a finite number above 0.
void require_positive(const char* where, const char* what, double value);

/// The mean loss over all rows, and its gradient with respect to the weight of each product, which the
/// gradients of the factors do not tell where a gate is zero.
struct WeightGradients {
  double loss = 0;
  /// One for each product, as long as its weight; 0 for entries that are frozen at zero.
  std::vector<std::vector<double>> of;
  /// The norm of the gradient in the free entries of all other parameters.
  double rest = 0;
};

/// All in evaluation mode, in batches that are added up in double precision. The loss must be a mean over
/// rows. Throws Error for data that are empty, not finite or do not fit the model, and for a loss or a
/// gradient that is not finite.
template <class T>
WeightGradients weight_gradients(nn::Module<T>& model, const std::vector<FactorizedWeight<T>>& products,
                                 const data::Dataset<T>& data, const nn::Loss<T>& loss, const char* where);

/// The Euclidean norm of each group of values that stand like the weight's.
template <class T, class Values>
std::vector<double> group_norms(const FactorizedWeight<T>& product, const Values& values) {
  std::vector<double> result(product.frozen.size(), 0.0);
  auto value = values.begin();
  for (const Index group : product.group) {
    double& norm = result[static_cast<std::size_t>(group)];
    add_to_norm(norm, static_cast<double>(*value++));
  }
  return result;
}

}  // namespace taper::sparsity
