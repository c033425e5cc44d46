#pragma once

#include <functional>
#include <span>

#include <taper/autodiff/tape.hpp>

namespace taper::train {

/// What a training computes in each step: the loss of a batch, one number on the tape, from the rows of the
/// batch, one input for each column of the data. It may use several inputs, weights of samples, and anything
/// else that can be recorded:
///
///     const train::Step<float> step = [&](Tape<float>&, std::span<const Var<float>> in) {
///       const std::vector<Var<float>> outputs = model.record(in.first(2));
///       return mean(in[3] * square(outputs[0] - in[2]));
///     };
///     train::fit(model, {left, right, targets, weights}, step, adam);
///
/// It is recorded once for each size of batch that occurs, with the names of the model, and replayed.
template <class T> using Step = std::function<Var<T>(Tape<T>& tape, std::span<const Var<T>> inputs)>;

}  // namespace taper::train
