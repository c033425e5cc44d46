#pragma once

#include <functional>
#include <optional>

#include <taper/data/dataset.hpp>
#include <taper/nn/layers/sequential.hpp>
#include <taper/nn/losses.hpp>

namespace taper::sparsity {

/// What the size of a network is counted in; multiply-adds are those of one row.
enum class SizeMeasure { parameters, multiply_adds };

template <class T> struct CutUnitsOptions {
  SizeMeasure measure = SizeMeasure::parameters;
  /// The share of what is above the size that goes before the rest is trained again, and one unit at least:
  /// the closer, the smaller the steps.
  double step = 0.3;
  /// How many rows of the data the rise of the loss is measured on, evenly spaced; all where there are fewer.
  Index rows = 4096;
  /// Up to so many parameters, all others make up for a unit that goes (BrainSurgeon); above, or where the
  /// loss has no Gauss-Newton matrix, a bias does.
  Index most_for_second_order = 2000;
  /// Trains what is left, after each step. It changes values and not shapes.
  std::function<void(nn::Sequential<T>&)> train = {};
};

/// Cuts a chain of matrices to a size, unit by unit: again and again the unit goes without which the loss
/// rises least for each parameter (or multiply-add) that is saved, and what is left is trained again.
///
/// A unit is an input of a matrix: what a hidden unit gives, or a column of the data. When one goes, all
/// other weights make up for it to second order (Stahlberger and Riedmiller, "Fast network pruning and
/// feature extraction using the unit-OBS algorithm", 1996); without second order, the bias of the matrix
/// takes its mean on the rows. shrink() deletes what nobody reads any more. The rise is not that of the
/// second-order model, which is a poor one so far away: each unit is left out in turn, and the loss measured
/// (as in Mozer and Smolensky, "Skeletonization: a technique for trimming the fat from a network via
/// relevance assessment", 1989); for networks of some hundred units that costs less than a step of training.
/// The last unit of a layer stays.
///
/// The model is a chain of nn::Linear, perhaps an nn::Select in front, and layers without parameters that
/// treat each unit by itself, such as activations; its parameters are not factorized. It ends at `size` or
/// below, and is not changed where it is there already. Throws Error for another model, for rows that do not
/// fit it, a loss that is not finite, for options out of range, and for a size below what is left when every
/// layer has one unit.
template <class T>
void cut_units(nn::Sequential<T>& model, const data::Dataset<T>& data,
               const std::type_identity_t<nn::Loss<T>>& loss, Index size,
               const std::type_identity_t<CutUnitsOptions<T>>& options = {});

/// The parameters of a chain, or its multiply-adds of one row.
template <class T> Index chain_size(const nn::Sequential<T>& model, SizeMeasure measure);

}  // namespace taper::sparsity
