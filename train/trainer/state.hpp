#pragma once

#include <taper/train/trainer/training.hpp>

namespace taper::train {

/// What Trainer::state and Trainer::load_state do.
template <class T> TrainerState<T> state_of(const Training<T>& training);
template <class T> void load_state(Training<T>& training, const TrainerState<T>& state);

}  // namespace taper::train
