#pragma once

#include <optional>
#include <vector>

#include <taper/autodiff/ops.hpp>

namespace taper::optim {

/// The gradient of each row of a batch by itself, from one backward pass over the batch, for recordings in
/// which parameters are the weights and biases of affine operations and nothing else, each of one: that of a
/// weight is the outer product of the gradient of the operation's output in that row and of its input there
/// (Goodfellow, "Efficient per-example gradient computations", 2015).
class RowGradients {
 public:
  /// For parameters in this block. Empty where operations do other things with them. The gradients of the
  /// tape must be kept.
  static std::optional<RowGradients> of(const Tape<double>& tape, const Block<double>& block, Index rows);

  /// Writes the gradient of a row in the last backward pass to `to`, which is laid out like the block.
  void write(const Tape<double>& tape, Index row, double* to) const;

 private:
  struct Layer {
    std::size_t input, output;  // their positions on the tape
    Index inputs, outputs;
    Index weight, bias;  // their places in the block, -1 for none
    Activation activation;
  };
  std::vector<Layer> layers_;
};

}  // namespace taper::optim
