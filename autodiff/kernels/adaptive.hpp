#pragma once

#include <taper/autodiff/kernels/update.hpp>

/// Steps of optimizers that divide by a running size of the gradients, or take their sign; see update.hpp.
/// `states` may be null when all entries are trainable. A frozen entry keeps its bits, and so does its state.
namespace taper::kernels {

struct RmspropStep {
  double lr;
  Clipping clipping;
  double decay;  // coupled: gradient += decay * value
  double alpha;
  double epsilon;
  double momentum;
};

/// One step of RMSprop. `squares` has running means of the squared gradients, kept as Adam's second moments
/// are; `means` has those of the gradients, or is null; `velocity` may be null without momentum.
template <class T>
void rmsprop_step(Index n, T* values, const T* gradients, T* squares, T* means, T* velocity,
                  const EntryState* states, const RmspropStep& step);

struct AdagradStep {
  double lr;
  Clipping clipping;
  double decay;  // coupled
  double epsilon;
};

/// One step of Adagrad. `sums` has the sums of the squared gradients, kept as Adam's second moments are.
template <class T>
void adagrad_step(Index n, T* values, const T* gradients, T* sums, const EntryState* states,
                  const AdagradStep& step);

struct LionStep {
  double lr;
  Clipping clipping;
  double shrinkage;  // decoupled: value *= 1 - lr * decay, given as that factor
  double beta1;
  double beta2;
};

/// One step of Lion.
template <class T>
void lion_step(Index n, T* values, const T* gradients, T* moments, const EntryState* states,
               const LionStep& step);

/// averages += (values - averages) share. Where entries are frozen, the average is the value.
template <class T>
void average_step(Index n, T* averages, const T* values, const std::uint8_t* frozen, double share);

}  // namespace taper::kernels
