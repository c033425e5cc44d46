#pragma once

#include <cstdint>
#include <string>

#include <taper/train/trainer/recorded_step.hpp>

namespace taper::train {

/// Looks for what is not finite in a training. Everything here returns what is wrong, or "".
template <class T> class FiniteCheck {
 public:
  FiniteCheck(const nn::Module<T>& model, nn::Parameters<T> parameters);

  /// Of a step that has been run with this seed: its loss, and the gradients of entries that are not frozen.
  std::string fault(RecordedStep<T>& step, std::uint64_t seed) const;
  /// Of the parameters and buffers.
  std::string fault_of_model() const;
  /// Of the loss of a batch once the parameters have moved.
  static std::string fault_after(RecordedStep<T>& step, std::uint64_t seed);

 private:
  std::string first_bad(const char* what, const AlignedArray<T>& elements) const;

  const nn::Module<T>* model_;
  nn::Parameters<T> parameters_;
  bool has_buffers_ = false;
};

}  // namespace taper::train
