#pragma once

#include <map>
#include <string>
#include <vector>

#include <taper/nn/module.hpp>

namespace taper::sparsity {

/// What the parameters of a model cost, in any unit, by name. Each group of a parameter has an equal share.
/// `factorize` takes it for weights; an entry may be changed before, for example to a measured time.
using Costs = std::map<std::string, double>;

/// The multiply-adds of one row of the inputs, that is, of one example, in all operations that read a
/// parameter: those that OpRecord::multiply_adds states, and one for each entry of the output of an operation
/// that states none (of a batch norm, an embedding). A parameter counts as read, too, where what is computed
/// from parameters alone is read: a reshaped or factorized weight. A bias that an operation adds to its
/// products has the cost of all of them, and a parameter that no operation reads costs 0.
///
/// Cutting one of n groups of a weight saves 1/n of this, as long as all else stays: it takes part in so many
/// products. Neurons and channels before or behind that go with it are not counted.
///
/// The model is recorded in evaluation mode, on zeros of these shapes, rows first. Throws Error for inputs
/// without rows, and like `record`.
template <class T> Costs multiply_add_costs(const nn::Module<T>& model, const std::vector<Shape>& inputs);
/// For a model of one input: multiply_add_costs(lenet, {1, 1, 28, 28}).
template <class T> Costs multiply_add_costs(const nn::Module<T>& model, const Shape& input) {
  return multiply_add_costs(model, std::vector<Shape>{input});
}

}  // namespace taper::sparsity
