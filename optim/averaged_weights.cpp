#include <algorithm>

#include <taper/autodiff/kernels/adaptive.hpp>
#include <taper/instantiate.hpp>
#include <taper/optim/averaged_weights.hpp>

namespace taper::optim {

template <class T>
AveragedWeights<T>::AveragedWeights(nn::Parameters<T> parameters, double decay)
    : parameters_(std::move(parameters)), decay_(decay) {
  if (!(decay >= 0 && decay < 1)) {
    throw Error("averaged_weights", "decay ", decay, ": expected 0 <= number < 1");
  }
  if (!parameters_.entries().empty()) {
    const auto& last = parameters_.entries().back();
    begin_ = parameters_.entries().front().offset;
    end_ = last.offset + last.shape.size();
  }
  kept_ = AlignedArray<T>(static_cast<std::size_t>(end_ - begin_));
  std::copy_n(parameters_.block()->values.data() + begin_, end_ - begin_, kept_.data());
}

template <class T> void AveragedWeights<T>::require_layout() const {
  if (parameters_.block()->version == parameters_.version()) return;
  throw Error("averaged_weights",
              "the model's parameters were laid out anew since the averages began: begin new ones");
}

template <class T> void AveragedWeights<T>::update() {
  require_layout();
  if (swapped_) {
    throw Error("averaged_weights",
                "an update while the model has the averages: expected a swap before, which gives it its own");
  }
  const Block<T>& block = *parameters_.block();
  kernels::average_step<T>(end_ - begin_, kept_.data(), block.values.data() + begin_,
                           block.frozen.data() + begin_, 1 - decay_);
  ++updates_;
}

template <class T> void AveragedWeights<T>::swap() {
  require_layout();
  Block<T>& block = *parameters_.block();
  T* const values = block.values.data() + begin_;
  const std::uint8_t* const frozen = block.frozen.data() + begin_;
  if (swapped_ && masks_ != block.mask_version) {
    throw Error("averaged_weights",
                "masks that changed while the model had the averages: expected none between two swaps");
  }
  masks_ = block.mask_version;
  for (Index i = 0; i < end_ - begin_; ++i) {
    if (!swapped_ && frozen[i] != 0) kept_.data()[i] = values[i];
    std::swap(values[i], kept_.data()[i]);
  }
  swapped_ = !swapped_;
}

template <class T> std::vector<std::pair<std::string, Tensor<T>>> AveragedWeights<T>::averages() const {
  require_layout();
  std::vector<std::pair<std::string, Tensor<T>>> result;
  const Block<T>& block = *parameters_.block();
  for (const auto& entry : parameters_.entries()) {
    Tensor<T> average(entry.shape);
    for (Index i = 0; i < average.size(); ++i) {
      const Index at = entry.offset + i;
      const bool in_model = swapped_ || block.frozen.data()[at] != 0;
      average[i] = in_model ? block.values.data()[at] : kept_.data()[at - begin_];
    }
    result.emplace_back(entry.name, std::move(average));
  }
  return result;
}

TAPER_INSTANTIATE_CLASS(AveragedWeights)

}  // namespace taper::optim
