#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <taper/autodiff/random.hpp>
#include <taper/nn/mask.hpp>
#include <taper/optim/optimizer_state.hpp>
#include <taper/train/history.hpp>

namespace taper::train {

/// Everything that the rest of a training depends on, besides the model's structure, the data and the
/// options, as plain data. Trainer::state() takes it out between two steps, Trainer::load_state() goes on
/// from it.
template <class T> struct TrainerState {
  struct Parameter {
    std::string name;
    Tensor<T> value;
    Mask mask = {};
  };
  struct Buffer {
    std::string name;
    Tensor<T> value;
  };
  /// What early stopping remembers.
  struct Best {
    /// The least loss at the end of an epoch that counted as an improvement, and how many epochs ended since.
    double loss = std::numeric_limits<double>::infinity();
    Index waited = 0;
    /// The loss of what is kept, which may be the parameters at the start.
    double kept_loss = std::numeric_limits<double>::infinity();
    /// Whether this is about the model with its present masks. If not, it starts anew.
    bool is_of_present_masks = false;
    /// One for each of `parameters` and `buffers`; empty when nothing is kept.
    std::vector<Tensor<T>> parameters = {}, buffers = {};
  };

  // The next step begins with this batch of this epoch.
  Index epoch = 0, batch = 0;
  /// The sum over the batches before, in this epoch, of loss times share of the rows.
  double loss = 0;
  /// The generator of the seeds of steps, and the generators of this thread.
  Rng::State seeds = {};
  RandomState random = {};
  /// What the optimizer's factor is when the training is over.
  double last_lr_factor = 1;
  optim::OptimizerState<T> optimizer = {};
  std::vector<Parameter> parameters = {};
  std::vector<Buffer> buffers = {};
  std::optional<Best> best = {};
  History history = {};

  // What it was taken from; loading it elsewhere is an Error.
  Index batch_size = 0, accumulate = 1;
  bool shuffle = true;
  std::uint64_t seed = 0;
  Index rows = 0;
  /// Of all columns of the training and of the validation set (data::checksum).
  std::uint64_t data_checksum = 0;
};

}  // namespace taper::train
