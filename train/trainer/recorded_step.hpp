#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <taper/data/batches.hpp>
#include <taper/nn/losses.hpp>
#include <taper/nn/module.hpp>
#include <taper/train/step.hpp>

namespace taper::train {

/// What a training computes in a step, and with what. The model outlives it.
template <class T> struct StepOf {
  const nn::Module<T>* model;
  Step<T> step;
  std::vector<std::string> input_names;

  /// Records inputs for `rows` rows of these columns.
  std::vector<Var<T>> inputs(Tape<T>& tape, const std::vector<View<const T>>& columns, Index rows) const;
  /// Records the loss, with the names of the model. Throws Error, by the name of `where`, unless it is one
  /// number.
  Var<T> record(Tape<T>& tape, std::span<const Var<T>> inputs, const char* where) const;
};

/// A step of one's own with so many inputs.
template <class T> StepOf<T> step_of(const nn::Module<T>& model, Step<T> step, std::size_t inputs);
/// The step of a model of one input and one output with a loss. Without `pairwise`, it throws Error, by the
/// name of `where`, for a loss that repeats both operands of an operation.
template <class T>
Step<T> step_with_loss(const nn::Module<T>& model, nn::Loss<T> loss, bool pairwise, const char* where);

/// Throws Error, by the name of `where`, for an operation from position `begin` on that repeats both of its
/// operands.
template <class T> void require_no_pairs(const Tape<T>& tape, std::size_t begin, const char* where);

/// The step for batches of one size, recorded once.
template <class T> class RecordedStep {
 public:
  /// Throws Error for a parameter on the tape that is not among those of the model.
  RecordedStep(const StepOf<T>& of, const nn::Parameters<T>& parameters,
               const std::vector<View<const T>>& columns, Index rows);

  /// Makes a batch, which has as many rows, its inputs.
  void load(const data::Batches<T>& batches, Index batch) { batches.copy(batch, places_); }
  /// The rows of the batch, to be changed.
  std::span<const View<T>> columns() const { return columns_; }
  /// Computes loss and gradients, which are stored in the parameters.
  void run(std::uint64_t seed) { tape.value_and_gradient(loss, seed); }
  /// The same, with gradients times a factor, stored or added to those that are there.
  void run(std::uint64_t seed, double factor, Accumulate accumulate);

  Tape<T> tape{Mode::training};
  std::vector<Var<T>> inputs;
  Var<T> loss;

 private:
  std::vector<T*> places_;  // of the inputs
  std::vector<View<T>> columns_;
};

/// Records steps again, to see whether what is replayed is still what the model would do.
template <class T> class RecordingCheck {
 public:
  /// Throws Error when it is not.
  void operator()(const StepOf<T>& of, const RecordedStep<T>& recorded, Index epoch, Index batch);

 private:
  Tape<T> tape_{Mode::training};
  std::vector<Var<T>> inputs_;
};

}  // namespace taper::train
