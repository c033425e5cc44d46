#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <taper/sparsity/shrink/axes.hpp>

namespace taper::sparsity::shrinking {

/// What the channels that sums of products go over are on the examples: one entry for each index of the axis.
template <class T> class Ranges {
 public:
  struct Range {
    std::vector<T> least, most;
    std::vector<double> sum, count;

    double mean(Index k) const {
      const auto at = static_cast<std::size_t>(k);
      return count[at] == 0 ? 0 : static_cast<double>(least[at]) + sum[at] / count[at];
    }
    bool one_value(Index k) const {
      return least[static_cast<std::size_t>(k)] == most[static_cast<std::size_t>(k)];
    }
    bool zero(Index k) const { return one_value(k) && least[static_cast<std::size_t>(k)] == 0; }
    double deviation(Index k) const;
  };

  Ranges(const Tape<T>& tape, const AxisClasses<T>& classes);
  /// Adds the values that are on the tape now.
  void add();
  const Range& of(std::size_t node, Index axis) const { return ranges_.at({node, axis}); }

 private:
  const Tape<T>& tape_;
  std::map<std::pair<std::size_t, Index>, Range> ranges_;
};

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
    /// Whether the bias that an operation adds can take up constants at this index of its own.
    std::function<bool(std::size_t node, Index output)> can_fold;
  };

  /// `inputs` and `outputs` are positions on the tape; the classes' pins count as read.
  Analysis(const Tape<T>& tape, AxisClasses<T>& classes, const Ranges<T>& ranges,
           const std::vector<std::size_t>& inputs, const std::vector<std::size_t>& outputs,
           Settings settings);

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
    Index data_input;          // of the operation: both may be one node
    Index weight_axis, data_axis;
    Index output_axis = -1;  // linked with another axis of the weight; -1: none
    Index linked_axis = -1;  // that one
    Index outputs = 1, terms = 0;
    bool partial = false;         // sums leave terms out at a border
    std::vector<double> largest;  // weight by magnitude, outputs x terms
    std::vector<char> counts;     // whether a channel that varies counts, outputs x terms
    const typename Ranges<T>::Range* range = nullptr;  // of the channels
  };

  bool known(std::size_t node) const { return any_[node] == 0; }
  void find_varying(std::size_t node);
  bool depends(std::size_t node, std::size_t input, Index axis, Index index) const;
  bool zero(std::size_t node, Index input, Index axis, Index index) const;
  bool zeroed(std::size_t node, Index axis, Index index) const;
  void look_at_product(std::size_t node, const Contraction& sum);
  void find_read(const std::vector<std::size_t>& outputs);
  bool read(std::size_t node, const Product& product, Index term, std::string& why);
  bool need(std::size_t node, Index axis, Index index, const std::string& why);

  const Tape<T>& tape_;
  AxisClasses<T>& classes_;
  const Ranges<T>& ranges_;
  Settings settings_;
  std::vector<char> varies_;                    // of each index of each axis
  std::vector<char> any_;                       // of each node: whether anything of it varies
  std::vector<std::vector<Product>> products_;  // of each node
  std::vector<char> live_;                      // of each node: whether somebody reads it
  std::vector<char> needed_;                    // of each class
  std::vector<std::string> why_;                // of each class
};

}  // namespace taper::sparsity::shrinking
