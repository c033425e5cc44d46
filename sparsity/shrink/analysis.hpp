#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <taper/sparsity/shrink/axes.hpp>

namespace taper::sparsity::shrinking {

/// Asks two questions of every channel of a recorded network. Is it constant, whatever the inputs? Forward,
/// from the inputs. Does anybody read it? Backward, from the outputs, to a fixpoint over the classes of
/// channels that can only be cut together. This is constant folding and elimination of dead code, on
/// channels.
template <class T> class Analysis {
 public:
  struct Settings {
    /// What adds no more than this to any output of a layer, relative to the channel that adds most, is as
    /// good as constant. Contributions are those on the recorded inputs.
    double threshold = 0;
    /// Whether the bias that an operation adds, at this index of its own, can take up constants: -1 where it
    /// cannot at all.
    std::function<bool(std::size_t node, Index output)> can_fold;
  };

  /// `inputs` and `outputs` are positions on the tape; the classes' pins count as read.
  Analysis(const Tape<T>& tape, AxisClasses<T>& classes, const std::vector<std::size_t>& inputs,
           const std::vector<std::size_t>& outputs, Settings settings);

  /// Whether a channel depends on the inputs of the network.
  bool varies(std::size_t node, Index axis, Index index) const {
    return varies_[classes_.id(node, axis, index)] != 0;
  }
  /// Whether it must stay, and for what reason.
  bool stays(std::size_t node, Index axis, Index index) {
    return needed_[classes_.of(node, axis, index)] != 0 || classes_.pinned(node, axis, index);
  }
  std::string reason(std::size_t node, Index axis, Index index);

  /// What the deleted channels that are constant, or as good as constant, add to the sums of an operation:
  /// one number for each index of the output axis that its bias is linked to. Empty where that is nothing.
  std::vector<double> folded(std::size_t node);

 private:
  /// A contraction with fixed weights: who are read, and by whom.
  struct Product {
    std::size_t weight, data;  // positions on the tape
    Index weight_axis, data_axis;
    Index output_axis = -1;  // linked with another axis of the weight; -1: none
    Index linked_axis = -1;  // that one
    Index outputs = 1, terms = 0;
    std::vector<double> largest;  // weight by magnitude, outputs x terms
    std::vector<char> counts;     // whether a channel that varies counts, outputs x terms
    std::vector<double> level;    // of each channel: its mean
    std::vector<char> one_value;  // of each channel: the same everywhere
    bool zero(Index term) const;  // whether the channel is zero
    std::vector<char> zero_;
  };

  bool known(std::size_t node) const { return any_[node] == 0; }
  void find_varying(std::size_t node);
  bool depends(std::size_t node, std::size_t input, Index axis, Index index) const;
  bool zeroed(std::size_t node, Index axis, Index index) const;
  void look_at_product(std::size_t node, const Contraction& sum);
  void find_read(const std::vector<std::size_t>& outputs);
  bool read(std::size_t node, const Product& product, Index term, std::string& why);
  bool need(std::size_t node, Index axis, Index index, const std::string& why);

  const Tape<T>& tape_;
  AxisClasses<T>& classes_;
  Settings settings_;
  std::vector<char> varies_;                    // of each index of each axis
  std::vector<char> any_;                       // of each node: whether anything of it varies
  std::vector<std::vector<Product>> products_;  // of each node
  std::vector<char> live_;                      // of each node: whether somebody reads it
  std::vector<char> needed_;                    // of each class
  std::vector<std::string> why_;                // of each class
};

extern template class Analysis<float>;
extern template class Analysis<double>;

}  // namespace taper::sparsity::shrinking
