#pragma once

#include <iosfwd>
#include <vector>

#include <taper/nn/layers/sequential.hpp>

namespace taper::sparsity {

struct ShrinkOptions {
  /// A column of a weight whose Euclidean norm is at most this times the largest column's counts as zero, and
  /// so does a row; what is left of them is dropped. Factors that decay reach values far below it.
  double threshold = 1e-5;
  /// The largest relative difference on the probes that is still rounding; more is an Error.
  double tolerance = 1e-4;
  /// How many random inputs the two networks are compared on, besides `probes`.
  Index random_probes = 256;
  std::uint64_t seed = 0;
};

/// What was cut, and the proof that nothing else changed.
struct ShrinkReport {
  Index parameters_before = 0, parameters_after = 0;
  /// Of every linear layer: its inputs, and at the end the outputs of the last.
  std::vector<Index> widths_before, widths_after;
  /// Columns of the network's input that are still read.
  std::vector<Index> inputs;
  /// Over all probes: the largest difference of an output, and that relative to the largest of the same
  /// column.
  double max_abs_difference = 0, max_relative_difference = 0;
  Index probes = 0;
};

std::ostream& operator<<(std::ostream& out, const ShrinkReport& report);

template <class T> struct Shrunk {
  nn::Sequential<T> model;
  ShrinkReport report;
};

/// Cuts a chain of Linear layers and elementwise modules to a smaller dense one with the same outputs in
/// evaluation mode. Repeated until nothing changes: a unit that no later layer reads is deleted; a unit whose
/// inputs are all zero is the constant act(bias), which is folded into the biases of its readers. Inputs that
/// nobody reads are dropped by a Select in front. What is frozen or pruned in the parts that stay is so in
/// the smaller network too. Both networks are compared on random probes, and on `probes` (rows x inputs) if
/// given. Throws Error when they differ by more than the tolerance or an output is not finite, for options
/// that are negative or not finite, without any probe, for any other module, and for a network without Linear
/// layers.
template <class T>
Shrunk<T> shrink(nn::Sequential<T>& model, const ShrinkOptions& options = {},
                 std::type_identity_t<View<const T>> probes = {});

extern template Shrunk<float> shrink(nn::Sequential<float>&, const ShrinkOptions&, View<const float>);
extern template Shrunk<double> shrink(nn::Sequential<double>&, const ShrinkOptions&, View<const double>);

}  // namespace taper::sparsity
