#pragma once

#include <vector>

#include <taper/nn/layers/sequential.hpp>

namespace taper::sparsity {

/// A chain of linear layers as shrinking sees it: their weights in double precision with the marks of frozen
/// entries, and which modules of the model stand behind each one.
template <class T> class Chain {
 public:
  /// Reads a model in evaluation mode. Throws Error for a module that is neither Linear nor elementwise.
  explicit Chain(nn::Sequential<T>& model);

  /// Sets rows and columns to zero that are small against the largest of their weight.
  void zero_below(double threshold);
  /// Deletes what is never read or constant until nothing changes.
  void cut();
  /// The chain as a model, with the elementwise modules of the one it was read from.
  nn::Sequential<T> build(const nn::Sequential<T>& model) const;

  Index parameters() const;
  std::vector<Index> widths() const;
  const std::vector<Index>& inputs() const { return inputs_; }
  Index input_width() const { return input_width_; }

 private:
  using Marks = Eigen::Array<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  struct Layer {
    Eigen::MatrixXd weight;  // outputs x inputs
    Eigen::VectorXd bias;
    Marks frozen_weight, frozen_bias;  // entries that optimizers must leave, like weight and bias (a column)
    bool has_bias;
    std::vector<std::size_t> after;  // the elementwise modules behind it
  };

  bool drop_unread(std::size_t layer);
  bool fold_constants(std::size_t layer);
  double constant_output(const Layer& layer, double bias) const;

  nn::Sequential<T>* model_;         // read from, for its elementwise functions
  std::vector<std::size_t> before_;  // elementwise modules in front of the first layer
  std::vector<Layer> layers_;
  std::vector<Index> inputs_;  // columns of the network's input that are left
  Index input_width_ = 0;
};

extern template class Chain<float>;
extern template class Chain<double>;

}  // namespace taper::sparsity
