#pragma once

#include <vector>

#include <taper/nn/module.hpp>

namespace taper::nn {

/// A factorization machine of degree 2 (Rendle, 2010, equation 1): with weights w and a row v_i of k factors
/// for each of n inputs,
///
///     y = b + sum_i w_i x_i + sum_{i < j} <v_i, v_j> x_i x_j,
///
/// computed in O(k n) as 1/2 (sum_f (sum_i v_if x_i)^2 - sum_i x_i^2 sum_f v_if^2) for the pairs (equation
/// 5). The output is rows x 1. Parameters are `weight` (n x 1), `bias` (1) and `factors` (n x k): a column of
/// `factors` is a latent dimension, and a row an input.
template <class T = float> class FactorizationMachine : public Layer<T> {
 public:
  /// For inputs of rows x n. Throws Error for a negative size.
  FactorizationMachine(Index inputs, Index factors);
  /// For rows of categories: the number in column f, a whole one in [0, field_sizes[f]), says which of the
  /// inputs of that field is 1, and the others are 0. Throws Error for fields that are empty, or have
  /// together more inputs than there are whole numbers in T.
  FactorizationMachine(std::vector<Index> field_sizes, Index factors);
  /// The layer with elements of another scalar. Throws Error for one with factorized parameters.
  template <class U>
  requires(!std::same_as<T, U>) explicit FactorizationMachine(const FactorizationMachine<U>& other)
      : weight(other.weight), bias(other.bias), factors(other.factors), field_sizes_(other.field_sizes()) {}

  /// Empty for dense inputs.
  const std::vector<Index>& field_sizes() const { return field_sizes_; }
  Var<T> forward(Var<T> x) const override;
  void visit(Visitor<T>& v) const override {
    v("weight", weight);
    v("bias", bias);
    v("factors", factors);
  }
  std::string describe() const override {
    return "FactorizationMachine(" + std::to_string(factors.shape()[0]) + ", " +
           std::to_string(factors.shape()[1]) + ")";
  }

  Parameter<T> weight, bias, factors;

 private:
  Var<T> of_fields(Var<T> x) const;

  std::vector<Index> field_sizes_;
};

}  // namespace taper::nn
