#pragma once

#include <string>
#include <utility>
#include <vector>

#include <taper/nn/parameter.hpp>

namespace taper::optim {

/// Exponential moving averages of a model's parameters (Polyak and Juditsky, 1992, with a fading memory),
/// which often predict better than the last step:
///
///     optim::AveragedWeights<float> average(net.parameters(), 0.999);
///     ... optimizer.step(); average.update(); ...
///     average.swap();  // the model predicts with the averages, until the next swap
///
/// A frozen entry has its own value for its average, bit for bit, whatever it was before it was frozen; one
/// that is thawed goes on from there.
template <class T> class AveragedWeights {
 public:
  /// Starts with the parameters as they are. Throws Error for a decay that is not in [0, 1).
  explicit AveragedWeights(nn::Parameters<T> parameters, double decay = 0.999);

  /// average = decay average + (1 - decay) value, once for each step of an optimizer. Allocates nothing.
  /// Throws Error when the model's parameters were laid out anew since, and while it has the averages.
  void update();
  /// Exchanges averages and parameters. Throws Error for parameters that were laid out anew, and for masks
  /// that have changed while the model had the averages.
  void swap();
  /// Whether the model has the averages now.
  bool swapped() const { return swapped_; }
  Index updates() const { return updates_; }
  /// The averages by the names of the parameters, wherever they are now. Throws Error like swap.
  std::vector<std::pair<std::string, Tensor<T>>> averages() const;

 private:
  void require_layout() const;

  nn::Parameters<T> parameters_;
  double decay_;
  Index begin_ = 0, end_ = 0;  // of the parameters in their block
  AlignedArray<T> kept_;       // the averages, or while swapped the values
  Index updates_ = 0;
  bool swapped_ = false;
  std::uint64_t masks_ = 0;  // the version of the block's masks when it was swapped
};

}  // namespace taper::optim
