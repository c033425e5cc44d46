#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <taper/autodiff/tensor.hpp>

namespace taper::optim {

/// A setting of an optimizer by its name in the options, for example {"weight_decay", 0.01}. One that only
/// some parameters have is named with theirs: {"lr of 0.bias", 0.1}. A truth value is 0 or 1.
struct Setting {
  std::string name;
  double value;

  friend bool operator==(const Setting&, const Setting&) = default;
};

/// What an optimizer remembers of the steps that it has made, as plain data: Optimizer::state() takes it out,
/// Optimizer::load_state() puts it back. It can be cut down together with its model.
template <class T> struct OptimizerState {
  /// Stands in Entry::steps for an entry that a mask has frozen.
  static constexpr Index frozen = -1;

  /// The state of one parameter.
  struct Entry {
    std::string name;
    Shape shape;
    /// One for each of tensor_names, of the parameter's shape. A negative second moment is minus the root of
    /// one that is outside of the range of T.
    std::vector<Tensor<T>> tensors = {};
    /// How many steps each entry has made since it started, or `frozen`; empty when all have made as many as
    /// the optimizer. An entry that was thawed started again at that time.
    std::vector<Index> steps = {};
  };

  /// "sgd", "adam" or "adamw".
  std::string kind;
  /// Steps of the optimizer.
  Index steps = 0;
  double lr_factor = 1;
  /// As they are at this time, to be compared; loading a state changes no setting.
  std::vector<Setting> settings = {};
  /// What there is for each parameter, by PyTorch's names: "exp_avg" and "exp_avg_sq" of Adam,
  /// "momentum_buffer" of SGD with momentum.
  std::vector<std::string> tensor_names = {};
  std::vector<Entry> entries = {};

  /// The entry of a parameter. Throws Error naming the known ones.
  const Entry& entry(std::string_view name) const;
  bool has(std::string_view name) const;
  /// Keeps, of one axis of a parameter, the places in `kept`, in that order. Throws Error for an unknown
  /// name, an axis that the parameter does not have, and a place outside of it; nothing has changed then.
  void cut(std::string_view name, Index axis, std::span<const Index> kept);
  /// Gives a parameter another name. Throws Error for an unknown one, and for a new one that is taken.
  void rename(std::string_view name, std::string new_name);
  /// Adds a parameter that has made no step. Throws Error for a name that is taken.
  void add(std::string name, const Shape& shape);
  /// Takes out a parameter. Throws Error for an unknown one.
  void remove(std::string_view name);
};

}  // namespace taper::optim
