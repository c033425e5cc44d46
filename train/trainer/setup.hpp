#pragma once

#include <functional>
#include <vector>

#include <taper/train/fit_options.hpp>
#include <taper/train/trainer/recorded_step.hpp>

namespace taper::train {

/// What a training is given, whether it has a step of its own or a loss.
template <class T> struct Setup {
  StepOf<T> step;
  std::vector<View<const T>> columns, validation;  // no validation columns where there is no such set
  std::function<double()> judge;  // the loss that the model is judged by; empty when it is not judged

  Index rows() const { return columns.front().shape()[0]; }
};

/// Throws Error for columns that are empty, not finite or of different lengths.
template <class T>
Setup<T> setup_with_step(const nn::Module<T>& model, const std::vector<View<const T>>& columns,
                         const Step<T>& step, const FitOptions<T>& options);
/// Throws Error for data that are empty or not finite.
template <class T>
Setup<T> setup_with_loss(const nn::Module<T>& model, const data::Dataset<T>& data, const nn::Loss<T>& loss,
                         const FitOptions<T>& options);

}  // namespace taper::train
