#pragma once

#include <limits>
#include <optional>
#include <vector>

#include <taper/nn/module.hpp>
#include <taper/train/fit_options.hpp>
#include <taper/train/trainer_state.hpp>

namespace taper::train {

/// Remembers the best parameters and buffers and their loss, and says when to stop. Without a rule it does
/// nothing.
template <class T> class Best {
 public:
  using State = typename TrainerState<T>::Best;

  /// Throws Error for settings out of range.
  Best(const std::optional<EarlyStopping>& rule, nn::Module<T>& model, nn::Parameters<T> parameters);

  /// Whether there is a rule, and nothing is known of the model as it is now: at first, and when masks have
  /// changed, which makes another model of it.
  bool must_begin() const { return rule_ && masks_ != parameters_.block()->mask_version; }
  /// Begins with the model as it is, and forgets what was best before. `loss` is its loss.
  void begin(double loss);
  /// The model as it is has this loss at the end of an epoch. Returns whether to stop.
  bool should_stop(double loss);
  /// Puts back the best parameters and buffers. Those of a model with other masks or another layout are of no
  /// use.
  void restore();

  /// Empty without a rule.
  std::optional<State> state() const;
  /// Throws Error for a state that does not fit; nothing has changed then.
  void check(const std::optional<State>& state) const;
  /// A state that `check` accepts, for a model whose masks are loaded already.
  void load_state(const std::optional<State>& state);

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  void keep(double loss);

  std::optional<EarlyStopping> rule_;
  nn::Module<T>* model_;
  nn::Parameters<T> parameters_;
  std::optional<std::uint64_t> masks_;  // in which version the block had them at begin
  double least_ = infinity;             // at the end of an epoch
  Index waited_ = 0;                    // epochs since then
  double kept_loss_ = infinity;
  AlignedArray<T> kept_;  // of the whole block
  std::vector<Tensor<T>> kept_buffers_;
};

}  // namespace taper::train
