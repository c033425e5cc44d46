#pragma once

#include <functional>

#include <taper/autodiff/ops.hpp>

/// The losses as objects, so that one can be handed to `train::fit` without naming its scalar.
namespace taper::nn {

/// A loss of a prediction and a target: a scalar on their tape.
template <class T> using Loss = std::function<Var<T>(Var<T> prediction, Var<T> target)>;

#define TAPER_LOSS(name)                                                           \
  inline constexpr struct {                                                        \
    template <class T> Var<T> operator()(Var<T> prediction, Var<T> target) const { \
      return taper::name(prediction, target);                                      \
    }                                                                              \
  } name;
TAPER_LOSS(mse_loss)
TAPER_LOSS(mae_loss)
TAPER_LOSS(huber_loss)
TAPER_LOSS(bce_with_logits_loss)
TAPER_LOSS(cross_entropy_loss)
TAPER_LOSS(hinge_loss)
TAPER_LOSS(poisson_nll_loss)
#undef TAPER_LOSS

}  // namespace taper::nn
