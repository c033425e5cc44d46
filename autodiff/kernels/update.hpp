#pragma once

#include <taper/autodiff/kernels/threads.hpp>

namespace taper::kernels {

/// The constants of one stochastic gradient step.
struct SgdStep {
  double rate;
  double gradient_scale;  // of clipping; 1 without
  double decay;           // coupled: gradient += decay * value
  double momentum;
  double dampening;
  bool nesterov;
  bool first;  // the velocity starts as the gradient itself
};

/// One step of stochastic gradient descent on n parameters. `velocity` may be null without momentum.
template <class T> void sgd_step(Index n, T* values, const T* gradients, T* velocity, const SgdStep& step);

/// The constants of one Adam step.
struct AdamStep {
  double rate;            // divided by the first moment's bias correction
  double gradient_scale;  // of clipping; 1 without
  double coupled_decay;   // gradient += decay * value
  double shrinkage;       // decoupled: value *= 1 - rate * decay, given as that factor; 1 without
  double beta1;
  double beta2;
  double root_correction;  // square root of the second moment's bias correction
  double epsilon;
};

/// One step of Adam on n parameters, with their moments: one pass over four arrays.
template <class T>
void adam_step(Index n, T* values, const T* gradients, T* first_moments, T* second_moments,
               const AdamStep& step);

}  // namespace taper::kernels
