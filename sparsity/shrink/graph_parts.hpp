#pragma once

#include <taper/sparsity/shrink.hpp>

namespace taper::sparsity::shrinking {

/// A graph without what neither its outputs need nor a running state that they read, and a report that says
/// which parameters and buffers it lost. Parts of a model that evaluation does not use would have statistics
/// that are kept for nobody.
template <class T> nn::Graph<T> without_unread(const nn::Graph<T>& graph, ShrinkReport& report);

/// Biases of zeros for the instructions of a graph that have none and could, so that constants can go into
/// them. Those that take up nothing go again.
template <class T> class OpenBiases {
 public:
  explicit OpenBiases(const nn::Graph<T>& graph);

  const nn::Graph<T>& graph() const { return graph_; }
  /// Takes out of a graph that was cut, and of its report, the biases that are still zero; the others are
  /// told as new.
  void close(nn::Graph<T>& cut, ShrinkReport& report) const;

 private:
  nn::Graph<T> graph_;
  std::size_t first_;  // of those that were added, among the parameters
};

}  // namespace taper::sparsity::shrinking
