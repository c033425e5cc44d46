#pragma once

#include <span>
#include <vector>

#include <taper/nn/parameter.hpp>

/// Which of the free entries of a model belong together. `positions` says where they lie in its block.
namespace taper::optim {

/// A number for each free entry: entries of a weight [outputs, ...] that have the same input have the same
/// number, and so do those of a bias. They are in one unit, that of the loss by that input.
template <class T>
std::vector<Index> sets_of_one_unit(const nn::Parameters<T>& parameters, std::span<const Index> positions);

/// The free entries of each module, by the names in front of the last dot, in the model's order.
template <class T>
std::vector<std::vector<Index>> sets_by_module(const nn::Parameters<T>& parameters,
                                               std::span<const Index> positions);

}  // namespace taper::optim
